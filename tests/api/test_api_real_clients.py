"""Programs that people already have for HAProxy's stats socket: haproxyadmin, socat, hatop, a reader of the CSV."""

from __future__ import annotations

import csv
import fcntl
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
from contextlib import suppress

import pytest

from api_rig import Echo, exchange
from farm.ports import free_ports
from farm.waiting import until
from process_rig import Running

CONFIGURATION = """
global
    nbthread 1
    maxconn 1000
    node here
    stats socket {path} mode 600 level admin
defaults
    mode tcp
    timeout client 20s
    timeout server 20s
    timeout connect 5s
frontend fe
    bind 127.0.0.1:{port}
    maxconn 50
    default_backend be
backend be
    server s1 127.0.0.1:{echo} weight 5 check inter 100
    server s2 127.0.0.1:{echo} backup
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """The stats socket of a pasvport that has served three sessions."""
    folder = tmp_path_factory.mktemp("clients")
    (port,) = free_ports(1)
    with Echo() as echo:
        text = CONFIGURATION.format(path=folder / "sock", port=port, echo=echo.port)
        with Running(folder, text):
            for _ in range(3):
                exchange(port)
            yield folder / "sock"


HAPROXYADMIN = """
import sys
from haproxyadmin import haproxy

h = haproxy.HAProxy(socket_file=sys.argv[1])
assert h.nodename == "here"
assert h.maxconn == 1000
frontend, backend = h.frontend("fe"), h.backend("be")
assert (frontend.status, frontend.maxconn, frontend.iid) == ("OPEN", 50, 2)
assert frontend.metric("stot") == 3
assert [server.name for server in backend.servers()] == ["s1", "s2"]
server = h.server("s1", backend="be")[0]
assert (server.weight, server.port) == ("5", server.port)
server.setweight(9)
server.setweight("50%")
server.setstate("disable")
assert server.status == "MAINT"
server.setstate("enable")
server.setstate("drain")
server.setstate("enable")
server.address = "127.0.0.9"
assert server.address == "127.0.0.9"
frontend.setmaxconn(44)
assert frontend.maxconn == 44
frontend.disable()
assert frontend.status == "PAUSED"
frontend.enable()
assert frontend.status == "OPEN"
h.setmaxconn(500)
assert h.maxconn == 500
h.setratelimitsess(3)
assert h.ratelimitsess == 3
h.clearcounters(all=True)
assert frontend.metric("stot") == 0
"""


def test_haproxyadmin(path):
    pytest.importorskip("haproxyadmin")
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", HAPROXYADMIN, str(path)], capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0, run.stderr


needs_socat = pytest.mark.skipif(not shutil.which("socat"), reason="socat is not installed")


def socat(path, text):
    command = ["socat", "-t", "10", "-", f"UNIX-CONNECT:{path}"]
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=30, check=True).stdout


@needs_socat
def test_socat(path):
    assert socat(path, "show cli level;show backend\n") == "admin\n\n# name\nbe\n\n"


@needs_socat
def test_a_reader_of_the_csv_finds_its_columns(path):
    """As the exporters do it: the header without its mark, columns by name, numbers where there is something."""
    text = socat(path, "show stat\n").removeprefix("# ")
    rows = list(csv.DictReader(text.strip().splitlines()))
    assert [(row["pxname"], row["svname"]) for row in rows] == [
        ("fe", "FRONTEND"),
        ("be", "s1"),
        ("be", "s2"),
        ("be", "BACKEND"),
    ]
    for row in rows:
        for name in ("scur", "smax", "stot", "bin", "bout", "rate"):
            assert row[name].isdigit(), (row, name)
        assert None not in row


@pytest.mark.skipif(not shutil.which("hatop"), reason="hatop is not installed")
def test_hatop_draws_its_table(path):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 40, 140, 0, 0))
    os.set_blocking(ours, False)
    seen = bytearray()

    def drawn():
        with suppress(BlockingIOError):
            seen.extend(os.read(ours, 65536))
        plain = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]", b" ", seen)
        return b"BACKEND" in plain and b"s1" in plain

    environment = {**os.environ, "TERM": "xterm"}
    hatop = subprocess.Popen(["hatop", "-s", str(path)], stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    try:
        until(drawn, "hatop's table")
        os.write(ours, b"q")
        assert hatop.wait(20) == 0
    finally:
        hatop.kill()
        hatop.wait()
        os.close(ours)
        os.close(theirs)
