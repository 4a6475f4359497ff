"""How a `map` converter finds the value of a text. Source: configuration manual, 7.3.1 (`map`), as HAProxy 2.6 does it.

Every method tells upper from lower case. Of several keys that fit, the first of the file counts, except for `beg`,
where the longest does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from pasvport.regex import Regex

Entries = tuple[tuple[bytes, bytes], ...]
Lookup = Callable[[bytes], bytes | None]


def _first_of_each(entries: Entries) -> dict[bytes, bytes]:
    return dict(reversed(entries))


def _exact(entries: Entries) -> Lookup:
    return _first_of_each(entries).get


def _prefix(entries: Entries) -> Lookup:
    known = _first_of_each(entries)
    lengths = sorted({len(key) for key in known}, reverse=True)
    return partial(_longest_prefix, known, lengths)


def _longest_prefix(known: dict[bytes, bytes], lengths: list[int], text: bytes) -> bytes | None:
    for length in lengths:
        if length <= len(text) and text[:length] in known:
            return known[text[:length]]
    return None


def _suffix(entries: Entries) -> Lookup:
    return partial(_scanned, entries, bytes.endswith)


def _part(entries: Entries) -> Lookup:
    return partial(_scanned, entries, bytes.__contains__)


def _scanned(entries: Entries, fits: Callable[[bytes, bytes], bool], text: bytes) -> bytes | None:
    return next((value for key, value in entries if fits(text, key)), None)


def _expression(entries: Entries) -> Lookup:
    return partial(_searched, tuple((Regex(key), value) for key, value in entries))


def _searched(entries: tuple[tuple[Regex, bytes], ...], text: bytes) -> bytes | None:
    return next((value for regex, value in entries if regex.found_in(text)), None)


LOOKUPS: Mapping[str, Callable[[Entries], Lookup]] = {
    "map": _exact,
    "map_str": _exact,
    "map_beg": _prefix,
    "map_end": _suffix,
    "map_sub": _part,
    "map_reg": _expression,
}
"""By converter: from a map's entries to the search in them. `map_reg` raises ConfigError for a wrong key."""
