"""Standard output and standard error, of Python and of everything else in this process."""

from __future__ import annotations

import contextlib
import sys
import threading
from types import TracebackType
from typing import Any, Generic, TypeVar

from ._buffer import LineBuffer, OwnLines
from ._linering import Capture
from ._mirror import LineProcMirror
from ._proc_buffer import LineProcBuffer
from ._streams import STDERR, STDOUT, Redirection, Stream, has_a_context, is_in_a_task

Target = TypeVar("Target")


class _Redirect(contextlib.ContextDecorator, Generic[Target]):
    _stream: Stream

    def __init__(self, target: Target) -> None:
        self._target = target
        self._redirection = Redirection()

    def __enter__(self) -> Target:
        target: Any = self._target
        is_own, is_stderr = has_a_context(), self._stream is STDERR
        file, at_end = target, None
        if isinstance(target, LineProcMirror):
            file = target.stderr if is_stderr else target
            if is_own:
                files, at_end = target._own_lines()
                file = files[is_stderr]
        elif isinstance(target, LineBuffer) and is_in_a_task():
            file = OwnLines(target)
            at_end = file.end
        self._redirection.begin([(self._stream, file)], is_own, at_end)
        return self._target

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._redirection.end()


class redirect_stdout(_Redirect[Target]):
    """`contextlib.redirect_stdout`, which type checkers let a buffer or mirror be given to, and
    which is for its own thread and context, unless that is the main thread.
    """

    _stream = STDOUT


class redirect_stderr(_Redirect[Target]):
    """`contextlib.redirect_stderr`; lines that go into a mirror are of the stream `"stderr"`."""

    _stream = STDERR


# Which thread has captured a descriptor, and how often.
_captures: dict[int, list[int]] = {1: [], 2: []}
_captures_lock = threading.Lock()


def _begin_capture(descriptor: int) -> None:
    with _captures_lock:
        threads, own = _captures[descriptor], threading.get_ident()
        if any(thread != own for thread in threads):
            raise RuntimeError(
                f"another thread has captured descriptor {descriptor}, expected one at a time: it"
                " is the whole process's"
            )
        threads.append(own)


@contextlib.contextmanager
def capture(
    target: LineProcMirror | LineProcBuffer, *, stdout: bool = True, stderr: bool = True
) -> Any:
    """Redirects this process's descriptors 1 and 2 into a mirror: what C code and subprocesses
    print comes too.

    `target` is a mirror, or a buffer, of which one is taken then. Behind it is a pipe and a thread
    for each descriptor, so this costs system calls, and what is in the pipe when the process is
    killed is lost; what Python itself prints is better redirected into the mirror. At the block's
    end the descriptors are put back, when everything has been passed on; with the policy `"block"`
    and a full ring that waits for the reader.

    A descriptor is the whole process's, so one thread has it captured at a time. Raises
    `RuntimeError` when another one has it already, `OSError` when the system refuses; then nothing
    has changed.
    """
    mirror = target.mirror if isinstance(target, LineProcBuffer) else target
    with contextlib.ExitStack() as undo:
        for wanted, file, is_stderr in ((stdout, sys.stdout, False), (stderr, sys.stderr, True)):
            if wanted:
                _begin_capture(1 + is_stderr)
                undo.callback(_captures[1 + is_stderr].pop)
                if file is not None:
                    file.flush()
                undo.callback(Capture(mirror, is_stderr).stop)
                if file is not None:
                    undo.callback(file.flush)
        yield mirror
