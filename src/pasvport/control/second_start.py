"""Whether another process listens where this one is about to: a second start by mistake.

With SO_REUSEPORT the kernel lets both bind, and gives each a share of the clients, who then meet two sets of stick
tables, limits and data ports; and the second one's stats sockets take the places of the first one's. HAProxy starts
all the same.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from pasvport.address import Endpoint, Family
from pasvport.digits import is_number
from pasvport.errors import ResourceError
from pasvport.model import Config

_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_ADDRESS, _STATE = 1, 3
_LISTEN = "0A"
_WORD = 4
_LONGEST_PID_FILE = 32


def taken_places(config: Config, tables: Iterable[str] = _TABLES) -> list[str]:
    """The addresses of `bind` lines, `host:port`, at which some process listens with SO_REUSEPORT or not.

    Of a range the lowest port counts. Data ports of `mode ftp` do not: they are opened when leased.
    """
    listening = set(_listening(tables))
    return [place for place, key in _places(config) if key in listening]


def running_instance(pidfile: str) -> int:
    """The process that the pid file names, if there is one that is not this; else 0."""
    try:
        with Path(pidfile).open("rb") as file:
            text = file.read(_LONGEST_PID_FILE).decode("ascii", "replace").strip()
    except OSError:
        return 0
    pid = int(text) if is_number(text) and len(text) < _LONGEST_PID_FILE else 0
    return pid if pid != os.getpid() and _is_alive(pid) else 0


def refuse_second_start(config: Config, pidfile: str | None) -> str:
    """A warning where somebody listens at our addresses, "" where nobody does.

    Raises ResourceError when the pid file names a process that is alive besides: then it is this service that runs.
    A pid alone is no proof, since after a crash or in another container the number may be anybody's.
    """
    if config.settings.noreuseport:
        return ""
    taken = taken_places(config)
    if not taken:
        return ""
    pid = running_instance(pidfile) if pidfile else 0
    if pid:
        raise ResourceError(
            f"Process {pid} runs with this pid file ({pidfile}) and listens at {taken[0]}. "
            f"'-sf {pid}' takes its place, a reload gives it a new configuration."
        )
    return (
        f"another process listens at {', '.join(taken)}: the kernel gives it a share of the clients. "
        "Where it is an older instance, stop it, or take its place with -sf."
    )


def _is_alive(pid: int) -> bool:
    if pid <= 0:
        return False
    with contextlib.suppress(ProcessLookupError, OverflowError):
        with contextlib.suppress(PermissionError):
            os.kill(pid, 0)
        return True
    return False


def _places(config: Config) -> Iterator[tuple[str, str]]:
    for proxy in config.proxies:
        for bind in proxy.binds:
            if not bind.data and bind.endpoint.family in (Family.IPV4, Family.IPV6):
                yield _shown(bind.endpoint, bind.ports.low), _key(bind.endpoint, bind.ports.low)


def _shown(endpoint: Endpoint, port: int) -> str:
    return f"[{endpoint.host}]:{port}" if endpoint.family is Family.IPV6 else f"{endpoint.host}:{port}"


def _key(endpoint: Endpoint, port: int) -> str:
    """As the kernel's tables write it: words of 32 bits in the order of this machine (proc_net_tcp)."""
    family = socket.AF_INET6 if endpoint.family is Family.IPV6 else socket.AF_INET
    packed = socket.inet_pton(family, endpoint.host.partition("%")[0])
    words = (int.from_bytes(packed[at : at + _WORD], sys.byteorder) for at in range(0, len(packed), _WORD))
    return "".join(f"{word:08X}" for word in words) + f":{port:04X}"


def _listening(tables: Iterable[str]) -> Iterator[str]:
    for table in tables:
        try:
            with Path(table).open(encoding="ascii", errors="replace") as file:
                next(file, "")
                yield from _listeners_of(file)
        except OSError:
            # No /proc, or no IPv6: nothing is known, which is no reason not to start.
            continue


def _listeners_of(lines: Iterable[str]) -> Iterator[str]:
    """Listeners come first in the kernel's table: connections, of which there may be very many, are not read."""
    for line in lines:
        fields = line.split(maxsplit=_STATE + 1)
        if len(fields) <= _STATE or fields[_STATE] != _LISTEN:
            return
        yield fields[_ADDRESS]
