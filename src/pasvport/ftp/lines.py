"""Lines of a control connection, cut from whatever pieces the network delivers.

Accepts CRLF and bare LF (RFC 959 section 5.3 wants CRLF; clients and servers exist that send LF). Every other byte
stays as it came, NUL, CR and 0xFF among them: names have such bytes, and servers differ in what they make of them.
Nothing is decoded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

TOO_LONG = "line too long"


@dataclass(init=False, slots=True, unsafe_hash=True)
class Line:
    """One line without its end. `fault` is why it must be refused; `data` is then empty."""

    data: Final[bytes]
    fault: Final[str]

    def __init__(self, data: bytes, fault: str = "") -> None:
        self.data = data
        self.fault = fault


class LineSplitter:
    """Bytes in by `push`, lines out by `pull`. Holds at most `limit` bytes of an unfinished line and what was pushed.

    A line longer than `limit` bytes (`ftp-max-line`) is thrown away up to its end and comes out once, as a fault.
    """

    __slots__ = ("_at", "_buffer", "_limit", "_scanned", "_skipping")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = b""
        self._at = 0
        """Where in the buffer the next line begins."""
        self._scanned = 0
        self._skipping = False

    def push(self, data: bytes) -> None:
        """Take in what arrived; empty data changes nothing."""
        if self._at:
            self._cut()
        self._buffer = self._buffer + data if self._buffer else data

    def pull(self) -> Line | None:
        """The next whole line, or None until more arrives."""
        buffer, at = self._buffer, self._at
        if at == len(buffer):
            return None
        end = buffer.find(b"\n", self._scanned)
        if end < 0:
            self._wait()
            return None
        data = buffer[at:end].removesuffix(b"\r")
        if end + 1 == len(buffer):
            # An idle session holds nothing.
            self._buffer, self._at, self._scanned = b"", 0, 0
        else:
            self._at = self._scanned = end + 1
        if self._skipping or len(data) > self._limit:
            self._skipping = False
            return Line(b"", TOO_LONG)
        return Line(data)

    @property
    def is_empty(self) -> bool:
        """Nothing of a further line has arrived: what TLS must find before it begins (RFC 4217 section 10)."""
        return self._at == len(self._buffer) and not self._skipping

    @property
    def is_skipping(self) -> bool:
        """The unfinished line is too long already."""
        return self._skipping

    @property
    def held(self) -> int:
        """Bytes in memory."""
        return len(self._buffer) - self._at

    def _cut(self) -> None:
        """Forget what was pulled."""
        at, self._at = self._at, 0
        self._buffer = self._buffer[at:]
        self._scanned -= at

    def _wait(self) -> None:
        """No whole line is there."""
        if self._at:
            self._cut()
        # One more than the limit may still be a whole line and its CR.
        if len(self._buffer) > self._limit + 1:
            self._skipping = True
            self._buffer = b""
        self._scanned = len(self._buffer)
