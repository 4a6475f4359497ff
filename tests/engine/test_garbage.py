"""Sessions make no reference cycles, however they end: the collector is set up in the belief that they do not."""

import json
import socket
import struct
from pathlib import Path

from engine_rig import DEADLINE, Rig, config, server
from pasvport.model import Timeouts

WORKER = str(Path(__file__).parents[1] / "garbage_worker.py")


def test_sessions_leave_nothing_to_the_collector(tmp_path):
    found = tmp_path / "garbage"
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        listener.settimeout(DEADLINE)
        servers = [server("s1", listener.getsockname())]
        timeouts = Timeouts(connect=5000, server=600000)
        with Rig(config(servers, timeouts=timeouts), program=(WORKER, str(found))) as rig:
            for end in (orderly, reset_by_client, reset_by_server, half_closed):
                for _ in range(5):
                    end(rig, listener)
            rig.wait_for(lambda: not rig.total("process", "cur"))
        with Rig(config([server("s1", closed.getsockname())], retries=0), program=(WORKER, str(tmp_path / "x"))) as rig:
            for _ in range(5):
                with rig.connect() as client:
                    assert client.recv(1) == b""
            rig.wait_for(lambda: not rig.total("process", "cur"))
    for path in (found, tmp_path / "x"):
        assert json.loads(path.read_text()) == {"cycles": [], "alive": []}


def orderly(rig, listener):
    with rig.connect() as client, listener.accept()[0] as there:
        there.sendall(b"220 \n")
        assert client.recv(5) == b"220 \n"


def half_closed(rig, listener):
    with rig.connect() as client, listener.accept()[0] as there:
        client.sendall(b"QUIT")
        client.shutdown(socket.SHUT_WR)
        assert there.recv(9) == b"QUIT"
        assert there.recv(9) == b""


def reset_by_client(rig, listener):
    with listener_pair(rig, listener) as (client, _):
        reset(client)


def reset_by_server(rig, listener):
    with listener_pair(rig, listener) as (_, there):
        reset(there)


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class listener_pair:  # noqa: N801 - used like a function
    def __init__(self, rig, listener):
        self.client = rig.connect()
        self.there = listener.accept()[0]

    def __enter__(self):
        return self.client, self.there

    def __exit__(self, *exc):
        self.client.close()
        self.there.close()
