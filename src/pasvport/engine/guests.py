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
        self._counts: Counter[str] | None = None

    @property
    def is_stopping(self) -> bool:
        return self._counts is not None

    def soft_stop(self, hosts: Iterable[str]) -> None:
        """From now on only the clients in `hosts` (one mention per session) are admitted."""
        if self._counts is None:
            self._counts = Counter(hosts)
            self._leave_if_empty()

    def admits(self, host: str) -> bool:
        """Whether a new connection from `host` is served."""
        return self._counts is None or host in self._counts

    def came(self, host: str) -> None:
        """A session began."""
        if self._counts is not None:
            self._counts[host] += 1

    def left(self, host: str) -> None:
        """A session ended."""
        if self._counts is None:
            return
        self._counts[host] -= 1
        if self._counts[host] <= 0:
            del self._counts[host]
        self._leave_if_empty()

    def _leave_if_empty(self) -> None:
        if not self._counts:
            self._gone()
