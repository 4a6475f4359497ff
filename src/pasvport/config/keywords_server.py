"""Options of `server`, `default-server` and `server-template` lines. Source: HAProxy manual, section 5.2."""

from __future__ import annotations

from collections.abc import Callable

from pasvport.address import Family, family_of
from pasvport.config.addresses import plain_address
from pasvport.config.arguments import duration, integer
from pasvport.config.cursor import Cursor, LineError
from pasvport.config.draft import Said, ServerDraft
from pasvport.config.keywords import Keyword, Status, Table, later
from pasvport.config.keywords_bind import positive_delay
from pasvport.config.keywords_ftp import passive_way
from pasvport.config.keywords_source import read_source
from pasvport.config.scalars import (
    lenient_int,
    strict_int,
)
from pasvport.errors import AddressError
from pasvport.model import ObserveMode, OnError

Reader = Callable[[Cursor, ServerDraft], None]
MAX_WEIGHT = 256


# --- readers ------------------------------------------------------------------------------------------------------


def _flag(field: str, value: bool = True) -> Reader:
    def read(_cursor: Cursor, server: ServerDraft) -> None:
        setattr(server, field, value)

    return read


def _text_into(field: str, complaint: str) -> Reader:
    def read(cursor: Cursor, server: ServerDraft) -> None:
        setattr(server, field, cursor.argument(complaint).text)

    return read


def _interval(field: str) -> Reader:
    def read(cursor: Cursor, server: ServerDraft) -> None:
        name = cursor.words[cursor.at - 1]
        word = cursor.argument(f"'{name}' expects a delay as argument.")
        value = duration(cursor, word, name.text)
        if value <= 0:
            raise LineError(f"invalid value {value} for argument '{name}' of server {server.name}.", word)
        setattr(server, field, value)

    return read


def _slowstart(cursor: Cursor, server: ServerDraft) -> None:
    word = cursor.argument("'slowstart' expects a delay as argument.")
    # HAProxy keeps whole seconds.
    server.slowstart = -(-duration(cursor, word, "slowstart") // 1000) * 1000


def _count(field: str) -> Reader:
    def read(cursor: Cursor, server: ServerDraft) -> None:
        name = cursor.words[cursor.at - 1]
        word = cursor.argument(f"'{name}' expects an integer argument.")
        setattr(server, field, max(0, integer(cursor, word)))

    return read


def _positive(field: str, complaint: str) -> Reader:
    def read(cursor: Cursor, server: ServerDraft) -> None:
        name = cursor.words[cursor.at - 1]
        word = cursor.argument(f"'{name}' expects an integer argument.")
        value = lenient_int(word.text)
        if value <= 0:
            raise LineError(complaint, word)
        setattr(server, field, integer(cursor, word))

    return read


def _weight(cursor: Cursor, server: ServerDraft) -> None:
    word = cursor.argument("'weight' expects an integer argument.")
    value = lenient_int(word.text)
    if not 0 <= value <= MAX_WEIGHT:
        raise LineError(f"weight of server {server.name} is not within 0 and {MAX_WEIGHT} ({value}).", word)
    server.weight = integer(cursor, word)


def _port(field: str) -> Reader:
    def read(cursor: Cursor, server: ServerDraft) -> None:
        name = cursor.words[cursor.at - 1]
        word = cursor.argument(f"'{name}' expects a port number as argument.")
        value = integer(cursor, word)
        if not 0 <= value <= 65535:
            cursor.warn(f"'{name} {word}' is not a port, the server's own is used.", word)
            value = 0
        setattr(server, field, value)

    return read


def _check_address(field: str) -> Reader:
    def read(cursor: Cursor, server: ServerDraft) -> None:
        name = cursor.words[cursor.at - 1]
        word = cursor.argument(f"'{name}' expects <ipv4|ipv6> as argument.")
        try:
            endpoint = plain_address(word.text, cursor.environment)
        except AddressError as error:
            raise LineError(f"'{name}' : {error}", word) from None
        setattr(server, field, endpoint)
        if field == "check_endpoint" and endpoint.port:
            server.check_port = endpoint.port

    return read


def _id(cursor: Cursor, server: ServerDraft) -> None:
    word = cursor.argument("'id' : expects an integer argument.")
    value = integer(cursor, word) if strict_int(word.text) is not None else 0
    if value <= 0:
        raise LineError("'id' : custom id has to be > 0.", word)
    server.id = Said(value, cursor.line, word)


def _observe(cursor: Cursor, server: ServerDraft) -> None:
    word = cursor.argument("'observe' expects <mode> as argument.")
    if word.text == "layer7":
        cursor.alert("'layer7' can only be used in http proxies.", word, fatal=False)
        return
    if word.text not in tuple(ObserveMode):
        raise LineError(f"'observe' expects one of 'none', 'layer4', 'layer7' but got '{word}'", word)
    server.observe = ObserveMode(word.text)


def _on_error(cursor: Cursor, server: ServerDraft) -> None:
    complaint = "'on-error' expects one of 'fastinter', 'fail-check', 'sudden-death' or 'mark-down' but got '{}'"
    word = cursor.argument(complaint.format(""))
    if word.text not in tuple(OnError):
        raise LineError(complaint.format(word), word)
    server.on_error = OnError(word.text)


def _on_marked(field: str, value: str) -> Reader:
    def read(cursor: Cursor, server: ServerDraft) -> None:
        name = cursor.words[cursor.at - 1]
        word = cursor.argument(f"'{name}' expects '{value}' but got ''")
        if word.text != value:
            raise LineError(f"'{name}' expects '{value}' but got '{word}'", word)
        setattr(server, field, True)

    return read


def _track(cursor: Cursor, server: ServerDraft) -> None:
    word = cursor.argument("'track' expects [<proxy>/]<server> as argument.")
    server.track = Said(word.text, cursor.line, word)


def _source(cursor: Cursor, server: ServerDraft) -> None:
    server.source = read_source(cursor, on_server=True)


def _usesrc(cursor: Cursor, _server: ServerDraft) -> None:
    raise LineError("'usesrc' only allowed after a 'source' statement.", cursor.words[cursor.at - 1])


def _init_addr(cursor: Cursor, server: ServerDraft) -> None:
    word = cursor.argument("'init-addr' : expects a comma-separated list of methods as argument.")
    methods = tuple(word.text.split(","))
    for method in methods:
        if method not in ("last", "libc", "none") and family_of(method) is Family.NAME:
            known = "supported methods are 'libc', 'last', 'none'."
            raise LineError(f"'init-addr' : unknown init-addr method '{method}', {known}", word)
    server.init_addr = methods


def _ftp_passive(cursor: Cursor, server: ServerDraft) -> None:
    server.ftp_passive = passive_way(cursor, "'ftp-passive'")


def _tcp_ut(cursor: Cursor, server: ServerDraft) -> None:
    server.user_timeout = positive_delay(cursor)


def _cookie(cursor: Cursor, server: ServerDraft) -> None:
    cursor.argument("'cookie' expects <value> as argument.")
    server.cookie = True


def _redir(cursor: Cursor, server: ServerDraft) -> None:
    cursor.argument("'redir' expects <prefix> as argument.")
    server.redir = True


def _http_word(cursor: Cursor, _server: ServerDraft) -> None:
    name = cursor.words[cursor.at - 1]
    cursor.argument(f"'{name}' expects an argument.")


# --- the table ----------------------------------------------------------------------------------------------------


def _row(
    name: str, syntax: str, doc: str, read: Reader, priority: str = "P1", default: str = ""
) -> Keyword[ServerDraft]:
    return Keyword(name, syntax, doc, read, priority=priority, default=default)


def _undo(name: str, field: str) -> Keyword[ServerDraft]:
    return _row(f"no-{name}", "", f"Undo `{name}` of a default-server line.", _flag(field, False))


_CHECKS: tuple[Keyword[ServerDraft], ...] = (
    _row("check", "", "Check the server's health.", _flag("check"), "P0", "no checks"),
    _row("port", "<port>", "Port that checks connect to.", _port("check_port"), "P0", "the server's"),
    _row(
        "addr", "<address>", "Address that checks connect to.", _check_address("check_endpoint"), "P0", "the server's"
    ),
    _row("inter", "<time>", "Time between checks.", _interval("interval"), "P0", "2s"),
    _row("fastinter", "<time>", "As `inter`, while health is changing.", _interval("fast_interval"), "P0", "inter"),
    _row("downinter", "<time>", "As `inter`, while the server is down.", _interval("down_interval"), "P0", "inter"),
    _row(
        "rise", "<number>", "Good checks until the server is up.", _positive("rise", "'rise' has to be > 0."), "P0", "2"
    ),
    _row(
        "fall",
        "<number>",
        "Bad checks until the server is down.",
        _positive("fall", "'fall' has to be > 0."),
        "P0",
        "3",
    ),
    _row("track", "[<backend>/]<server>", "Take the state of another server instead of checking.", _track, "P0"),
    _row(
        "observe",
        "none|layer4",
        "Let failed connections of traffic count against the server.",
        _observe,
        default="none",
    ),
    _row(
        "error-limit",
        "<number>",
        "Observed errors in a row until `on-error`.",
        _positive("error_limit", "error-limit has to be > 0."),
        default="10",
    ),
    _row(
        "on-error",
        "fastinter|fail-check|sudden-death|mark-down",
        "What observed errors do.",
        _on_error,
        default="fail-check",
    ),
    _row(
        "on-marked-down",
        "shutdown-sessions",
        "End the server's sessions when it goes down.",
        _on_marked("shutdown_sessions_when_down", "shutdown-sessions"),
    ),
    _row(
        "on-marked-up",
        "shutdown-backup-sessions",
        "End sessions on backup servers when this one comes up.",
        _on_marked("shutdown_backup_sessions_when_up", "shutdown-backup-sessions"),
    ),
    _row("agent-check", "", "Ask an agent on the server for weight and state.", _flag("agent")),
    _row("agent-port", "<port>", "Port of the agent; required.", _port("agent_port")),
    _row("agent-addr", "<address>", "Address of the agent.", _check_address("agent_endpoint"), default="the server's"),
    _row("agent-inter", "<time>", "Time between agent checks.", _interval("agent_interval"), default="2s"),
    _row(
        "agent-send",
        "<text>",
        "Sent to the agent first.",
        _text_into("agent_send", "'agent-send' expects a string as argument."),
    ),
    _undo("check", "check"),
    _undo("agent-check", "agent"),
)

_TRAFFIC: tuple[Keyword[ServerDraft], ...] = (
    _row("weight", "<0..256>", "Share of the load; 0 takes only sticking clients.", _weight, "P0", "1"),
    _row("backup", "", "Used when no other server is usable.", _flag("backup"), "P0"),
    _row("disabled", "", "Start in maintenance.", _flag("disabled"), "P0"),
    _row("enabled", "", "Undo `disabled`.", _flag("disabled", False), "P0"),
    _row("maxconn", "<number>", "Connections at once; more wait in the queue.", _count("maxconn"), "P0", "no limit"),
    _row(
        "minconn", "<number>", "The limit while the backend is idle; grows to maxconn with its load.", _count("minconn")
    ),
    _row("maxqueue", "<number>", "Length of the server's own queue.", _count("maxqueue"), default="no limit"),
    _row(
        "slowstart", "<time>", "Time in which a server that came up grows to its full weight.", _slowstart, default="0"
    ),
    _row(
        "source", "<addr>[:<port>[-<port>]] [usesrc ...] [interface ...]", "Where connections to it come from.", _source
    ),
    _row("usesrc", "...", "Only after `source`.", _usesrc),
    _row("id", "<number>", "Numeric id.", _id, default="counted from 1"),
    _row(
        "init-addr",
        "last|libc|none|<ip>[,...]",
        "How a host name is resolved at start.",
        _init_addr,
        default="last,libc",
    ),
    _row(
        "ftp-passive",
        "epsv|pasv|auto",
        "`mode ftp`: as `option ftp-passive`, for this server.",
        _ftp_passive,
        default="`option ftp-passive`",
    ),
    _row("non-stick", "", "Never enter this server in a stick table.", _flag("non_stick")),
    _row("stick", "", "Undo `non-stick`.", _flag("non_stick", False)),
    _row("tcp-ut", "<time>", "Reset a connection whose data stays unacknowledged this long.", _tcp_ut, "P2"),
    _row("tfo", "", "TCP Fast Open.", _flag("fast_open"), "P2"),
    _row("no-tfo", "", "Undo `tfo`.", _flag("fast_open", False), "P2"),
    _undo("backup", "backup"),
)

_HTTP: tuple[Keyword[ServerDraft], ...] = (
    Keyword("redir", "<prefix>", "HTTP only; an error.", _redir, priority="P3", status=Status.HTTP),
    Keyword("cookie", "<value>", "HTTP only; ignored with a warning.", _cookie, priority="P3", status=Status.HTTP),
    *(
        Keyword(name, "<value>", "HTTP only; ignored.", _http_word, priority="P3", status=Status.HTTP)
        for name in ("max-reuse", "pool-low-conn", "pool-max-conn", "pool-purge-delay", "ws")
    ),
)

_LATER: tuple[Keyword[ServerDraft], ...] = (
    *later(
        "ssl verify verifyhost ca-file crl-file crt sni ssl-min-ver ssl-max-ver ciphers ciphersuites ssl-reuse "
        "no-ssl-reuse tls-tickets no-tls-tickets no-ssl no-verifyhost no-sslv3 no-tlsv10 no-tlsv11 no-tlsv12 "
        "no-tlsv13 force-sslv3 force-tlsv10 force-tlsv11 force-tlsv12 force-tlsv13 check-ssl no-check-ssl check-sni "
        "check-alpn check-proto alpn npn allow-0rtt",
        "TLS to the server.",
        priority="P1",
    ),
    *later(
        "send-proxy send-proxy-v2 send-proxy-v2-ssl send-proxy-v2-ssl-cn proxy-v2-options check-send-proxy "
        "no-send-proxy no-send-proxy-v2 no-send-proxy-v2-ssl no-send-proxy-v2-ssl-cn no-check-send-proxy",
        "A header with the client's address, sent first.",
        priority="P0",
    ),
    *later("resolvers resolve-prefer resolve-net resolve-opts", "Host names resolved at run time.", priority="P1"),
    *later("namespace", "Connect from another network namespace.", priority="P2"),
    *later("socks4 check-via-socks4 log-proto proto shard", "Other ways to reach a server.", priority="P3"),
)

SERVER: Table[ServerDraft] = Table(_CHECKS + _TRAFFIC + _HTTP + _LATER)
