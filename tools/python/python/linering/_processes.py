"""Programs, executors and pools that a `LineProcBuffer` starts, whose output comes without a word
in them.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import multiprocessing.context
import multiprocessing.pool
import os
import select
import subprocess
import threading
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Union

from ._hand_over import CLAIMS, READER, SEAT
from ._linering import Mirror, Ring
from ._mirror import LineProcMirror

Command = Union[str, bytes, "os.PathLike[str]", Sequence[Union[str, bytes, "os.PathLike[str]"]]]


class Hold:
    """Has `wait` go on while there are tasks that no seat stands for yet: those that wait in this
    process until a pool or an executor takes them. It is a mirror of this process, whose end is
    not told.
    """

    def __init__(self, ring: Ring) -> None:
        self._mirror = Mirror(ring.seat(""))
        self._count = 0
        # A task may be collected in the middle of this.
        self._lock = threading.RLock()
        self.worker = self._mirror.worker
        self._mirror._open()
        self._mirror._send_eof()

    def begin(self) -> None:
        """One task more."""
        with self._lock:
            if self._count == 0:
                self._mirror._open()
            self._count += 1

    def end(self) -> None:
        """One less."""
        with self._lock:
            self._count -= 1
            if self._count == 0:
                with contextlib.suppress(OSError):
                    self._mirror._send_eof()


class Starter:
    """What a `LineProcBuffer` starts."""

    _ring: Ring
    _lock: threading.RLock
    _exits: dict[int, int]
    _made_hold: Hold | None

    @property
    def _hold(self) -> Hold:
        with self._lock:
            if self._made_hold is None:
                self._made_hold = Hold(self._ring)
            return self._made_hold

    def new_mirror(self, label: str = "") -> LineProcMirror:
        """A mirror for one program or task."""
        raise NotImplementedError

    def popen(
        self,
        command: Command,
        *,
        label: str = "",
        env: Mapping[str, str] | None = None,
        **options: Any,
    ) -> subprocess.Popen[Any]:
        """Starts a program, as `subprocess.Popen` does with the same options, whose standard output
        and standard error come as lines of one worker. Its end is told with its exit status, when
        it has ended and all that it started has closed both.

        `label`: which its lines carry. Default: the program's name. If it is a Python program that
        uses `LineProcMirror.from_environ` or `LogHandler()`, what it sends there has the same
        number.

        Raises what `subprocess.Popen` does, and `TypeError` for `stdout` and `stderr`.
        """
        return _start(self, command, label, env, options)

    def executor(self, max_workers: int | None = None, **options: Any) -> Executor:
        """A `ProcessPoolExecutor`, with the same options, whose tasks print into mirrors without a
        word in them: each is a worker, with the name of its function as label, and `wait` waits
        for all that were submitted. An exception of a task comes as an error as well.
        """
        return Executor(self, max_workers, **options)

    def pool(self, processes: int | None = None, **options: Any) -> Pool:
        """A `multiprocessing.Pool`, with the same options and `context`, whose tasks (chunks, of
        `map`) print into mirrors as those of `executor` do.
        """
        return Pool(self, processes, **options)


def _name_of(function: Any, arguments: Sequence[Any] = ()) -> str:
    """What is called, behind what executors and pools put around it."""
    name: str = getattr(function, "__name__", "")
    if isinstance(function, functools.partial):
        return _name_of(function.func, function.args)
    if name == "_process_chunk" and arguments:
        return _name_of(arguments[0])
    if name in ("mapstar", "starmapstar") and arguments:
        return _name_of(arguments[0][0])
    return name


class Task:
    """A function that is called in a block of a mirror of its own. The mirror is made when the task
    is pickled, and the buffer is held until then: tasks that wait have no seat.
    """

    def __init__(self, buffer: Starter, function: Callable[..., Any], name: str) -> None:
        self._buffer = buffer
        self._function = function
        self._name = name
        self._hold: Hold | None = buffer._hold
        self._hold.begin()

    @contextlib.contextmanager
    def or_none(self) -> Iterator[None]:
        """A block that hands it on, or fails, and then there is no task."""
        try:
            yield
        except BaseException:
            self.end_hold()
            raise

    def end_hold(self) -> None:
        """Nothing is held for it from now on."""
        hold, self._hold = self._hold, None
        if hold is not None:
            hold.end()

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Never called: it is pickled, and a `_Task` comes out."""
        return self._function(*arguments, **named)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Task, (_Seat(self), self._function)

    def __del__(self) -> None:
        self.end_hold()


class _Seat:
    """Makes a task's mirror in the middle of its pickling."""

    def __init__(self, task: Task) -> None:
        self._task = task

    def __reduce__(self) -> tuple[Any, ...]:
        try:
            return self._task._buffer.new_mirror(self._task._name).__reduce__()
        finally:
            # From here on the seat is what `wait` waits for.
            self._task.end_hold()


class _Task:
    """A task in its worker."""

    def __init__(self, mirror: LineProcMirror, function: Callable[..., Any]) -> None:
        self._mirror = mirror
        self._function = function

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        with self._mirror:
            return self._function(*arguments, **named)


class Executor(concurrent.futures.ProcessPoolExecutor):
    """See `LineProcBuffer.executor`."""

    def __init__(self, buffer: Starter, max_workers: int | None, **options: Any) -> None:
        super().__init__(max_workers, **options)
        self._buffer = buffer

    def submit(
        self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> concurrent.futures.Future[Any]:
        """As `ProcessPoolExecutor` has it."""
        task = Task(self._buffer, fn, _name_of(fn))
        with task.or_none():
            future = super().submit(task, *args, **kwargs)
        # An executor keeps the tasks that it has cancelled.
        future.add_done_callback(lambda _: task.end_hold())
        return future


class _Tasks:
    """A pool's tasks of one call, each made when it is taken."""

    def __init__(self, buffer: Starter, tasks: Iterator[tuple[Any, ...]]) -> None:
        self._buffer = buffer
        self._tasks = tasks
        self._hold: Hold | None = buffer._hold
        self._hold.begin()

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return self

    def __next__(self) -> tuple[Any, ...]:
        try:
            job, number, function, arguments, named = next(self._tasks)
        except BaseException:
            self.__del__()
            raise
        task = Task(self._buffer, function, _name_of(function, arguments))
        return job, number, task, arguments, named

    def __del__(self) -> None:
        hold, self._hold = self._hold, None
        if hold is not None:
            hold.end()


class Pool(multiprocessing.pool.Pool):
    """See `LineProcBuffer.pool`."""

    def __init__(self, buffer: Starter, processes: int | None, **options: Any) -> None:
        self._buffer = buffer
        if options.get("context") is None:
            options["context"] = multiprocessing.get_context()
        super().__init__(processes, **options)

    def apply_async(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """As `multiprocessing.Pool` has it."""
        task = Task(self._buffer, func, _name_of(func))
        with task.or_none():
            return super().apply_async(task, *args, **kwargs)

    def _guarded_task_generation(self, *given: Any) -> Iterator[tuple[Any, ...]]:
        # What `map`, `imap` and their like have in common.
        tasks = super()._guarded_task_generation(*given)  # type: ignore[misc]
        return _Tasks(self._buffer, tasks)


def _forward(mirror: LineProcMirror, descriptor: int, is_stderr: bool) -> None:
    """Writes what comes out of a pipe, until that ends."""
    # What the mirror does not take any more is lost: the program sees a closed pipe.
    with contextlib.suppress(OSError, StopIteration):
        if isinstance(select.select, types.BuiltinFunctionType):
            mirror._forward(descriptor, is_stderr, -1)
            return
        # Gevent's, or eventlet's: this is no thread, and others must run.
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            while select.select([file], [], []) and (data := file.read(1 << 16)):
                mirror._write_bytes(data, is_stderr, 0)


def _start(
    buffer: Starter,
    command: Command,
    label: str,
    env: Mapping[str, str] | None,
    options: dict[str, Any],
) -> subprocess.Popen[Any]:
    """See `LineProcBuffer.popen`."""
    for option in ("stdout", "stderr"):
        if option in options:
            raise TypeError(f"found the option {option!r}, expected none: a mirror has it")
    if not label:
        words: Any = command
        if isinstance(command, (str, bytes, os.PathLike)):
            words = os.fsdecode(command).split()
        label = os.path.basename(os.fsdecode(next(iter(words), "")))
    mirror = buffer.new_mirror(label)
    mirror._open()
    environ = dict(os.environ if env is None else env)
    environ.pop(CLAIMS, None)
    # For a program that knows of linering: its own mirror has the same number.
    environ.update({SEAT: mirror._seat(), READER: "python"})
    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(command, stdout=pipe, stderr=pipe, env=environ, **options)
    except BaseException:
        buffer._exits[mirror.worker] = NOT_STARTED
        mirror._send_eof()
        raise
    assert process.stdout is not None and process.stderr is not None
    out, err = os.dup(process.stdout.fileno()), os.dup(process.stderr.fileno())
    for file in (process.stdout, process.stderr):
        file.close()
    process.stdout = process.stderr = None

    def follow() -> None:
        errors = threading.Thread(target=_forward, args=(mirror, err, True), daemon=True)
        errors.start()
        _forward(mirror, out, False)
        errors.join()
        buffer._exits[mirror.worker] = process.wait()
        mirror._send_eof()

    threading.Thread(target=follow, name=f"linering {label}", daemon=True).start()
    return process


NOT_STARTED = -(1 << 31)
"""In place of an exit status, of a program whose start failed: its end is not told."""
