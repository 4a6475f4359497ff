"""Connection slots: `maxconn` limits that hold exactly over all workers.

A limited thing (the process, a frontend, a bind, a server) is an eventfd in semaphore mode whose value is the number
of free slots. Taking one is a read, giving it back a write; the kernel keeps the count, so no two workers can take
the last slot, and a worker that waits for one polls the descriptor like any other. Shared counters were rejected:
between reading a sum and adding to it another worker may do the same.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from pasvport.model import Config, Proxy
from pasvport.record import CounterLayout

PROCESS = "process"


def frontend_key(proxy: int) -> str:
    return f"frontend/{proxy}"


def bind_key(proxy: int, bind: int) -> str:
    return f"bind/{proxy}/{bind}"


def server_key(proxy: int, server: int) -> str:
    return f"server/{proxy}/{server}"


def create(config: Config, *, process_maxconn: int = 0) -> dict[str, int]:
    """One non-blocking eventfd per configured limit, full of free slots. `process_maxconn` 0: no such limit."""
    flags = os.EFD_SEMAPHORE | os.EFD_NONBLOCK | os.EFD_CLOEXEC
    return {key: os.eventfd(limit, flags) for key, limit in limits(config, process_maxconn=process_maxconn).items()}


def limits(config: Config, *, process_maxconn: int = 0) -> dict[str, int]:
    """Every configured limit by its key. `process_maxconn` 0: no such limit."""
    found = {key: limit for key, limit in _limits(config) if limit}
    if process_maxconn:
        found[PROCESS] = process_maxconn
    return found


def _limits(config: Config) -> Iterator[tuple[str, int]]:
    for proxy in config.proxies:
        if not proxy.disabled:
            yield from _limits_of(proxy)


def _limits_of(proxy: Proxy) -> Iterator[tuple[str, int]]:
    if proxy.is_frontend:
        yield frontend_key(proxy.index), proxy.maxconn
    for number, bind in enumerate(proxy.binds):
        yield bind_key(proxy.index, number), bind.maxconn
    for number, server in enumerate(proxy.servers):
        yield server_key(proxy.index, number), server.maxconn


def take(descriptor: int) -> bool:
    """Take one slot; False when none is free."""
    try:
        os.eventfd_read(descriptor)
    except BlockingIOError:
        return False
    return True


def give(descriptor: int, count: int = 1) -> None:
    """Give `count` slots back."""
    os.eventfd_write(descriptor, count)


def free(descriptor: int) -> int:
    """How many slots are free now; more than `limits` says where somebody gave what he had not taken."""
    for line in Path(f"/proc/self/fdinfo/{descriptor}").read_text().splitlines():
        if line.startswith("eventfd-count:"):
            return int(line.split()[1], 16)
    return 0


def held(column: Sequence[int], layout: CounterLayout, config: Config) -> dict[str, int]:
    """Slots that a worker held when it died, read from its column of the shared counters. Zero entries left out."""
    found = {PROCESS: column[layout.process.slot("cur")]}
    for proxy in config.proxies:
        found.update(_held_by(column, layout, proxy))
    return {key: count for key, count in found.items() if count > 0}


def _held_by(column: Sequence[int], layout: CounterLayout, proxy: Proxy) -> Iterator[tuple[str, int]]:
    if proxy.index in layout.frontend:
        yield frontend_key(proxy.index), column[layout.frontend[proxy.index].slot("scur")]
    for number, _ in enumerate(proxy.binds):
        yield bind_key(proxy.index, number), column[layout.listener[proxy.index, number].slot("scur")]
    for number, _ in enumerate(proxy.servers):
        yield server_key(proxy.index, number), column[layout.server[proxy.index, number].slot("scur")]
