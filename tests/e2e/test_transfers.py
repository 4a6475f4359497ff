"""What clients do beyond plain transfers: resume, append, abort, many at once, very much."""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import io
import os
import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from farm.arena import reset
from farm.clients import Curl, Lftp, Target
from farm.page import Page, kinds_for, logged_in, same_bytes
from farm.raw_client import DM, IAC, IP, RawClient, read_to_end
from farm.servers import Passive, Security
from pasvport.ftp.passive import parse_227

MIDDLE = random.Random(1635).randbytes(3_000_017)
KINDS = kinds_for(Security.PLAIN)


WAYS = {
    "haproxy": ("haproxy", "tcp", Passive.AGREED),
    "pasvport": ("pasvport", "tcp", Passive.AGREED),
    "mode-ftp": ("pasvport", "ftp", Passive.WRONG),
}


@pytest.fixture(scope="module", params=WAYS)
def page(request: pytest.FixtureRequest) -> Iterator[Page]:
    balancer, mode, passive = WAYS[request.param]
    with Page(balancer, KINDS, mode=mode, passive=passive) as running:
        running.put("middle", MIDDLE)
        yield running


@pytest.mark.parametrize("server", KINDS)
def test_resume_download(page: Page, tmp_path: Path, server: str) -> None:
    got = tmp_path / "got"
    got.write_bytes(MIDDLE[:1_234_567])
    Curl().resume(page.target_of(server), "middle", got)
    assert got.read_bytes() == MIDDLE


@pytest.mark.parametrize("server", KINDS)
def test_resume_upload(page: Page, server: str) -> None:
    with logged_in(page, page.source_of(server)) as (reached, session):
        session.storbinary("STOR pub/resumed", io.BytesIO(MIDDLE[:1_000_000]))
        session.storbinary("STOR pub/resumed", io.BytesIO(MIDDLE[900_000:]), rest=900_000)
    assert reached.name == server
    assert (reached.pub / "resumed").read_bytes() == MIDDLE


@pytest.mark.parametrize("server", KINDS)
def test_append(page: Page, tmp_path: Path, server: str) -> None:
    target = page.target_of(server)
    part = tmp_path / "part"
    for text in (b"one ", b"two ", b"three"):
        part.write_bytes(text)
        Curl().append(target, part, "appended")
    appended = page.farm[server].pub / "appended"
    assert appended.read_bytes() == b"one two three"
    appended.unlink()


@pytest.mark.parametrize("server", KINDS)
@pytest.mark.parametrize("way", ["in-band", "urgent", "synch"])
def test_abort(page: Page, server: str, way: str) -> None:
    """As ftplib's abort() sends it, the LF is an urgent byte, which a relay without SO_OOBINLINE loses; as RFC 959
    section 4.1.3 wants it, Telnet's Interrupt Process and Synch come before the command."""
    if way != "in-band" and page.kind == "haproxy":
        pytest.skip("HAProxy drops the urgent byte and the session hangs")
    if way == "urgent" and page.mode == "tcp" and server == "proftpd":
        pytest.skip("ProFTPD, asked directly, loses the urgent LF too, and takes the next command into the line")
    with logged_in(page, page.source_of(server)) as (_, session):
        data = session.transfercmd("RETR pub/middle")
        assert data.recv(1000)
        assert session.sock is not None
        if way == "synch":
            session.sock.send(IAC + IP + IAC, socket.MSG_OOB)
            session.sock.sendall(DM + b"ABOR\r\n")
        else:
            session.sock.sendall(b"ABOR\r\n", socket.MSG_OOB if way == "urgent" else 0)
        data.close()
        # One reply or two, depending on the server; the session goes on with whatever comes first.
        session.getmultiline()
        session.putcmd("PWD")
        while not session.getmultiline().startswith("257"):
            pass
        content = io.BytesIO()
        session.retrbinary("RETR pub/whoami.txt", content.write)
        assert content.getvalue().decode() == server


ANSWERED = {"vsftpd": ("500", "426"), "proftpd": ("426", "426"), "pyftpdlib": ("426", "426")}
"""What each answers directly to ftplib's abort() and to Telnet's Synch while its data is not read. vsftpd cuts Telnet's
four bytes off, whether they are there or not; Pure-FTPd does not answer before the data connection is closed."""


@pytest.mark.parametrize("server", KINDS)
@pytest.mark.parametrize("way", ["urgent", "synch"])
def test_an_urgent_abort_is_answered_while_nothing_is_read(page: Page, server: str, way: str) -> None:
    """In `mode tcp` as the server answers it directly: the mark is not lost on the way."""
    if page.kind == "haproxy" or (page.mode == "tcp" and server not in ANSWERED):
        pytest.skip("nobody answers then")
    os.truncate(page.farm[server].put("huge", b""), 1 << 30)
    with logged_in(page, page.source_of(server)) as (_, session):
        session.voidcmd("TYPE I")
        data = session.transfercmd("RETR pub/huge")
        with data:
            assert data.recv(1000)
            assert session.sock is not None
            if way == "urgent":
                session.sock.sendall(b"ABOR\r\n", socket.MSG_OOB)
            else:
                session.sock.send(IAC + IP + IAC, socket.MSG_OOB)
                session.sock.sendall(DM + b"ABOR\r\n")
            answer = session.getmultiline()[:3]
        if page.mode == "tcp":
            assert answer == ANSWERED[server][way == "synch"]
        else:
            assert answer in ("225", "226", "426")


@contextlib.contextmanager
def raw(page: Page, server: str) -> Iterator[RawClient]:
    """A session on that server, logged in, in its directory, in binary type."""
    with RawClient((page.farm.balancer, page.security.control_port), page.source_of(server)) as client:
        client.log_in(page.farm[server].user)
        client.send("CWD pub", "TYPE I")
        client.expect(250)
        client.expect(200)
        yield client


@pytest.mark.parametrize("page", ["pasvport", "mode-ftp"], indirect=True)
@pytest.mark.parametrize("server", KINDS)
def test_an_urgent_byte_in_an_upload(page: Page, server: str) -> None:
    """It stops splice, without a word or as an end would: nothing behind it is lost. The servers overlook the byte."""
    with raw(page, server) as client, client.passive() as data:
        client.ask("STOR urgent", 125, 150)
        data.sendall(MIDDLE[:2_000_000])
        data.send(b"!", socket.MSG_OOB)
        data.sendall(MIDDLE[2_000_000:])
        data.close()
        client.expect(226)
        assert (page.farm[server].pub / "urgent").read_bytes() == MIDDLE


@pytest.mark.parametrize("page", ["mode-ftp"], indirect=True)
@pytest.mark.parametrize("server", KINDS)
def test_commands_ahead_of_their_time(page: Page, server: str) -> None:
    """Sent in one segment: answered in order, each when it can be, whatever the server makes of such a client."""
    with raw(page, server) as client:
        client.send("SIZE middle", "EPSV", "RETR middle", "SYST", "PASV", "NLST", "PWD", "QUIT")
        assert client.expect(213).text == b"%d" % len(MIDDLE)
        with client.dial(int(client.expect(229).text.split(b"|")[3])) as data:
            client.expect(125, 150)
            assert read_to_end(data) == MIDDLE
        client.expect(226)
        client.expect(215)
        with client.dial(parse_227(client.expect(227).text).port) as data:
            client.expect(125, 150)
            assert b"whoami.txt" in read_to_end(data)
        client.expect(226)
        client.expect(257)
        client.expect(221)
        client.expect_end()


@pytest.mark.parametrize("page", ["mode-ftp"], indirect=True)
@pytest.mark.parametrize("server", [kind for kind in KINDS if kind != "pureftpd"])
def test_signs_of_life_during_a_transfer(page: Page, server: str) -> None:
    """Some servers answer NOOP at once, others later; Pure-FTPd forgets it now and then, asked directly too."""
    with raw(page, server) as client, client.passive() as data:
        client.ask("RETR middle", 125, 150)
        begun = data.recv(1)
        client.send("NOOP", "NOOP")
        assert begun + read_to_end(data) == MIDDLE
        assert sorted(client.reply().code for _ in range(3)) == [200, 200, 226]
        client.ask("PWD", 257)
        client.quit()


@pytest.mark.parametrize("page", ["mode-ftp"], indirect=True)
@pytest.mark.parametrize("server", KINDS)
def test_last_words(page: Page, server: str) -> None:
    """A client that will say nothing more still gets what it asked for."""
    with raw(page, server) as client, client.passive() as data:
        client.send("RETR middle")
        client.control.shutdown(socket.SHUT_WR)
        client.expect(125, 150)
        assert read_to_end(data) == MIDDLE
        client.expect(226)
        client.expect_end()


@pytest.mark.parametrize("page", ["mode-ftp"], indirect=True)
@pytest.mark.parametrize("server", KINDS)
def test_what_the_client_cuts_short_is_no_success(page: Page, server: str) -> None:
    with raw(page, server) as client:
        data = client.passive()
        client.ask("STOR cut", 125, 150)
        data.sendall(b"the beginning")
        reset(data)
        assert 400 <= client.reply().code < 600
        data = client.passive()
        client.ask("RETR middle", 125, 150)
        assert data.recv(1) == MIDDLE[:1]
        reset(data)
        assert 400 <= client.reply().code < 600
        assert client.receive("RETR whoami.txt").decode() == server
        client.quit()


@pytest.mark.parametrize("server", KINDS)
def test_segmented_download(page: Page, tmp_path: Path, server: str) -> None:
    """lftp's pget: several sessions of one client, each with its own data connection, at once."""
    got = tmp_path / "got"
    Lftp().parallel(page.target_of(server), "middle", got)
    assert got.read_bytes() == MIDDLE


def fetch_and_store(page: Page, source: str, number: int) -> tuple[str, str]:
    """(server of the control connection, server that the data named) after a download and an upload."""
    with logged_in(page, source) as (server, session):
        session.retrlines("LIST pub", lambda line: None)
        seen = io.BytesIO()
        session.retrbinary("RETR pub/whoami.txt", seen.write)
        name = f"from-{number}"
        content = random.Random(number).randbytes(1000 + number)
        session.storbinary(f"STOR pub/{name}", io.BytesIO(content))
        assert (server.pub / name).read_bytes() == content
        with contextlib.suppress(EOFError):
            session.quit()
        return server.name, seen.getvalue().decode()


def test_fifty_addresses_four_sessions_each(page: Page) -> None:
    sources = [page.new_source() for _ in range(50)]
    visits = sources * 4
    random.Random(50).shuffle(visits)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        landed = list(pool.map(fetch_and_store, [page] * len(visits), visits, range(len(visits))))
    assert [control for control, _ in landed] == [data for _, data in landed]
    homes = {
        source: {server for where, (server, _) in zip(visits, landed, strict=True) if where == source}
        for source in sources
    }
    assert all(len(servers) == 1 for servers in homes.values()), homes
    assert set().union(*homes.values()) == set(KINDS)


@pytest.mark.slow
def test_three_hundred_megabytes(page: Page, tmp_path: Path) -> None:
    big = tmp_path / "big"
    block = os.urandom(1 << 20)
    with big.open("wb") as file:
        for number in range(300):
            file.write(hashlib.sha256(b"%d" % number).digest() + block[32:])
    target: Target = page.target_of("pyftpdlib")
    Curl().upload(target, big, "big")
    stored = page.farm["pyftpdlib"].pub / "big"
    assert same_bytes(big, stored)
    back = tmp_path / "back"
    Curl().download(target, "big", back)
    assert same_bytes(big, back)
    for path in (big, stored, back):
        path.unlink()
