"""Deadlines by the bucket: a timer is one dictionary entry, and activity never moves it.

A session's deadline changes with every byte; moving a timer each time would cost more than the byte. So activity
only writes a number into the session, and the timer, when its bucket comes due, asks whether the true deadline has
come and is filed again if not. Filing and cancelling are O(1); only buckets, not timers, are ordered.
"""

from __future__ import annotations

import heapq
from typing import Protocol

NEVER = float("inf")
_GRAIN = 0.004
"""Seconds a bucket spans for short waits; longer waits use coarser buckets (1/64 of the wait)."""


class Timed(Protocol):
    """Something that can wait for a moment: `bucket` belongs to Timers while it waits (None: not waiting)."""

    bucket: int | None

    def time_is_up(self, now: float) -> None:
        """The bucket came due; file again if the true deadline is later."""

    def failed(self, error: Exception) -> None:
        """`time_is_up` raised: a bug; give up what this serves, and nothing else."""


class Timers:
    """All deadlines of one loop. Times are monotonic seconds, always passed in."""

    def __init__(self) -> None:
        self._buckets: dict[int, set[Timed]] = {}
        self._order: list[int] = []

    def file(self, timed: Timed, deadline: float, now: float) -> None:
        """Wake `timed` at `deadline` or up to 1/64 of the wait (at least 4 ms) later; replaces an earlier filing."""
        if timed.bucket is not None:
            self.cancel(timed)
        if deadline == NEVER:
            return
        grain = max(_GRAIN, (deadline - now) / 64)
        milliseconds = int(grain * 1000)
        key = (int(deadline * 1000) // milliseconds + 1) * milliseconds
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = set()
            heapq.heappush(self._order, key)
        bucket.add(timed)
        timed.bucket = key

    def cancel(self, timed: Timed) -> None:
        """Forget `timed`; nothing happens if it does not wait."""
        if timed.bucket is None:
            return
        self._buckets[timed.bucket].discard(timed)
        timed.bucket = None

    def wait(self, now: float) -> float:
        """Seconds until the next bucket is due, 0 if one is, -1 if there is none."""
        while self._order and not self._buckets[self._order[0]]:
            del self._buckets[heapq.heappop(self._order)]
        if not self._order:
            return -1
        return max(0.0, self._order[0] / 1000 - now)

    def expire(self, now: float) -> None:
        """Call `time_is_up` of everything in the buckets that are due."""
        while self._order and self._order[0] / 1000 <= now:
            bucket = self._buckets.pop(heapq.heappop(self._order))
            for timed in bucket:
                timed.bucket = None
            for timed in bucket:
                try:
                    timed.time_is_up(now)
                except Exception as error:
                    timed.failed(error)
