"""`option NAME` of proxy sections. Source: HAProxy configuration manual, section 4.2."""

from __future__ import annotations

from collections.abc import Callable

from pasvport.config.arguments import integer
from pasvport.config.cursor import Cursor, LineError, Prefix
from pasvport.config.draft import Leftover, ProxyDraft, Said
from pasvport.config.keywords import Keyword, Misplaced, Place, Status, Table
from pasvport.config.keywords_ftp_option import FTP_OPTION_ROWS
from pasvport.config.placement import obey
from pasvport.model import CheckKind

TCPLOG_FORMAT = "%ci:%cp [%t] %ft %b/%s %Tw/%Tc/%Tt %B %ts %ac/%fc/%bc/%sc/%rc %sq/%bq"
FTPLOG_FORMAT = TCPLOG_FORMAT + " %{+Q}Fu %Fl/%Flf %Fc/%Frf %Fx/%Fxf %FU/%FB %{+Q}FR %{+Q}Ffu"
"""`option ftplog`: one line a session, the line of `option tcplog` and what FTP adds to it."""

FTP_TRANSFER_FORMAT = (
    "%ci:%cp [%Xt] %ft %b/%Xs %XTw/%XTc/%XTt %XB %Xts %Xn %{+Q}Xu %Xd %Xv %{+Q}Xp %Xty %Xcm/%Xsm:%Xdp %Xc/%Xsc %Xe %XR"
)
"""`option ftplog`: one line a transfer."""

FTPLOG = "option ftplog"


def read_option(cursor: Cursor, draft: ProxyDraft) -> None:
    """`[no|default] option NAME ...`. Raises LineError."""
    name = cursor.argument("'option' expects an option name.")
    row = OPTIONS.find(name.text)
    if row is None:
        raise LineError(f"unknown option '{name}'.", name, OPTIONS.suggestion(name.text))
    obey(row, cursor, draft, name.text)


def _switch(cursor: Cursor, draft: ProxyDraft) -> None:
    name = cursor.text(1)
    if cursor.prefix is Prefix.DEFAULT:
        draft.options.pop(name, None)
    else:
        draft.options[name] = cursor.prefix is Prefix.NONE


def _tcpka(_cursor: Cursor, draft: ProxyDraft) -> None:
    draft.options["clitcpka"] = draft.options["srvtcpka"] = True


def _redispatch(cursor: Cursor, draft: ProxyDraft) -> None:
    if cursor.prefix is not Prefix.NONE:
        draft.redispatch = 0
        return
    draft.redispatch = integer(cursor, cursor.take()) if cursor.more else -1


def set_log_format(cursor: Cursor, draft: ProxyDraft, text: str, said: str) -> None:
    """Store the traffic line's format, with HAProxy's warnings about one that is overridden or of no use."""
    if draft.is_defaults and draft.log_option:
        cursor.warn(f"'{said}' overrides previous '{draft.log_option}' in 'defaults' section.")
    draft.log_format, draft.log_option = Said(text, cursor.line, cursor.word(1)), said
    warn_in_backend(cursor, draft, said)


def warn_in_backend(cursor: Cursor, draft: ProxyDraft, said: str) -> None:
    """Backends log nothing of their own."""
    if not draft.is_defaults and not draft.is_frontend:
        cursor.warn(f"backend '{draft.name}' : '{said}' directive is ignored in backends.")


def _tcplog(cursor: Cursor, draft: ProxyDraft) -> None:
    if draft.transfer_format is not None and draft.transfer_format.value == FTP_TRANSFER_FORMAT:
        # It came with an inherited `option ftplog`, and goes with it.
        draft.transfer_format = None
    set_log_format(cursor, draft, TCPLOG_FORMAT, "option tcplog")


def _ftplog(cursor: Cursor, draft: ProxyDraft) -> None:
    set_log_format(cursor, draft, FTPLOG_FORMAT, FTPLOG)
    draft.transfer_format = Said(FTP_TRANSFER_FORMAT, cursor.line, cursor.word(1))


def _httplog(cursor: Cursor, draft: ProxyDraft) -> None:
    if cursor.more and cursor.text(2) != "clf":
        raise LineError("keyword 'httplog' only supports option 'clf'.", cursor.next)
    set_log_format(cursor, draft, TCPLOG_FORMAT, "option httplog")


def _tcp_check(_cursor: Cursor, draft: ProxyDraft) -> None:
    draft.check_kind = CheckKind.TCP_SCRIPT


def _external_check(_cursor: Cursor, draft: ProxyDraft) -> None:
    draft.check_kind = CheckKind.EXTERNAL


def _flag(name: str, places: Place, priority: str, doc: str) -> Keyword[ProxyDraft]:
    return Keyword(name, "", doc, _switch, places, priority, "off", misplaced=Misplaced.SKIP, negatable=True, most=0)


def _later(name: str, places: Place, doc: str) -> Keyword[ProxyDraft]:
    return Keyword(name, "", doc, None, places, "P3", status=Status.LATER, misplaced=Misplaced.SKIP, negatable=True)


def _http(name: str, places: Place, *, silent: bool = False) -> Keyword[ProxyDraft]:
    text = "" if silent else f"'option {name}' ignored for {{proxy}} as it requires HTTP mode."
    return Keyword(
        name,
        "...",
        "Understood by HTTP proxies only; ignored.",
        read_http_only(f"option {name}", text, places),
        places,
        "P3",
        status=Status.HTTP,
        misplaced=Misplaced.SKIP,
        negatable=True,
        most=None if name in _WITH_ARGUMENTS else 0,
    )


_WITH_ARGUMENTS = ("forwardfor", "originalto")


def read_http_only(name: str, text: str, places: Place, *, own: bool = False) -> Callable[[Cursor, ProxyDraft], None]:
    """A reader that remembers what to warn of once it is known which proxies are there ("": nothing)."""

    def read(cursor: Cursor, draft: ProxyDraft) -> None:
        if text and cursor.prefix is Prefix.NONE:
            draft.http.setdefault(name, Leftover(text, cursor.line, places & Place.EITHER, own))
        elif text:
            draft.http.pop(name, None)

    return read


_FE, _BE, _ANY = Place.ON_FRONTEND, Place.ON_BACKEND, Place.ANY_PROXY

_SUPPORTED: tuple[Keyword[ProxyDraft], ...] = (
    _flag("abortonclose", _BE, "P1", "Give up a queued or connecting session whose client has closed its side."),
    _flag("allbackups", _BE, "P1", "Balance over all backup servers at once instead of the first usable one."),
    _flag("clitcpka", _FE, "P0", "TCP keepalive towards clients."),
    _flag("contstats", _FE, "P1", "Count bytes while a transfer runs, not only at its end."),
    _flag("dontlog-normal", _FE, "P1", "Log only sessions that ended abnormally, or needed a retry or redispatch."),
    _flag("dontlognull", _FE, "P0", "Do not log connections on which the client sent nothing."),
    _flag("log-health-checks", _BE, "P1", "Log the result of each check that changes a server's health count."),
    _flag("log-separate-errors", _FE, "P1", "Log abnormal sessions with level err instead of info."),
    _flag("logasap", _FE, "P1", "Log at connect time; the fields still growing are marked with `+`."),
    _flag("nolinger", _ANY, "P2", "Close with a reset, keeping no lingering socket."),
    _flag("persist", _BE, "P2", "Follow the stick table to a server even while it is down."),
    _flag(
        "socket-stats",
        _FE,
        "P1",
        "A row for every bind line in the statistics; its counters are always kept.",
    ),
    _flag("splice-auto", _ANY, "P2", "Accepted: a stream that keeps flowing is always spliced in the kernel."),
    _flag("splice-request", _ANY, "P2", "As `option splice-auto`."),
    _flag("splice-response", _ANY, "P2", "As `option splice-auto`."),
    _flag("srvtcpka", _BE, "P0", "TCP keepalive towards servers."),
    Keyword("tcpka", "", "TCP keepalive on both sides: `clitcpka` and `srvtcpka`.", _tcpka, _ANY, "P0", "off", most=0),
    Keyword(
        "redispatch",
        "[<N>]",
        "Let a failed connection try another server: on every Nth retry, or (negative) counted from the last.",
        _redispatch,
        _BE,
        "P0",
        "off",
        misplaced=Misplaced.SKIP,
        negatable=True,
    ),
    Keyword(
        "tcplog",
        "",
        "Log one line per session, with times, bytes, termination state and queue positions.",
        _tcplog,
        _ANY,
        "P0",
        "off",
        misplaced=Misplaced.OWN,
        most=0,
    ),
    Keyword(
        "ftplog",
        "",
        "`mode ftp`: log a line per session as `option tcplog` does, with user, commands and transfers, and a line per "
        "transfer. In TCP mode it falls back to `option tcplog`, with a warning.",
        _ftplog,
        _ANY,
        "P0",
        "off",
        misplaced=Misplaced.OWN,
        most=0,
    ),
    Keyword(
        "httplog",
        "[clf]",
        "An HTTP log line; in TCP mode it falls back to `option tcplog`, with a warning.",
        _httplog,
        _ANY,
        "P3",
        status=Status.HTTP,
        misplaced=Misplaced.OWN,
        most=1,
    ),
    Keyword("tcp-check", "", "Check servers with the `tcp-check` steps.", _tcp_check, _BE, "P0", "off", most=0),
    Keyword(
        "external-check",
        "",
        "Check servers by running `external-check command`.",
        _external_check,
        _BE,
        "P2",
        "off",
        misplaced=Misplaced.SKIP,
        most=0,
    ),
)

_LATER: tuple[Keyword[ProxyDraft], ...] = (
    _later("independent-streams", _ANY, "Do not let writing refresh the timeout of reading."),
    _later("tcp-smart-accept", _FE, "Delay the first acknowledgement to a client."),
    _later("tcp-smart-connect", _BE, "Delay the first acknowledgement to a server."),
    _later("transparent", _BE, "Connect to the address the client dialled when there is no server."),
    _later("httpchk", _BE, "Check servers with an HTTP request."),
    _later("ldap-check", _BE, "Check servers with an LDAP bind."),
    _later("mysql-check", _BE, "Check servers with a MySQL handshake."),
    _later("pgsql-check", _BE, "Check servers with a PostgreSQL startup."),
    _later("redis-check", _BE, "Check servers with a Redis PING."),
    _later("smtpchk", _BE, "Check servers with an SMTP HELO."),
    _later("spop-check", _BE, "Check servers with a SPOP handshake."),
    _later("ssl-hello-chk", _BE, "Check servers with an SSLv3 hello."),
)

_HTTP: tuple[Keyword[ProxyDraft], ...] = (
    *(
        _http(name, _FE)
        for name in (
            "accept-invalid-http-request",
            "disable-h2-upgrade",
            "http-ignore-probes",
            "http-use-proxy-header",
            "idle-close-on-response",
        )
    ),
    *(
        _http(name, _BE)
        for name in ("accept-invalid-http-response", "checkcache", "http-pretend-keepalive", "prefer-last-server")
    ),
    *(_http(name, _ANY) for name in ("http-buffer-request", "http-no-delay", "forwardfor", "originalto")),
    *(_http(name, _FE, silent=True) for name in ("h1-case-adjust-bogus-client",)),
    *(_http(name, _BE, silent=True) for name in ("h1-case-adjust-bogus-server",)),
    *(_http(name, _ANY, silent=True) for name in ("http-keep-alive", "http-server-close", "httpclose")),
)

_REMOVED: tuple[Keyword[ProxyDraft], ...] = tuple(
    Keyword(name, "", doc, None, _ANY, "P3", status=Status.REMOVED)
    for name, doc in (
        ("forceclose", "Removed in HAProxy 2.0."),
        ("http-tunnel", "Removed in HAProxy 2.1."),
    )
)

OPTIONS: Table[ProxyDraft] = Table(_SUPPORTED + FTP_OPTION_ROWS + _LATER + _HTTP + _REMOVED)
