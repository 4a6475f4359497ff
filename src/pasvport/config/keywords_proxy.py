"""Keywords of defaults, frontend, backend and listen sections. Source: HAProxy configuration manual, section 4.2."""

from __future__ import annotations

from collections.abc import Callable

from pasvport.config.arguments import integer, number, seconds
from pasvport.config.cursor import Cursor, LineError
from pasvport.config.diagnostics import nearest
from pasvport.config.draft import Keepalive, Leftover, ProxyDraft, Said
from pasvport.config.keywords import Keyword, Misplaced, Place, Status, Table, words
from pasvport.config.keywords_balance import BALANCE_ROWS
from pasvport.config.keywords_bind import read_bind
from pasvport.config.keywords_check import read_external_check, read_tcp_check
from pasvport.config.keywords_foreign import FOREIGN_ROWS
from pasvport.config.keywords_ftp import FTP_ROWS
from pasvport.config.keywords_logging import LOGGING_ROWS
from pasvport.config.keywords_option import read_option
from pasvport.config.keywords_source import read_source
from pasvport.config.keywords_state import PROXY_STATE_ROWS
from pasvport.config.keywords_stats import STATS_ROWS
from pasvport.config.keywords_stick import read_stick, read_stick_table
from pasvport.config.keywords_timeout import TIMEOUT_ROWS
from pasvport.config.server_lines import read_default_server, read_server, read_template
from pasvport.model import Mode

_FE, _BE, _ANY = Place.ON_FRONTEND, Place.ON_BACKEND, Place.ANY_PROXY
Reader = Callable[[Cursor, ProxyDraft], None]


def _mode(cursor: Cursor, draft: ProxyDraft) -> None:
    word = cursor.argument("unknown proxy mode ''.")
    if word.text not in (*Mode, "health"):
        raise LineError(f"unknown proxy mode '{word}'.", word, nearest(word.text, Mode) or "")
    if word.text == "health":
        raise LineError("'mode health' doesn't exist anymore.", word)
    draft.mode, draft.mode_said = Mode(word.text), Said(word.text, cursor.line, word)


def _number_into(field: str) -> Reader:
    def read(cursor: Cursor, draft: ProxyDraft) -> None:
        word = cursor.argument(f"'{cursor.keyword}' expects an integer argument.")
        setattr(draft, field, integer(cursor, word))

    return read


def _retries(cursor: Cursor, draft: ProxyDraft) -> None:
    word = cursor.argument("'retries' expects an integer argument (dispatch counts for one).")
    draft.retries = integer(cursor, word)


def _rate_limit(cursor: Cursor, draft: ProxyDraft) -> None:
    word = cursor.argument("'rate-limit sessions' expects an integer value (in sessions/second)")
    draft.session_rate_limit = number(word, "'rate-limit sessions' : ")


def _keepalive_count(side: str) -> Reader:
    def read(cursor: Cursor, draft: ProxyDraft) -> None:
        word = cursor.argument(f"'{cursor.keyword}' expects an integer value")
        _keepalive(draft, side).count = number(word, f"'{cursor.keyword}' : ")

    return read


def _keepalive_time(side: str, field: str) -> Reader:
    def read(cursor: Cursor, draft: ProxyDraft) -> None:
        word = cursor.argument(f"'{cursor.keyword}' expects an integer value")
        setattr(_keepalive(draft, side), field, seconds(cursor, word, cursor.keyword.text))

    return read


def _keepalive(draft: ProxyDraft, side: str) -> Keepalive:
    return draft.client_keepalive if side == "client" else draft.server_keepalive


def _unknown_rate_limit(cursor: Cursor, _draft: ProxyDraft) -> None:
    raise LineError(f"'rate-limit' only supports 'sessions' (got '{cursor.text(1)}')", cursor.word(1))


def _default_backend(cursor: Cursor, draft: ProxyDraft) -> None:
    word = cursor.argument("'default_backend' expects a backend name.")
    draft.default_backend = Said(word.text, cursor.line, word)


def _id(cursor: Cursor, draft: ProxyDraft) -> None:
    word = cursor.argument("'id' expects an integer argument.")
    value = integer(cursor, word)
    if value <= 0:
        raise LineError("custom id has to be > 0.", word)
    draft.id = Said(value, cursor.line, word)


def _description(cursor: Cursor, draft: ProxyDraft) -> None:
    cursor.argument("'description' expects a string argument.")
    draft.description = " ".join(word.text for word in cursor.words[1:])


def _disabled(_cursor: Cursor, draft: ProxyDraft) -> None:
    draft.disabled = True


def _enabled(_cursor: Cursor, draft: ProxyDraft) -> None:
    draft.disabled = False


def _source(cursor: Cursor, draft: ProxyDraft) -> None:
    draft.source = read_source(cursor, on_server=False)


def _retry_on(cursor: Cursor, draft: ProxyDraft) -> None:
    if not draft.is_defaults and not draft.is_backend:
        raise LineError("'retry-on' only available in backend or listen section", cursor.keyword)
    word = cursor.argument("'retry-on' needs at least one keyword to specify when to retry")
    if word.text not in ("none", "conn-failure", *_HTTP_RETRIES):
        raise LineError(f"'retry-on': unknown keyword '{word}'", word)
    draft.retry_on_none = word.text == "none"
    if word.text not in ("none", "conn-failure"):
        text = "'retry-on' ignored for {proxy} as it requires HTTP mode."
        draft.http["retry-on"] = Leftover(text, cursor.line, Place.BACKEND, own=True)


_HTTP_RETRIES = words(
    "empty-response junk-response response-timeout 0rtt-rejected all-retryable-errors "
    "401 403 404 408 421 425 429 500 501 502 503 504"
)


def _bind_process(cursor: Cursor, _draft: ProxyDraft) -> None:
    cursor.warn("'bind-process' has no effect, is deprecated, and will be removed in version 2.7.")


def _row(
    name: str,
    syntax: str,
    doc: str,
    read: Reader,
    places: Place,
    priority: str = "P0",
    default: str = "",
    *,
    misplaced: Misplaced = Misplaced.WARN,
    most: int | None = None,
    advice: str = "",
    negatable: bool = False,
) -> Keyword[ProxyDraft]:
    return Keyword(
        name, syntax, doc, read, places, priority, default, Status.SUPPORTED, misplaced, negatable, most, advice
    )


_LISTENING: tuple[Keyword[ProxyDraft], ...] = (
    _row(
        "bind", "<addr>:<port>[-<port>][,...] [<option>...]", "Listen; see the bind options.", read_bind, Place.FRONTEND
    ),
    _row(
        "maxconn",
        "<number>",
        "Connections at once.",
        _number_into("maxconn"),
        _FE,
        default="the process's",
        most=1,
        advice="Maybe you want 'fullconn' instead ?",
    ),
    _row("backlog", "<number>", "Length of the accept queues.", _number_into("backlog"), _FE, "P1", "maxconn", most=1),
    _row(
        "rate-limit sessions",
        "<number>",
        "New sessions per second.",
        _rate_limit,
        _FE,
        "P1",
        "no limit",
        misplaced=Misplaced.LATE,
        most=1,
    ),
    _row("rate-limit", "", "(group)", _unknown_rate_limit, _FE, "", misplaced=Misplaced.OWN),
    _row("default_backend", "<backend>", "Where sessions go.", _default_backend, _FE, most=1),
    _row(
        "clitcpka-cnt",
        "<number>",
        "Unanswered keepalive probes until a client counts as gone.",
        _keepalive_count("client"),
        _FE,
        "P1",
        "the system's",
        misplaced=Misplaced.LATE,
        most=1,
    ),
    _row(
        "clitcpka-idle",
        "<time>",
        "Silence until the first keepalive probe; in seconds.",
        _keepalive_time("client", "idle"),
        _FE,
        "P1",
        "the system's",
        misplaced=Misplaced.LATE,
        most=1,
    ),
    _row(
        "clitcpka-intvl",
        "<time>",
        "Time between keepalive probes; in seconds.",
        _keepalive_time("client", "interval"),
        _FE,
        "P1",
        "the system's",
        misplaced=Misplaced.LATE,
        most=1,
    ),
)

_SERVING: tuple[Keyword[ProxyDraft], ...] = (
    _row(
        "server",
        "<name> <addr>[:[+|-]<port>] [<option>...]",
        "A server; without a port, the client's destination port is kept.",
        read_server,
        Place.BACKEND,
        misplaced=Misplaced.ALERT,
    ),
    _row(
        "server-template",
        "<prefix> <n>|<lo>-<hi> <addr>[:<port>] [<option>...]",
        "A row of servers that differ in their number.",
        read_template,
        Place.BACKEND,
        "P1",
        misplaced=Misplaced.ALERT,
    ),
    _row(
        "default-server",
        "<option>...",
        "Options for the server lines below.",
        read_default_server,
        _BE,
        misplaced=Misplaced.ALERT,
    ),
    _row("retries", "<number>", "Attempts to connect after the first one failed.", _retries, _BE, default="3", most=1),
    _row(
        "retry-on",
        "none|conn-failure",
        "Which failures are retried.",
        _retry_on,
        _BE,
        "P2",
        "conn-failure",
        misplaced=Misplaced.OWN,
    ),
    _row(
        "fullconn",
        "<number>",
        "Sessions at which servers reach their maxconn from minconn.",
        _number_into("fullconn"),
        _BE,
        "P2",
        "10 % of the frontends' maxconn",
        most=1,
        advice="Maybe you want 'maxconn' instead ?",
    ),
    _row(
        "source",
        "<addr>[:<port>] [usesrc <u>] [interface <i>]",
        "Where connections to servers come from.",
        _source,
        _BE,
        "P1",
    ),
    _row(
        "stick-table",
        "type <t> size <n> [<option>...]",
        "The proxy's table; see the stick-table options.",
        read_stick_table,
        Place.EITHER,
    ),
    _row(
        "stick",
        "on|match|store-request <expression> [table <t>]",
        "Keep a client on its server: look up, learn, or both.",
        read_stick,
        Place.BACKEND,
        misplaced=Misplaced.SKIP,
    ),
    _row(
        "tcp-check", "connect|send|send-binary|expect|comment ...", "A step of the check script.", read_tcp_check, _BE
    ),
    _row(
        "external-check",
        "command <program>|path <PATH>",
        "The program that checks, and its PATH.",
        read_external_check,
        _BE,
        "P2",
    ),
    _row(
        "srvtcpka-cnt",
        "<number>",
        "As `clitcpka-cnt`, towards servers.",
        _keepalive_count("server"),
        _BE,
        "P1",
        "the system's",
        misplaced=Misplaced.LATE,
        most=1,
    ),
    _row(
        "srvtcpka-idle",
        "<time>",
        "As `clitcpka-idle`, towards servers.",
        _keepalive_time("server", "idle"),
        _BE,
        "P1",
        "the system's",
        misplaced=Misplaced.LATE,
        most=1,
    ),
    _row(
        "srvtcpka-intvl",
        "<time>",
        "As `clitcpka-intvl`, towards servers.",
        _keepalive_time("server", "interval"),
        _BE,
        "P1",
        "the system's",
        misplaced=Misplaced.LATE,
        most=1,
    ),
)

_COMMON: tuple[Keyword[ProxyDraft], ...] = (
    _row(
        "mode",
        "tcp|ftp|http",
        "What is understood of a session: `tcp` moves its bytes; `ftp` knows its commands and its data connections, "
        "which HAProxy does not; `http` serves the statistics and nothing else. A frontend and its backends agree.",
        _mode,
        _ANY,
        default="tcp",
        most=1,
    ),
    _row("option", "<name> ...", "See the options.", read_option, _ANY, misplaced=Misplaced.OWN, negatable=True),
    _row("id", "<number>", "Numeric id.", _id, Place.EITHER, "P1", "counted"),
    _row(
        "description",
        "<text>",
        "Shown beside its name on the statistics page.",
        _description,
        Place.EITHER,
        "P2",
    ),
    _row("disabled", "", "Do not start this proxy.", _disabled, _ANY, "P1", most=0),
    _row("enabled", "", "Undo `disabled`.", _enabled, _ANY, "P1", most=0),
    _row("bind-process", "...", "No effect, with a warning.", _bind_process, _ANY, "P3"),
)


PROXY: Table[ProxyDraft] = Table(
    _LISTENING
    + _SERVING
    + BALANCE_ROWS
    + TIMEOUT_ROWS
    + _COMMON
    + FTP_ROWS
    + LOGGING_ROWS
    + STATS_ROWS
    + PROXY_STATE_ROWS
    + FOREIGN_ROWS
)
