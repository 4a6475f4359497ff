"""Messages of real servers that were saved with DOS line ends, and what real servers answer during a transfer.

vsftpd sends each line with its CR and its own CR LF, Pure-FTPd its fortunes and messages; ProFTPD drops the CR.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from farm.clients import CLIENTS, Target
from farm.front import Front, Section
from farm.page import kinds_for
from farm.raw_client import RawClient, Said, read_to_end
from farm.servers import PASSWORD, Farm, Passive, Security, Server

MESSAGE = b"Welcome to the farm.\r\n\r\n  It was saved on DOS:\r\n220 pigs live here\r\nGood luck\r\n"
BIG = bytes(range(256)) * 80_000
KINDS = kinds_for(Security.PLAIN)
SHOWS = [kind for kind in KINDS if kind != "pyftpdlib"]
CLOCK = re.compile(rb"[0-9]{2}:[0-9]{2}|user number [0-9]+")
"""What differs from one session of Pure-FTPd to the next."""


@pytest.fixture(scope="module")
def farm() -> Iterator[Farm]:
    with Farm(KINDS, passive=Passive.WRONG, message=MESSAGE) as running:
        running.put("big", BIG)
        yield running


@pytest.fixture(scope="module")
def front(farm: Farm) -> Iterator[Front]:
    sections = [Section(each.kind, f"server s {each.host}:{each.port}") for each in farm.servers]
    with Front(*sections) as running:
        yield running


def heard(where: tuple[str, int], server: Server) -> list[Said]:
    """Every reply of a short session, line ends but the last CR LF included."""
    with RawClient(where, greeting=False) as client:
        found = [client.reply(), client.ask(f"USER {server.user}")]
        found += [client.ask(f"PASS {PASSWORD}")]
        found += [client.ask("CWD pub"), client.ask("CWD /pub"), client.ask("NOOP")]
        return [Said(said.code, tuple(CLOCK.sub(b"", line) for line in said.lines)) for said in found]


@pytest.mark.parametrize("kind", SHOWS)
def test_messages_with_dos_line_ends_pass_as_they_are(farm: Farm, front: Front, kind: str) -> None:
    server = farm[kind]
    directly = heard((server.host, server.port), server)
    assert kind == "proftpd" or any(line.endswith(b"\r") for said in directly for line in said.lines)
    assert heard(front.address(kind), server) == directly


@pytest.mark.parametrize("name", ["curl", "lftp", "wget", "ftplib"])
@pytest.mark.parametrize("kind", SHOWS)
def test_every_client_gets_past_them(farm: Farm, front: Front, kind: str, name: str, tmp_path: Path) -> None:
    target = Target(*front.address(kind), user=farm[kind].user)
    CLIENTS[name].download(target, "whoami.txt", tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == kind.encode()


AT_ONCE = {"STAT missing": 550, "STAT pub": 213, "STAT": 211, "NOOP": 200}


@pytest.mark.parametrize("command", AT_ONCE)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_asked_during_a_transfer_does_not_end_it(farm: Farm, front: Front, kind: str, command: str) -> None:
    """pyftpdlib says 550 to STAT of what is not there, and goes on."""
    with front.client(kind) as client:
        client.log_in(farm[kind].user)
        client.ask("TYPE I", 200)
        with client.passive() as data:
            client.ask("RETR pub/big", 125, 150)
            begun = data.recv(1)
            client.send(command)
            if kind == "pyftpdlib":
                # It answers at once, the others when they have the time.
                client.expect(AT_ONCE[command])
            assert begun + read_to_end(data) == BIG
        client.expect(*((226,) if kind == "pyftpdlib" else (226, 200, 211, 213, 500, 550)))
        # Pure-FTPd forgets such a command now and then, asked directly too.
        client.send("PWD", "QUIT")
        while client.reply().code != 221:
            pass
