"""A log-format string, cut into its parts; no alias is known here.

Source: HAProxy manual, section 8.2.6; what 2.6 accepts and refuses. Blanks are merged: one blank per run, none at the
beginning. A `%` before anything but a letter, `{`, `[`, `%`, a digit or a blank vanishes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pasvport.digits import is_number
from pasvport.errors import ConfigError
from pasvport.sample.scan import Call
from pasvport.sample.scan import scan as scan_calls

_ALIAS = re.compile(r"[A-Za-z0-9]+")
_TEXT = re.compile(r"[^% ]+")
_BLANKS = re.compile(r" +")


@dataclass(frozen=True, slots=True)
class Literal:
    """Text as it is; " " alone is a separator, which merges with its neighbours."""

    text: str


@dataclass(frozen=True, slots=True)
class Variable:
    """`%{flags}name`."""

    name: str
    flags: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """`%{flags}[fetch,converter]`."""

    calls: tuple[Call, ...]
    flags: str = ""


Part = Literal | Variable | Sample


def scan(text: str) -> Iterator[Part]:
    """The parts of `text`, in order. Raises ConfigError at the first thing that is not a log format."""
    position = 0
    while position < len(text):
        if text[position] != "%":
            found = _BLANKS.match(text, position) or _TEXT.match(text, position)
            assert found is not None
            yield Literal(" " if found[0][0] == " " else found[0])
            position = found.end()
            continue
        part, position = _after_percent(text, position + 1)
        if part is not None:
            yield part


def _after_percent(text: str, position: int) -> tuple[Part | None, int]:
    letter = text[position : position + 1]
    if letter == "%":
        return Literal("%"), position + 1
    if letter == "{":
        return _with_flags(text, position + 1)
    if letter == "[" or (letter.isascii() and letter.isalpha()):
        return _item(text, position, "")
    if not letter:
        raise ConfigError("nothing follows the last '%' (write '%%' for a percent sign)")
    if letter in " \t" or is_number(letter):
        raise ConfigError(
            f"'%' is followed by '{letter}' at position {position} of '{text}' (write '%%' for a percent sign)"
        )
    return None, position


def _with_flags(text: str, position: int) -> tuple[Part, int]:
    end = text.find("}", position)
    if end < 0:
        raise ConfigError(f"'}}' is missing after '%{{{text[position:]}'")
    flags = text[position:end]
    following = text[end + 1 : end + 2]
    if following != "[" and not (following.isascii() and following.isalnum()):
        raise ConfigError(f"no alias and no expression follows '%{{{flags}}}'")
    return _item(text, end + 1, flags)


def _item(text: str, position: int, flags: str) -> tuple[Part, int]:
    if text[position] == "[":
        calls, end = scan_calls(text, position + 1, "]")
        return Sample(calls, flags), end + 1
    found = _ALIAS.match(text, position)
    assert found is not None
    return Variable(found[0], flags), found.end()
