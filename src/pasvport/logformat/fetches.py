"""`%[fetch(args),converter(args)]` inside a log format: what a session's record answers to an expression.

The language is `sample`'s; every fetch of the end of a session (`ftp.*`) is added to it here. A reader gives text,
"" for "no value".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import attrgetter

from pasvport.address import packed
from pasvport.digits import is_number
from pasvport.errors import AddressError
from pasvport.logformat.escape import escape_text
from pasvport.logformat.facts import FTP_FACTS, TRANSFER_FACTS, Fact, Sort, worded
from pasvport.model import Expression
from pasvport.record import NO_SERVER, SessionRecord
from pasvport.sample.casts import INTO, Kind, Value
from pasvport.sample.converters import Maps
from pasvport.sample.expressions import checked, compile_expression
from pasvport.sample.fetches import FETCHES as SHARED
from pasvport.sample.fetches import Fetch, Since, to_bytes
from pasvport.sample.scan import Call

TextRead = Callable[[SessionRecord], str]


@dataclass(frozen=True, slots=True)
class Reading:
    """How a record answers a fetch. `text` gives "" for no value; `reads` are the attributes it looks at.

    `final`: known only when the session ends. `foreign`: a peer's own words, quotes and all.
    """

    text: TextRead
    reads: tuple[str, ...]
    final: bool = False
    foreign: bool = False


_CONSTANT = Reading(lambda _record: "", ())


def compile_sample(calls: tuple[Call, ...], maps: Maps) -> tuple[TextRead, Reading]:
    """A reader for the calls, and how the record answers the fetch that they begin with. Raises SampleError."""
    expression = checked("", calls, FETCHES)
    reading = READINGS.get(expression.fetch, _CONSTANT)
    said_as_it_is = reading is not _CONSTANT and not expression.converters
    read = reading.text if said_as_it_is else _converted(expression, maps)
    # After the converters, which must see what was said.
    return (_escaped(read) if reading.foreign else read), reading


def _converted(expression: Expression, maps: Maps) -> TextRead:
    kind, sample = compile_expression(expression, _READERS, maps, FETCHES)
    cast = INTO[Kind.STRING][kind]

    def read(record: SessionRecord) -> str:
        value = sample(record)
        text = None if value is None else cast(value)
        return text.decode("utf-8", "surrogateescape") if isinstance(text, bytes) else ""

    return read


def _escaped(read: TextRead) -> TextRead:
    return lambda record: escape_text(read(record))


# --- what a record can answer -------------------------------------------------------------------------------------


def _of_connection(attribute: str) -> Reading:
    """`attribute` of an IP connection; no value on a UNIX socket or before that connection exists."""
    unix_mark = "client_address" if attribute.startswith(("client", "frontend")) else "server_address"
    value, mark = attrgetter(attribute), attrgetter(unix_mark)

    def read(record: SessionRecord) -> str:
        text: str = value(record)
        return "" if text == "-" or mark(record) == "unix" else text

    return Reading(read, (attribute, unix_mark))


def _named(attribute: str, nothing: Callable[[str], bool]) -> Reading:
    def read(record: SessionRecord) -> str:
        text: str = getattr(record, attribute)
        return "" if nothing(text) else text

    return Reading(read, (attribute,))


def _of_fact(fact: Fact) -> Reading:
    """A fact of `mode ftp`; no value on lines that know nothing of it."""
    foreign = fact.sort in (Sort.FOREIGN, Sort.TEXT)
    return Reading(worded(fact), (fact.scope,), final=True, foreign=foreign)


_KINDS = {Sort.NUMBER: Kind.INTEGER, Sort.FLAG: Kind.BOOLEAN}
_ALIKE = {"ftp.host": "ftp.virtual_host"}
"""A fetch of the choice of a server, by the name that its fact has at the end."""
_FACTS = {fact.fetch: fact for fact in (*FTP_FACTS, *TRANSFER_FACTS)}


def _facts() -> Iterator[Fetch]:
    for name, fact in _FACTS.items():
        yield Fetch(name, _KINDS.get(fact.sort, Kind.STRING), fact.meaning, Since.SERVER)


FETCHES: dict[str, Fetch] = {**SHARED, **{fetch.name: fetch for fetch in _facts()}}
"""What a log format may say."""

READINGS: dict[str, Reading] = {
    "src": _of_connection("client_address"),
    "src_port": _of_connection("client_port"),
    "dst": _of_connection("frontend_address"),
    "dst_port": _of_connection("frontend_port"),
    "fc_src": _of_connection("client_address"),
    "fc_src_port": _of_connection("client_port"),
    "fc_dst": _of_connection("frontend_address"),
    "fc_dst_port": _of_connection("frontend_port"),
    "bc_src": _of_connection("source_address"),
    "bc_src_port": _of_connection("source_port"),
    "bc_dst": _of_connection("server_address"),
    "bc_dst_port": _of_connection("server_port"),
    "fe_name": _named("frontend", lambda text: not text),
    "be_name": _named("backend", lambda text: not text),
    "srv_name": _named("server", lambda text: text in (NO_SERVER, "")),
    "so_name": _named("listener", is_number),
    "unique-id": _named("unique_id", lambda text: not text),
    **{name: _of_fact(fact) for name, fact in _FACTS.items()},
    **{name: _of_fact(_FACTS[same]) for name, same in _ALIKE.items()},
}


def _typed(reading: Reading, kind: Kind) -> Callable[[SessionRecord], Value | None]:
    """The same with the type that converters look at."""
    text, make = reading.text, _TYPED.get(kind, to_bytes)

    def read(record: SessionRecord) -> Value | None:
        found = text(record)
        return make(found) if found else None

    return read


def _address(text: str) -> Value | None:
    try:
        return packed(text)
    except AddressError:
        return None


_TYPED: dict[Kind, Callable[[str], Value | None]] = {
    Kind.ADDRESS: _address,
    Kind.INTEGER: int,
    Kind.BOOLEAN: int,
}
_READERS = {name: _typed(reading, FETCHES[name].kind) for name, reading in READINGS.items()}
