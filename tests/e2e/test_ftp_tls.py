"""AUTH TLS in `mode ftp` without a certificate: refused, or passed on, beside sessions in clear text."""

from __future__ import annotations

import concurrent.futures
import contextlib
import io
import random
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

import pytest

from farm.addresses import CONTROL_PORT
from farm.arena import until_closed
from farm.certificates import write_certificate
from farm.clients import Target, open_ftplib
from farm.front import Front, Section
from farm.page import Page
from farm.raw_client import RawClient, read_to_end
from farm.scripted import Conversation, Scripted
from farm.servers import Security
from farm.waiting import PATIENCE

T = TypeVar("T")
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


def echo_blindly(talk: Conversation, argument: str) -> None:
    talk.say("234 Go on")
    while data := talk.control.recv(1000):
        talk.control.sendall(data)


def test_sessions_have_their_data_where_maxconn_is_reached() -> None:
    """Data connections need no slots of their own, but for those of blind sessions beyond one each."""
    with (
        Scripted(answers={"AUTH": echo_blindly}) as server,
        socket.create_server((server.address.partition(":")[0], 50007)) as data_port,
    ):
        data_port.settimeout(PATIENCE)
        section = Section("fe", f"option ftp-auth-tls pass\nmaxconn 3\nserver s {server.address}")
        with Front(section, threads=1) as front, contextlib.ExitStack() as stack:
            clear = [stack.enter_context(front.client("fe")) for _ in range(2)]
            blind = stack.enter_context(front.client("fe", "127.0.0.9"))
            blind.ask("AUTH TLS", 234)
            for client in clear:
                client.log_in("u")
                assert client.receive("RETR x") == b"scripted"
            for _ in range(2):
                with blind.dial(50007) as data, data_port.accept()[0] as sent:
                    sent.sendall(b"for blind eyes")
                    assert data.recv(100) == b"for blind eyes"
                    assert blind.knock(50007) == b""
                    sent.close()
                    assert data.recv(100) == b""
                front.until_stat("fe", "scur", lambda count: count == 3)
            assert clear[0].receive("RETR x") == b"scripted"
            with contextlib.suppress(TimeoutError), front.client("fe", patience=0.5):
                raise AssertionError("what was borrowed was given back as if it had been taken")


# --- AUTH, answered in many ways ----------------------------------------------------------------------------------

CONSENTS = ("234 go", "200 go", "235 go", "334 go", "200-TLS\n200 go")


@pytest.fixture(scope="module")
def tls_front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """A section for each answer to AUTH; the server speaks TLS after all of them."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(write_certificate(tmp_path_factory.mktemp("tls")))

    def consent(talk: Conversation, argument: str, answer: str) -> None:
        talk.say(*answer.split("\n"))
        with context.wrap_socket(talk.control, server_side=True) as secured:
            while data := secured.recv(1000):
                secured.sendall(b"200 heard " + data)

    with contextlib.ExitStack() as stack:
        sections = []
        for number, answer in enumerate(CONSENTS):
            server = stack.enter_context(Scripted(answers={"AUTH": partial(consent, answer=answer)}))
            sections.append(Section(f"tls{number}", f"option ftp-auth-tls pass\nserver s {server.address}"))
        no = stack.enter_context(Scripted(answers={"AUTH": "500 no"}))
        sections.append(Section("no", f"option ftp-auth-tls pass\nserver s {no.address}"))
        yield stack.enter_context(Front(*sections))


class Handshake:
    """TLS over a control connection, whose first bytes the test may send when it likes."""

    def __init__(self, client: RawClient) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self._client, self._control = client, client.control
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out)
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()
        self.hello = self._out.read()

    def finish(self) -> None:
        """Everything behind the hello; what came behind the answer to AUTH belongs to it."""
        self._in.write(self._client.rest())
        self._drive(self._tls.do_handshake)

    def ask(self, line: bytes) -> bytes:
        self._drive(lambda: self._tls.write(line))
        return self._drive(lambda: self._tls.read(1000))

    def _drive(self, step: Callable[[], T]) -> T:
        while True:
            try:
                value = step()
            except ssl.SSLWantReadError:
                self._control.sendall(self._out.read())
                data = self._control.recv(65536)
                assert data, "the connection ended"
                self._in.write(data)
            else:
                self._control.sendall(self._out.read())
                return value


@pytest.mark.parametrize("mechanism", ["TLS", "SSL", "TLS-C"])
@pytest.mark.parametrize("number", range(len(CONSENTS)))
def test_tls_begins_after_any_consent(tls_front: Front, number: int, mechanism: str) -> None:
    with tls_front.client(f"tls{number}") as client:
        client.ask(f"AUTH {mechanism}", int(CONSENTS[number][:3]))
        secured = Handshake(client)
        client.write(secured.hello)
        secured.finish()
        assert secured.ask(b"USER joe") == b"200 heard USER joe"


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("number", range(len(CONSENTS)))
def test_a_hello_before_the_answer(tls_front: Front, number: int, together: bool) -> None:
    with tls_front.client(f"tls{number}") as client:
        secured = Handshake(client)
        parts = (
            [b"AUTH TLS\r\n" + secured.hello] if together else [b"AUTH TLS\r\n", secured.hello[:9], secured.hello[9:]]
        )
        for part in parts:
            client.write(part)
        client.expect(int(CONSENTS[number][:3]))
        secured.finish()
        assert secured.ask(b"USER joe") == b"200 heard USER joe"


@pytest.mark.parametrize("first", [b"", b"AUTH TLS\r\n"])
def test_a_hello_without_consent_is_never_read_as_commands(tls_front: Front, first: bytes) -> None:
    with tls_front.client("no") as client:
        client.write(first + Handshake(client).hello)
        if first:
            client.expect(500)
        client.expect(421)
        client.expect_end()


@pytest.mark.parametrize("number", range(len(CONSENTS)))
def test_clear_text_after_consent(tls_front: Front, number: int) -> None:
    """After 234 the bytes are the peers'; after any other consent a client may go on in clear text: here the server,
    who awaits a hello, takes it for a broken one."""
    with tls_front.client(f"tls{number}") as client:
        client.ask("AUTH TLS", int(CONSENTS[number][:3]))
        client.write(b"USER joe\r\n")
        with contextlib.suppress(ConnectionError):
            assert b"heard" not in client.control.recv(1000)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("mechanism", ["TLS", "SSL", "TLS-C"])
def test_the_mechanisms_of_real_servers(page: Page, name: str, mechanism: str) -> None:
    """What a server answers directly it answers through us, and where it agrees TLS begins."""
    source, server = page.source_of(name), page.farm[name]
    codes = []
    for address, here in (((server.host, server.port), ""), ((page.farm.balancer, CONTROL_PORT), source)):
        with RawClient(address, here) as client:
            codes.append(client.ask(f"AUTH {mechanism}").code)
            if codes[-1] == 234:
                secured = Handshake(client)
                client.write(secured.hello)
                secured.finish()
                assert secured.ask(b"NOOP\r\n")[:1] in (b"2", b"5")
            else:
                client.log_in(server.user)
    assert codes[0] == codes[1]
