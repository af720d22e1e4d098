"""A worker's normal end is its mirrors' end: no failure, though it sent no EOF.

Processes of multiprocessing end with `os._exit`, which collects nothing. What runs before that are
the finalizers of `multiprocessing.util`, with the error that ends the process, if there is one.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import weakref
from types import FrameType
from typing import Any

from ._linering import Mirror

mirrors: weakref.WeakSet[Mirror] = weakref.WeakSet()
"""All of this process."""

forks = 0
"""How often this process has forked."""


has_failed = False
"""Whether this process ends with an error."""


def is_working() -> bool:
    """Whether this process does its work: it does not end with an error, and multiprocessing does
    not unpickle what it is to do.
    """
    process: Any = sys.modules.get("multiprocessing.process")
    return not has_failed and not (
        process is not None and getattr(process.current_process(), "_inheriting", False)
    )


def note_fork() -> None:
    """Called after each fork, in the parent."""
    global forks
    forks += 1


def is_normal(error: BaseException | None) -> bool:
    """Whether a process, or a block, that ends with it ends as it should."""
    return error is None or (isinstance(error, SystemExit) and error.code in (None, 0))


def _given() -> list[Any]:
    """What this process was started with."""
    process: Any = sys.modules["multiprocessing.process"].current_process()
    return [*getattr(process, "_args", ()), *getattr(process, "_kwargs", {}).values()]


def _fail() -> None:
    global has_failed
    has_failed = True
    for mirror in list(mirrors):
        mirror._abandon()


def _note_exit_code() -> None:
    """Called by `threading`, when multiprocessing knows with what this process will exit."""
    process: Any = sys.modules["multiprocessing.process"]
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code is process.BaseProcess._bootstrap.__code__:
            if frame.f_locals.get("exitcode", 0) != 0:
                _fail()
            return
        frame = frame.f_back


def _end_mirrors() -> None:
    # Up to CPython 3.12 this runs before the above, with the error at hand.
    if not is_normal(sys.exc_info()[1]):
        _fail()
    if has_failed:
        return
    given = {id(it) for it in _given()}
    for mirror in list(mirrors):
        # One that was inherited and not used may be another child's, unless it is an argument.
        is_own = mirror._is_open() or mirror._is_unused() or id(mirror) in given
        if is_own and (mirror._is_open() or mirror._is_untouched()):
            with contextlib.suppress(Exception):
                mirror._send_eof()


class _Watch:
    """What `multiprocessing.util` calls in a child, before the child's work."""

    def begin(self) -> None:
        util: Any = sys.modules["multiprocessing.util"]
        util.Finalize(None, _end_mirrors, exitpriority=-100)
        # What `concurrent.futures` uses. Too late for it: the process ends already.
        with contextlib.suppress(AttributeError, RuntimeError):
            threading._register_atexit(_note_exit_code)  # type: ignore[attr-defined]


_watch = _Watch()


def watch() -> None:
    """To be called in each process in which mirrors are used: after a fork, and at the import."""
    util: Any = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.register_after_fork(_watch, _Watch.begin)


def watch_from_the_import() -> None:
    """A process of multiprocessing may import the package at any time of its work."""
    watch()
    process: Any = sys.modules.get("multiprocessing.process")
    if process is None or "multiprocessing.util" not in sys.modules:
        return
    is_spawned = getattr(process.current_process(), "_inheriting", False)
    if is_spawned or process.parent_process() is not None:
        _watch.begin()
