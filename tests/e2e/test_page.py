"""HAProxy's passive-FTP page with vsftpd, ProFTPD, Pure-FTPd and pyftpdlib behind it, and every client in front."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from farm.clients import CLIENTS, Client
from farm.page import Page, kinds_for
from farm.servers import Passive, Security

SMALL = os.urandom(100_003)


@pytest.fixture(scope="class")
def page(request: pytest.FixtureRequest) -> Iterator[Page]:
    asked = request.cls
    with Page(
        "pasvport",
        kinds_for(asked.security),
        asked.security,
        extra_global=asked.settings,
        extra_defaults=asked.defaults,
        mode=asked.mode,
        passive=asked.passive,
    ) as running:
        running.put("empty", b"")
        for server in running.farm.servers:
            server.put("small", server.name.encode() + SMALL)
        yield running


def can_meet(security: Security, server: str, client: Client) -> bool:
    """Whether that client and that server understand each other at all, balancer or not."""
    return security in client.securities and not (security.is_tls and client.needs_early_tls and server != "pyftpdlib")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every meeting of a server and a client that exists under the class's protection, in every passive mode."""
    security = metafunc.cls.security
    meetings = [
        (server, client)
        for server in kinds_for(security)
        for client in map(CLIENTS.__getitem__, metafunc.cls.clients)
        if can_meet(security, server, client)
    ]
    if "extended" in metafunc.fixturenames:
        combinations = [(server, client.name, mode) for server, client in meetings for mode in client.modes]
        metafunc.parametrize(("server", "client", "extended"), combinations, ids=label)
    else:
        pairs = [(server, client.name) for server, client in meetings if client.name in ("curl", "ftplib")]
        metafunc.parametrize(("server", "client"), pairs)


def label(value: object) -> str:
    return {True: "epsv", False: "pasv"}[value] if isinstance(value, bool) else str(value)


class Transfers:
    """The same for every protection, and for either mode: `mode ftp` is the one word of the page that is changed."""

    security: Security
    settings = defaults = ""
    mode = "tcp"
    passive = Passive.AGREED
    clients = tuple(CLIENTS)

    def test_transfers(self, page: Page, tmp_path: Path, server: str, client: str, extended: bool) -> None:
        program = CLIENTS[client]
        target = page.target_of(server, extended=extended)
        expected = server.encode() + SMALL  # the content names its server, so a wrong one shows
        got = tmp_path / "got"
        program.download(target, "small", got)
        assert got.read_bytes() == expected
        if program.uploads:
            program.upload(target, got, "uploaded")
            assert (page.farm[server].pub / "uploaded").read_bytes() == expected
        if self.security is Security.PLAIN:
            # Behind TLS a listing is one more data connection like a download, and each costs ProFTPD half a second.
            assert "whoami.txt" in program.listing(target)

    def test_empty_file(self, page: Page, tmp_path: Path, server: str, client: str) -> None:
        program = CLIENTS[client]
        target = page.target_of(server)
        empty = tmp_path / "empty"
        program.download(target, "empty", empty)
        assert empty.read_bytes() == b""
        program.upload(target, empty, "uploaded-empty")
        assert (page.farm[server].pub / "uploaded-empty").read_bytes() == b""


class TestPlain(Transfers):
    security = Security.PLAIN


class TestFtpAsInstalled(TestPlain):
    """Servers that name their own address and any port."""

    mode = "ftp"
    passive = Passive.INSTALLED
    settings = "    nbthread 1"
    clients = ("ftplib", "lftp")


class TestFtpWrongAddress(TestPlain):
    """Servers that name an address where nobody is, and any port."""

    mode = "ftp"
    passive = Passive.WRONG
    settings = "    nbthread 2"


class TestExplicit(Transfers):
    security = Security.EXPLICIT


class TestSessionReuse(Transfers):
    security = Security.REUSE


class TestImplicit(Transfers):
    security = Security.IMPLICIT


class TestFtpExplicit(Transfers):
    """Sessions that go blind at AUTH TLS, and then live as in `mode tcp`."""

    security = Security.EXPLICIT
    mode = "ftp"
    defaults = "    option ftp-auth-tls pass"
    settings = "    nbthread 2"
    clients = ("curl",)


class TestFtpSessionReuse(TestFtpExplicit):
    security = Security.REUSE
    settings = "    nbthread 1"
    clients = ("ftplib",)
