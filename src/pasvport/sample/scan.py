"""An expression as text, cut into calls. No name is known here.

Source: configuration manual, sections 2.2 (quoting inside arguments) and 7.3; what HAProxy 2.6 accepts and refuses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pasvport.errors import ConfigError

_NAME = re.compile(r"[A-Za-z0-9._-]+")
_ESCAPES = {"\\": "\\", '"': '"', "'": "'", " ": " ", "#": "#", "n": "\n", "r": "\r", "t": "\t"}


class SampleError(ConfigError):
    """An expression that cannot be used. `name` is an unknown one, and `known` what it may have been meant to be."""

    def __init__(self, text: str, name: str = "", known: Iterable[str] = ()) -> None:
        super().__init__(text)
        self.name = name
        self.known = tuple(known)


@dataclass(frozen=True, slots=True)
class Call:
    """One `name(args)` as written. `name` and `name()` are the same; `name('')` has one empty argument."""

    name: str
    args: tuple[str, ...] = ()


def scan(text: str, start: int = 0, end: str = "") -> tuple[tuple[Call, ...], int]:
    """The calls of the expression that begins at `text[start]`, and the place of `end`, or of the text's end.

    Raises SampleError where a name, a comma, the end, a parenthesis or a quote is missing.
    """
    calls: list[Call] = []
    position = start
    while True:
        call, position = _call(text, position, calls)
        calls.append(call)
        following = text[position : position + 1]
        if following == end:
            return tuple(calls), position
        if following != ",":
            raise SampleError(_unfinished(text[start:position], call, following, end))
        position += 1


def _unfinished(before: str, call: Call, following: str, end: str) -> str:
    if not end:
        return f"missing comma after '{call.name}': unexpected '{following}'."
    found = f", found '{following}'" if following.isprintable() and following else ""
    return f"'{end}' is missing after '{before}'{found}"


def _call(text: str, start: int, before: list[Call]) -> tuple[Call, int]:
    found = _NAME.match(text, start)
    if found is None:
        raise SampleError(f"missing conv method after '{before[-1].name}'" if before else "missing fetch method.")
    name, position = found[0], found.end()
    if text[position : position + 1] != "(":
        return Call(name), position
    args, position = _arguments(text, position + 1, name)
    return Call(name, args), position


def _arguments(text: str, start: int, name: str) -> tuple[tuple[str, ...], int]:
    """The arguments after `(`, split at commas; quotes and backslashes protect. Blanks are theirs."""
    args: list[str] = []
    piece, quoted = "", False
    position = start
    while position < len(text):
        letter = text[position]
        if letter in ",)":
            args.append(piece)
            if letter == ")":
                return (tuple(args) if args != [""] or quoted else ()), position + 1
            piece, quoted = "", False
            position += 1
            continue
        quoted = quoted or letter in "'\""
        more, position = _piece(text, position)
        piece += more
    raise SampleError(f"'{name}' : ')' is missing after its arguments.")


def _piece(text: str, position: int) -> tuple[str, int]:
    letter = text[position]
    if letter == "\\" and text[position + 1 : position + 2] in _ESCAPES:
        return _ESCAPES[text[position + 1]], position + 2
    if letter not in "'\"":
        return letter, position + 1
    end = text.find(letter, position + 1)
    if end < 0:
        raise SampleError(f"quote is not closed in '{text}'")
    return text[position + 1 : end], end + 1
