"""Text to model: reads every file, obeys each line by the tables, judges the whole, builds the Config.

Nothing stops at the first error: a wrong line is told and skipped, so that one run shows all that is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pasvport.config import parser
from pasvport.config.addresses import unset_in
from pasvport.config.build import build
from pasvport.config.cursor import Cursor, LineError, Prefix
from pasvport.config.diagnostics import Diagnostics, Form, Severity, nearest
from pasvport.config.draft import GlobalDraft, ProxyDraft
from pasvport.config.judged import Judged, titled
from pasvport.config.keywords import Place
from pasvport.config.keywords_global import read_global
from pasvport.config.keywords_proxy import PROXY
from pasvport.config.keywords_stats_socket import stats_sockets_of
from pasvport.config.placement import obey
from pasvport.config.references import judge
from pasvport.config.server_lines import NAME
from pasvport.config.syntax import Line, Word
from pasvport.config.world import World
from pasvport.model import Config, StatsSocket

Obey = Callable[[Cursor], None]

PROXY_SECTIONS = {
    "defaults": Place.DEFAULTS,
    "frontend": Place.FRONTEND,
    "backend": Place.BACKEND,
    "listen": Place.EITHER,
}
LATER_SECTIONS = (
    "peers",
    "resolvers",
    "userlist",
    "mailers",
    "ring",
    "log-forward",
    "program",
    "cache",
    "http-errors",
    "fcgi-app",
)
_ADDRESS_AT = {"bind": 1, "log": 1, "source": 1, "server": 2, "stats": 2}
"""Which word of a line is an address."""
SECTIONS = ("global", *PROXY_SECTIONS, *LATER_SECTIONS)
NEGATABLE = (
    "option",
    "log",
    "busy-polling",
    "set-dumpable",
    "strict-limits",
    "insecure-fork-wanted",
    "numa-cpu-mapping",
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a load gave. `config` is None when there was an error; `has_listener`: a started proxy binds, or there
    is a stats socket (HAProxy counts its global frontend).

    `stats_sockets` are those whose lines are right, whatever else is wrong; `unset` the lines that name a variable
    which is not set.
    """

    config: Config | None
    diagnostics: Diagnostics
    has_listener: bool
    stats_sockets: tuple[StatsSocket, ...] = ()
    unset: tuple[Line, ...] = ()


def load(texts: Sequence[tuple[str, str]], world: World) -> Outcome:
    """Compile (file name, text) pairs, in order. Raises nothing: all that is wrong is in the outcome's diagnostics."""
    loader = _Loader(world)
    for file, text in texts:
        loader.read(file, text)
    return loader.finish(tuple(file for file, _ in texts))


class _Loader:
    """The state of one load: the section being read, the defaults in force, all drafts."""

    def __init__(self, world: World) -> None:
        environment = dict(world.environment)
        environment.setdefault("HAPROXY_LOCALPEER", world.localpeer or world.hostname)
        self._world = world
        self._environment = environment
        self._diagnostics = Diagnostics()
        self._reading = parser.Reading(environment, self._diagnostics, world.build, world.diagnostic_mode)
        self._settings = GlobalDraft()
        self._proxies: list[ProxyDraft] = []
        self._named: dict[str, list[ProxyDraft]] = {}
        self._frontends: dict[str, ProxyDraft] = {}
        self._backends: dict[str, ProxyDraft] = {}
        self._defaults: ProxyDraft | None = None
        self._obey: Obey = _skip
        self._unset: list[Line] = []

    # --- reading --------------------------------------------------------------------------------------------------

    def read(self, file: str, text: str) -> None:
        """Read one file to its end, or to what makes going on pointless."""
        if self._diagnostics.aborted:
            return
        for entry in parser.entries(file, text, SECTIONS, self._reading):
            cursor, since = self._cursor(entry.line), len(self._diagnostics.found)
            try:
                if entry.opens:
                    self._obey = self._open(cursor)
                else:
                    self._line(cursor)
            except LineError as error:
                cursor.complain(error)
            line = self._with_unset_addresses(entry.line)
            if line.unset:
                self._diagnostics.name_unset(line, since)
                self._unset.append(line)

    def _with_unset_addresses(self, line: Line) -> Line:
        """Addresses have their variables replaced outside double quotes, too, where the lexer leaves them alone."""
        at = _ADDRESS_AT.get(line.words[0].text) if line.words else None
        if at is None or len(line.words) <= at:
            return line
        word = line.words[at]
        missing = tuple(Word(name, word.column, word.width) for name in unset_in(word.text, self._environment))
        return replace(line, unset=line.unset + missing) if missing else line

    def _cursor(self, line: Line) -> Cursor:
        return Cursor(line, line.words, self._diagnostics, self._world, environment=self._environment)

    def _line(self, cursor: Cursor) -> None:
        first = cursor.keyword.text
        if first in (Prefix.NO, Prefix.DEFAULT):
            cursor.prefix, cursor.words = Prefix(first), cursor.words[1:]
            if not cursor.words or cursor.words[0].text not in NEGATABLE:
                word = cursor.words[0] if cursor.words else cursor.line.words[0]
                known = ", ".join(("options", *NEGATABLE[1:-1])) + f" and {NEGATABLE[-1]}"
                cursor.form = Form.LEXER
                raise LineError(f"negation/default currently supported only for {known}.", word)
        self._obey(cursor)

    # --- sections -------------------------------------------------------------------------------------------------

    def _open(self, cursor: Cursor) -> Obey:
        kind = cursor.keyword.text
        self._obey = _skip
        if kind == "global":
            cursor.finish()
            return lambda line: read_global(line, self._settings)
        if kind in LATER_SECTIONS:
            raise LineError(f"section '{kind}' is not supported yet.", cursor.keyword)
        draft = self._begin(cursor, kind)
        return lambda line: _obey_proxy(line, draft)

    def _begin(self, cursor: Cursor, kind: str) -> ProxyDraft:
        name, base = self._header(cursor, kind)
        draft = ProxyDraft(cursor.line, kind, name.text if name is not None else "", PROXY_SECTIONS[kind])
        found = self._base(cursor, draft, base)
        if found is not None:
            draft.inherit(found)
        if draft.is_defaults:
            self._defaults = draft
            if draft.name:
                self._named.setdefault(draft.name, []).append(draft)
            return draft
        assert name is not None  # a proxy's header without a name was refused
        self._add(cursor, draft, name)
        return draft

    def _header(self, cursor: Cursor, kind: str) -> tuple[Word | None, Word | None]:
        """The section's name and the name behind `from`."""
        name = None
        if kind != "defaults":
            name = cursor.argument(f"'{kind}' expects an <id> argument")
        elif cursor.more and cursor.words[cursor.at].text != "from":
            name = cursor.take()
        base = None
        if cursor.more and cursor.words[cursor.at].text == "from":
            cursor.take()
            base = cursor.argument("'from' expects the name of a defaults section.")
        if cursor.more:
            self._extra(cursor, kind)
        return name, base

    def _extra(self, cursor: Cursor, kind: str) -> None:
        if kind in ("frontend", "listen"):
            cursor.alert("please use the 'bind' keyword for listening addresses.", cursor.next)
        else:
            cursor.warn(f"'{kind}' cannot handle unexpected argument '{cursor.next}'.", cursor.next)

    def _base(self, cursor: Cursor, draft: ProxyDraft, base: Word | None) -> ProxyDraft | None:
        if base is None:
            return None if draft.is_defaults else self._defaults
        found = self._named.get(base.text, [])
        if not found:
            text = f"defaults section '{base}' not found for {draft.kind} '{draft.name}'."
            cursor.alert(text, base, nearest(base.text, self._named) or "")
            return None
        if len(found) > 1:
            first, second = (item.header.origin for item in found[:2])
            cursor.alert(
                f"ambiguous defaults section name '{base}' referenced by {draft.kind} '{draft.name}' exists at least "
                f"at {first} and {second}.",
                base,
            )
        return found[-1]

    def _add(self, cursor: Cursor, draft: ProxyDraft, name: Word) -> None:
        end = NAME.match(name.text)
        if end is not None and end.end() < len(name.text):
            character = name.text[end.end()]
            cursor.alert(f"character '{character}' is not permitted in '{draft.kind}' name '{name}'.", name)
        known = self._frontends if draft.is_frontend else self._backends
        other = known.get(name.text)
        if other is not None:
            text = f"{titled(draft)} has the same name as {titled(other)} declared at {other.header.origin}."
            self._diagnostics.add(Severity.ALERT, cursor.line, text, word=name, form=Form.LEXER)
        if draft.is_frontend:
            self._frontends.setdefault(name.text, draft)
        if draft.is_backend:
            self._backends.setdefault(name.text, draft)
        self._proxies.append(draft)

    # --- the end --------------------------------------------------------------------------------------------------

    def finish(self, files: tuple[str, ...]) -> Outcome:
        """Judge and build."""
        judged = Judged(self._settings, self._proxies, self._diagnostics, self._world)
        if not self._diagnostics.aborted:
            judge(judged)
        binds = any(proxy.binds and proxy.is_frontend and not proxy.disabled for proxy in self._proxies)
        has_listener = binds or bool(stats_sockets_of(self._settings))
        outcome = Outcome(None, self._diagnostics, has_listener, stats_sockets_of(self._settings), tuple(self._unset))
        if self._diagnostics.has_alerts:
            return outcome
        config = build(judged, self._environment)
        return replace(outcome, config=replace(config, files=files))


def _skip(_cursor: Cursor) -> None:
    """The lines of a section that was refused as a whole."""


def _obey_proxy(cursor: Cursor, draft: ProxyDraft) -> None:
    row = PROXY.find(cursor.keyword.text, cursor.text(1))
    if row is None:
        text = f"unknown keyword '{cursor.keyword}' in '{draft.kind}' section"
        # A header that was mistyped looks like a keyword of the section before it.
        raise LineError(text, cursor.keyword, nearest(cursor.keyword.text, (*PROXY.names(), *SECTIONS)) or "")
    cursor.at = row.name.count(" ") + 1
    obey(row, cursor, draft, row.name)
