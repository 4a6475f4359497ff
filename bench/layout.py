"""Who sits where on the loopback network. Everything is below 127.77.0.0/16 and 127.78.0.0/15, where nobody else is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILD = HERE / "build"
RESULTS = HERE / "results"

BALANCER = "127.77.0.1"
SINK = "127.77.0.9"
SINK_PORT = 5514
SERVERS = ("127.77.1.10", "127.77.1.11")
FTP_PORT = 2121
TCP_PORT = 2500
PASSIVE = (50000, 50199)
"""Ports of a session's data connection: the page's range, wide enough for fifty clients at once."""
FIRST_CLIENT = "127.77.16.0"
"""Ordinary clients: 200 addresses from here."""
FIRST_OF_MANY = "127.78.0.0"
"""Up to 131,072 addresses from here, for filling stick tables."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a balancer is configured for. Every peer gets the same, in its own language."""

    workers: int = 1
    logs: bool = True
    splice: bool = False
    ports: tuple[int, int] = PASSIVE
    servers: int = 0
    """Additional servers, never connected to: what a long configuration costs to read."""


def clients(count: int = 200) -> str:
    """Source addresses in the tools' notation."""
    return f"{FIRST_CLIENT}+{count}"


def many_clients(count: int) -> str:
    """The same, from the wide range."""
    return f"{FIRST_OF_MANY}+{count}"
