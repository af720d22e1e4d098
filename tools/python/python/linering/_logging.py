"""`logging` through a mirror: `LogHandler` in the workers, `LogListener` in the parent."""

from __future__ import annotations

import contextlib
import copy
import logging
import os
import sys
import threading
import traceback
from types import TracebackType
from typing import Any

from ._hand_over import SEAT
from ._linering import Line
from ._mirror import LineProcMirror
from ._proc_buffer import POLL_SECONDS, LineProcBuffer
from ._record import arriving, written

_TRACES = logging.Formatter()


class LogHandler(logging.Handler):
    """Sends records into a mirror: the message, and behind it the trace of an exception. One record
    stays together.

    Level, logger's name, time, place, process, thread and what `extra` added travel with it, and
    `LogListener` makes the record again. Without a listener the parent gets a `Line` of the stream
    `"log"` with the message and the trace. The message is formatted here, so its arguments need not
    be picklable; `extra` arrives as JSON has it, what JSON cannot hold as its `repr`. With a
    formatter (`setFormatter`) the message is what that makes of the record, with the trace, as
    `QueueHandler` has it.
    """

    def __init__(
        self,
        mirror: LineProcMirror | None = None,
        level: int | str = logging.NOTSET,
        *,
        ring: str | None = None,
        file: str | os.PathLike[str] | None = None,
        any_user: bool = False,
    ) -> None:
        """`mirror`: default: one of the ring of the name `ring`, or in `file`, with the options of
        `LineProcMirror.attach`; without these the one that this process finds in its environment,
        as `LineProcMirror.from_environ` does, once for all handlers.

        Raises `LookupError` if there is none there, and what `attach` does.
        """
        super().__init__(level)
        if mirror is None:
            if ring is None and file is None:
                mirror = _mirror_of_environ()
            else:
                mirror = LineProcMirror.attach(ring, file=file, any_user=any_user)
        self.mirror = mirror

    def createLock(self) -> None:
        """Makes no lock: each thread writes its own records. A thread that waits for room with a
        lock would keep the listener, which makes the room, from logging here.
        """
        self.lock: Any = contextlib.nullcontext()

    def acquire(self) -> None:
        """Does nothing: there is no lock."""

    def release(self) -> None:
        """Does nothing: there is no lock."""

    def emit(self, record: logging.LogRecord) -> None:
        """Sends a record. What fails goes to `handleError`, but for `Stopped` and signals'
        exceptions.
        """
        try:
            text = self._text(record)
            level = max(0, min(int(record.levelno), logging.CRITICAL))
        except Exception:
            self.handleError(record)
            return
        try:
            self.mirror._send_record(text, level)
        except OSError:
            self.handleError(record)

    def _text(self, record: logging.LogRecord) -> str:
        # Other handlers get this record too: it is left as it is.
        if self.formatter is not None:
            message, trace, stack = arriving(self.format(copy.copy(record))), "", ""
        else:
            text = record.exc_text or ""
            if record.exc_info and not text:
                text = _TRACES.formatException(record.exc_info)
            message = arriving(record.getMessage())
            trace, stack = arriving(text), arriving(record.stack_info or "")
        text = message
        if trace or stack:
            text = "\n".join(part for part in (message, trace, stack) if part)
        if self.mirror._plain_records:
            return f"{record.levelname} {record.name}: {text}"
        return written(record, message, trace, text)


_found: list[LineProcMirror] = []


def _mirror_of_environ() -> LineProcMirror:
    if not _found:
        mirror = LineProcMirror.from_environ()
        if mirror is None:
            raise LookupError(
                f"found no {SEAT} in the environment, expected a mirror's, from a buffer's `popen`"
                " or a mirror's `environ`, or the argument `mirror`"
            )
        _found.append(mirror)
    return _found[0]


class LogListener:
    """Hands the records of workers to handlers in this process, as `logging.handlers.QueueListener`
    does.

    As a context manager, or between `start` and `stop`, a thread takes everything out of the
    buffer: records go to the handlers, all else is stored, for `read`. Without it, `handle` takes a
    record's `Line`, as `drain` gives them.
    """

    def __init__(
        self,
        buffer: LineProcBuffer,
        *handlers: logging.Handler,
        respect_handler_level: bool = False,
    ) -> None:
        """`respect_handler_level`: whether a handler gets records of its own level and above only.
        Default: `False`.
        """
        self.buffer = buffer
        self.handlers = handlers
        self.respect_handler_level = respect_handler_level
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def handle(self, line: Line) -> bool:
        """Hands a line's record to the handlers; `False` if it is none. What a handler raises goes
        to its `handleError`.
        """
        try:
            record = line.record
        except ValueError:
            # Not what a logger sends.
            record = None
        if record is None:
            return False
        for handler in self.handlers:
            if not self.respect_handler_level or record.levelno >= handler.level:
                try:
                    handler.handle(record)
                except Exception:
                    # As handlers do with what they notice themselves: `logging.raiseExceptions`
                    # says whether it is printed.
                    handler.handleError(record)
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
            try:
                self.buffer._pump(POLL_SECONDS)
                self.buffer._cancel_deserted_seats()
            except Exception:
                # `parse_lines` of a subclass, say: what comes next is handed on all the same.
                if logging.raiseExceptions and sys.stderr is not None:
                    traceback.print_exc()

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
