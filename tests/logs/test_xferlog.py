"""Lines of the xferlog, byte for byte, odd names included."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftp_records import TRANSFER, transfer_record
from log_rig import configuration
from pasvport.logformat.xferlog import is_file_transfer, xferlog_files, xferlog_line
from pasvport.model import Config
from pasvport.record import DataEnding, Direction, SessionRecord

NOW = 1793491200.9
FIELDS = re.compile(rb"Sun Nov  1 00:00:00 2026 (\d+) (\S+) (\d+) (\S+) ([ab]) _ ([oi]) ([ar]) (\S+) ftp 0 \* ([ci])\n")

pytestmark = pytest.mark.usefixtures("utc")


def written(entry: SessionRecord) -> bytes:
    return xferlog_line(entry, NOW)


def test_a_download() -> None:
    assert written(transfer_record()) == (
        b"Sun Nov  1 00:00:00 2026 2 10.0.1.2 500000 /pub/file_one b _ o r bob ftp 0 * c\n"
    )


def test_an_upload_in_ascii() -> None:
    entry = transfer_record(verb="STOR", direction=Direction.UPLOAD, data_type="A N", duration=61999, path=b"a")
    assert written(entry) == b"Sun Nov  1 00:00:00 2026 61 10.0.1.2 500000 a a _ i r bob ftp 0 * c\n"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"ending": DataEnding.CUT}, b" i\n"),
        ({"ending": DataEnding.COMPLETE, "code": 426}, b" i\n"),
        ({"ending": DataEnding.NONE, "code": 550, "size": 0}, b" 0 /pub/file_one b _ o r bob ftp 0 * i\n"),
        ({"duration": -1}, b" 2026 1 10.0.1.2 "),
        ({"duration": 1999}, b" 2026 1 10.0.1.2 "),
        ({"user": b"anonymous"}, b" a anonymous ftp "),
        ({"user": b"FTP"}, b" a FTP ftp "),
        ({"user": b""}, b" r ? ftp "),
        ({"user": b"a b\r\nc"}, b" r a_b__c ftp "),
        ({"path": b""}, b" 500000 - b "),
        ({"path": b" a\tb\n\r\x00\x1f\x7f"}, b" 500000 _a_b_____ b "),
        ({"path": "März".encode()}, " 500000 März b ".encode()),
        ({"path": b"\xff\xa0%s\\"}, b" 500000 \xff\xa0%s\\ b "),
    ],
)
def test_fields(changes: dict[str, object], field: bytes) -> None:
    assert field in written(transfer_record(**changes))


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_any_name_is_one_field(path: bytes, user: bytes) -> None:
    found = FIELDS.fullmatch(written(transfer_record(path=path, user=user)))
    assert found is not None
    assert len(found[4]) == len(path or b"-")
    assert len(found[8]) == len(user or b"?")


def test_an_ipv6_client() -> None:
    assert b" 2 2001:db8::7 500000 " in written(replace(transfer_record(), client_address="2001:db8::7"))


def test_listings_are_no_file_transfers() -> None:
    verbs = ("RETR", "STOR", "APPE", "STOU", "LIST", "NLST", "MLSD")
    assert [is_file_transfer(replace(TRANSFER, verb=verb)) for verb in verbs] == [True] * 4 + [False] * 3


def test_files_are_numbered_once_each() -> None:
    proxy = configuration(xferlog="/a").proxies[0]
    others = [replace(proxy, logging=replace(proxy.logging, xferlog=path)) for path in ("/b", None, "/a")]
    assert xferlog_files(Config(configuration().settings, (proxy, *others))) == ("/a", "/b")
