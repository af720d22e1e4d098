"""What buffers and mirrors have in common with text files."""

from __future__ import annotations

import codecs
import io
from collections.abc import Callable, Iterable
from typing import Any, NoReturn, Protocol


class _Writes(Protocol):
    def write(self, data: str, /) -> int: ...


class _HasBuffer(Protocol):
    @property
    def buffer(self) -> BytesFile: ...


class TextFile:
    """The methods of a text file that everything printable has here. Text is UTF-8."""

    # An object with attributes of its own in a `dict` is slower to print into.
    __slots__ = ()

    encoding = "utf-8"
    errors = "surrogateescape"
    newlines = None
    line_buffering = True
    write_through = True
    mode = "w"

    @property
    def name(self) -> str:
        """What it is, in angle brackets, as the interpreter names its own streams."""
        return f"<{type(self).__name__.lstrip('_')}>"

    def reconfigure(self, **options: Any) -> None:
        """Does nothing for an `encoding` of UTF-8, and for any `errors`, `newline`,
        `line_buffering` and `write_through`, which programs set on their standard output: text is
        always UTF-8, and nothing waits here.

        Raises `ValueError` for another encoding, `TypeError` for another option.
        """
        known = {"encoding", "errors", "newline", "line_buffering", "write_through"}
        for name in options:
            if name not in known:
                raise TypeError(f"found the option {name!r}, expected one of {sorted(known)}")
        encoding = options.get("encoding")
        if encoding is not None and codecs.lookup(encoding).name != "utf-8":
            raise ValueError(f"encoding is {encoding!r}, expected UTF-8")

    def detach(self: _HasBuffer) -> BytesFile:
        """Gives `buffer`, for programs that put a text file of their own around it. Unlike others,
        this file can be used further.
        """
        return self.buffer

    def _unsupported(self, what: str) -> NoReturn:
        raise io.UnsupportedOperation(f"a {type(self).__name__} has no {what}")

    def fileno(self) -> int:
        """Raises `io.UnsupportedOperation`, which is an `OSError`: there is no descriptor."""
        self._unsupported("descriptor")

    def isatty(self) -> bool:
        """`False`."""
        return False

    def seekable(self) -> bool:
        """`False`."""
        return False

    def seek(self, *_args: int) -> int:
        """Raises `io.UnsupportedOperation`, which is an `OSError`."""
        self._unsupported("random access")

    def tell(self) -> int:
        """Raises `io.UnsupportedOperation`, which is an `OSError`."""
        self._unsupported("random access")

    def truncate(self, _size: int | None = None) -> int:
        """Raises `io.UnsupportedOperation`, which is an `OSError`."""
        self._unsupported("random access")

    def writelines(self: _Writes, lines: Iterable[str]) -> None:
        """Writes one text after another."""
        for line in lines:
            self.write(line)


class BytesFile:
    """`buffer` of a text file: takes bytes as they are. `io.TextIOWrapper` can be put around it."""

    closed = False

    mode = "wb"

    def __init__(
        self, write: Callable[[bytes], int], fileno: Callable[[], int] | None = None
    ) -> None:
        self._write = write
        self._fileno = fileno

    @property
    def raw(self) -> BytesFile:
        """Itself: there is nothing between the two."""
        return self

    def writelines(self, lines: Iterable[bytes | bytearray | memoryview]) -> None:
        """Writes one after another."""
        for line in lines:
            self.write(line)

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Writes bytes; those that are no UTF-8 arrive as lone surrogates, as Python's own streams
        have it.
        """
        return self._write(memoryview(data).tobytes())

    def flush(self) -> None:
        """Does nothing: whole lines are there already, and the text file's `flush` sends the
        partial line ahead.
        """

    def close(self) -> None:
        """Does nothing."""

    def readable(self) -> bool:
        """`False`."""
        return False

    def writable(self) -> bool:
        """`True`."""
        return True

    def seekable(self) -> bool:
        """`False`."""
        return False

    def isatty(self) -> bool:
        """`False`."""
        return False

    def fileno(self) -> int:
        """The text file's."""
        if self._fileno is None:
            raise io.UnsupportedOperation("a buffer has no descriptor")
        return self._fileno()
