"""What questions need of a worker and of a session that speaks FTP."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

from pasvport.engine.backends import LiveBackend
from pasvport.engine.plant import Plant
from pasvport.engine.session import Session
from pasvport.engine.tables import LiveTable
from pasvport.sight import FtpSessionSight, LeaseSight, TransferSight

Rows = Iterator[tuple[object, ...] | None]
"""Rows of an answer; None: some work was done and nothing found, sessions may have a turn."""


@runtime_checkable
class SpeaksFtp(Protocol):
    """A session of `mode ftp`."""

    def ftp_summary(self) -> FtpSessionSight:
        """How the control connection stands."""

    def transfer_summary(self) -> TransferSight | None:
        """The transfer that runs now, if any."""


class Lessor(Protocol):
    """Whoever leases data ports, for one frontend or for all."""

    def leases(self) -> Iterable[LeaseSight]:
        """The ports that are in use in this worker."""


class Sight(Protocol):
    """A worker, as questions see it."""

    @property
    def number(self) -> int: ...

    @property
    def workers(self) -> int: ...

    @property
    def plant(self) -> Plant: ...

    @property
    def tables(self) -> Mapping[str, LiveTable]: ...

    @property
    def backends(self) -> Mapping[int, LiveBackend]: ...

    @property
    def lessors(self) -> Sequence[Lessor]: ...

    def sessions(self) -> list[Session]:
        """Every live session."""

    def activity(self) -> tuple[int, int]:
        """(messages that the supervisor did not take, questions asked)."""
