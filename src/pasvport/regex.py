"""Regular expressions from configurations, on an engine whose time grows with the length of the text, no faster (RE2).

HAProxy's are PCRE. What both mean alike is taken as it is; what RE2 writes otherwise is translated (`$` before the last
newline, `\\Z`, `\\h`, `\\R`, `\\e`, `\\s` with the vertical tab); what an engine without backtracking cannot do is
refused by its name. Texts are bytes; nothing is known of their encoding.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol, cast

from pasvport.errors import ConfigError

LARGEST_SUBJECT = 16_384
"""Bytes of a text: what HAProxy's buffer holds."""
LONGEST = 4096
"""Bytes of an expression: more than a line of HAProxy's configuration has."""
_MEMORY = 4 << 20
"""Bytes that an expression may take, compiled and with what RE2 remembers while it searches."""

_NAMES = (
    (rb"\(\?[=!]", "look-ahead"),
    (rb"\(\?<[=!]", "look-behind"),
    (rb"\(\?>", "atomic groups"),
    (rb"\(\?\(", "conditions"),
    (rb"\(\?(?:R|[0-9]|[+-][0-9]|&|P>)", "recursion"),
    (rb"\(\?P=|\\[1-9]|\\[gk]", "back-references"),
    (rb"\(\?#", "comments"),
    (rb"\(\?\|", "branch resets"),
    (rb"\(\?C", "callouts"),
    (rb"\(\*", "verbs"),
    (rb"\(\?[a-zA-Z]*x", "the flag 'x'"),
    (rb"\(\?[a-zA-Z]*J", "the flag 'J'"),
    (rb"[*+?}]\+", "possessive quantifiers"),
    (rb"\\K", r"'\K'"),
    (rb"\\G", r"'\G'"),
    (rb"\\X", r"'\X'"),
    (rb"\\c", r"'\c'"),
    (rb"\\o", r"'\o'"),
)
_FOREIGN = tuple((re.compile(what), name) for what, name in _NAMES)
_TOO_OFTEN = re.compile(rb"(?:invalid|bad) repetition size: (.*)")
_ATOMS = re.compile(rb"\\Q.*?(?:\\E|\Z)|\\.|\(\?[a-zA-Z-]+[:)]|\[\^?\]?(?:\[:\^?[a-z]+:\]|\\.|[^\]\\])*\]|.", re.DOTALL)
"""What is translated as one: quoted text, an escape, flags, a class of characters, any other byte. Each alternative
begins otherwise and repeats what cannot overlap: it takes time for each byte once."""
_OUTSIDE: Mapping[bytes, bytes] = {
    b"$": rb"(?:\n?\z)",
    rb"\Z": rb"(?:\n?\z)",
    rb"\h": rb"[\t ]",
    rb"\H": rb"[^\t ]",
    rb"\R": rb"(?:\r\n|[\n-\r\x85])",
    rb"\N": rb"[^\n]",
    rb"\v": rb"[\n-\r\x85]",
    rb"\e": rb"\x1b",
    rb"\s": rb"[\t-\r ]",
    rb"\S": rb"[^\t-\r ]",
}
_INSIDE: Mapping[bytes, bytes] = {rb"\h": rb"\t ", rb"\e": rb"\x1b", rb"\s": rb"\t-\r ", rb"\b": rb"\x08"}
_ESCAPES = re.compile(rb"\\.", re.DOTALL)


class _Compiled(Protocol):
    def search(self, text: bytes) -> object: ...


class Regex:
    """A compiled expression. `source` is as written; raises ConfigError with what is wrong with it."""

    __slots__ = ("_search",)

    def __init__(self, source: bytes) -> None:
        self._search: Callable[[bytes], object] = _compile(source).search

    def found_in(self, text: bytes) -> bool:
        """Whether the expression matches somewhere in a text, which has at most LARGEST_SUBJECT bytes."""
        return len(text) <= LARGEST_SUBJECT and self._search(text) is not None


def _compile(source: bytes) -> _Compiled:
    # Few configurations have expressions; the others need not load the library.
    import re2

    if len(source) > LONGEST:
        raise ConfigError(f"it is longer than {LONGEST} bytes")
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.log_errors = False
    options.max_mem = _MEMORY
    try:
        return cast(_Compiled, re2.compile(b"".join(_translated(source)), options))
    except re2.error as error:
        raise ConfigError(_reason(source, error.args[0])) from None


def _translated(source: bytes) -> Iterator[bytes]:
    """The expression as RE2 writes it."""
    is_multiline = False
    for atom in _ATOMS.findall(source):
        if atom.startswith(b"(?") and len(atom) > 2:
            set_flags, _, cleared = atom[2:-1].partition(b"-")
            is_multiline = (is_multiline or b"m" in set_flags) and b"m" not in cleared
        if atom.startswith(b"[") and len(atom) > 1:
            yield _ESCAPES.sub(_in_class, atom)
        elif atom == b"$" and is_multiline:
            yield atom
        else:
            yield _OUTSIDE.get(atom, atom)


def _in_class(found: re.Match[bytes]) -> bytes:
    return _INSIDE.get(found[0], found[0])


def _reason(source: bytes, told: bytes | str) -> str:
    """Why an expression was refused: by the name of what RE2 does not do, or in its words."""
    words = told if isinstance(told, bytes) else told.encode("utf-8", "replace")
    # What is quoted means nothing.
    bare = re.sub(rb"\\Q.*?(?:\\E|\Z)", b"", source, flags=re.DOTALL)
    plain = re.sub(rb"\\\\", b"", bare)
    for pattern, name in _FOREIGN:
        if pattern.search(plain) is not None:
            return f"{name} are not supported" if name.endswith("s") else f"{name} is not supported"
    too_often = _TOO_OFTEN.match(words)
    if too_often is not None:
        return f"repetitions above 1000 are not supported: {too_often[1].decode('latin-1')}"
    return words.decode("latin-1")
