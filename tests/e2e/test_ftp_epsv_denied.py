"""Real servers that deny EPSV (or PASV), by their own settings or by what stands before them, and real clients."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import farm.servers
from farm.clients import CLIENTS, Target
from farm.front import Front, Section
from farm.middlebox import HANG_UP, SILENCE, Middlebox
from farm.page import kinds_for
from farm.raw_client import RawClient
from farm.servers import PASSWORD, Farm, Passive, Proftpd, Pyftpdlib, Security, Vsftpd

KINDS = kinds_for(Security.PLAIN)
CONTENT = bytes(range(256)) * 300


class _Vsftpd(Vsftpd):
    def options(self) -> dict[str, str]:
        return super().options() | {"cmds_denied": self.name.rpartition("-")[2].upper()}


class _Proftpd(Proftpd):
    def settings(self, users: Path) -> str:
        verb = self.name.rpartition("-")[2].upper()
        return super().settings(users) + f"<Limit {verb}>\nDenyAll\n</Limit>\n"


class _Pyftpdlib(Pyftpdlib):
    def command(self) -> list[str]:
        command = super().command()
        wish = json.loads(command[-1]) | {"without": [self.name.rpartition("-")[2].upper()]}
        return [sys.executable, command[1], json.dumps(wish)]


DENYING = {"vsftpd": _Vsftpd, "proftpd": _Proftpd, "pyftpdlib": _Pyftpdlib}
ABLE = [kind for kind in DENYING if kind in KINDS]
DENIED = [f"{kind}-no-{verb}" for kind in ABLE for verb in ("epsv", "pasv")]
SPOILT = {"refused": "500 What?", "silent": SILENCE, "superfluous": "202 OK", "closing": HANG_UP}
SPOILERS = [f"{kind}-{how}" for kind in KINDS for how in SPOILT]


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[Front, dict[str, str]]]:
    """The balancer, and who is the user of each section's server."""
    with contextlib.ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(farm.servers, "KINDS", farm.servers.KINDS | DENYING)
        denying = stack.enter_context(Farm(tuple(DENIED), passive=Passive.WRONG))
        patch.undo()
        plain = stack.enter_context(Farm(KINDS, passive=Passive.WRONG))
        servers = {server.name: (server, f"{server.host}:{server.port}") for server in denying.servers}
        for server in plain.servers:
            for how, answer in SPOILT.items():
                box = stack.enter_context(Middlebox(server.host, server.port, {"EPSV": answer}))
                servers[f"{server.name}-{how}"] = (server, box.address)
        for each, _ in servers.values():
            each.put("content", CONTENT)
        sections = [Section(name, f"timeout server 10s\nserver s {address}") for name, (_, address) in servers.items()]
        front = stack.enter_context(Front(*sections, threads=1))
        for name in SPOILERS:
            if name.endswith("closing"):
                # The session in which it is found out is lost.
                with front.client(name) as client:
                    client.log_in(servers[name][0].user, PASSWORD)
                    client.ask("EPSV", 421)
        yield front, {name: server.user for name, (server, _) in servers.items()}


@pytest.mark.parametrize("client_name", CLIENTS)
@pytest.mark.parametrize("section", DENIED)
def test_every_client_is_served(
    running: tuple[Front, dict[str, str]], section: str, client_name: str, tmp_path: Path
) -> None:
    front, users = running
    client = CLIENTS[client_name]
    asks = section.endswith("-no-epsv")
    target = Target(*front.address(section), users[section], extended=asks if asks in client.modes else not asks)
    got = tmp_path / "got"
    client.download(target, "content", got)
    assert got.read_bytes() == CONTENT
    if client.uploads:
        client.upload(target, got, f"stored-{client_name}")
        assert f"stored-{client_name}" in client.listing(target)


@pytest.mark.parametrize("section", SPOILERS)
def test_whatever_becomes_of_epsv_on_the_way(
    running: tuple[Front, dict[str, str]], section: str, tmp_path: Path
) -> None:
    front, users = running
    CLIENTS["curl"].download(Target(*front.address(section), users[section]), "content", tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == CONTENT


@pytest.mark.parametrize("section", DENIED)
def test_servers_really_deny_it(running: tuple[Front, dict[str, str]], section: str) -> None:
    """Else the others would show nothing."""
    front, users = running
    lines = front.text().splitlines()
    server = lines[lines.index(f"listen {section}") :]
    host, port = next(line.split()[2] for line in server if line.strip().startswith("server ")).split(":")
    with RawClient((host, int(port))) as client:
        client.log_in(users[section], PASSWORD)
        assert client.ask(section.rpartition("-")[2].upper()).code >= 500
