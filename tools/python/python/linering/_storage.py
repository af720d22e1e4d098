"""The last lines of a buffer: how many are kept, and reading them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TypeVar

T = TypeVar("T")


def check_maxlen(maxlen: int) -> int:
    """Returns `maxlen`; raises `TypeError` if it is no positive integer, as syncstream does."""
    if isinstance(maxlen, bool) or not isinstance(maxlen, int) or maxlen < 1:
        raise TypeError(f"maxlen is {maxlen!r}, expected a positive integer")
    return maxlen


def last_of(
    stored: Iterable[T], partial: Sequence[T], size: int | None, maxlen: int
) -> tuple[T, ...]:
    """The last `size` of the stored and the partial lines, `maxlen` at most."""
    size = maxlen if size is None else min(size, maxlen)
    if size <= 0:
        return ()
    return tuple(chain(stored, partial))[-size:]
