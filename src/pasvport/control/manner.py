"""How generations are run, and what a former one needs of the one that took over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pasvport.control.launcher import Launcher
from pasvport.control.ports import Ports
from pasvport.control.workers import Worker
from pasvport.wire import EntryLearnt, LoginCounted, LoginFailed


class Successor(Protocol):
    """What a former generation needs of the one that took over."""

    @property
    def ports(self) -> Ports: ...

    def learn(self, worker: Worker, message: EntryLearnt) -> None:
        """A session of the former generation learnt a stick entry, in that worker."""

    def learn_failure(self, message: LoginCounted | LoginFailed) -> None:
        """A login of the former generation failed."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How generations are run, whatever their configuration says."""

    launcher: Launcher
    master_worker: bool = False
    mixed: bool = False
    """The number of workers has changed: connections that waited in a queue then are not where they would be steered
    now, so a client's may be in two workers."""
