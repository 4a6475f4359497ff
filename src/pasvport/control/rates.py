"""Events per second over the last second, found by looking at the shared counters: workers do nothing for it.

HAProxy keeps a sliding window per object and adds to it at every event. Here four looks a second give the same window
to a quarter of a second, for a cost that traffic does not raise. A rate is the difference between now and a second
ago, interpolated between two looks.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator

from pasvport.control.tally import Tally
from pasvport.record import Block, CounterLayout

LOOK = 0.25
"""Seconds between looks."""
_WINDOW = 1.0


class Rates:
    """Rates of what `_watched` lists, over all workers of one configuration. `now` is a monotonic clock in seconds."""

    def __init__(self, tally: Tally, now: Callable[[], float]) -> None:
        self._tally = tally
        self._now = now
        self._slots = list(_watched(tally.layout))
        self._index = {slot: number for number, slot in enumerate(self._slots)}
        self._looks: deque[tuple[float, list[int]]] = deque([(now(), self._totals())], maxlen=round(_WINDOW / LOOK) + 2)
        self._largest = [0.0] * len(self._slots)
        self._timer: asyncio.TimerHandle | None = None

    # --- looking --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Look every quarter of a second from now on; needs a running loop."""
        self._timer = asyncio.get_running_loop().call_later(LOOK, self._again)

    def close(self) -> None:
        """Look no more. It may be closed before it was started, and twice."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _again(self) -> None:
        self.look()
        self._timer = asyncio.get_running_loop().call_later(LOOK, self._again)

    def look(self) -> None:
        """Take the counters as they are now, and keep the highest rates."""
        now, totals = self._now(), self._totals()
        older, newer, part = self._bracket(now)
        for number, total in enumerate(totals):
            rate = total - older[number] - (newer[number] - older[number]) * part
            if rate > self._largest[number]:
                self._largest[number] = rate
        self._looks.append((now, totals))

    def _totals(self) -> list[int]:
        total_at = self._tally.total_at
        return [total_at(slot) for slot in self._slots]

    def _bracket(self, now: float) -> tuple[list[int], list[int], float]:
        """The looks before and after the moment a second ago, and where between them that moment is (0 to 1)."""
        wanted = now - _WINDOW
        older = self._looks[0]
        for newer in self._looks:
            if newer[0] > wanted:
                span = newer[0] - older[0]
                return older[1], newer[1], max(0.0, (wanted - older[0]) / span) if span else 0.0
            older = newer
        return older[1], older[1], 0.0

    # --- asking ---------------------------------------------------------------------------------------------------

    def rate(self, block: Block, name: str) -> int:
        """Events in the last second, rounded up: one event is seen for a second."""
        number = self._index[block.slot(name)]
        older, newer, part = self._bracket(self._now())
        before = older[number] + (newer[number] - older[number]) * part
        return self._ceiling(self._tally.total_at(self._slots[number]) - before)

    def largest(self, block: Block, name: str) -> int:
        """The highest rate so far, or since `clear`."""
        number = self._index[block.slot(name)]
        return max(self._ceiling(self._largest[number]), self.rate(block, name))

    def clear(self) -> None:
        """Forget the highest rates."""
        self._largest = [0.0] * len(self._slots)

    @staticmethod
    def _ceiling(value: float) -> int:
        return max(0, -int(-value // 1))


def _watched(layout: CounterLayout) -> Iterator[int]:
    for name in ("connections", "sessions", "bytes_out"):
        yield layout.process.slot(name)
    for frontend in layout.frontend.values():
        yield frontend.slot("conn_tot")
        yield frontend.slot("stot")
    for group in (layout.backend, layout.server):
        for block in group.values():
            yield block.slot("stot")
