"""The worker's own column of the shared counters, and rates over the whole machine.

A cell is the index of a counter in a column; `cells[cell] += 1` is the whole cost of counting. Sums over all workers
are for limits and choices that must see the machine, and read every column. A worker can write its own alone; what it
finds in the others may be anything.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Sequence

from pasvport.bounds import LARGEST
from pasvport.record import Block, CounterLayout


class Counters:
    """The columns of all workers as sequences of signed 64-bit integers; `cells` is the one of worker `worker`.

    `descriptors` are their files, in the order of the workers; only this worker's needs to be open for writing.
    """

    def __init__(self, descriptors: Sequence[int], layout: CounterLayout, worker: int) -> None:
        self.layout = layout
        self.worker = worker
        self.workers = len(descriptors)
        own = mmap.PROT_READ | mmap.PROT_WRITE
        self._mappings = [
            mmap.mmap(descriptor, layout.size, prot=own if number == worker else mmap.PROT_READ)
            for number, descriptor in enumerate(descriptors)
        ]
        self.columns = [memoryview(mapping).cast("q") for mapping in self._mappings]
        self.cells = self.columns[worker]
        self.total: Callable[[int], int] = self.cells.__getitem__ if self.workers == 1 else self._sum
        """Sum over all workers of the counter `cell`."""

    def _sum(self, cell: int) -> int:
        total = 0
        for column in self.columns:
            total += column[cell]
        return total

    def raise_maximum(self, cell: int, value: int) -> None:
        """Keep the largest value seen here; readers take the maximum over the workers."""
        if value > self.cells[cell]:
            self.cells[cell] = min(value, LARGEST)

    def enter(self, owner: FrontendCells | ListenerCells | BackendCells) -> None:
        """One more session now and ever; keeps the largest number there was at a time over all workers."""
        cells, scur = self.cells, owner.scur
        cells[owner.stot] += 1
        now = cells[scur] = cells[scur] + 1
        if self.workers > 1:
            now = self._sum(scur)
        if now > cells[owner.smax]:
            cells[owner.smax] = min(now, LARGEST)

    def dispose(self) -> None:
        """Unmap."""
        for column, mapping in zip(self.columns, self._mappings, strict=True):
            column.release()
            mapping.close()


class _Cells:
    def __init__(self, block: Block) -> None:
        for name in block.names:
            setattr(self, name, block.slot(name))


class ProcessCells(_Cells):
    """Cells of record.PROCESS_COUNTERS."""

    cur: int
    connections: int
    sessions: int
    bytes_out: int
    spliced_bytes_out: int
    dropped_logs: int
    pipes_used: int
    pipes_free: int
    fd_exhausted: int
    strangers_refused: int
    heartbeat: int
    conn_rate_tick: int
    conn_rate_cur: int
    conn_rate_prev: int
    sess_rate_tick: int
    sess_rate_cur: int
    sess_rate_prev: int


class FrontendCells(_Cells):
    """Cells of record.FRONTEND_COUNTERS."""

    scur: int
    smax: int
    stot: int
    conn_tot: int
    bin: int
    bout: int
    dcon: int
    dses: int
    ereq: int
    eint: int
    cli_abrt: int
    srv_abrt: int
    sess_rate_tick: int
    sess_rate_cur: int
    sess_rate_prev: int
    ftp_login: int
    ftp_login_fail: int
    ftp_xfer: int
    ftp_xfer_cur: int
    ftp_xfer_fail: int
    ftp_down: int
    ftp_up: int
    ftp_lease: int
    ftp_lease_cur: int
    ftp_lease_fail: int
    ftp_stranger: int
    ftp_refused: int
    ftp_pasv_cur: int
    ftp_conflict: int


class ListenerCells(_Cells):
    """Cells of record.LISTENER_COUNTERS."""

    scur: int
    smax: int
    stot: int
    bin: int
    bout: int
    dcon: int
    dses: int


class BackendCells(_Cells):
    """Cells of record.BACKEND_COUNTERS, which servers share."""

    scur: int
    smax: int
    stot: int
    bin: int
    bout: int
    qcur: int
    qmax: int
    econ: int
    eresp: int
    wretr: int
    wredis: int
    cli_abrt: int
    srv_abrt: int
    lbtot: int
    connect: int
    lastsess: int
    queue_time: int
    connect_time: int
    total_time: int
    queue_time_max: int
    connect_time_max: int
    total_time_max: int
    eint: int
    ftp_login: int
    ftp_login_fail: int
    ftp_xfer: int
    ftp_xfer_cur: int
    ftp_xfer_fail: int
    ftp_down: int
    ftp_up: int


_PERIOD = 1000


class RateLimit:
    """At most `limit` events a second over all workers, by HAProxy's sliding window.

    Three cells a worker, side by side: start of the current second (ms), events in it, events in the one before.
    The rate is the current count plus the part of the previous one that the window still covers.
    """

    def __init__(self, counters: Counters, tick_cell: int, limit: int) -> None:
        self._counters = counters
        self._tick = tick_cell
        self._limit = limit

    def count(self, now: float) -> None:
        """One event."""
        cells, tick = self._counters.cells, self._tick
        milliseconds = int(now * 1000)
        age = milliseconds - cells[tick]
        if age >= _PERIOD:
            cells[tick + 2] = cells[tick + 1] if age < 2 * _PERIOD else 0
            cells[tick + 1] = 0
            cells[tick] = milliseconds - age % _PERIOD if age < 2 * _PERIOD else milliseconds
        cells[tick + 1] += 1

    def pause(self, now: float) -> float:
        """Seconds to wait before the next event is within the limit; 0 when it is now."""
        rate = sum(self._rate_of(worker, int(now * 1000)) for worker in range(self._counters.workers))
        if rate < self._limit:
            return 0.0
        return max(0.001, min(1.0, (rate - self._limit + 1) / self._limit))

    def _rate_of(self, worker: int, milliseconds: int) -> float:
        cells, tick = self._counters.columns[worker], self._tick
        age = milliseconds - cells[tick]
        if age >= 2 * _PERIOD:
            return 0.0
        if age >= _PERIOD:
            return cells[tick + 1] * (2 * _PERIOD - age) / _PERIOD
        return cells[tick + 1] + cells[tick + 2] * (_PERIOD - age) / _PERIOD
