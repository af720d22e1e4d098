"""Which seats a buffer has handed out, and which processes can still open them.

The rule is in docs/python.md, "Who owns a seat". A forked child opens its seat at its first use,
and can die before. Each `fork` makes a pipe whose write end lives in the child and the child's
children alone: when the read end reports that it is closed, they are all dead.
"""

from __future__ import annotations

import os
import threading
import weakref
from time import monotonic

from . import _ends
from ._hand_over import DIED, NEVER, HandOver, Over, is_in_a_dead_task
from ._linering import Mirror, ReservedSeat, Ring


class ForkWitness:
    """Tells when one fork's child, and all of the child's children, are dead."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._gone = False
        os.set_blocking(descriptor, False)

    def is_gone(self) -> bool:
        """Whether they are all dead."""
        if not self._gone:
            # Nothing is ever written into it, and no poll is used, which gevent replaces.
            try:
                self._gone = os.read(self._descriptor, 1) == b""
            except BlockingIOError:
                pass
        return self._gone

    def __del__(self) -> None:
        os.close(self._descriptor)


class HandedOutSeat:
    """A seat that a buffer reserved for a mirror that it returned, and the forked children that
    inherited that mirror.
    """

    __slots__ = (
        "reserved", "mirror", "inherited", "unwitnessed", "witnesses", "exit", "made",
        "__weakref__",
    )  # fmt: skip

    def __init__(self, reserved: ReservedSeat, mirror: Mirror) -> None:
        self.reserved = reserved
        self.mirror = weakref.ref(mirror, self._collected)
        self.inherited = False
        # Whether a child inherited it of whose death no pipe tells.
        self.unwitnessed = False
        # Of those who inherited it and may live.
        self.witnesses: list[ForkWitness] = []
        self.exit: int | None = None
        self.made = monotonic()
        _handed_out.add(self)

    def _collected(self, _mirror: object) -> None:
        # A forked child may still have it, or a pickle.
        if not self.inherited and not self.reserved.is_copied():
            self.reserved.cancel()

    def add_child(self, witness: ForkWitness | None) -> None:
        """Notes one more fork; without a witness the seat keeps its time limit and nothing else.

        Witnesses of dead children are dropped: a descriptor for each child that ever was would be
        too many.
        """
        self.witnesses = [each for each in self.witnesses if not each.is_gone()]
        if witness is None:
            self.unwitnessed = True
        else:
            self.witnesses.append(witness)
        self.inherited = True

    def can_be_opened(self) -> bool:
        """Whether the seat is reserved and a process has its mirror: this one, one that inherited
        it, or one that has a pickle of it.
        """
        has_mirror = self.mirror() is not None or self.inherited or self.reserved.is_copied()
        return self.reserved.is_reserved() and has_mirror

    def is_over(self, ring: Ring) -> Over:
        """How it has ended, if no process that could open it lives."""
        mirror = self.mirror()
        if mirror is not None and is_in_a_dead_task(mirror):
            return NEVER
        if self.reserved.is_copied():
            was_claimed, is_claimed = ring.claim(self.reserved.worker)
            return DIED if was_claimed and not is_claimed else None
        is_deserted = self.inherited and not self.unwitnessed
        return DIED if is_deserted and all(it.is_gone() for it in self.witnesses) else None

    def __str__(self) -> str:
        if self.reserved.is_copied():
            return "a pickle of it is somewhere"
        if self.witnesses:
            return "forked children inherited it and have not used it"
        return "this process has the mirror and has not used it"


class HandedOverSeat:
    """A seat that was handed over to another process, which has not opened it."""

    __slots__ = ("reserved", "hand_over", "made")

    def __init__(self, reserved: ReservedSeat, hand_over: HandOver | None) -> None:
        self.reserved = reserved
        # `None` for one that another process reserved for itself.
        self.hand_over = hand_over
        self.made = monotonic()

    @property
    def exit(self) -> int | None:
        """How the process that was to open it exited."""
        return None if self.hand_over is None else self.hand_over.exit

    def can_be_opened(self) -> bool:
        """Whether it is reserved."""
        return self.reserved.is_reserved()

    def is_over(self, ring: Ring) -> Over:
        """How it has ended, if no process that could open it lives."""
        was_claimed, is_claimed = ring.claim(self.reserved.worker)
        if was_claimed:
            if is_claimed or (self.hand_over is not None and self.hand_over.is_exiting()):
                return None
            if self.hand_over is not None:
                self.hand_over.is_over()  # Finds how the process exited.
            return DIED
        return None if self.hand_over is None else self.hand_over.is_over()

    def __str__(self) -> str:
        was_handed_over = self.hand_over is not None
        return str(self.hand_over) if was_handed_over else "in the hands of another process"


class SeatBook:
    """The seats of a buffer's ring that were not opened yet."""

    def __init__(self, ring: Ring) -> None:
        self.process = os.getpid()
        self.ring = ring
        self.seats: list[HandedOutSeat | HandedOverSeat] = []
        # Any of the ring's, to make others of.
        self._model: ReservedSeat | None = None
        # Of seats that other processes reserved and have opened.
        self._settled: set[int] = set()
        self._next_look = 0.0
        # How many seats are listed before those that cannot be opened any more are dropped.
        self._prune_above = 128

    def add(self, seat: HandedOutSeat | HandedOverSeat) -> None:
        """Lists one more."""
        number = seat.reserved.worker
        if self._model is None:
            _books[seat.reserved.text.split(":")[1]] = self
        self._model = seat.reserved
        if isinstance(seat, HandedOverSeat):
            # The last hand-over of a seat counts.
            self.seats = [it for it in self.seats if it.reserved.worker != number]
        if len(self.seats) >= self._prune_above:
            self.prune()
        self.seats.append(seat)

    def __str__(self) -> str:
        self.prune()
        now = monotonic()
        return "; ".join(
            f"worker {seat.reserved.worker}, {seat}, {now - seat.made:.1f} s ago"
            for seat in self.seats
        )

    def prune(self) -> None:
        """Drops the seats that were opened, handed over or cancelled."""
        self.seats = [seat for seat in self.seats if seat.can_be_opened()]
        self._prune_above = 2 * max(64, len(self.seats))

    def cancel_those_that_are_over(self) -> dict[int, tuple[str, int | None]]:
        """Cancels the seats that no process can open any more; how they have ended, by number."""
        cancelled: dict[int, tuple[str, int | None]] = {}
        began = monotonic()
        if began < self._next_look:
            return cancelled
        if self.ring.waiting_for()[0] == 0:
            self.seats.clear()
            return cancelled
        self.prune()
        self._adopt()
        for seat in self.seats:
            end = seat.is_over(self.ring)
            # In this order: a process that opens it claims it until then.
            if end is not None and seat.reserved.cancel():
                cancelled[seat.reserved.worker] = end, seat.exit
        if cancelled:
            self.prune()
        # Ten thousand seats take a moment, of which the reader needs the most for itself.
        now = monotonic()
        self._next_look = now + 5 * (now - began)
        return cancelled

    def _adopt(self) -> None:
        """Lists the seats that other processes have reserved for themselves."""
        # As long as the ring has no more than are listed here there is none.
        if self._model is None or self.ring.waiting_for()[0] <= len(self.seats):
            return
        known = {seat.reserved.worker for seat in self.seats}
        for number, ticket in self.ring.claims():
            if number not in known and number not in self._settled:
                reserved = self._model.sibling(number, ticket)
                if reserved.is_reserved():
                    self.seats.append(HandedOverSeat(reserved, None))
                else:
                    self._settled.add(number)


_books: weakref.WeakValueDictionary[str, SeatBook] = weakref.WeakValueDictionary()
"""Those of this process's rings, by the rings' names in seats' strings."""


def book_of(seat: str) -> SeatBook | None:
    """The book of a seat's ring, if that is this process's."""
    return _books.get(seat.split(":")[1]) if seat.count(":") == 5 else None


_handed_out: weakref.WeakSet[HandedOutSeat] = weakref.WeakSet()
"""Those of this process's buffers."""
_inherited: list[int] = []
"""Write ends that this process inherited. Its death closes them."""


class _Fork(threading.local):
    """The fork that this thread is in the middle of."""

    pipe: tuple[int, int] | None = None


_fork = _Fork()


def _inheritable() -> list[HandedOutSeat]:
    return [
        seat
        for seat in list(_handed_out)
        if seat.reserved.is_reserved() and seat.mirror() is not None
    ]


def _before_fork() -> None:
    _fork.pipe = None
    if _inheritable():
        try:
            _fork.pipe = os.pipe()
        except OSError:
            # The fork goes on without a witness.
            pass


def _in_parent() -> None:
    _ends.note_fork()
    witness = None
    if _fork.pipe is not None:
        os.close(_fork.pipe[1])
        witness = ForkWitness(_fork.pipe[0])
    for seat in _inheritable():
        seat.add_child(witness)


def _in_child() -> None:
    for seat in list(_handed_out):
        seat.witnesses.clear()
    _handed_out.clear()
    if _fork.pipe is not None:
        os.close(_fork.pipe[0])
        _inherited.append(_fork.pipe[1])
    _ends.watch()


os.register_at_fork(before=_before_fork, after_in_parent=_in_parent, after_in_child=_in_child)
