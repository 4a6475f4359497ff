"""What workers have to say to the operator, so much at a time that none of them can fill a terminal or a log."""

from __future__ import annotations

from collections.abc import Callable

_MOST = 50
"""Lines of a worker at once."""
_EVERY = 0.5
"""Seconds after which it may say one more."""
_WARNING = 4


class Remarks:
    """Hands lines on to `say(level, text)`; what is too much is counted, and told with the next line that passes."""

    def __init__(self, clock: Callable[[], float], say: Callable[[int, str], None]) -> None:
        self._clock = clock
        self._say = say
        self._full: dict[int, float] = {}
        self._kept_back: dict[int, int] = {}

    def say(self, worker: int, level: int, text: str) -> None:
        """A line of that worker."""
        now = self._clock()
        # The moment at which all of its lines are free again says how many are free now.
        full = max(now, self._full.get(worker, 0.0)) + _EVERY
        if full - now > _MOST * _EVERY:
            self._kept_back[worker] = self._kept_back.get(worker, 0) + 1
            return
        self._full[worker] = full
        untold = self._kept_back.pop(worker, 0)
        if untold:
            self._say(_WARNING, f"worker {worker} said {untold} lines more than were shown")
        self._say(level, text)
