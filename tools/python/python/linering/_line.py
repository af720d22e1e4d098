"""`Line`: a `str` with what the ring knows of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._linering import Text, restore, state

if TYPE_CHECKING:
    import logging


class Line(Text):
    """One line, without its line end: a `str`, and where it came from.

    A record of a logger is one too, with as many lines in it as it had. So is a note of lost lines (`kind` "lost") when you
    drain: `-- worker 3: 2789 lines lost, ring full --`.
    """

    # With attributes of its own the collector of garbage would visit each line.
    __slots__ = ()

    @property
    def data(self) -> bytes:
        """The bytes as they were written: those that are no UTF-8 are lone surrogates in the `str`."""
        return self.encode("utf-8", "surrogateescape")

    @property
    def record(self) -> logging.LogRecord | None:
        """The record of a logger that it is; `None` if it is none."""
        return None

    def __reduce__(self) -> tuple[Any, ...]:
        return _line, (type(self), str(self), state(self), None)


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
