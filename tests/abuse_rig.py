"""What abuse is measured by: decent sessions beside it, and what the balancer's processes hold."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from farm.front import Front
from farm.raw_client import RawClient
from farm.servers import Farm
from farm.waiting import until

CONTENT = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(20_000))
PATIENCE = 30.0
KILOBYTES_PER_PAGE = os.sysconf("SC_PAGE_SIZE") // 1024
ROUNDS = 6


def resident(pid: int) -> int:
    """Memory of a process in kilobytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * KILOBYTES_PER_PAGE


class Bystanders:
    """Two clients who go on from the first moment to the last: whole transfers in mode ftp (section `fe`), small
    exchanges in mode tcp (section `plain`, an echo). Use as a context manager; leaving it checks that neither failed.

    `rounds` counts, for each, what went well.
    """

    def __init__(self, front: Front, farm: Farm) -> None:
        self._front, self._farm = front, farm
        self._over = threading.Event()
        self._faults: list[str] = []
        self.rounds = {"ftp": 0, "tcp": 0}
        loops = {"ftp": self._transfer, "tcp": self._exchange}
        self._threads = [threading.Thread(target=self._go, args=each, daemon=True) for each in loops.items()]

    def __enter__(self) -> Bystanders:
        for thread in self._threads:
            thread.start()
        self.go_on()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE)
        assert not self._faults, self._faults
        assert not any(thread.is_alive() for thread in self._threads)

    def go_on(self, more: int = ROUNDS) -> None:
        """Wait until each has done so much more."""
        wanted = {kind: done + more for kind, done in self.rounds.items()}

        def done() -> bool:
            assert not self._faults, self._faults
            return all(self.rounds[kind] >= count for kind, count in wanted.items())

        until(done, f"bystanders to get from {self.rounds} to {wanted}", PATIENCE)

    def _go(self, kind: str, loop: Callable[[], None]) -> None:
        try:
            loop()
        except (OSError, AssertionError) as error:
            self._faults.append(f"{kind}: {error!r}")

    def _transfer(self) -> None:
        while not self._over.is_set():
            with self._front.client("fe", "127.0.9.1", patience=PATIENCE) as client:
                client.log_in("farmer")
                client.ask("TYPE I", 200)
                assert client.receive("RETR pub/content") == CONTENT, "another content"
                client.store("STOR pub/up", CONTENT)
                assert any(_content(server.pub / "up") == CONTENT for server in self._farm.servers), "not stored"
                client.quit()
            self.rounds["ftp"] += 1

    def _exchange(self) -> None:
        with socket.create_connection(self._front.address("plain"), PATIENCE, ("127.0.9.2", 0)) as client:
            while not self._over.is_set():
                asked = b"%d\n" % self.rounds["tcp"]
                client.sendall(asked)
                assert client.recv(64) == asked
                self.rounds["tcp"] += 1


def _content(path: Path) -> bytes:
    with contextlib.suppress(FileNotFoundError):
        return path.read_bytes()
    return b""


class Weight:
    """Memory and descriptors of every process of a running balancer, compared with those of another moment."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self.pids = {front.balancer.pid, *front.balancer.workers()}
        self.memory = {pid: resident(pid) for pid in self.pids}
        self.descriptors = self._descriptors()

    def _descriptors(self) -> dict[int, list[str]]:
        return {pid: _not_pipes(pid) for pid in self.pids}

    def check_memory(self, most: int, supervisor: int = 0) -> None:
        """No worker grew by more than so many kilobytes, nor the supervisor by more than its bound (`most`)."""
        grown = {pid: resident(pid) - before for pid, before in self.memory.items()}
        bounds = dict.fromkeys(self.pids, most) | {self._front.balancer.pid: supervisor or most}
        assert all(more <= bounds[pid] for pid, more in grown.items()), f"kilobytes more: {grown}"

    def until_descriptors(self) -> None:
        """Wait until every process holds what it held, or less: what was over then may still have been open."""

        def as_before() -> bool:
            return all(len(found) <= len(self.descriptors[pid]) for pid, found in self._descriptors().items())

        until(as_before, f"{self._descriptors()} to be {self.descriptors}")


def _not_pipes(pid: int) -> list[str]:
    """What its descriptors are; pipes are pooled, and bounded by the pool."""
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            link = str(entry.readlink())
            found += [] if link.startswith("pipe:") else [link]
    return sorted(found)


@contextlib.contextmanager
def closing(sockets: list[socket.socket]) -> Iterator[list[socket.socket]]:
    """Close whatever will be in the list."""
    try:
        yield sockets
    finally:
        for each in sockets:
            each.close()


def say_for_ever(sock: socket.socket, data: bytes, over: threading.Event) -> int:
    """Send `data` again and again, until `over` or until nobody listens; how many bytes left."""
    sent = 0
    sock.settimeout(0.05)
    while not over.is_set():
        try:
            sent += sock.send(data)
        except TimeoutError:
            continue
        except OSError:
            break
    return sent


@contextlib.contextmanager
def floods(*talkers: tuple[socket.socket, bytes]) -> Iterator[None]:
    """Each of these sockets sends its bytes without end meanwhile, and is closed then."""
    over = threading.Event()
    threads = [threading.Thread(target=say_for_ever, args=(*each, over), daemon=True) for each in talkers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(PATIENCE)
        for sock, _ in talkers:
            sock.close()


def until_quiet(front: Front, *sections: str, most: int = 0) -> None:
    """Wait until nothing is going on in these but so many sessions, and nothing is held for anybody else."""
    for name in sections:
        for column in ("scur", "ftp_lease_cur", "ftp_xfer_cur"):
            front.until_stat(name, column, lambda count: count <= most)


def raw(front: Front, source: str = "127.0.9.3", section: str = "fe", size: int = 0) -> RawClient:
    """A client that is greeted; with `size`, one whose receive buffer is that small."""
    client = front.client(section, source, patience=PATIENCE)
    if size:
        client.control.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
    return client
