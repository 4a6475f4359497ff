"""The shared counters as the supervisor sees them: it owns the mapping, sums columns, and cleans up after the dead."""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Sequence

from pasvport.bounds import LARGEST
from pasvport.model import Config
from pasvport.record import TIME_SAMPLES, Block, CounterLayout

_OF_THE_MOMENT = frozenset(
    {"cur", "scur", "qcur", "pipes_used", "pipes_free", "ftp_xfer_cur", "ftp_lease_cur", "ftp_pasv_cur", "heartbeat"}
)
"""What is about a worker's life only; everything else counts what was, and outlives a worker."""
_LARGEST = frozenset({"lastsess"})
"""Moments: the latest over the workers counts, not the sum. What ends in `max` is of this kind too."""
_SLIDING = frozenset({"queue_time", "connect_time", "total_time"})
"""Sums over the last sessions: they forget by themselves."""


_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
"""A worker that could make the file shorter would end by SIGBUS whoever looks at what is gone."""


class Tally:
    """A column for each of `workers`, in a file of its own, which they inherit. Raises OSError.

    What a worker writes there is not believed to be sensible: it is added, shown, and no more.
    """

    def __init__(self, config: Config, workers: int) -> None:
        self.layout = CounterLayout(config)
        self._files = [_file(self.layout.size) for _ in range(workers)]
        # Opened anew, since the mode of a descriptor cannot be taken back; another user cannot do the same for writing.
        self._readable = [os.open(f"/proc/self/fd/{file}", os.O_RDONLY | os.O_CLOEXEC) for file in self._files]
        self._mappings = [mmap.mmap(file, self.layout.size) for file in self._files]
        self._columns = [memoryview(mapping).cast("q") for mapping in self._mappings]
        self._base: dict[int, int] = {}

    def shown_to(self, worker: int) -> tuple[int, ...]:
        """The descriptors of all columns, for that worker: its own can be written, the others read."""
        return tuple(
            self._files[number] if number == worker else readable for number, readable in enumerate(self._readable)
        )

    def total(self, block: Block, name: str) -> int:
        """Sum of a counter over all workers, since `clear` if that was asked for."""
        slot = block.slot(name)
        return self.total_at(slot) - self._base.get(slot, 0)

    def total_at(self, slot: int) -> int:
        """Sum over all workers of a slot of the layout, whatever was cleared."""
        return sum(column[slot] for column in self._columns)

    def largest(self, block: Block, name: str) -> int:
        """Largest value of a maximum, or of a moment, over all workers."""
        slot = block.slot(name)
        return max(column[slot] for column in self._columns)

    def values(self, block: Block) -> dict[str, int]:
        """Every counter of a block by its name: the sum, or the largest of a maximum. For those who want many."""
        end = block.base + len(block.names)
        columns = [column[block.base : end].tolist() for column in self._columns]
        found = {}
        for name, slot, cells in zip(block.names, range(block.base, end), zip(*columns, strict=True), strict=True):
            found[name] = max(cells) if is_largest(name) else sum(cells) - self._base.get(slot, 0)
        return found

    def average(self, block: Block, name: str) -> int:
        """Milliseconds on average over the last sessions of every worker, rounded up as HAProxy rounds them."""
        slot = block.slot("stot")
        sessions = sum(min(column[slot], TIME_SAMPLES) for column in self._columns)
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
            self._columns[0][slot] = min(max(self._columns[0][slot], value), LARGEST)
        elif _is_cumulative(name):
            self._base[slot] = self._base.get(slot, 0) - value

    def _overwrite(self, slot: int) -> None:
        for column in self._columns:
            column[slot] = 0

    def at(self, worker: int, block: Block, name: str) -> int:
        """One worker's own count."""
        return self._columns[worker][block.slot(name)]

    def column(self, worker: int) -> Sequence[int]:
        """A worker's own counters, live; indices are those of the layout. Let go of it soon: it pins the mapping."""
        return self._columns[worker][:]

    def sums(self) -> Sequence[int]:
        """The sum of every slot over all workers."""
        return [sum(cells) for cells in zip(*self._columns, strict=True)]

    def bury(self, worker: int) -> int:
        """Forget what a dead worker had in hand; how many sessions that was."""
        column = self._columns[worker]
        lost = column[self.layout.process.slot("cur")]
        for block in self._blocks():
            for name in _OF_THE_MOMENT.intersection(block.names):
                column[block.slot(name)] = 0
        return lost

    def _blocks(self) -> list[Block]:
        layout = self.layout
        groups = (layout.frontend, layout.backend, layout.listener, layout.server)
        return [layout.process, *(block for group in groups for block in group.values())]

    def close(self) -> None:
        """Unmap, and close the files."""
        for column, mapping in zip(self._columns, self._mappings, strict=True):
            column.release()
            mapping.close()
        for descriptor in (*self._files, *self._readable):
            os.close(descriptor)


def _file(size: int) -> int:
    """Memory that nobody can make shorter or longer, and that other users cannot open."""
    descriptor = os.memfd_create("pasvport-counters", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, size)
    os.fchmod(descriptor, 0o600)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    return descriptor


def is_largest(name: str) -> bool:
    """Whether the largest value over the workers counts, not the sum."""
    return name.endswith("max") or name in _LARGEST


def _is_cumulative(name: str) -> bool:
    return name not in _OF_THE_MOMENT and name not in _SLIDING and "_rate_" not in name
