"""Standard output and standard error, of Python and of everything else in this process."""

from __future__ import annotations

import contextlib
import sys
from types import TracebackType
from typing import Any, Generic, TypeVar

from ._linering import Capture
from ._mirror import LineProcMirror
from ._proc_buffer import LineProcBuffer

Target = TypeVar("Target")


class _Redirect(contextlib.ContextDecorator, Generic[Target]):
    _stream: str

    def __init__(self, target: Target) -> None:
        self._target = target
        self._saved: list[Any] = []

    def __enter__(self) -> Target:
        self._saved.append(getattr(sys, self._stream))
        setattr(sys, self._stream, self._file())
        return self._target

    def _file(self) -> Any:
        return self._target

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        setattr(sys, self._stream, self._saved.pop())


class redirect_stdout(_Redirect[Target]):
    """`contextlib.redirect_stdout`, which type checkers let a buffer or mirror be given to."""

    _stream = "stdout"


class redirect_stderr(_Redirect[Target]):
    """`contextlib.redirect_stderr`; lines that go into a mirror are of the stream `"stderr"`."""

    _stream = "stderr"

    def _file(self) -> Any:
        return self._target.stderr if isinstance(self._target, LineProcMirror) else self._target


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

    Raises `OSError` when the system refuses; then nothing has changed.
    """
    mirror = target.mirror if isinstance(target, LineProcBuffer) else target
    with contextlib.ExitStack() as undo:
        for wanted, file, is_stderr in ((stdout, sys.stdout, False), (stderr, sys.stderr, True)):
            if wanted:
                if file is not None:
                    file.flush()
                undo.callback(Capture(mirror, is_stderr).stop)
                if file is not None:
                    undo.callback(file.flush)
        yield mirror
