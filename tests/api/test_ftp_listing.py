"""`show ftp ...` about what a client of `mode ftp` is doing just now, and the end of it by order."""

from __future__ import annotations

import contextlib
import ftplib
import json
import socket

import pytest

from api_sides import ask
from farm.ports import free_port, free_range
from farm.servers import PASSWORD, Farm, Passive
from farm.waiting import until
from process_rig import Running

SIZE = 32 << 20


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """(stats socket, control port, data ports, user) of a running balancer."""
    folder = tmp_path_factory.mktemp("listing")
    control, (low, high) = free_port(), free_range(8)
    with Farm(("pyftpdlib",), passive=Passive.WRONG) as farm:
        farm.put("large file.bin", b"x" * SIZE)
        server = farm["pyftpdlib"]
        text = f"""
global
    nbthread 2
    stats socket {folder}/api level admin
defaults
    mode ftp
    timeout client 20s
    timeout server 20s
    timeout connect 5s
frontend fe
    bind 127.0.0.1:{control}
    bind 127.0.0.1:{low}-{high}
    default_backend be
backend be
    server s1 {server.host}:{server.port}
"""
        with Running(folder, text):
            yield folder / "api", control, range(low, high + 1), server.user


def connect(control):
    client = ftplib.FTP()
    client.connect("127.0.0.1", control, timeout=20)
    return client


def rows(api, what):
    return json.loads(ask(api, f"show ftp {what} json"))


def test_a_session_its_lease_and_its_transfer_are_seen_and_cut(served):
    api, control, pool, user = served
    client = connect(control)
    client.login(user, PASSWORD)
    (seen,) = rows(api, "sessions")
    assert (seen["user"], seen["server"], seen["frontend"], seen["transfers"]) == (user, "s1", "fe", 0)
    assert PASSWORD not in ask(api, f"show ftp sessions;show sess {seen['id']}")
    assert rows(api, "transfers") == rows(api, "leases") == []

    client.sendcmd("PASV")
    (lease,) = rows(api, "leases")
    assert lease["port"] in pool
    assert (lease["frontend"], lease["network"], lease["connected"]) == ("fe", "127.0.0.1", False)
    pool_of = {"frontend": "fe", "size": 8, "leased": 1, "failed": 0, "conflicts": 0}
    assert rows(api, "pools") == [{**pool_of, "used": 1, "awaited": 1}]
    assert rows(api, "sessions")[0]["doing"] == "idle"

    # Nobody reads: the transfer stands still while it is looked at.
    data = client.transfercmd("RETR pub/large file.bin")
    until(lambda: rows(api, "transfers") and rows(api, "transfers")[0]["size"] > 0, "the transfer to move")
    (transfer,) = rows(api, "transfers")
    assert transfer["session"] == seen["id"]
    assert (transfer["verb"], transfer["path"], transfer["direction"]) == ("RETR", "pub/large file.bin", "download")
    assert 0 < transfer["size"] < SIZE
    assert (transfer["user"], transfer["server"], transfer["client_mode"]) == (user, "s1", "PASV")
    # ftplib has asked for another port. It is in use as long as its transfer runs, and the session says what it does.
    assert rows(api, "pools") == [{**pool_of, "leased": 2, "used": 1, "awaited": 0}]
    (doing,) = rows(api, "sessions")
    assert (doing["doing"], doing["transfers"], doing["last_command"]) == ("download", 1, "RETR pub/large file.bin")
    assert " doing=download " in ask(api, f"show sess {seen['id']}")
    # What a slow client has taken is seen to move, though our kernel took megabytes at once.
    size = transfer["size"]
    for _ in range(3):
        assert data.recv(300_000, socket.MSG_WAITALL)
        until(lambda size=size: rows(api, "transfers")[0]["size"] > size, "the client's bytes to be counted")
        size = rows(api, "transfers")[0]["size"]
    told = ask(api, f"show sess {seen['id']}")
    assert f"  ftp user={user} " in told
    assert "  transfer RETR pub/large\\x20file.bin direction=download bytes=" in told

    assert ask(api, f"shutdown session {seen['id']}") == "\n"
    for connection in (data, client.sock):
        with connection:
            read_to_the_end(connection)
    client.close()
    until(lambda: rows(api, "sessions") == rows(api, "transfers") == [], "the session to be gone")
    assert rows(api, "pools")[0]["used"] == 0


def read_to_the_end(connection):
    with contextlib.suppress(ConnectionResetError):
        while connection.recv(1 << 20):
            pass
