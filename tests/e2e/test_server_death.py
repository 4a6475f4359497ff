"""A server dies and comes back: its clients move, the others notice nothing."""

from __future__ import annotations

import random
import re

import pytest

from farm.arena import read_to_end
from farm.page import Page, logged_in

CONTENT = random.Random(7).randbytes(6_000_000)
A, B = "pyftpdlib-1", "pyftpdlib-2"


def statuses(page: Page, name: str) -> list[str]:
    """What `option log-health-checks` said of that server: health/limit and state."""
    said = page.sink.until_text(f"Health check for server ftp_servers/{name}")
    return [found[1] for text in said if (found := re.search(r"status: (\S+ \w+)", text))]


@pytest.mark.parametrize("balancer", ["haproxy", "pasvport"])
def test_clients_of_a_dead_server_move(balancer: str) -> None:
    with Page(
        balancer,
        (A, B),
        server_options="check inter 100ms fall 3 rise 2",
        extra_defaults="    log global\n    option log-health-checks",
    ) as page:
        page.put("content", CONTENT)
        settled = page.source_of(A)
        # A server that no check has seen yet falls with the first failure.
        page.sink.until_text(f"server ftp_servers/{A} succeeded")
        with logged_in(page, page.source_of(B)) as (server, session):
            assert server.name == B
            data = session.transfercmd("RETR pub/content")
            begun = data.recv(1000)
            page.farm[A].stop()
            page.sink.until_text(f"Server ftp_servers/{A} is DOWN")
            assert {page.greeter(page.new_source()).name for _ in range(6)} == {B}
            assert page.greeter(settled).name == B
            begun += read_to_end(data)
            data.close()
            session.voidresp()
            assert begun == CONTENT
        page.farm[A].start()
        page.sink.until_text(f"Server ftp_servers/{A} is UP")
        # Who has moved stays; who is new may land on either.
        assert page.greeter(settled).name == B
        assert {page.greeter(page.new_source()).name for _ in range(6)} == {A, B}
        # As configured: after the first check of all, three failures take it out, two successes bring it back.
        assert statuses(page, A) == ["3/3 UP", "2/3 UP", "1/3 UP", "0/2 DOWN", "1/2 DOWN", "3/3 UP"]
        assert B not in " ".join(text for text in page.sink.texts() if "is DOWN" in text)
