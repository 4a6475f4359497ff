"""A whole pasvport in `mode ftp`: its lines, its JSON on stdout and its xferlog, about what a real client did."""

from __future__ import annotations

import contextlib
import ftplib
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from farm.addresses import CONTROL_PORT
from farm.servers import PASSWORD, Farm, Passive, Server
from farm.waiting import until
from log_rig import port_of, udp_sink
from process_rig import Running

NAME = 'a "quoted" #1.bin'
CONTENT = b"x" * 100_000
SECRETS = (PASSWORD, "wr0ng-secret", "acc0unt-secret")


@dataclass
class Told:
    """What the balancer wrote about one client."""

    lines: list[str]
    objects: list[dict[str, object]]
    xferlog: str
    rotated: str
    everything: str


@pytest.fixture(scope="module")
def farm() -> Iterator[Farm]:
    with Farm(("proftpd",), passive=Passive.WRONG) as running:
        running.put(NAME, CONTENT)
        yield running


@pytest.fixture(scope="module")
def server(farm: Farm) -> Server:
    return farm["proftpd"]


def configuration(address: str, sink: int, xferlog: Path, server: Server) -> str:
    return f"""\
global
    nbthread 1
    log stdout format json local0
defaults
    mode ftp
    timeout client 20s
    timeout server 20s
    timeout connect 5s
frontend fe
    log global
    log 127.0.0.1:{sink} len 4096 format raw local0
    option ftplog
    option ftp-xferlog {xferlog}
    bind {address}:{CONTROL_PORT}
    bind {address}:50000-50009
    default_backend be
backend be
    server s {server.host}:{server.port}
"""


def converse(address: str, user: str, rotate: Callable[[], None]) -> None:
    """One client's session: a failed login, a download, an upload, a download of nothing."""
    with ftplib.FTP() as client:
        client.connect(address, CONTROL_PORT, 20)
        with pytest.raises(ftplib.error_perm):
            client.login(user, SECRETS[1])
        with contextlib.suppress(ftplib.Error):
            client.sendcmd(f"ACCT {SECRETS[2]}")
        client.login(user, PASSWORD)
        client.cwd("pub")
        taken = io.BytesIO()
        client.retrbinary(f"RETR {NAME}", taken.write)
        assert taken.getvalue() == CONTENT
        rotate()
        client.storbinary("STOR up load", io.BytesIO(b"12345"))
        with pytest.raises(ftplib.error_perm):
            client.retrbinary("RETR missing", taken.write)
        client.quit()


@pytest.fixture(scope="module")
def told(farm: Farm, server: Server, tmp_path_factory: pytest.TempPathFactory) -> Told:
    folder = tmp_path_factory.mktemp("logs")
    xferlog, old = folder / "xferlog", folder / "xferlog.1"

    def rotate() -> None:
        until(lambda: xferlog.exists() and xferlog.read_text().endswith("\n"), "the first line")
        xferlog.rename(old)

    with udp_sink() as sink:
        text = configuration(farm.balancer, port_of(sink), xferlog, server)
        with Running(folder, text, "-db") as running:
            converse(farm.balancer, server.user, rotate)
            lines = [sink.recv(65536).decode() for _ in range(4)]
            until(lambda: running.output().count('"type":"session"') == 1, "the session's object")
            until(lambda: xferlog.exists() and xferlog.read_text().count("\n") == 2, "the xferlog")
            output = running.output()
    objects = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    written = (xferlog.read_text(), old.read_text())
    return Told(lines, objects, *written, "".join((*lines, output, *written)))


def test_a_line_for_each_transfer_and_one_for_the_session(told: Told, server: Server) -> None:
    transfers, session = told.lines[:-1], told.lines[-1]
    head = r"127\.0\.0\.1:\d+ \[[^]]+\] fe be/s "
    user = server.user
    data = r"I PASV/(?:PASV|EPSV):\d+ "
    name = r"a #22quoted#22 #231\.bin"
    patterns = [
        rf'{head}\d+/\d+/\d+ 100000 -- \d+ "{user}" download RETR "{name}" {data}226/226 complete \d+\n',
        rf'{head}\d+/\d+/\d+ 5 -- \d+ "{user}" upload STOR "up load" {data}226/226 complete \d+\n',
        rf'{head}-?\d+/-?\d+/-1 0 SR \d+ "{user}" download RETR "missing" {data}550/550 - -\n',
    ]
    for line, pattern in zip(transfers, patterns, strict=True):
        assert re.fullmatch(pattern, line), line
    line = rf'{head}\d+/\d+/\d+ \d+ -- 1/1/\d+/\d+/0 0/0 "{user}" 1/1 \d+/\d+ 3/1 5/100000 "QUIT" "{user}"\n'
    assert re.fullmatch(line, session), session


def test_the_same_as_json(told: Told, server: Server) -> None:
    found = [entry for entry in told.objects if entry["type"] != "message"]
    assert [entry["type"] for entry in found] == ["transfer"] * 3 + ["session"]
    keys = ("transfer_verb", "transfer_path", "transfer_size", "transfer_ending", "transfer_code", "transfer_user")
    assert [[entry[key] for key in keys] for entry in found[:3]] == [
        ["RETR", NAME, 100_000, "complete", 226, server.user],
        ["STOR", "up load", 5, "complete", 226, server.user],
        ["RETR", "missing", 0, None, 550, server.user],
    ]
    session = found[3]
    assert {entry["session_number"] for entry in found} == {session["session_number"]}
    assert (session["event"], session["server"], session["ftp_login_failures"]) == ("ended", "s", 1)
    assert (session["ftp_bytes_in"], session["ftp_bytes_out"]) == (5, 100_000)


def test_the_xferlog_and_its_rotation(told: Told, server: Server) -> None:
    date = r"[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4} \d+ 127\.0\.0\.1 "
    tail = rf" r {server.user} ftp 0 \* "
    assert re.fullmatch(rf'{date}100000 a_"quoted"_#1\.bin b _ o{tail}c\n', told.rotated), told.rotated
    assert re.fullmatch(rf"{date}5 up_load b _ i{tail}c\n{date}0 missing b _ o{tail}i\n", told.xferlog), told.xferlog


def test_secrets_are_in_none_of_them(told: Told) -> None:
    assert not [secret for secret in SECRETS if secret in told.everything]
