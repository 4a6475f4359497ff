"""A frontend at work in one worker, and the facts of each of its doors that a session needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from pasvport.address import Family
from pasvport.engine.backends import LiveBackend
from pasvport.engine.counters import FrontendCells, ListenerCells, RateLimit
from pasvport.engine.ftp_service import FtpService
from pasvport.engine.guests import Guests
from pasvport.engine.logger import ProxyLogger
from pasvport.engine.plant import Plant, SlotWaiter
from pasvport.engine.pump import CERTAIN
from pasvport.engine.relay import CLIENT, Patience, patience
from pasvport.engine.tables import LiveTable
from pasvport.model import Bind, Mode, Proxy
from pasvport.record import SessionRecord

_EXPENSIVE = frozenset(
    {"frontend_address", "frontend_port", "server_address", "server_port", "source_address", "source_port"}
)
"""Fields of a record that are filled only when a log format asks for one of them."""
_DEFAULT_BATCH = 64
_WILDCARDS = ("*", "", "0.0.0.0", "::")


class Visit(Protocol):
    """A session, as its frontend sees it."""

    @property
    def doorway(self) -> Doorway: ...

    @property
    def host(self) -> str: ...


class LiveFrontend:
    """What all listeners of one frontend share."""

    def __init__(
        self,
        plant: Plant,
        proxy: Proxy,
        backend: LiveBackend | None,
        logger: ProxyLogger | None,
        guests: Guests,
        backends: Mapping[int, LiveBackend] | None = None,
        tables: Mapping[str, LiveTable] | None = None,
    ) -> None:
        self.plant = plant
        self.proxy = proxy
        self.backend = backend
        self.logger = logger
        self.guests = guests
        self.log_needs = frozenset() if logger is None else logger.needs & _EXPENSIVE
        self.cells = FrontendCells(plant.counters.layout.frontend[proxy.index])
        self.patience: Patience = patience(proxy, backend.proxy if backend is not None else proxy)
        name = proxy.name
        self.record = SessionRecord(0.0, "", "", "-", "", name, "", backend.proxy.name if backend is not None else name)
        """What `Session.record` fills; a new one for each session would cost more than the line."""
        self.batch = plant.config.settings.maxaccept or _DEFAULT_BATCH
        self.rates = rate_limits(plant, self.cells, proxy)
        self.ftp: FtpService | None = None
        """In `mode ftp`."""
        if proxy.mode is Mode.FTP:
            self.ftp = FtpService(plant, proxy, self.cells, backend, backends or {}, tables or {})

    def session_over(self, session: Visit) -> None:
        """A session of this frontend ended: give back what it held."""
        cells, doorway = self.plant.cells, session.doorway
        cells[self.cells.scur] -= 1
        cells[doorway.cells.scur] -= 1
        cells[self.plant.process.cur] -= 1
        for gate in doorway.gates:
            gate.give()
        if self.guests.is_stopping:
            self.guests.left(session.host)


def rate_limits(plant: Plant, cells: FrontendCells, proxy: Proxy) -> list[RateLimit]:
    """The limits of events per second that apply to a frontend: the process's and its own."""
    settings, process, counters = plant.config.settings, plant.process, plant.counters
    limits = (
        (process.conn_rate_tick, settings.maxconnrate),
        (process.sess_rate_tick, settings.maxsessrate),
        (cells.sess_rate_tick, proxy.session_rate_limit),
    )
    return [RateLimit(counters, tick, limit) for tick, limit in limits if limit]


class Doorway:
    """One listening port. `port` 0: ask the connection (a range behind one socket); `address` "" likewise."""

    def __init__(self, frontend: LiveFrontend, bind: Bind, number: int, port: int) -> None:
        counters = frontend.plant.counters
        self.frontend = frontend
        self.bind = bind
        self.number = number
        self.port = port
        self.port_text = str(port)
        self.label = bind.label(port)
        self.certain = CERTAIN << CLIENT if bind.endpoint.family in (Family.IPV4, Family.IPV6) else 0
        """See `Relay.certain`."""
        # An inherited socket's "host" is its number: only the connection knows the address.
        is_asked = bind.endpoint.host in _WILDCARDS or bind.endpoint.family is Family.FD
        self.address = "" if is_asked else bind.endpoint.host
        self.carries_data = bind.data or len(bind.ports) > 1
        """Who dials a port of a range comes to transfer a file: HAProxy's passive FTP has no other sign of it."""
        self.cells = ListenerCells(counters.layout.listener[frontend.proxy.index, number])
        self.gates: list[SlotWaiter] = []
        """The limits that apply here: process, frontend, bind; a session holds a slot of each."""
        self.borrows = False
        """Sessions hold none, because the one that they are part of does."""
