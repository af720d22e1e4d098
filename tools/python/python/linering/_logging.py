"""`logging` through a mirror: `LogHandler` in the workers, `LogListener` in the parent."""

from __future__ import annotations

import functools
import json
import logging
import os
import threading
from types import TracebackType
from typing import Any

from ._line import Record
from ._linering import Line
from ._mirror import LineProcMirror
from ._proc import _MOMENT, LineProcBuffer

_BLANK = logging.makeLogRecord({})
_OWN = frozenset(_BLANK.__dict__) | {"message", "asctime", "taskName"}
_STARTED = _BLANK.created - _BLANK.relativeCreated / 1000
"""When this process's logging began, in seconds since 1970."""
_HEAD, _BETWEEN = "\x1e", "\x1f"
_TRACES = logging.Formatter()


class LogHandler(logging.Handler):
    """Sends records into a mirror: the message, and behind it the trace of an exception. One record stays together.

    Level, logger's name, time, place, process, thread and what `extra` added travel with it, and `LogListener` makes the
    record again. Who reads without one gets a `Line` of the stream `"log"` with the message and the trace in it. The message
    is formatted here, so its arguments need not be picklable; `extra` arrives as JSON has it, what JSON cannot hold as its
    `repr`.
    """

    def __init__(self, mirror: LineProcMirror, level: int | str = logging.NOTSET) -> None:
        super().__init__(level)
        self.mirror = mirror

    def emit(self, record: logging.LogRecord) -> None:
        """Sends a record. What fails goes to `handleError`, but for `Stopped` and signals' exceptions."""
        try:
            text = self._text(record)
        except Exception:
            self.handleError(record)
            return
        try:
            self.mirror._send_record(text, record.levelno)
        except OSError:
            self.handleError(record)

    def _text(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        if record.exc_info and not record.exc_text:
            record.exc_text = _TRACES.formatException(record.exc_info)
        trace, stack = record.exc_text or "", record.stack_info or ""
        text = message
        if trace or stack:
            text = "\n".join(part for part in (message, trace, stack) if part)
        if self.mirror._plain:
            return f"{record.levelname} {record.name}: {text}"
        extra = ""
        if not _OWN.issuperset(record.__dict__) or getattr(record, "taskName", None) is not None:
            # The task's name is a field since 3.12.
            added = {name: it for name, it in record.__dict__.items() if name not in _OWN or name == "taskName"}
            extra = json.dumps(added, default=repr)
        # In the order in which `record_of` takes them apart.
        parts = (
            record.name, record.levelname, record.pathname, record.funcName, record.processName, record.threadName,
            f"{record.levelno} {record.created!r} {record.lineno} {record.process} {record.thread}"
            f" {len(message)} {len(trace)}", extra,
        )  # fmt: skip
        head = _BETWEEN.join(map(str, parts))
        if head.count(_BETWEEN) >= len(parts) or _HEAD in head:
            # Somebody's name has them.
            head = _BETWEEN.join(str(part).replace(_BETWEEN, " ").replace(_HEAD, " ") for part in parts)
        return f"{head}{_HEAD}{text}"


def _text(text: str) -> str | None:
    return None if text == "None" else text


def _number(text: str) -> Any:
    return None if text == "None" else int(text)


@functools.lru_cache(maxsize=1024)
def _file_of(pathname: str) -> tuple[str, str]:
    """A path's file name, and that without its ending."""
    name = os.path.basename(pathname)
    return name, os.path.splitext(name)[0]


def record_of(line: Line) -> logging.LogRecord | None:
    """The record of a line that a `LogHandler` sent; `None` for any other line."""
    if not isinstance(line, Record):
        return None
    name, levelname, pathname, function, process_name, thread_name, numbers, extra = line._record.split(_BETWEEN)
    levelno, created_text, lineno, process, thread, of_message, of_trace = numbers.split(" ")
    created, end = float(created_text), int(of_message)
    message, rest = line[:end], line[end:].lstrip("\n")
    trace, stack = rest[: int(of_trace)], rest[int(of_trace) :].lstrip("\n")
    # As unpickling does it: what a new one would say of this process is not wanted.
    record = logging.LogRecord.__new__(logging.LogRecord)
    filename, module = _file_of(pathname)
    fields = record.__dict__
    fields.update(_BLANK.__dict__)
    fields.update(
        name=name, msg=message, levelname=levelname, levelno=int(levelno), pathname=pathname, filename=filename,
        module=module, exc_text=trace or None, stack_info=stack or None, lineno=int(lineno), funcName=_text(function),
        created=created, msecs=float(int(created % 1 * 1000)), relativeCreated=(created - _STARTED) * 1000,
        thread=_number(thread), threadName=_text(thread_name), process=_number(process), processName=_text(process_name),
    )  # fmt: skip
    if extra:
        fields.update(json.loads(extra))
    return record


class LogListener:
    """Hands the records of workers to handlers in this process, as `logging.handlers.QueueListener` does.

    As a context manager, or between `start` and `stop`, a thread takes everything out of the buffer: records go to the
    handlers, all else is stored, for `read`. Without it, `handle` takes a record's `Line`, as `drain` gives them.
    """

    def __init__(
        self, buffer: LineProcBuffer, *handlers: logging.Handler, respect_handler_level: bool = False
    ) -> None:
        """`respect_handler_level`: a handler gets records of its level and above only."""
        self.buffer = buffer
        self.handlers = handlers
        self.respect_handler_level = respect_handler_level
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def handle(self, line: Line) -> bool:
        """Hands a line's record to the handlers; `False` if it is none."""
        record = record_of(line)
        if record is None:
            return False
        for handler in self.handlers:
            if not self.respect_handler_level or record.levelno >= handler.level:
                handler.handle(record)
        return True

    def start(self) -> None:
        """Starts the thread. Raises `RuntimeError` if it runs already."""
        if self._thread is not None:
            raise RuntimeError("the listener was started already, expected one that is stopped")
        self._stop.clear()
        self.buffer._on_record = self._handle_or_store
        self._thread = threading.Thread(target=self._run, name="linering listener", daemon=True)
        self._thread.start()

    def _handle_or_store(self, line: Line) -> None:
        if not self.handle(line):
            self.buffer.parse_lines([line])

    def _run(self) -> None:
        while not self._stop.is_set():
            self.buffer._pump(_MOMENT)
            self.buffer._watch()

    def stop(self) -> None:
        """Takes what has come by now, and ends the thread."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._stop.set()
            thread.join()
            self.buffer._pump(0, None)
            self.buffer._on_record = None

    def __enter__(self) -> LogListener:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
