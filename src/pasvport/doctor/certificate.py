"""The few fields of an X.509 certificate that a farm can get wrong: names and validity. RFC 5280 section 4.1, DER.

Python's own parser reads only certificates that it trusts, and servers show self-signed and expired ones.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

_SEQUENCE, _EXPLICIT_VERSION, _EXTENSIONS = 0x30, 0xA0, 0xA3
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18
_DNS_NAME, _IP_ADDRESS = 0x82, 0x87
_COMMON_NAME = b"\x55\x04\x03"
_ALTERNATIVE_NAMES = b"\x55\x1d\x11"


@dataclass(frozen=True, slots=True)
class Certificate:
    """`names` are the common name and the alternative names; times are epoch seconds."""

    names: tuple[str, ...]
    begins: float
    ends: float


class _Item(NamedTuple):
    tag: int
    content: bytes


def read_certificate(der: bytes) -> Certificate:
    """Raises ValueError for what is no certificate."""
    try:
        return _read(der)
    except (IndexError, StopIteration) as error:
        raise ValueError("not a certificate") from error


def _read(der: bytes) -> Certificate:
    signed = list(_items(_only(_only(der, _SEQUENCE), _SEQUENCE)))
    if signed[0].tag == _EXPLICIT_VERSION:
        del signed[0]
    _serial, _algorithm, _issuer, validity, subject = signed[:5]
    begins, ends = (_time(item) for item in list(_items(validity.content))[:2])
    names = [*_common_names(subject.content), *_alternative_names(signed[5:])]
    return Certificate(tuple(dict.fromkeys(names)), begins, ends)


def _items(data: bytes) -> Iterator[_Item]:
    at = 0
    while at < len(data):
        length, start = _length(data, at + 1)
        if start + length > len(data):
            raise ValueError("an item is cut short")
        yield _Item(data[at], data[start : start + length])
        at = start + length


def _length(data: bytes, at: int) -> tuple[int, int]:
    """(length, where the content starts)."""
    first = data[at]
    if first < 0x80:
        return first, at + 1
    count = first & 0x7F
    if not 1 <= count <= 4:
        raise ValueError("a length of unknown form")
    return int.from_bytes(data[at + 1 : at + 1 + count], "big"), at + 1 + count


def _only(data: bytes, tag: int) -> bytes:
    item = next(_items(data))
    if item.tag != tag:
        raise ValueError("an unexpected item")
    return item.content


def _time(item: _Item) -> float:
    text = item.content.decode("ascii")
    if item.tag == _UTC_TIME:
        # RFC 5280 section 4.1.2.5.1: two digits, 50 and more belong to the last century.
        text = ("19" if int(text[:2]) >= 50 else "20") + text
    elif item.tag != _GENERALIZED_TIME:
        raise ValueError("no time")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _common_names(subject: bytes) -> Iterator[str]:
    for relative in _items(subject):
        for attribute in _items(relative.content):
            kind, value = list(_items(attribute.content))[:2]
            if kind.content == _COMMON_NAME:
                yield value.content.decode("utf-8", "replace")


def _alternative_names(rest: list[_Item]) -> Iterator[str]:
    for item in rest:
        if item.tag != _EXTENSIONS:
            continue
        for extension in _items(_only(item.content, _SEQUENCE)):
            kind, *_, value = _items(extension.content)
            if kind.content == _ALTERNATIVE_NAMES:
                yield from _general_names(_only(value.content, _SEQUENCE))


def _general_names(data: bytes) -> Iterator[str]:
    for name in _items(data):
        if name.tag == _DNS_NAME:
            yield name.content.decode("ascii", "replace")
        elif name.tag == _IP_ADDRESS and len(name.content) in (4, 16):
            yield str(ipaddress.ip_address(name.content))
