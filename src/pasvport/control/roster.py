"""The roster: the truth about every server's state, decided here and nowhere else.

Results of checks, words of agents, errors that workers observed and orders of the operator come in; ServerChanged
values and HAProxy's messages go out. Semantics of HAProxy 2.6: see `health.machine` for the count, and the manual's
sections 5.2 (track, on-marked-down, slowstart, observe) and 9.3 (`set server`) for the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from pasvport.control import statement
from pasvport.control.set_words import is_static, leading_number, parse_weight
from pasvport.control.standing import BackendView, ServerView, Standing, view
from pasvport.control.statement import NOTICE
from pasvport.control.transition import Backend, Transitions
from pasvport.health.agent import AgentReply, AgentReport
from pasvport.health.machine import Health, agent_interval, check_interval, punish
from pasvport.health.result import CheckResult, Outcome, Status, reason
from pasvport.model import Config, OnError, Proxy, Server
from pasvport.record import Admin, Operation, ServerState
from pasvport.wire import ObservedErrors, ServerChanged

Position = tuple[int, int]
"""(index of the proxy, index of the server)."""


class Roster:
    """Every server of every backend of one configuration.

    `now` is a monotonic clock in seconds. `on_change` gets every change that workers must hear of. `say` gets a proxy,
    a syslog level and a finished message for that proxy's log (`statement.on_console` gives stderr's form).
    `counts(proxy, server)` answers (sessions on the server, waiting in the server's queue, waiting in the backend's
    queue for any server); they only fill in messages. Workers move queued sessions after they hear of a change, so
    "requeued" is what will move: all that wait for the server where `option redispatch` lets them go.
    `on_hurry` is told which server's next check may not wait longer than `fastinter`.
    """

    def __init__(
        self,
        config: Config,
        *,
        now: Callable[[], float],
        on_change: Callable[[ServerChanged], None],
        say: Callable[[Proxy, int, str], None],
        counts: Callable[[int, int], tuple[int, int, int]],
    ) -> None:
        self._now = now
        self._say = say
        self._counts = counts
        self.transitions = Transitions(now, on_change, say, counts)
        self._backends = self.transitions.backends
        self.on_hurry: Callable[[int, int], None] = lambda proxy, server: None
        self._standings: dict[Position, Standing] = {}
        self._arranged: dict[Position, ServerState] = {}
        for proxy in config.proxies:
            if proxy.is_backend:
                self._enlist(proxy)
        self._connect_trackers(config)
        for standing in self._standings.values():
            self._backends[standing.position[0]].recount(standing)

    def _enlist(self, proxy: Proxy) -> None:
        now = self._now()
        standings = []
        for number, server in enumerate(proxy.servers):
            standing = Standing.initial(proxy, server, (proxy.index, number), now)
            self._standings[standing.position] = standing
            standings.append(standing)
        self._backends[proxy.index] = Backend(proxy, standings, now)

    def _connect_trackers(self, config: Config) -> None:
        by_name = {standing.name: standing for standing in self._standings.values()}
        for standing in self._standings.values():
            if standing.server.track:
                standing.tracked = by_name[standing.server.track]
                # HAProxy puts each new tracker first; its messages come in that order.
                standing.tracked.trackers.insert(0, standing)
        for standing in self._standings.values():
            if standing.tracked is None:
                _inherit_at_start(standing)

    # --- what others ask ------------------------------------------------------------------------------------------

    def states(self) -> tuple[tuple[int, int, ServerState], ...]:
        """Every server's state, for a worker that starts."""
        now = self._now()
        return tuple((*position, standing.state(now)) for position, standing in self._standings.items())

    def view(self, proxy: int, server: int) -> ServerView:
        """One server, for `show stat`, `show servers state`, `show health`."""
        return view(self._standings[proxy, server], self._now())

    def views(self) -> Iterator[tuple[Position, ServerView]]:
        """Every server with its position."""
        now = self._now()
        return ((position, view(standing, now)) for position, standing in self._standings.items())

    def backend_view(self, proxy: int) -> BackendView:
        """One backend as a whole. Raises KeyError for a proxy without servers."""
        backend = self._backends[proxy]
        ago = max(0.0, self._now() - backend.since)
        down_now = 0.0 if backend.usable or not backend.servers else ago
        group = [s for s in backend.servers if s.is_usable and s.server.backup is not bool(backend.active)]
        weight = sum(s.weight for s in group)
        return BackendView(backend.active, backend.backup, weight, ago, backend.downtime + down_now, backend.times_down)

    def server(self, proxy: int, server: int) -> Server:
        """The server as it is now: what the configuration says, and what orders changed since."""
        return self._standings[proxy, server].server

    def replace_server(self, proxy: int, number: int, server: Server) -> None:
        """The server has another address, or another check. Tell workers and the prober too."""
        self._standings[proxy, number].server = server

    def may_check(self, proxy: int, server: int) -> bool:
        """Whether the server's check is to be run now; maintenance pauses checks."""
        standing = self._standings[proxy, server]
        return standing.check is not None and standing.check_enabled and not standing.in_maintenance

    def may_ask_agent(self, proxy: int, server: int) -> bool:
        """Whether the agent is to be asked now; it is asked in maintenance too, it may end it."""
        standing = self._standings[proxy, server]
        return standing.agent is not None and standing.agent_enabled

    def check_interval(self, proxy: int, server: int) -> int:
        """Milliseconds to the server's next check."""
        standing = self._standings[proxy, server]
        if standing.check is None:
            return standing.server.check.interval
        return check_interval(standing.server.check, standing.check, stopped=standing.operation is Operation.STOPPED)

    def agent_interval(self, proxy: int, server: int) -> int:
        """Milliseconds to the agent's next check."""
        return agent_interval(self._standings[proxy, server].server.agent)

    def sessions(self, proxy: int, server: int) -> int:
        """Sessions the server has now (an external check is told)."""
        return self._counts(proxy, server)[0]

    # --- inheriting -----------------------------------------------------------------------------------------------

    def standings(self) -> Iterable[Standing]:
        """Every server's record, for whoever sets up states before anybody is served; `rearrange` afterwards."""
        return self._standings.values()

    def backends(self) -> Iterator[tuple[str, Backend]]:
        """Every backend with its name."""
        return ((backend.proxy.name, backend) for backend in self._backends.values())

    def backend_named(self, name: str) -> Backend | None:
        """The backend of that name."""
        return next((backend for found, backend in self.backends() if found == name), None)

    def rearrange(self) -> None:
        """Standings were changed from outside: count backends anew, and tell the workers, without a message."""
        now = self._now()
        for position, standing in self._standings.items():
            self._backends[position[0]].recount(standing)
            state = standing.state(now)
            if self._arranged.get(position) != state:
                self._arranged[position] = state
                self.transitions.tell(standing)

    # --- checks ---------------------------------------------------------------------------------------------------

    def check_started(self, proxy: int, server: int) -> None:
        """A check is under way (`* ` in show stat)."""
        self._standings[proxy, server].check_running = True

    def check_finished(self, proxy: int, server: int, result: CheckResult) -> None:
        """A check came to its result."""
        standing = self._standings[proxy, server]
        standing.check_running = False
        if standing.check is None or not standing.check_enabled:
            return
        self._note_check(standing, standing.check, result)
        self._conclude(standing, standing.check, result, agent=False)

    def _note_check(self, standing: Standing, health: Health, result: CheckResult) -> None:
        is_news = result.status is not standing.check_result.status
        standing.check_result = result
        moved = health.count(result.outcome)
        if moved and result.outcome is Outcome.FAILED:
            standing.failed_checks += 1
        if result.outcome in (Outcome.PASSED, Outcome.CONDITIONAL) and standing.observer is not None:
            standing.observer.good()
        if result.outcome is not Outcome.NEUTRAL and (moved or is_news):
            self._report(standing, health, result, agent=False)

    def _report(self, standing: Standing, health: Health, result: CheckResult, *, agent: bool) -> None:
        if not standing.proxy.logging.log_health_checks:
            return
        text = statement.check_report(
            standing.proxy, standing.server, result, health, agent=agent, weight=standing.weight
        )
        self._say(standing.proxy, NOTICE, text)

    def _conclude(self, standing: Standing, health: Health, result: CheckResult, *, agent: bool) -> None:
        because = self._cause(standing, result)
        if result.outcome is Outcome.FAILED:
            # Only an agent's own word takes a server down; an agent that cannot be asked says nothing.
            if not health.value and (not agent or result.status is Status.L7STS):
                self.transitions.stop(standing, because)
        elif standing.in_maintenance or not standing.is_healthy():
            return
        elif result.outcome is Outcome.CONDITIONAL and not agent:
            self.transitions.fade(standing, because)
        elif result.outcome is Outcome.PASSED and not (agent and standing.operation is Operation.STOPPING):
            self.transitions.run(standing, because)

    def _cause(self, standing: Standing, result: CheckResult) -> str:
        if standing.tracked is not None or standing.proxy.logging.log_health_checks:
            return ""
        return reason(result)

    # --- agents ---------------------------------------------------------------------------------------------------

    def agent_started(self, proxy: int, server: int) -> None:
        """The agent is being asked."""
        self._standings[proxy, server].agent_running = True

    def agent_finished(self, proxy: int, server: int, report: AgentReport, duration: int) -> None:
        """The agent answered, or did not; `duration` in ms."""
        standing = self._standings[proxy, server]
        standing.agent_running = False
        if standing.agent is None or not standing.agent_enabled:
            return
        result = report.failure or CheckResult(Status.CHECKED)
        if report.reply is not None:
            result = report.reply.result(self._obey(standing, report.reply))
        elif result.status is Status.CHECKED:
            # A reply that broke off changes nothing but the remark.
            result = replace(result, status=standing.agent_result.status)
        result = result.lasting(duration)
        self._note_agent(standing, standing.agent, result)
        self._conclude(standing, standing.agent, result, agent=True)

    def _obey(self, standing: Standing, reply: AgentReply) -> str:
        """Do what the agent says; the first complaint about it, or ""."""
        if standing.check is not None and reply.status is not Status.CHECKED:
            standing.check.value = standing.check.top if reply.status is Status.L7OK else 0
        if reply.admin:
            self.set_admin(*standing.position, reply.admin)
        complaint = self.set_weight(*standing.position, reply.weight) if reply.weight else ""
        if reply.maxconn:
            complaint = complaint or self.set_maxconn(*standing.position, reply.maxconn)
        return complaint

    def _note_agent(self, standing: Standing, health: Health, result: CheckResult) -> None:
        is_news = result.status is not standing.agent_result.status
        standing.agent_result = result
        moved = False
        if result.outcome is not Outcome.FAILED or result.status.has_code:
            moved = health.count(result.outcome)
        if moved and result.outcome is Outcome.FAILED:
            standing.failed_checks += 1
        if result.outcome is not Outcome.NEUTRAL and (moved or is_news):
            self._report(standing, health, result, agent=True)

    # --- observed traffic -----------------------------------------------------------------------------------------

    def observed(self, message: ObservedErrors) -> None:
        """`observe layer4`: what a worker saw. A server that is not observed is left alone."""
        standing = self._standings[message.proxy, message.server]
        if standing.observer is None:
            return
        # Counted at once: how many a worker tells must not be how long the supervisor is busy.
        seen = standing.observer.bad(message.errors)
        if seen:
            self._too_many_errors(standing, seen)
        if message.good:
            standing.observer.good()

    def _too_many_errors(self, standing: Standing, seen: int) -> None:
        standing.failed_observations += 1
        action = standing.server.check.on_error
        if standing.check is not None and action is not OnError.FASTINTER:
            punish(standing.check, action)
            text = f"Detected {seen} consecutive errors, last one was: L4 unsuccessful connection"
            result = CheckResult(Status.HANA, text)
            self._note_check(standing, standing.check, result)
            self._conclude(standing, standing.check, result, agent=False)
        if standing.server.check.fast_interval:
            self.on_hurry(*standing.position)

    # --- orders ---------------------------------------------------------------------------------------------------

    def set_admin(self, proxy: int, server: int, mode: str) -> None:
        """`set server B/S state ready|drain|maint`. Raises KeyError for another mode."""
        standing = self._standings[proxy, server]
        raised, cleared = _ADMIN_MODES[mode]
        for flag in raised:
            self.transitions.raise_flag(standing, flag)
        for flag in cleared:
            self.transitions.clear_flag(standing, flag)

    def set_weight(self, proxy: int, server: int, text: str) -> str:
        """`set weight`: `N` (0..256) or `N%` of the configured weight. HAProxy's complaint, or "" when done."""
        standing = self._standings[proxy, server]
        weight, complaint = parse_weight(text, standing.server.weight)
        if complaint:
            return complaint
        if weight and weight != standing.server.weight and is_static(standing.proxy.balance):
            return "Backend is using a static LB algorithm and only accepts weights '0%' and '100%'."
        if weight != standing.weight:
            self.transitions.reweigh(standing, weight)
        return ""

    def set_maxconn(self, proxy: int, server: int, text: str) -> str:
        """`set maxconn server`. HAProxy's complaint, or "" when done."""
        standing = self._standings[proxy, server]
        value, rest = leading_number(text)
        if not text:
            return "Require <maxconn>."
        if value is None:
            return "maxconn string empty or preceded by garbage"
        if rest:
            return "Trailing garbage in maxconn string"
        standing.maxconn = max(0, value)
        self.transitions.tell(standing)
        return ""

    def set_health(self, proxy: int, server: int, mode: str) -> None:
        """`set server B/S health up|stopping|down`. Raises KeyError for another mode."""
        standing = self._standings[proxy, server]
        change, full = _HEALTH_MODES[mode]
        if standing.check is not None:
            standing.check.value = standing.check.top if full else 0
        change(self.transitions, standing, ", changed from CLI")

    def set_agent(self, proxy: int, server: int, *, up: bool) -> None:
        """`set server B/S agent up|down`: believe it until the agent speaks again."""
        standing = self._standings[proxy, server]
        if standing.agent is None:
            return
        standing.agent.value = standing.agent.top if up else 0
        change = Transitions.run if up else Transitions.stop
        change(self.transitions, standing, ", changed from CLI")

    def clear_counters(self) -> None:
        """`clear counters all`: what was counted of checks and of times down."""
        for standing in self._standings.values():
            standing.failed_checks = standing.failed_observations = standing.times_down = 0

    def set_checking(self, proxy: int, server: int, *, agent: bool, enabled: bool) -> None:
        """`enable|disable health|agent B/S`. A disabled check keeps its last word to itself and to inspection."""
        standing = self._standings[proxy, server]
        if agent:
            standing.agent_enabled = enabled
        else:
            standing.check_enabled = enabled


_ADMIN_MODES = {
    "maint": ((Admin.FORCED_MAINT,), (Admin.FORCED_DRAIN,)),
    "drain": ((Admin.FORCED_DRAIN,), (Admin.FORCED_MAINT,)),
    "ready": ((), (Admin.FORCED_DRAIN, Admin.FORCED_MAINT)),
}
_HEALTH_MODES: dict[str, tuple[Callable[[Transitions, Standing, str], None], bool]] = {
    "up": (Transitions.run, True),
    "stopping": (Transitions.fade, True),
    "down": (Transitions.stop, False),
}


def _inherit_at_start(standing: Standing) -> None:
    """Maintenance runs down a chain of trackers silently at start-up."""
    for tracker in standing.trackers:
        if standing.in_maintenance:
            tracker.close(Admin.INHERITED_MAINT)
        _inherit_at_start(tracker)
