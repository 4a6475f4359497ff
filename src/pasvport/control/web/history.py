"""The last hour in numbers: one sample every few seconds, in rings that never grow. Pure.

Counters come as totals of the generation that serves, to which what former ones still count is added; what is kept is
their growth between two samples. A reload goes on with them, and so is neither a burst nor a hole.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence

STEP = 5.0
"""Seconds between samples."""
LENGTH = 720
"""Samples: an hour."""
COUNTED = ("download", "upload", "sessions_begun", "transfers_done", "transfers_failed", "login_failures", "errors")
"""Kept as growth per second (bytes, sessions, ...)."""
HELD = ("sessions", "transfers", "leases", "queued", "servers_down")
"""Kept as they were at the moment."""
SERIES = COUNTED + HELD


class Ring:
    """The newest `length` numbers."""

    def __init__(self, length: int) -> None:
        self._cells = array("d", bytes(8 * length))

    def put(self, index: int, value: float) -> None:
        self._cells[index % len(self._cells)] = value

    def slice(self, start: int, end: int) -> list[float]:
        """The numbers from `start` up to but without `end`."""
        return [self._cells[index % len(self._cells)] for index in range(start, end)]


class History:
    """All series. Samples are numbered from 0; `count` have been taken."""

    def __init__(self, length: int = LENGTH) -> None:
        self.length = length
        self.count = 0
        self._times = Ring(length)
        self._rings = {name: Ring(length) for name in SERIES}
        self._last: Mapping[str, float] = {}
        self._then = 0.0

    def take(self, now: float, held: Mapping[str, float], totals: Mapping[str, float]) -> dict[str, float]:
        """One sample at `now` (seconds). Returns the growth of each counter since the sample before; none at first, and
        none of a counter that was cleared."""
        before = self._last or totals
        growth = {name: max(0.0, totals[name] - before[name]) for name in COUNTED}
        self._last = dict(totals)
        elapsed = now - self._then if self.count else STEP
        self._then = now
        self._times.put(self.count, now)
        for name in COUNTED:
            self._rings[name].put(self.count, growth[name] / max(elapsed, 0.001))
        for name in HELD:
            self._rings[name].put(self.count, held[name])
        self.count += 1
        return growth

    def since(self, number: int, names: Sequence[str] = SERIES) -> dict[str, object]:
        """What a page needs that has the samples before `number`: the first sample's number, times, and values."""
        start = max(number if 0 <= number <= self.count else 0, self.count - self.length)
        return {
            "first": start,
            "next": self.count,
            "length": self.length,
            "step": STEP,
            "times": [round(value, 1) for value in self._times.slice(start, self.count)],
            "series": {name: [round(v, 1) for v in self._rings[name].slice(start, self.count)] for name in names},
        }
