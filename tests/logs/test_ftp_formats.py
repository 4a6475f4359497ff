"""Aliases and fetches of mode ftp: on full, empty and absent records, with names that a stranger chose."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftp_records import EMPTY_TRANSFER, FTP, TRANSFER, ftp_record, transfer_record
from log_rig import record
from pasvport.config.keywords_option import FTP_TRANSFER_FORMAT as LANGUAGE_TRANSFER_FORMAT
from pasvport.config.keywords_option import FTPLOG_FORMAT as LANGUAGE_FORMAT
from pasvport.logformat import FTP_TRANSFER_FORMAT, FTPLOG_FORMAT, TCPLOG_FORMAT, compile_format
from pasvport.logformat.facts import FTP_FACTS, TRANSFER_FACTS
from pasvport.record import Direction, FtpSessionRecord, SessionRecord

pytestmark = pytest.mark.usefixtures("utc")

SESSION_VALUES = {
    "Fu ftp.user": ("alice", "-"),
    "Fl ftp.logged_in": ("1", "0"),
    "Ffu ftp.failed_user": ("admin", "-"),
    "Fh ftp.virtual_host": ("ftp.example", "-"),
    "Fc ftp.commands": ("12", "0"),
    "Frf ftp.refused_commands": ("1", "0"),
    "Fx ftp.transfers": ("3", "0"),
    "Fxf ftp.failed_transfers": ("2", "0"),
    "FU ftp.bytes_in": ("4096", "0"),
    "FB ftp.bytes_out": ("1048576", "0"),
    "Flf ftp.login_failures": ("4", "0"),
    "Fst ftp.strangers": ("5", "0"),
    "Fcf ftp.conflicts": ("8", "0"),
    "Fry ftp.strays": ("6", "0"),
    "Frd ftp.redispatches": ("7", "0"),
    "Fb ftp.blind": ("1", "0"),
    "FR ftp.reason": ("the client said QUIT", "-"),
}
TRANSFER_VALUES = {
    "Xn ftp.transfer.number": ("9", "1"),
    "Xv ftp.transfer.verb": ("RETR", "LIST"),
    "Xp ftp.transfer.path": ("/pub/file one", "-"),
    "Xd ftp.transfer.direction": ("download", "download"),
    "Xu ftp.transfer.user": ("bob", "-"),
    "Xs ftp.transfer.server": ("s2", "<NOSRV>"),
    "Xty ftp.transfer.type": ("I", "A"),
    "Xr ftp.transfer.restart": ("100", "0"),
    "XB ftp.transfer.size": ("500000", "0"),
    "Xcm ftp.transfer.client_mode": ("EPSV", "-"),
    "Xsm ftp.transfer.server_mode": ("PASV", "-"),
    "Xdp ftp.transfer.port": ("50007", "0"),
    "Xc ftp.transfer.code": ("226", "0"),
    "Xsc ftp.transfer.server_code": ("250", "0"),
    "Xe ftp.transfer.ending": ("complete", "-"),
    "Xts ftp.transfer.termination_state": ("CD", "--"),
    "Xci ftp.transfer.peer": ("10.0.1.3", "-"),
    "Xt ftp.transfer.date": ("23/Nov/2026:03:09:13.250", "-"),
    "XTw ftp.transfer.client_wait": ("5", "-1"),
    "XTc ftp.transfer.connect_time": ("2", "-1"),
    "XTt ftp.transfer.duration": ("2500", "-1"),
    "XR ftp.transfer.rate": ("200000", "-"),
}
ITEMS = {**SESSION_VALUES, **TRANSFER_VALUES}
NAMES = tuple(ITEMS)
_THEIRS = """
    B CC CS H HM HP HPO HQ HU HV ID ST T Ta Tc Td Th Ti Tl TR Tq Tr Ts Tt Tu Tw U ac b bc bi bp bq ci cp f fc fi fp ft
    hr hrl hs hsl lc ms pid r rc rt s sc si sp sq sslc sslv t tr trg trl ts tsc o
"""


def empty_record() -> SessionRecord:
    return record(ftp=FtpSessionRecord(), transfer=EMPTY_TRANSFER)


def line(text: str, entry: SessionRecord) -> str:
    return compile_format(text)(entry)


def test_every_fact_is_tested() -> None:
    assert [f"{fact.alias} {fact.fetch}" for fact in (*FTP_FACTS, *TRANSFER_FACTS)] == list(NAMES)


def test_no_alias_of_haproxy_means_something_else() -> None:
    assert not set(_THEIRS.split()) & {name.split()[0] for name in NAMES}


@pytest.mark.parametrize("names", NAMES)
def test_alias_and_fetch(names: str) -> None:
    alias, fetch = names.split()
    full, empty = ITEMS[names]
    both = f"%{alias} %[{fetch}]"
    assert line(both, transfer_record()) == f"{full} {full}"
    assert line(both, empty_record()) == f"{empty} {empty}"
    # A session in mode tcp knows nothing of either.
    assert line(both, record()) == "- -"


@pytest.mark.parametrize("names", NAMES)
def test_a_format_that_names_it_waits_for_the_end(names: str) -> None:
    alias, fetch = names.split()
    for text in (f"%{alias}", f"%[{fetch}]"):
        renderer = compile_format(text)
        assert renderer.needs_end
        assert renderer.needs == {"ftp" if names in SESSION_VALUES else "transfer"}


def test_a_session_line_has_no_transfer() -> None:
    assert line("%Fu %Xp %[ftp.transfer.size]", ftp_record()) == "alice - -"


def test_flags() -> None:
    assert line("%{+Q}Fu %{+Q}Xp %{+Q}Xe %{+Q}[ftp.user] %{+Q}Fc", transfer_record()) == (
        '"alice" "/pub/file one" "complete" "alice" 12'
    )
    assert line("%{+Q}Fu %{+Q}Xp %{+Q}[ftp.transfer.path]", record()) == '"" "" ""'
    assert line("%{+E}Fu %{+E}[ftp.user]", ftp_record(user=b"a]b\\c")) == r"a\]b\\c a\]b\\c"


def test_converters_see_what_was_said() -> None:
    assert line("%[ftp.user,upper] %[ftp.transfer.path,lower]", transfer_record(path=b'A"B')) == "ALICE a#22b"


@pytest.mark.parametrize(
    ("path", "written"),
    [
        (b'a" "b', "a#22 #22b"),
        (b"a#22b", "a#2322b"),
        (b"a\r\nb\x00\x7f", "a#0D#0Ab#00#7F"),
        ("März".encode(), "M#C3#A4rz"),
        (b"\xff\xfe", "#FF#FE"),
        (b"%s %Fu", "%s %Fu"),
    ],
)
def test_odd_names(path: bytes, written: str) -> None:
    assert line("%Xp", transfer_record(path=path)) == written
    assert line("%{+Q}Xp", transfer_record(path=path)) == f'"{written}"'
    assert line("%[ftp.transfer.path]", transfer_record(path=path)) == written
    assert line("%Fu", ftp_record(user=path)) == written


@given(st.binary(max_size=60), st.binary(max_size=60), st.text(max_size=30))
def test_a_name_never_leaves_its_quotes(user: bytes, path: bytes, reason: str) -> None:
    text = line('%{+Q}Fu %{+Q}Xp %{+Q}FR "%[ftp.user]"', record_of(user, path, reason))
    assert text.isascii()
    assert text.isprintable()
    found = re.fullmatch(r'"([^"]*)" "([^"]*)" "[^"]*" "[^"]*"', text)
    assert found is not None
    told = (b"" if user == b"-" else user, b"" if path == b"-" else path)
    assert tuple(map(_unescaped, found.groups())) == told


def record_of(user: bytes, path: bytes, reason: str) -> SessionRecord:
    entry = transfer_record(path=path)
    assert entry.ftp is not None
    entry.ftp.user, entry.ftp.reason = user, reason
    return entry


def _unescaped(text: str) -> bytes:
    return re.sub(rb"#([0-9A-F]{2})", lambda found: bytes.fromhex(found[1].decode()), text.encode())


def test_rate_of_a_transfer_too_short_to_measure() -> None:
    assert line("%XR", transfer_record(duration=0, size=70)) == "70000"
    assert line("%XR", transfer_record(duration=0, size=0)) == "0"
    assert line("%XR", transfer_record(duration=3, size=1000)) == "333333"


# --- the default formats ------------------------------------------------------------------------------------------


def test_the_language_writes_the_same_formats() -> None:
    assert (LANGUAGE_FORMAT, LANGUAGE_TRANSFER_FORMAT) == (FTPLOG_FORMAT, FTP_TRANSFER_FORMAT)


def test_line_of_a_session() -> None:
    text = line(FTPLOG_FORMAT, ftp_record())
    assert text == (
        "10.0.1.2:33312 [23/Nov/2026:03:09:11.476] www be/s1 1/2/33 11 -- 1/1/0/0/0 0/0 "
        '"alice" 1/4 12/1 3/2 4096/1048576 "the client said QUIT" "admin"'
    )
    assert text.startswith(line(TCPLOG_FORMAT, ftp_record()) + " ")


def test_line_of_a_session_without_a_login() -> None:
    assert line(FTPLOG_FORMAT, record(ftp=FtpSessionRecord())).endswith(' 0/0 "" 0/0 0/0 0/0 0/0 "" ""')


def test_lines_of_transfers() -> None:
    assert line(FTP_TRANSFER_FORMAT, transfer_record()) == (
        "10.0.1.2:33312 [23/Nov/2026:03:09:13.250] www be/s2 5/2/2500 500000 CD 9 "
        '"bob" download RETR "/pub/file one" I EPSV/PASV:50007 226/250 complete 200000'
    )
    upload = transfer_record(verb="STOU", direction=Direction.UPLOAD, path=b"")
    assert ' 9 "bob" upload STOU "" I ' in line(FTP_TRANSFER_FORMAT, upload)
    assert line(FTP_TRANSFER_FORMAT, empty_record()) == (
        '10.0.1.2:33312 [-] www be/<NOSRV> -1/-1/-1 0 -- 1 "" download LIST "" A -/-:0 0/0 - -'
    )


def test_secrets_have_no_field() -> None:
    fields = {*FTP.__dataclass_fields__, *TRANSFER.__dataclass_fields__}
    assert not {name for name in fields if "pass" in name or "acct" in name or "secret" in name}
