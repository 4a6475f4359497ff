"""How busy the worker processes are and how much memory they use, as the kernel accounts it (proc(5))."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_SHORTEST = 0.5
"""Seconds of which a share of processor time says something."""


class Idleness:
    """Idle share of the processes that `pids` names, since it was last asked for."""

    def __init__(self, pids: Callable[[], Iterable[int]], now: Callable[[], float] = time.monotonic) -> None:
        self._pids = pids
        self._now = now
        self._before: tuple[float, dict[int, float]] = (now(), {})
        self._percent = 100

    def percent(self) -> int:
        """0 to 100, on average over the processes; asked twice within half a second, the same."""
        now, (then, before) = self._now(), self._before
        if now - then < _SHORTEST:
            return self._percent
        used = {pid: seconds for pid in self._pids() if (seconds := _seconds(pid)) is not None}
        if used:
            busy = sum(seconds - before.get(pid, 0.0) for pid, seconds in used.items()) / len(used)
            self._percent = max(0, min(100, round(100 * (1 - busy / (now - then)))))
        self._before = (now, used)
        return self._percent


class Activity(NamedTuple):
    """What a process does: the letter of its state, and the seconds of processor time it has used so far.

    `traced`: a debugger has hold of it.
    """

    state: str
    seconds: float
    traced: bool = False


def activity(pid: int) -> Activity | None:
    """What a process does now; None if it is gone, or nobody may know."""
    fields = _stat(pid)
    return Activity(fields[0], (int(fields[11]) + int(fields[12])) / _TICKS, _is_traced(pid)) if fields else None


def _is_traced(pid: int) -> bool:
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
        return any(line.startswith("TracerPid:") and line.split()[-1] != "0" for line in lines)
    return False


def _seconds(pid: int) -> float | None:
    """Processor time of a process so far; None if it is gone."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / _TICKS if fields else None


def running(pids: Iterable[int]) -> int:
    """How many of these processes run, or want to, at this very moment."""
    return sum(1 for pid in pids if (fields := _stat(pid)) and fields[0] == "R")


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name (which may hold anything); empty if the process is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []


def resident(pids: Iterable[int]) -> int:
    """Bytes of memory that these processes have in use together."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    return total
