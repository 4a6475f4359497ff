"""The choice of a server in `mode ftp`: by user, before login, and again when one fails."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator

import pytest

from farm.front import Front, Section
from farm.ports import free_port
from farm.raw_client import RawClient
from farm.scripted import Scripted
from farm.waiting import until

USERS = [f"user{number}" for number in range(12)]
NAMES = ("s1", "s2", "s3")
BROKEN = ("full", "mute", "dying", "closing", "strange")


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, Scripted]]:
    answers = {"SITE": "200 Fine", "HOST": "220 Yes", "OPTS": "200 Yes", "CLNT": "200 Yes"}
    with contextlib.ExitStack() as stack:
        sound = [Scripted(name, answers=answers) for name in NAMES]
        broken = [
            Scripted("full", greeting="421 Too many users"),
            Scripted("mute", greeting=None),
            Scripted("dying", answers={"USER": None}),
            Scripted("late", answers={"PASS": None}),
            Scripted("closing", answers={"USER": "421 Closing"}),
            Scripted("strange", greeting="500 hello?"),
        ]
        yield {server.name: stack.enter_context(server) for server in (*sound, *broken)}


@pytest.fixture(scope="module")
def front(servers: dict[str, Scripted], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    folder = tmp_path_factory.mktemp("maps")
    lines = "\n".join(f"server {name} {servers[name].address}" for name in NAMES)
    by_server, by_backend, by_expression = folder / "servers", folder / "backends", folder / "expressions"
    by_server.write_text("alice s2\nbob s3\ncarol nobody\n")
    by_expression.write_text("^(a+)+$ second\n^(([a-z])+.)+[A-Z]([a-z])+$ second\n^a+!$ third\n")
    by_backend.write_text("alice second\nbob third\ncarol nowhere\n")
    table = "stick-table type string len 64 size 1k expire 1h\nstick on ftp.user"
    extra = "".join(
        f"backend {name}\n    mode ftp\n    server s {servers[server].address}\n"
        for name, server in (("second", "s2"), ("third", "s3"))
    )
    with Front(
        Section("stick", f"balance roundrobin\n{table}\n{lines}"),
        Section("hash", f"balance hash ftp.user\n{lines}"),
        Section(
            "server",
            f"use-server %[ftp.user,map({by_server})]\n{lines.splitlines()[0]}\n"
            + "\n".join(f"{line} weight 0" for line in lines.splitlines()[1:]),
        ),
        Section("backend", f"use_backend %[ftp.user,map({by_backend})]\n{lines.splitlines()[0]}"),
        Section("expression", f"use_backend %[ftp.user,map_reg({by_expression})]\n{lines.splitlines()[0]}"),
        Section("greets", f"ftp-greeting Welcome to the farm\nftp-deny-commands SITE\n{table}\n{lines}"),
        *(
            Section(
                f"{kind}-{name}",
                f"balance first\nretries 2\noption redispatch\n{rule}\n"
                f"server bad {servers[name].address}\nserver good {servers['s1'].address}",
            )
            for name in BROKEN
            for kind, rule in (("deferred", table), ("plain", ""))
        ),
        Section(
            "deferred-dead",
            f"balance first\nretries 1\noption redispatch\n{table}\n"
            f"server bad 127.0.0.1:{free_port()}\nserver good {servers['s1'].address}",
        ),
        Section("late", f"balance first\nserver bad {servers['late'].address}\nserver good {servers['s1'].address}"),
        Section("none", f"retries 1\nserver bad {servers['full'].address}\nserver worse {servers['mute'].address}"),
        extra=extra,
    ) as running:
        yield running


def home_of(client: RawClient) -> str:
    """Where the session is: what a download says."""
    return client.receive("RETR x").decode()


def visit(front: Front, section: str, user: str, source: str = "") -> str:
    with front.client(section, source) as client:
        client.log_in(user)
        where = home_of(client)
        client.quit()
        return where


# --- by user ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("section", ["stick", "hash"])
def test_a_user_stays_on_a_server(front: Front, section: str) -> None:
    """Whatever address and so whatever worker he comes from."""
    homes = {user: visit(front, section, user) for user in USERS}
    assert set(homes.values()) == set(NAMES)
    for number, user in enumerate(USERS):
        assert visit(front, section, user, f"127.0.1.{number + 1}") == homes[user]


@pytest.mark.parametrize("section", ["server", "backend"])
@pytest.mark.parametrize(("user", "expected"), [("alice", "s2"), ("bob", "s3"), ("carol", "s1"), ("dave", "s1")])
def test_a_map_of_users(front: Front, section: str, user: str, expected: str) -> None:
    assert visit(front, section, user) == expected


@pytest.mark.parametrize(
    ("user", "expected"), [("a" * 40 + "!", "s3"), ("a" * 3000 + "!", "s3"), ("a" * 40, "s2"), ("a." * 30 + "a", "s1")]
)
def test_no_user_makes_an_expression_take_long(front: Front, user: str, expected: str) -> None:
    """An engine that backtracks would not be done with the 41 characters of the first in minutes."""
    assert visit(front, "expression", user) == expected


def test_another_user_before_login_is_another_choice(front: Front, servers: dict[str, Scripted]) -> None:
    with front.client("backend") as client:
        client.ask("USER alice", 331)
        client.ask("USER bob", 331)
        client.ask("PASS x", 230)
        assert home_of(client) == "s3"
    assert "USER bob" in servers["s3"].heard
    until(lambda: servers["s2"].heard[-1] == "QUIT", "a polite end at the former server")


def test_a_new_user_after_rein(front: Front) -> None:
    with front.client("backend") as client:
        client.log_in("alice")
        assert home_of(client) == "s2"
        client.ask("REIN", 220)
        client.ask("PWD", 530)
        client.log_in("bob")
        assert home_of(client) == "s3"


# --- before the choice --------------------------------------------------------------------------------------------


def test_what_is_answered_here(front: Front, servers: dict[str, Scripted]) -> None:
    before = sum(servers[name].sessions for name in NAMES)
    with front.client("greets") as client:
        assert client.banner == b"Welcome to the farm"
        features = b"\n".join(client.ask("FEAT", 211).lines)
        assert b"EPSV" in features
        assert b"HOST" in features
        assert b"AUTH" not in features
        client.ask("HOST ftp.example.org", 220)
        client.ask("OPTS UTF8 ON", 200)
        client.ask("AUTH TLS", 534)
        client.ask("NOOP", 200)
        client.ask("SYST", 215)
        client.ask("PWD", 530)
        client.ask("PASV", 530)
        client.ask("RETR x", 530)
        client.ask("PASS x", 503)
        client.ask("WHAT", 530)
        client.ask("SITE x", 502)
        client.ask("USER", 501)
        client.write(b"\0\1\2\r\n")
        client.expect(500)
        assert sum(servers[name].sessions for name in NAMES) == before
        client.log_in("erin")
        where = home_of(client)
        client.ask("SITE x", 502)
        client.quit()
    heard = servers[where].heard
    at = heard.index("HOST ftp.example.org")
    assert heard[at : at + 3] == ["HOST ftp.example.org", "OPTS UTF8 ON", "USER erin"]


def test_quit_before_the_choice(front: Front) -> None:
    with front.client("greets") as client:
        client.quit()


# --- failing before login -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "name"), [*itertools.product(("deferred", "plain"), BROKEN), ("deferred", "dead")])
def test_a_server_that_fails_is_replaced(front: Front, servers: dict[str, Scripted], kind: str, name: str) -> None:
    with front.client(f"{kind}-{name}") as client:
        if kind == "plain" and name in ("dying", "closing"):
            assert client.banner == name.encode()
        client.log_in("frank")
        assert home_of(client) == "s1"
        client.quit()
    if name in servers:
        assert servers[name].sessions > 0


def test_a_server_that_dies_at_the_password(front: Front, servers: dict[str, Scripted]) -> None:
    """What it was asked and did not answer is asked of the next."""
    with front.client("late") as client:
        client.log_in("grace")
        assert home_of(client) == "s1"
    assert servers["late"].count("PASS") == 1


def test_no_server_is_left(front: Front) -> None:
    with front.client("none", greeting=False) as client:
        assert client.reply().code == 421
        client.expect_end()
