"""The farm of `mode ftp`: servers as installed, or naming a wrong address, and a client without opinions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from farm.arena import until_closed
from farm.page import kinds_for
from farm.raw_client import RawClient, read_to_end
from farm.servers import NOWHERE, Farm, Passive, Security

KINDS = kinds_for(Security.PLAIN)
LARGE = bytes(range(256)) * 80_000


@pytest.fixture(scope="module", params=[Passive.INSTALLED, Passive.WRONG])
def farm(request: pytest.FixtureRequest) -> Iterator[Farm]:
    with Farm(KINDS, passive=request.param) as running:
        running.put("large", LARGE)
        yield running


@pytest.mark.parametrize("name", KINDS)
def test_what_pasv_names_and_what_works(farm: Farm, name: str) -> None:
    server = farm[name]
    with RawClient((server.host, server.port)) as client:
        client.log_in(server.user)
        client.ask("TYPE I", 200)
        host, port = client.pasv()
        assert host == (NOWHERE if farm.passive is Passive.WRONG else server.host)
        with client.dial(port) as data:
            client.ask("RETR pub/whoami.txt", 125, 150)
            assert read_to_end(data) == name.encode()
        client.expect(226)
        client.store("STOR pub/stored", b"some bytes")
        assert client.receive("RETR pub/stored", extended=False) == b"some bytes"
        client.quit()


@pytest.mark.parametrize("name", KINDS)
def test_an_urgent_abort(farm: Farm, name: str) -> None:
    server = farm[name]
    with RawClient((server.host, server.port)) as client:
        client.log_in(server.user)
        client.ask("TYPE I", 200)
        data = client.passive()
        client.ask("RETR pub/large", 125, 150)
        assert data.recv(1)
        client.abort()
        # Pure-FTPd needs the data to be read: else its last word on the transfer is one more 150.
        assert len(until_closed(data)) < len(LARGE)
        # ProFTPD waits ten seconds for our end before it answers anything else.
        data.close()
        client.expect(426)
        client.expect(225, 226)
        client.ask("NOOP", 200)
