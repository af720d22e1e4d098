"""`LineBuffer`: the last lines of this process's threads."""

from __future__ import annotations

import collections
import threading
import types
from collections.abc import Sequence
from types import TracebackType
from typing import Any, ClassVar

from ._descriptor import BufferDescriptor
from ._file import BytesFile, TextFile
from ._linering import Line, ThreadBuffer
from ._storage import check_maxlen, last_of
from ._streams import STDERR, STDOUT, Redirection, has_a_context, is_in_a_task


class OwnLines(TextFile):
    """A line buffer for one of the tasks that share a thread: its lines are put together here."""

    def __init__(self, buffer: LineBuffer) -> None:
        self._buffer = buffer
        self._partial = ""

    def write(self, data: str) -> int:
        """Writes whole lines into the buffer; the rest waits for its end."""
        lines, end, rest = data.rpartition("\n")
        if end:
            lines, self._partial = self._partial + lines, ""
            self._buffer.write(lines + end)
        self._partial += rest
        return len(data)

    def end(self) -> None:
        """Ends the partial line."""
        if self._partial:
            self.write("\n")

    def flush(self) -> None:
        """Does nothing."""

    @property
    def buffer(self) -> BytesFile:
        """The line buffer's."""
        return self._buffer.buffer

    def fileno(self) -> int:
        """The line buffer's."""
        return self._buffer.fileno()

    @property
    def closed(self) -> bool:
        """Whether the buffer was closed."""
        return self._buffer.closed

    def writable(self) -> bool:
        """Whether the buffer is open."""
        return self._buffer.writable()


class LineBuffer(ThreadBuffer, TextFile):
    """Keeps the last `maxlen` lines that are written into it, by any number of threads.

    Lines are put together for each thread, so what one thread prints in pieces is mixed with
    nothing. A line ends at `\\n`; `\\r\\n` counts as one, and a lone `\\r` lets what follows
    rewrite the line. A write never waits.

    In a `with` block standard output and standard error go into it. A forked child that inherits it
    may write: its lines come too.
    """

    __slots__ = (
        "_storage", "_lock", "_parsing", "_redirection", "_descriptor", "__dict__", "__weakref__",
    )  # fmt: skip

    # `LineBuffer[str]`, as annotations have it.
    __class_getitem__: ClassVar[Any] = classmethod(types.GenericAlias)

    def __new__(cls, maxlen: int = 20, *args: Any, **options: Any) -> LineBuffer:
        eager = cls.parse_lines is not LineBuffer.parse_lines
        lines = options.get("lines", 4096)
        line_bytes = options.get("line_bytes", 256)
        maxlen = check_maxlen(maxlen)
        return super().__new__(cls, maxlen, lines=lines, line_bytes=line_bytes, eager=eager)

    def __init__(self, maxlen: int = 20, *, lines: int = 4096, line_bytes: int = 256) -> None:
        """`maxlen`: lines that are kept. Default: 20. `lines`: capacity in slots for lines that
        were not read yet. Default: 4096. `line_bytes`: size of a slot in bytes; a longer line takes
        several slots. Default: 256.

        Raises `TypeError` for a `maxlen` that is no positive number, `ValueError` for options out
        of their bounds.
        """
        self._storage: collections.deque[str] = collections.deque(maxlen=maxlen)
        self._lock = threading.RLock()
        self._parsing = False
        self._redirection = Redirection()
        self._descriptor: BufferDescriptor | None = None

    # A subclass may have its own, and calls this one to store what it wants stored.
    def parse_lines(self, lines: Sequence[str]) -> None:
        """Called with finished lines before they are stored; stores them. To be overridden.

        An override is called by the thread whose write finished the lines. Without one, lines are
        stored when they are read.
        """
        self._storage.extend(lines)

    @property
    def storage(self) -> collections.deque[str]:
        """The finished lines that are kept."""
        self._store_finished()
        return self._storage

    def _store_finished(self) -> list[Line]:
        """Moves finished lines into the storage; returns the threads' partial lines."""
        if self._descriptor is not None:
            self._descriptor.settle()
        with self._lock:
            finished, partial = self._take()
            # Printed by `parse_lines` itself: stored, and not parsed.
            if self._parsing:
                self._storage.extend(finished)
            elif finished:
                self._parsing = True
                try:
                    self.parse_lines(finished)
                finally:
                    self._parsing = False
            return partial

    def read(self, size: int | None = None) -> tuple[str, ...]:
        """The last `size` lines (all that are kept, for `None`), oldest first; the threads' partial
        lines come last.

        They stay. Raises `OSError` when it is closed, `RuntimeError` in a forked child.
        """
        if self.closed:
            self._unsupported("lines any more: it is closed")
        with self._lock:
            partial = self._store_finished()
            return last_of(self._storage, partial, size, self.maxlen)

    def __len__(self) -> int:
        """How many lines `read` would give."""
        with self._lock:
            partial = self._store_finished()
            return min(len(self._storage) + len(partial), self.maxlen)

    def __bool__(self) -> bool:
        return True

    def clear(self) -> None:
        """Forgets all lines, and this thread's partial line. Other threads' partial lines stay."""
        with self._lock:
            self._discard_partial_line()
            self._storage.clear()

    def new_line(self) -> None:
        """Ends this thread's partial line, if there is one. Raises `OSError` when it is closed."""
        self._new_line()
        if type(self).parse_lines is not LineBuffer.parse_lines:
            self._store_finished()

    def flush(self) -> None:
        """Does nothing: what was written can be read already."""

    def close(self) -> None:
        """Forgets all lines, and has further writes and reads raise `OSError`. A second time it
        does nothing.
        """
        if not self.closed:
            self.clear()
            self._close()

    @property
    def buffer(self) -> BytesFile:
        """A file for bytes: UTF-8, others arrive as lone surrogates."""

        def write(data: bytes) -> int:
            self.write(data.decode("utf-8", "surrogateescape"))
            return len(data)

        return BytesFile(write, self.fileno)

    def fileno(self) -> int:
        """A descriptor whose lines come too, for `subprocess.run(cmd, stdout=...)` and for C code.
        It is made at the first call: a pipe, and a thread that reads it. Raises `OSError` when it
        is closed.
        """
        if self.closed:
            self._unsupported("descriptor any more: it is closed")
        if self._descriptor is None:
            self._descriptor = BufferDescriptor(self, lambda file, data: file.buffer.write(data))
        return self._descriptor.fileno()

    def readable(self) -> bool:
        """Whether it is open."""
        return not self.closed

    def writable(self) -> bool:
        """Whether it is open."""
        return not self.closed

    def __enter__(self) -> LineBuffer:
        file = OwnLines(self) if is_in_a_task() else self
        at_end = file.end if isinstance(file, OwnLines) else None
        self._redirection.begin([(STDOUT, file), (STDERR, file)], has_a_context(), at_end)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._redirection.end()
