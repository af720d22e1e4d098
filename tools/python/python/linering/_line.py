"""Records that are lines, and what pickles of lines are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._linering import Line, restore, state

if TYPE_CHECKING:
    import logging


class Record(Line):
    """A `Line` that a `LogHandler` sent."""

    __slots__ = ("_record",)
    _record: str

    @property
    def record(self) -> logging.LogRecord | None:
        """The record of a logger that it is."""
        from ._logging import record_of

        return record_of(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return _line, (type(self), str(self), state(self), self._record)


def _line(cls: type[Line], text: str, known: tuple[Any, ...], record: str | None) -> Line:
    line = cls(text)
    restore(line, known)
    if isinstance(line, Record) and record is not None:
        line._record = record
    return line
