"""Log-format strings: what is accepted, what a record becomes, and that nobody can forge a line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from log_rig import record
from pasvport.errors import ConfigError
from pasvport.logformat import CONNECT_FORMAT, CONNECT_UNIX_FORMAT, TCPLOG_FORMAT, compile_format
from pasvport.logformat.aliases import ALIASES, EMPTY_ALIASES, HTTP_ALIASES
from pasvport.logformat.escape import escape_text, one_line
from pasvport.logformat.fetches import FETCHES
from pasvport.record import Culprit, Stage


def rendered(text: str, **changes: object) -> str:
    return compile_format(text, hostname="bal", process_id=4711)(record(**changes))


def test_tcplog_line(utc: None) -> None:
    assert rendered(TCPLOG_FORMAT, culprit=Culprit.CLIENT_ABORT, stage=Stage.DATA) == (
        "10.0.1.2:33312 [23/Nov/2026:03:09:11.476] www be/s1 1/2/33 11 CD 1/1/0/0/0 0/0"
    )


def test_connect_lines() -> None:
    assert rendered(CONNECT_FORMAT) == "Connect from 10.0.1.2:33312 to 10.0.3.31:8012 (www/TCP)"
    assert rendered(CONNECT_UNIX_FORMAT, frontend_port="3") == "Connect to unix:3 (www/TCP)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("%Tt %B %Tu %rc", "+33 +11 +33 0"),
        ("%{+Q}s %{+Q}ID %ID %{+Q,-Q}s", '"s1" "" - s1'),
        ("%{+X}ci:%{+X}cp %{+X}ms %{+X}pid", "0A000102:8220 1DC 1267"),
        ("%{+Q}o %f %{-Q}f %cp %ts", '"www" www 33312 --'),
        ("%H %pid %lc %ft", "bal 4711 0 www~"),
        ("  a   %%  b ", "a % b "),
        ("%[src] %[src,ipmask(8)] %[str('a b')] %[str(x,y),upper]", None),
        ("%hr %hs %s %hrl%hsl b", "s1 b"),
    ],
)
def test_items(text: str, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(ConfigError, match="expects one argument, got 2"):
            compile_format(text)
    else:
        assert rendered(text, in_progress=True, tls_version="TLSv1.3") == expected


def test_redispatch_is_marked() -> None:
    assert rendered("%rc", retries=2, redispatched=True) == "+2"


def test_expressions() -> None:
    assert rendered("%[src,ipmask(8)] %{+Q}[srv_name] %[str('a b'),upper]", server="<NOSRV>") == '10.0.0.0 "" A B'
    assert rendered("%[src] %[dst_port]", client_address="unix", client_port="3") == "- -"


def test_unique_ids_have_no_dashes() -> None:
    assert compile_format("%ci%[unique-id]%sslv", mandatory=False)(record()) == "10.0.1.2"


def test_needs_name_only_what_is_read() -> None:
    renderer = compile_format("%fi %[bc_src] %pid")
    assert renderer.needs == {"frontend_address", "source_address", "server_address"}
    assert not renderer.needs_end
    assert compile_format("%ci %Tt").needs_end


ARGUMENTS = {
    "bool": "(1)", "int": "(1)", "str": "(1)", "bin": "(31)", "ipv4": "(1.2.3.4)", "ipv6": "(::1)",
}  # fmt: skip


class Witness:
    """A record that remembers what was asked of it."""

    def __init__(self) -> None:
        self.asked: set[str] = set()

    def __getattr__(self, name: str) -> object:
        self.asked.add(name)
        return getattr(record(), name)


@pytest.mark.parametrize(
    "item",
    [f"%{name}" for name in sorted(ALIASES.keys() | EMPTY_ALIASES)]
    + [f"%[{fetch.name}{ARGUMENTS.get(fetch.name, '')}]" for fetch in FETCHES.values()],
)
def test_every_item_reads_what_it_says_it_needs(item: str) -> None:
    renderer, witness = compile_format(item), Witness()
    assert renderer(witness).isprintable()  # type: ignore[arg-type]
    assert witness.asked <= renderer.needs


@pytest.mark.parametrize("name", sorted(HTTP_ALIASES))
def test_aliases_of_http_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="mode http"):
        compile_format(f"%{name}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("%nope", "unknown format alias '%nope'"),
        ("a%", "nothing follows"),
        ("%{+Q", "'}' is missing"),
        ("%{+Q} x", "no alias"),
        ("a % b", "write '%%'"),
        ("%[src", "']' is missing"),
        ("%[]", "missing fetch method"),
        ("%[src,]", "missing conv method"),
        ("%[nope]", "unknown fetch method 'nope'"),
        ("%[src,nope]", "unknown converter"),
        ("%[nbsrv(be)]", "not supported yet"),
        ("%[src,hex]", "not supported yet"),
        ("%[str(a]", "'\\)' is missing"),
        ("%[int(x)]", "not a number"),
        ("%[src(1)]", "no argument expected"),
        ("%[bool(yes)]", "expects 'true'"),
    ],
)
def test_refusals(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        compile_format(text)


@given(st.text(max_size=40) | st.text(st.sampled_from("%{}[]()+-QXEo, citsr\"'\\Bf_"), max_size=40))
def test_any_text_compiles_or_is_a_configuration_error(text: str) -> None:
    try:
        renderer = compile_format(text)
    except ConfigError:
        return
    assert isinstance(renderer(record()), str)


_EVERYTHING = (
    " ".join(f"%{name}" for name in ALIASES) + " %[src] %[so_name] %[fc_err_str] %[unique-id] %{+Q,+E}[be_name]"
)


@given(
    st.text(),
    st.text(),
    st.integers(-1, 2**63),
    st.floats(0, 4e9),
    st.booleans(),
)
def test_any_record_is_one_printable_line(one: str, other: str, number: int, when: float, mark: bool) -> None:
    line = rendered(
        _EVERYTHING,
        accepted=when,
        client_address=one,
        client_port=other,
        frontend=one,
        listener=other,
        server=one,
        backend=other,
        unique_id=one,
        tls_cipher=other,
        total_time=number,
        bytes_out=number,
        in_progress=mark,
    )
    assert line.isascii()
    assert line.isprintable()


@given(st.text())
def test_escaping_leaves_no_control_character(text: str) -> None:
    assert escape_text(text).isprintable()
    assert not any(byte < 32 or byte == 127 for byte in one_line(text))


def test_escaping_is_that_of_haproxy() -> None:
    assert escape_text('a"b#c\n\x7f\u00e9') == "a#22b#23c#0A#7F#C3#A9"
    assert escape_text("\udcff") == "#FF"
    assert one_line("L7 says \r\n<0>fake") == b"L7 says #0D#0A<0>fake"
