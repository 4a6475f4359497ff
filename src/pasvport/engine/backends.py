"""A backend at work in one worker: its servers' slots and queues, its stick rules, and whom it chooses."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol

from pasvport import sockets
from pasvport.balance.pool import Pool
from pasvport.engine.counters import BackendCells
from pasvport.engine.plant import Plant, SlotWaiter
from pasvport.engine.tables import KeyOf, LiveTable, Rule, merged
from pasvport.engine.timers import NEVER
from pasvport.ftp.passive import KnownPassive
from pasvport.ftp.settings import FEATURES
from pasvport.model import (
    Algorithm,
    FtpPassive,
    Global,
    ObserveMode,
    PortMap,
    Proxy,
    Server,
    Source,
    StickRule,
)
from pasvport.record import DataMode, ServerState
from pasvport.slots import server_key
from pasvport.stick.deferral import needs_user
from pasvport.stick.keys import Endpoints, compile_key, compile_name, compile_sample
from pasvport.stick.table import Entry
from pasvport.wire import EntryLearnt, ObservedErrors

# With these, a queue on the backend proves that every server is full; the others may still find one (HAProxy 2.6).
_FULL_WHEN_QUEUED = (Algorithm.FIRST, Algorithm.ROUNDROBIN, Algorithm.STATIC_RR)

ANY_ADDRESS = ("0.0.0.0", "::", "", "*")
"""As a server's address: the one that the client dialled."""


class Waiting(Endpoints, Protocol):
    """A session, as the backend that serves it sees it."""

    queued_at: float
    learnt: bool

    def use_entry(self, table: LiveTable, entry: Entry) -> None:
        """Keep the entry alive as long as the session."""

    def slot_granted(self, server: LiveServer) -> None:
        """The session's turn has come: a slot of `server` is taken for it."""

    def requeue(self) -> None:
        """The server that the session waited for is gone: choose again."""


class LiveServer:
    """A server in one worker."""

    __slots__ = (
        "address",
        "cells",
        "errors",
        "family",
        "features",
        "index",
        "model",
        "moved",
        "observed",
        "options",
        "passive",
        "ports",
        "queue",
        "slot",
        "source",
        "state",
        "target",
    )

    def __init__(
        self, model: Server, index: int, state: ServerState, cells: BackendCells, proxy: Proxy, settings: Global
    ) -> None:
        self.model = model
        self.index = index
        self.state = state
        self.cells = cells
        self.family = sockets.address_family(model.endpoint)
        self.address = sockets.sockaddr(model.endpoint)
        self.queue: deque[Waiting] = deque()
        self.slot: SlotWaiter | None = None
        self.options = sockets.outgoing_options(self.family, proxy.server_options, model.options, settings)
        source = model.source or proxy.source
        self.source: Source | None = None if self.family == socket.AF_UNIX else source
        self.target = self._fixed_target()
        self.moved: Callable[[int], None] | None = None
        """Tells the balancing algorithm, where it wants to know, that this server's load changed."""
        self.ports: deque[int] | None = None
        """Source ports of a `source ADDR:LO-HI` that this worker may use and does not."""
        self.observed = model.check.observe is ObserveMode.LAYER4
        self.errors = 0
        self.passive = _known_passive(model, proxy)
        """`mode ftp`: how this server is asked for data ports; its sessions keep it true."""
        self.features: tuple[bytes, ...] | None = None
        """`mode ftp`: what the supervisor was told of this server's FEAT, since it last told something itself."""

    def move(self, model: Server, proxy: Proxy, settings: Global) -> None:
        """New connections go to another address; those that are open stay."""
        self.model = model
        self.family = sockets.address_family(model.endpoint)
        self.address = sockets.sockaddr(model.endpoint)
        self.options = sockets.outgoing_options(self.family, proxy.server_options, model.options, settings)
        self.source = None if self.family == socket.AF_UNIX else model.source or proxy.source
        self.target = self._fixed_target()
        self.passive = _known_passive(model, proxy)

    def _fixed_target(self) -> tuple[str, int] | bytes | str | None:
        """Where every connection to the server goes; None when that depends on the client's connection."""
        if isinstance(self.address, str | bytes):
            return self.address
        port = self.model.port
        # A link-local address names an interface, which may come and go.
        if self.address[0] in ANY_ADDRESS or "%" in self.address[0] or port.kind is not PortMap.FIXED:
            return None
        return self.address[0], port.value


def _known_passive(model: Server, proxy: Proxy) -> KnownPassive:
    return KnownPassive(fixed=_FIXED[proxy.passive_of(model)])


_FIXED = {FtpPassive.AUTO: DataMode.NONE, FtpPassive.EPSV: DataMode.EPSV, FtpPassive.PASV: DataMode.PASV}


class LiveBackend:
    """Chooses a server for a session, and keeps those that must wait for one.

    `draw(n)` gives a random whole number below n. `descriptors` maps slot keys to their eventfds.
    """

    def __init__(
        self,
        plant: Plant,
        proxy: Proxy,
        states: list[ServerState],
        tables: Mapping[str, LiveTable],
        descriptors: Mapping[str, int],
        draw: Callable[[int], int],
    ) -> None:
        self.plant = plant
        self.proxy = proxy
        self.cells = BackendCells(plant.counters.layout.backend[proxy.index])
        self.servers = [self._server(index, state) for index, state in enumerate(states)]
        self._by_id = {server.model.id: server for server in self.servers}
        for server in self.servers:
            descriptor = descriptors.get(server_key(proxy.index, server.index))
            if descriptor is not None:
                server.slot = SlotWaiter(plant.loop, descriptor, plant.report)
        self.rules = [self._rule(part, tables) for part in merged(proxy.stick_rules)]
        self.learns_what_it_matches = len(self.rules) == 1 and self.rules[0].matches and self.rules[0].stores
        """`stick on` and nothing else: whoever was sent to a server by the table has nothing to teach it."""
        self.learns_users = any(rule.by_user for rule in self.rules)
        self.queue: deque[Waiting] = deque()
        self.bucket: int | None = None
        self.pool = Pool(
            proxy,
            states,
            load=self._load,
            draw=draw,
            shared=plant.counters.workers > 1,
            now=plant.loop.now,
        )
        for server in self.servers:
            server.moved = self.pool.mover(server.index)
        self._key_of = self._balance_key()
        self.features: tuple[bytes, ...] = FEATURES
        """`mode ftp`: what every server here is known to do, of what we can carry."""
        self._names = [compile_name(rule.expression, plant.config.maps) for rule in proxy.use_server]
        self._by_name = {server.model.name: server for server in self.servers}
        self._limited = any(server.model.maxconn for server in self.servers)
        self._file_warming()

    def _server(self, index: int, state: ServerState) -> LiveServer:
        block = self.plant.counters.layout.server[self.proxy.index, index]
        cells = BackendCells(block)
        server = LiveServer(self.proxy.servers[index], index, state, cells, self.proxy, self.plant.config.settings)
        if server.source is not None and server.source.ports is not None:
            ports, counters = server.source.ports, self.plant.counters
            # Each worker has its own share of the range, so that none meets a port that another just took.
            server.ports = deque(range(ports.low + counters.worker, ports.high + 1, counters.workers))
        return server

    def _rule(self, part: tuple[StickRule, bool, bool], tables: Mapping[str, LiveTable]) -> Rule:
        rule, matches, stores = part
        table = tables[rule.table]
        return Rule(
            table, compile_key(rule.expression, table.table.model), matches, stores, needs_user(rule.expression)
        )

    def _balance_key(self) -> KeyOf | None:
        balance = self.proxy.balance
        if balance.algorithm is Algorithm.SOURCE:
            return lambda endpoints: endpoints.source
        if balance.algorithm is Algorithm.HASH and balance.expression is not None:
            return compile_sample(balance.expression)
        return None

    def _load(self, index: int) -> int:
        cells, total = self.servers[index].cells, self.plant.counters.total
        return total(cells.scur) + total(cells.qcur)

    # --- choosing -------------------------------------------------------------------------------------------------

    def persistent(self, session: Waiting) -> LiveServer | None:
        """The server that a stick table names for this session, if it can be used (`option persist`: even if down)."""
        now = self.plant.loop.now
        for rule in self.rules:
            if not rule.matches or (key := rule.key_of(session)) is None:
                continue
            entry = rule.table.table.lookup(key, now)
            if entry is None:
                continue
            if not rule.by_user:
                session.use_entry(rule.table, entry)
            server = self._by_id.get(entry.server_id)
            if server is not None and (server.state.is_up or self.proxy.persist):
                return server
        return None

    def named(self, session: Waiting) -> LiveServer | None:
        """The server that a `use-server` rule names for this session, if it can be used."""
        for name_of in self._names:
            name = name_of(session)
            server = self._by_name.get(name) if name else None
            if server is not None:
                return server if server.state.is_up or self.proxy.persist else None
        return None

    def learn(self, session: Waiting, server: LiveServer) -> None:
        """Store the session's server under the keys of its store rules.

        At assignment, not once connected as HAProxy does: of several connections that a client opens at once, the
        second must already find what the first was given. Keys of a user wait for his login: see `learn_user`.
        """
        if server.model.non_stick:
            return
        for rule in self.rules:
            if not rule.stores or rule.by_user:
                continue
            key = rule.key_of(session)
            if key is None:
                continue
            entry = rule.table.table.enter(key, self.plant.loop.now)
            session.use_entry(rule.table, entry)
            if entry.server_id != server.model.id:
                session.learnt = True
                self._store(rule.table, entry, server)

    def learn_user(self, session: Waiting, server: LiveServer) -> None:
        """The session's user has logged in at `server`: store that under his keys, and keep his entries.

        Not before: anybody can say anybody's name, and would fill a table or move another user's entry.
        """
        now = self.plant.loop.now
        for rule in self.rules:
            key = rule.key_of(session) if rule.by_user else None
            if key is None:
                continue
            stores = rule.stores and not server.model.non_stick
            entry = rule.table.table.enter(key, now) if stores else rule.table.table.lookup(key, now)
            if entry is None:
                continue
            session.use_entry(rule.table, entry)
            if stores and entry.server_id != server.model.id:
                self._store(rule.table, entry, server)

    def _store(self, table: LiveTable, entry: Entry, server: LiveServer) -> None:
        entry.server_id = server.model.id
        by_address = table.table.model.server_key == "addr"
        entry.server_key = str(server.model.endpoint) if by_address else server.model.name
        if table.shared:
            self.plant.tell(EntryLearnt(table.name, entry.key, server.model.id))

    def choose(self, session: Waiting, avoid: int) -> LiveServer | None:
        """The balancing algorithm's choice; None when every usable server is full."""
        key = self._key_of(session) if self._key_of is not None else None
        if self.queue and self.proxy.balance.algorithm in _FULL_WHEN_QUEUED:
            return None
        index = self.pool.pick(key, avoid=avoid, full=self.is_full if self._limited else None)
        if index < 0:
            return None
        cells, server = self.plant.cells, self.servers[index]
        if index != avoid:
            cells[self.cells.lbtot] += 1
            cells[server.cells.lbtot] += 1
        return server

    @property
    def has_usable(self) -> bool:
        return self.pool.active > 0 or self.pool.backup > 0

    def is_full(self, index: int) -> bool:
        """Whether the algorithm must pass the server over."""
        server = self.servers[index]
        if server.slot is None:
            return False
        total = self.plant.counters.total
        return self.pool.saturated(
            index,
            served=total(server.cells.scur),
            queued=total(server.cells.qcur),
            backend_load=total(self.cells.scur),
        )

    def claim(self, server: LiveServer) -> bool:
        """Take a connection slot of the server; False when it has none (the session must queue)."""
        if server.slot is None:
            return True
        total = self.plant.counters.total
        limit = self.pool.max_connections(server.index, total(self.cells.scur))
        if limit and total(server.cells.scur) >= limit:
            return False
        return server.slot.take()

    # --- waiting --------------------------------------------------------------------------------------------------

    def enqueue(self, session: Waiting, server: LiveServer | None) -> None:
        """Let a session wait for `server`, or for whichever is free first."""
        cells, counters = self.plant.cells, self.plant.counters
        queue, owner = (self.queue, self.cells) if server is None else (server.queue, server.cells)
        queue.append(session)
        cells[owner.qcur] += 1
        counters.raise_maximum(owner.qmax, counters.total(owner.qcur))
        if server is not None and server.moved is not None:
            server.moved(server.index)
        for each in self.servers:
            if each.slot is not None and (server is None or each is server):
                each.slot.wait(self.serve_queues)

    def leave_queue(self, session: Waiting, server: LiveServer | None) -> None:
        """A session gives up waiting, or is served."""
        queue, owner = (self.queue, self.cells) if server is None else (server.queue, server.cells)
        queue.remove(session)
        self._count_out(owner, server)

    def _count_out(self, owner: BackendCells, server: LiveServer | None) -> None:
        self.plant.cells[owner.qcur] -= 1
        if server is not None and server.moved is not None:
            server.moved(server.index)

    def serve_queues(self) -> None:
        """Give free slots to those who wait: each server's own queue and the backend's, oldest first."""
        for server in self.servers:
            if server.slot is None:
                continue
            while (waiting := self._next_for(server)) is not None and self.claim(server):
                self._dequeue(waiting, server)
            if not server.queue and not self.queue:
                server.slot.rest(self.serve_queues)

    def _next_for(self, server: LiveServer) -> Waiting | None:
        own = server.queue[0] if server.queue and server.state.is_up else None
        common = self.queue[0] if self.queue and self.pool.usable(server.index) else None
        if own is None or common is None:
            return own or common
        return own if own.queued_at <= common.queued_at else common

    def _dequeue(self, session: Waiting, server: LiveServer) -> None:
        mine = bool(server.queue) and server.queue[0] is session
        (server.queue if mine else self.queue).popleft()
        self._count_out(server.cells if mine else self.cells, server if mine else None)
        session.slot_granted(server)

    # --- changes --------------------------------------------------------------------------------------------------

    def change(self, index: int, state: ServerState) -> None:
        """The supervisor decided that a server changed."""
        server = self.servers[index]
        server.state = state
        self.pool.change(index, state, self.plant.loop.now)
        self._file_warming()
        if not state.is_up:
            # Those who waited for this server alone may go elsewhere, as HAProxy requeues them.
            for session in list(server.queue):
                self.leave_queue(session, server)
                session.requeue()
        self.serve_queues()

    def _file_warming(self) -> None:
        due = self.pool.warm(self.plant.loop.now)
        self.plant.loop.timers.file(self, NEVER if due is None else due, self.plant.loop.now)

    def time_is_up(self, now: float) -> None:
        """A step of a slow start."""
        self._file_warming()
        self.serve_queues()

    def failed(self, error: Exception) -> None:
        """A bug in a step of a slow start: the weights stay as they are."""
        self.plant.report(error)

    def observe(self, server: LiveServer, good: bool) -> None:
        """`observe layer4`: tell the supervisor about connection errors, and the first success after some."""
        if not server.observed or (good and not server.errors):
            return
        server.errors = 0 if good else server.errors + 1
        self.plant.tell(ObservedErrors(self.proxy.index, server.index, 0 if good else 1, good))
