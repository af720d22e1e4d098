"""What a mirror is handed over with, and which processes can receive it that way.

Each class here says of one hand-over whether it has come to nothing: `is_over()` gives `None` while
a process that lives may still open the seat, else how the seat has ended. What it says rests on
processes (their ids and sentinels), on the pickling, and on an executor's future, never on a delay.
"""

from __future__ import annotations

import os
import select
import sys
import weakref
from collections.abc import Callable, Iterable
from time import monotonic
from types import FrameType
from typing import Any, Optional, Union

SEAT = "LINERING_SEAT"
"""The variable of the environment that carries a seat to a subprocess."""
CLAIMS = "LINERING_CLAIMS"
"""The variable that says where the process that got the seat claims it."""
READER = "LINERING_READER"
"""The variable that says that the reader is Python's, which makes a logger's records out of what
`LogHandler` sends.
"""

DIED, NEVER = "died", "never opened"
Over = Optional[str]

# The interpreter's own, which eventlet takes away.
_poll = getattr(select, "poll", None)

_SCAN_SECONDS = 0.2
"""Seconds between two looks at the environments of all processes."""


def _is_ready(descriptor: int) -> bool:
    if _poll is None:
        return False
    poll = _poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


_PF_EXITING = 0x4
"""The flag in a process's `stat` that says that its main thread runs no more instruction."""


def _is_alive(pid: int, besides: int = 0) -> bool:
    """Whether a process's main thread runs, and has none of these flags: a zombie does not."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            # The state is the third field, behind a second that may hold anything; the flags are
            # the ninth.
            fields = stat.read().rpartition(b")")[2].split()
        return fields[0] not in (b"Z", b"X") and not int(fields[6]) & besides
    except (OSError, IndexError, ValueError):
        return False


def _has_ended(popen: Any) -> bool:
    """Whether the process of multiprocessing's or subprocess's `Popen`, which was started, is dead.
    Its exit status stays to be waited for.
    """
    if popen.returncode is not None:
        return True
    sentinel = getattr(popen, "sentinel", None)
    return (isinstance(sentinel, int) and _is_ready(sentinel)) or not _is_alive(popen.pid)


def _frames(frame: FrameType | None) -> Iterable[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _is_starting(popen: Any) -> bool:
    """Whether a thread is in the middle of starting its process."""
    names = ("__init__", "_launch", "_execute_child")
    return any(
        frame.f_code.co_name in names and frame.f_locals.get("self") is popen
        for top in list(sys._current_frames().values())
        for frame in _frames(top)
    )


def _exit_of(popen: Any) -> tuple[bool, int | None]:
    """Whether the process, which was started, has yet to say how it exits, as it will in a moment;
    and how it exited, where that is known. It stays to be waited for.

    A process that dies closes what it has open, by which its death is seen, before its parent can
    learn how it exited.
    """
    if popen.returncode is None:
        try:
            found = os.waitid(os.P_PID, popen.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except OSError:
            # It is no child of this process, or was waited for meanwhile.
            found = None
        else:
            if found is None:
                return not _is_alive(popen.pid, besides=_PF_EXITING), None
        if found is not None:
            return False, (
                found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
            )
    return False, popen.returncode


class Started:
    """A hand-over to a process that is being started."""

    def __init__(self, popen: Any, state: dict[str, Any] | None = None) -> None:
        self._popen = weakref.ref(popen)
        # Multiprocessing's: numbers, which say what became of the process when the object is gone.
        # Subprocess's has open pipes too, which must not be kept.
        self._state = {} if state is None else state
        self._pid: int | None = None
        self.exit: int | None = None

    def is_over(self) -> Over:
        popen = self._popen()
        if popen is None:
            # Its start failed, or it was waited for; or it runs without its parent's interest.
            self._pid = self._state.get("pid", self._pid)
            if self._pid is None:
                return NEVER
            self.exit = self._state.get("returncode", self.exit)
            return DIED if self.exit is not None or not _is_alive(self._pid) else None
        pid = getattr(popen, "pid", None)
        if pid is None:
            return None if _is_starting(popen) else NEVER
        self._pid = pid
        if not _has_ended(popen):
            return None
        is_exiting, self.exit = _exit_of(popen)
        return None if is_exiting else DIED

    def is_exiting(self) -> bool:
        """Whether the process has yet to say how it exits, as it will in a moment."""
        popen = self._popen()
        return getattr(popen, "pid", None) is not None and _exit_of(popen)[0]

    def __str__(self) -> str:
        pid = getattr(self._popen(), "pid", None)
        return f"handed over to process {self._pid or pid or 'that is being started'}"


class PickledText:
    """A seat's string on its way into a pickle: lives as long as the pickling does, since the
    pickler remembers what it has seen.
    """

    __slots__ = ("_text", "__weakref__")

    def __init__(self, text: str) -> None:
        self._text = text

    def __reduce__(self) -> tuple[Any, ...]:
        return str, (self._text,)


class Sent:
    """A hand-over through multiprocessing's pipes: of a pool, an executor, a queue or a connection.

    It is for the processes of multiprocessing that this process has or starts, until all of them
    are dead.
    """

    exit: int | None = None

    def __init__(self, dumps: FrameType, text: PickledText) -> None:
        self._buffer = dumps.f_locals.get("buf")
        self._future = _future_of(dumps)
        self._has_failed = False
        self._receivers: weakref.WeakSet[Any] = weakref.WeakSet()
        self._had_receivers = False
        self._pickling: weakref.ref[PickledText] | None = weakref.ref(text, self._pickled)
        self._note_receivers()

    def _pickled(self, _text: object) -> None:
        buffer, self._buffer, self._pickling = self._buffer, None, None
        # A pickle ends with a full stop; one that failed was not written.
        self._has_failed = buffer is not None and bytes(buffer.getbuffer()[-1:]) != b"."

    def _note_receivers(self) -> None:
        children = sys.modules["multiprocessing.process"]._children
        for child in list(children):
            if child._popen is not None:
                self._had_receivers = True
                self._receivers.add(child._popen)

    def is_over(self) -> Over:
        if self._pickling is not None:
            return None
        if self._has_failed:
            return NEVER
        if self._future is not None:
            future = self._future()
            return NEVER if future is None or future.done() else None
        self._note_receivers()
        living = [popen for popen in self._receivers if not _has_ended(popen)]
        return DIED if self._had_receivers and not living else None

    def is_exiting(self) -> bool:
        """Of many processes, how any one of them exits says nothing."""
        return False

    def __str__(self) -> str:
        if self._future is not None:
            return "handed over with a task of an executor"
        pids = sorted(popen.pid for popen in self._receivers if not _has_ended(popen))
        return f"handed over through a pipe of multiprocessing's, for processes {pids}"


def _future_of(dumps: FrameType) -> Callable[[], Any] | None:
    """Gives the future of the task that an executor pickles, or `None` when that task is over."""
    feed = dumps.f_back
    if feed is None:
        return None
    queue = getattr(feed.f_locals.get("onerror"), "__self__", None)
    tasks = getattr(queue, "pending_work_items", None)
    number = getattr(feed.f_locals.get("obj"), "work_id", None)
    if tasks is None or number is None:
        return None
    try:
        return weakref.ref(tasks[number].future)
    except KeyError:
        # The pool has broken, and has forgotten its tasks.
        return lambda: None


def is_in_a_dead_task(mirror: object) -> bool:
    """Whether a task of an executor has it that is over, and that the executor will never pickle:
    one that broke keeps what it had in its queue.
    """
    executors: Any = sys.modules.get("concurrent.futures.process")
    for manager in list(getattr(executors, "_threads_wakeups", ())):
        queue = getattr(manager, "call_queue", None)
        for task in list(getattr(queue, "_buffer", ())):
            number = getattr(task, "work_id", None)
            if number is None or number in manager.pending_work_items:
                continue
            if any(it is mirror for it in (*task.args, *task.kwargs.values())):
                return True
    return False


class EnvironText(str):
    """A seat's string in an environment that `environ` gave. Copies of the environment share it."""

    _given: Given

    def encode(self, *how: str) -> bytes:
        """As `str` has it; `subprocess` calls it when it starts a process."""
        self._given.note_start(sys._getframe(1))
        return super().encode(*how)

    def __reduce__(self) -> tuple[Any, ...]:
        # Nothing is known of a process that has a pickle of it.
        self._given.is_known = False
        return str, (str(self),)


class Environ(dict[str, str]):
    """An environment that `environ` gave."""

    def values(self) -> Any:
        """As `dict` has it; `os.posix_spawn` calls it, by which `subprocess` starts a process."""
        text = self.get(SEAT)
        if isinstance(text, EnvironText):
            text._given.note_start(sys._getframe(1))
        return super().values()

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)


class Given:
    """A hand-over in an environment."""

    def __init__(self, text: EnvironText) -> None:
        text._given = self
        self._seat = str(text)
        self._text = weakref.ref(text)
        self._next_scan = 0.0
        # Whether a process was seen that was started with it.
        self._was_seen = False
        self.started: list[Started] = []
        self.is_known = True

    @property
    def exit(self) -> int | None:
        """How the last process that was started with it exited."""
        return self.started[-1].exit if self.started else None

    def note_start(self, frame: FrameType | None) -> None:
        """Notes the process that `subprocess` starts in this call, if it does."""
        for each in _frames(frame):
            if each.f_code.co_name == "_execute_child" and "self" in each.f_locals:
                self.started.append(Started(each.f_locals["self"]))
                break

    def is_over(self) -> Over:
        ends = [started.is_over() for started in self.started]
        if not self.is_known or None in ends or os.environ.get(SEAT) == self._seat:
            return None
        if monotonic() < self._next_scan:
            return None
        self._next_scan = monotonic() + _SCAN_SECONDS
        if _is_in_an_environment(f"{SEAT}={self._seat}\0".encode()):
            self._was_seen = True
            return None
        if not ends and not self._was_seen and self._text() is not None:
            # It may still be given to a process.
            return None
        return DIED if DIED in ends or self._was_seen else NEVER

    def is_exiting(self) -> bool:
        """Whether the last process that was started with it has yet to say how it exits."""
        return bool(self.started) and self.started[-1].is_exiting()

    def __str__(self) -> str:
        return "handed over in an environment"


def _is_in_an_environment(entry: bytes) -> bool:
    """Whether a process of this user, which lives, was started with it."""
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                with open(f"/proc/{name}/environ", "rb") as environ:
                    if entry in environ.read() + b"\0":
                        return True
            except OSError:
                pass
    return False


HandOver = Union[Started, Sent, Given]


def spawning() -> Started | None:
    """The process that this thread pickles something for, to start it."""
    context = sys.modules.get("multiprocessing.context")
    popen = context.get_spawning_popen() if context is not None else None
    return None if popen is None else Started(popen, vars(popen))


def transport() -> FrameType | None:
    """The call of multiprocessing's pickler that this thread is in, for one of its pipes."""
    reduction = sys.modules.get("multiprocessing.reduction")
    if reduction is None:
        return None
    code = reduction.ForkingPickler.dumps.__func__.__code__
    return next((it for it in _frames(sys._getframe(1)) if it.f_code is code), None)
