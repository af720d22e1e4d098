"""How a buffer's workers end."""

from __future__ import annotations

import os

from ._linering import Reader
from ._message import Ended, _merged
from ._processes import NOT_STARTED, Hold, Starter
from ._seats import SeatBook


_MOST_SAID = 20
"""Open mirrors that are named."""


def _said_of(worker: int, label: str, process: int | None) -> str:
    """A mirror that is open, by which process, and since when that lives."""
    words = f"worker {worker}{label and ' '}{label}, open in process {process or 'unknown'}"
    try:
        with open(f"/proc/{process}/stat", "rb") as stat, open("/proc/uptime") as uptime:
            # The beginning is the 22nd field, of which the second may hold anything.
            began = int(stat.read().rpartition(b")")[2].split()[19])
            age = float(uptime.read().split()[0]) - began / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, ValueError):
        # It is dead, or in another container.
        return words
    return f"{words}, which began {age:.1f} s ago"


class Endings(Starter):
    """What a `LineProcBuffer` knows of the ends of its mirrors."""

    _reader: Reader
    _process: int
    _stopped: bool
    _lost: int

    def _renew_endings(self) -> None:
        self._ends: list[Ended] = []
        # Those that no process has opened yet.
        self._book = SeatBook(self._ring)
        # How seats ended, by their workers' numbers, of which no process was left to open them, and
        # how that exited.
        self._deserted: dict[int, tuple[str, int | None]] = {}
        # How programs exited that `popen` started, by their workers' numbers.
        self._exits: dict[int, int] = {}
        self._made_hold: Hold | None = None

    def _pump(self, seconds: float) -> int:
        """Takes what is there."""
        raise NotImplementedError

    @property
    def n_mirrors(self) -> int:
        """How many mirrors and seats have not ended."""
        return 0 if self._stopped else sum(self._ring.waiting_for())

    def __repr__(self) -> str:
        name = type(self).__name__
        if self._stopped or os.getpid() != self._process:
            return f"<{name}>" if not self._stopped else f"<{name}, stopped>"
        reserved, live = self._ring.waiting_for()
        with self._lock:
            words = [_said_of(*each) for each in self._ring.open_mirrors()[:_MOST_SAID]]
            words += [f"... and {live - _MOST_SAID} more"] if live > _MOST_SAID else []
            words += [str(self._book)] if self._book.seats else []
        said = "; ".join(filter(None, words))
        return f"<{name}: {live} mirrors open, {reserved} seats unopened{said and ': '}{said}>"

    @property
    def lost(self) -> int:
        """Lines that were lost so far: overwritten or dropped before this process read them."""
        return self._lost + self._reader.lost

    def stop_all_mirrors(self) -> None:
        """Has the next write of every mirror raise `Stopped`, a `StopIteration`. Their ends are
        sent all the same.
        """
        self._ring.stop()

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise RuntimeError(
                f"this buffer is read by process {self._process}, which made it; this is process"
                f" {os.getpid()}"
            )

    def _is_over(self) -> bool:
        return self._stopped or self._reader.is_over()

    def _note_ends(self) -> None:
        for each in self._reader.ends():
            end = Ended(*each)
            if end.end == "cancelled" and end.worker in self._deserted:
                how, code = self._deserted.pop(end.worker)
                end = end._replace(end=how, exit=code)
            code = self._exits.get(end.worker)
            if code is not None:
                end = end._replace(end="died" if code else end.end, exit=code)
            is_hold = self._made_hold is not None and end.worker == self._made_hold.worker
            if end.end != "cancelled" and code != NOT_STARTED and not is_hold:
                self._ends.append(end)

    def _cancel_deserted_seats(self) -> None:
        """Cancels seats of which every process that could open them is dead."""
        with self._lock:
            self._deserted.update(self._book.cancel_those_that_are_over())

    def ends(self) -> list[Ended]:
        """How each worker ended that has since the last `wait` that returned; `wait` will say it
        again.
        """
        self._pump(0)
        with self._lock:
            return _merged(self._ends)
