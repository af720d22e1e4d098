"""Lines of many threads and worker processes: whole, in one order, at memory speed.

The names and the behaviour are those of syncstream's thread and process part (`import linering as
syncstream`), without its hangs; where the two differ is in the repository's docs/python.md.

    import multiprocessing
    import linering

    def work(mirror):
        with mirror:                      # standard output and error go into it; the end is sent,
                                          # or the error
            print("hello")

    if __name__ == "__main__":
        pbuf = linering.LineProcBuffer(maxlen=100)
        with multiprocessing.Pool(4) as pool:
            pool.map_async(work, [pbuf.mirror for _ in range(4)])
            for end in pbuf.wait():       # also when a worker was killed
                print(end)
        for line in pbuf.read():
            print(line)
"""

from __future__ import annotations

import platform as _platform
import sys as _sys

if _platform.system() != "Linux":
    raise ImportError(
        f"linering runs on {_platform.system()}, expected Linux: its crash safety rests on that"
        " kernel"
    )
# Before the extension module is loaded, which such an interpreter may do without saying that it
# cannot use it.
if "t" in _sys.abiflags:
    raise ImportError(
        "this is a free-threaded Python, expected one with the interpreter lock, which linering"
        " relies on"
    )

from . import base, mproc, utils
from ._buffer import LineBuffer
from ._config import logging_config
from ._drain import Drain
from ._linering import Line, RotatingFile, Stopped
from ._logging import LogHandler, LogListener
from ._message import Ended, GroupedMessage, SerializedMessage
from ._mirror import LineProcMirror
from ._proc_buffer import LineProcBuffer
from ._redirect import capture, redirect_stderr, redirect_stdout
from ._stored import Observer, PassedBy, RingStatistics, WriterStatistics, observe

__version__ = "0.1.0"

__all__ = (
    "Drain",
    "Ended",
    "GroupedMessage",
    "Line",
    "LineBuffer",
    "LineProcBuffer",
    "LineProcMirror",
    "LogHandler",
    "LogListener",
    "Observer",
    "PassedBy",
    "RingStatistics",
    "RotatingFile",
    "SerializedMessage",
    "Stopped",
    "WriterStatistics",
    "base",
    "capture",
    "logging_config",
    "mproc",
    "observe",
    "redirect_stderr",
    "redirect_stdout",
    "utils",
)
