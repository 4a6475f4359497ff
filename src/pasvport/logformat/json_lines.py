"""`log ... format json`: one object a message, its keys and what they hold. Every line parses, also a cut one.

Source: RFC 8259. Only ASCII is written. Bytes that are UTF-8 are text; any others are read as Latin-1, one character a
byte, and `KEY_encoding` says so. What is absent is null. What exceeds the target's `len` is left out, or cut if it is
text, from the object's end; `truncated` says so.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Any

from pasvport.logformat.dates import iso_date
from pasvport.logformat.escape import to_bytes
from pasvport.logformat.facts import FTP_FACTS, IDENTITY_FACTS, SESSION_FACTS, TRANSFER_FACTS, Fact, Sort
from pasvport.record import NO_BACKEND, NO_SERVER, SessionRecord

Json = str | int | bool | None
Fields = Mapping[str, Json]
Put = Callable[[dict[str, Json], str, Any], None]
Plan = tuple[tuple[Put, str, Callable[[Any], Any]], ...]
"""How each fact is put, its key, and where its value is read: looked up once."""

ENCODING_SUFFIX = "_encoding"
_OTHER_ENCODING = "latin-1"
_TRUNCATED = "truncated"
# A session began seconds ago, its line is written now: a few seconds are asked about again and again.
_iso_date = lru_cache(maxsize=16)(iso_date)
_dumped = json.JSONEncoder(separators=(",", ":")).encode
_ABSENT = ("", "-", NO_SERVER, NO_BACKEND)


class Event(StrEnum):
    """What a line of type `session` tells of."""

    ACCEPTED = "accepted"
    CONNECTED = "connected"
    ENDED = "ended"


def session_fields(record: SessionRecord, event: Event) -> Fields:
    """A line about a session."""
    fields: dict[str, Json] = {"type": "session", "event": event}
    _put(fields, _IDENTITY, record)
    _put(fields, _SESSION, record)
    if record.ftp is not None:
        _put(fields, _FTP, record.ftp)
    return fields


def transfer_fields(record: SessionRecord) -> Fields:
    """A line about the record's transfer."""
    fields: dict[str, Json] = {"type": "transfer"}
    _put(fields, _TRANSFER, record.transfer)
    _put(fields, _IDENTITY, record)
    return fields


def message_fields(text: bytes) -> Fields:
    """A message of the process."""
    fields: dict[str, Json] = {"type": "message"}
    _put_bytes(fields, "message", text)
    return fields


def needed() -> frozenset[str]:
    """The attributes of a record that lines read."""
    return frozenset({fact.name for fact in (*IDENTITY_FACTS, *SESSION_FACTS)} | {"ftp", "transfer"})


def iso_moment(moment: float) -> str:
    """`2026-11-23T06:01:08.123+00:00`, local time, of seconds since the epoch."""
    seconds, milliseconds = divmod(int(moment * 1000), 1000)
    date, zone = _iso_date(seconds)
    return f"{date}.{milliseconds:03d}{zone}"


def encoded(fields: Fields, limit: int) -> bytes:
    """The object of `fields`, at most `limit` bytes (20 at least); keys and values that do not fit are left out."""
    line = _dumped(fields)
    return (line if len(line) <= limit else _fitted(fields, limit)).encode("ascii")


# --- values -------------------------------------------------------------------------------------------------------


def _put(fields: dict[str, Json], plan: Plan, holder: object) -> None:
    for put, key, value in plan:
        put(fields, key, value(holder))


def _put_text(fields: dict[str, Json], key: str, value: str) -> None:
    if value in _ABSENT:
        fields[key] = None
    elif value.isascii():
        fields[key] = value
    else:
        # The configuration may hold bytes that are no UTF-8, which came in as surrogates.
        _put_bytes(fields, key, to_bytes(value))


def _put_bytes(fields: dict[str, Json], key: str, value: bytes) -> None:
    try:
        fields[key] = value.decode("utf-8") or None
    except UnicodeDecodeError:
        # First, because a line that is too long loses its end.
        fields[key + ENCODING_SUFFIX] = _OTHER_ENCODING
        fields[key] = value.decode(_OTHER_ENCODING)


def _put_number(fields: dict[str, Json], key: str, value: int | None) -> None:
    fields[key] = None if value is None or value < 0 else value


def _put_flag(fields: dict[str, Json], key: str, value: bool) -> None:
    fields[key] = bool(value)


def _put_date(fields: dict[str, Json], key: str, value: float) -> None:
    fields[key] = iso_moment(value) if value else None


_PUTS: dict[Sort, Put] = {
    Sort.TEXT: _put_text,
    Sort.FOREIGN: _put_bytes,
    Sort.NUMBER: _put_number,
    Sort.FLAG: _put_flag,
    Sort.DATE: _put_date,
}


def _plan(facts: tuple[Fact, ...]) -> Plan:
    return tuple((_PUTS[fact.sort], fact.key, fact.value) for fact in facts)


_IDENTITY, _SESSION = _plan(IDENTITY_FACTS), _plan(SESSION_FACTS)
_FTP, _TRANSFER = _plan(FTP_FACTS), _plan(TRANSFER_FACTS)


# --- bounds -------------------------------------------------------------------------------------------------------


def _fitted(fields: Fields, limit: int) -> str:
    mark = f'"{_TRUNCATED}":true'
    pieces: list[str] = []
    room = limit - len(mark) - len("{}")
    for key, value in fields.items():
        piece = _piece(key, value, room)
        if piece:
            pieces.append(piece)
            room -= len(piece) + 1
    return "{" + ",".join([*pieces, mark]) + "}"


def _piece(key: str, value: Json, room: int) -> str:
    """`"key":value` with its comma in at most `room` characters: whole, a text cut short, or nothing."""
    whole = f"{_dumped(key)}:{_dumped(value)}"
    if len(whole) < room:
        return whole
    if not isinstance(value, str):
        return ""
    head = f"{_dumped(key)}:"
    text = _cut(value, room - len(head) - len('"",'))
    return f"{head}{_dumped(text)}" if text else ""


def _cut(text: str, room: int) -> str:
    """As many characters of `text` as take at most `room` when they are written."""
    for place, letter in enumerate(text):
        room -= len(_dumped(letter)) - 2
        if room < 0:
            return text[:place]
    return text
