"""How large what a worker tells may be, and what a text of it may hold.

A worker talks to the outside; whoever takes it over must not be able to harm the supervisor by what he says. So each
field of what it tells has one of these types, which the reader of the wire enforces (msgspec). They are generous: a
worker that is sound never meets them.
"""

from __future__ import annotations

import re
from typing import Annotated

from msgspec import Meta

LONGEST_WORD = 16 << 10
"""Characters of a name: more than a line of a configuration has."""
LONGEST_NETWORK = 64
"""Characters of an address, with the name of its interface."""
LONGEST_TEXT = 4 << 10
"""Characters of a message for the operator."""
LONGEST_BYTES = 1 << 20
"""Of a key, a user, a path: more than a line of FTP or a key of a stick table may have."""
LARGEST = (1 << 63) - 1

_STEERING = "\\x00-\\x1f\\x7f-\\x9f\\u2028-\\u202e\\u2066-\\u2069\\ud800-\\udfff"
_STEERS = re.compile(f"[{_STEERING}]")
"""Controls, and what changes the direction or the line of the text behind it (Unicode TR 9)."""

Word = Annotated[str, Meta(max_length=LONGEST_WORD, pattern=f"^[^{_STEERING}]*\\Z")]
Text = Annotated[str, Meta(max_length=LONGEST_TEXT, pattern=f"^[^{_STEERING}]*\\Z")]
Network = Annotated[str, Meta(max_length=LONGEST_NETWORK, pattern=f"^[^{_STEERING}]*\\Z")]
Octets = Annotated[bytes, Meta(max_length=LONGEST_BYTES)]
Whole = Annotated[int, Meta(ge=-LARGEST, le=LARGEST)]
Count = Annotated[int, Meta(ge=0, le=LARGEST)]
Place = Annotated[int, Meta(ge=0, le=(1 << 31) - 1)]
"""Index or number of something that the configuration names."""
Number = Annotated[int, Meta(ge=-(1 << 31), le=(1 << 31) - 1)]
Seconds = Annotated[float, Meta(ge=-1e15, le=1e15)]
"""Neither infinite nor not a number, since those fail every comparison."""
Moment = Annotated[float, Meta(ge=0, le=1e11)]
"""Seconds since the epoch that have a date."""


def visible(text: str, longest: int = LONGEST_TEXT) -> str:
    """`text` with what could steer a terminal or forge a line as `\\xNN` or `\\uNNNN`, cut to `longest` characters."""
    if not text.isprintable():
        text = _STEERS.sub(_escaped, text)
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    # An undecodable byte came in as a surrogate; it is shown as that byte.
    byte = code - 0xDC00 if 0xDC80 <= code <= 0xDCFF else code
    return f"\\x{byte:02x}" if byte < 0x100 else f"\\u{byte:04x}"
