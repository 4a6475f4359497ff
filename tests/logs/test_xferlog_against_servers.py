"""The same transfers, written into their xferlogs by vsftpd and ProFTPD, and by us."""

from __future__ import annotations

import contextlib
import ftplib
import io
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from farm.servers import KINDS, PASSWORD, ROOT, Farm, Passive, Proftpd, Server, Vsftpd
from farm.waiting import until
from ftp_records import transfer_record
from log_rig import record
from pasvport.logformat.xferlog import xferlog_line
from pasvport.record import DataEnding, Direction, TransferRecord

pytestmark = pytest.mark.skipif(not (ROOT / "usr/sbin/vsftpd").exists(), reason="the farm is not installed")

ODD = "an odd  name.txt"
CONTENT = b"x" * 4321


def _xferlog(server: Server) -> Path:
    return server.folder / "xferlog"


class LoggingVsftpd(Vsftpd):
    """vsftpd with the log that wu-ftpd had."""

    def options(self) -> dict[str, str]:
        log = {"xferlog_std_format": "YES", "xferlog_file": str(_xferlog(self)), "no_anon_password": "NO"}
        return super().options() | log


class LoggingProftpd(Proftpd):
    """ProFTPD with its TransferLog."""

    def settings(self, users: Path) -> str:
        return super().settings(users).replace("TransferLog none", f"TransferLog {_xferlog(self)}")


LOGGING: dict[str, type[Server]] = {"vsftpd": LoggingVsftpd, "proftpd": LoggingProftpd}


@pytest.fixture(params=LOGGING)
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setitem(KINDS, request.param, LOGGING[request.param])
    with Farm((request.param,), passive=Passive.INSTALLED) as farm:
        farm.put(ODD, CONTENT)
        yield farm[request.param]


@contextlib.contextmanager
def logged_in(server: Server) -> Iterator[ftplib.FTP]:
    with ftplib.FTP(encoding="latin-1") as client:
        client.connect(server.host, server.port, 10)
        # vsftpd writes an anonymous user's password where its name would stand, so it is the name here.
        client.login(server.user, server.user if server.user == "anonymous" else PASSWORD)
        yield client


def transfer(verb: str, name: bytes, size: int, user: str, data_type: str, **changes: object) -> TransferRecord:
    direction = Direction.UPLOAD if verb == "STOR" else Direction.DOWNLOAD
    moved = {"verb": verb, "path": name, "size": size, "user": user.encode(), "data_type": data_type}
    entry = transfer_record(**{**moved, "direction": direction, "duration": 0, **changes})
    assert entry.transfer is not None
    return entry.transfer


def fields(line: bytes) -> list[bytes]:
    """What follows the date, which every line has as ctime(3) writes it."""
    moment = datetime.strptime(line[:24].decode(), "%a %b %d %H:%M:%S %Y")
    assert moment.ctime().encode() + b" " == line[:25]
    return line[25:].split(b" ")


def ours(entry: TransferRecord, client: str) -> list[bytes]:
    return fields(xferlog_line(record(client_address=client, transfer=entry), time.time()).rstrip(b"\n"))


def theirs(line: bytes) -> list[bytes]:
    """A server's line; its name is an absolute path, and for ProFTPD nothing may take no time."""
    found = fields(line)
    return [b"1" if found[0] == b"0" else found[0], *found[1:3], found[3].rpartition(b"/")[2], *found[4:]]


def test_lines_agree(server: Server) -> None:
    uploaded = b"up\x01 l\xe4ad"
    with logged_in(server) as client:
        client.cwd("pub")
        client.retrbinary(f"RETR {ODD}", io.BytesIO().write)
        client.storbinary(f"STOR {uploaded.decode('latin-1')}", io.BytesIO(b"12345"))
        # In ASCII, as ftplib leaves it after a listing.
        client.retrlines(f"RETR {ODD}", lambda line: None)
        with contextlib.suppress(ftplib.error_perm):
            client.retrbinary("RETR missing", io.BytesIO().write)
        client.dir(lambda line: None)
        assert client.sock is not None
        address = str(client.sock.getsockname()[0])
    missing = 1 if isinstance(server, Vsftpd) else 0
    until(lambda: _xferlog(server).read_bytes().count(b"\n") >= 3 + missing, "the server's xferlog")
    lines = _xferlog(server).read_bytes().splitlines()
    name, user = ODD.encode(), server.user
    expected = [
        transfer("RETR", name, len(CONTENT), user, "I"),
        transfer("STOR", uploaded, 5, user, "I"),
        transfer("RETR", name, len(CONTENT), user, "A"),
        transfer("RETR", b"missing", 0, user, "I", ending=DataEnding.NONE, code=550),
    ][: 3 + missing]
    written = list(map(theirs, lines))
    if isinstance(server, Vsftpd):
        # It writes what it cannot print as `?`; wu-ftpd and ProFTPD write `_` for controls and leave the rest.
        assert written[1][3] == b"up?_l?ad"
        written[1][3] = b"up__l\xe4ad"
    assert written == [ours(entry, address) for entry in expected]
