"""syncstream's `mproc`: buffers for threads and for processes."""

from __future__ import annotations

from ._buffer import LineBuffer
from ._mirror import LineProcMirror
from ._proc_buffer import LineProcBuffer

__all__ = ("LineBuffer", "LineProcBuffer", "LineProcMirror")
