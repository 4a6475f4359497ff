"""How one server stands: the supervisor's mutable record of it, and the frozen views that inspection gets."""

from __future__ import annotations

from dataclasses import dataclass, field

from pasvport.health.machine import Health, Observer
from pasvport.health.result import CheckResult, Status
from pasvport.model import ObserveMode, Proxy, Server
from pasvport.record import Admin, Operation, ServerState

MAINTENANCE = Admin.MAINT & ~Admin.CONFIG_MAINT
"""`disabled` leaves CONFIG_MAINT set for ever; only the forced flag that comes with it keeps a server out."""

_AGENT = Health(1, 1, 1)


@dataclass(slots=True)
class Standing:
    """One server. `check` and `agent` are None where not configured; `since` is when the state last changed."""

    proxy: Proxy
    server: Server
    position: tuple[int, int]
    operation: Operation
    admin: int
    weight: int
    maxconn: int
    minconn: int
    check: Health | None
    agent: Health | None
    observer: Observer | None
    since: float
    started: float = 0.0
    downtime: float = 0.0
    check_result: CheckResult = field(default_factory=lambda: CheckResult(Status.INI))
    agent_result: CheckResult = field(default_factory=lambda: CheckResult(Status.INI))
    check_running: bool = False
    agent_running: bool = False
    check_enabled: bool = True
    agent_enabled: bool = True
    is_counted: bool = False
    failed_checks: int = 0
    failed_observations: int = 0
    times_down: int = 0
    tracked: Standing | None = None
    trackers: list[Standing] = field(default_factory=list)

    @classmethod
    def initial(cls, proxy: Proxy, server: Server, position: tuple[int, int], now: float) -> Standing:
        """At start-up: running, unless `disabled`."""
        check = Health.fresh(server.check.rise, server.check.fall) if server.check.enabled else None
        agent = Health(_AGENT.rise, _AGENT.fall, _AGENT.value) if server.agent.enabled else None
        watched = server.check.observe is ObserveMode.LAYER4
        standing = cls(
            proxy,
            server,
            position,
            Operation.RUNNING,
            0,
            server.weight,
            server.maxconn,
            server.minconn,
            check,
            agent,
            Observer(server.check.error_limit) if watched else None,
            now,
        )
        if server.disabled:
            standing.close(Admin.CONFIG_MAINT | Admin.FORCED_MAINT)
        elif server.dormant:
            standing.close(Admin.FORCED_MAINT)
        standing.check_enabled = standing.agent_enabled = not server.dynamic
        return standing

    def close(self, flags: int) -> None:
        """Put into maintenance without a word (start-up)."""
        self.admin |= flags
        self.operation = Operation.STOPPED
        if self.check is not None:
            self.check.value = 0

    @property
    def name(self) -> str:
        return f"{self.proxy.name}/{self.server.name}"

    @property
    def in_maintenance(self) -> bool:
        return bool(self.admin & MAINTENANCE)

    @property
    def is_draining(self) -> bool:
        return bool(self.admin & Admin.DRAIN)

    @property
    def is_usable(self) -> bool:
        """Counts among the backend's active (or backup) servers."""
        running = self.operation in (Operation.RUNNING, Operation.STARTING)
        return running and not self.in_maintenance and not self.is_draining and self.weight > 0

    def is_healthy(self) -> bool:
        """Neither its check, nor its agent, nor what it tracks says that it is down."""
        if self.tracked is not None and self.tracked.operation is Operation.STOPPED:
            return False
        if self.check is not None and self.check_enabled and not self.check.is_up:
            return False
        return self.agent is None or not self.agent_enabled or self.agent.is_up

    def ripen(self, now: float) -> None:
        """Slow start over: STARTING becomes RUNNING."""
        if self.operation is Operation.STARTING and now - self.started >= self.server.slowstart / 1000:
            self.operation = Operation.RUNNING

    def state(self, now: float) -> ServerState:
        """What workers get."""
        self.ripen(now)
        started = self.started if self.operation is Operation.STARTING else 0.0
        admin = self.admin & ~Admin.CONFIG_MAINT
        return ServerState(self.operation, admin, self.weight, started, self.maxconn)


@dataclass(frozen=True, slots=True)
class CheckView:
    """One check as `show stat` and `show servers state` need it."""

    configured: bool
    enabled: bool
    paused: bool
    running: bool
    result: CheckResult
    rise: int
    fall: int
    health: int


@dataclass(frozen=True, slots=True)
class ServerView:
    """One server as `show stat` and `show servers state` need it. Times in seconds."""

    proxy: str
    server: str
    operation: Operation
    admin: int
    weight: int
    initial_weight: int
    maxconn: int
    status: str
    is_usable: bool
    changed_ago: float
    downtime: float
    failed_checks: int
    failed_observations: int
    times_down: int
    tracked: str
    check: CheckView
    agent: CheckView


@dataclass(frozen=True, slots=True)
class BackendView:
    """A backend's servers together. Times in seconds."""

    active: int
    backup: int
    weight: int
    changed_ago: float
    downtime: float
    times_down: int


def view(standing: Standing, now: float) -> ServerView:
    """A snapshot."""
    standing.ripen(now)
    ago = max(0.0, now - standing.since)
    down_now = ago if standing.operation is Operation.STOPPED else 0.0
    tracked = standing.tracked
    return ServerView(
        standing.proxy.name,
        standing.server.name,
        standing.operation,
        standing.admin,
        standing.weight,
        standing.server.weight,
        standing.maxconn,
        status_text(standing),
        standing.is_usable,
        ago,
        standing.downtime + down_now,
        standing.failed_checks,
        standing.failed_observations,
        standing.times_down,
        tracked.name if tracked is not None else "",
        _check_view(standing),
        _agent_view(standing),
    )


def _check_view(standing: Standing) -> CheckView:
    rise, fall = standing.server.check.rise, standing.server.check.fall
    health = standing.check or Health(rise, fall, 0 if standing.in_maintenance else rise)
    return CheckView(
        standing.check is not None,
        standing.check_enabled,
        standing.in_maintenance,
        standing.check_running,
        standing.check_result,
        health.rise,
        health.fall,
        health.value,
    )


def _agent_view(standing: Standing) -> CheckView:
    health = standing.agent or Health(1, 1, 0)
    return CheckView(
        standing.agent is not None,
        standing.agent_enabled,
        False,
        standing.agent_running,
        standing.agent_result,
        health.rise,
        health.fall,
        health.value,
    )


def status_text(standing: Standing) -> str:
    """`show stat`'s status: UP, `UP 1/3`, `DOWN 1/2`, DRAIN, NOLB, `MAINT (via B/S)`, `no check` ..."""
    if standing.admin & Admin.INHERITED_MAINT and standing.tracked is not None:
        return f"MAINT (via {standing.tracked.name})"
    if standing.admin & Admin.RESOLUTION_MAINT:
        return "MAINT (resolution)"
    if standing.in_maintenance:
        return "MAINT"
    reference = standing
    while reference.tracked is not None:
        reference = reference.tracked
    if standing.operation is Operation.STOPPED:
        return _down_text(reference)
    return _up_text(standing, reference)


def _down_text(reference: Standing) -> str:
    if reference.agent is not None and reference.agent_enabled and not reference.agent.value:
        return "DOWN (agent)"
    health = reference.check
    if health is None or not health.value:
        return "DOWN"
    return f"DOWN {health.value}/{health.rise}"


def _up_text(standing: Standing, reference: Standing) -> str:
    health = reference.check
    fading = health is not None and health.value < health.top
    suffix = f" {health.value - health.rise + 1}/{health.fall}" if health is not None and fading else ""
    if standing.operation is Operation.STOPPING:
        return "NOLB" + suffix
    if standing.is_draining:
        by_agent = reference.agent is not None and reference.agent_enabled
        return "DRAIN (agent)" if by_agent else "DRAIN" + suffix
    return "no check" if health is None or not reference.check_enabled else "UP" + suffix
