"""What surrounds the balancer misbehaves: disks, log servers, clients of its stats sockets and of its web pages.

The data plane goes on: decent sessions beside it carry every byte, and no process grows without bound.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from abuse_rig import CONTENT, PATIENCE, Bystanders, Weight, closing, floods
from api_rig import Echo
from farm.balancers import BALANCERS, Pasvport
from farm.front import Front, Section
from farm.ports import free_port
from farm.scripted import Scripted
from farm.servers import Farm, Passive
from farm.waiting import until

MEGABYTES = 1024
ENTRIES = 6_000
CHUNK = 1 << 18


@pytest.fixture(scope="module")
def farm() -> Iterator[Farm]:
    with Farm(("pyftpdlib-1",), passive=Passive.WRONG) as running:
        running.put("content", CONTENT)
        yield running


@contextlib.contextmanager
def running(farm: Farm, kind: str = "pasvport", *, lines: str = "", **more: str) -> Iterator[Front]:
    """`fe` in mode ftp (with `lines`) and `plain` in mode tcp."""
    server = farm.servers[0]
    with (
        Echo() as echo,
        Scripted() as wordy,
        Front(
            Section("fe", f"{lines}\nserver {server.name} {server.host}:{server.port}"),
            Section("wordy", f"server wordy {wordy.address}"),
            Section("plain", f"server echo 127.0.0.1:{echo.port}", "bind {host}:{port}", "tcp"),
            kind=kind,
            **more,  # type: ignore[arg-type]
        ) as front,
    ):
        yield front


# --- logs ---------------------------------------------------------------------------------------------------------


class OnFullDisk(Pasvport):
    """In a mount namespace of its own, where its folder's `disk` is a file system of one page; what it prints goes
    to a device that is always full."""

    def command(self) -> list[str]:
        place = self.settings.with_name("disk")
        place.mkdir(exist_ok=True)
        self.settings.write_text(self.settings.read_text().replace("DISK", str(place)))
        script = f'mount -t tmpfs -o size=4k none {place} && exec "$@" >/dev/full 2>&1'
        return ["unshare", "--mount", "sh", "-c", script, "sh", *super().command()]

    def start(self) -> None:
        """One that ends at once cannot say why: another, whose stderr can be read, is asked."""
        try:
            super().start()
        except AssertionError as error:
            again = subprocess.run(["timeout", "3", *super().command()], capture_output=True, text=True, check=False)
            error.add_note(again.stderr)
            raise


def may_mount() -> bool:
    return not subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode


@pytest.fixture
def disks(monkeypatch: pytest.MonkeyPatch) -> None:
    if not may_mount():
        pytest.skip("no mount namespaces")
    monkeypatch.setitem(BALANCERS, "on full disk", OnFullDisk)


def spoken_to_nobody(stack: contextlib.ExitStack, folder: Path) -> str:
    """Log targets of every kind that takes nothing, or soon no more."""
    full = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
    full.bind(str(folder / "dgram"))
    deaf = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    targets = (
        f"127.0.0.1:{free_port()}",
        str(folder / "dgram"),
        f"tcp@127.0.0.1:{deaf.getsockname()[1]}",
        f"tcp@127.0.0.1:{free_port()}",
        "stdout",
        "stderr",
    )
    return "\n".join(f"log {target} len 8192 local0" for target in targets)


@pytest.mark.parametrize("xferlog", ["DISK/xferlog", "/dev/full"], ids=["disk", "device"])
def test_logs_that_go_nowhere(farm: Farm, disks: None, tmp_path: Path, xferlog: str) -> None:
    """Workers keep no line: what cannot be sent at once is lost. They grow by some 200 KiB, for their first sessions.

    The supervisor keeps 1 MiB of lines for each target that takes nothing and may block: here the log server that is
    absent, the one that is deaf (once the kernel's buffers are full), and the file. Short lines cost half as much again
    as objects of Python, and each thread that writes has an arena of malloc's; together less than 6 MiB.
    """
    sessions = 400
    with contextlib.ExitStack() as stack:
        settings = spoken_to_nobody(stack, tmp_path)
        lines = f"option ftp-xferlog {xferlog}"
        front = stack.enter_context(running(farm, "on full disk", lines=lines, settings=settings))
        front.api("show info")
        before = Weight(front)
        with Bystanders(front, farm) as decent:
            for number in range(sessions):
                with front.client("wordy", f"127.0.9.{number % 200 + 10}") as client:
                    client.ask(f"USER {'x' * 3900}", 331)
                    client.quit()
            until(lambda: lost(front) >= 2 * sessions, "every line for stdout and stderr to be lost")
            assert "x" * 3900 in front.sink.until_text("wordy/wordy", sessions)[-1]
            front.sink.until_text("No space left on device; its lines wait")
            decent.go_on()
        before.check_memory(4 * MEGABYTES, 8 * MEGABYTES)


def lost(front: Front) -> int:
    """Log lines that found no room, as `show info` counts them."""
    words = front.api("show info").split()
    return int(words[words.index("DroppedLogs:") + 1])


# --- stats sockets ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def watched(farm: Farm) -> Iterator[Front]:
    """A balancer with a large table, a stats socket on TCP and web pages, both in `front.ports`."""
    api, web = free_port(), free_port()
    with running(
        farm,
        lines="stick-table type ip size 100k expire 1h",
        settings=f"stats socket ipv4@127.0.0.1:{api} level admin\nstats timeout 3s\nstats maxconn 10",
        extra=PAGES.format(web=web),
    ) as front:
        front.ports = (api, web)  # type: ignore[attr-defined]
        fill_table(front)
        yield front


PAGES = """
frontend pages
    mode http
    bind 127.0.0.1:{web}
    timeout client 3s
    stats enable
    stats uri /
    stats admin if TRUE
"""


def fill_table(front: Front) -> None:
    keys = [f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(ENTRIES)]
    for start in range(0, ENTRIES, 2000):
        orders = ";".join(f"set table fe key {key}" for key in keys[start : start + 2000])
        front.api(orders)
    assert f"used:{ENTRIES}" in front.api("show table")


def api(front: Front, data: bytes = b"", size: int = 0) -> socket.socket:
    """A client of the stats socket on TCP that sends this and reads nothing."""
    return caller(front.ports[0], data, size)  # type: ignore[attr-defined]


def caller(port: int, data: bytes = b"", size: int = 0) -> socket.socket:
    sock = socket.socket()
    if size:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
    sock.settimeout(PATIENCE)
    sock.connect(("127.0.0.1", port))
    sock.sendall(data)
    return sock


@contextlib.contextmanager
def undisturbed(front: Front, farm: Farm, supervisor: int = 12 * MEGABYTES) -> Iterator[Bystanders]:
    """Sessions go on meanwhile; afterwards the answers come again, and nothing is held."""
    front.api("show stat")
    before = Weight(front)
    with Bystanders(front, farm) as decent:
        yield decent
    before.check_memory(4 * MEGABYTES, supervisor)
    assert "Uptime" in front.api("show info")
    before.until_descriptors()


def test_clients_that_ask_and_do_not_read(watched: Front, farm: Farm) -> None:
    """All that may be served are stuck in a large answer: sessions go on, and after `stats timeout` answers do."""
    # What the kernel buffers, 2.8 MB each, is cheap to say; as tables it would cost the supervisor five seconds.
    question = b"help;" * 500 + b"show table fe;show sess all;show table fe\n" * 20
    # Each may hold a part of the table, as large as ten thousand entries.
    with closing([]) as stuck, undisturbed(watched, farm, 100 * MEGABYTES) as decent:
        stuck += [api(watched, question, 4096) for _ in range(10)]
        decent.go_on()
        assert "Uptime" in watched.api("show info")


def test_a_thousand_clients(watched: Front, farm: Farm) -> None:
    """Beyond `stats maxconn` they wait, and each gets its answer."""
    with closing([]) as crowd, undisturbed(watched, farm) as decent:
        crowd += [api(watched, b"show version\n") for _ in range(1000)]
        decent.go_on()
        for sock in crowd:
            assert sock.recv(100)


ENDLESS_REQUESTS = {
    "no end of line": b"a" * CHUNK,
    "blanks": b" " * CHUNK,
    "words": b"show st " * (CHUNK // 8),
    "nothing": b"\n" * CHUNK,
    "semicolons": b";" * 60_000 + b"\n",
    "unknown": b"x\n" * (CHUNK // 2),
    "binary": bytes(range(256)) * (CHUNK // 256),
    "payload": b"set server <<\n" + b"x\n" * (CHUNK // 2),
    "commands": b"prompt\n" + b"show stat;show table fe;show activity\n" * 5000,
}


def test_what_clients_say_without_end(watched: Front, farm: Farm) -> None:
    with undisturbed(watched, farm) as decent:
        clients = [(api(watched, size=4096), data) for data in ENDLESS_REQUESTS.values()]
        with floods(*clients):
            decent.go_on()
            assert "Uptime" in watched.api("show info")


# --- web pages ----------------------------------------------------------------------------------------------------

LONG_POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
GET = b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n"
ENDLESS_PAGES = {
    "a body": (LONG_POST, b"s=x&" * (CHUNK // 4)),
    "chunks": (CHUNKED, b"8\r\ns=1&b=2&\r\n" * (CHUNK // 13)),
    "one chunk": (CHUNKED + b"fffffffff\r\n", b"x" * CHUNK),
    "a request line": (b"GET /", b"x" * CHUNK),
    "a header": (b"GET / HTTP/1.1\r\nX: ", b"x" * CHUNK),
    "headers": (b"GET / HTTP/1.1\r\n", b"X: y\r\n" * (CHUNK // 6)),
    "requests": (b"", GET % b"dashboard/data" * 500),
    "binary": (b"", bytes(range(256)) * (CHUNK // 256)),
    "lines": (b"", b"\r\n" * (CHUNK // 2)),
}


def web(front: Front, data: bytes = b"", size: int = 0) -> socket.socket:
    return caller(front.ports[1], data, size)  # type: ignore[attr-defined]


def page(front: Front, path: bytes = b"health") -> bytes:
    """The first line of an answer."""
    with contextlib.closing(web(front, GET % path)) as sock, sock.makefile("rb") as lines:
        return lines.readline()


def test_pages_that_are_polled_and_not_read(watched: Front, farm: Farm) -> None:
    """Fifty clients of the dashboard; twenty ask again and again and take nothing."""
    page(watched, b"dashboard/data")
    with closing([]) as clients, undisturbed(watched, farm, 40 * MEGABYTES) as decent:
        clients += [web(watched, GET % b"dashboard/data" * 50, 4096) for _ in range(20)]
        readers = [threading.Thread(target=poll, args=(watched,)) for _ in range(30)]
        for reader in readers:
            reader.start()
        decent.go_on()
        for reader in readers:
            reader.join(PATIENCE)
        assert page(watched) == b"HTTP/1.1 200 OK\r\n"


def poll(front: Front) -> None:
    for path in (b"", b"dashboard/data", b"metrics", b";csv"):
        with contextlib.suppress(OSError):
            page(front, path)


def test_what_browsers_say_without_end(watched: Front, farm: Farm) -> None:
    """Bodies, headers, requests; and one byte now and then."""
    with undisturbed(watched, farm, 40 * MEGABYTES) as decent, contextlib.ExitStack() as stack:
        over = threading.Event()
        stack.callback(over.set)
        slow = stack.enter_context(contextlib.closing(web(watched)))
        drop = threading.Thread(target=drip, args=(slow, over), daemon=True)
        drop.start()
        with floods(*((web(watched, head, 4096), rest) for head, rest in ENDLESS_PAGES.values())):
            decent.go_on()
            assert page(watched) == b"HTTP/1.1 200 OK\r\n"
        until(lambda: not drop.is_alive(), "the slow one to be sent away")


def drip(sock: socket.socket, over: threading.Event) -> None:
    """A request of many headers, one byte at a time, until the other side has had enough."""
    words = iter((GET % b"health").replace(b"\r\n\r\n", b"\r\n" + b"X: y\r\n" * 1000))
    with contextlib.suppress(OSError):
        while not over.wait(0.05):
            sock.sendall(bytes([next(words)]))
