"""The published text, not a character changed but one word, in a network namespace where its addresses exist."""

import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

import farm
from farm.processes import Child
from farm.waiting import until

PAGE = """\
frontend ftp_fe
mode tcp
option tcplog
log global
bind 192.168.0.100:21 name ftp-control
bind 192.168.0.100:50000-50010 name ftp-data
default_backend ftp_servers
backend ftp_servers
mode tcp
balance leastconn
stick-table type ip size 100k expire 1h
stick on src
server ftp-server1 192.168.1.10 check port 21
server ftp-server2 192.168.1.11 check port 21
"""
BALANCER = "192.168.0.100"
SERVERS = ("192.168.1.10", "192.168.1.11")
CLIENTS = tuple(f"192.168.7.{last}" for last in range(1, 7))

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("ip"), reason="needs root and iproute2")


class Namespace:
    """A network namespace with the page's addresses on its loopback device."""

    def __init__(self):
        self.name = f"pasvport-{os.getpid()}"

    def __enter__(self):
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        self.run("ip", "link", "set", "lo", "up")
        for host in (BALANCER, *SERVERS, *CLIENTS):
            self.run("ip", "address", "add", f"{host}/32", "dev", "lo")
        return self

    def __exit__(self, *exc):
        subprocess.run(["ip", "netns", "delete", self.name], check=True)

    def command(self, *words):
        return ["ip", "netns", "exec", self.name, *words]

    def run(self, *words):
        return subprocess.run(self.command(*words), check=True, capture_output=True, timeout=30).stdout


AS_PUBLISHED = {"ports": [50000, 50010], "advertise": BALANCER}
AS_INSTALLED = {"ports": [0, 0], "advertise": ""}


def start_server(stack, namespace, folder, host, passive):
    home = folder / host
    home.mkdir()
    (home / "name").write_text(host)
    (home / "blob").write_bytes(os.urandom(3_000_000))
    wish = {
        "user": "u",
        "password": "p",
        "home": str(home),
        "name": host,
        "security": "PLAIN",
        "host": host,
        "port": 21,
        **passive,
    }
    command = namespace.command(sys.executable, str(Path(farm.__file__).with_name("pyftpd.py")), json.dumps(wish))
    child = Child(command, folder / f"{host}.log")
    stack.callback(child.stop)
    until(lambda: listens(namespace, host), f"{host} to listen")
    return home


def listens(namespace, host):
    return f"{host}:21 ".encode() in namespace.run("ss", "-ltn")


def fetch(namespace, client, name):
    url = f"ftp://u:p@{BALANCER}/{name}"
    # The address of a 227 is obeyed, as other clients do, and only curl does not by itself.
    words = ("--silent", "--show-error", "--max-time", "20", "--disable-epsv", "--no-ftp-skip-pasv-ip")
    return namespace.run("curl", *words, "--interface", client, url)


@pytest.mark.parametrize(("mode", "passive"), [("tcp", AS_PUBLISHED), ("ftp", AS_INSTALLED)], ids=["tcp", "ftp"])
def test_the_page_as_published(tmp_path, mode, passive):
    (tmp_path / "page.cfg").write_text(PAGE.replace("mode tcp", f"mode {mode}"))
    with ExitStack() as stack:
        namespace = stack.enter_context(Namespace())
        homes = {host: start_server(stack, namespace, tmp_path, host, passive) for host in SERVERS}
        command = namespace.command(sys.executable, "-m", "pasvport", "-f", str(tmp_path / "page.cfg"))
        balancer = Child(command, tmp_path / "pasvport.log")
        stack.callback(balancer.stop)
        until(lambda: listens(namespace, BALANCER), "the balancer to listen")
        places = {}
        for client in CLIENTS:
            places[client] = fetch(namespace, client, "name").decode()
            assert fetch(namespace, client, "name").decode() == places[client]
            assert fetch(namespace, client, "blob") == (homes[places[client]] / "blob").read_bytes()
        assert set(places.values()) == set(SERVERS)
        assert not re.search(r"ALERT|internal error", balancer.output())
