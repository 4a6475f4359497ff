"""Link-local IPv6 addresses: they mean nothing without their interface, on every socket that a session opens.

Two network namespaces with a cable between them: the balancer and its server in one, clients and another server in the
other, where the same interface has another name.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import farm
from farm.processes import Child
from farm.waiting import until

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("ip"), reason="needs root and iproute2")
HERE, THERE = f"pasvport-{os.getpid()}-a", f"pasvport-{os.getpid()}-b"
OURS, THEIRS = "fe80::aa", "fe80::bb"
CONTENT = os.urandom(300_000)
TEXT = """\
global
    nbthread 2
defaults
    timeout connect 5s
    timeout client 20s
    timeout server 20s
listen wild
    mode ftp
    option ftp-active
    bind :::2121
    bind :::50000-50010
    server s 127.0.0.1:21
listen zoned
    mode ftp
    option ftp-active
    bind [fe80::aa%veth0]:2122
    bind [fe80::aa%veth0]:51000-51010
    server s 127.0.0.1:21
listen range
    mode tcp
    bind [fe80::aa%veth0]:52000-52099
    server s 127.0.0.1:21
listen outward
    mode tcp
    bind 127.0.0.1:2124
    source [fe80::aa%veth0]
    server s [fe80::bb%veth0]:7777 check inter 50ms
"""
CLIENT = """\
import ftplib, io, sys
host, port, active, content = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "active", sys.stdin.buffer.read()
class Session(ftplib.FTP):
    def makepasv(self):
        # ftplib forgets the interface, too.
        return host, super().makepasv()[1]
with Session() as session:
    session.connect(host, port, 10)
    session.login("u", "p")
    session.set_pasv(not active)
    session.storbinary(f"STOR {port}-{active}", io.BytesIO(content))
    got = io.BytesIO()
    session.retrbinary(f"RETR {port}-{active}", got.write)
    assert got.getvalue() == content
print("well")
"""
GREET = """\
import socket, sys
with socket.socket(socket.AF_INET6) as door:
    door.bind(("fe80::bb", 7777, 0, socket.if_nametoindex("veth1")))
    door.listen(50)
    while True:
        peer, address = door.accept()
        with peer:
            peer.sendall(address[0].encode())
"""
READ = """\
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 10) as peer:
    print(peer.recv(100).decode())
"""


def run(*words: str, stdin: bytes = b"") -> str:
    done = subprocess.run(words, input=stdin, capture_output=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def inside(namespace: str, *words: str) -> list[str]:
    return ["ip", "netns", "exec", namespace, *words]


def python(namespace: str, text: str, *words: str, stdin: bytes = b"") -> str:
    return run(*inside(namespace, sys.executable, "-c", text, *words), stdin=stdin)


@pytest.fixture(scope="module")
def cable() -> Iterator[None]:
    with ExitStack() as stack:
        for namespace in (HERE, THERE):
            run("ip", "netns", "add", namespace)
            stack.callback(run, "ip", "netns", "delete", namespace)
            run(*inside(namespace, "ip", "link", "set", "lo", "up"))
        run("ip", "link", "add", "veth0", "netns", HERE, "type", "veth", "peer", "name", "veth1", "netns", THERE)
        for namespace, device, host in ((HERE, "veth0", OURS), (THERE, "veth1", THEIRS)):
            run(*inside(namespace, "ip", "link", "set", device, "up"))
            run(*inside(namespace, "ip", "-6", "address", "add", f"{host}/64", "dev", device, "nodad"))
        yield


@pytest.fixture(scope="module")
def balancer(cable: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    folder = tmp_path_factory.mktemp("link")
    (folder / "home").mkdir()
    (folder / "page.cfg").write_text(TEXT)
    wish = {
        "user": "u",
        "password": "p",
        "home": str(folder / "home"),
        "name": "s",
        "security": "PLAIN",
        "host": "127.0.0.1",
        "port": 21,
        "ports": [0, 0],
        "advertise": "",
    }
    with ExitStack() as stack:
        for number, command in enumerate(
            (
                inside(HERE, sys.executable, str(Path(farm.__file__).with_name("pyftpd.py")), json.dumps(wish)),
                inside(THERE, sys.executable, "-c", GREET),
            )
        ):
            stack.callback(Child(command, folder / f"{number}.log").stop)
        until(lambda: ":21 " in run(*inside(HERE, "ss", "-ltn")), "the server to listen")
        until(lambda: ":7777 " in run(*inside(THERE, "ss", "-ltn")), "the other server to listen")
        command = inside(HERE, sys.executable, "-m", "pasvport", "-f", str(folder / "page.cfg"))
        running = Child(command, folder / "pasvport.log")
        stack.callback(running.stop)
        until(lambda: running.check_alive() or ":2124 " in run(*inside(HERE, "ss", "-ltn")), "the balancer to listen")
        yield running


@pytest.mark.parametrize("port", ["2121", "2122"], ids=["wildcard", "zone"])
@pytest.mark.parametrize("way", ["passive", "active"])
def test_a_client_with_a_link_local_address(balancer: Child, port: str, way: str) -> None:
    """Its data connections come over the interface of its control connection, and go there."""
    assert python(THERE, CLIENT, f"{OURS}%veth1", port, way, stdin=CONTENT) == "well\n"


def test_a_range_at_a_link_local_address(balancer: Child) -> None:
    assert python(THERE, READ, f"{OURS}%veth1", "52050").startswith("220")


def test_a_server_with_a_link_local_address(balancer: Child) -> None:
    """From a link-local source, and its checks too."""
    assert python(HERE, READ, "127.0.0.1", "2124") == f"{OURS}\n"
    assert "DOWN" not in balancer.output()


@pytest.mark.parametrize(("zone", "complaint"), [("veth0", ""), ("veth7", "No such device")])
def test_a_zone_is_accepted_by_the_check_and_at_the_start(
    cable: None, tmp_path: Path, zone: str, complaint: str
) -> None:
    """As with any address, whether it is there is seen at the start."""
    page = tmp_path / "page.cfg"
    page.write_text(f"defaults\n timeout client 1s\nlisten l\n bind [fe80::aa%{zone}]:2129\n")
    program = (sys.executable, "-m", "pasvport", "-f", str(page))
    run(*inside(HERE, *program, "-c"))
    child = Child(inside(HERE, *program, "-db"), tmp_path / "log")
    try:
        if complaint:
            until(lambda: complaint in child.output(), "the refusal")
        else:
            until(lambda: child.check_alive() or ":2129 " in run(*inside(HERE, "ss", "-ltn")), "the balancer to listen")
    finally:
        child.stop()
