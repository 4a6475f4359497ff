"""Lines of a control connection, cut from whatever pieces the network delivers.

Accepts CRLF and bare LF (RFC 959 section 5.3 wants CRLF; clients and servers exist that send LF). Every other byte
stays as it came, NUL, CR and 0xFF among them: names have such bytes, and servers differ in what they make of them.
Nothing is decoded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

TOO_LONG = "line too long"

_HANDSHAKE: Final = 0x16
_TLS_MAJOR: Final = 0x03
_LONG_RECORD: Final = 0x80
_LONGEST_RECORD: Final = 0x8F
_CLIENT_HELLO: Final = 1


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

    A line longer than `limit` bytes (`ftp-max-line`) is thrown away up to its end and comes out once, as a fault. Of a
    client (`finds_tls`): where a TLS hello stands in place of a line nothing more comes out, `begins_tls` is true, and
    `take_all` has its bytes.
    """

    __slots__ = ("_at", "_buffer", "_finds_tls", "_limit", "_scanned", "_skipping", "begins_tls")

    def __init__(self, limit: int, *, finds_tls: bool = False) -> None:
        self._limit = limit
        self._finds_tls = finds_tls
        self._buffer = b""
        self._at = 0
        """Where in the buffer the next line begins."""
        self._scanned = 0
        self._skipping = False
        self.begins_tls = False
        """A ClientHello stands where a line would (RFC 8446 section 5.1: a record of handshake, 0x16 0x03; or one in
        the form of SSL 2.0, RFC 5246 appendix E.2). No command begins so."""

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
        if self._finds_tls and self.looks_like_tls and self._may_be_hello():
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

    def take_all(self) -> bytes:
        """Everything that was not pulled, once."""
        rest = self._buffer[self._at :]
        self._buffer, self._at, self._scanned = b"", 0, 0
        self.begins_tls = False
        return rest

    @property
    def is_empty(self) -> bool:
        """Nothing of a further line has arrived: what TLS must find before it begins (RFC 4217 section 10)."""
        return self._at == len(self._buffer) and not self._skipping

    @property
    def looks_like_tls(self) -> bool:
        """What is left begins as a ClientHello does and no command."""
        if self._skipping or self._at == len(self._buffer):
            return False
        first = self._buffer[self._at]
        return first == _HANDSHAKE or _LONG_RECORD <= first <= _LONGEST_RECORD

    @property
    def is_skipping(self) -> bool:
        """The unfinished line is too long already."""
        return self._skipping

    @property
    def held(self) -> int:
        """Bytes in memory."""
        return len(self._buffer) - self._at

    def _may_be_hello(self) -> bool:
        """Whether what is left is a ClientHello, or may still become one."""
        start = self._buffer[self._at : self._at + 3]
        decides, wanted = (1, _TLS_MAJOR) if start[0] == _HANDSHAKE else (2, _CLIENT_HELLO)
        if len(start) <= decides:
            return True
        self.begins_tls = start[decides] == wanted
        return self.begins_tls

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
