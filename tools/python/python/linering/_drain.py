"""`Drain`: lines as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Protocol, Union

from ._linering import Line, Lines, Reader
from ._message import GroupedMessage

Item = Union[Line, GroupedMessage]

_DEATH_CHECK_SECONDS = 0.1
"""Seconds between two checks for deaths by an event loop's reader: no descriptor tells of them."""


class Drainable(Protocol):
    """What `Drain` needs of a buffer."""

    _reader: Reader

    def _is_over(self) -> bool:
        """Whether every mirror and seat has ended and everything was handed out."""

    def _note_ends(self) -> None:
        """Keeps the ends that have come, for `wait`."""

    def _cancel_deserted_seats(self) -> None:
        """Cancels seats of which every process that could open them is dead."""

    def _wait_for_more(self) -> bool:
        """Waits a moment; whether more can come. Called by `Lines`."""


class Drain:
    """A buffer's lines and groups, to iterate over: `for line in pbuf.drain()`, `async for line in
    pbuf.drain()`.

    When the caller leaves the loop early, the items that it did not get stay in the buffer.
    """

    def __init__(self, buffer: Drainable, changes: bool) -> None:
        self._buffer = buffer
        self._changes = changes

    def __iter__(self) -> Iterator[Item]:
        return Lines(self._buffer, self._buffer._reader, self._changes)

    async def __aiter__(self) -> AsyncIterator[Item]:
        buffer, reader = self._buffer, self._buffer._reader
        loop = asyncio.get_running_loop()
        while True:
            line = reader.next(self._changes)
            if line is not None:
                yield line
                continue
            if reader.arm():
                continue
            if buffer._is_over():
                buffer._note_ends()
                return
            buffer._cancel_deserted_seats()
            came = loop.create_future()
            loop.add_reader(reader.fileno(), _tell, came)
            try:
                await asyncio.wait([came], timeout=_DEATH_CHECK_SECONDS)
            finally:
                loop.remove_reader(reader.fileno())


def _tell(came: asyncio.Future[None]) -> None:
    if not came.done():
        came.set_result(None)
