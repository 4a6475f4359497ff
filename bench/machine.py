"""The machine a run was made on, as the results record it."""

from __future__ import annotations

import os
import platform
import resource
from datetime import UTC, datetime
from pathlib import Path

from bench.balancers import Peer


def describe(peers: list[Peer], mode: str) -> dict[str, str]:
    """Processor, memory, kernel, limits, versions; nothing that names the machine."""
    found = {
        "run": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {mode}",
        "processor": f"{_field('/proc/cpuinfo', 'model name')}, {os.cpu_count()} CPUs",
        "memory": f"{int(_field('/proc/meminfo', 'MemTotal').split()[0]) / 1024**2:.1f} GiB",
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "descriptor limit": str(resource.getrlimit(resource.RLIMIT_NOFILE)[1]),
        "python": platform.python_version(),
    }
    return found | {peer.name: peer.describe() for peer in peers if not peer.splice}


def _field(path: str, name: str) -> str:
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "0 unknown"


def load_average() -> float:
    """Runnable processes over the last minute: a busy machine is worth a note."""
    return os.getloadavg()[0]
