"""`Line`: a `str` with what the ring knows of it."""

from __future__ import annotations

import logging
from typing import Any, Optional, Tuple

_Common = Tuple[Optional[int], str, str, Optional[str], str, int]
_At = Tuple[_Common, Optional[int], Optional[float], int]

_NOTHING: _At = ((None, "", "stdout", None, "line", 0), None, None, 0)


class Line(str):
    """One line, without its line end: a `str`, and where it came from.

    A record of a logger is one too, with as many lines in it as it had. So is a note of lost lines (`kind` "lost") when you
    drain: `-- worker 3: 2789 lines lost, ring full --`.
    """

    __slots__ = ("_at", "_record")
    _at: _At
    _record: str

    def _all(self) -> _At:
        try:
            return self._at
        except AttributeError:
            return _NOTHING

    @property
    def worker(self) -> int | None:
        """The number of its mirror, in the order of their making; `None` in a `LineBuffer`."""
        return self._all()[0][0]

    @property
    def label(self) -> str:
        """Its mirror's label, or ""."""
        return self._all()[0][1]

    @property
    def stream(self) -> str:
        """`"stdout"`, `"stderr"` or `"log"`."""
        return self._all()[0][2]

    @property
    def level(self) -> str | None:
        """Of a logger's record `"TRACE"`, `"DEBUG"`, `"INFO"`, `"WARNING"` or `"ERROR"` (critical ones too); else `None`."""
        return self._all()[0][3]

    @property
    def kind(self) -> str:
        """`"line"`; `"text"`, `"warning"` and `"error"` for groups; `"lost"` for a note of lost lines."""
        return self._all()[0][4]

    @property
    def truncated(self) -> bool:
        """Whether some of it is missing: it was too long, or a part of it was lost."""
        return bool(self._all()[0][5] & 1)

    @property
    def unfinished(self) -> bool:
        """Whether it has no end: it goes on, or its writer died."""
        return bool(self._all()[0][5] & 2)

    @property
    def unacknowledged(self) -> bool:
        """Whether its writer died before `write` returned."""
        return bool(self._all()[0][5] & 4)

    @property
    def position(self) -> int | None:
        """Its place in the one order of the ring. Positions grow, with gaps."""
        return self._all()[1]

    @property
    def time(self) -> float | None:
        """Seconds since 1970 at which its first byte was written, to a few milliseconds."""
        return self._all()[2]

    @property
    def missing(self) -> int:
        """Bytes that are missing of a truncated line; of a note of lost lines, how many were lost."""
        return self._all()[3]

    @property
    def data(self) -> bytes:
        """The bytes as they were written: those that are no UTF-8 are lone surrogates in the `str`."""
        return self.encode("utf-8", "surrogateescape")

    @property
    def record(self) -> logging.LogRecord | None:
        """The record of a logger that it is; `None` if it is none."""
        from ._logging import record_of

        return record_of(self)

    def _head(self) -> str | None:
        return getattr(self, "_record", None)

    def __reduce__(self) -> tuple[Any, ...]:
        return _line, (str(self), self._all(), self._head())


def _line(text: str, at: _At, record: str | None) -> Line:
    line = Line(text)
    line._at = at
    if record is not None:
        line._record = record
    return line
