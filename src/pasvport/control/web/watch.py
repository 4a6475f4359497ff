"""What happened lately, found by looking: checks of servers, changes of state, and counters that only errors move.

Looking costs the workers nothing. Everything kept has a fixed size: a look a second for a year needs no more memory
than one for an hour.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pasvport.control.standing import ServerView
from pasvport.control.web.metrics import workers_alive
from pasvport.control.web.served import Serving
from pasvport.health.result import CheckResult, Outcome
from pasvport.model import Mode, Proxy

EVENTS = 200
CHECKS = 20
MINUTES = 60
_MERGE = 60.0
"""Seconds within which the same thing again is counted, not told anew."""
_RANKS = {"UP": 1, "no": 1, "MAINT": 2, "DRAIN": 3, "NOLB": 3, "DOWN": 5}
"""First words of a status; a server that is up with a check failing lately ranks 4. The worst of a minute is shown."""
_SHAKEN = 4
_OF_FRONTENDS = (
    ("ftp_login_fail", "login", "failed login"),
    ("ftp_stranger", "stranger", "data connection from a stranger refused"),
    ("ftp_conflict", "conflict", "two data connections came for one, neither was served"),
    ("ftp_lease_fail", "pool", "data port asked for in vain: the pool was empty"),
    ("eint", "error", "session ended by an internal error"),
)
_OF_SERVERS = (
    ("econ", "error", "connection to the server failed"),
    ("eresp", "error", "error of the server"),
    ("ftp_xfer_fail", "transfer", "transfer did not complete"),
)
"""(counter, kind of event, what one more means)."""


@dataclass(slots=True)
class Event:
    """`count` times the same, the last time at `when` (seconds since the epoch). `level`: good, bad or note."""

    number: int
    when: float
    level: str
    kind: str
    proxy: str
    server: str
    text: str
    count: int = 1


@dataclass(slots=True)
class Past:
    """One server's last hour. `minutes` are ranks, oldest first; `checks` are (when, status, passed, ms, text)."""

    minutes: deque[int] = field(default_factory=lambda: deque([0] * MINUTES, maxlen=MINUTES))
    checks: deque[tuple[float, str, bool, int, str]] = field(default_factory=lambda: deque(maxlen=CHECKS))
    minute: int = 0
    state: str = ""
    last: CheckResult | None = None


class Watch:
    """Looks at whatever generation serves. Names, not indices, tell servers apart: they outlive a reload."""

    def __init__(self) -> None:
        self.events: deque[Event] = deque(maxlen=EVENTS)
        self._pasts: dict[tuple[str, str], Past] = {}
        self._counters: dict[tuple[str, str, str], int] = {}
        self._generation: Serving | None = None
        self._workers = 0
        self._number = 0

    def past(self, proxy: str, server: str) -> Past:
        """What is known of a server; an empty past for one never seen."""
        return self._pasts.get((proxy, server)) or Past()

    def failed_login(self, proxy: str, now: float) -> None:
        """Somebody gave a wrong password to a page."""
        self._tell(now, "bad", "login", proxy, "", "failed login to the statistics page")

    def look(self, generation: Serving, now: float) -> None:
        """Compare with the last look. `now` is seconds since the epoch."""
        is_new = generation is not self._generation
        if is_new and self._generation is not None:
            self._tell(now, "note", "reload", "", "", "Another configuration is served")
        self._generation = generation
        self._look_at_workers(generation, now)
        seen = {}
        for (index, number), view in generation.roster.views():
            proxy = generation.config.proxies[index]
            if not proxy.disabled:
                seen[view.proxy, view.server] = self._look_at_server(proxy, number, view, now)
        self._pasts = seen
        counters = {key[:3]: value for key, value, _, _ in _counters(generation)}
        if not is_new:
            self._look_at_counters(generation, now)
        self._counters = counters

    def _look_at_workers(self, generation: Serving, now: float) -> None:
        alive, there_should_be = workers_alive(generation), generation.config.settings.nbthread
        if self._workers == there_should_be and alive < there_should_be:
            self._tell(now, "bad", "worker", "", "", f"{alive} of {there_should_be} workers serve")
        elif 0 < self._workers < there_should_be == alive:
            self._tell(now, "good", "worker", "", "", f"All {alive} workers serve again")
        self._workers = alive

    def _look_at_server(self, proxy: Proxy, number: int, view: ServerView, now: float) -> Past:
        past = self._pasts.get((view.proxy, view.server)) or Past(minute=int(now // 60), last=view.check.result)
        has_news = view.check.configured and view.check.result is not past.last
        if has_news:
            self._note_check(past, view, now)
        state = view.status.partition(" ")[0]
        if past.state and state != past.state:
            self._tell(now, *_of_change(view, state), view.proxy, view.server, _words(view))
        past.state = state
        _mark_minute(past, state, view, int(now // 60))
        return past

    def _note_check(self, past: Past, view: ServerView, now: float) -> None:
        result = view.check.result
        passed = result.outcome is not Outcome.FAILED
        is_told = view.status.startswith("DOWN")
        if not passed and not is_told and (not past.checks or past.checks[-1][2]):
            text = f"Check failed: {result.status.description}{result.text and f', {result.shown_text}'}"
            self._tell(now, "bad", "check", view.proxy, view.server, text)
        past.checks.append((now, result.status.name, passed, result.duration, result.shown_text))
        past.last = result

    def _look_at_counters(self, generation: Serving, now: float) -> None:
        for key, value, kind, text in _counters(generation):
            more = value - self._counters.get(key, value)
            if more > 0:
                self._tell(now, "bad", kind, key[0], key[1], text, more)

    def _tell(self, now: float, level: str, kind: str, proxy: str, server: str, text: str, count: int = 1) -> None:
        self._number += 1
        for event in self.events:
            same = (event.kind, event.proxy, event.server, event.text) == (kind, proxy, server, text)
            if same and now - event.when < _MERGE:
                event.when, event.count, event.number = now, event.count + count, self._number
                return
        self.events.append(Event(self._number, now, level, kind, proxy, server, text, count))

    def newest(self, scope: tuple[str, ...] = ()) -> list[Event]:
        """Events about these proxies (all if empty), the newest first."""
        found = [event for event in self.events if not scope or event.proxy in ("", *scope)]
        return sorted(found, key=lambda event: event.number, reverse=True)


def _of_change(view: ServerView, state: str) -> tuple[str, str]:
    return {"UP": "good", "DOWN": "bad"}.get(state, "note"), "state"


def _words(view: ServerView) -> str:
    """`DOWN: Layer4 connection problem, Connection refused`."""
    result = view.check.result
    if not view.check.configured or view.check.paused or result.outcome is Outcome.UNKNOWN:
        return f"Now {view.status}"
    # A detail in parentheses only says which kind of check it was.
    detail = f", {result.shown_text}" if result.text and not result.text.startswith("(") else ""
    return f"Now {view.status}: {result.status.description}{detail}"


def _mark_minute(past: Past, state: str, view: ServerView, minute: int) -> None:
    for _ in range(min(minute - past.minute, MINUTES)):
        past.minutes.append(0)
    past.minute = max(minute, past.minute)
    shaken = state == "UP" and view.check.configured and view.check.result.outcome is Outcome.FAILED
    past.minutes[-1] = max(past.minutes[-1], _SHAKEN if shaken else _RANKS.get(state, 0))


Counted = tuple[tuple[str, str, str], int, str, str]


def _counters(generation: Serving) -> Iterator[Counted]:
    """((proxy, server, counter), value, kind of event, text) of every counter that only errors move."""
    figures = generation.figures
    for proxy in generation.config.proxies:
        if proxy.disabled or proxy.mode is Mode.HTTP:
            continue
        if proxy.is_frontend:
            for name, kind, text in _OF_FRONTENDS:
                yield (proxy.name, "", name), figures.frontend(proxy, name), kind, text
        for number, server in enumerate(proxy.servers):
            for name, kind, text in _OF_SERVERS:
                yield (proxy.name, server.name, name), figures.server(proxy.index, number, name), kind, text


def totals(generation: Serving) -> Mapping[str, float]:
    """A generation's counters by the names of history.COUNTED.

    Bytes are those of all connections: the counters of transfers alone move when one ends, these while it runs.
    """
    figures = generation.figures
    sums = dict.fromkeys(
        ("download", "upload", "sessions_begun", "transfers_done", "transfers_failed", "login_failures", "errors"), 0.0
    )
    for proxy in generation.config.proxies:
        if proxy.disabled or proxy.mode is Mode.HTTP:
            continue
        if proxy.is_frontend:
            sums["sessions_begun"] += figures.frontend(proxy, "stot")
            _add_traffic(sums, generation, proxy)
        if proxy.is_backend:
            sums["errors"] += figures.backend(proxy, "econ") + figures.backend(proxy, "eresp")
    return sums


def _add_traffic(sums: dict[str, float], generation: Serving, proxy: Proxy) -> None:
    count = generation.figures.frontend
    sums["download"] += count(proxy, "bout")
    sums["upload"] += count(proxy, "bin")
    sums["transfers_done"] += count(proxy, "ftp_xfer")
    sums["transfers_failed"] += count(proxy, "ftp_xfer_fail")
    sums["login_failures"] += count(proxy, "ftp_login_fail")


def held(generations: Iterator[Serving], current: Serving) -> Mapping[str, float]:
    """What there is at this moment, by the names of history.HELD: of all generations, but servers of the current."""
    sums = dict.fromkeys(("sessions", "transfers", "leases", "queued", "servers_down"), 0.0)
    for generation in generations:
        figures = generation.figures
        for proxy in generation.config.proxies:
            if proxy.is_frontend and not proxy.disabled:
                sums["sessions"] += figures.frontend(proxy, "scur")
                sums["transfers"] += figures.frontend(proxy, "ftp_xfer_cur")
                sums["leases"] += figures.frontend(proxy, "ftp_lease_cur") + figures.frontend(proxy, "ftp_pasv_cur")
            if proxy.is_backend and not proxy.disabled:
                sums["queued"] += figures.backend(proxy, "qcur")
    for (index, _), view in current.roster.views():
        if not current.config.proxies[index].disabled:
            sums["servers_down"] += view.status.startswith("DOWN")
    return sums
