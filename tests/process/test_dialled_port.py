"""The port that a client dialled, in every kind of log line, whichever way the socket came to be; beside HAProxy."""

import os
import re
import socket

import pytest

from farm.ports import free_range
from farm.processes import Child
from farm.waiting import until
from process_rig import Running, connect
from real_haproxy import HAPROXY, needs_haproxy

BALANCER = "127.0.92.1"
FORMAT = "port=%fp %[dst_port] %[fc_dst_port] address=%fi %[dst]"


def text(bind, logged):
    return (
        "global\n    log stdout format raw local0\n    nbthread 1\n    maxconn 50\n"
        "defaults\n    mode tcp\n    log global\n    timeout client 20s\n    timeout server 20s\n"
        "    timeout connect 5s\n"
        f"listen fe\n    bind {bind}\n{logged}    server s 127.0.0.1:1\n"
    )


LOGGED = {"format": f'    log-format "{FORMAT}"\n', "default": ""}


def expected(port, host):
    return {
        "format": f"port={port} {port} {port} address={host} {host}\n",
        "default": f" to {host}:{port} (fe/TCP)\n",
    }


@pytest.fixture(params=["inherited", "short range", "long range", "wildcard"])
def place(request):
    """(bind, host, port dialled, descriptors to inherit)."""
    if request.param == "inherited":
        with socket.create_server((BALANCER, 0)) as listener:
            os.set_inheritable(listener.fileno(), True)
            yield f"fd@{listener.fileno()}", BALANCER, listener.getsockname()[1], (listener.fileno(),)
        return
    low, high = free_range(100 if request.param == "long range" else 10, ("0.0.0.0",))
    host = "" if request.param == "wildcard" else BALANCER
    yield f"{host}:{low}-{high}", BALANCER, low + 7, ()


@pytest.mark.parametrize("logged", LOGGED)
@pytest.mark.parametrize("program", ["pasvport", pytest.param("haproxy", marks=needs_haproxy)])
def test_the_log_names_the_port_that_was_dialled(tmp_path, place, logged, program):
    bind, host, port, inherited = place
    written = text(bind, LOGGED[logged])
    if program == "pasvport":
        running = Running(tmp_path, written, "-db", inherited=inherited)
    else:
        (tmp_path / "their.cfg").write_text(written)
        running = Child(
            [HAPROXY, "-db", "-f", str(tmp_path / "their.cfg")], tmp_path / "their.log", inherited=inherited
        )
    try:
        wanted = re.escape(expected(port, host)[logged])
        with until(lambda: dialled(host, port), f"somebody on {host}:{port}"):
            until(lambda: re.search(wanted, running.output()), f"{wanted!r} in {running.output()!r}")
    finally:
        running.stop()


def dialled(host, port):
    try:
        return connect(port, "127.0.0.1", host)
    except ConnectionRefusedError:
        return None
