"""The extension module. `Line` and `Stopped` are for users; the rest is what the package's classes
are made of.
"""

import logging
import os
from collections.abc import Callable, Iterator
from typing import Any, final

from typing_extensions import Self

from ._message import GroupedMessage

__all__ = [
    "Capture",
    "Follow",
    "Line",
    "Lines",
    "Mirror",
    "Reader",
    "ReservedSeat",
    "Ring",
    "RotatingFile",
    "Stopped",
    "ThreadBuffer",
    "Watch",
    "new_key",
    "obeys_env",
    "observe",
    "restore",
    "state",
]

class Line(str):
    """One line, without its line end: a `str`, and where it came from.

    A record of a logger is one too, with as many lines in it as it had. So is a note of lost lines
    (`kind` "lost") when you drain: `-- worker 3: 2789 lines lost, ring full --`.
    """

    @property
    def worker(self) -> int | None:
        """The number of its mirror, in the order of their making; `None` in a `LineBuffer`."""
    @property
    def label(self) -> str:
        """Its mirror's label, or ""."""
    @property
    def stream(self) -> str:
        """`"stdout"`, `"stderr"` or `"log"`."""
    @property
    def level(self) -> str | None:
        """Of a logger's record `"TRACE"`, `"DEBUG"`, `"INFO"`, `"WARNING"` or `"ERROR"` (critical
        ones too); else `None`.
        """
    @property
    def kind(self) -> str:
        """`"line"`; `"text"`, `"warning"` and `"error"` for groups; `"lost"` for a note of lost
        lines.
        """
    @property
    def truncated(self) -> bool:
        """Whether some of it is missing: it was too long, or a part of it was lost."""
    @property
    def unfinished(self) -> bool:
        """Whether it has no end: it goes on, or its writer died."""
    @property
    def unacknowledged(self) -> bool:
        """Whether its writer died before `write` returned."""
    @property
    def damaged(self) -> bool:
        """Whether its checksum does not agree: something but its writer has changed it, in a ring
        that has checksums.
        """
    @property
    def position(self) -> int | None:
        """Its place in the one order of the ring. Positions grow, with gaps."""
    @property
    def time(self) -> float | None:
        """Seconds since 1970 at which its first byte was written, to a few milliseconds."""
    @property
    def missing(self) -> int:
        """Bytes that are missing of a truncated line; of a note of lost lines, how many were
        lost.
        """
    @property
    def data(self) -> bytes:
        """The bytes as they were written: those that are no UTF-8 are lone surrogates in the
        `str`.
        """
    @property
    def record(self) -> logging.LogRecord | None:
        """The record of a logger that it is; `None` if it is none."""
    def __reduce__(self) -> tuple[Any, ...]: ...

def state(line: Line) -> tuple[Any, ...]: ...
def restore(line: Line, state: tuple[Any, ...]) -> None: ...

class Stopped(StopIteration):
    """The buffer's process told all mirrors to stop: raised by the next write."""

@final
class ReservedSeat:
    @property
    def worker(self) -> int: ...
    @property
    def text(self) -> str: ...
    def is_copied(self) -> bool: ...
    def is_reserved(self) -> bool: ...
    def cancel(self) -> bool: ...
    def sibling(self, number: int, ticket: int) -> ReservedSeat: ...

def new_key() -> int: ...
def observe(
    name: str | None, file: str | os.PathLike[str] | None, any_user: bool
) -> tuple[
    list[Line | GroupedMessage], list[tuple[int, str, str, int, int, int | None]]
]: ...
@final
class Watch:
    def __new__(
        cls, name: str | None, file: str | os.PathLike[str] | None, any_user: bool
    ) -> Self: ...
    def is_used(self) -> bool: ...
    def statistics(self) -> tuple[dict[str, Any], list[dict[str, Any]]]: ...
    def follow(self) -> Follow: ...

@final
class Follow:
    def more(
        self,
    ) -> list[
        tuple[
            int,
            tuple[
                list[Line | GroupedMessage], list[tuple[int, str, str, int, int, int | None]]
            ],
        ]
    ]: ...
    def wait(self) -> None: ...

def obeys_env() -> bool: ...

class Mirror:
    aggressive: bool
    """Whether each write sends its partial line ahead at once. Default: `False`."""
    timeout: float | None
    """Seconds that a write may wait for room, with the policy `"block"`; `None`: for ever. Default:
    `None`.
    """
    def __new__(
        cls, seat: str | ReservedSeat, aggressive: bool = False, timeout: float | None = None
    ) -> Self: ...
    def write(self, data: str) -> int:
        """Write text; give its length in characters.

        Whole lines go to the buffer; the rest is a partial line that waits for its end.
        """
    def flush(self) -> None:
        """Send the partial line ahead, so that the buffer's process sees it now."""
    def new_line(self) -> None:
        """End the partial line, if there is one."""
    def clear(self) -> None:
        """Discard the partial line, if there is one."""
    @property
    def worker(self) -> int:
        """The number that its lines carry: mirrors are numbered in the order of their making."""
    def _write_stderr(self, data: str) -> int: ...
    def _flush_stderr(self) -> None: ...
    def _write_as(self, key: int, stderr: bool, data: str) -> int: ...
    def _flush_as(self, key: int, stderr: bool) -> None: ...
    def _end_as(self, key: int) -> None: ...
    def _write_bytes(self, data: bytes, stderr: bool, key: int) -> int: ...
    def _partial_line(self) -> str: ...
    def _send_eof(self) -> None: ...
    def _send_error(self, text: str) -> None: ...
    def _send_warning(self, text: str) -> None: ...
    def _send_record(self, text: str, level: int) -> None: ...
    def _open(self) -> None: ...
    def _seat(self) -> str: ...
    def _forward(self, descriptor: int, stderr: bool, ready: int) -> None: ...
    def _hand_over(self, shared: bool) -> tuple[ReservedSeat, bool]: ...
    def _claims(self) -> str | None: ...
    def _claim(self, claims: str | None, fresh: bool) -> None: ...
    def _is_unused(self) -> bool: ...
    def _is_open(self) -> bool: ...
    def _is_untouched(self) -> bool: ...
    def _abandon(self) -> None: ...
    def _is_writing(self) -> bool: ...

class ThreadBuffer:
    def __new__(cls, maxlen: int, *, lines: int, line_bytes: int, eager: bool) -> Self: ...
    def write(self, data: str) -> int:
        """Write text; give its length in characters.

        Whole lines are stored; the rest is a partial line that waits for its end.
        """
    @property
    def closed(self) -> bool:
        """Whether it was closed."""
    @property
    def maxlen(self) -> int:
        """How many lines are kept."""
    def _take(self) -> tuple[list[Line], list[Line]]: ...
    def _new_line(self) -> None: ...
    def _close(self) -> None: ...
    def _discard_partial_line(self) -> None: ...

@final
class Ring:
    def __new__(
        cls,
        lines: int,
        line_bytes: int,
        policy: str,
        *,
        mirrors: int,
        seats: int,
        seat_limit: float | None,
        block_limit: float | None,
        max_line: int | None,
        checksums: bool | None,
        name: str | None,
        file: str | os.PathLike[str] | None,
    ) -> Self: ...
    @staticmethod
    def open(
        name: str | None, file: str | os.PathLike[str] | None, any_user: bool
    ) -> Ring: ...
    def seat(self, label: str) -> ReservedSeat: ...
    def reader(self) -> Reader: ...
    def stop(self) -> None: ...
    def claim(self, number: int) -> tuple[bool, bool]: ...
    def claims(self) -> list[tuple[int, int]]: ...
    def open_mirrors(self) -> list[tuple[int, str, int | None]]: ...
    def waiting_for(self) -> tuple[int, int]: ...

@final
class Reader:
    def fill(self, seconds: float) -> bool: ...
    def deliver(
        self,
        sink: object,
        storage: object,
        plain: bool,
        losses: bool,
        on_record: Callable[[Line], object] | None,
        most: int,
    ) -> int: ...
    def next(self, changes: bool) -> Line | GroupedMessage | None: ...
    def arm(self) -> bool: ...
    def ends(self) -> list[tuple[int, str, str, int, int, int | None]]: ...
    def partial_lines(self) -> list[Line]: ...
    def discard_partial_lines(self) -> None: ...
    def is_over(self) -> bool: ...
    @property
    def lost(self) -> int: ...
    def fileno(self) -> int: ...

@final
class Lines(Iterator[Line | GroupedMessage]):
    def __new__(cls, owner: object, reader: Reader, changes: bool) -> Self: ...
    def __next__(self) -> Line | GroupedMessage: ...

@final
class Capture:
    def __new__(cls, mirror: Mirror, stderr: bool) -> Self: ...
    def stop(self) -> None: ...

class RotatingFile:
    """A file that lines are appended to, and that makes room for a new one when it is full.

    When the next line would make it longer than `limit` bytes, `path` becomes `path.1`, `path.1`
    becomes `path.2`, and so on; `keep` old files stay. Lines are never divided, and a kill at any
    moment leaves each file whole. Default of `keep`: 5.

    Raises `OSError` as `open` does, and for a limit of 0.
    """

    def __new__(cls, path: str | os.PathLike[str], limit: int, keep: int = 5) -> Self: ...
    def write_line(self, line: str) -> None:
        """Write one line, of text without its line end."""
    def write_bytes(self, data: bytes) -> None:
        """Write any bytes."""
    def reopen(self) -> None:
        """Go on where the path leads now."""
