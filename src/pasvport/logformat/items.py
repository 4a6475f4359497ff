"""How one value of a record becomes text: kinds of values, and what the flags +Q, +E and +X do to each.

Sources: HAProxy manual, section 8.2.6; what 2.6 prints for each alias under each flag.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from pasvport.address import packed
from pasvport.digits import is_number
from pasvport.errors import AddressError
from pasvport.logformat.escape import escape_structured
from pasvport.record import SessionRecord

Read = Callable[[SessionRecord], "str | int"]


class Kind(StrEnum):
    """What a value is; decides which flags mean something to it."""

    TEXT = "text"
    ADDRESS = "address"
    PORT = "port"
    CLIENT_PORT = "port of the client's connection; the listener's id, always decimal, on a UNIX socket"
    NUMBER = "number"
    HEX2 = "number, two digits under +X"
    HEX4 = "number, four digits under +X"
    VERBATIM = "verbatim"


@dataclass(frozen=True, slots=True)
class Flags:
    """`%{+Q,+E,+X}`. `mandatory` prints `-` for an empty value (log lines, not unique ids)."""

    quote: bool = False
    escape: bool = False
    hexadecimal: bool = False
    mandatory: bool = True

    def changed(self, words: str) -> Flags:
        """These flags after `+Q,-X,...`. Unknown words change nothing, as in HAProxy."""
        values = {"Q": self.quote, "E": self.escape, "X": self.hexadecimal}
        for word in words.split(","):
            sign, name = word[:1], word[1:]
            if sign in ("+", "-") and name in values:
                values[name] = sign == "+"
        return Flags(values["Q"], values["E"], values["X"], self.mandatory)


def flagged(read: Read, kind: Kind, flags: Flags) -> Read:
    """`read`, with what `flags` mean for its kind. The plain case costs nothing: it is `read` itself."""
    if flags.hexadecimal and kind is Kind.CLIENT_PORT:
        return lambda record: read(record) if record.client_address == "unix" else _hex4(read(record))
    if flags.hexadecimal and kind in _HEXADECIMAL:
        return _composed(read, _HEXADECIMAL[kind])
    if kind in (Kind.TEXT, Kind.ADDRESS) and (flags.quote or flags.escape or not flags.mandatory):
        return _composed(read, _wording(flags))
    return read


def missing_as_dash(read: Read) -> Read:
    """`read`, with `-` where the value is empty."""
    return lambda record: read(record) or "-"


def constant(value: str) -> Read:
    """The same text for every record."""
    return lambda record: value


def _composed(read: Read, write: Callable[[str | int], str]) -> Read:
    return lambda record: write(read(record))


def _wording(flags: Flags) -> Callable[[str | int], str]:
    # A missing value is quoted as nothing, not as a dash.
    if flags.quote and not flags.escape:
        return lambda value: '""' if value == "-" else f'"{value}"'

    def word(value: str | int) -> str:
        text = "" if value == "-" else str(value)
        text = escape_structured(text) if flags.escape else text
        if flags.quote:
            return f'"{text}"'
        return text or ("-" if flags.mandatory else "")

    return word


def _hex_address(value: str | int) -> str:
    try:
        return packed(str(value)).hex().upper()
    except AddressError:
        return str(value)


def _hex4(value: str | int) -> str:
    text = str(value)
    return f"{int(text):04X}" if is_number(text) else text


_HEXADECIMAL: dict[Kind, Callable[[str | int], str]] = {
    Kind.ADDRESS: _hex_address,
    Kind.PORT: _hex4,
    Kind.HEX4: _hex4,
    Kind.HEX2: lambda value: f"{int(value):02X}",
}
