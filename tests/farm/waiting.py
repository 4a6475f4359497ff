"""Waiting for facts with a deadline, instead of sleeping and hoping."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
PATIENCE = 20.0


def until(fact: Callable[[], T], what: str, patience: float = PATIENCE) -> T:
    """Ask again until `fact()` is true; its value, or AssertionError naming `what` when the deadline passes."""
    deadline = time.monotonic() + patience
    while not (value := fact()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience:.0f} s for {what}")
        time.sleep(0.005)
    return value


_REQUEST = struct.Struct("=IHHIIBBBxI48x")
_ANSWER = struct.Struct("!BBBBHH16s16s")
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG, _REQUEST_DUMP, _DONE = 20, 0x301, 3
_LISTEN = 1 << 10


def listening(family: socket.AddressFamily = socket.AF_INET) -> set[tuple[str, int]]:
    """Every address and port in state LISTEN on this machine: looking leaves no trace in anybody's log.

    Asked by netlink (sock_diag(7)), which does not go through a hundred thousand sockets in TIME_WAIT as /proc does.
    """
    found = set()
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as diag:
        asked = _REQUEST.pack(_REQUEST.size, _SOCK_DIAG, _REQUEST_DUMP, 1, 0, family, socket.IPPROTO_TCP, 0, _LISTEN)
        diag.sendall(asked)
        while True:
            batch = diag.recv(1 << 16)
            while batch:
                size, kind = struct.unpack_from("=IH", batch)
                if kind == _DONE:
                    return found
                _, _, _, _, port, _, host, _ = _ANSWER.unpack_from(batch, 16)
                found.add((socket.inet_ntop(family, host[: 4 if family is socket.AF_INET else 16]), port))
                batch = batch[(size + 3) & ~3 :]


def until_listening(host: str, port: int, alive: Callable[[], None], patience: float = PATIENCE) -> None:
    """Wait until somebody listens there (or on 0.0.0.0); `alive` raises when waiting has become pointless."""

    def ready() -> bool:
        alive()
        seen = listening()
        return (host, port) in seen or ("0.0.0.0", port) in seen

    until(ready, f"a listener on {host}:{port}", patience)


def until_banner(host: str, port: int, alive: Callable[[], None], patience: float = PATIENCE) -> None:
    """Wait until the FTP server there says 220."""

    def greeted() -> bool:
        alive()
        try:
            with socket.create_connection((host, port), timeout=patience) as control:
                return control.recv(3) == b"220"
        except ConnectionError:
            return False

    until(greeted, f"the banner of {host}:{port}", patience)


def _kernel_address(address: tuple[str, int]) -> str:
    number = struct.unpack("=I", socket.inet_aton(address[0]))[0]
    return f"{number:08X}:{address[1]:04X}"


def until_accepted(client: socket.socket) -> None:
    """Wait until the process behind the listening socket has taken this connection out of its backlog.

    The kernel shows it: a connection still in a backlog is ESTABLISHED, or CLOSE_WAIT, and has no inode.
    """
    mine, theirs = _kernel_address(client.getsockname()), _kernel_address(client.getpeername())

    def taken() -> bool:
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            words = line.split()
            if words[1] == theirs and words[2] == mine:
                return words[3] not in ("01", "08") or words[9] != "0"
        return True  # gone already: it was taken, and closed

    until(taken, f"accept() of {mine}")
