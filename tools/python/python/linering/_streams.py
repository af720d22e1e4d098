"""Standard output and standard error, put elsewhere and back, for a thread and context each.

A block of the main thread replaces the stream itself, so that the threads that are started in it
print there too. A block of another thread, of a task of an event loop, or of a greenlet is for
that one alone: a `_Switch` takes the place of the stream, and finds for each print the innermost
block of its context. It goes when the last such block has ended.
"""

from __future__ import annotations

import contextvars
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any


class Block:
    """One redirection of one stream."""

    __slots__ = ("file", "before", "is_open", "is_own")

    def __init__(self, file: Any, is_own: bool) -> None:
        self.file = file
        self.before: Any = None
        self.is_open = True
        # Whether it is for its own context alone.
        self.is_own = is_own


class _Switch:
    """What `sys.stdout` is while contexts have blocks of their own."""

    def __init__(self, stream: Stream, base: Any) -> None:
        self._stream = stream
        self._base = base

    def _file(self) -> Any:
        return self._stream.own_file(self._base)

    def write(self, data: str) -> int:
        written: int = self._file().write(data)
        return written

    def flush(self) -> None:
        file = self._file()
        if file is not None:
            file.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file(), name)


class Stream:
    """`sys.stdout` or `sys.stderr`."""

    def __init__(self, name: str) -> None:
        self._name = name
        # Those that replace the stream itself, in the order of their beginning.
        self._blocks: list[Block] = []
        # How many contexts' blocks are open.
        self._own_blocks = 0
        # A signal's handler may begin and end blocks too.
        self._lock = threading.RLock()
        self._own: contextvars.ContextVar[tuple[Block, ...]] = contextvars.ContextVar(
            f"linering_{name}", default=()
        )

    def own_file(self, otherwise: Any) -> Any:
        """The file of this context's innermost block."""
        for block in reversed(self._own.get()):
            if block.is_open:
                return block.file
        return otherwise

    def _base(self) -> Any:
        found = getattr(sys, self._name)
        return found._base if isinstance(found, _Switch) else found

    def _set_base(self, file: Any) -> None:
        found = getattr(sys, self._name)
        if isinstance(found, _Switch):
            found._base = file
        else:
            setattr(sys, self._name, file)

    def begin(self, file: Any, is_own: bool) -> Block:
        """Begins a block; with `is_own` for this context alone."""
        block = Block(file, is_own)
        with self._lock:
            if is_own:
                found = getattr(sys, self._name)
                if not isinstance(found, _Switch):
                    setattr(sys, self._name, _Switch(self, found))
                self._own_blocks += 1
                self._own.set((*(it for it in self._own.get() if it.is_open), block))
            else:
                block.before = self._base()
                self._blocks.append(block)
                self._set_base(file)
        return block

    def end(self, block: Block) -> None:
        """Ends it, whatever has begun or ended since."""
        with self._lock:
            block.is_open = False
            if block.is_own:
                self._own_blocks -= 1
                self._own.set(tuple(it for it in self._own.get() if it.is_open))
                found = getattr(sys, self._name)
                if self._own_blocks == 0 and isinstance(found, _Switch):
                    setattr(sys, self._name, found._base)
                return
            self._blocks.remove(block)
            # A stream that was redirected again since is put back by the code that did so.
            if self._base() is block.file:
                self._set_base(block.before)
            for other in self._blocks:
                if other.before is block.file:
                    other.before = block.before


STDOUT, STDERR = Stream("stdout"), Stream("stderr")


def is_in_a_task() -> bool:
    """Whether a task of an event loop or a greenlet runs, beside which others of this thread do."""
    events: Any = sys.modules.get("asyncio.events")
    if events is not None and events._get_running_loop() is not None:
        return True
    greenlet: Any = sys.modules.get("greenlet")
    return greenlet is not None and greenlet.getcurrent().parent is not None


def has_a_context() -> bool:
    """Whether a block that begins now is for its own context alone."""
    return is_in_a_task() or threading.current_thread() is not threading.main_thread()


class _Entry:
    """A block that an object has begun."""

    __slots__ = ("owner", "blocks", "is_open", "at_end")

    def __init__(self, owner: object, at_end: Callable[[], object] | None) -> None:
        self.owner = owner
        self.blocks: list[tuple[Stream, Block]] = []
        self.is_open = True
        self.at_end = at_end


_entries: contextvars.ContextVar[tuple[_Entry, ...]] = contextvars.ContextVar(
    "linering_blocks", default=()
)


class Redirection:
    """Streams, put elsewhere and back by one object. May be nested, begun by several threads and
    contexts at a time, and put back in any order.
    """

    def __init__(self) -> None:
        self._open: list[_Entry] = []

    def begin(
        self,
        files: Iterable[tuple[Stream, Any]],
        is_own: bool,
        at_end: Callable[[], object] | None = None,
    ) -> None:
        """Begins a block; with `is_own` for this context alone. `at_end` is called behind it."""
        entry = _Entry(self, at_end)
        for stream, file in files:
            entry.blocks.append((stream, stream.begin(file, is_own)))
        self._open.append(entry)
        _entries.set((*(it for it in _entries.get() if it.is_open), entry))

    def is_open(self) -> bool:
        """Whether any block is."""
        return bool(self._open)

    def end(self) -> None:
        """Ends the innermost block of this context; of any, if it is ended in another one."""
        own = [it for it in _entries.get() if it.is_open and it.owner is self]
        entry = (own or self._open)[-1]
        entry.is_open = False
        self._open.remove(entry)
        _entries.set(tuple(it for it in _entries.get() if it.is_open))
        for stream, block in reversed(entry.blocks):
            stream.end(block)
        if entry.at_end is not None:
            entry.at_end()
