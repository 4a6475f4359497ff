"""What this machine would give a balancer: descriptors, ephemeral ports, addresses of its own."""

from __future__ import annotations

import contextlib
import resource
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pasvport.address import Family, PortRange, family_of, parse_port_range
from pasvport.errors import AddressError

_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_RESERVED = Path("/proc/sys/net/ipv4/ip_local_reserved_ports")
_UNLIMITED = 1 << 30


def owns_address(host: str) -> bool:
    """Whether a literal address is one of this machine's: tried by binding to it."""
    family = socket.AF_INET6 if family_of(host) is Family.IPV6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Machine:
    """`descriptors` is the hard limit of a process. `ephemeral` None where the system does not say."""

    descriptors: int = _UNLIMITED
    ephemeral: PortRange | None = None
    reserved: tuple[PortRange, ...] = ()
    owns: Callable[[str], bool] = owns_address


def this_machine() -> Machine:
    """Read what the kernel says."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Machine(hard if hard > 0 else _UNLIMITED, _ephemeral(), _reserved())


def _ephemeral() -> PortRange | None:
    try:
        low, high = _EPHEMERAL.read_text().split()
        return PortRange(int(low), int(high))
    except (OSError, ValueError):
        return None


def _reserved() -> tuple[PortRange, ...]:
    with contextlib.suppress(OSError, AddressError):
        return tuple(parse_port_range(word) for word in _RESERVED.read_text().strip().split(",") if word)
    return ()
