"""What is kept, and read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TypeVar

T = TypeVar("T")


def check_maxlen(maxlen: int) -> int:
    """A number of lines; raises `TypeError` for what is none, as syncstream does."""
    if isinstance(maxlen, bool) or not isinstance(maxlen, int) or maxlen < 1:
        raise TypeError(f"maxlen is {maxlen!r}, expected a positive integer")
    return maxlen


def last_of(stored: Iterable[T], begun: Sequence[T], size: int | None, maxlen: int) -> tuple[T, ...]:
    """The last `size` of what is stored and begun, `maxlen` at most."""
    size = maxlen if size is None else min(size, maxlen)
    if size <= 0:
        return ()
    return tuple(chain(stored, begun))[-size:]
