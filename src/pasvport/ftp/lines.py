"""Lines of a control channel, cut from whatever pieces the network delivers.

Accepts CRLF and bare LF (RFC 959 section 5.3 wants CRLF; clients and servers exist that send LF). Telnet commands
(RFC 854) are taken out: IP and DM mark the next line as urgent, WILL and DO are answered with DONT and WONT. A doubled
IAC is data and stays doubled, so that the bytes of a file name reach the other side as they came. Nothing is decoded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

IAC = 0xFF
_DONT, _DO, _WONT, _WILL = 0xFE, 0xFD, 0xFC, 0xFB
_DM, _IP = 0xF2, 0xF4
_LOWEST_COMMAND = 0xF0
_REFUSALS = {_WILL: _DONT, _DO: _WONT}
_NEGOTIATIONS = (_WILL, _WONT, _DO, _DONT)
MAX_NEGOTIATIONS = 16
"""Telnet options refused in one session; further ones get no answer, so that a peer cannot make us talk for ever."""

TOO_LONG = "line too long"
FORBIDDEN = "NUL or CR inside a line"


@dataclass(init=False, slots=True, unsafe_hash=True)
class Line:
    """One line without its end. `fault` is why it must be refused; `data` is then empty."""

    data: Final[bytes]
    urgent: Final[bool]
    fault: Final[str]

    def __init__(self, data: bytes, urgent: bool = False, fault: str = "") -> None:
        self.data = data
        self.urgent = urgent
        self.fault = fault


class LineSplitter:
    """Bytes in by `push`, lines out by `pull`. Holds at most `limit` bytes of an unfinished line and what was pushed.

    A line longer than `limit` bytes (`ftp-max-line`) is thrown away up to its end and comes out once, as a fault.
    """

    __slots__ = ("_answers", "_at", "_buffer", "_limit", "_marks", "_negotiations", "_scanned", "_skipping", "_telnet")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = b""
        self._at = 0
        """Where in the buffer the next line begins."""
        self._scanned = 0
        self._skipping = False
        # Where in the buffer an IP or a DM stood: it makes urgent the line it is in or before, no earlier one.
        self._marks: list[int] = []
        self._telnet = b""
        self._answers = b""
        self._negotiations = 0

    def push(self, data: bytes) -> None:
        """Take in what arrived; empty data changes nothing."""
        if self._at:
            self._cut()
        if self._telnet or IAC in data:
            data = self._without_telnet(self._telnet + data)
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
        urgent = bool(self._marks) and self._was_marked(end)
        if end + 1 == len(buffer) and not self._marks:
            # An idle session holds nothing.
            self._buffer, self._at, self._scanned = b"", 0, 0
        else:
            self._at = self._scanned = end + 1
        if self._skipping or len(data) > self._limit:
            self._skipping = False
            return Line(b"", urgent, TOO_LONG)
        if b"\0" in data or b"\r" in data:
            return Line(b"", urgent, FORBIDDEN)
        return Line(data, urgent)

    def answers(self) -> bytes:
        """Telnet refusals to send back to this peer, once."""
        answers = self._answers
        if answers:
            self._answers = b""
        return answers

    @property
    def is_empty(self) -> bool:
        """Nothing of a further line has arrived: what TLS must find before it begins (RFC 4217 section 10)."""
        return self._at == len(self._buffer) and not self._telnet and not self._skipping

    @property
    def is_skipping(self) -> bool:
        """The unfinished line is too long already."""
        return self._skipping

    @property
    def held(self) -> int:
        """Bytes in memory."""
        return len(self._buffer) - self._at + len(self._telnet)

    def _was_marked(self, end: int) -> bool:
        """Whether the line that ended at `end` was marked; its marks are used up."""
        marks = self._marks
        self._marks = [mark for mark in marks if mark > end]
        return len(self._marks) < len(marks)

    def _cut(self) -> None:
        """Forget what was pulled."""
        at, self._at = self._at, 0
        self._buffer = self._buffer[at:]
        self._scanned -= at
        if self._marks:
            self._marks = [mark - at for mark in self._marks]

    def _wait(self) -> None:
        """No whole line is there."""
        if self._at:
            self._cut()
        # One more than the limit may still be a whole line and its CR.
        if len(self._buffer) > self._limit + 1:
            self._skipping = True
            self._buffer = b""
            self._marks = [0] if self._marks else []
        self._scanned = len(self._buffer)

    def _without_telnet(self, data: bytes) -> bytes:
        """`data` without Telnet commands; an unfinished command waits for its rest."""
        self._telnet = b""
        kept = bytearray()
        at = 0
        while (found := data.find(IAC, at)) >= 0:
            kept += data[at:found]
            length = self._command_length(data, found, len(self._buffer) + len(kept))
            if not length:
                self._telnet = data[found:]
                return bytes(kept)
            if data[found + 1] == IAC or data[found + 1] < _LOWEST_COMMAND:
                kept += data[found : found + length]
            at = found + length
        return bytes(kept + data[at:])

    def _command_length(self, data: bytes, at: int, place: int) -> int:
        """Bytes of the Telnet command at `at`, whose effect is noted for `place`; 0 while it is incomplete."""
        if at + 1 >= len(data):
            return 0
        command = data[at + 1]
        if command in _NEGOTIATIONS:
            if at + 2 >= len(data):
                return 0
            self._refuse(command, data[at + 2])
            return 3
        if command in (_IP, _DM) and place not in self._marks[-1:]:
            self._marks.append(place)
        return 2

    def _refuse(self, command: int, option: int) -> None:
        if command in _REFUSALS and self._negotiations < MAX_NEGOTIATIONS:
            self._negotiations += 1
            self._answers += bytes((IAC, _REFUSALS[command], option))
