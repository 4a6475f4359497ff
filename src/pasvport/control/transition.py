"""Changes of a server's state, with all that follows: the backend's counts, trackers, workers, messages.

One method per change, in HAProxy 2.6's order: the state moves, workers hear of it, the message is said, an empty
backend is mentioned, and then those who track the server follow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pasvport.control import statement
from pasvport.control.standing import MAINTENANCE, Standing
from pasvport.control.statement import ALERT, EMERGENCY, NOTICE, Crowd
from pasvport.model import Proxy
from pasvport.record import Admin, Operation
from pasvport.wire import ServerChanged

Counts = Callable[[int, int], tuple[int, int, int]]


@dataclass(slots=True)
class Backend:
    """A backend's servers and how many of them may serve. `since` is when the backend last emptied or filled."""

    proxy: Proxy
    servers: list[Standing]
    since: float
    active: int = 0
    backup: int = 0
    downtime: float = 0.0
    times_down: int = 0

    @property
    def usable(self) -> int:
        return self.active + self.backup

    def recount(self, standing: Standing) -> None:
        """Count one server in or out as it now stands (cheap: thousands may change at once)."""
        step = int(standing.is_usable) - int(standing.is_counted)
        standing.is_counted = standing.is_usable
        if standing.server.backup:
            self.backup += step
        else:
            self.active += step


class Transitions:
    """Moves standings from state to state. See Roster for the meaning of the callables."""

    def __init__(
        self,
        now: Callable[[], float],
        on_change: Callable[[ServerChanged], None],
        say: Callable[[Proxy, int, str], None],
        counts: Counts,
    ) -> None:
        self._now = now
        self._on_change = on_change
        self._say = say
        self._counts = counts
        self.backends: dict[int, Backend] = {}

    # --- what checks, agents and traffic cause --------------------------------------------------------------------

    def stop(self, standing: Standing, because: str) -> None:
        """Down. `because` is the middle of the message, "" if it was already said or is inherited."""
        if standing.in_maintenance or standing.operation is Operation.STOPPED:
            return
        level = NOTICE if standing.operation is Operation.STOPPING or standing.is_draining else ALERT
        standing.times_down += 1
        standing.since = self._now()
        self._move(standing, Operation.STOPPED, level, f"is DOWN{because}", "down")
        for tracker in standing.trackers:
            self.stop(tracker, "")

    def run(self, standing: Standing, because: str) -> None:
        """Up, through slow start where there is one."""
        if standing.in_maintenance or standing.operation in (Operation.RUNNING, Operation.STARTING):
            return
        now = self._now()
        if standing.operation is Operation.STOPPED:
            standing.downtime += now - standing.since
        standing.since = now
        operation = self._begin(standing)
        self._move(standing, operation, NOTICE, f"is UP{because}", "up" if standing.weight else "")
        for tracker in standing.trackers:
            self.run(tracker, "")

    def fade(self, standing: Standing, because: str) -> None:
        """Stopping: serves what it has, takes nothing new."""
        if standing.in_maintenance or standing.operation is Operation.STOPPING:
            return
        standing.since = self._now()
        self._move(standing, Operation.STOPPING, NOTICE, f"is stopping{because}", "")
        for tracker in standing.trackers:
            self.fade(tracker, "")

    def reweigh(self, standing: Standing, weight: int) -> None:
        """Another weight; no message, but a backend may lose its last usable server by it."""
        before = self._usable(standing)
        standing.weight = weight
        self.tell(standing)
        self._mention_emptiness(standing, before)
        self._mention_drain(standing)

    def tell(self, standing: Standing, cause: str = "") -> None:
        """Recount the backend and let the workers know."""
        backend = self.backends[standing.position[0]]
        was, now = backend.usable, self._now()
        backend.recount(standing)
        if not was and backend.usable:
            backend.downtime += now - backend.since
            backend.since = now
        self._on_change(ServerChanged(*standing.position, standing.state(now), cause))

    def _begin(self, standing: Standing) -> Operation:
        if not standing.server.slowstart:
            return Operation.RUNNING
        standing.started = self._now()
        return Operation.STARTING

    def _move(self, standing: Standing, operation: Operation, level: int, event: str, cause: str) -> None:
        before = self._usable(standing)
        standing.operation = operation
        self.tell(standing, cause)
        ending = self._ending(standing)
        self._state(standing, level, event + _via(standing) + ending)
        self._mention_emptiness(standing, before)
        self._mention_drain(standing)

    # --- what the operator, or an agent, orders -------------------------------------------------------------------

    def raise_flag(self, standing: Standing, flag: int) -> None:
        """Enter maintenance or drain for one more reason; those who track inherit it."""
        if standing.admin & flag:
            return
        before = standing.admin
        self._administer(standing, before | flag)
        mask = _mask(flag)
        if before & mask:
            return
        for tracker in standing.trackers:
            self.raise_flag(tracker, _inherited(flag))

    def clear_flag(self, standing: Standing, flag: int) -> None:
        """Take one reason away; the last one ends maintenance or drain, also for those who track."""
        if not standing.admin & flag:
            return
        self._administer(standing, standing.admin & ~flag)
        if standing.admin & _mask(flag):
            return
        for tracker in standing.trackers:
            self.clear_flag(tracker, _inherited(flag))

    def _administer(self, standing: Standing, wanted: int) -> None:
        before = standing.admin
        was_in, will_be_in = bool(before & MAINTENANCE), bool(wanted & MAINTENANCE)
        if will_be_in and not was_in:
            self._enter_maintenance(standing, wanted)
        elif was_in and not will_be_in:
            self._leave_maintenance(standing, wanted)
            self._mention_drain(standing)
        elif will_be_in:
            self._stay_in_maintenance(standing, wanted)
        else:
            self._change_drain(standing, wanted)

    def _enter_maintenance(self, standing: Standing, wanted: int) -> None:
        via = "" if wanted & Admin.FORCED_MAINT else _via(standing)
        level = NOTICE if standing.operation is Operation.STOPPING or standing.is_draining else ALERT
        before, was_down = self._usable(standing), standing.operation is Operation.STOPPED
        if standing.check is not None:
            standing.check.value = 0
        standing.admin = wanted
        standing.operation = Operation.STOPPED
        if was_down:
            self.tell(standing)
            self._state(standing, NOTICE, f"was DOWN and now enters maintenance{via}.")
            return
        standing.since = self._now()
        standing.times_down += 1
        self.tell(standing, "down")
        self._state(standing, level, f"is going DOWN for maintenance{via}{self._ending(standing)}")
        self._mention_emptiness(standing, before)

    def _leave_maintenance(self, standing: Standing, wanted: int) -> None:
        before, was = self._usable(standing), standing.admin
        if standing.check is not None and standing.check_enabled:
            # Believed up, but checked at once: the first failure takes it down.
            standing.check.value = standing.check.rise
        standing.admin = wanted
        cause = ""
        if standing.is_healthy():
            cause = self._return(standing)
        self.tell(standing, cause)
        word = "DOWN" if standing.operation is Operation.STOPPED else "UP"
        forced = "forced " if was & Admin.FORCED_MAINT else ""
        mode = "DRAIN" if standing.is_draining else "READY"
        self._state(standing, NOTICE, f"is {word}/{mode} (leaving {forced}maintenance).")
        self._mention_emptiness(standing, before)

    def _return(self, standing: Standing) -> str:
        now = self._now()
        standing.downtime += now - standing.since
        standing.since = now
        if standing.tracked is not None and standing.tracked.operation is Operation.STOPPING:
            standing.operation = Operation.STOPPING
            return ""
        standing.operation = self._begin(standing)
        return "up" if standing.weight else ""

    def _stay_in_maintenance(self, standing: Standing, wanted: int) -> None:
        gone = standing.admin & ~wanted
        standing.admin = wanted
        self.tell(standing)
        if gone & Admin.FORCED_MAINT:
            text = f"is leaving forced maintenance but remains in maintenance{_via(standing)}."
            self._state(standing, NOTICE, text)
        elif gone & Admin.INHERITED_MAINT:
            self._state(standing, NOTICE, "remains in forced maintenance.")

    def _change_drain(self, standing: Standing, wanted: int) -> None:
        before, was_draining = self._usable(standing), standing.is_draining
        standing.admin = wanted
        self.tell(standing)
        if was_draining and standing.is_draining:
            self._mention_drain(standing)
        elif standing.is_draining:
            via = "" if wanted & Admin.FORCED_DRAIN else _via(standing)
            standing.since = self._now()
            self._state(standing, NOTICE, f"enters drain state{via}{self._ending(standing)}")
            self._mention_emptiness(standing, before)
        elif was_draining:
            self._end_drain(standing)

    def _end_drain(self, standing: Standing) -> None:
        now = self._now()
        standing.downtime += now - standing.since
        standing.since = now
        word = "DOWN" if standing.operation is Operation.STOPPED else "UP"
        self._state(standing, NOTICE, f"is {word} (leaving forced drain).")

    # --- messages -------------------------------------------------------------------------------------------------

    def _usable(self, standing: Standing) -> int:
        return self.backends[standing.position[0]].usable

    def _state(self, standing: Standing, level: int, text: str) -> None:
        self._say(standing.proxy, level, f"{statement.named(standing.proxy, standing.server)} {text}")

    def _ending(self, standing: Standing) -> str:
        """The numbers of a state message. Workers requeue only after they hear of the change, so what will move is
        what waits for this server and may go elsewhere (HAProxy: `option redispatch` and no `option persist`)."""
        backend = self.backends[standing.position[0]]
        sessions, waiting, anywhere = self._counts(*standing.position)
        if standing.is_usable:
            limit = max(0, standing.maxconn - sessions) if standing.maxconn else anywhere
            return Crowd(backend.active, backend.backup, sessions, min(anywhere, limit), waiting).online()
        may_move = standing.proxy.redispatch and not standing.proxy.persist
        moved = waiting if may_move else 0
        crowd = Crowd(backend.active, backend.backup, sessions, moved, waiting - moved)
        return crowd.left() if standing.operation is Operation.STOPPED else crowd.online()

    def _mention_emptiness(self, standing: Standing, before: int) -> None:
        backend = self.backends[standing.position[0]]
        if not before or backend.usable:
            return
        backend.since = self._now()
        backend.times_down += 1
        self._say(standing.proxy, EMERGENCY, statement.none_left(standing.proxy))

    def _mention_drain(self, standing: Standing) -> None:
        if standing.in_maintenance or not standing.is_draining:
            return
        if standing.admin & Admin.FORCED_DRAIN:
            self._state(standing, NOTICE, "remains in forced drain mode.")
        else:
            self._state(standing, NOTICE, f"is leaving forced drain but remains in drain mode{_via(standing)}.")


def _via(standing: Standing) -> str:
    return f" via {standing.tracked.name}" if standing.tracked is not None else ""


def _mask(flag: int) -> int:
    return MAINTENANCE if flag & MAINTENANCE else Admin.DRAIN


def _inherited(flag: int) -> int:
    return Admin.INHERITED_MAINT if flag & MAINTENANCE else Admin.INHERITED_DRAIN
