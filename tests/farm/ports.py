"""Ports for tests to bind later: none of those that the kernel hands out by itself.

A port that the kernel names and gets back may be some connection's before the test binds it, and a wildcard address
conflicts with every connection there is. So ports are chosen below that range, at random, never twice in a process.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

_LOWEST = 10240
_TRIES = 2000
_MANY = 50
_chance = random.SystemRandom()
_given: set[int] = set()


def _highest() -> int:
    """The last port below those of outgoing connections."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    return first - 1 if first > _LOWEST + _TRIES else 65535


def free_range(count: int, hosts: Sequence[str] = ("127.0.0.1",)) -> tuple[int, int]:
    """The lowest and the highest of `count` neighbouring ports that are free on every one of `hosts` (IPv4, IPv6)."""
    highest = _highest()
    # Single ports, given here and there, would leave no gap for a large range late in a run: each has its part.
    middle = _LOWEST + (highest - _LOWEST) * 2 // 5
    first, last = (_LOWEST, middle) if count >= _MANY else (middle, highest)
    for attempt in range(_TRIES):
        low = _chance.randrange(first, last - count + 2)
        ports = range(low, low + count)
        if (attempt > _TRIES // 2 or _given.isdisjoint(ports)) and _are_free(ports, hosts):
            _given.update(ports)
            return low, low + count - 1
    raise AssertionError(f"no {count} neighbouring ports are free")


def free_port(host: str = "127.0.0.1") -> int:
    """One port that is free on `host`."""
    return free_range(1, (host,))[0]


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """`count` different ports that are free on `host`."""
    return [free_port(host) for _ in range(count)]


def _are_free(ports: Iterable[int], hosts: Sequence[str]) -> bool:
    with ExitStack() as held:
        try:
            for host in hosts:
                for port in ports:
                    probe = held.enter_context(socket.socket(_family(host)))
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind((host, port))
                    probe.listen()
        except OSError:
            return False
    return True


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
