"""What clients of a stats socket write, cut into commands: `;`, backslashes and `<<` payloads. Pure.

Source: HAProxy management guide, section 9.3: a line holds commands separated by semicolons, a backslash takes the
meaning from what follows it, and a line that ends in `<<` is followed by a payload up to an empty line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pasvport.errors import PasvportError

MOST_BYTES = 128 * 1024
"""A line and its payload together (HAProxy's `tune.cli.max-payload-size`)."""
_MARK = "<<"
_WORD_OR_SEMICOLON = re.compile(r"(?:[^\\; \t]+|\\.|\\\Z)+|;", re.DOTALL)
_HTTP = re.compile(rb"\S+[ \t]+[^\n]*[ \t]HTTP/\d+(\.\d+)?[ \t]*\r?\n", re.IGNORECASE)
_ESCAPED = re.compile(r"\\(.?)", re.DOTALL)


class TooLong(PasvportError):  # noqa: N818 (it says what a line is)
    """A client's line does not end."""


@dataclass(frozen=True, slots=True)
class Typed:
    """One command as a client typed it: its words, and the payload that came with its line ("" for none)."""

    words: tuple[str, ...]
    payload: str = ""


class Lines:
    """Incremental: feed bytes, take lines. A line may hold several commands."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._head: str | None = None
        self._payload: list[str] = []
        self._size = 0

    @property
    def in_payload(self) -> bool:
        """Whether the next line belongs to a payload."""
        return self._head is not None

    @property
    def has_line(self) -> bool:
        """Whether another line is complete already."""
        return b"\n" in self._buffer

    @property
    def is_http(self) -> bool:
        """Whether the next line is the request line of HTTP, which a browser sends wherever a page tells it to."""
        return _HTTP.match(self._buffer) is not None

    def feed(self, data: bytes) -> None:
        """More bytes. Raises TooLong."""
        self._buffer += data
        if len(self._buffer) + self._size > MOST_BYTES:
            raise TooLong(f"more than {MOST_BYTES} bytes in a line and its payload")

    def take(self) -> list[Typed] | None:
        """The next complete line, without commands while it is part of a payload; None until more bytes come."""
        end = self._buffer.find(b"\n")
        if end < 0:
            return None
        line = bytes(self._buffer[:end]).removesuffix(b"\r").decode("utf-8", "replace")
        del self._buffer[: end + 1]
        if self._head is not None:
            return self._more_payload(line)
        stripped = line.rstrip()
        if stripped.endswith(_MARK):
            self._head = stripped.removesuffix(_MARK)
            self._size = len(line)
            return []
        return list(_commands(line, ""))

    def _more_payload(self, line: str) -> list[Typed]:
        if line:
            self._payload.append(line)
            self._size += len(line) + 1
            return []
        head, payload = self._head or "", "".join(f"{text}\n" for text in self._payload)
        self._head, self._payload, self._size = None, [], 0
        return list(_commands(head, payload))


def _commands(line: str, payload: str) -> Iterator[Typed]:
    parts = _split(line)
    for number, words in enumerate(parts):
        if words or len(parts) == 1 or number < len(parts) - 1:
            yield Typed(tuple(words), payload)


def _split(line: str) -> list[list[str]]:
    """Commands as lists of words."""
    commands: list[list[str]] = [[]]
    for found in _WORD_OR_SEMICOLON.finditer(line):
        if found[0] == ";":
            commands.append([])
        else:
            commands[-1].append(_ESCAPED.sub(r"\1", found[0]))
    return commands
