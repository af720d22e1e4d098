"""`LineProcMirror`: what a worker prints into."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from ._file import Redirection, TextFile
from ._fork import Seat
from ._linering import Kept, Mirror, obeys_env
from ._message import _trace, _warning_text

SEAT = "LINERING_SEAT"
"""The variable of the environment that carries a seat to a subprocess."""
READER = "LINERING_READER"
"""Says that the reader is Python's, which knows a logger's records when it sees them."""


class _Bytes:
    """`mirror.buffer`: takes bytes as they are."""

    def __init__(self, mirror: Mirror, stderr: bool) -> None:
        self._mirror = mirror
        self._stderr = stderr

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Writes bytes; those that are no UTF-8 arrive as lone surrogates, as Python's own streams have it."""
        return self._mirror._write_bytes(memoryview(data).tobytes(), self._stderr)

    def flush(self) -> None:
        """Does nothing: whole lines are in the ring, and the text file's `flush` sends what was begun ahead."""


class _Stderr(TextFile):
    """A mirror's way for standard error."""

    __slots__ = ("_mirror", "write")

    def __init__(self, mirror: LineProcMirror) -> None:
        self._mirror = mirror
        # As the mirror's, for the stream `stderr`.
        self.write = mirror._write_stderr

    def flush(self) -> None:
        """As the mirror's."""
        self._mirror._flush_stderr()

    @property
    def buffer(self) -> _Bytes:
        """Takes bytes."""
        return _Bytes(self._mirror, True)

    @property
    def closed(self) -> bool:
        """`False`: a further write opens it again."""
        return False

    def close(self) -> None:
        """Does nothing: the mirror is what is closed."""

    def readable(self) -> bool:
        """`False`."""
        return False

    def writable(self) -> bool:
        """`True`."""
        return True


class LineProcMirror(Mirror, TextFile):
    """What a worker prints into; its lines come out of the `LineProcBuffer` that it is a mirror of.

    When a write has returned, whole lines will be read whatever becomes of this process, and so will what was begun. It is
    UTF-8; lines are put together for each thread, and for standard output and standard error each. `\\n` ends a line, `\\r\\n`
    counts as one, and a lone `\\r` lets what follows rewrite the line.

    It can be given to a process of any kind: inherited by `fork`, pickled, or in the environment (`environ`). A pickle of it
    has a seat of its own, which `wait` waits for.

    In a `with` block standard output and standard error go into it; the block's end sends an EOF, or the error.

    A write raises `Stopped` (a `StopIteration`) after `stop_all_mirrors`, and where the buffer's policy is to wait for room
    `TimeoutError` after `timeout` seconds, or `OSError` when nobody has read for 5 s because the buffer's process is gone.
    """

    __slots__ = ("_redirection", "_plain", "_seat", "__dict__", "__weakref__")

    def __init__(
        self,
        seat: str | Kept,
        aggressive: bool = False,
        timeout: float | None = None,
    ) -> None:
        """`seat` is a seat's string, as `environ` has it. Such mirrors come from `LineProcBuffer.mirror` and `from_environ`."""
        self._redirection = Redirection()
        self._plain = False
        self._seat: Seat | None = None

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] | None = None) -> LineProcMirror | None:
        """The mirror that this process's parent put into its environment; `None` if there is none.

        It is what `environ()` of a mirror gave, or what `linering run` gives its workers.

        `None` as well, whatever `environ` is, in a process that has more rights than the one that
        started it (setuid, setgid, file capabilities): it must not obey its environment.
        """
        if not obeys_env():
            return None
        environ = os.environ if environ is None else environ
        seat = environ.get(SEAT)
        if seat is None:
            return None
        mirror = cls(seat)
        mirror._plain = environ.get(READER) != "python"
        mirror._open()
        return mirror

    def environ(self) -> dict[str, str]:
        """A copy of the environment for a subprocess that opens a mirror of its own with `from_environ`."""
        return {**os.environ, SEAT: self._hand_over(True), READER: "python"}

    def __reduce__(self) -> tuple[Any, ...]:
        # A process that is being spawned is the one that the mirror is for. Who else pickles it, a pool's task queue, say, may
        # pickle it again, some time: until it is collected it has a seat then.
        spawning = _is_spawning()
        seat = self._hand_over(spawning)
        if self._seat is not None and not spawning:
            self._seat.pickled = time.monotonic()
        return _unpickle, (type(self), seat, self.aggressive, self.timeout, self._plain)

    @property
    def stderr(self) -> _Stderr:
        """A file whose lines are of the stream `"stderr"`."""
        return _Stderr(self)

    @property
    def buffer(self) -> _Bytes:
        """A file for bytes."""
        return _Bytes(self, False)

    def read(self, size: int | None = None) -> str:
        """What this thread has begun and not ended; its first `size` characters."""
        return self._begun()[:size]

    def send_data(self, data: str) -> None:
        """Writes a text and sends it ahead at once, as `aggressive` does with all."""
        self.write(data)
        self.flush()

    def send_eof(self) -> None:
        """Ends the mirror: its buffer waits for it no longer. The line that was begun ends too.

        A further write opens it again, and then it counts again. A second EOF does nothing.
        """
        self._send_eof()

    def send_error(self, obj_err: BaseException) -> None:
        """Ends the mirror with an error, which the buffer keeps as a `GroupedMessage` with its trace."""
        self._send_error(_trace(obj_err))

    def send_warning(self, obj_warn: Warning) -> None:
        """Sends a warning, which the buffer keeps as a `GroupedMessage`. It ends nothing."""
        self._send_warning(_warning_text(obj_warn))

    def close(self, exc: BaseException | None = None) -> None:
        """`send_eof`, or `send_error` with `exc`."""
        if exc is None:
            self.send_eof()
        else:
            self.send_error(exc)

    @property
    def closed(self) -> bool:
        """`False`: a further write opens it again."""
        return False

    def readable(self) -> bool:
        """`True`: `read` gives what was begun."""
        return True

    def writable(self) -> bool:
        """`True`."""
        return True

    def __enter__(self) -> LineProcMirror:
        self._redirection.begin(self, self.stderr)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._redirection.end()
        self.close(error)


def _is_spawning() -> bool:
    """Whether `multiprocessing` is in the middle of starting a process in this thread."""
    context = sys.modules.get("multiprocessing.context")
    return context is not None and context.get_spawning_popen() is not None


def _unpickle(
    cls: type[LineProcMirror], seat: str, aggressive: bool, timeout: float | None, plain: bool
) -> LineProcMirror:
    mirror = cls(seat, aggressive, timeout)
    mirror._plain = plain
    # Now, and not at the first write: whoever has it may die before.
    mirror._open()
    return mirror
