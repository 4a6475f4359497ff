"""What the FTP sessions of one frontend share in a worker: data ports, settings of their dialogues, failed logins."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from pasvport.address import Family, family_of
from pasvport.engine.backends import LiveBackend, LiveServer
from pasvport.engine.counters import FrontendCells
from pasvport.engine.data_ports import DataPorts, Pool
from pasvport.engine.logins import Logins
from pasvport.engine.plant import Plant
from pasvport.engine.relay import Patience, patience
from pasvport.engine.tables import LiveTable
from pasvport.engine.timers import NEVER
from pasvport.ftp.events import Timer
from pasvport.ftp.settings import DEFAULT_GREETING, Settings
from pasvport.model import Bind, Expression, Ftp, KeyType, Proxy
from pasvport.stick.deferral import is_deferred
from pasvport.stick.keys import Endpoints, compile_key, compile_name
from pasvport.wire import FeaturesLearnt, Notice

_LINES_HELD = 2
"""Longest lines that a client may send ahead."""
_LOGIN = 60_000
_DATA = 60_000
_TRANSFER = 300_000
_DRAIN_IDLE = 2.0
"""Seconds: whoever drained a server or stops the process waits, but a client between PASV and RETR is not idle."""
_DRAIN_PATIENCE = 30.0
_LULL = 1.0
"""Seconds of silence after which a reply has ended that some clients would take for ended."""
_EPISODE = 10.0
"""Seconds without an exhausted pool after which the next is worth a new warning."""
_MOST_FAILED_USERS = 10
"""Names that one session may enter into the stick tables by failing to log in as them."""

_FAILED_BY = {kind: Expression("src", "src") for kind in KeyType} | {
    KeyType.STRING: Expression("ftp.user", "ftp.user"),
}
"""Whom a failed login is counted against."""


class Blind(Protocol):
    """A session whose control connection is encrypted from end to end."""

    host: str
    backend: LiveBackend | None
    pick: LiveServer | None


@dataclass(frozen=True)
class DrainLimits:
    """Seconds: of silence after which a drained session ends; after which one that is never so silent ends at its
    next moment without a transfer. NEVER: neither."""

    idle: float
    longest: float

    def is_within(self, other: DrainLimits) -> bool:
        """Whether nobody stays longer by these limits than by the other ones."""
        return self.idle <= other.idle and self.longest <= other.longest


class FtpService:
    """`backends` by proxy index are all that a `use_backend` rule may lead to."""

    def __init__(
        self,
        plant: Plant,
        proxy: Proxy,
        cells: FrontendCells,
        backend: LiveBackend | None,
        backends: Mapping[int, LiveBackend],
        tables: Mapping[str, LiveTable],
    ) -> None:
        config = plant.config
        self.plant = plant
        self.proxy = proxy
        self.cells = cells
        self.ports = DataPorts(plant, proxy, Dice().draw, self._leases_changed, self._refused)
        self.logins = Logins(plant, proxy)
        self._routes = [compile_name(rule.expression, config.maps) for rule in proxy.use_backend]
        self.backend = backend
        self._backends = {live.proxy.name: live for live in backends.values()}
        self._deferred = self._waits_for_user()
        self._settings: dict[int, Settings] = {}
        self._patience: dict[tuple[int, bool], Patience] = {}
        self._tables = tables
        self._blind: dict[str, list[Blind]] = {}
        self._borrowed: dict[str, int] = {}
        """Data connections without a slot, by address."""
        self._exhausted_at = -_EPISODE
        self.limits = _limits(proxy)
        self.drain, self.drain_after_reload = _drain_limits(proxy.ftp.drain_idle)
        """Seconds of the deadlines that are not in a `Patience`."""
        self._own = _settings(proxy.ftp, deferred=self._deferred, retries=3)

    # --- settings -------------------------------------------------------------------------------------------------

    def settings(self) -> Settings:
        """For the dialogue of a session that begins now."""
        backend = self.backend
        if backend is None:
            return self._own
        found = self._settings.get(backend.proxy.index)
        if found is None or found.features != backend.features:
            found = _settings(self.proxy.ftp, deferred=self._deferred, retries=backend.proxy.retries)
            found = self._settings[backend.proxy.index] = replace(found, features=backend.features)
        return found

    def _waits_for_user(self) -> bool:
        """Whether any backend that a session may come to needs the user for its choice of a server."""
        reachable = list(self._backends.values()) if self._routes else [self.backend]
        return any(live is None or is_deferred(self.proxy, live.proxy) for live in reachable)

    def patience(self, backend: LiveBackend, *, blind: bool = False) -> Patience:
        """Time limits of a session that `backend` serves.

        `timeout tunnel` is for those that went blind, and stands in for a `timeout server` that was not said.
        """
        found = self._patience.get((backend.proxy.index, blind))
        if found is None:
            found = patience(self.proxy, backend.proxy if blind else _without_tunnel(backend.proxy))
            self._patience[backend.proxy.index, blind] = found
        return found

    # --- routing --------------------------------------------------------------------------------------------------

    def route(self, session: Endpoints) -> LiveBackend | None:
        """The backend for a session: the first `use_backend` rule that names one, else the default."""
        for name_of in self._routes:
            name = name_of(session)
            found = self._backends.get(name) if name else None
            if found is not None:
                return found
        return self.backend

    # --- addresses ------------------------------------------------------------------------------------------------

    def advertised(self, bind: Bind, pool: Pool | None, client: str, dialled: str) -> str:
        """The IPv4 literal that 227 shall name to `client`, or "" where there is none."""
        for rule in (*bind.advertise, *(pool.bind.advertise if pool is not None else ())):
            if rule.network is None or client in rule.network:
                return rule.host
        host = pool.host if pool is not None and pool.host else dialled
        return host if family_of(host) is Family.IPV4 else ""

    # --- learning -------------------------------------------------------------------------------------------------

    def learnt_features(self, backend: LiveBackend, server: LiveServer, features: tuple[bytes, ...]) -> None:
        """A server lists these: the supervisor knows what all of them have in common, and tells every worker."""
        if server.features != features:
            server.features = features
            self.plant.tell(FeaturesLearnt(backend.proxy.index, server.index, features))

    # --- blind sessions -------------------------------------------------------------------------------------------

    def went_blind(self, session: Blind) -> None:
        """Its data connections will come unannounced."""
        self._blind.setdefault(session.host, []).append(session)

    def left_blind(self, session: Blind) -> None:
        """It is over."""
        others = self._blind.get(session.host)
        if others is not None and session in others:
            others.remove(session)
            if not others:
                del self._blind[session.host]

    def blind_session(self, host: str) -> Blind | None:
        """The session of `host` that went blind last; stickiness brings all of them to one server."""
        others = self._blind.get(host)
        return others[-1] if others else None

    def borrow_slot(self, host: str) -> bool:
        """Whether a data connection may do without a slot: one may for each blind session of its address."""
        others, borrowed = self._blind.get(host), self._borrowed.get(host, 0)
        if others is None or borrowed >= len(others):
            return False
        self._borrowed[host] = borrowed + 1
        return True

    def return_slot(self, host: str) -> None:
        """A data connection that had borrowed is over."""
        left = self._borrowed.pop(host, 0) - 1
        if left > 0:
            self._borrowed[host] = left

    # --- counting -------------------------------------------------------------------------------------------------

    def count_in_tables(self, session: Endpoints, user: bytes, backend: LiveBackend | None, number: int) -> None:
        """A session's failed login, its `number`th, in the tables of this frontend and of `backend` with ftp_fail_*.

        Whoever tries name after name enters a few of them; those that are in a table are counted on.
        """
        now = self.plant.loop.now
        attempt = _Attempt(session.source, user)
        for name in {self.proxy.name, backend.proxy.name if backend is not None else ""}:
            live = self._tables.get(name)
            if live is None or not live.table.counts_failures:
                continue
            key = compile_key(_FAILED_BY[live.table.model.key_type], live.table.model)(attempt)
            if key is None or (number > _MOST_FAILED_USERS and live.table.lookup(key, now) is None):
                continue
            live.table.login_failed(key, now)

    def say_exhausted(self, reason: str) -> None:
        """A lease failed: say so, once an episode."""
        now = self.plant.loop.now
        if now - self._exhausted_at > _EPISODE:
            text = f"frontend {self.proxy.name}: no data port for a client: {reason} (425)"
            self.plant.tell(Notice(4, text))
        self._exhausted_at = now

    def _leases_changed(self, step: int) -> None:
        cells = self.plant.cells
        cells[self.cells.ftp_lease_cur] += step
        if step > 0:
            cells[self.cells.ftp_lease] += 1

    def _refused(self) -> None:
        self.plant.cells[self.cells.ftp_stranger] += 1


class _Attempt(NamedTuple):
    """Whose a failed login is, as keys are computed: the session may have been given to another user."""

    source: bytes
    user: bytes
    source_port: int = 0
    destination: bytes = b""
    destination_port: int = 0
    virtual_host: bytes = b""
    listener: str = ""

    def names(self) -> tuple[str, str, str]:
        return "", "", ""


class Dice:
    """Random numbers that nobody can foresee, fetched from the kernel by the page."""

    def __init__(self) -> None:
        self._numbers: list[int] = []

    def draw(self, count: int) -> int:
        """A whole number below `count`, which is at most 65,536: none is likelier than another by more than 2^-16."""
        if not self._numbers:
            self._numbers = list(struct.unpack("=512I", os.urandom(2048)))
        return self._numbers.pop() % count


_UNDRAINED = DrainLimits(NEVER, NEVER)


def _without_tunnel(backend: Proxy) -> Proxy:
    timeouts = backend.timeouts
    server = timeouts.server if timeouts.server is not None else timeouts.tunnel
    return replace(backend, timeouts=replace(timeouts, tunnel=None, server=server))


def _limits(proxy: Proxy) -> dict[Timer, float]:
    timeouts = proxy.timeouts
    return {
        Timer.LOGIN: (timeouts.ftp_login or _LOGIN) / 1000,
        Timer.DATA: (timeouts.ftp_data or _DATA) / 1000,
        Timer.TRANSFER: (timeouts.ftp_transfer or _TRANSFER) / 1000,
        Timer.PENALTY: proxy.ftp.login_limit_delay / 1000,
        Timer.LULL: _LULL,
    }


def _drain_limits(idle: int | None) -> tuple[DrainLimits, DrainLimits]:
    """For a server or process that is about to leave; for a generation that another has replaced."""
    if idle == 0:
        return _UNDRAINED, _UNDRAINED
    if idle is None:
        return DrainLimits(_DRAIN_IDLE, _DRAIN_PATIENCE), _UNDRAINED
    seconds = idle / 1000
    return DrainLimits(seconds, max(seconds, _DRAIN_PATIENCE)), DrainLimits(seconds, NEVER)


def _settings(ftp: Ftp, *, deferred: bool, retries: int) -> Settings:
    return Settings(
        deferred=deferred,
        greeting=ftp.greeting or DEFAULT_GREETING,
        active=ftp.active,
        auth=ftp.auth_tls,
        denied=frozenset(ftp.denied),
        trust_named_host=ftp.trust_named_host,
        max_line=ftp.max_line,
        max_held_bytes=_LINES_HELD * ftp.max_line,
        redispatches=max(retries, 1),
        login_limited=ftp.login_limit > 0,
    )
