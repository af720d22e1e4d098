"""Lines of many threads and worker processes: whole, in one order, at memory speed.

The names and the behaviour are those of syncstream's thread and process part (`import linering as syncstream`), without its
hangs; where the two differ is in the repository's docs/python.md.

    import multiprocessing
    import linering

    def work(mirror):
        with mirror:                      # standard output and error go into it; the end, or the error, is sent
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

if _platform.system() != "Linux":
    raise ImportError(f"linering runs on {_platform.system()}, expected Linux: its crash safety rests on that kernel")

try:
    from . import _linering
except ImportError as _error:
    import sys as _sys

    if not getattr(_sys, "_is_gil_enabled", lambda: True)() or "t" in getattr(_sys, "abiflags", ""):
        raise ImportError(
            "this is a free-threaded Python, expected one with the interpreter lock: linering is built for abi3, which "
            "free-threaded interpreters cannot load"
        ) from _error
    raise

from ._buffer import LineBuffer
from ._drain import Drain
from ._linering import Line, Stopped
from ._logging import LogHandler, LogListener
from ._message import Ended, GroupedMessage, SerializedMessage
from ._mirror import LineProcMirror
from ._proc import LineProcBuffer
from ._redirect import capture, redirect_stderr, redirect_stdout

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
    "SerializedMessage",
    "Stopped",
    "capture",
    "redirect_stderr",
    "redirect_stdout",
)
