from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pasvport.address import Family
from pasvport.errors import ProtocolError, Side
from pasvport.ftp.grammar import Command, Reply, ReplyReader, masked, parse_command, rendered, verbs_behind_cr
from pasvport.ftp.lines import TOO_LONG, Line, LineSplitter
from pasvport.ftp.passive import (
    ArgumentError,
    PeerPolicy,
    Target,
    parse_227,
    parse_229,
    parse_eprt,
    parse_port,
    rendered_227,
    rendered_229,
    wants_epsv_all,
)
from pasvport.ftp.verbs import VERBS, Treatment


def lines_of(*pieces: bytes, limit: int = 20) -> list[Line]:
    splitter = LineSplitter(limit)
    found = []
    for piece in pieces:
        splitter.push(piece)
        while (line := splitter.pull()) is not None:
            found.append(line)
    return found


# --- lines --------------------------------------------------------------------------------------------------------


def test_lines_end_in_crlf_or_lf_and_may_be_cut_between() -> None:
    assert lines_of(b"a\r", b"\nb\nc\r\n\r\nd") == [Line(b"a"), Line(b"b"), Line(b"c"), Line(b"")]


def test_the_limit_is_exact_and_a_long_line_is_one_fault() -> None:
    assert lines_of(b"x" * 20 + b"\r\n") == [Line(b"x" * 20)]
    assert lines_of(b"x" * 20, b"\r", b"\n") == [Line(b"x" * 20)]
    assert lines_of(b"x" * 21 + b"\r\nok\n") == [Line(b"", fault=TOO_LONG), Line(b"ok")]
    assert lines_of(b"x" * 50, b"y" * 50, b"z\r\nok\n") == [Line(b"", fault=TOO_LONG), Line(b"ok")]


@pytest.mark.parametrize(
    "data", [b"a\0b", b"a\rb", b"Icon\r", b"\r\r", bytes(range(0x80, 0x90)), bytes(range(0xF0, 0x100))]
)
def test_every_byte_but_the_end_stays(data: bytes) -> None:
    assert lines_of(data + b"\r\n") == [Line(data)]
    assert lines_of(*(bytes((byte,)) for byte in data + b"\r\n")) == [Line(data)]


# --- commands -----------------------------------------------------------------------------------------------------


def test_an_argument_is_what_stands_after_the_first_space() -> None:
    command = parse_command(Line(b"retr  a b\xff "))
    assert (command.verb, command.argument, command.line) == ("RETR", b" a b\xff ", b"retr  a b\xff ")


@pytest.mark.parametrize(
    "data",
    [b"", b" USER x", b"A", b"1AB", b"US\xc3R", b"US\0ER x", b"PO\xff\xf4RT x", b"NOOP\rSTAT", b"ABCDEFGHIJKLMNOPQ"],
)
def test_what_is_no_command(data: bytes) -> None:
    command = parse_command(Line(data))
    assert not command.verb
    assert masked(command) == b"<not a command>"


def telnet_before(telnet: bytes) -> Command:
    return parse_command(Line(telnet + b"retr \xff\xf4 \xff\xff"))


@pytest.mark.parametrize(
    "telnet", [b"\xff\xf4\xff\xf2", b"\xff\xf4\xff", b"\xf4\xff", b"\xf2", b"\xff\xf4", b"\xff\xf2"]
)
def test_an_interrupt_makes_its_command_urgent_and_is_not_passed_on(telnet: bytes) -> None:
    assert parse_command(Line(telnet + b"abor")) == Command("ABOR", b"", b"abor", urgent=True)
    assert telnet_before(telnet) == Command("RETR", b"\xff\xf4 \xff\xff", b"retr \xff\xf4 \xff\xff", urgent=True)


def test_half_a_telnet_command_alone_is_not_urgent() -> None:
    assert not telnet_before(b"\xff").urgent
    assert telnet_before(b"\xff").line == b"retr \xff\xf4 \xff\xff"


@pytest.mark.parametrize("telnet", [b"\xff\xfd\x01", b"\xff\xfb\n\xff\xfe\xff", b"\xff\xf6", b"\xf1\xff"])
def test_other_telnet_commands_are_the_servers_to_judge(telnet: bytes) -> None:
    """Their verb is found all the same: ProFTPD, who knows Telnet, would find it too."""
    assert telnet_before(telnet).line == telnet + b"retr \xff\xf4 \xff\xff"
    assert telnet_before(telnet).verb == "RETR"


@pytest.mark.parametrize("line", [b"NOOP\r", b"NOOP\r\r", b"NOOP\0", b"NOOP\r\0"])
def test_what_some_servers_overlook_behind_a_verb(line: bytes) -> None:
    assert parse_command(Line(line)) == Command("NOOP", b"", b"NOOP")


def test_a_tab_stands_for_the_space_as_proftpd_takes_it() -> None:
    assert parse_command(Line(b"CWD\ta b")) == Command("CWD", b"a b", b"CWD a b")
    assert parse_command(Line(b"NOOP\t")) == Command("NOOP", b"", b"NOOP ")


def test_what_stands_behind_a_cr() -> None:
    assert verbs_behind_cr(b"RETR a\rport 1,2\r\0DELE x") == {"PORT", "DELE"}
    assert verbs_behind_cr(b"RETR Icon\r") == set()
    assert verbs_behind_cr(b"STOR a\rQUIT") == {"QUIT"}
    assert verbs_behind_cr(b"STOR Icon\r/rsrc PORT") == set()


@pytest.mark.parametrize("line", [b"PASS secret", b"pass secret word", b"ACCT secret", b"ADAT secret", b" PASS secret"])
def test_secrets_are_masked(line: bytes) -> None:
    assert b"secret" not in masked(parse_command(Line(line)))


def test_other_commands_are_shown() -> None:
    assert masked(parse_command(Line(b"RETR a"))) == b"RETR a"


def test_the_table_is_sound() -> None:
    for name, row in VERBS.items():
        assert name == row.name == name.upper()
        assert row.doc
        assert (row.direction is not None) == (row.treatment is Treatment.TRANSFER)
    assert {row.name for row in VERBS.values() if row.in_transfer} == {"ABOR", "STAT", "NOOP"}


# --- replies ------------------------------------------------------------------------------------------------------


def test_only_the_same_code_and_a_space_ends_a_reply() -> None:
    reader = ReplyReader(1000)
    lines = [b"211-a", b"212 b", b"211-c", b"2111", b" 211 d", b"211 e"]
    assert [reader.read(Line(line)) for line in lines[:-1]] == [None] * 5
    assert reader.read(Line(lines[-1])) == Reply(211, tuple(lines))
    assert reader.read(Line(b"200")) == Reply(200, (b"200",))
    assert reader.is_empty


@pytest.mark.parametrize("data", [b"", b"junk", b"099 x", b"600 x", b"20 x", b"2000", b"200x"])
def test_what_is_no_reply_is_the_servers_fault(data: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        ReplyReader(1000).read(Line(data))
    assert caught.value.whose is Side.SERVER


def test_an_endless_reply_is_the_servers_fault() -> None:
    reader = ReplyReader(1000)
    reader.read(Line(b"200-a"))
    for _ in range(496):
        reader.read(Line(b""))
    with pytest.raises(ProtocolError, match="too long"):
        reader.read(Line(b""))


@given(st.text(max_size=50))
def test_our_replies_are_one_line(text: str) -> None:
    data = rendered(200, text)
    assert data.endswith(b"\r\n")
    assert not set(b"\r\n\0") & set(data[:-2])


# --- addresses ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        b"227 Entering Passive Mode (10,0,0,1,4,1).",
        b"227 Entering Passive Mode 10,0,0,1,4,1",
        b"227 =10,0,0,1,4,1",
        b"227 (10, 0, 0, 1, 4, 1)",
        b"227 mode 2 (10,0,0,1,4,1)",
    ],
)
def test_227_in_any_text(text: bytes) -> None:
    assert parse_227(text[4:]) == Target("10.0.0.1", 1025)


@pytest.mark.parametrize(
    "text", [b"", b"1,2,3,4,5", b"1,2,3,4,5,256", b"1,2,3,4,0,0", b"1111,2,3,4,5,6", b"1,2,3,4,5,6666"]
)
def test_227_that_names_nothing(text: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_227(text)
    assert caught.value.whose is Side.SERVER


@pytest.mark.parametrize("text", [b"ok (|||4000|)", b"(!!!4000!)", b"ok |||4000|"])
def test_229_with_any_delimiter(text: bytes) -> None:
    assert parse_229(text) == 4000


@pytest.mark.parametrize("text", [b"", b"(|||0|)", b"(|||65536|)", b"(||4000|)", b"(|!|4000|)", b"(1114000 1)"])
def test_229_that_names_nothing(text: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_229(text)


@given(st.integers(1, 65535), st.ip_addresses(v=4).map(str))
def test_what_we_write_we_read(port: int, host: str) -> None:
    assert parse_227(rendered_227(host, port)[4:]) == Target(host, port)
    assert parse_229(rendered_229(port)[4:]) == port


@given(st.binary(max_size=40))
def test_any_argument_is_a_target_or_an_error(argument: bytes) -> None:
    for parse in (
        parse_port,
        lambda data: parse_eprt(data, Family.IPV6),
        lambda data: wants_epsv_all(data, Family.IPV4),
    ):
        assert code_of(parse, argument) in (0, 501, 522)


def code_of(parse: Callable[[bytes], object], argument: bytes) -> int:
    try:
        parse(argument)
    except ArgumentError as refused:
        return refused.code
    return 0


def test_eprt() -> None:
    assert parse_eprt(b"|2|2001:db8::7|4000|", Family.IPV6) == Target("2001:db8::7", 4000)
    assert parse_eprt(b"!1!10.0.0.1!4000!", Family.IPV4) == Target("10.0.0.1", 4000)


@pytest.mark.parametrize(
    ("policy", "data", "admitted"),
    [
        (PeerPolicy(), "192.0.2.7", True),
        (PeerPolicy(), "192.0.2.8", False),
        (PeerPolicy(24, 64), "192.0.2.200", True),
        (PeerPolicy(24, 64), "192.0.3.7", False),
        (PeerPolicy(24, 64), "2001:db8::1", False),
        (PeerPolicy(0, 0), "2001:db8::1", True),
    ],
)
def test_who_may_connect(policy: PeerPolicy, data: str, admitted: bool) -> None:
    assert (policy.claim("192.0.2.7") == policy.claim(data)) is admitted


def test_who_may_connect_over_ipv6() -> None:
    network, strict = PeerPolicy(24, 64), PeerPolicy()
    assert network.claim("2001:db8::1") == network.claim("2001:db8::2")
    assert network.claim("fe80::1%lo") == network.claim("fe80::2%lo")
    assert strict.claim("2001:db8::1") != strict.claim("2001:db8::2")
    assert strict.claim("fe80::1%1") != strict.claim("fe80::1%2")
