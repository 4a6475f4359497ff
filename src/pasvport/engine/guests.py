"""Who may still come in: everybody, or, during a soft stop, only clients that have a session here already.

An FTP session is a control connection and the data connections it brings; a soft stop that refuses the latter would
cut the former short. Steering brings all connections of a client to one worker, so each worker knows its guests.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable


class Guests:
    """`gone` is called when the last session ends after a soft stop began."""

    def __init__(self, gone: Callable[[], None]) -> None:
        self._gone = gone
        self._counts: Counter[str] = Counter()
        self.is_stopping = False
        """Until then everybody is welcome, and the other methods have nothing to do."""

    def soft_stop(self, hosts: Iterable[str]) -> None:
        """From now on only the clients in `hosts` (one mention per session) are admitted."""
        if not self.is_stopping:
            self.is_stopping = True
            self._counts = Counter(hosts)
            self._leave_if_empty()

    def admits(self, host: str) -> bool:
        """Whether a new connection from `host` is served."""
        return not self.is_stopping or host in self._counts

    def came(self, host: str) -> None:
        """A session began."""
        if self.is_stopping:
            self._counts[host] += 1

    def left(self, host: str) -> None:
        """A session ended."""
        if not self.is_stopping:
            return
        self._counts[host] -= 1
        if self._counts[host] <= 0:
            del self._counts[host]
        self._leave_if_empty()

    def _leave_if_empty(self) -> None:
        if not self._counts:
            self._gone()
