"""`stats ...`, the metrics' `http-request` rule, and what a proxy in `mode http` may be. Source: HAProxy manual, 4.2.

pasvport speaks HTTP for one purpose: its own statistics. Such a proxy serves them and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from pasvport.config.arguments import seconds
from pasvport.config.cursor import Cursor, LineError
from pasvport.config.draft import Leftover, ProxyDraft, Said, StatsDraft
from pasvport.config.judged import Judged, titled
from pasvport.config.keywords import Keyword, Misplaced, Place, Table, not_supported
from pasvport.config.syntax import Line, Word
from pasvport.model import Global, Mode, Stats

Reader = Callable[[Cursor, StatsDraft], None]

_EXPECTED = (
    "expects 'admin', 'uri', 'realm', 'auth', 'scope', 'enable', 'hide-version', 'show-node', 'show-desc' or "
    "'show-legends'."
)
_METRICS = ("use-service", "prometheus-exporter", "if", "{", "path", "/metrics", "}")
_NODE = re.compile(r"[A-Za-z0-9_-]*\Z")
_ALWAYS = {("if", "TRUE"), ("unless", "FALSE")}
_NEVER = {("if", "FALSE"), ("unless", "TRUE")}


# --- reading ------------------------------------------------------------------------------------------------------


def read_stats(cursor: Cursor, draft: ProxyDraft) -> None:
    """`stats WORD ...`. Raises LineError."""
    if not cursor.more:
        raise LineError(f"missing keyword in 'stats', {_EXPECTED}", cursor.keyword)
    word = cursor.take()
    row = STATS.find(word.text)
    if row is None:
        raise LineError(f"unknown stats parameter '{word}', {_EXPECTED}", word, STATS.suggestion(word.text))
    if row.read is None:
        raise LineError(not_supported(f"stats {word}"), word)
    if draft.is_defaults and not row.places & Place.DEFAULTS:
        raise LineError(f"'stats {word}' not allowed in 'defaults' section.", word)
    text = "'stats' statement ignored for {proxy} as it requires HTTP mode."
    draft.http.setdefault("stats", Leftover(text, cursor.line, Place.EITHER))
    if draft.stats is None or draft.stats.owner is not draft.header:
        draft.stats = StatsDraft(cursor.line, draft.header)
    row.read(cursor, draft.stats)


def _enable(_cursor: Cursor, _stats: StatsDraft) -> None:
    """Any `stats` line enables them."""


def _flag(name: str) -> Reader:
    def read(_cursor: Cursor, stats: StatsDraft) -> None:
        stats.set(**{name: True})

    return read


def _word_into(name: str, complaint: str) -> Reader:
    def read(cursor: Cursor, stats: StatsDraft) -> None:
        stats.set(**{name: cursor.argument(complaint).text})

    return read


def _auth(cursor: Cursor, stats: StatsDraft) -> None:
    word = cursor.argument("'auth' needs a user:password account.")
    cursor.hide(word)
    name, _, password = word.text.partition(":")
    if name in dict(stats.values.users):
        cursor.warn(f"uri auth: ignoring duplicated user '{name}'.", word)
        return
    stats.set(users=(*stats.values.users, (name, password)))


def _refresh(cursor: Cursor, stats: StatsDraft) -> None:
    word = cursor.argument("'refresh' needs an interval.")
    stats.set(refresh=seconds(cursor, word, "stats refresh"))


def _scope(cursor: Cursor, stats: StatsDraft) -> None:
    stats.set(scope=(*stats.values.scope, cursor.argument("'scope' needs a proxy name.").text))


def _admin(cursor: Cursor, stats: StatsDraft) -> None:
    words = tuple(word.text for word in cursor.rest())
    if words[:1] not in (("if",), ("unless",)):
        text = "'stats admin' requires either 'if' or 'unless' followed by a condition."
        raise LineError(text, cursor.word(2) or cursor.words[-1])
    if words in _NEVER:
        return
    if words in _ALWAYS:
        stats.set(admin=True)
        stats.admin_line = cursor.line
        return
    stats.condition = stats.condition or Said(" ".join(words), cursor.line, cursor.word(2))


def _show_node(cursor: Cursor, stats: StatsDraft) -> None:
    name = cursor.take() if cursor.more else None
    if name is not None and not _NODE.match(name.text):
        allowed = "digits(0-9), letters(A-Z, a-z), hyphen(-) or underscode(_)."
        raise LineError(f"'stats show-node' invalid node name - should be a string with {allowed}", name)
    stats.node = name.text if name is not None else ""


def _show_description(cursor: Cursor, stats: StatsDraft) -> None:
    stats.description = Said(" ".join(word.text for word in cursor.rest()), cursor.line, cursor.word(1))


def read_http_request(cursor: Cursor, draft: ProxyDraft) -> None:
    """`http-request ...`: the exporter's rule is obeyed in `mode http`, no other is; in `mode tcp` all are ignored."""
    text = "'http-request' rules ignored for {proxy} as they require HTTP mode."
    draft.http.setdefault("http-request", Leftover(text, cursor.line, Place.EITHER))
    if tuple(word.text for word in cursor.rest()) == _METRICS:
        draft.metrics = Said(_METRICS[5], cursor.line, cursor.word(1))
    elif draft.http_rule is None:
        draft.http_rule = Said("http-request", cursor.line, cursor.word(1) or cursor.keyword)


def _row(name: str, syntax: str, doc: str, read: Reader, default: str = "") -> Keyword[StatsDraft]:
    places = Place.EITHER if name == "admin" else Place.ANY_PROXY
    return Keyword(name, syntax, doc, read, places, "P2", default, misplaced=Misplaced.OWN)


STATS: Table[StatsDraft] = Table(
    (
        _row("enable", "", "Serve statistics; any other `stats` line does, too.", _enable),
        _row(
            "uri",
            "<prefix>",
            "Where the page is; what begins with it belongs to it.",
            _word_into("uri", "'uri' needs an URI prefix."),
            "/haproxy?stats",
        ),
        _row(
            "realm",
            "<realm>",
            "What the browser's question for a password names.",
            _word_into("realm", "'realm' needs an realm name."),
            "HAProxy Statistics",
        ),
        _row("auth", "<user>:<password>", "Who may look; may be said again for others.", _auth, "anybody"),
        _row("refresh", "<time>", "The page loads itself again where there is no JavaScript; in seconds.", _refresh),
        _row(
            "admin",
            "if TRUE|unless FALSE",
            "Servers may be drained, stopped and started on the page. Other conditions need ACLs, and are refused.",
            _admin,
            "nobody may",
        ),
        _row("hide-version", "", "Do not tell the version.", _flag("hide_version")),
        _row("show-node", "[<name>]", "Show the node's name.", _show_node, "that of the global section"),
        _row("show-desc", "[<text>]", "Show a description.", _show_description, "that of the global section"),
        _row("show-legends", "", "Show addresses, algorithms and ids; CSV and JSON carry them.", _flag("show_legends")),
        _row(
            "show-modules",
            "",
            "Accepted: the columns of FTP are always in CSV and JSON, and on the page.",
            _flag("show_modules"),
        ),
        _row("scope", "<proxy>|.", "Show this proxy only (`.`: this section); may be said again.", _scope, "all"),
        Keyword("http-request", "...", "Rules on who may look.", None, Place.ANY_PROXY, "P2"),
    )
)

STATS_ROWS: tuple[Keyword[ProxyDraft], ...] = (
    Keyword(
        "stats",
        "<option> ...",
        "Statistics over HTTP, in `mode http`; see the stats options. Ignored with a warning in other modes.",
        read_stats,
        Place.ANY_PROXY,
        "P1",
        misplaced=Misplaced.OWN,
    ),
    Keyword(
        "http-request",
        "use-service prometheus-exporter if { path /metrics }",
        "Serve the metrics without a password, in `mode http`. No other rule is supported there; in other modes all "
        "are ignored with a warning.",
        read_http_request,
        Place.EITHER | Place.NAMED_DEFAULTS,
        "P1",
    ),
)


# --- judging ------------------------------------------------------------------------------------------------------


_OPEN_ADMIN = (
    "'stats admin' without 'stats auth': whoever reaches this page may stop servers. Orders are taken under a numeric "
    "address, 'localhost', the hostname and 'node' only; add 'stats auth <user>:<password>'."
)


def statistics_only(judged: Judged) -> None:
    """A proxy in `mode http` must be a frontend that serves statistics, and nothing else."""
    for proxy in judged.started:
        if proxy.mode is not Mode.HTTP:
            continue
        for line, word, text in _obstacles(proxy):
            judged.alert(line, f"{titled(proxy)} : {text}", word)
        shown = proxy.stats.description if proxy.stats is not None else None
        if shown is not None and not shown.value and not judged.settings.values.get("description"):
            text = "'show-desc' requires a parameter or 'desc' to be set in the global section."
            judged.diagnostics.warn(shown.line, text, word=shown.word)
        if proxy.stats is not None and proxy.stats.admin_line is not None and not proxy.stats.values.users:
            judged.diagnostics.warn(proxy.stats.admin_line, f"{titled(proxy)} : {_OPEN_ADMIN}")


def _obstacles(proxy: ProxyDraft) -> Iterator[tuple[Line, Word | None, str]]:
    said = proxy.mode_said
    line, word = (said.line, said.word) if said is not None else (proxy.header, None)
    only = "'mode http' is for statistics only here"
    if not proxy.is_frontend:
        yield line, word, f"{only}, and a backend has none to serve."
    elif proxy.stats is None and proxy.metrics is None and proxy.http_rule is None:
        yield line, word, f"{only}, but there is no 'stats' line."
    if proxy.servers or proxy.attempted_servers:
        yield line, word, f"{only}; servers need 'mode tcp' or 'mode ftp'."
    if proxy.is_frontend and proxy.default_backend is not None:
        target = proxy.default_backend
        yield target.line, target.word, f"{only}, so there is nothing to send to a backend."
    if proxy.http_rule is not None:
        rule = proxy.http_rule
        yield rule.line, rule.word, f"{only}, and of 'http-request' only '{' '.join(_METRICS)}'."
    if proxy.stats is not None and proxy.stats.condition is not None:
        condition = proxy.stats.condition
        yield condition.line, condition.word, not_supported(f"stats admin {condition.value}")
    yield from _rules_of_http(proxy)


def _rules_of_http(proxy: ProxyDraft) -> Iterator[tuple[Line, Word | None, str]]:
    """Rules would be expected to hold; options that tune HTTP mean nothing to a page of our own."""
    for name, leftover in proxy.http.items():
        if name in _REFUSED:
            yield leftover.line, leftover.line.words[0], not_supported(name)


_REFUSED = frozenset(
    {"http-response", "http-after-response", "redirect", "monitor-uri", "monitor", "capture", "cookie", "use-fcgi-app"}
)


# --- building -----------------------------------------------------------------------------------------------------


def stats_of(draft: ProxyDraft, settings: Global) -> Stats | None:
    """The model's Stats of a judged proxy, None where it serves none."""
    if draft.mode is not Mode.HTTP or not draft.is_frontend:
        return None
    said = draft.stats
    if said is None:
        return Stats(enabled=False, metrics=draft.metrics is not None)
    return replace(
        said.values,
        scope=tuple(draft.name if name == "." else name for name in said.values.scope),
        show_node=None if said.node is None else said.node or settings.node,
        show_description=None if said.description is None else said.description.value or settings.description,
        metrics=draft.metrics is not None,
    )
