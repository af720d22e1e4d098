"""Who inherited what: tells when every fork's child that could still open a seat is dead.

A forked child opens its seat at its first use, and can die before. Each `fork` makes a pipe whose write end the child alone
has, and its children: when the read end says that it is closed, they are all gone.
"""

from __future__ import annotations

import os
import select
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._linering import Kept
    from ._mirror import LineProcMirror


PICKLING = 1.0
"""Seconds after which nobody is taken to be about to pickle a mirror again, if all others have ended."""


class Witness:
    """One fork's child, and its children."""

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


class Seat:
    """A seat that a buffer keeps for the mirror that it handed out, and who inherited that mirror."""

    __slots__ = ("kept", "mirror", "pickled", "inherited", "witnesses", "__weakref__")

    def __init__(self, kept: Kept, mirror: LineProcMirror) -> None:
        self.kept = kept
        self.mirror = weakref.ref(mirror, self._collected)
        self.pickled: float | None = None
        self.inherited = False
        # Of those who inherited it and may live.
        self.witnesses: list[Witness] = []
        mirror._seat = self
        _seats.add(self)

    def _collected(self, _mirror: object) -> None:
        # A fork's child may have it still, unless it went to others in pickles.
        if not self.inherited or self.pickled is not None:
            self.kept.cancel()

    def add(self, witness: Witness) -> None:
        """Of one more fork. A descriptor for each that ever was would be too many."""
        self.witnesses = [each for each in self.witnesses if not each.is_gone()]
        self.witnesses.append(witness)
        self.inherited = True

    def is_deserted(self) -> bool:
        """Whether everybody who inherited it is dead."""
        return self.inherited and all(witness.is_gone() for witness in self.witnesses)

    def is_spent(self) -> bool:
        """Whether its mirror is only a leftover: it was pickled, and nobody is about to pickle it again."""
        mirror = self.mirror()
        if mirror is None or self.pickled is None or not self.kept.is_kept():
            return False
        # One reference, besides the two here: a variable of somebody who has sent it already. A task that still waits for its
        # pickling has one of its own. More may be variables too, and that cannot be known.
        return sys.getrefcount(mirror) <= 3 or time.monotonic() - self.pickled > PICKLING


_seats: weakref.WeakSet[Seat] = weakref.WeakSet()
"""Those of this process's buffers."""
_forking = threading.local()
_inherited: list[int] = []
"""Write ends that this process inherited. Its death closes them."""


def _could_be_inherited() -> list[Seat]:
    return [seat for seat in list(_seats) if seat.kept.is_kept() and seat.mirror() is not None]


def _before() -> None:
    _forking.pipe = None
    if _could_be_inherited():
        try:
            _forking.pipe = os.pipe()
        except OSError:
            # Then its death before the first line has the time limit of seats.
            pass


def _in_parent() -> None:
    pipe = _forking.pipe
    if pipe is None:
        return
    os.close(pipe[1])
    witness = Witness(pipe[0])
    for seat in _could_be_inherited():
        seat.add(witness)


def _in_child() -> None:
    pipe = _forking.pipe
    for seat in list(_seats):
        seat.witnesses.clear()
    _seats.clear()
    if pipe is not None:
        os.close(pipe[0])
        _inherited.append(pipe[1])


os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
