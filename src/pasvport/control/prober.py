"""The prober: runs every check and agent check when it is due, and tells the roster what came out.

One heap of due times, one timer for its head, nothing at all for a server that is idle between checks.
Source: HAProxy manual, `inter`, `fastinter`, `downinter`, `spread-checks`, `max-spread-checks`, `agent-check`.
"""

from __future__ import annotations

import asyncio
import heapq
import random
import resource
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from pasvport.address import Family
from pasvport.control.probe_external import ExternalProbe, Program
from pasvport.control.probe_socket import SocketProbe, Target
from pasvport.control.roster import Position, Roster
from pasvport.health.agent import AgentDialogue, AgentReport
from pasvport.health.dialogue import ScriptDialogue
from pasvport.health.event import Connect, Patience
from pasvport.health.ftp_dialogue import FtpDialogue
from pasvport.health.result import CheckResult
from pasvport.health.script import Script, prepare
from pasvport.model import CheckKind, Config, FtpCheck, Proxy, Server
from pasvport.record import Operation

_SPREAD_FROM = 1000
"""Milliseconds: checks more frequent than this do not dictate how the first ones are spread (HAProxy)."""

_MOST_AT_ONCE = 4000


class Probe(Protocol):
    """A check under way."""

    def start(self) -> None: ...

    def abort(self) -> None: ...


@dataclass(slots=True)
class _Job:
    """One check that comes round again and again. `due` tells live heap entries from overtaken ones."""

    position: Position
    is_agent: bool
    proxy: Proxy
    server: Server
    script: Script
    due: float = 0.0
    probe: Probe | None = None
    is_queued: bool = False


class Prober:
    """Checks of every backend of `config`. `concurrency` bounds the checks (descriptors, children) at one time, by
    default a quarter of the descriptors this process may have; what is due beyond it waits its turn in order.
    `chance` gives the jitter of `spread-checks`. `on_features` is told what a server's FEAT lists, and None when it
    runs no more; only `option ftp-check` with a user finds it out."""

    def __init__(
        self,
        config: Config,
        roster: Roster,
        *,
        concurrency: int | None = None,
        chance: random.Random | None = None,
        on_features: Callable[[Position, tuple[bytes, ...] | None], None] = lambda position, features: None,
    ) -> None:
        self._config = config
        self._roster = roster
        self._concurrency = _most_at_once() if concurrency is None else concurrency
        self._chance = chance or random.Random()
        self._on_features = on_features
        self._heap: list[tuple[float, int]] = []
        self._jobs = _jobs(config)
        self._health_jobs = {job.position: index for index, job in enumerate(self._jobs) if not job.is_agent}
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: deque[int] = deque()
        self._running: set[int] = set()
        self._stopped = True

    def start(self) -> None:
        """Schedule everything; needs a running event loop."""
        self._loop = asyncio.get_running_loop()
        self._stopped = False
        self._roster.on_hurry = self._hurry
        now = self._loop.time()
        for index, delay in enumerate(self._first_delays()):
            self._schedule(index, now + delay / 1000)

    async def stop(self) -> None:
        """Call everything off; when this returns no descriptor, timer or child of a check is left."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._heap.clear()
        self._waiting.clear()
        children = [probe for job in self._jobs if isinstance(probe := job.probe, ExternalProbe)]
        for index in self._running:
            probe = self._jobs[index].probe
            if probe is not None:
                probe.abort()
        self._running.clear()
        for child in children:
            await child.reaped()

    def replace(self, proxy: int, server: int, model: Server) -> None:
        """The server's next check, and its agent's, go where `model` says."""
        for job in self._jobs:
            if job.position == (proxy, server):
                job.server = model

    # --- when -----------------------------------------------------------------------------------------------------

    def _first_delays(self) -> list[float]:
        """Milliseconds to each first check: spread over the shortest common interval, in order."""
        intervals = [self._interval(job) for job in self._jobs]
        shortest = min((i for i in intervals if i >= _SPREAD_FROM), default=0)
        limit = self._config.settings.max_spread_checks
        delays = []
        for index, interval in enumerate(intervals):
            span = max(shortest, interval) + self._jitter(interval)
            delays.append((min(span, limit) if limit else span) * index / len(intervals))
        return delays

    def _interval(self, job: _Job) -> int:
        if job.is_agent:
            return self._roster.agent_interval(*job.position)
        return self._roster.check_interval(*job.position)

    def _jitter(self, interval: float) -> float:
        return interval * self._config.settings.spread_checks / 100 * self._chance.uniform(-1, 1)

    def _schedule(self, index: int, due: float) -> None:
        if self._stopped:
            return
        self._jobs[index].due = due
        heapq.heappush(self._heap, (due, index))
        if self._heap[0] == (due, index):
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._heap[0][0], self._tick) if self._heap else None

    def _tick(self) -> None:
        # The loop rounds timers to its clock's resolution: what is due within it is due now.
        horizon = self._loop.time() + 0.001
        while self._heap and self._heap[0][0] <= horizon:
            due, index = heapq.heappop(self._heap)
            job = self._jobs[index]
            if job.due == due and job.probe is None and not job.is_queued:
                self._turn(index)
        self._set_timer()

    def _turn(self, index: int) -> None:
        if not self._may_run(self._jobs[index]):
            job = self._jobs[index]
            again = job.server.agent.interval if job.is_agent else job.server.check.interval
            self._schedule(index, self._loop.time() + again / 1000)
        elif len(self._running) >= self._concurrency:
            self._jobs[index].is_queued = True
            self._waiting.append(index)
        else:
            self._begin(index)

    def _may_run(self, job: _Job) -> bool:
        ask = self._roster.may_ask_agent if job.is_agent else self._roster.may_check
        return ask(*job.position)

    def _hurry(self, proxy: int, server: int) -> None:
        """Observed errors: the next check may not wait longer than `fastinter`."""
        index = self._health_jobs.get((proxy, server))
        if index is None or self._stopped or self._jobs[index].probe is not None:
            return
        due = self._loop.time() + self._jobs[index].server.check.fast_interval / 1000
        if due < self._jobs[index].due:
            self._schedule(index, due)

    # --- what -----------------------------------------------------------------------------------------------------

    def _begin(self, index: int) -> None:
        job = self._jobs[index]
        self._running.add(index)
        probe = self._agent_probe(index, job) if job.is_agent else self._health_probe(index, job)
        job.probe = probe
        probe.start()

    def _health_probe(self, index: int, job: _Job) -> Probe:
        self._roster.check_started(*job.position)

        def done(result: CheckResult) -> None:
            self._over(index, lambda: self._roster.check_finished(*job.position, result))

        kind = job.proxy.check_kind
        if kind is CheckKind.EXTERNAL:
            program = Program(self._config, job.proxy, job.server, self._roster.sessions(*job.position))
            return ExternalProbe(self._loop, program, _program_patience(job), done)
        if kind is CheckKind.FTP:
            return self._ftp_probe(index, job)
        check, settings = job.server.check, self._config.settings
        dialogue = ScriptDialogue(job.script, _patience(job, check.interval), settings.bufsize)
        return SocketProbe(self._loop, dialogue, self._target(job), done)

    def _ftp_probe(self, index: int, job: _Job) -> Probe:
        target = self._target(job)
        wanted = job.proxy.ftp_check or FtpCheck()
        # A server on a UNIX socket has no data ports: one question shows it.
        ipv6 = target.endpoint(Connect()).family is not Family.IPV4
        passive = job.proxy.passive_of(job.server)
        dialogue = FtpDialogue(wanted, _patience(job, job.server.check.interval), passive, ipv6=ipv6)

        def report(result: CheckResult) -> None:
            self._roster.check_finished(*job.position, result)
            self._note_features(job.position, dialogue.features)

        return SocketProbe(self._loop, dialogue, target, lambda result: self._over(index, lambda: report(result)))

    def _target(self, job: _Job) -> Target:
        check = job.server.check
        return Target(job.proxy, job.server, check.endpoint, check.port, self._config.settings)

    def _note_features(self, position: Position, features: tuple[bytes, ...] | None) -> None:
        is_up = self._roster.view(*position).operation is not Operation.STOPPED
        if features is not None or not is_up:
            self._on_features(position, features if is_up else None)

    def _agent_probe(self, index: int, job: _Job) -> Probe:
        self._roster.agent_started(*job.position)
        agent, settings = job.server.agent, self._config.settings
        dialogue = AgentDialogue(agent.send, _patience(job, agent.interval), settings.bufsize)

        def done(result: CheckResult) -> None:
            report = dialogue.report or AgentReport(failure=result)
            self._over(index, lambda: self._roster.agent_finished(*job.position, report, result.duration))

        # `addr` serves the agent too where `agent-addr` is not said.
        target = Target(job.proxy, job.server, agent.endpoint or job.server.check.endpoint, agent.port, settings)
        return SocketProbe(self._loop, dialogue, target, done)

    def _over(self, index: int, report: Callable[[], None]) -> None:
        if self._stopped:
            return
        self._jobs[index].probe = None
        self._running.discard(index)
        try:
            report()
        finally:
            interval = self._interval(self._jobs[index])
            self._schedule(index, self._loop.time() + (interval + self._jitter(interval)) / 1000)
            if self._waiting:
                self._loop.call_soon(self._next_in_line)

    def _next_in_line(self) -> None:
        if self._stopped or not self._waiting or len(self._running) >= self._concurrency:
            return
        index = self._waiting.popleft()
        self._jobs[index].is_queued = False
        self._turn(index)


def _most_at_once() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST_AT_ONCE if soft == resource.RLIM_INFINITY else max(8, min(_MOST_AT_ONCE, soft // 4))


def _jobs(config: Config) -> list[_Job]:
    jobs: list[_Job] = []
    for proxy in config.proxies:
        if not proxy.is_backend or proxy.disabled:
            continue
        script = prepare(proxy.check_steps, scripted=proxy.check_kind is CheckKind.TCP_SCRIPT)
        for number, server in enumerate(proxy.servers):
            if server.check.enabled:
                jobs.append(_Job((proxy.index, number), False, proxy, server, script))
            if server.agent.enabled:
                jobs.append(_Job((proxy.index, number), True, proxy, server, script))
    return jobs


def _patience(job: _Job, interval: int) -> Patience:
    return Patience.of(interval, job.proxy.timeouts.connect, job.proxy.timeouts.check)


def _program_patience(job: _Job) -> int:
    return _patience(job, job.server.check.interval).connect
