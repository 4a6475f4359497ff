"""A limit of descriptors: every session that is let in can transfer."""

from __future__ import annotations

import contextlib
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from farm.front import Front, Section
from farm.raw_client import RawClient, read_to_end
from farm.scripted import Scripted

DESCRIPTORS = 300
BIG = bytes(range(256)) * 8192


@pytest.mark.parametrize("threads", [1, 2])
def test_whoever_is_let_in_can_transfer(threads: int) -> None:
    with Scripted("big") as server:
        server.content = BIG
        with Front(
            Section("fe", f"server s {server.address}"), settings=f"ulimit-n {DESCRIPTORS}", threads=threads
        ) as front:
            most = int(re.search(r"^Maxconn: (\d+)$", front.api("show info"), re.MULTILINE)[1])  # type: ignore[index]
            assert 30 <= most <= 40
            assert f"'maxconn' is {most}: a session in mode ftp may need 6 descriptors" in front.balancer.output()
            transfer_at_once(front, most)


def transfer_at_once(front: Front, most: int) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(front.client("fe")) for _ in range(most)]
        more = stack.enter_context(RawClient(front.address("fe"), greeting=False))
        for client in clients:
            client.log_in("u")
        front.until_stat("fe", "scur", lambda count: count == most)
        # All of them stand with both connections, and a pipe, before the first byte is taken.
        moving = [stack.enter_context(client.passive()) for client in clients]
        for client in clients:
            client.send("RETR x")
        for client in clients:
            client.expect(150)
        with ThreadPoolExecutor(8) as pool:
            assert all(content == BIG for content in pool.map(read_to_end, moving))
        for client in clients:
            client.expect(226)
        clients[0].quit()
        assert more.expect(220)
