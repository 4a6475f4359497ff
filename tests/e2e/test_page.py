"""HAProxy's passive-FTP page with vsftpd, ProFTPD, Pure-FTPd and pyftpdlib behind it, and every client in front."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from farm.clients import CLIENTS, Client
from farm.page import Page, kinds_for
from farm.servers import Security

SMALL = os.urandom(100_003)


@pytest.fixture(scope="module")
def page(request: pytest.FixtureRequest) -> Iterator[Page]:
    with Page("pasvport", kinds_for(request.param), request.param) as running:
        running.put("empty", b"")
        for server in running.farm.servers:
            server.put("small", server.name.encode() + SMALL)
        yield running


def can_meet(security: Security, server: str, client: Client) -> bool:
    """Whether that client and that server understand each other at all, balancer or not."""
    return security in client.securities and not (security.is_tls and client.needs_early_tls and server != "pyftpdlib")


def meetings(names: tuple[str, ...] = tuple(CLIENTS)) -> list[tuple[Security, str, str]]:
    """(protection, server, client) of everything that exists."""
    return [
        (security, server, name)
        for security in Security
        for server in kinds_for(security)
        for name in names
        if can_meet(security, server, CLIENTS[name])
    ]


def with_modes() -> list[tuple[Security, str, str, bool]]:
    return [(*meeting, extended) for meeting in meetings() for extended in CLIENTS[meeting[2]].modes]


def label(value: object) -> str:
    if isinstance(value, Security):
        return value.name.lower()
    return {True: "epsv", False: "pasv"}[value] if isinstance(value, bool) else str(value)


@pytest.mark.parametrize(("page", "server", "client", "extended"), with_modes(), indirect=["page"], ids=label)
def test_transfers(page: Page, tmp_path: Path, server: str, client: str, extended: bool) -> None:
    program = CLIENTS[client]
    target = page.target_of(server, extended=extended)
    expected = server.encode() + SMALL  # the content names its server, so a wrong one shows
    got = tmp_path / "got"
    program.download(target, "small", got)
    assert got.read_bytes() == expected
    if program.uploads:
        program.upload(target, got, "uploaded")
        assert (page.farm[server].pub / "uploaded").read_bytes() == expected
    if page.security is Security.PLAIN:
        # Behind TLS a listing is one more data connection like a download, and each costs ProFTPD half a second.
        assert "whoami.txt" in program.listing(target)


@pytest.mark.parametrize(("page", "server", "client"), meetings(("curl", "ftplib")), indirect=["page"], ids=label)
def test_empty_file(page: Page, tmp_path: Path, server: str, client: str) -> None:
    program = CLIENTS[client]
    target = page.target_of(server)
    empty = tmp_path / "empty"
    program.download(target, "empty", empty)
    assert empty.read_bytes() == b""
    program.upload(target, empty, "uploaded-empty")
    assert (page.farm[server].pub / "uploaded-empty").read_bytes() == b""
