"""The shared counters as the supervisor sees them: it owns the mapping, sums columns, and cleans up after the dead."""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence

from pasvport.model import Config
from pasvport.record import TIME_SAMPLES, Block, CounterLayout

_OF_THE_MOMENT = frozenset(
    {"cur", "scur", "qcur", "pipes_used", "pipes_free", "ftp_xfer_cur", "ftp_lease_cur", "heartbeat"}
)
"""What is about a worker's life only; everything else counts what was, and outlives a worker."""
_LARGEST = frozenset({"lastsess"})
"""Moments: the latest over the workers counts, not the sum. What ends in `max` is of this kind too."""
_SLIDING = frozenset({"queue_time", "connect_time", "total_time"})
"""Sums over the last sessions: they forget by themselves."""


class Tally:
    """One memfd with a column for each of `workers`; `descriptor` is inherited by them."""

    def __init__(self, config: Config, workers: int) -> None:
        self.layout = CounterLayout(config)
        self._workers = workers
        self.descriptor = os.memfd_create("pasvport-counters", os.MFD_CLOEXEC)
        os.ftruncate(self.descriptor, self.layout.size(workers))
        self._mapping = mmap.mmap(self.descriptor, self.layout.size(workers))
        self._cells = memoryview(self._mapping).cast("q")
        self._base: dict[int, int] = {}

    def total(self, block: Block, name: str) -> int:
        """Sum of a counter over all workers, since `clear` if that was asked for."""
        slot = block.slot(name)
        return self.total_at(slot) - self._base.get(slot, 0)

    def total_at(self, slot: int) -> int:
        """Sum over all workers of a slot of the layout, whatever was cleared."""
        return sum(self._cells[slot :: self.layout.width])

    def largest(self, block: Block, name: str) -> int:
        """Largest value of a maximum, or of a moment, over all workers."""
        return max(self._cells[block.slot(name) :: self.layout.width])

    def values(self, block: Block) -> dict[str, int]:
        """Every counter of a block by its name: the sum, or the largest of a maximum. For those who want many."""
        width, end = self.layout.width, block.base + len(block.names)
        columns = [
            self._cells[start + block.base : start + end].tolist() for start in range(0, len(self._cells), width)
        ]
        found = {}
        for name, slot, cells in zip(block.names, range(block.base, end), zip(*columns, strict=True), strict=True):
            found[name] = max(cells) if is_largest(name) else sum(cells) - self._base.get(slot, 0)
        return found

    def average(self, block: Block, name: str) -> int:
        """Milliseconds on average over the last sessions of every worker, rounded up as HAProxy rounds them."""
        sessions = sum(min(count, TIME_SAMPLES) for count in self._cells[block.slot("stot") :: self.layout.width])
        return -(-self.total_at(block.slot(name)) // sessions) if sessions else 0

    def clear(self, *, everything: bool) -> None:
        """Forget the maxima, or everything that was counted so far but for the process's totals, which HAProxy keeps.

        A worker may be counting at this very moment, so its counters are left alone and their sum is remembered as
        the new zero; maxima are overwritten, and a worker that knows better says so with its next session.
        """
        for block in self._blocks():
            for name in block.names:
                if name.endswith("max") or (everything and name in _LARGEST):
                    self._overwrite(block.slot(name))
                elif everything and block is not self.layout.process and _is_cumulative(name):
                    self._base[block.slot(name)] = self.total_at(block.slot(name))

    def carry(self, block: Block, name: str, value: int) -> None:
        """Let a counter go on from `value` (what the same object had counted under an earlier configuration)."""
        slot = block.slot(name)
        if is_largest(name):
            self._cells[slot] = max(self._cells[slot], value)
        elif _is_cumulative(name):
            self._base[slot] = self._base.get(slot, 0) - value

    def _overwrite(self, slot: int) -> None:
        for place in range(slot, len(self._cells), self.layout.width):
            self._cells[place] = 0

    def at(self, worker: int, block: Block, name: str) -> int:
        """One worker's own count."""
        return self._cells[worker * self.layout.width + block.slot(name)]

    def column(self, worker: int) -> Sequence[int]:
        """A worker's own counters, live; indices are those of the layout. Let go of it soon: it pins the mapping."""
        return self._cells[worker * self.layout.width : (worker + 1) * self.layout.width]

    def bury(self, worker: int) -> int:
        """Forget what a dead worker had in hand; how many sessions that was."""
        base = worker * self.layout.width
        lost = self._cells[base + self.layout.process.slot("cur")]
        for block in self._blocks():
            for name in _OF_THE_MOMENT.intersection(block.names):
                self._cells[base + block.slot(name)] = 0
        return lost

    def _blocks(self) -> list[Block]:
        layout = self.layout
        groups = (layout.frontend, layout.backend, layout.listener, layout.server)
        return [layout.process, *(block for group in groups for block in group.values())]

    def close(self) -> None:
        """Unmap, and close the descriptor."""
        self._cells.release()
        self._mapping.close()
        os.close(self.descriptor)


def is_largest(name: str) -> bool:
    """Whether the largest value over the workers counts, not the sum."""
    return name.endswith("max") or name in _LARGEST


def _is_cumulative(name: str) -> bool:
    return name not in _OF_THE_MOMENT and name not in _SLIDING and "_rate_" not in name
