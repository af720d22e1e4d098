"""`GroupedMessage` and `Ended`: what is no line."""

from __future__ import annotations

import signal
import traceback
import warnings
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Optional, TypedDict

from ._linering import Line

SerializedMessage = TypedDict(
    "SerializedMessage",
    {"/is_syncsdata": bool, "/type": str, "type": str, "data": "tuple[str, ...]"},
)


def _trace(error: BaseException) -> str:
    """The error with its trace, as the interpreter would print it."""
    return "".join(traceback.format_exception(type(error), error, error.__traceback__))


class GroupedMessage:
    """Lines that belong together: a warning or an error of a worker. `str()` of it gives them, one
    after another.

    `type` is `"str"`, `"warning"` or `"error"`; `data` the lines, without their ends. Of one that
    came from a worker, `worker`, `label`, `stream`, `time` (seconds since 1970) and `position` say
    what a `Line` says.
    """

    def __init__(self, data: str | Iterable[str] | BaseException | None = None) -> None:
        self.type: str = "str"
        self.data: tuple[str, ...] = ()
        self._line: Line | None = None
        if isinstance(data, BaseException):
            self.type = "warning" if isinstance(data, Warning) else "error"
            self.data = tuple(_trace(data).splitlines())
        elif isinstance(data, str):
            self.data = (data,)
        elif data is not None:
            self.data = tuple(str(item) for item in data)

    @classmethod
    def _of(cls, line: Line) -> GroupedMessage:
        message = cls(line.split("\n"))
        message.type = line.kind if line.kind in ("warning", "error") else "str"
        message._line = line
        return message

    @property
    def worker(self) -> int | None:
        """The number of the mirror that sent it."""
        return None if self._line is None else self._line.worker

    @property
    def label(self) -> str:
        """Its mirror's label, or ""."""
        return "" if self._line is None else self._line.label

    @property
    def stream(self) -> str:
        """The stream it was sent to."""
        return "stdout" if self._line is None else self._line.stream

    @property
    def kind(self) -> str:
        """Its type, with `"text"` for a group that is neither a warning nor an error."""
        return "text" if self.type == "str" else self.type

    @property
    def time(self) -> float | None:
        """Seconds since 1970 at which it was sent, to a few milliseconds."""
        return None if self._line is None else self._line.time

    @property
    def position(self) -> int | None:
        """Its place in the one order of the ring."""
        return None if self._line is None else self._line.position

    @property
    def truncated(self) -> bool:
        """Whether some of it is missing."""
        return self._line is not None and self._line.truncated

    @property
    def damaged(self) -> bool:
        """Whether its checksum does not agree, in a ring that has checksums."""
        return self._line is not None and self._line.damaged

    def __str__(self) -> str:
        return "\n".join(self.data)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of type {self.type}, {len(self.data)} lines>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, GroupedMessage):
            return NotImplemented
        return (self.type, self.data) == (other.type, other.data)

    def __hash__(self) -> int:
        return hash((self.type, self.data))

    def serialize(self) -> SerializedMessage:
        """A `dict` that JSON can hold, in the form that syncstream gives it."""
        return {
            "/is_syncsdata": True,
            "/type": "GroupedMessage",
            "type": self.type,
            "data": self.data,
        }

    @classmethod
    def deserialize(cls, jdata: Any) -> Any:
        """The message of a `dict` that `serialize` made; anything else is given back as it is."""
        if not (
            isinstance(jdata, Mapping)
            and jdata.get("/is_syncsdata") is True
            and jdata.get("/type") == "GroupedMessage"
        ):
            return jdata
        message = cls(jdata["data"])
        message.type = jdata["type"]
        return message


class Ended(NamedTuple):
    """How a worker's mirror ended."""

    worker: int
    """The mirror's number, as in `Line.worker`."""
    label: str
    """Its label, or ""."""
    end: str
    """`"eof"`, `"error"`, `"died"`, or `"never opened"` within `seat_limit`."""
    lines: int
    """Lines of it that came; a piece of a line that was sent ahead counts as one."""
    lost: int
    """Lines of it that were lost: overwritten, in a buffer that keeps the last ones."""
    exit: Optional[int] = None
    """How a process that died exited, as `subprocess` says it (-9 for SIGKILL), where this process
    can know it.
    """

    @property
    def is_failure(self) -> bool:
        """Whether something went wrong: an error, a death other than an exit with 0, or a seat that
        was never opened.
        """
        return self.end in ("error", "never opened") or (self.end == "died" and self.exit != 0)

    def __str__(self) -> str:
        name = self.label or str(self.worker)
        if self.end != "died":
            words = {"eof": "ended", "error": "ended with an error"}.get(
                self.end, "was never opened"
            )
            return f"-- worker {name} {words} --"
        if self.exit is None:
            return f"-- worker {name} died --"
        if self.exit >= 0:
            return f"-- worker {name} exited with {self.exit}, no EOF --"
        try:
            how = signal.Signals(-self.exit).name
        except ValueError:
            how = f"signal {-self.exit}"
        return f"-- worker {name} was killed, {how} --"


def _merged(ends: Iterable[Ended]) -> list[Ended]:
    """One for each worker: its threads' mirrors, and those that it opened again, have an end
    each.
    """
    merged: dict[int, Ended] = {}
    for end in ends:
        before = merged.get(end.worker)
        if before is not None:
            worse = before if before.end != "eof" else end
            end = worse._replace(lines=before.lines + end.lines, lost=before.lost + end.lost)
        merged[end.worker] = end
    return list(merged.values())


def _warning_text(warning: Warning | warnings.WarningMessage) -> str:
    if isinstance(warning, Warning):
        return _trace(warning)
    return warnings.formatwarning(
        warning.message, warning.category, warning.filename, warning.lineno, warning.line
    )
