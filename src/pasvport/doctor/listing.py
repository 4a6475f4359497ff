"""LIST as servers write it: the form of its lines, and the names in them. Any bytes are accepted."""

from __future__ import annotations

import re

from pasvport.doctor.visit import Listing, Style

_UNIX = re.compile(rb"[-bcdlps][-rwxsStTlL]{9}[+.@]?\s")
_DOS = re.compile(rb"\d\d-\d\d-\d\d(?:\d\d)?\s+\d\d:\d\d(?:[AP]M)?\s+(?:<DIR>|<JUNCTION>|[0-9,.]+)\s+(\S.*)")
_UNIX_FIELDS = 8
"""Mode, links, owner, group, size, and three of the date stand before the name."""


def read_listing(data: bytes) -> Listing:
    """The form that most lines have, and the names of those."""
    lines = [line.rstrip(b"\r") for line in data.split(b"\n")]
    lines = [line for line in lines if line.strip() and not line.startswith(b"total ")]
    unix = [name for line in lines if _UNIX.match(line) and (name := _unix_name(line))]
    dos = [found[1] for line in lines if (found := _DOS.match(line))]
    style, names = max(((Style.UNIX, unix), (Style.DOS, dos)), key=lambda pair: len(pair[1]))
    if not lines:
        return Listing()
    if 2 * len(names) < len(lines):
        return Listing(Style.OTHER)
    return Listing(style, frozenset(name.decode("utf-8", "replace") for name in names) - {".", ".."})


def _unix_name(line: bytes) -> bytes:
    fields = line.split(None, _UNIX_FIELDS)
    return fields[_UNIX_FIELDS].partition(b" -> ")[0] if len(fields) > _UNIX_FIELDS else b""
