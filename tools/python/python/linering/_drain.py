"""`Drain`: lines as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Union

from ._linering import Line, Lines
from ._message import GroupedMessage

if TYPE_CHECKING:
    from ._proc import LineProcBuffer

Item = Union[Line, GroupedMessage]

_LOOK_EVERY = 0.1
"""Seconds after which an event loop's reader looks for deaths, of which no descriptor tells."""


class Drain:
    """A buffer's lines and groups, to iterate over: `for line in pbuf.drain()`, `async for line in pbuf.drain()`.

    What was not handed out yet when the loop is left stays in the buffer.
    """

    def __init__(self, buffer: LineProcBuffer, changes: bool) -> None:
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
            buffer._watch()
            came = loop.create_future()
            loop.add_reader(reader.fileno(), _tell, came)
            try:
                await asyncio.wait([came], timeout=_LOOK_EVERY)
            finally:
                loop.remove_reader(reader.fileno())


def _tell(came: asyncio.Future[None]) -> None:
    if not came.done():
        came.set_result(None)
