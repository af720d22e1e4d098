"""`Record`: a logger's record on its way through a line."""

from __future__ import annotations

import functools
import json
import logging
import os
import sys
from typing import Any

from ._linering import Line, restore, state

_BLANK = logging.makeLogRecord({})
_OWN = frozenset(_BLANK.__dict__) | {"message", "asctime", "taskName"}
_STARTED = _BLANK.created - _BLANK.relativeCreated / 1000
"""When this process's logging began, in seconds since 1970."""
_HEAD, _BETWEEN = "\x1e", "\x1f"
_MOST_EXTRA = 4096
"""Characters of what a record carries besides: the message comes behind it, and must not be what is
cut off.
"""


def arriving(text: str) -> str:
    """The text as it will arrive, whose characters can be counted."""
    try:
        text.encode()
        return text
    except UnicodeEncodeError:
        pass
    try:
        data = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        data = text.encode("utf-8", "backslashreplace")
    return data.decode("utf-8", "surrogateescape")


def _shown(value: object) -> str:
    """Its `repr`, or why it has none."""
    try:
        return repr(value)
    except Exception as error:
        return f"<{type(value).__name__} whose repr raised {type(error).__name__}>"


def _as_json(value: object, most: int = sys.maxsize) -> str:
    """The value as JSON has it, if it has it in `most` characters, else its `repr`."""
    try:
        text = json.dumps(value, default=_shown)
    except Exception:
        # Keys that JSON has not, a circle, too many levels.
        text = ""
    return text if 0 < len(text) <= most else json.dumps(_shown(value)[:most])


def _fields_as_json(fields: dict[str, Any], most: int = sys.maxsize) -> str:
    each = (f"{json.dumps(str(name))}: {_as_json(it, most)}" for name, it in fields.items())
    return f"{{{', '.join(each)}}}"


def written(record: logging.LogRecord, message: str, trace: str, text: str) -> str:
    """What carries a record: a head, and the text for people, which begins with the message. All
    are as they will arrive.
    """
    extra = ""
    if not _OWN.issuperset(record.__dict__) or getattr(record, "taskName", None) is not None:
        # The task's name is a field since 3.12.
        added = {
            name: it
            for name, it in record.__dict__.items()
            if name not in _OWN or name == "taskName"
        }
        extra = _fields_as_json(added)
        if len(extra) > _MOST_EXTRA:
            extra = _fields_as_json(added, _MOST_EXTRA // len(added))
    # In the order in which `record` takes them apart. How many there are the extension module knows
    # too.
    parts = (
        record.name, record.levelname, record.pathname, record.funcName, record.processName,
        record.threadName,
        f"{record.levelno} {record.created!r} {record.lineno} {record.process} {record.thread}"
        f" {len(message)} {len(trace)}", extra,
    )  # fmt: skip
    head = _BETWEEN.join(map(str, parts))
    if head.count(_BETWEEN) >= len(parts) or _HEAD in head:
        # A name in the record contains them.
        head = _BETWEEN.join(str(part).replace(_BETWEEN, " ").replace(_HEAD, " ") for part in parts)
    return f"{head}{_HEAD}{text}"


def _text_or_none(text: str) -> str | None:
    return None if text == "None" else text


def _number_or_none(text: str) -> Any:
    if text == "None":
        return None
    return int(text) if text.lstrip("-").isdecimal() else float(text)


@functools.lru_cache(maxsize=1024)
def _file_of(pathname: str) -> tuple[str, str]:
    """A path's file name, and that without its ending."""
    name = os.path.basename(pathname)
    return name, os.path.splitext(name)[0]


class Record(Line):
    """A `Line` that a `LogHandler` sent."""

    __slots__ = ("_record",)
    _record: str
    """The head."""

    @property
    def record(self) -> logging.LogRecord:
        """The record of a logger that it is, made anew each time."""
        name, levelname, pathname, function, process_name, thread_name, numbers, extra = (
            self._record.split(_BETWEEN)
        )
        levelno, created_text, lineno, process, thread, of_message, of_trace = numbers.split(" ")
        created, end = float(created_text), int(of_message)
        message, rest = self[:end], self[end:].lstrip("\n")
        trace, stack = rest[: int(of_trace)], rest[int(of_trace) :].lstrip("\n")
        # As unpickling does it: what a new one would say of this process is not wanted.
        record = logging.LogRecord.__new__(logging.LogRecord)
        filename, module = _file_of(pathname)
        record.__dict__ = {
            **_BLANK.__dict__, "name": name, "msg": message, "args": None, "levelname": levelname,
            "levelno": _number_or_none(levelno), "pathname": pathname, "filename": filename,
            "module": module,
            "exc_info": None, "exc_text": trace or None, "stack_info": stack or None,
            "lineno": _number_or_none(lineno), "funcName": _text_or_none(function),
            "created": created,
            "msecs": float(int(created % 1 * 1000)), "relativeCreated": (created - _STARTED) * 1000,
            "thread": _number_or_none(thread), "threadName": _text_or_none(thread_name),
            "process": _number_or_none(process),
            "processName": _text_or_none(process_name),
        }  # fmt: skip
        if extra:
            record.__dict__.update(json.loads(extra))
        return record

    def __reduce__(self) -> tuple[Any, ...]:
        return _line, (type(self), str(self), state(self), self._record)


def _line(cls: type[Line], text: str, known: tuple[Any, ...], record: str | None) -> Line:
    line = cls(text)
    restore(line, known)
    if isinstance(line, Record) and record is not None:
        line._record = record
    return line
