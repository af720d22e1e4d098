"""Who inherited what: tells when every fork's child that could still open a seat is dead.

A forked child opens its seat at its first use, and can die before. Each `fork` makes a pipe whose write end the child alone
has, and its children: when the read end says that it is closed, they are all gone.
"""

from __future__ import annotations

import os
import select
import threading
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._mirror import LineProcMirror


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


_kept: weakref.WeakSet[LineProcMirror] = weakref.WeakSet()
"""Mirrors of this process's buffers whose seats nobody has opened yet."""
_forking = threading.local()
_inherited: list[int] = []
"""Write ends that this process inherited. Its death closes them."""


def keep(mirror: LineProcMirror) -> None:
    """To be called with each mirror whose seat a fork's child may open."""
    _kept.add(mirror)


def _before() -> None:
    _forking.pipe = None
    for mirror in list(_kept):
        if not mirror._is_kept():
            _kept.discard(mirror)
    if _kept:
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
    for mirror in list(_kept):
        mirror._witnesses.append(witness)


def _in_child() -> None:
    pipe = _forking.pipe
    for mirror in list(_kept):
        mirror._witnesses.clear()
    _kept.clear()
    if pipe is not None:
        os.close(pipe[0])
        _inherited.append(pipe[1])


os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
