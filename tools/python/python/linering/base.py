"""syncstream's `base`: what its other modules have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ._message import GroupedMessage, SerializedMessage
from ._redirect import redirect_stderr, redirect_stdout

__all__ = (
    "GroupedMessage",
    "SerializedMessage",
    "is_end_line_break",
    "is_serialized_grouped_message",
    "redirect_stderr",
    "redirect_stdout",
)


def is_end_line_break(val_str: str) -> bool:
    """Whether the text ends with what `str.splitlines` takes for a line's end."""
    return val_str[-1:].splitlines() == [""]


def is_serialized_grouped_message(obj: Any) -> bool:
    """Whether it is what `GroupedMessage.serialize` gives."""
    return (
        isinstance(obj, Mapping)
        and bool(obj.get("/is_syncsdata", False))
        and obj.get("/type") == "GroupedMessage"
    )
