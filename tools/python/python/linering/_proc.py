"""`LineProcBuffer`: the last lines of worker processes, and how each of them ended."""

from __future__ import annotations

import collections
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from . import _fork
from ._drain import Drain
from ._file import TextFile
from ._linering import Line, Ring
from ._message import Ended, GroupedMessage, _merged
from ._mirror import LineProcMirror
from ._storage import check_maxlen, last_of

_MOMENT = 0.02
"""Seconds that a wait lasts at most before it looks for signals' handlers, and for seats whose owners are dead."""
_MOST = 4096
"""Items that are stored at a time."""


class LineProcBuffer(TextFile):
    """Keeps the last `maxlen` lines of worker processes, and notices how each of them ends.

    Workers print into mirrors: `pbuf.mirror` gives one for each. This process calls `wait` and `read`, or iterates over
    `drain()`. There is no thread and no manager process behind it, and no worker waits for this process, unless the policy is
    `"block"`.

    Only the process that made it can read it: in a forked child that raises `RuntimeError`.
    """

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
        checksums: bool = False,
    ) -> None:
        """A ring of `lines` slots of `line_bytes` bytes (4096 of 256; longer lines take several). At least twice `maxlen`, so
        that the last `maxlen` lines are there without anybody having read, unless you give a number and `"block"`.

        `policy` is what a worker does when the ring is full because nobody reads: `"overwrite"` the oldest line, `"block"`
        (wait for the reader, `block_limit` seconds at most, `None` for ever), or `"drop"` the new line. The last line lost
        nothing with `"block"`; losses are counted with all.

        `max_line` is the longest line in bytes: an eighth of the ring. What is over it is cut off, and `truncated` says so.

        `mirrors` may be open at a time (4095 at most), with one for each thread that prints; `seats` may be kept.

        `seat_limit` is the number of seconds after which a seat that nobody has opened counts as ended: a pickled mirror whose
        worker never came. `None`: never.

        With `checksums` a line that something but its writer has changed in the ring comes with
        `damaged` true. Each slot has room for 8 bytes less of a line then.

        Raises `TypeError` for a `maxlen` that is no positive number, `ValueError` for options out of their bounds, `OSError`
        when the system has no memory.
        """
        self._maxlen = check_maxlen(maxlen)
        if lines is not None and (isinstance(lines, bool) or not isinstance(lines, int) or lines < 1):
            raise ValueError(f"lines is {lines!r}, expected None or a positive integer")
        if lines is None or policy != "block":
            lines = max(lines or 4096, 2 * maxlen)
        self._make: Callable[[], Ring] = lambda: Ring(
            lines,
            line_bytes,
            policy,
            mirrors=mirrors,
            seats=seats,
            seat_limit=seat_limit,
            block_limit=block_limit,
            max_line=max_line,
            checksums=checksums,
        )
        self._losses = policy != "overwrite"
        self._storage: collections.deque[str | GroupedMessage] = collections.deque(maxlen=maxlen)
        self._process = os.getpid()
        self._lock = threading.RLock()
        self._lost = 0
        self._on_record: Callable[[Line], object] | None = None
        self._renew()

    def _renew(self) -> None:
        self._ring = self._make()
        self._reader = self._ring.reader()
        self._stopped = False
        self._ends: list[Ended] = []
        # Those that nobody has opened yet, and the numbers of those whose owners died before they did.
        self._seats: list[_fork.Seat] = []
        self._deserted: set[int] = set()
        self._few = 64

    # ------------------------------------------------------------------------------------- mirrors

    @property
    def mirror(self) -> LineProcMirror:
        """A mirror for one worker, or for more if it is pickled for each. `wait` waits for it from now on.

        One that is never used, and in no pickle, is given up when it is collected. Raises `OSError` when there are too many.
        """
        return self.new_mirror()

    def new_mirror(
        self, label: str = "", *, aggressive: bool = False, timeout: float | None = None
    ) -> LineProcMirror:
        """The same with a label of at most 24 bytes, which its lines carry, and with options.

        `aggressive`: what a write leaves of a begun line is sent ahead at once, as `flush` does it. `timeout`: seconds that a
        write may wait for room. Raises `ValueError` for a label that is too long.
        """
        if self._stopped:
            self.reset_states()
        kept = self._ring.seat(label)
        mirror = LineProcMirror(kept, aggressive, timeout)
        seat = _fork.Seat(kept, mirror)
        with self._lock:
            if len(self._seats) >= 2 * self._few:
                self._forget_seats()
            self._seats.append(seat)
        return mirror

    def _forget_seats(self) -> None:
        """Forgets those that have gone to somebody, or were given up."""
        self._seats = [
            seat for seat in self._seats if seat.kept.is_kept() and (seat.mirror() is not None or seat.inherited)
        ]
        self._few = max(64, len(self._seats))

    @property
    def n_mirrors(self) -> int:
        """How many mirrors and seats have not ended."""
        return 0 if self._stopped else sum(self._ring.waiting_for())

    @property
    def lost(self) -> int:
        """Lines that were lost so far: overwritten or dropped before this process read them."""
        return self._lost + self._reader.lost

    def stop_all_mirrors(self) -> None:
        """Has the next write of every mirror raise `Stopped`, a `StopIteration`. Their ends are sent all the same."""
        self._ring.stop()

    def force_stop(self) -> None:
        """Has `wait`, `receive` and `drain` return, whatever the mirrors do; what these print from now on is not read.

        For workers that are terminated. The next `mirror`, or `reset_states`, begins afresh.
        """
        self._stopped = True
        self._ring.stop()

    def reset_states(self) -> None:
        """Begins afresh after a stop. Raises `TypeError` while mirrors are open or seats kept. What was read stays."""
        with self._lock:
            if self.n_mirrors > 0:
                raise TypeError(
                    f"{self.n_mirrors} mirrors have not ended, expected none: wait for them, or call force_stop"
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

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise RuntimeError(
                f"this buffer is read by process {self._process}, which made it; this is process {os.getpid()}"
            )

    def _pump(self, seconds: float, most: int | None = _MOST) -> int:
        """Waits for `seconds` at most, and stores what is there."""
        self._check_process()
        if seconds > 0:
            # Without our lock: others may read meanwhile.
            self._reader.fill(seconds)
        plain = type(self).parse_lines is LineProcBuffer.parse_lines
        stored = 0
        with self._lock:
            while most is None or stored < most:
                self._reader.fill(0)
                now = self._reader.hand_on(
                    self, self._storage, plain, self._losses, self._on_record, most or _MOST
                )
                if now == 0:
                    break
                stored += now
            self._note_ends()
        return stored

    def _note_ends(self) -> None:
        for each in self._reader.ends():
            end = Ended(*each)
            if end.worker in self._deserted:
                self._deserted.discard(end.worker)
                end = end._replace(end="died")
            if end.end != "cancelled":
                self._ends.append(end)

    def _watch(self) -> None:
        """Gives up seats of which every process that could open them is dead."""
        if not self._seats:
            return
        with self._lock:
            for seat in self._seats:
                if seat.is_deserted() and seat.kept.cancel():
                    self._deserted.add(seat.kept.worker)
            self._forget_seats()
            kept, live = self._ring.waiting_for()
            if live == 0 and 0 < kept <= len(self._seats):
                spent = [seat for seat in self._seats if seat.is_spent()]
                if len(spent) == kept:
                    for seat in spent:
                        seat.kept.cancel()

    def _is_over(self) -> bool:
        return self._stopped or self._reader.is_over()

    def wait(self, timeout: float | None = None) -> list[Ended]:
        """Waits until every mirror and seat has ended, and says how each worker did since the last `wait` that returned.

        At once, if there was none. Ctrl-C, and any other signal's handler that raises, interrupts it at once; nothing is lost
        by that. Raises `TimeoutError` if it lasts more than `timeout` seconds.
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
            self._watch()
            seconds = _MOMENT
            if timeout is not None:
                seconds = min(seconds, timeout - (time.monotonic() - began))
                if seconds <= 0:
                    kept, live = self._ring.waiting_for()
                    raise TimeoutError(
                        f"{live} mirrors are open and {kept} seats unopened after {timeout} s, expected none"
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
        self._watch()
        self._reader.fill(_MOMENT)
        return True

    def read(self, size: int | None = None) -> tuple[str | GroupedMessage, ...]:
        """The last `size` lines and messages (all that are kept, for `None`), oldest first. They stay.

        The lines that workers have begun and sent ahead (`flush`) come last.
        """
        # No further than what is there now: workers that never pause must not keep this from returning.
        self._pump(0, 4 * self._ring_lines())
        with self._lock:
            return last_of(self._storage, self._reader.begun(), size, self._maxlen)

    def _ring_lines(self) -> int:
        return max(_MOST, 2 * self._maxlen)

    def ends(self) -> list[Ended]:
        """How each worker ended that has since the last `wait` that returned; `wait` will say it again."""
        self._pump(0)
        with self._lock:
            return _merged(self._ends)

    def drain(self, *, changes: bool = False) -> Drain:
        """All lines and groups as they come, to iterate over, with `for` or `async for`; ends when every mirror has ended.

        What it hands out is not stored. A note of lost lines is a `Line` too, of `kind` "lost". With `changes` each state of a
        line that changes comes: what was begun and sent ahead, with `unfinished` true.

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
            self._reader.forget_begun()
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


