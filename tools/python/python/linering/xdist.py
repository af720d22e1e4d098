"""A plugin for pytest-xdist, `pytest -p linering.xdist -n 4 -s`: what tests print in the workers
comes to the terminal while they run, in whole lines, each with its worker's name. pytest-xdist
alone shows none of it with `-s`.

What a worker printed before it crashed comes too. Without `-s`, and without `-n`, the plugin does
nothing: pytest captures, or prints itself.
"""

from __future__ import annotations

import threading
from typing import Any

import pytest

from ._linering import Line
from ._mirror import LineProcMirror
from ._proc_buffer import LineProcBuffer

_SEAT = "linering_seat"


class _Controller:
    """In the process that starts the workers."""

    def __init__(self, config: pytest.Config) -> None:
        self._writer = config.get_terminal_writer()
        self._buffer = LineProcBuffer(policy="block")
        self._mirrors: dict[str, LineProcMirror] = {}
        # Workers may come at any time, in the place of one that crashed.
        self._buffer._hold.begin()
        self._thread = threading.Thread(target=self._show, name="linering xdist", daemon=True)
        self._thread.start()

    def _show(self) -> None:
        for item in self._buffer.drain():
            lines = [str(item)] if isinstance(item, Line) else str(item).split("\n")
            shown = [f"[{item.label}] {line}\n" if item.label else f"{line}\n" for line in lines]
            # Behind the dots of the tests that have passed.
            begin = "\n" if self._writer.width_of_current_line > 0 else ""
            # At once: pytest prints such dots from a thread of its own.
            self._writer.write(begin + "".join(shown), flush=True)

    def seat(self, name: str) -> str:
        """A seat's string, for a worker."""
        mirror = self._mirrors[name] = self._buffer.new_mirror(name)
        mirror._open()
        return mirror._seat()

    def end(self, name: str) -> None:
        """A worker has ended."""
        mirror = self._mirrors.pop(name, None)
        if mirror is not None:
            mirror.send_eof()

    def finish(self) -> None:
        """Returns when all that has come is shown."""
        for name in list(self._mirrors):
            self.end(name)
        self._buffer._hold.end()
        self._thread.join()


_CONTROLLER: pytest.StashKey[_Controller] = pytest.StashKey()
_MIRROR: pytest.StashKey[LineProcMirror] = pytest.StashKey()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Hands a mirror to a worker that is started."""
    stash = node.config.stash
    if node.config.getoption("capture", None) == "no":
        if _CONTROLLER not in stash:
            stash[_CONTROLLER] = _Controller(node.config)
        node.workerinput[_SEAT] = stash[_CONTROLLER].seat(node.gateway.id)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A worker has ended."""
    if _CONTROLLER in node.config.stash:
        node.config.stash[_CONTROLLER].end(node.gateway.id)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Shows what has come by now."""
    if _CONTROLLER in session.config.stash:
        session.config.stash[_CONTROLLER].finish()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Has a worker print into its mirror; not what pytest itself shows, whose stream is known by
    now.
    """
    seat = getattr(session.config, "workerinput", {}).get(_SEAT)
    if seat is not None:
        mirror = session.config.stash[_MIRROR] = LineProcMirror(seat)
        mirror.__enter__()


def pytest_unconfigure(config: pytest.Config) -> None:
    """The worker ends."""
    if _MIRROR in config.stash:
        config.stash[_MIRROR].__exit__(None, None, None)
