"""AUTH TLS in `mode ftp` without a certificate: refused, or passed on, beside sessions in clear text."""

from __future__ import annotations

import concurrent.futures
import contextlib
import io
import random
import signal
import socket
from collections.abc import Iterator

import pytest

from farm.addresses import CONTROL_PORT
from farm.arena import until_closed
from farm.clients import Target, open_ftplib
from farm.front import Front, Section
from farm.page import Page
from farm.raw_client import RawClient, read_to_end
from farm.scripted import Conversation, Scripted
from farm.servers import Security

KINDS = ("vsftpd", "proftpd", "pyftpdlib")
CONTENT = random.Random(4217).randbytes(400_000)


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    defaults = "    option ftp-auth-tls pass"
    with Page("pasvport", KINDS, Security.EXPLICIT, mode="ftp", extra_defaults=defaults) as running:
        for server in running.farm.servers:
            server.put("content", server.name.encode() + CONTENT)
        yield running


@contextlib.contextmanager
def plain(page: Page, name: str, source: str) -> Iterator[RawClient]:
    with RawClient((page.farm.balancer, CONTROL_PORT), source) as client:
        client.log_in(page.farm[name].user)
        client.ask("TYPE I", 200)
        yield client


def in_clear(page: Page, name: str, source: str) -> bytes:
    with plain(page, name, source) as client:
        got = client.receive("RETR pub/content")
        client.store("STOR pub/in-clear", CONTENT)
        client.quit()
        return got


def protected(page: Page, name: str, source: str) -> bytes:
    got = io.BytesIO()
    with open_ftplib(page.target(source, page.farm[name].user)) as session:
        session.retrbinary("RETR pub/content", got.write)
        session.storbinary("STOR pub/protected", io.BytesIO(CONTENT))
    return got.getvalue()


def test_both_on_one_range_at_once(page: Page) -> None:
    """Clients of different addresses; each name's own content says that nobody got another's."""
    visits = []
    for number in range(18):
        name = KINDS[number % len(KINDS)]
        source = page.source_of(name) if number < 3 else page.new_source()
        visits.append((protected if number % 2 else in_clear, source))
    homes = {
        source: next(name for name in KINDS if page.farm[name].greeting in page.greeter(source).greeting)
        for _, source in visits
    }
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        waiting = [(pool.submit(visit, page, homes[source], source), homes[source]) for visit, source in visits]
        for future, name in waiting:
            assert future.result() == name.encode() + CONTENT
    assert set(homes.values()) == set(KINDS)
    for name in KINDS:
        assert (page.farm[name].pub / "in-clear").read_bytes() == CONTENT


@pytest.mark.parametrize("name", KINDS)
def test_both_of_one_address(page: Page, name: str) -> None:
    """A blind and a plain session of one client, in turns."""
    source = page.source_of(name)
    with plain(page, name, source) as clear, open_ftplib(page.target(source, page.farm[name].user)) as session:
        for _ in range(3):
            got = io.BytesIO()
            session.retrbinary("RETR pub/content", got.write)
            assert got.getvalue() == name.encode() + CONTENT
            data = clear.passive()
            clear.ask("RETR pub/content", 125, 150)
            session.storbinary("STOR pub/meanwhile", io.BytesIO(CONTENT))
            assert read_to_end(data) == name.encode() + CONTENT
            clear.expect(226)


def test_nobody_without_a_session_is_let_in(page: Page) -> None:
    """The range listens, but leads nowhere for an address that has neither a lease nor an entry in the table."""
    source = page.new_source()
    with (
        contextlib.suppress(ConnectionResetError),  # which may come before connect() has looked
        socket.create_connection((page.farm.balancer, 50007), 20, (source, 0)) as stranger,
    ):
        assert until_closed(stranger) == b""


@pytest.fixture(scope="module")
def front(page: Page) -> Iterator[Front]:
    one = f"server s {page.farm['pyftpdlib'].host}:{CONTROL_PORT}"
    with Scripted() as clear:
        passing = Section("passing", f"option ftp-auth-tls pass\nserver s {clear.address}")
        with Front(Section("refusing", one), passing) as running:
            yield running


def test_refused_by_default(front: Front) -> None:
    with front.client("refusing") as client:
        listed = b"\n".join(client.ask("FEAT", 211).lines)
        assert not any(word in listed for word in (b"AUTH", b"PBSZ", b"PROT"))
        assert b"EPSV" in listed
        client.ask("AUTH TLS", 534)
        client.log_in("farmer")
        assert client.receive("RETR pub/whoami.txt") == b"pyftpdlib"


def test_a_server_that_refuses_auth_goes_on_in_clear(front: Front) -> None:
    with front.client("passing") as client:
        client.ask("AUTH TLS", 502)
        client.log_in("u")
        assert client.receive("RETR pub/whoami.txt") == b"scripted"


def test_a_blind_session_during_a_soft_stop(page: Page) -> None:
    """Its data connections come unannounced, and are still its own."""
    server = page.farm["pyftpdlib"]
    lines = f"option ftp-auth-tls pass\nserver s {server.host}:{server.port}"
    binds = "bind {host}:{port}\nbind {host}:50000-50049"
    with Front(Section("fe", lines, binds)) as front:
        target = Target(front.host("fe"), CONTROL_PORT, server.user, Security.EXPLICIT)
        with open_ftplib(target) as session:
            front.balancer.signal(signal.SIGUSR1)
            front.sink.until_text("Proxy fe stopped")
            got = io.BytesIO()
            session.retrbinary("RETR pub/content", got.write)
            assert got.getvalue() == b"pyftpdlib" + CONTENT


def test_a_data_connection_of_a_blind_session_is_logged_as_nobodys(page: Page) -> None:
    """Who opened it only TLS knows; above all it is not the user whose session was logged last."""

    def go_blind(talk: Conversation, argument: str) -> None:
        talk.say("234 Go on")
        while data := talk.control.recv(1000):
            talk.control.sendall(data)

    with Scripted(answers={"AUTH": go_blind}) as server:
        section = Section("fe", f"option ftp-auth-tls pass\nretries 0\nserver s {server.address}")
        with Front(section, threads=1) as front, front.client("fe") as blind:
            blind.ask("AUTH TLS", 234)
            with front.client("fe") as other:
                other.log_in("somebody")
                other.quit()
            front.sink.until_text('"somebody"')
            assert blind.knock(50007) == b""
            (line,) = front.sink.until_text(" SC ")
            assert "somebody" not in line
            assert "QUIT" not in line
