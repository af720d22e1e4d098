"""`LineProcMirror`: what a worker prints into."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from ._file import Redirection, TextFile
from ._linering import Mirror, ReservedSeat, obeys_env
from ._message import _trace, _warning_text

SEAT = "LINERING_SEAT"
"""The variable of the environment that carries a seat to a subprocess."""
READER = "LINERING_READER"
"""The variable that says that the reader is Python's, which makes a logger's records out of what
`LogHandler` sends.
"""


class _Bytes:
    """`mirror.buffer`: takes bytes as they are."""

    def __init__(self, mirror: Mirror, stderr: bool) -> None:
        self._mirror = mirror
        self._stderr = stderr

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Writes bytes; those that are no UTF-8 arrive as lone surrogates, as Python's own streams
        have it.
        """
        return self._mirror._write_bytes(memoryview(data).tobytes(), self._stderr)

    def flush(self) -> None:
        """Does nothing: whole lines are in the ring, and the text file's `flush` sends the partial
        line ahead.
        """


class _Stderr(TextFile):
    """A mirror as the file of standard error."""

    __slots__ = ("_mirror", "write")

    def __init__(self, mirror: LineProcMirror) -> None:
        self._mirror = mirror
        # The mirror's own method, without a Python call in between.
        self.write = mirror._write_stderr

    def flush(self) -> None:
        """Sends this thread's partial line of standard error ahead, as the mirror's `flush`
        does.
        """
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
        """Does nothing: the mirror has the `close` that ends it."""

    def readable(self) -> bool:
        """`False`."""
        return False

    def writable(self) -> bool:
        """`True`."""
        return True


class LineProcMirror(Mirror, TextFile):
    """What a worker prints into; its lines come out of the `LineProcBuffer` that it is a mirror of.

    When a write has returned, its whole lines will be read whatever becomes of this process, and so
    will its partial line. Text is UTF-8; each thread assembles its own lines, of standard output
    and of standard error each. `\\n` ends a line, `\\r\\n` counts as one, and a lone `\\r` lets
    what follows rewrite the line.

    It can be given to a process of any kind: inherited by `fork`, pickled, or in the environment
    (`environ`). The first pickle takes this mirror's seat with it, and each further one gets a seat
    of its own: `wait` waits for the pickles, and no longer for this mirror, unless it is printed
    into.

    In a `with` block standard output and standard error go into it; the block's end sends an EOF,
    or the error.

    A write raises `Stopped` (a `StopIteration`) after `stop_all_mirrors`. With the policy `"block"`
    and a full ring, it raises `TimeoutError` after `timeout` seconds, or `OSError` when the
    buffer's process is gone and has read nothing for 5 s.
    """

    __slots__ = ("_redirection", "_plain_records", "__dict__", "__weakref__")

    def __init__(
        self,
        seat: str | ReservedSeat,
        aggressive: bool = False,
        timeout: float | None = None,
    ) -> None:
        """For `LineProcBuffer.mirror` and `from_environ`, which make mirrors. `seat` is a seat's
        string, as in `environ`.
        """
        self._redirection = Redirection()
        # Whether `LogHandler` sends records as text alone, for a reader that is no Python.
        self._plain_records = False

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
        mirror._plain_records = environ.get(READER) != "python"
        mirror._open()
        return mirror

    def environ(self) -> dict[str, str]:
        """A copy of the environment for a subprocess that opens a mirror of its own with
        `from_environ`.
        """
        return {**os.environ, SEAT: self._hand_over(), READER: "python"}

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle, (
            type(self),
            self._hand_over(),
            self.aggressive,
            self.timeout,
            self._plain_records,
        )

    @property
    def stderr(self) -> _Stderr:
        """A file whose lines are of the stream `"stderr"`."""
        return _Stderr(self)

    @property
    def buffer(self) -> _Bytes:
        """A file for bytes."""
        return _Bytes(self, False)

    def read(self, size: int | None = None) -> str:
        """This thread's partial line: the text after its last line end. Its first `size`
        characters. Default: all.
        """
        return self._partial_line()[:size]

    def send_data(self, data: str) -> None:
        """Writes `data` and sends its partial line ahead at once, as `aggressive` does for every
        write.
        """
        self.write(data)
        self.flush()

    def send_eof(self) -> None:
        """Ends the mirror, and its partial lines: its buffer waits for it no longer.

        A further write opens it again, and then the buffer waits for it again. A second EOF does
        nothing.
        """
        self._send_eof()

    def send_error(self, obj_err: BaseException) -> None:
        """Ends the mirror with an error, which the buffer keeps as a `GroupedMessage` with its
        trace.
        """
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
        """`True`: `read` gives the partial line."""
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


def _unpickle(
    cls: type[LineProcMirror],
    seat: str,
    aggressive: bool,
    timeout: float | None,
    plain_records: bool,
) -> LineProcMirror:
    mirror = cls(seat, aggressive, timeout)
    mirror._plain_records = plain_records
    # Now, and not at the first write: this process may die before that.
    mirror._open()
    return mirror
