"""`LineProcMirror`: what a worker prints into."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from . import _ends
from ._descriptor import MirrorDescriptor
from ._file import BytesFile, TextFile
from ._hand_over import (
    CLAIMS,
    READER,
    SEAT,
    Environ,
    EnvironText,
    Given,
    PickledText,
    Sent,
    spawning,
    transport,
)
from ._linering import Mirror, ReservedSeat, Ring, new_key, obeys_env
from ._message import _trace, _warning_text
from ._seats import HandedOverSeat, SeatBook, book_of
from ._streams import STDERR, STDOUT, Redirection, has_a_context


class _Lines(TextFile):
    """A mirror as a file of its own: for standard error, or for one context's lines."""

    __slots__ = ("_mirror", "_key", "_is_stderr", "_redirection", "write")

    def __init__(self, mirror: LineProcMirror, key: int, is_stderr: bool) -> None:
        self._mirror = mirror
        # Of whose lines they are: 0 is the writing thread.
        self._key = key
        self._is_stderr = is_stderr
        self._redirection = Redirection()
        # The mirror's own method, without a Python call in between.
        self.write = mirror._write_stderr
        if key or not is_stderr:
            self.write = functools.partial(mirror._write_as, key, is_stderr)

    def flush(self) -> None:
        """Sends the partial line ahead, as the mirror's `flush` does."""
        self._mirror._flush_as(self._key, self._is_stderr)

    @property
    def buffer(self) -> BytesFile:
        """Takes bytes."""
        mirror, key, is_stderr = self._mirror, self._key, self._is_stderr
        return BytesFile(lambda data: mirror._write_bytes(data, is_stderr, key), self.fileno)

    def fileno(self) -> int:
        """As the mirror's `fileno`, for standard error if it is that."""
        return self._mirror._fileno(self._is_stderr)

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

    def __enter__(self) -> _Lines:
        """Has standard error go into it in the block; the mirror's end is not sent."""
        is_own = has_a_context()
        file, at_end = (self._mirror._own_lines() if is_own else ((None, self), None))
        self._redirection.begin([(STDERR, file[1])], is_own, at_end)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._redirection.end()


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
    or the error. `sys.exit()` and `sys.exit(0)` end it with an EOF. A block of the main thread is
    for all threads that have none of their own; one of another thread, of an event loop's task or
    of a greenlet for that one alone.

    A write raises `Stopped` (a `StopIteration`) after `stop_all_mirrors`. With the policy `"block"`
    and a full ring, it raises `TimeoutError` after `timeout` seconds, or `OSError` when the
    buffer's process is gone and has read nothing for 5 s.
    """

    __slots__ = (
        "_redirection", "_plain_records", "_book", "_forks", "_descriptors",
        "__dict__", "__weakref__",
    )  # fmt: skip

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
        self._descriptors = MirrorDescriptor(False), MirrorDescriptor(True)
        # Where its buffer, in this process, lists what was handed over.
        self._book: SeatBook | None = None
        # How often this process had forked when it came here.
        self._forks = _ends.forks
        _ends.mirrors.add(self)

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
        claims = environ.get(CLAIMS)
        if claims is None:
            # Now, and not at the first write: this process may die before that.
            mirror._open()
        else:
            mirror._claim(claims, False)
        return mirror

    @classmethod
    def attach(
        cls,
        name: str | None = None,
        *,
        file: str | os.PathLike[str] | None = None,
        label: str = "",
        any_user: bool = False,
    ) -> LineProcMirror:
        """A mirror of the ring that a `LineProcBuffer` of another process has made under this
        `name`, or in this `file`. It counts from now on.

        `label`: which its lines carry. `any_user`: whether the name may lead to another user's
        ring; default: this user's alone.

        Raises `FileNotFoundError` if there is no such ring, `PermissionError` if it is not for this
        user, another `OSError` if what is there is no ring, `ValueError` unless there is one of
        `name` and `file`.
        """
        mirror = cls(Ring.open(name, file, any_user).seat(label))
        mirror._open()
        return mirror

    def environ(self) -> dict[str, str]:
        """A copy of the environment for a subprocess that opens a mirror of its own with
        `from_environ`. The seat has ended when that subprocess is dead.
        """
        reserved, _ = self._hand_over(False)
        text = EnvironText(reserved.text)
        self._note(HandedOverSeat(reserved, Given(text)))
        claims = self._claims()
        environ = Environ({**os.environ, SEAT: text, READER: "python"})
        if claims:
            environ[CLAIMS] = claims
        return environ

    def __reduce__(self) -> tuple[Any, ...]:
        starts, dumps = spawning(), transport()
        reserved, fresh = self._hand_over(starts is None and dumps is None)
        text: str | PickledText = reserved.text
        if starts is not None:
            self._note(HandedOverSeat(reserved, starts))
        elif dumps is not None:
            text = PickledText(reserved.text)
            self._note(HandedOverSeat(reserved, Sent(dumps, text)))
        return _unpickle, (
            type(self),
            text,
            self.aggressive,
            self.timeout,
            self._plain_records,
            self._claims(),
            fresh,
        )

    def _note(self, seat: HandedOverSeat) -> None:
        """Has the buffer know of it, if that is this process's."""
        if self._book is not None and self._book.process == os.getpid():
            self._book.add(seat)

    @property
    def stderr(self) -> _Lines:
        """A file whose lines are of the stream `"stderr"`. As a context manager it has standard
        error go there.
        """
        return _Lines(self, 0, True)

    @property
    def buffer(self) -> BytesFile:
        """A file for bytes."""
        return BytesFile(lambda data: self._write_bytes(data, False, 0), self.fileno)

    def fileno(self) -> int:
        """A descriptor whose lines come too, for `subprocess` and for C code: `subprocess.run(cmd,
        stdout=sys.stdout)` in the block, `faulthandler.enable()`.

        It is made at the first call: a pipe, and a process of its own at the other end, so that
        what is in it when this process crashes arrives. Lines that go through it may come after
        later ones that do not. The mirror's end gives it up: from then on the number leads to this
        process's own standard output or error, as it does in a forked child. `wait` waits until
        all programs that were started with it have ended.

        Raises `io.UnsupportedOperation` where no process can be started for it.
        """
        return self._fileno(False)

    def _fileno(self, is_stderr: bool) -> int:
        def seat() -> str:
            if not self._is_open():
                self._open()
            return self._seat()

        return self._descriptors[is_stderr].fileno(seat)

    def _end_descriptors(self) -> None:
        for each in self._descriptors:
            each.end()

    def _own_lines(self) -> tuple[tuple[_Lines, _Lines], Callable[[], None]]:
        """Files for one context's lines, and what ends these."""
        key = new_key()
        return (_Lines(self, key, False), _Lines(self, key, True)), lambda: self._end_as(key)

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
        self._end_descriptors()
        self._send_eof()

    def send_error(self, obj_err: BaseException) -> None:
        """Ends the mirror with an error, which the buffer keeps as a `GroupedMessage` with its
        trace.
        """
        self._end_descriptors()
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
        if has_a_context():
            (stdout, stderr), end = self._own_lines()
            self._redirection.begin([(STDOUT, stdout), (STDERR, stderr)], True, end)
        else:
            self._redirection.begin([(STDOUT, self), (STDERR, self.stderr)], False)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._redirection.end()
        finally:
            if _ends.is_normal(error):
                # The last of the blocks that several threads or tasks have of one mirror ends it.
                if not self._redirection.is_open():
                    self.send_eof()
            elif isinstance(error, SystemExit):
                # A wish, and no fault with a place: without a trace.
                self._end_descriptors()
                self._send_error(f"SystemExit: {error.code}")
            elif error is not None:
                self.send_error(error)

    def __del__(self) -> None:
        # A process that got it and drops it unused has ended its work, unless a child that it
        # forked has it still.
        has_children = getattr(self, "_forks", None) != _ends.forks
        if not has_children and self._is_unused() and _ends.is_working():
            try:
                self._send_eof()
            except OSError:
                # The buffer is gone.
                pass


def _unpickle(
    cls: type[LineProcMirror],
    seat: str,
    aggressive: bool,
    timeout: float | None,
    plain_records: bool,
    claims: str | None,
    fresh: bool,
) -> LineProcMirror:
    mirror = cls(seat, aggressive, timeout)
    mirror._plain_records = plain_records
    mirror._book = book_of(seat)
    # A claim now, and a mirror at the first write: this process may die before that, or only carry
    # it.
    mirror._claim(claims, fresh)
    return mirror


_ends.watch_from_the_import()
