"""A look at rings that have a name, or are in files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from . import _linering
from ._linering import Line
from ._message import Ended, GroupedMessage, _merged


def observe(
    name: str | None = None,
    *,
    file: str | os.PathLike[str] | None = None,
    any_user: bool = False,
) -> tuple[list[Line | GroupedMessage], list[Ended]]:
    """What is in the ring of this `name`, or in this `file`, now: the lines and groups that no
    reader has taken and, before them, those that the ring still has; and the ends that no reader
    has accepted. Changes nothing there, and disturbs no process that uses it.

    Of a ring that no process uses the last words of those that were killed are among them.

    Raises `FileNotFoundError` if there is no such ring, another `OSError` if what is there is none,
    `ValueError` unless there is one of `name` and `file`.
    """
    lines, ends = _linering.observe(name, file, any_user)
    found = [Ended(*end) for end in ends]
    return lines, _merged(end for end in found if end.end != "cancelled")


@dataclass(frozen=True)
class WriterStatistics:
    """A seat or a mirror, as `Observer.statistics` finds it."""

    worker: int
    label: str
    pid: int | None
    """The process that opened it."""
    state: str
    """`"waiting"` (a seat that no process has opened), `"open"`, `"gone"` (its process is, and no
    reader has noticed yet), or how it ended: `"eof"`, `"error"`, `"died"`, `"cancelled"`,
    `"never opened"`.
    """
    lines: int
    """Lines that it has written, those included that it dropped; short ones that share a slot
    count as one.
    """
    dropped: int


@dataclass(frozen=True)
class RingStatistics:
    """What a ring is, how far it has come, and who writes into it: `Observer.statistics`."""

    created: float
    """When it was made, in seconds since 1970."""
    policy: str
    capacity: int
    """Lines that it has room for, of up to `line_bytes`."""
    line_bytes: int
    max_line: int
    size: int
    """Bytes of its memory or file."""
    checksums: bool
    written: int
    """Slots that were ever filled: with a line, several short ones, or a part of a long one."""
    unread: int
    """Those of them that no reader has accepted."""
    found_full: int
    """How often a writer found it full."""
    stopped: bool
    has_reader: bool
    is_used: bool
    open: int
    seats: int
    eofs: int
    errors: int
    deaths: int
    writers: tuple[WriterStatistics, ...]


@dataclass(frozen=True)
class PassedBy:
    """So many slots were used for other lines before `Observer.follow` looked at them."""

    count: int


class Observer:
    """Looks at the ring of this `name`, or in this `file`: changes nothing there, and keeps no
    process that uses it waiting.

    Raises what `observe` raises.
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        file: str | os.PathLike[str] | None = None,
        any_user: bool = False,
    ) -> None:
        self._watch = _linering.Watch(name, file, any_user)

    def is_used(self) -> bool:
        """Whether a process uses the ring, as its reader or with mirrors."""
        return self._watch.is_used()

    def statistics(self) -> RingStatistics:
        """What the ring is, how far it has come, and who writes into it."""
        ring, writers = self._watch.statistics()
        return RingStatistics(
            **ring, writers=tuple(WriterStatistics(**writer) for writer in writers)
        )

    def follow(self) -> Iterator[Line | GroupedMessage | Ended | PassedBy]:
        """What is there, and then what comes, taken by a reader or not, until no process uses the
        ring any more. It sleeps while a reader sleeps that waits for lines, and is woken with it;
        without one it looks each 10 ms, and each 100 ms after a second without anything. Where it
        is too slow a `PassedBy` says so.
        """
        follow = self._watch.follow()
        while True:
            # Before the look: what was written last is seen.
            is_used = self.is_used()
            came = False
            for passed, (lines, ends) in follow.more():
                if passed:
                    came = True
                    yield PassedBy(passed)
                for line in lines:
                    came = True
                    yield line
                for end in ends:
                    came = True
                    yield Ended(*end)
            if not came:
                if not is_used:
                    return
                follow.wait()
