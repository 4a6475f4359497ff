"""Passwords that are guessed, and users that are named one after another: what reaches servers and tables."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import time
from collections.abc import Iterator

import pytest

from farm.front import Front, Section
from farm.raw_client import RawClient
from farm.scripted import Conversation, Scripted
from farm.waiting import until

LIMIT = 5


def password(talk: Conversation, word: str) -> None:
    talk.say("230 Welcome" if word == "right" else "530 Wrong")


def slow_password(talk: Conversation, word: str) -> None:
    """Refuses as PAM does, after a moment; whoever is let in is let in at once."""
    if word != "right":
        time.sleep(0.3)
    password(talk, word)


ANSWERS = {"PASS": password, "REIN": "220 Anew"}


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, Scripted]]:
    with contextlib.ExitStack() as stack:
        found = [
            Scripted("plain", answers=ANSWERS),
            Scripted("slow", answers={"PASS": slow_password}),
            Scripted("hangs-up", answers={"PASS": None}),
            Scripted("one", answers=ANSWERS),
            Scripted("two", answers=ANSWERS),
        ]
        yield {server.name: stack.enter_context(server) for server in found}


@pytest.fixture(scope="module")
def front(servers: dict[str, Scripted]) -> Iterator[Front]:
    def line(name: str, more: str = "") -> str:
        return f"server {name} {servers[name].address} {more}"

    limit = f"ftp-login-limit {LIMIT} 1h delay 0"
    table = "stick-table type string len 32 size 10 expire 1h store ftp_fail_cnt\nstick on ftp.user"
    both = f"{line('one')}\n{line('two')}"
    with Front(
        Section("before", f"{limit}\n{line('slow')}"),
        Section("spread", f"{limit} ipmask 8\n{line('slow')}"),
        Section("one-by-one", f"{limit} ipmask 8\n{line('plain')}"),
        Section("crowd", f"{limit} ipmask 8\n{line('slow')}"),
        Section("inside", f"{limit}\n{line('plain')}"),
        Section("piped", f"{limit}\n{line('plain')}"),
        Section("leaves", f"{limit}\n{line('slow')}"),
        Section("office", f"{limit}\n{line('slow')}"),
        Section("closes", f"{limit}\nretries 1\n{line('hangs-up')}"),
        Section("named", f"{limit}\nbalance hash ftp.user\n{both}"),
        Section("table", f"{table}\nbalance roundrobin\n{both}"),
        Section("victim", f"{table}\nbalance roundrobin\n{both}"),
        Section("moves", f"balance hash ftp.user\n{both}"),
    ) as running:
        yield running


def guesses(server: Scripted, before: int) -> int:
    return server.count("PASS") - before


def guess(client: RawClient, word: str = "wrong") -> int:
    """The last code; 421 once nothing more is let through."""
    code = client.ask("USER admin").code
    return client.ask(f"PASS {word}").code if code == 331 else code


def reset_on_close(client: RawClient) -> None:
    client.control.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_connections_opened_beforehand(front: Front, servers: dict[str, Scripted]) -> None:
    """All log in at once, and the server takes its time to refuse."""
    before = servers["slow"].count("PASS")
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(front.client("before")) for _ in range(60)]
        for client in clients:
            client.send("USER admin", "PASS wrong")
        codes = []
        for client in clients:
            said = client.reply()
            codes.append(client.reply().code if said.code == 331 else said.code)
    assert guesses(servers["slow"], before) == LIMIT
    assert sorted(codes) == [421] * (60 - LIMIT) + [530] * LIMIT


SOURCES = [f"127.0.7.{number}" for number in range(1, 41)]
"""Of one network, in both workers."""


def test_a_network_that_several_workers_serve(front: Front, servers: dict[str, Scripted]) -> None:
    before = servers["slow"].count("PASS")
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(front.client("spread", source)) for source in SOURCES]
        for client in clients:
            client.send("USER admin", "PASS wrong")
        for client in clients:
            said = client.reply()
            assert said.code == 421 or client.reply().code in (421, 530)
    assert guesses(servers["slow"], before) == LIMIT


def test_its_addresses_one_after_another(front: Front, servers: dict[str, Scripted]) -> None:
    before = servers["plain"].count("PASS")
    for source in SOURCES:
        with front.client("one-by-one", source, greeting=False) as client:
            if client.reply().code == 220:
                guess(client)
    assert guesses(servers["plain"], before) == LIMIT


def test_a_network_whose_logins_are_right(front: Front) -> None:
    for _ in range(2):
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(front.client("crowd", source)) for source in SOURCES]
            for client in clients:
                client.send("USER joe", "PASS right")
            for client in clients[::2]:
                client.close()
            for client in clients[1::2]:
                client.expect(331)
                client.expect(230)


def test_again_and_again_inside_a_session(front: Front, servers: dict[str, Scripted]) -> None:
    before = servers["plain"].count("PASS")
    with front.client("inside") as client:
        client.ask("USER joe", 331)
        client.ask("PASS right", 230)
        codes = [guess(client) for _ in range(LIMIT)]
        assert codes == [530] * LIMIT
        with pytest.raises((AssertionError, ConnectionError)):
            client.ask("NOOP", 200)
    assert guesses(servers["plain"], before) == LIMIT + 1
    with front.client("inside", greeting=False) as client:
        client.expect(421)


def test_many_in_one_segment(front: Front, servers: dict[str, Scripted]) -> None:
    before = servers["plain"].count("PASS")
    with front.client("piped") as client:
        client.send(*["USER admin", "PASS wrong"] * 15)
        with contextlib.suppress(ConnectionError):
            while client.reply().code != 421:
                pass
    assert guesses(servers["plain"], before) == LIMIT


def test_who_does_not_wait_for_the_answer(front: Front, servers: dict[str, Scripted]) -> None:
    """The right password is accepted at once, so silence is an answer, too."""
    before = servers["slow"].count("PASS")
    for number in range(LIMIT):
        with front.client("leaves") as client:
            client.ask("USER admin", 331)
            client.send("PASS wrong")
            until(lambda wanted=number + 1: guesses(servers["slow"], before) == wanted, "the password to arrive")
            reset_on_close(client)
    front.until_stat("leaves", "ftp_login_fail", lambda count: count == LIMIT)
    with front.client("leaves", greeting=False) as client:
        client.expect(421)


def test_a_server_that_hangs_up(front: Front, servers: dict[str, Scripted]) -> None:
    before = servers["hangs-up"].count("PASS")
    for _ in range(LIMIT):
        with front.client("closes") as client:
            client.ask("USER admin", 331)
            client.ask("PASS wrong", 421)
    asked = guesses(servers["hangs-up"], before)
    with front.client("closes", greeting=False) as client:
        client.expect(421)
    assert guesses(servers["hangs-up"], before) == asked


def test_an_office_that_logs_in_at_once(front: Front) -> None:
    """More logins than may fail, all of them right, from one address."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(front.client("office")) for _ in range(40)]
        for client in clients:
            client.send("USER joe", "PASS right")
        for client in clients:
            client.expect(331)
            client.expect(230)


def test_a_name_is_held_against_the_limit_before_a_server_is_chosen(front: Front, servers: dict[str, Scripted]) -> None:
    with front.client("named") as waiting, front.client("named") as client:
        for _ in range(LIMIT):
            guess(client)
        sessions = servers["one"].sessions + servers["two"].sessions
        waiting.ask("USER somebody", 421)
        assert servers["one"].sessions + servers["two"].sessions == sessions


# --- users and tables ---------------------------------------------------------------------------------------------


def entries(front: Front, section: str) -> dict[str, str]:
    """Key and server of every entry."""
    found = {}
    for line in front.api(f"show table {section}").splitlines():
        if "key=" in line:
            fields = dict(field.split("=", 1) for field in line.split() if "=" in field)
            found[fields["key"]] = fields.get("server_id", "0")
    return found


def test_who_is_not_logged_in_teaches_nothing(front: Front) -> None:
    with front.client("table") as client:
        for number in range(3):
            client.ask(f"USER guest{number}", 331)
        assert entries(front, "table") == {}
        client.ask("PASS right", 230)
        assert list(entries(front, "table")) == ["guest2"]
        assert " use=1 " in front.api("show table table")
        client.ask("REIN", 220)
        assert " use=0 " in front.api("show table table")
        client.log_in("alice", "right")
        assert sorted(entries(front, "table")) == ["alice", "guest2"]
    front.until_stat("table", "scur", lambda count: not count)
    assert " use=1 " not in front.api("show table table")


def test_another_users_entry_is_not_moved(front: Front) -> None:
    with front.client("victim") as client:
        client.log_in("bob", "right")
        home = entries(front, "victim")["bob"]
    with contextlib.ExitStack() as stack:
        for _ in range(6):
            client = stack.enter_context(front.client("victim"))
            client.ask("USER bob", 331)
            client.ask("PASS wrong", 530)
        assert entries(front, "victim")["bob"] == home


def test_names_that_fail_one_after_another(front: Front, servers: dict[str, Scripted]) -> None:
    """One connection makes a few connections to servers, no more than one a second, and a few entries of failures."""
    with front.client("victim") as client:
        client.log_in("alice", "right")
    before = servers["one"].sessions + servers["two"].sessions
    began = time.monotonic()
    with front.client("victim") as client:
        client.send(*(line for number in range(15) for line in (f"USER nobody{number}", "PASS wrong")))
        with contextlib.suppress(ConnectionError):
            while client.reply().code != 421:
                pass
    made = servers["one"].sessions + servers["two"].sessions - before
    assert 2 <= made <= 7
    assert made <= 3 + (time.monotonic() - began)
    found = entries(front, "victim")
    assert "alice" in found
    assert sum(name.startswith("nobody") for name in found) <= 7


def test_a_change_of_mind_is_free(front: Front) -> None:
    with front.client("moves") as client:
        client.ask("USER mistyped", 331)
        client.log_in("right", "right")
        client.quit()


def _guess_until_refused(front: Front) -> None:
    with contextlib.suppress(AssertionError, ConnectionError):
        for _ in range(LIMIT + 1):
            with front.client("fe") as client:
                guess(client)


@pytest.mark.parametrize("mask", ["32", "8"])
def test_sessions_of_a_former_generation_count(servers: dict[str, Scripted], mask: str) -> None:
    before = servers["plain"].count("PASS")
    lines = f"ftp-login-limit {LIMIT} 1h delay 0 ipmask {mask}\nserver s {servers['plain'].address}"
    with Front(Section("fe", lines)) as front:
        with front.client("fe") as former:
            front.api("reload")
            with front.client("fe") as client:
                assert guess(client) == 530
            assert [guess(former) for _ in range(LIMIT - 1)] == [530] * (LIMIT - 1)
        # The news is on its way by the supervisor.
        until(lambda: _is_refused(front), "the limit to be reached")
    assert guesses(servers["plain"], before) <= LIMIT


def _is_refused(front: Front) -> bool:
    with contextlib.suppress(AssertionError, ConnectionError), front.client("fe") as client:
        client.ask("USER admin", 331)
        return False
    return True


def _worker_replaced(front: Front) -> None:
    before = front.balancer.workers()
    for pid in before:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    until(lambda: (now := front.balancer.workers()) and not now & before, "other workers")


def _told(front: Front) -> None:
    """A worker's answer comes behind all that it said before: the supervisor knows of every login by then."""
    front.api("show sess")


BETWEEN = {
    "reload": lambda front: front.api("reload"),
    "add server": lambda front: front.api("add server fe/new 127.0.0.1:9 weight 0"),
    "worker": _worker_replaced,
    "two reloads and a worker": lambda front: [front.api("reload"), front.api("reload"), _worker_replaced(front)],
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("mask", ["32", "8"])
@pytest.mark.parametrize("between", BETWEEN)
def test_workers_that_start_later_know_who_failed(
    servers: dict[str, Scripted], between: str, mask: str, threads: int
) -> None:
    before = servers["plain"].count("PASS")
    lines = f"ftp-login-limit {LIMIT} 1h delay 0 ipmask {mask}\nserver s {servers['plain'].address}"
    with Front(Section("fe", lines), threads=threads) as front:
        with front.client("fe") as client:
            # Those who failed less often than they may are known, too.
            assert guess(client) == 530
        _told(front)
        BETWEEN[between](front)
        _guess_until_refused(front)
        assert guesses(servers["plain"], before) == LIMIT
        _told(front)
        BETWEEN[between](front)
        _guess_until_refused(front)
    assert guesses(servers["plain"], before) == LIMIT
