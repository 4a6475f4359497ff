"""What `mode ftp` allows and counts: commands, lines, logins, sessions; and what it keeps to itself."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterator

import pytest

from farm.front import Front, Section
from farm.raw_client import RawClient, read_to_end
from farm.scripted import Scripted
from farm.servers import Farm, Passive
from farm.waiting import until

SECRET = "s3cr3t-w0rd"
BIG = bytes(range(256)) * 40_000
FEATURES = {
    "rich": "211-Features:\n MDTM\n SIZE\n REST STREAM\n UTF8\n MLST size*;type*;\n XSPECIAL\n EPSV\n211 End",
    "poor": "211-I can:\n SIZE\n REST STREAM\n211 That is all",
    "none": "500 FEAT?",
}


@pytest.fixture(scope="module")
def farm() -> Iterator[Farm]:
    with Farm(("pyftpdlib-1", "pyftpdlib-2"), passive=Passive.WRONG) as running:
        running.put("big", BIG)
        yield running


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, Scripted]]:
    refusing = {"PASS": "530 Wrong"}
    with contextlib.ExitStack() as stack:
        found = [Scripted(name, answers={"FEAT": said}) for name, said in FEATURES.items()]
        found += [Scripted("refusing", answers=refusing), Scripted("one"), Scripted("two")]
        yield {server.name: stack.enter_context(server) for server in found}


@pytest.fixture(scope="module")
def silent() -> Iterator[socket.socket]:
    """A server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture(scope="module")
def front(farm: Farm, servers: dict[str, Scripted], silent: socket.socket) -> Iterator[Front]:
    one, two = (f"server {each.name} {each.host}:{each.port}" for each in farm.servers)

    def line(name: str) -> str:
        return f"server {name} {servers[name].address}"

    port = silent.getsockname()[1]
    with Front(
        Section("feat", "balance roundrobin\n" + "\n".join(map(line, FEATURES))),
        Section("denies", f"ftp-deny-commands STOR size\nftp-max-line 512\n{one}"),
        Section("logins", f"ftp-login-limit 3 1h delay 100ms\n{line('refusing')}"),
        Section(
            "counts",
            "stick-table type ip size 100 expire 1h store ftp_fail_cnt,ftp_fail_rate(1h)\n"
            f"stick on src\n{line('refusing')}",
        ),
        Section(
            "users",
            "stick-table type string len 32 size 100 expire 1h store ftp_fail_cnt\n"
            f"stick on ftp.user\n{line('refusing')}",
        ),
        Section("maxconn", f"{one} maxconn 3"),
        Section("queue", f"timeout queue 200ms\n{two} maxconn 1"),
        Section("idle", f"timeout client 200ms\n{two}"),
        Section("slowlogin", f"timeout ftp-login 300ms\n{one}"),
        Section("nobanner", f"timeout ftp-login 300ms\nretries 0\nserver silent {silent.getsockname()[0]}:{port}"),
        Section("least", f"balance leastconn\n{line('one')}\n{line('two')}"),
        Section("drains", f"balance roundrobin\n{one}\n{two}"),
        threads=1,
    ) as running:
        yield running


@contextlib.contextmanager
def logged_in(front: Front, section: str, source: str = "") -> Iterator[RawClient]:
    with front.client(section, source) as client:
        client.log_in("farmer")
        client.ask("TYPE I", 200)
        yield client


# --- time ---------------------------------------------------------------------------------------------------------


def told_421(client: RawClient, say: bytes) -> bytes:
    """What it is told at last while it says that again and again, and as fast as a flood may not be."""
    client.control.settimeout(0.05)
    for _ in range(400):
        try:
            said = client.reply()
        except TimeoutError:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                client.write(say)
            continue
        if said.code == 421:
            return said.text
    raise AssertionError("never told 421")


def test_a_login_that_comes_not_in_time(front: Front) -> None:
    """Whatever else it says; who has logged in meanwhile stays."""
    with logged_in(front, "slowlogin") as logged, front.client("slowlogin") as client:
        assert told_421(client, b"NOOP\r\n") == b"Login timeout, closing the control connection."
        client.expect_end()
        logged.ask("NOOP", 200)
    front.sink.until_text("timeout ftp-login")


@pytest.mark.parametrize("begun", [b"U", b"USER farmer\r\nP", b"\0"])
def test_half_a_line_is_no_login(front: Front, begun: bytes) -> None:
    with front.client("slowlogin") as client:
        front.sink.clear()
        client.write(begun)
        if b"\n" in begun:
            client.expect(331)
        assert told_421(client, b"x") == b"Login timeout, closing the control connection."
    (line,) = front.sink.until_text("timeout ftp-login")
    assert " cR " in line


def test_a_byte_now_and_then_does_not_put_off_the_clients_timeout(front: Front) -> None:
    with logged_in(front, "idle") as client:
        assert told_421(client, b"N") == b"Timeout, closing the control connection."


def test_a_server_without_a_banner(front: Front) -> None:
    with front.client("nobanner", greeting=False) as client:
        front.sink.clear()
        assert client.expect(421).text == b"Login timeout, closing the control connection."
        client.expect_end()
    (line,) = front.sink.until_text("timeout ftp-login")
    assert " sC " in line


# --- commands -----------------------------------------------------------------------------------------------------


def test_features_are_the_same_whichever_server(front: Front) -> None:
    """Once each was asked, all show what all have in common; one that refuses FEAT takes nothing from the others."""

    def shown() -> tuple[str, frozenset[bytes]]:
        with front.client("feat") as client:
            client.log_in("u")
            return client.banner.decode(), frozenset(client.ask("FEAT", 211).lines[1:-1])

    def settled() -> bool:
        seen.clear()
        seen.update(shown() for _ in FEATURES)
        return seen == {("rich", both), ("poor", both), ("none", ours)}

    seen: set[tuple[str, frozenset[bytes]]] = set()
    ours = frozenset({b" EPSV", b" PASV"})
    both = ours | {b" REST STREAM", b" SIZE"}
    until(settled, "every worker to know what those that list something have in common")


def test_denied_commands(front: Front) -> None:
    with logged_in(front, "denies") as client:
        client.ask("SIZE pub/whoami.txt", 502)
        client.ask("stor pub/x", 502)
        assert b"SIZE" not in b"".join(client.ask("FEAT", 211).lines)
        client.passive()
        client.ask("STOR pub/x", 502)
        assert client.receive("RETR pub/whoami.txt") == b"pyftpdlib-1"


def test_a_line_that_is_too_long(front: Front) -> None:
    with logged_in(front, "denies") as client:
        client.ask("CWD " + "x" * 490, 550)
        client.ask("CWD " + "y" * 600, 500)
        client.ask("NOOP", 200)


def test_a_line_without_an_end_is_not_kept(front: Front) -> None:
    with front.client("denies") as client:
        for _ in range(50):
            client.write(b"z" * 100_000)
        client.write(b"\r\n")
        client.expect(500)
        client.ask("NOOP", 200)


def test_a_password_is_nowhere(front: Front) -> None:
    with front.client("logins", "127.0.0.77") as client:
        client.ask("USER mallory", 331)
        client.ask(f"PASS {SECRET}", 530)
        client.ask(f"ACCT {SECRET}")
        client.ask(f"pass  {SECRET}")
        client.ask(f" PASS {SECRET}")
        sessions = front.api("show ftp sessions")
        assert "mallory" in sessions
        client.quit()
    front.sink.until_text("mallory")
    everything = "\n".join((*front.sink.texts(), front.balancer.output(), sessions, front.api("show errors")))
    assert SECRET not in everything


# --- logins -------------------------------------------------------------------------------------------------------


def fail(client: RawClient, user: str = "mallory") -> int:
    client.ask(f"USER {user}", 331)
    return client.ask("PASS wrong").code


def test_too_many_failed_logins(front: Front) -> None:
    before, failed = front.stat("logins", "ftp_refused"), front.stat("logins", "ftp_login_fail")
    with front.client("logins", "127.0.0.66") as client:
        assert [fail(client), fail(client), fail(client)] == [530, 530, 530]
        client.expect(421)
        client.expect_end()
    assert front.stat("logins", "ftp_refused") == before + 1
    assert front.stat("logins", "ftp_login_fail") == failed + 3
    # Whoever comes again from there is not even greeted; others are.
    with front.client("logins", "127.0.0.66", greeting=False) as client:
        client.expect(421)
        client.expect_end()
    assert front.stat("logins", "ftp_refused") == before + 2
    with front.client("logins", "127.0.0.65") as client:
        assert fail(client) == 530


def test_failed_logins_in_tables(front: Front) -> None:
    with front.client("counts", "127.0.0.31") as client:
        assert [fail(client), fail(client)] == [530, 530]
    shown = front.api("show table counts")
    assert re.search(r"key=127\.0\.0\.31 .*ftp_fail_cnt=2 ftp_fail_rate\(3600000\)=2", shown), shown
    with front.client("users", "127.0.0.32") as client:
        assert [fail(client, "oscar"), fail(client, "oscar"), fail(client, "peggy")] == [530, 530, 530]
    shown = front.api("show table users")
    assert re.search(r"key=oscar .*ftp_fail_cnt=2", shown), shown
    assert re.search(r"key=peggy .*ftp_fail_cnt=1", shown), shown


# --- sessions -----------------------------------------------------------------------------------------------------


def test_maxconn_counts_sessions(front: Front) -> None:
    """As many as a server takes, each in the midst of a transfer; the next waits, and gets in when one leaves."""
    with contextlib.ExitStack() as stack:
        sessions = [stack.enter_context(logged_in(front, "maxconn")) for _ in range(3)]
        waiting = stack.enter_context(front.client("maxconn", greeting=False))
        front.until_stat("maxconn", "qcur", lambda count: count == 1, who="BACKEND")
        moving = []
        for session in sessions:
            data = session.passive()
            session.ask("RETR pub/big", 125, 150)
            assert data.recv(1) == BIG[:1]
            moving.append(data)
        assert front.stat("maxconn", "scur", who="pyftpdlib-1") == 3
        assert front.stat("maxconn", "ftp_xfer_cur", who="pyftpdlib-1") == 3
        for session, data in zip(sessions, moving, strict=True):
            assert read_to_end(data) == BIG[1:]
            session.expect(226)
        sessions[0].quit()
        waiting.expect(220)
        waiting.log_in("farmer")
        assert waiting.receive("RETR pub/whoami.txt") == b"pyftpdlib-1"
    assert front.stat("maxconn", "smax", who="pyftpdlib-1") == 3


def test_who_waits_too_long(front: Front) -> None:
    with logged_in(front, "queue"), front.client("queue", greeting=False) as waiting:
        waiting.expect(421)
        waiting.expect_end()
    assert front.sink.until_text(" queue queue/<NOSRV> ")


def test_who_says_nothing(front: Front) -> None:
    with logged_in(front, "idle") as client:
        client.expect(421)
        client.expect_end()


def test_a_session_that_is_shut_down(front: Front) -> None:
    """Told, and its transfer cut so that it does not look complete."""
    with logged_in(front, "denies") as client:
        data = client.passive()
        client.ask("RETR pub/big", 125, 150)
        front.api("shutdown sessions server denies/pyftpdlib-1")
        client.expect(421)
        client.expect_end()
        with pytest.raises(ConnectionResetError):
            read_to_end(data)


def test_leastconn_counts_sessions(front: Front) -> None:
    """A session that transfers is no heavier than one that does not."""
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(logged_in(front, "least"))
        for _ in range(3):
            first.receive("RETR x")
        data = first.passive()
        first.ask("RETR x", 150)
        others = [stack.enter_context(logged_in(front, "least")) for _ in range(3)]
        homes = [session.banner for session in (first, *others)]
        assert sorted(homes) == [b"one", b"one", b"two", b"two"]
        read_to_end(data)
        first.expect(226)
        assert front.stat("least", "scur", who="one") == front.stat("least", "scur", who="two") == 2


def test_drain(front: Front) -> None:
    """A drained server's transfers finish, its sessions end with 421 at the next quiet moment, nobody new comes."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(logged_in(front, "drains")) for _ in range(4)]
        leaving = [client for client in clients if client.banner == b"pyftpdlib-1"]
        staying = [client for client in clients if client.banner == b"pyftpdlib-2"]
        assert len(leaving) == len(staying) == 2
        busy, idle = leaving
        data = busy.passive()
        busy.ask("RETR pub/big", 125, 150)
        front.api("set server drains/pyftpdlib-1 state drain")
        idle.expect(421)
        idle.expect_end()
        assert {stack.enter_context(front.client("drains")).banner for _ in range(3)} == {b"pyftpdlib-2"}
        assert read_to_end(data) == BIG
        busy.expect(226)
        busy.expect(421)
        busy.expect_end()
        for client in staying:
            assert client.receive("RETR pub/whoami.txt") == b"pyftpdlib-2"
        front.until_stat("drains", "scur", lambda count: count == 0, who="pyftpdlib-1")
        front.api("set server drains/pyftpdlib-1 state ready")
        until(lambda: stack.enter_context(front.client("drains")).banner == b"pyftpdlib-1", "the server's return")


def test_a_drain_that_is_called_off(front: Front) -> None:
    """The other server is drained later: when its session has ended, the first one's moment is over too."""
    with contextlib.ExitStack() as stack:
        sessions = {}
        until(lambda: _another_server(front, stack, sessions), "a session on each server")
        front.api("set server drains/pyftpdlib-1 state drain")
        front.api("set server drains/pyftpdlib-1 state ready")
        front.api("set server drains/pyftpdlib-2 state drain")
        try:
            sessions[b"pyftpdlib-2"].expect(421)
            sessions[b"pyftpdlib-1"].ask("NOOP", 200)
        finally:
            front.api("set server drains/pyftpdlib-2 state ready")


def _another_server(front: Front, stack: contextlib.ExitStack, sessions: dict[bytes, RawClient]) -> bool:
    client = stack.enter_context(logged_in(front, "drains"))
    sessions.setdefault(client.banner, client)
    return len(sessions) == 2
