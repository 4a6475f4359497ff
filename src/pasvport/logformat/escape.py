"""Keeping a log line one line, whatever a stranger sent."""

from __future__ import annotations

import re

_ESCAPED = re.compile(rb'[\x00-\x1f"#\x7f-\xff]')
_CONTROLS = re.compile(rb"[\x00-\x1f\x7f]")
_STEERING = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")
_STRUCTURED = re.compile(r'(["\\\]])')


def to_bytes(text: str) -> bytes:
    """The bytes of `text`; those that came in undecodable (surrogateescape) go out as they came."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace")


def escape_text(text: str) -> str:
    """Every non-printable or non-ASCII byte, `"` and `#` as `#XX` (HAProxy manual, section 8.6)."""
    if text.isascii() and text.isprintable() and '"' not in text and "#" not in text:
        return text
    return _ESCAPED.sub(_hexadecimal, to_bytes(text)).decode("ascii")


def one_line(text: str) -> bytes:
    """The bytes of a message with its control characters as `#XX`: what a peer said cannot forge a line."""
    if text.isprintable():
        return to_bytes(text)
    return _CONTROLS.sub(_hexadecimal, to_bytes(text))


def harmless(line: bytes) -> bytes:
    """A finished line with what could steer a terminal as `#XX`; whoever made it should have, but is not believed."""
    return _STEERING.sub(_hexadecimal, line)


def escape_structured(text: str) -> str:
    """`"`, `\\` and `]` behind a backslash: the +E flag (RFC 5424 section 6.3.3)."""
    return _STRUCTURED.sub(r"\\\1", text)


def _hexadecimal(found: re.Match[bytes]) -> bytes:
    return b"#%02X" % found[0][0]
