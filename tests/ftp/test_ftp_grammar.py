from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pasvport.address import Family
from pasvport.errors import ProtocolError, Side
from pasvport.ftp.features import features_of
from pasvport.ftp.grammar import PIECE, Command, Reply, ReplyReader, masked, parse_command, rendered, verbs_behind_cr
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


def read(*pieces: bytes, limit: int = 100_000) -> list[tuple[int, bytes, bool]]:
    """Everything that comes out, piece by piece."""
    reader, found = ReplyReader(limit), []
    for piece in pieces:
        reader.push(piece)
        while (reply := reader.pull() or reader.rest()) is not None:
            found.append(tuple(reply))
    return found


def test_a_reply_is_every_byte_of_it() -> None:
    data = b"211-a\r\r\nx\0\ry\n\n211-c\r\n211 e\r\n"
    assert read(data) == [(211, data, True)]
    assert Reply(211, data).lines == (b"211-a", b"x\0\ry", b"", b"211-c", b"211 e")
    assert Reply(211, data).text == b"e"
    assert read(b"200 one\r\n200\r\n") == [(200, b"200 one\r\n", True), (200, b"200\r\n", True)]


@pytest.mark.parametrize(
    "data", [b"junk\r\n", b"\r\n", b" 220 x\n", b"\r\r\n", b"-\0\n", b"2200 x\n", b"22 x\n", b"000 x\n"]
)
def test_what_is_no_reply_is_text(data: bytes) -> None:
    found = read(data + data + b"220 x\n" + data)
    assert b"".join(raw for code, raw, _ in found[:-2] if not code) == data + data
    assert found[-2:] == [(220, b"220 x\n", True), (0, data, False)]


def test_much_text_is_one_piece() -> None:
    text = b"\n" * 1000 + b" x\r\n"
    assert read(text) == [(0, text, False)]
    assert read(text + b"220-x\n" + text + b"220 y\n") == [
        (0, text, False),
        (220, b"220-x\n" + text + b"220 y\n", True),
    ]


@pytest.mark.parametrize("code", [99, 101, 600, 999])
def test_any_three_digits_are_a_code(code: int) -> None:
    assert read(b"%03d x\r\n" % code) == [(code, b"%03d x\r\n" % code, True)]
    assert not Reply(code, b"").is_positive
    assert Reply(code, b"").is_preliminary is (code == 101)


@pytest.mark.parametrize(
    ("data", "doubt"),
    [
        # curl and wget end a reply at any code and a space.
        (b"211-a\r\n213 b\r\n", 213),
        (b"553-a\r\nmore\r\n150 b\r\n", 150),
        # ftplib at its code and anything but a dash.
        (b"211-a\r\n211\r\n", 211),
        (b"211-a\r\n2111\r\n", 211),
        # lftp and ftplib begin one with three digits and anything but a dash.
        (b"2200 x\r\n", 220),
        (b"220:x\r\n", 220),
        # Nobody knows what comes of these, and they are in use.
        (b"211 211-a\r\n", 211),
        (b"211-a\r\n x\r\nEND\r\n", 211),
        # These are certain.
        (b"211-a\r\n", 0),
        (b"211-a\r\n213-b\r\n", 0),
        (b"211-a\r\n213 b\r\n x\r\n", 0),
        (b"211-a\r\n213 b\r\n211 c\r\n", 0),
        (b"hello\r\n", 0),
        (b"33 x\r\n", 0),
    ],
)
@pytest.mark.parametrize("cut", [1, 2, 1000])
def test_where_some_client_would_end_a_reply(data: bytes, doubt: int, cut: int) -> None:
    reader = ReplyReader(1000)
    raw = b""
    for at in range(0, len(data), cut):
        reader.push(data[at : at + cut])
        while (reply := reader.pull() or reader.rest()) is not None:
            raw += reply.raw
    assert reader.doubt == doubt
    assert raw == data
    if doubt:
        assert reader.settle() == Reply(doubt, b"")
        assert reader.is_empty
        assert read(b"220 x\n") == [(220, b"220 x\n", True)]


@pytest.mark.parametrize(
    ("data", "faint"), [(b"33 x\n", 300), (b"5\n", 500), (b"9 x\n", 500), (b"000 x\n", 500), (b"x\n", 0)]
)
def test_what_ftplib_alone_takes_for_a_reply(data: bytes, faint: int) -> None:
    reader = ReplyReader(1000)
    reader.push(data)
    assert (reader.pull() or reader.rest()) == Reply(0, data, complete=False)
    assert (reader.doubt, reader.faint) == (0, faint)
    reader.push(b"220 x\n")
    assert reader.pull() == Reply(220, b"220 x\n")
    assert reader.faint == 0


def test_telnet_commands_before_a_code_pass_and_hide_nothing() -> None:
    data = b"\xff\xfb\x01\xff\xf1220 x\r\n"
    assert read(data) == [(220, data, True)]


def test_a_line_has_no_limit_and_a_reply_has_one() -> None:
    line = b"220 " + b"x" * 50_000 + b"\r\n"
    pieces = [line[at : at + 4096] for at in range(0, len(line), 4096)]
    found = read(*pieces)
    assert [code for code, _, _ in found] == [220] * len(found)
    assert [complete for _, _, complete in found] == [False] * (len(found) - 1) + [True]
    assert b"".join(raw for _, raw, _ in found) == line
    assert max(len(raw) for _, raw, _ in found) <= PIECE + 4096
    with pytest.raises(ProtocolError, match="too long") as caught:
        read(*pieces, limit=40_000)
    assert caught.value.whose is Side.SERVER


def test_an_endless_reply_is_the_servers_fault() -> None:
    with pytest.raises(ProtocolError, match="too long"):
        read(b"200-a\n", *[b"\n"] * 1000, limit=1000)


@pytest.mark.parametrize(
    ("said", "names"),
    [
        (b"211-Ext:\r\n SIZE\r\n MDTM\r\n211 End\r\n", b"MDTM SIZE"),
        (b"211-Ext:\r\n211-SIZE\r\n211-MDTM\r\n211 End\r\n", b"MDTM SIZE"),
        (b"211-Ext:\nSIZE\nMDTM\r\r\n211 End\n", b"MDTM SIZE"),
        (b"211 211-Ext:\r\n size\r\n MDTM x\r\n211 END\r\n", b"MDTM SIZE"),
        (b"211-Ext:\r\n SIZE\r\n MDTM\r\n213 End\r\n", b"MDTM SIZE"),
        (b"211-SIZE\r\n211 MDTM\r\n", b"MDTM SIZE"),
        (b"211 no features\r\n", b""),
        (b"502 SIZE\r\n", b""),
    ],
)
def test_feat_however_it_is_listed(said: bytes, names: bytes) -> None:
    assert b" ".join(sorted(features_of(Reply(int(said[:3]), said)))) == names


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
