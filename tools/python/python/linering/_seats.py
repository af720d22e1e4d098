"""Which seats a buffer has handed out, and who can still open them: what was collected, and which
forked child is dead.

The rule is in docs/python.md, "Who owns a seat". A forked child opens its seat at its first use,
and can die before. Each `fork` makes a pipe whose write end lives in the child and the child's
children alone: when the read end reports that it is closed, they are all dead.
"""

from __future__ import annotations

import os
import select
import threading
import weakref

from ._linering import Mirror, ReservedSeat


class ForkWitness:
    """Tells when one fork's child, and all of the child's children, are dead."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._gone = False

    def is_gone(self) -> bool:
        """Whether they are all dead."""
        if not self._gone:
            poll = select.poll()
            poll.register(self._descriptor, select.POLLIN)
            self._gone = bool(poll.poll(0))
        return self._gone

    def __del__(self) -> None:
        os.close(self._descriptor)


class HandedOutSeat:
    """A seat that a buffer reserved for a mirror that it returned, and the forked children that
    inherited that mirror.
    """

    __slots__ = ("reserved", "mirror", "inherited", "unwitnessed", "witnesses", "__weakref__")

    def __init__(self, reserved: ReservedSeat, mirror: Mirror) -> None:
        self.reserved = reserved
        self.mirror = weakref.ref(mirror, self._collected)
        self.inherited = False
        # Whether a child inherited it of whose death no pipe tells.
        self.unwitnessed = False
        # Of those who inherited it and may live.
        self.witnesses: list[ForkWitness] = []
        _handed_out.add(self)

    def _collected(self, _mirror: object) -> None:
        # A forked child may still have it.
        if not self.inherited:
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
        """Whether the seat is reserved and a process has its mirror: this one, or one that
        inherited it.
        """
        return self.reserved.is_reserved() and (self.mirror() is not None or self.inherited)

    def is_deserted(self) -> bool:
        """Whether every process that inherited it is dead."""
        return (
            self.inherited
            and not self.unwitnessed
            and all(witness.is_gone() for witness in self.witnesses)
        )


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


os.register_at_fork(before=_before_fork, after_in_parent=_in_parent, after_in_child=_in_child)
