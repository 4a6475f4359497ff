"""The shared counters as the supervisor sees them: it owns the mapping, sums columns, and cleans up after the dead."""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence

from pasvport.model import Config
from pasvport.record import Block, CounterLayout

_OF_THE_MOMENT = frozenset({"cur", "scur", "qcur", "pipes_used", "pipes_free", "ftp_xfer_cur", "ftp_lease_cur"})
"""Counters that say how many there are now; everything else counts what was, and outlives a worker."""


class Tally:
    """One memfd with a column for each of `workers`; `descriptor` is inherited by them."""

    def __init__(self, config: Config, workers: int) -> None:
        self.layout = CounterLayout(config)
        self._workers = workers
        self.descriptor = os.memfd_create("pasvport-counters", os.MFD_CLOEXEC)
        os.ftruncate(self.descriptor, self.layout.size(workers))
        self._mapping = mmap.mmap(self.descriptor, self.layout.size(workers))
        self._cells = memoryview(self._mapping).cast("q")

    def total(self, block: Block, name: str) -> int:
        """Sum of a counter over all workers."""
        return sum(self._cells[block.slot(name) :: self.layout.width])

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
