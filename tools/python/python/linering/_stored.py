"""A look at rings that have a name, or are in files."""

from __future__ import annotations

import os

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
