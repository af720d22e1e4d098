"""`LineProcBuffer`: the last lines of worker processes, and how each of them ended."""

from __future__ import annotations

import collections
import os
import select
import threading
import time
import types
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NoReturn

from ._drain import Drain
from ._endings import Endings
from ._file import TextFile
from ._linering import Line, Ring
from ._message import Ended, GroupedMessage, _merged
from ._mirror import LineProcMirror
from ._seats import HandedOutSeat
from ._storage import check_maxlen, last_of

POLL_SECONDS = 0.02
"""Seconds between two checks of a wait for signals, and for seats of which every process that could
open them is dead.
"""
_BATCH_ITEMS = 4096
"""Items that are stored at a time."""


class LineProcBuffer(Endings, TextFile):
    """Keeps the last `maxlen` lines of worker processes, and notices how each of them ends.

    Workers print into mirrors: `pbuf.mirror` gives one for each. This process calls `wait` and
    `read`, or iterates over `drain()`. There is no thread and no manager process behind it, and no
    worker waits for this process, unless the policy is `"block"`.

    Only the process that made it can read it: in a forked child that raises `RuntimeError`.
    """

    # `LineProcBuffer[GroupedMessage]`, as annotations have it.
    __class_getitem__: ClassVar[Any] = classmethod(types.GenericAlias)

    def __init__(
        self,
        maxlen: int = 20,
        *,
        policy: str = "overwrite",
        lines: int | None = None,
        line_bytes: int = 256,
        max_line: int | None = None,
        mirrors: int = 1023,
        seats: int = 65536,
        seat_limit: float | None = 600.0,
        block_limit: float | None = None,
        checksums: bool | None = None,
        name: str | None = None,
        file: str | os.PathLike[str] | None = None,
    ) -> None:
        """`maxlen`: lines and messages that are kept. Default: 20.

        `policy`: what a worker does when the ring is full. `"overwrite"` overwrites the oldest
        line, `"block"` waits for the reader and loses nothing, `"drop"` drops the new line. Lost
        lines are counted. Default: `"overwrite"`.

        `lines`: capacity of the ring in slots, rounded up to a power of two. Default: 4096. It is
        at least twice `maxlen`, so that the last `maxlen` lines are there before the parent reads,
        unless a number is given with `"block"`.

        `line_bytes`: size of a slot in bytes; a longer line takes several slots. Default: 256.

        `max_line`: length of the longest line in bytes. The rest of a longer one is cut off, and
        `truncated` is true. Default: an eighth of the ring.

        `mirrors`: mirrors that can be open at a time, with one for each thread that prints, 1 to
        4095. Default: 1023.

        `seats`: seats that can be reserved at a time. Default: 65536.

        `seat_limit`: seconds after which a seat that no process has opened ends as `"never
        opened"`, as when a pickled mirror is lost; `None`: never. Default: 600.

        `block_limit`: seconds that a worker waits for room with `"block"`; `None`: for ever.
        Default: `None`.

        `checksums`: whether a line that was changed in the ring by anything but its writer comes
        with `damaged` true. Each slot has room for 8 bytes less of a line then. Default, with
        `None`: in a `file` alone.

        `name`: under which other processes of this user find the ring in shared memory
        (`LineProcMirror.attach`, `observe`, `linering cat`); it goes with this process, unless that
        is killed. `file`: a path, at which nothing is yet, for a ring in a file, which stays.
        Default: neither. See `recover`.

        Raises `TypeError` for a `maxlen` that is no positive number, `ValueError` for options out
        of their bounds, `FileExistsError` for a name or file that is taken, another `OSError` when
        the system has no memory.
        """
        self._maxlen = check_maxlen(maxlen)
        if lines is not None and (
            isinstance(lines, bool) or not isinstance(lines, int) or lines < 1
        ):
            raise ValueError(f"lines is {lines!r}, expected None or a positive integer")
        if lines is None or policy != "block":
            lines = max(lines or 4096, 2 * maxlen)
        self._make_ring: Callable[[], Ring] = lambda: Ring(
            lines,
            line_bytes,
            policy,
            mirrors=mirrors,
            seats=seats,
            seat_limit=seat_limit,
            block_limit=block_limit,
            max_line=max_line,
            checksums=checksums,
            name=name,
            file=file,
        )
        self._is_stored = name is not None or file is not None
        self._begin(policy, maxlen)

    def _begin(self, policy: str, maxlen: int) -> None:
        # Until there is a ring.
        self._stopped = True
        self._stores_losses = policy != "overwrite"
        self._storage: collections.deque[str | GroupedMessage] = collections.deque(maxlen=maxlen)
        self._process = os.getpid()
        self._lock = threading.RLock()
        self._lost = 0
        self._on_record: Callable[[Line], object] | None = None
        self._renew()

    def _renew(self) -> None:
        self._ring = self._make_ring()
        self._reader = self._ring.reader()
        self._stopped = False
        self._renew_endings()

    @classmethod
    def recover(
        cls,
        name: str | None = None,
        *,
        file: str | os.PathLike[str] | None = None,
        maxlen: int = 20,
        any_user: bool = False,
    ) -> LineProcBuffer:
        """Takes over the ring of this `name`, or in this `file`, whose reader is gone: a buffer
        with all that no reader had accepted, the last words of processes that were killed, and how
        each ended. Processes that still write into it go on.

        Raises `FileNotFoundError` if there is no such ring, another `OSError` if what is there is
        no ring, `RuntimeError` if a process reads it.
        """
        self = cls.__new__(cls)
        self._maxlen = check_maxlen(maxlen)
        self._make_ring = lambda: Ring.open(name, file, any_user)
        self._is_stored = True
        # What the ring's own policy is does not matter to its reader: all lines are told, lost ones
        # too.
        self._begin("block", maxlen)
        return self

    # ------------------------------------------------------------------------------------- mirrors

    @property
    def mirror(self) -> LineProcMirror:
        """A new mirror, for one worker. `wait` waits for it from now on.

        A pickle of it takes its place: `wait` waits for the pickle then. A mirror that was neither
        used nor handed over is cancelled when it is collected. Take one for each worker and each
        task: see docs/python.md, "Who owns a seat".

        Raises `OSError` when there are too many mirrors or seats.
        """
        return self.new_mirror()

    def new_mirror(
        self, label: str = "", *, aggressive: bool = False, timeout: float | None = None
    ) -> LineProcMirror:
        """A new mirror, as `mirror` gives it, with options.

        `label`: which its lines carry; of more than 24 bytes of UTF-8 the beginning and an
        ellipsis. Default: none. `aggressive`: whether each write sends its partial line ahead at
        once, as `flush` does. Default: `False`. `timeout`: seconds that a write may wait for room;
        `None`: for ever. Default: `None`.

        Raises `OSError` when there are too many mirrors or seats.
        """
        if self._stopped:
            self.reset_states()
        reserved = self._ring.seat(label)
        mirror = LineProcMirror(reserved, aggressive, timeout)
        mirror._book = self._book
        self._book.add(HandedOutSeat(reserved, mirror))
        return mirror

    def force_stop(self) -> None:
        """Has `wait`, `receive` and `drain` return, whatever the mirrors do; what these print from
        now on is not read.

        For workers that are terminated. The next `mirror`, or `reset_states`, begins afresh.
        """
        self._stopped = True
        self._ring.stop()

    def reset_states(self) -> None:
        """Begins afresh after a stop. Raises `TypeError` while mirrors are open or seats reserved,
        and for a ring that has a name or a file. What was read stays.
        """
        if self._is_stored:
            raise TypeError("its ring has a name, or a file: make another buffer")
        with self._lock:
            if self.n_mirrors > 0:
                raise TypeError(
                    f"{self.n_mirrors} mirrors have not ended, expected none: wait for them, or"
                    " call force_stop"
                )
            self._pump(0, None)
            self._lost += self._reader.lost
            self._renew()

    # ------------------------------------------------------------------------------------- reading

    def parse_lines(self, lines: Sequence[str]) -> None:
        """Called with lines before they are stored; stores them. To be overridden.

        It is called by `wait`, `receive` and `read`, in this process.
        """
        self._storage.extend(lines)

    @property
    def storage(self) -> collections.deque[str | GroupedMessage]:
        """The lines and messages that are kept."""
        return self._storage

    def _pump(self, seconds: float, most: int | None = _BATCH_ITEMS) -> int:
        """Waits for `seconds` at most, and stores what is there."""
        self._check_process()
        if seconds > 0:
            # Without our lock: other threads may read meanwhile.
            self._fill(seconds)
        plain = type(self).parse_lines is LineProcBuffer.parse_lines
        stored = 0
        with self._lock:
            while most is None or stored < most:
                self._reader.fill(0)
                now = self._reader.deliver(
                    self,
                    self._storage,
                    plain,
                    self._stores_losses,
                    self._on_record,
                    most or _BATCH_ITEMS,
                )
                if now == 0:
                    break
                stored += now
            self._note_ends()
        return stored

    def _fill(self, seconds: float) -> None:
        """Waits for `seconds` at most, and takes what is there."""
        # gevent and eventlet put their own in the place of the interpreter's function: that one
        # lets other greenlets of this thread run, and a wait in the extension module lets none.
        if isinstance(select.select, types.BuiltinFunctionType):
            self._reader.fill(seconds)
        elif not self._reader.arm():
            select.select([self._reader.fileno()], [], [], seconds)
            self._reader.fill(0)

    def wait(self, timeout: float | None = None) -> list[Ended]:
        """Waits until every mirror and seat has ended, and says how each worker did since the last
        `wait` that returned.

        At once, if there was none. Ctrl-C, and any other signal's handler that raises, interrupts
        it at once; nothing is lost by that. Raises `TimeoutError` if it lasts more than `timeout`
        seconds.
        """
        began = time.monotonic()
        seconds = 0.0
        while True:
            self._pump(seconds)
            if self._is_over():
                self._pump(0, None)
                with self._lock:
                    ends, self._ends = self._ends, []
                return _merged(ends)
            self._cancel_deserted_seats()
            seconds = POLL_SECONDS
            if timeout is not None:
                seconds = min(seconds, timeout - (time.monotonic() - began))
                if seconds <= 0:
                    reserved, live = self._ring.waiting_for()
                    raise TimeoutError(
                        f"{live} mirrors are open and {reserved} seats unopened after {timeout} s,"
                        " expected none"
                    )

    def receive(self) -> bool:
        """Waits for a line or message and stores it. `False` once every mirror has ended."""
        while True:
            if self._pump(0, 1) > 0:
                return True
            if not self._wait_for_more():
                return False

    def _wait_for_more(self) -> bool:
        """Waits a moment; whether more can come."""
        self._check_process()
        if self._is_over():
            with self._lock:
                self._note_ends()
            return False
        self._cancel_deserted_seats()
        self._fill(POLL_SECONDS)
        return True

    def read(self, size: int | None = None) -> tuple[str | GroupedMessage, ...]:
        """The last `size` lines and messages (all that are kept, for `None`), oldest first. They
        stay.

        The partial lines that workers have sent ahead (`flush`) come last.
        """
        # No further than what is there now: workers that never pause must not keep this from
        # returning.
        self._pump(0, 4 * self._ring_lines())
        with self._lock:
            return last_of(self._storage, self._reader.partial_lines(), size, self._maxlen)

    def _ring_lines(self) -> int:
        return max(_BATCH_ITEMS, 2 * self._maxlen)

    def drain(self, *, changes: bool = False) -> Drain:
        """All lines and groups as they come, to iterate over, with `for` or `async for`; ends when
        every mirror has ended.

        What it hands out is not stored. A note of lost lines is a `Line` too, of `kind` "lost".
        With `changes` each state of a line that changes comes: partial lines that were sent ahead,
        with `unfinished` true.

        With the policy `"block"` no line is lost.
        """
        self._check_process()
        return Drain(self, changes)

    # ------------------------------------------------------------------------------------- the file

    @property
    def maxlen(self) -> int:
        """How many lines and messages are kept."""
        return self._maxlen

    def __len__(self) -> int:
        """How many `read` would give."""
        return len(self.read())

    def __bool__(self) -> bool:
        return True

    def clear(self) -> None:
        """Forgets everything that has come."""
        self._pump(0, 4 * self._ring_lines())
        with self._lock:
            self._reader.discard_partial_lines()
            self._storage.clear()

    def write(self, data: str) -> NoReturn:
        """Raises `NotImplementedError`: workers write, into mirrors."""
        raise NotImplementedError("a LineProcBuffer is not written into: print into its mirror")

    def flush(self) -> None:
        """Does nothing."""

    def new_line(self) -> None:
        """Does nothing: lines are begun and ended in mirrors."""

    @property
    def closed(self) -> bool:
        """Whether its mirrors were told to stop by `close`."""
        return self._stopped

    def close(self) -> None:
        """`force_stop`, and forgets everything."""
        if not self._stopped:
            self.clear()
            self.force_stop()

    def readable(self) -> bool:
        """`True`."""
        return True

    def writable(self) -> bool:
        """`False`: its mirrors are."""
        return False

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a LineProcBuffer cannot be pickled: send its mirror")
