"""`bind` and its options. Source: HAProxy configuration manual, sections 4.2 and 5.1."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from pasvport.address import Endpoint, Family, Network, PortRange, family_of
from pasvport.config.addresses import bind_addresses, expand, host_only
from pasvport.config.arguments import count, duration, integer
from pasvport.config.cursor import Cursor, LineError
from pasvport.config.draft import BindDraft, ProxyDraft, Said
from pasvport.config.keywords import Keyword, Status, Table, later, not_supported
from pasvport.config.keywords_file_access import access_rows, permissions_of
from pasvport.config.scalars import ScalarError, parse_time, strict_int
from pasvport.config.syntax import Word
from pasvport.errors import AddressError
from pasvport.model import Advertise, Bind, SocketOptions

Reader = Callable[[Cursor, BindDraft], None]
_USAGE = "'bind' expects {<path>|[addr1]:port1[-end1]}{,[addr]:port[-end]}... as arguments."


def read_bind(cursor: Cursor, draft: ProxyDraft) -> None:
    """`bind ADDRESS[,ADDRESS]... [option]...`. Raises LineError; a line with a wrong option binds nothing."""
    draft.bind_attempted = True
    draft.binds_refused += 1
    word = cursor.argument(_USAGE)
    try:
        addresses = bind_addresses(word.text, cursor.environment)
    except AddressError as error:
        raise LineError(f"'bind' : {error}", word) from None
    options = BindDraft(cursor.line, sockets=sum(len(ports) for _, ports in addresses))
    cursor.about = f"'bind {word}' in section '{draft.kind}' : "
    while cursor.more:
        _read_option(cursor, options)
    _claim_id(cursor, options, draft)
    _refuse_local_pool(options, addresses)
    draft.ftp_binds += options.ftp
    draft.binds_refused -= 1
    permissions = permissions_of(options)
    sockets = SocketOptions(mss=options.mss, user_timeout=options.user_timeout, fast_open=options.fast_open)
    for endpoint, ports in addresses:
        draft.bind_lines.append(cursor.line)
        draft.binds.append(
            Bind(
                origin=cursor.origin,
                endpoint=endpoint,
                ports=ports,
                name=options.name,
                first_id=options.id or 0,
                maxconn=options.maxconn,
                backlog=options.backlog,
                interface=options.interface,
                transparent=options.transparent,
                v6only=options.v6only,
                v4v6=options.v4v6,
                defer_accept=options.defer_accept,
                options=sockets,
                permissions=permissions,
                data=options.data,
                advertise=tuple(options.advertise),
            )
        )


def _refuse_local_pool(options: BindDraft, addresses: list[tuple[Endpoint, PortRange]]) -> None:
    if options.ftp and any(endpoint.family in _PORTLESS for endpoint, _ in addresses):
        said = options.ftp[0]
        raise LineError(f"'{said.value}' : an address without ports cannot be a pool of data ports", said.word)


_PORTLESS = (Family.UNIX, Family.ABNS, Family.FD)


def _read_option(cursor: Cursor, options: BindDraft) -> None:
    word = cursor.take()
    row = BIND.find(word.text)
    if row is None:
        raise LineError(f"unknown keyword '{word}'", word, BIND.suggestion(word.text))
    if row.read is None:
        raise LineError(not_supported(word.text), word)
    row.read(cursor, options)


def _claim_id(cursor: Cursor, options: BindDraft, draft: ProxyDraft) -> None:
    if options.id is None:
        return
    other = draft.listener_ids.get(options.id)
    if other is not None:
        raise LineError(f"'id' : custom id {options.id} already used at {other.origin}", cursor.words[-1])
    draft.listener_ids[options.id] = cursor.line


def _text_into(field: str, missing: str) -> Reader:
    def read(cursor: Cursor, options: BindDraft) -> None:
        setattr(options, field, cursor.argument(missing).text)

    return read


def _flag(field: str) -> Reader:
    def read(_cursor: Cursor, options: BindDraft) -> None:
        setattr(options, field, True)

    return read


def _count_into(field: str) -> Reader:
    def read(cursor: Cursor, options: BindDraft) -> None:
        setattr(options, field, count(cursor))

    return read


def _id(cursor: Cursor, options: BindDraft) -> None:
    if options.sockets != 1:
        raise LineError("'id' can only be used with a single socket", cursor.words[cursor.at - 1])
    word = cursor.argument("'id' : expects an integer argument")
    value = strict_int(word.text)
    if value is None:
        raise LineError(f"'id' : expects an integer argument, found '{word}'", word)
    if value <= 0:
        raise LineError("'id' : custom id has to be > 0", word)
    options.id = value


def _mss(cursor: Cursor, options: BindDraft) -> None:
    word = cursor.argument("'mss' : missing MSS value")
    value = integer(cursor, word)
    if not 1 <= abs(value) <= 65535:
        raise LineError("'mss' : expects an MSS with and absolute value between 1 and 65535", word)
    options.mss = value


def _tcp_ut(cursor: Cursor, options: BindDraft) -> None:
    options.user_timeout = positive_delay(cursor)


def positive_delay(cursor: Cursor) -> int:
    """The milliseconds of `tcp-ut`. Raises LineError."""
    complaint = "'tcp-ut' : expects a positive delay in milliseconds"
    word = cursor.argument("'tcp-ut' : missing TCP User Timeout value")
    try:
        parse_time(word.text)
    except ScalarError:
        raise LineError(complaint, word) from None
    return duration(cursor, word, "tcp-ut")


def _data(cursor: Cursor, options: BindDraft) -> None:
    options.data = True
    options.ftp.append(Said("data", cursor.line, cursor.words[cursor.at - 1]))


def _advertise(cursor: Cursor, options: BindDraft) -> None:
    options.ftp.append(Said("advertise", cursor.line, cursor.words[cursor.at - 1]))
    host = _told(cursor, cursor.argument("'advertise' : missing IPv4 address"))
    network = None
    if cursor.text(cursor.at) == "for":
        cursor.take()
        network = _network(cursor)
    options.advertise.append(Advertise(host, network))


def _told(cursor: Cursor, word: Word) -> str:
    """What PASV can tell: an IPv4 address, or a name that start-up resolves to one."""
    untold = LineError(f"'advertise' : '{word}' is not an IPv4 address that PASV could tell", word)
    if family_of(word.text) is Family.IPV6:
        raise untold
    try:
        endpoint = host_only(word.text, cursor.environment)
    except AddressError as error:
        raise LineError(f"'advertise' : {error}", word) from None
    # `203.0.113` is an address to inet_aton(3), and a slip of the pen to everybody else.
    is_short = endpoint.family is Family.IPV4 and expand(word.text, cursor.environment).count(".") != 3
    if endpoint.family not in (Family.IPV4, Family.NAME) or endpoint.host == "0.0.0.0" or is_short:
        raise untold
    return endpoint.host


def _network(cursor: Cursor) -> Network:
    word = cursor.argument("'advertise' : missing network after 'for'")
    try:
        return Network(str(ipaddress.ip_network(word.text, strict=False)))
    except ValueError:
        raise LineError(f"'advertise' : '{word}' is not an IPv4 or IPv6 network", word) from None


def _stats_socket_only(cursor: Cursor, _options: BindDraft) -> None:
    word = cursor.words[cursor.at - 1]
    raise LineError(f"'{word}' is for 'stats socket': nobody speaks to the runtime API on this one.", word)


def _row(name: str, syntax: str, doc: str, read: Reader, priority: str = "P1", default: str = "") -> Keyword[BindDraft]:
    return Keyword(name, syntax, doc, read, priority=priority, default=default, status=Status.SUPPORTED)


BIND: Table[BindDraft] = Table(
    (
        _row(
            "name",
            "<name>",
            "Name of the listener in logs and statistics.",
            _text_into("name", "'name' : missing name"),
            "P0",
        ),
        _row("id", "<number>", "Numeric id of the listener; one socket only.", _id, default="counted from 1"),
        _row(
            "maxconn",
            "<number>",
            "Connections at once on each of its ports.",
            _count_into("maxconn"),
            default="the frontend's",
        ),
        _row("backlog", "<number>", "Length of the accept queue.", _count_into("backlog"), default="the frontend's"),
        _row(
            "interface",
            "<name>",
            "Take connections from this interface only.",
            _text_into("interface", "'interface' : missing interface name"),
            "P2",
        ),
        _row("transparent", "", "Bind an address the machine does not have.", _flag("transparent")),
        _row("v4v6", "", "With `::`, take IPv4 too.", _flag("v4v6")),
        _row("v6only", "", "With `::`, take IPv6 only.", _flag("v6only")),
        *access_rows(),
        _row("mss", "<bytes>", "Largest TCP segment to announce; negative: relative to the path's.", _mss, "P2"),
        _row("tcp-ut", "<time>", "Reset a connection whose data stays unacknowledged this long.", _tcp_ut, "P2"),
        _row("tfo", "", "TCP Fast Open.", _flag("fast_open"), "P2"),
        _row(
            "defer-accept",
            "",
            "Accept once the client has spoken (an FTP client waits: not for port 21).",
            _flag("defer_accept"),
            "P2",
        ),
        _row("data", "", "`mode ftp`: its ports are a pool of data ports, as those of any range are.", _data, "P0"),
        _row(
            "advertise",
            "<ipv4> [for <network>]",
            "`mode ftp`: the address that PASV tells clients (of that network), where it is not the one they dialled. "
            "May be said again; the first that fits counts.",
            _advertise,
            "P0",
            "the dialled address",
        ),
        *(
            Keyword(name, "...", "An option of `stats socket`.", _stats_socket_only, priority="")
            for name in ("level", "expose-fd", "severity-output")
        ),
        *later(
            "ssl crt crt-list ca-file ca-verify-file crl-file verify ca-ignore-err crt-ignore-err no-ca-names "
            "ssl-min-ver ssl-max-ver ciphers ciphersuites curves ecdhe prefer-client-ciphers no-sslv3 no-tlsv10 "
            "no-tlsv11 no-tlsv12 no-tlsv13 force-sslv3 force-tlsv10 force-tlsv11 force-tlsv12 force-tlsv13 alpn npn "
            "strict-sni no-tls-tickets tls-ticket-keys generate-certificates ca-sign-file ca-sign-pass allow-0rtt",
            "TLS on accepted connections.",
            priority="P1",
        ),
        *later("accept-proxy accept-netscaler-cip", "A header with the client's address comes first.", priority="P0"),
        *later("namespace", "Listen in another network namespace.", priority="P2"),
        *later("nice proto process thread shards", "Placement inside HAProxy's process.", priority="P3"),
    )
)
