"""`%[fetch(args),converter(args)]` inside a log format: the ones a session record can answer.

Sources: HAProxy manual, sections 7.3.1 (converters), 7.3.2 and 7.3.3 (internal states, layer 4). An expression is
scanned, not interpreted, until the whole of it was understood; every reader returns text, "" for "no value".
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter

from pasvport.digits import is_number
from pasvport.errors import ConfigError
from pasvport.logformat.escape import escape_text
from pasvport.logformat.facts import FTP_FACTS, TRANSFER_FACTS, Fact, Sort, worded
from pasvport.record import NO_SERVER, SessionRecord

TextRead = Callable[[SessionRecord], str]
Convert = Callable[[str], str]

_NAME = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Call:
    """One `name(args)` as scanned."""

    name: str
    args: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fetch:
    """One supported fetch: its documentation, what it needs, how many arguments it takes, and its reader's maker.

    `final`: known only when the session ends. `foreign`: a peer's own words, quotes and all.
    """

    name: str
    meaning: str
    reads: tuple[str, ...]
    make: Callable[..., TextRead]
    args: int = 0
    final: bool = False
    foreign: bool = False


def scan_expression(text: str, start: int) -> tuple[tuple[Call, ...], int]:
    """The calls of the expression that begins at `text[start]`, and the place of its `]`.

    Raises ConfigError when a name is missing or the bracket is.
    """
    calls: list[Call] = []
    position = start
    while True:
        call, position = _scan_call(text, position, "converter" if calls else "fetch")
        calls.append(call)
        following = text[position : position + 1]
        if following == "]":
            return tuple(calls), position
        if following != ",":
            found = f", found '{following}'" if following.isprintable() and following else ""
            raise ConfigError(f"']' is missing after '{text[start:position]}'{found}")
        position += 1


def compile_expression(calls: tuple[Call, ...]) -> tuple[TextRead, Fetch]:
    """A reader for the calls, and the fetch that they begin with. Raises ConfigError."""
    fetch = _known_fetch(calls[0])
    read = fetch.make(*calls[0].args)
    for call in calls[1:]:
        read = _converted(read, _known_converter(call))
    # After the converters, which must see what was said.
    return (_escaped(read) if fetch.foreign else read), fetch


def _escaped(read: TextRead) -> TextRead:
    return lambda record: escape_text(read(record))


def _known_fetch(call: Call) -> Fetch:
    fetch = FETCHES.get(call.name)
    if fetch is None:
        known = call.name in _LATER
        raise ConfigError(
            f"fetch '{call.name}' in a log format is not supported yet" if known else f"unknown fetch '{call.name}'"
        )
    if len(call.args) != fetch.args:
        raise ConfigError(f"fetch '{call.name}' takes {fetch.args or 'no'} argument{'' if fetch.args == 1 else 's'}")
    return fetch


def _known_converter(call: Call) -> Convert:
    make = CONVERTERS.get(call.name)
    if make is None:
        known = call.name in _LATER_CONVERTERS
        raise ConfigError(
            f"converter '{call.name}' in a log format is not supported yet"
            if known
            else f"unknown converter '{call.name}'"
        )
    return make(call.args)


def _converted(read: TextRead, convert: Convert) -> TextRead:
    # A converter is not asked about a value that is not there.
    def through(record: SessionRecord) -> str:
        text = read(record)
        return convert(text) if text else ""

    return through


# --- scanning -----------------------------------------------------------------------------------------------------


def _scan_call(text: str, start: int, what: str) -> tuple[Call, int]:
    found = _NAME.match(text, start)
    if found is None:
        raise ConfigError(f"name of a {what} is missing at position {start} of '{text}'")
    name, position = found[0], found.end()
    if text[position : position + 1] != "(":
        return Call(name), position
    args, position = _scan_arguments(text, position + 1, name)
    return Call(name, args), position


def _scan_arguments(text: str, start: int, name: str) -> tuple[tuple[str, ...], int]:
    """The arguments after `(`, split at commas; quotes and backslashes protect (HAProxy manual, section 2.2)."""
    args = [""]
    position = start
    while position < len(text):
        letter = text[position]
        if letter == ")":
            return (tuple(args) if args != [""] else ()), position + 1
        if letter == ",":
            args.append("")
            position += 1
            continue
        piece, position = _scan_piece(text, position)
        args[-1] += piece
    raise ConfigError(f"')' is missing after the arguments of '{name}'")


def _scan_piece(text: str, position: int) -> tuple[str, int]:
    letter = text[position]
    if letter == "\\" and position + 1 < len(text):
        return _ESCAPES.get(text[position + 1], text[position : position + 2]), position + 2
    if letter not in "'\"":
        return letter, position + 1
    end = text.find(letter, position + 1)
    if end < 0:
        raise ConfigError(f"quote is not closed in '{text}'")
    return text[position + 1 : end], end + 1


_ESCAPES = {"\\": "\\", '"': '"', "'": "'", " ": " ", "#": "#", "n": "\n", "r": "\r", "t": "\t", ",": ",", ")": ")"}


# --- what a record can answer -------------------------------------------------------------------------------------


def _of_connection(attribute: str, peer: str) -> Fetch:
    """`attribute` of an IP connection; no value on a UNIX socket or before that connection exists."""
    name, meaning = peer.split(": ", 1)
    unix_mark = "client_address" if attribute.startswith(("client", "frontend")) else "server_address"
    value, mark = attrgetter(attribute), attrgetter(unix_mark)

    def read(record: SessionRecord) -> str:
        text: str = value(record)
        return "" if text == "-" or mark(record) == "unix" else text

    return Fetch(name, meaning, (attribute, unix_mark), lambda: read)


def _named(name: str, meaning: str, attribute: str, nothing: Callable[[str], bool]) -> Fetch:
    def read(record: SessionRecord) -> str:
        text: str = getattr(record, attribute)
        return "" if nothing(text) else text

    return Fetch(name, meaning, (attribute,), lambda: read)


def _number(text: str) -> TextRead:
    try:
        value = str(int(text, 0) if not text.lstrip("+-").startswith("0") else int(text))
    except ValueError:
        raise ConfigError(f"'{text}' is not an integer") from None
    return lambda record: value


def _boolean(text: str) -> TextRead:
    words = {"true": "1", "yes": "1", "on": "1", "1": "1", "false": "0", "no": "0", "off": "0", "0": "0"}
    if text.lower() not in words:
        raise ConfigError(f"'{text}' is not a boolean")
    value = words[text.lower()]
    return lambda record: value


def _text(text: str) -> TextRead:
    return lambda record: text


def _of_fact(fact: Fact) -> Fetch:
    """The fetch of a fact of `mode ftp`; no value on lines that know nothing of it."""
    foreign = fact.sort in (Sort.FOREIGN, Sort.TEXT)
    return Fetch(fact.fetch, fact.meaning, (fact.scope,), lambda: worded(fact), final=True, foreign=foreign)


_FETCH_TABLE = (
    _of_connection("client_address", "src: client address"),
    _of_connection("client_port", "src_port: client port"),
    _of_connection("frontend_address", "dst: address the client dialled"),
    _of_connection("frontend_port", "dst_port: port the client dialled"),
    _of_connection("client_address", "fc_src: client address of the connection"),
    _of_connection("client_port", "fc_src_port: client port of the connection"),
    _of_connection("frontend_address", "fc_dst: address dialled, of the connection"),
    _of_connection("frontend_port", "fc_dst_port: port dialled, of the connection"),
    _of_connection("source_address", "bc_src: our address towards the server"),
    _of_connection("source_port", "bc_src_port: our port towards the server"),
    _of_connection("server_address", "bc_dst: address of the server"),
    _of_connection("server_port", "bc_dst_port: port of the server"),
    _named("fe_name", "frontend", "frontend", lambda text: not text),
    _named("be_name", "backend", "backend", lambda text: not text),
    _named("srv_name", "server", "server", lambda text: text in (NO_SERVER, "")),
    _named("so_name", "name of the bind line", "listener", is_number),
    _named("unique-id", "unique id of the session", "unique_id", lambda text: not text),
    Fetch("fc_err_str", "`Success`: no handshake that could fail comes before a session", (), lambda: _text("Success")),
    Fetch("fc_err", "0, likewise", (), lambda: _text("0")),
    Fetch("str", "the text given", (), _text, 1),
    Fetch("int", "the integer given", (), _number, 1),
    Fetch("bool", "the boolean given, as 1 or 0", (), _boolean, 1),
    Fetch("always_true", "1", (), lambda: _text("1")),
    Fetch("always_false", "0", (), lambda: _text("0")),
    *map(_of_fact, FTP_FACTS),
    *map(_of_fact, TRANSFER_FACTS),
)  # fmt: skip

FETCHES: dict[str, Fetch] = {fetch.name: fetch for fetch in _FETCH_TABLE}

_LATER_WORDS = """
    bin ipv4 ipv6 method var env hostname proc nbproc thread nbsrv be_conn fe_conn be_sess_rate fe_sess_rate
    queue avg_queue connslots be_conn_free srv_is_up srv_conn srv_conn_free srv_queue srv_sess_rate srv_weight
    srv_uweight srv_iweight stopping table_cnt table_avl date date_us rand uuid wait_end prio_class prio_offset
    last_rule_file last_rule_line src_is_local dst_is_local fc_src_is_local fc_dst_is_local fc_rcvd_proxy
    fc_pp_authority fc_pp_unique_id bc_err bc_err_str fc_rtt fc_rttvar be_id fe_id fe_defbe srv_id so_id
    dst_conn be_server_timeout be_tunnel_timeout cur_server_timeout cur_tunnel_timeout sc_conn_cnt sc_conn_cur
    sc_conn_rate sc_sess_cnt sc_sess_rate sc_bytes_in_rate sc_bytes_out_rate sc_kbytes_in sc_kbytes_out
    sc_get_gpc0 sc_get_gpt0 sc_tracked sc_trackers src_conn_cnt src_conn_cur src_conn_rate src_sess_cnt
    src_sess_rate src_bytes_in_rate src_bytes_out_rate src_kbytes_in src_kbytes_out src_get_gpc0 src_get_gpt0
    ssl_fc ssl_bc ssl_fc_sni ssl_fc_has_sni ssl_fc_protocol ssl_fc_cipher ssl_fc_alpn ssl_bc_protocol
    ssl_bc_cipher ssl_fc_is_resumed ssl_bc_is_resumed ssl_c_used ssl_c_verify ssl_c_s_dn ssl_c_i_dn ssl_c_serial
"""
_LATER = frozenset(_LATER_WORDS.split())


# --- converters ---------------------------------------------------------------------------------------------------


def _prefix(text: str, bits: int) -> int:
    """A mask as `24` or `255.255.255.0`. Raises ConfigError."""
    try:
        return ipaddress.ip_network(f"{'0.0.0.0' if bits == 32 else '::'}/{text}").prefixlen
    except ValueError:
        raise ConfigError(f"'{text}' is not a network mask") from None


def _ipmask(args: tuple[str, ...]) -> Convert:
    if len(args) not in (1, 2):
        raise ConfigError("converter 'ipmask' takes one or two masks")
    prefixes = {4: _prefix(args[0], 32), 6: _prefix(args[1], 128) if len(args) == 2 else 128}

    def convert(text: str) -> str:
        try:
            version = ipaddress.ip_address(text).version
        except ValueError:
            return ""
        return str(ipaddress.ip_network(f"{text}/{prefixes[version]}", strict=False).network_address)

    return convert


def _without_arguments(convert: Convert, name: str) -> Callable[[tuple[str, ...]], Convert]:
    def make(args: tuple[str, ...]) -> Convert:
        if args:
            raise ConfigError(f"converter '{name}' takes no argument")
        return convert

    return make


CONVERTERS: dict[str, Callable[[tuple[str, ...]], Convert]] = {
    "ipmask": _ipmask,
    "lower": _without_arguments(str.lower, "lower"),
    "upper": _without_arguments(str.upper, "upper"),
}

_LATER_CONVERTERS_WORDS = """
    51d.single add add_item aes_gcm_dec and b64dec base64 be2dec be2hex bool bytes capture-req capture-res
    concat cpl crc32 crc32c cut_crlf da-csv-conv debug digest div djb2 even field fix_is_valid fix_tag_value hex
    hex2i hmac host_only htonl http_date iif in_table json json_query jwt_header_query jwt_payload_query
    jwt_verify language length ltime ltrim map mod mqtt_field_value mqtt_is_valid ms_ltime ms_utime mul nbsrv
    neg not odd or param port_only protobuf regsub rfc7239_field rfc7239_is_valid rfc7239_n2nn rfc7239_n2np
    rtrim sdbm secure_memcmp set-var sha1 sha2 srv_queue strcmp sub table_bytes_in_rate table_conn_cnt
    table_conn_cur table_conn_rate table_gpc0 table_gpt0 table_idle table_server_id table_sess_cnt
    table_sess_rate ub64dec ub64enc ungrpc unset-var url_dec url_enc us_ltime us_utime utime word wt6
    x509_v_err_str xor xxh3 xxh32 xxh64
"""
_LATER_CONVERTERS = frozenset(_LATER_CONVERTERS_WORDS.split())
