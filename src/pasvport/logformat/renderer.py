"""From a log-format string to one callable: everything is decided once, a record is only read and worded."""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter

from pasvport.errors import ConfigError
from pasvport.logformat.aliases import ALIASES, EMPTY_ALIASES, HOSTNAME, PROCESS_ID, is_plain, unsupported_reason
from pasvport.logformat.escape import escape_text
from pasvport.logformat.fetches import FETCHES, compile_sample
from pasvport.logformat.items import Flags, Kind, Read, constant, flagged
from pasvport.logformat.scanner import Literal, Part, Sample, Variable, scan
from pasvport.model import Expression, MapFile
from pasvport.record import SessionRecord
from pasvport.sample.converters import MAP_CONVERTERS, Maps
from pasvport.sample.expressions import checked

TCPLOG_FORMAT = "%ci:%cp [%t] %ft %b/%s %Tw/%Tc/%Tt %B %ts %ac/%fc/%bc/%sc/%rc %sq/%bq"
"""`option tcplog` (HAProxy manual, section 8.2.2)."""

FTPLOG_FORMAT = TCPLOG_FORMAT + " %{+Q}Fu %Fl/%Flf %Fc/%Frf %Fx/%Fxf %FU/%FB %{+Q}FR %{+Q}Ffu"
"""`option ftplog`: one line a session."""

FTP_TRANSFER_FORMAT = (
    "%ci:%cp [%Xt] %ft %b/%Xs %XTw/%XTc/%XTt %XB %Xts %Xn %{+Q}Xu %Xd %Xv %{+Q}Xp %Xty %Xcm/%Xsm:%Xdp %Xc/%Xsc %Xe %XR"
)
"""`option ftplog`: one line a transfer."""

CONNECT_FORMAT = "Connect from %ci:%cp to %fi:%fp (%f/TCP)"
"""What is said at accept when a frontend has no format of its own."""

CONNECT_UNIX_FORMAT = "Connect to unix:%fp (%f/TCP)"
"""The same for a client of a UNIX socket, who has no address."""


class Renderer:
    """A compiled format: `renderer(record)` is one line without its end.

    `needs`: attributes of the record it reads; what nobody needs must not be computed. `needs_end`: something in it is
    known only when the session ends; otherwise the line is written once the server is connected.
    Values (never the format's own text) have control characters, `"` and `#` escaped as `#XX`.
    """

    __slots__ = ("_others", "_pieces", "_plain", "_readers", "_template", "needs", "needs_end")

    def __init__(
        self, pieces: list[str | Read], plain: Mapping[Read, str], needs: frozenset[str], needs_end: bool
    ) -> None:
        self._pieces = tuple(pieces)
        self._readers = tuple(piece for piece in pieces if not isinstance(piece, str))
        self._template = "".join(piece.replace("%", "%%") if isinstance(piece, str) else "%s" for piece in pieces)
        # One getter for all values that are attributes as they are; the others take their places afterwards.
        names = [plain.get(read, "accepted") for read in self._readers]
        self._plain = attrgetter(*names) if len(names) > 1 else None
        self._others = tuple((place, read) for place, read in enumerate(self._readers) if read not in plain)
        self.needs = needs
        self.needs_end = needs_end

    def __call__(self, record: SessionRecord) -> str:
        line = self._template % tuple(self._values(record))
        # Nearly every line is clean, and one look at the whole costs less than a look at each value.
        return line if line.isascii() and line.isprintable() else self._escaped(record)

    def _values(self, record: SessionRecord) -> list[str | int]:
        if self._plain is not None and is_plain(record):
            try:
                values: list[str | int] = list(self._plain(record))
            except AttributeError:
                # A line about a session that has no such part: no dialogue, or no transfer.
                return [read(record) for read in self._readers]
            for place, read in self._others:
                values[place] = read(record)
            return values
        return [read(record) for read in self._readers]

    def _escaped(self, record: SessionRecord) -> str:
        return "".join(
            piece if isinstance(piece, str) else _escaped_value(str(piece(record))) for piece in self._pieces
        )


def compile_format(
    text: str, *, hostname: str = "-", process_id: int = 0, mandatory: bool = True, maps: Maps = ()
) -> Renderer:
    """The renderer of a log-format string; `hostname` and `process_id` are what %H and %pid say.

    `mandatory` prints `-` for an empty value; unique ids (False) print nothing. `maps` are the configuration's. Raises
    ConfigError for whatever HAProxy 2.6 refuses in TCP mode (it says "failed to parse log-format : ..."), for fetches
    not supported yet, and for a map that is not among `maps`.
    """
    compiler = _Compiler(hostname, process_id, mandatory, maps)
    _must_be_writable(text)
    for part in scan(text):
        compiler.add(part)
    return Renderer(compiler.pieces, compiler.plain, frozenset(compiler.needs), compiler.needs_end)


def check_format(text: str) -> tuple[Expression, ...]:
    """The expressions in a log-format string, whatever the maps they name hold. Raises ConfigError otherwise."""
    samples = [part for part in scan(text) if isinstance(part, Sample)]
    found = tuple(checked("", sample.calls, FETCHES) for sample in samples)
    named = {converter.args[0] for each in found for converter in each.converters if converter.name in MAP_CONVERTERS}
    compile_format(text, maps=tuple(map(MapFile, named)))
    return found


class _Compiler:
    """Collects pieces; `%{+X}o` changes the flags of everything after it."""

    def __init__(self, hostname: str, process_id: int, mandatory: bool, maps: Maps) -> None:
        self.pieces: list[str | Read] = []
        self.plain: dict[Read, str] = {}
        self.needs: set[str] = set()
        self.needs_end = False
        self._flags = Flags(mandatory=mandatory)
        self._maps = maps
        self._constants = {HOSTNAME: constant(hostname), PROCESS_ID: constant(str(process_id))}

    def add(self, part: Part) -> None:
        if isinstance(part, Literal):
            self._add_text(part.text)
        elif isinstance(part, Sample):
            self._add_sample(part)
        else:
            self._add_variable(part)

    def _add_text(self, text: str) -> None:
        last = self.pieces[-1] if self.pieces else " "
        if not isinstance(last, str):
            self.pieces.append(text)
        elif not (text == " " and last.endswith(" ")):
            # Only separators produce a trailing blank, so runs of them merge across aliases that print nothing.
            self.pieces[-1:] = [last + text] if self.pieces else [text]

    def _add_sample(self, part: Sample) -> None:
        read, reading = compile_sample(part.calls, self._maps)
        flags = self._flags.changed(part.flags)
        shown: Read = read if flags.quote or not flags.mandatory else lambda record: read(record) or "-"
        self.pieces.append(flagged(shown, Kind.TEXT, flags))
        self.needs.update(reading.reads)
        self.needs_end = self.needs_end or reading.final

    def _add_variable(self, part: Variable) -> None:
        flags = self._flags.changed(part.flags)
        if part.name == "o":
            self._flags = flags
        elif part.name not in EMPTY_ALIASES:
            self._add_alias(part.name, flags)

    def _add_alias(self, name: str, flags: Flags) -> None:
        alias = ALIASES.get(name)
        if alias is None:
            raise ConfigError(unsupported_reason(name))
        read = self._constants.get(name) or alias.make()
        shown = flagged(read, alias.kind, flags)
        self.pieces.append(shown)
        if alias.plain and shown is read:
            self.plain[shown] = alias.plain
        self.needs.update(alias.reads)
        self.needs_end = self.needs_end or alias.final


def _must_be_writable(text: str) -> None:
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise ConfigError("log format holds characters that no encoding can write") from None


def _escaped_value(text: str) -> str:
    # `"` and `#` are harmless in what this program wrote itself, and +Q puts the former there.
    return text if text.isascii() and text.isprintable() else escape_text(text)
