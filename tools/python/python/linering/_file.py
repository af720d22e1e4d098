"""What buffers and mirrors have in common with text files."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable
from typing import IO, Any, NoReturn, Protocol


class _Writes(Protocol):
    def write(self, data: str, /) -> int: ...


class TextFile:
    """The methods of a text file that everything printable has here. Text is UTF-8."""

    # An object with attributes of its own in a `dict` is slower to print into.
    __slots__ = ()

    encoding = "utf-8"
    errors = "surrogateescape"
    newlines = None
    line_buffering = True

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


class Redirection:
    """`sys.stdout` and `sys.stderr`, put elsewhere and back. May be nested, and put back in any
    order.
    """

    def __init__(self) -> None:
        self._saved: list[tuple[IO[str], IO[str], Any, Any]] = []

    def begin(self, stdout: Any, stderr: Any) -> None:
        self._saved.append((sys.stdout, sys.stderr, stdout, stderr))
        sys.stdout, sys.stderr = stdout, stderr

    def end(self) -> None:
        before_out, before_err, stdout, stderr = self._saved.pop()
        # A stream that was redirected again since is put back by the code that did so.
        if sys.stdout is stdout:
            sys.stdout = before_out
        if sys.stderr is stderr:
            sys.stderr = before_err
