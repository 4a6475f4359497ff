"""Loopback addresses that no other test run uses, so that ports can be the ones of the documentation."""

from __future__ import annotations

import itertools
import os

_subnets = itertools.count(1)

CONTROL_PORT = 21 if os.geteuid() == 0 else 2121
IMPLICIT_PORT = 990 if os.geteuid() == 0 else 9990


class Subnet:
    """One /24 below 127.0.0.0/8: `host(1)` .. `host(254)`. Second octet: the process; third: a count."""

    def __init__(self) -> None:
        self.prefix = f"127.{64 + os.getpid() % 128}.{next(_subnets) % 256}"

    def host(self, number: int) -> str:
        return f"{self.prefix}.{number}"


def source_addresses(count: int) -> list[str]:
    """Distinct client addresses, spread over several second and third octets as real clients are."""
    return [f"127.{200 + n % 7}.{1 + n // 200}.{1 + n % 200}" for n in range(count)]
