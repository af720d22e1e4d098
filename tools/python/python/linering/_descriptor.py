"""Descriptors for files that have none: `fileno()` of a mirror and of a `LineBuffer`, on demand.

Behind a mirror's is a pipe, and at its other end a process of its own, which writes what comes out
of it into a further mirror of the same number. So the last words of this process arrive, those of
`faulthandler` too: what is in the pipe when this process dies is read all the same. The process
ends when the pipe is closed everywhere: here, and in the programs that were started with it.

The number that `fileno()` gave stays valid, since others keep it (`faulthandler` does): when the
mirror ends it becomes a descriptor of this process's own standard output or error.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import functools
import io
import os
import select
import subprocess
import sys
import termios
import threading
import weakref
from collections.abc import Callable
from typing import Any

from . import _linering

_FORWARD = """\
import importlib.util, os, sys
found = importlib.util.spec_from_file_location("_linering", sys.argv[1])
module = importlib.util.module_from_spec(found)
found.loader.exec_module(module)
if os.fork():
    os._exit(0)
module.Mirror(sys.argv[2])._forward(0, sys.argv[3] == "stderr", 1)
"""
"""The program of the other process: without the rest of the package, which takes longer to load. It
forks, so that it is no child of this process, which may wait for all that it has.
"""


def _start_forwarding(source: int, seat: str, is_stderr: bool) -> None:
    if not sys.executable:
        raise io.UnsupportedOperation("a mirror has no descriptor where there is no interpreter")
    command = [
        sys.executable, "-I", "-S", "-c", _FORWARD,
        str(_linering.__file__), seat, "stderr" if is_stderr else "stdout",
    ]  # fmt: skip
    # A session of its own: a Ctrl-C is for those that write into it.
    done = subprocess.run(
        command,
        stdin=source,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        check=False,
    )
    if done.stdout != b"\n":
        raise io.UnsupportedOperation(
            "a mirror has no descriptor: the process that would read it did not open a mirror"
        )


class MirrorDescriptor:
    """The descriptor of a mirror, for standard output or for standard error."""

    def __init__(self, is_stderr: bool) -> None:
        self._is_stderr = is_stderr
        self._descriptor: int | None = None
        self._is_open = False
        _descriptors.add(self)

    def fileno(self, seat: Callable[[], str]) -> int:
        """The descriptor, which is opened if it is not. `seat` gives the string of a seat that is
        open.
        """
        if not self._is_open:
            read, write = os.pipe()
            try:
                _start_forwarding(read, seat(), self._is_stderr)
            except BaseException:
                os.close(write)
                raise
            finally:
                os.close(read)
            if self._descriptor is None:
                self._descriptor = write
            else:
                os.dup2(write, self._descriptor, inheritable=False)
                os.close(write)
            self._is_open = True
        assert self._descriptor is not None
        return self._descriptor

    def end(self) -> None:
        """Has it lead to this process's own standard output or error from now on."""
        if not self._is_open or self._descriptor is None:
            return
        self._is_open = False
        try:
            os.dup2(1 + self._is_stderr, self._descriptor, inheritable=False)
        except OSError:
            # There is none.
            null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            os.dup2(null, self._descriptor, inheritable=False)
            os.close(null)

    def __del__(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)


_descriptors: weakref.WeakSet[MirrorDescriptor] = weakref.WeakSet()


def _in_child() -> None:
    # A child that lives on must not keep its parent's pipe open.
    for each in list(_descriptors):
        each.end()


os.register_at_fork(after_in_child=_in_child)


def _wait_for(descriptor: int) -> None:
    """Waits until there is something to read; lets greenlets run meanwhile."""
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.poll()
    else:
        select.select([descriptor], [], [])


class BufferDescriptor:
    """The descriptor of a `LineBuffer`: a pipe, and a thread that reads it."""

    def __init__(self, file: object, write: Callable[[Any, bytes], object]) -> None:
        read, self._descriptor = os.pipe()
        self._read = read
        self._taken = 0
        # Held from a reading to the writing of what was read.
        self._came = threading.Condition()
        self._process = os.getpid()
        weakref.finalize(file, os.close, self._descriptor)
        run = functools.partial(self._run, weakref.ref(file), write)
        self._thread = threading.Thread(target=run, name="linering descriptor", daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        """The end that is written into."""
        return self._descriptor

    def _run(self, file: Callable[[], Any], write: Callable[[Any, bytes], object]) -> None:
        while True:
            _wait_for(self._read)
            with self._came:
                data = os.read(self._read, 1 << 16)
                found = file()
                if found is not None and data:
                    # One that was closed keeps nothing.
                    with contextlib.suppress(OSError):
                        write(found, data)
                del found
                self._taken += len(data)
                self._came.notify_all()
            if not data:
                os.close(self._read)
                return

    def settle(self) -> None:
        """Waits until what is in the pipe now is in the buffer."""
        # A fork's child has no such thread, and what it wrote its parent reads.
        if self._process != os.getpid() or threading.current_thread() is self._thread:
            return
        with self._came:
            waiting = array.array("i", [0])
            if self._thread.is_alive():
                fcntl.ioctl(self._read, termios.FIONREAD, waiting)
            until = self._taken + waiting[0]
            while self._taken < until:
                self._came.wait()
