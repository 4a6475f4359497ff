"""The watchdog: notices a worker that hangs, has it say where, and replaces it.

A worker adds one to a cell of the shared counters every second, from its event loop: that costs nothing where bytes
move, and stops when the loop does. A cell that stands still is no proof, though: it also does where a machine is
suspended, stopped or overloaded, and to kill workers there would add to what is wrong. So it is not seconds that are
counted but evidence, one unit for each look at which the worker had its chance:

- it sleeps or is stopped, which the heartbeat's timer would have ended: a whole one;
- it runs, or would if it were given a processor: as much as it used of one since the last look;
- it waits for a disk, which may be a swapped page: little.

A look that comes late tells of the supervisor, not of workers, and begins anew. One worker at most is killed at a look.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pasvport.control.idleness import Activity, activity
from pasvport.control.workers import Worker

_EVERY, _LATE = 1.0, 2.5
"""Seconds between two looks, and between two of which the later one came late."""
_SUSPECT, _ASK, _HANGS = 2.0, 3.0, 5.0
"""Evidence: not counted as alive any more; asked where it is; killed. In seconds, where nothing else is wrong."""
_BUSY = 2.0
"""Evidence for a second of processor time: HAProxy's watchdog gives a thread two seconds of it."""
_WAITING_FOR_DISK = 1 / 6
_RUNNING, _DISK = "R", "D"


class Watched(Protocol):
    """What the watchdog needs of a generation."""

    @property
    def watched(self) -> Sequence[Worker]:
        """Workers that have begun to accept."""

    def heartbeat(self, worker: Worker) -> int:
        """The count of its event loop's seconds."""

    def alert(self, text: str) -> None: ...
    def condemn(self, worker: Worker, why: str) -> None:
        """Kill it; `why` is told with its end."""


@dataclass(slots=True)
class _Record:
    heartbeat: int
    since: float
    used: float | None = None
    evidence: float = 0.0
    asked: bool = False


class Watchdog:
    """Looks at the workers of `generations()` once a second, while `run` runs. `inspect` tells what a process does."""

    def __init__(
        self,
        generations: Callable[[], Iterable[Watched]],
        *,
        now: Callable[[], float] = time.monotonic,
        inspect: Callable[[int], Activity | None] = activity,
    ) -> None:
        self._generations = generations
        self._now = now
        self._inspect = inspect
        self._looked = now()
        self._records: dict[Worker, _Record] = {}

    async def run(self) -> None:
        """Look until cancelled."""
        self._looked = self._now()
        while True:
            await asyncio.sleep(_EVERY)
            self.look()

    def look(self) -> None:
        """Once: count, suspect, ask, kill."""
        now = self._now()
        late, self._looked = now - self._looked > _LATE, now
        before, self._records = self._records, {}
        hanging: list[tuple[Watched, Worker]] = []
        for generation in self._generations():
            for worker in generation.watched:
                record = self._records[worker] = self._judged(generation, worker, before.get(worker), late=late)
                if record.evidence >= _HANGS and record.asked:
                    hanging.append((generation, worker))
                elif record.evidence >= _ASK and not record.asked:
                    self._ask(generation, worker, record)
                worker.is_suspect = record.evidence >= _SUSPECT
        if hanging:
            generation, worker = max(hanging, key=lambda pair: self._records[pair[1]].evidence)
            seconds = now - self._records[worker].since
            generation.condemn(worker, f"it hung for {seconds:.0f} seconds")

    def _judged(self, generation: Watched, worker: Worker, record: _Record | None, *, late: bool) -> _Record:
        heartbeat = generation.heartbeat(worker)
        if record is None or heartbeat != record.heartbeat:
            if record is not None and record.asked:
                generation.alert(f"Worker {worker.number} ({worker.pid}) turns its event loop again.")
            return _Record(heartbeat, self._now())
        if late:
            record.since, record.used, record.evidence = self._now(), None, 0.0
            return record
        found = self._inspect(worker.pid)
        if found is not None and not found.traced:
            record.evidence += _weight(found, record.used)
            record.used = found.seconds
        return record

    def _ask(self, generation: Watched, worker: Worker, record: _Record) -> None:
        record.asked = True
        seconds = self._now() - record.since
        generation.alert(
            f"Worker {worker.number} ({worker.pid}) has not turned its event loop for {seconds:.0f} seconds."
        )
        # It says where it is on its standard error, if it can: see engine.process.
        worker.kill(signal.SIGQUIT)


def _weight(found: Activity, used_before: float | None) -> float:
    used = 0.0 if used_before is None else found.seconds - used_before
    if found.state == _RUNNING:
        return min(1.0, used * _BUSY)
    if found.state == _DISK:
        return max(_WAITING_FOR_DISK, min(1.0, used * _BUSY))
    return 1.0
