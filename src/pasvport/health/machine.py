"""The rise/fall count, the choice of the next interval, and the count of observed errors.

`health` runs from 0 to rise+fall-1; the server is up from `rise` on. A server starts at exactly `rise`: believed up,
but one failure takes it down. Source: HAProxy manual, section 5.2 (rise, fall, inter, error-limit, on-error).
"""

from __future__ import annotations

from dataclasses import dataclass

from pasvport.health.result import Outcome
from pasvport.model import Agent, Check, OnError


@dataclass(slots=True)
class Health:
    """One check's count. Mutable: it is the state of a machine."""

    rise: int
    fall: int
    value: int

    @classmethod
    def fresh(cls, rise: int, fall: int) -> Health:
        """As at start-up: up, one failure from down."""
        return cls(rise, fall, rise)

    @property
    def top(self) -> int:
        return self.rise + self.fall - 1

    @property
    def is_up(self) -> bool:
        return self.value >= self.rise

    def failed(self) -> bool:
        """Count one failure. True if the count moved (which is when HAProxy reports)."""
        if self.value <= 0:
            return False
        self.value -= 1
        if self.value < self.rise:
            self.value = 0
        return True

    def passed(self) -> bool:
        """Count one success. True if the count moved."""
        if self.value >= self.top:
            return False
        self.value += 1
        if self.value >= self.rise:
            self.value = self.top
        return True

    def count(self, outcome: Outcome) -> bool:
        """Count a result of either kind; neutral ones do not move it."""
        if outcome is Outcome.FAILED:
            return self.failed()
        return self.passed() if outcome in (Outcome.PASSED, Outcome.CONDITIONAL) else False

    def fraction(self) -> tuple[int, int]:
        """What `UP 1/3` and `DOWN 1/2` print."""
        if self.is_up:
            return self.value - self.rise + 1, self.fall
        return self.value, self.rise


def check_interval(check: Check, health: Health, *, stopped: bool) -> int:
    """Milliseconds to the next check: `inter`, `downinter` while down, `fastinter` in transition."""
    if health.value == health.top:
        return check.interval
    if stopped and health.value == 0:
        return check.down_interval or check.interval
    return check.fast_interval or check.interval


def agent_interval(agent: Agent) -> int:
    """Milliseconds to the next agent check; agents know one interval only."""
    return agent.interval


@dataclass(slots=True)
class Observer:
    """Counts consecutive errors of real traffic (`observe layer4`, `error-limit`)."""

    limit: int
    errors: int = 0

    def good(self) -> None:
        self.errors = 0

    def bad(self, count: int = 1) -> int:
        """Count errors; the number of errors seen when that reaches the limit (and starts afresh), else 0."""
        self.errors += count
        if self.errors < self.limit:
            return 0
        seen, self.errors = self.errors, 0
        return seen


def punish(health: Health, action: OnError) -> None:
    """Move the count as `on-error` says, before the failure that the errors simulate is counted."""
    if action is OnError.SUDDEN_DEATH and health.value > health.rise:
        health.value = health.rise + 1
    elif action is OnError.MARK_DOWN and health.is_up:
        health.value = health.rise
