"""A worker process: `python -m pasvport.engine.worker DESCRIPTOR`.

Exec'd by the supervisor with its listening sockets, the shared counters and the slots already open. It reads Start
from the wire, builds the live objects, drops its privileges, answers Ready, and turns its loop until told to stop or
until the supervisor is gone.
"""

from __future__ import annotations

import _socket
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Mapping

from pasvport import __version__
from pasvport.engine.backends import LiveBackend, LiveServer
from pasvport.engine.counters import Counters
from pasvport.engine.frontends import Doorway, LiveFrontend
from pasvport.engine.ftp_sessions import count_transfers, drain, stay
from pasvport.engine.guests import Guests
from pasvport.engine.handover import Telling, take
from pasvport.engine.listeners import LiveListener, leased_ports
from pasvport.engine.logger import Logger, ProxyLogger
from pasvport.engine.loop import Loop
from pasvport.engine.orders import ORDERS
from pasvport.engine.plant import Plant, SlotWaiter
from pasvport.engine.process import drop_privileges, raise_descriptor_limit, spare_the_collector, tell_where_on
from pasvport.engine.queries import Queries
from pasvport.engine.session import Session
from pasvport.engine.sights import Lessor
from pasvport.engine.standing_doors import StandingDoor
from pasvport.engine.tables import LiveTable, is_shared
from pasvport.engine.uplink import Uplink
from pasvport.errors import PasvportError, WireError
from pasvport.model import Config, Proxy
from pasvport.record import CounterLayout, Culprit, DataMode, ServerState
from pasvport.slots import server_key
from pasvport.stick.table import StickTable
from pasvport.wire import (
    FROM_SUPERVISOR,
    Ask,
    BootFailed,
    CloseListeners,
    Deframer,
    Drained,
    EntryLearnt,
    FeaturesKnown,
    HardStop,
    LoginAnswered,
    LoginsKnown,
    Message,
    PassiveKnown,
    PauseListeners,
    Ready,
    ServerChanged,
    ShareEntry,
    SoftStop,
    Start,
    TakeEntries,
    TellEntries,
    encode,
    prepare,
)

_IGNORED = (
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGPIPE,
    signal.SIGTTOU,
    signal.SIGTTIN,
)
_TICK = 1.0
_COUNT_EVERY = 5.0
_SWEEP_BUDGET = 2000
_STOPPING = "the service is stopping"
_REPLACED = "the configuration was replaced"


class Worker:
    """The live objects of one worker and what the supervisor's messages do to them."""

    def __init__(self, start: Start, control: int) -> None:
        self.start = start
        config = start.config
        self.loop = Loop(time.monotonic)
        layout = CounterLayout(config)
        counters = Counters(start.counters, layout, start.worker)
        for descriptor in start.counters:
            os.close(descriptor)
        self.uplink = Uplink(self.loop, control, self.receive, self.leave)
        self.plant = Plant(config, self.loop, counters, self.uplink.tell)
        self.plant.scatters = config.settings.noreuseport or start.mixed
        self.logger = Logger(
            config, process_id=start.process_id, log_channel=start.logs, dropped=self._count_dropped_log
        )
        self.guests = Guests(self._drained)
        self.tables = self._tables(config)
        descriptors = dict(start.slots)
        self.backends = self._backends(config, descriptors)
        self.listeners = self._listeners(config, descriptors)
        self.telling = Telling(self.tables, self.uplink.tell)
        self.bucket: int | None = None
        self._counts_running = any(proxy.contstats for proxy in config.proxies)
        self._count_due = 0.0
        self.number, self.workers = start.worker, start.workers
        services = ((each.frontend.proxy.index, each.frontend.ftp) for each in self.listeners)
        self.logins = {index: service.logins for index, service in services if service is not None}
        self.lessors: list[Lessor] = list(leased_ports(self.listeners))
        self.queries = Queries(self, self.loop, self.uplink, self.plant.report)
        self.soft_stop: SoftStop | None = None
        self.status = 0

    # --- building -------------------------------------------------------------------------------------------------

    def _tables(self, config: Config) -> dict[str, LiveTable]:
        tables = {}
        for proxy in config.proxies:
            if proxy.stick_table is not None:
                rules = [rule for other in config.proxies for rule in other.stick_rules if rule.table == proxy.name]
                shared = is_shared(proxy.stick_table, [rule.expression for rule in rules], self.start.workers)
                # Without groups of sockets nothing brings a client to one worker.
                shared |= (config.settings.noreuseport or self.start.mixed) and self.start.workers > 1
                tables[proxy.name] = LiveTable(StickTable(proxy.stick_table), shared)
        return tables

    def _backends(self, config: Config, descriptors: Mapping[str, int]) -> dict[int, LiveBackend]:
        states: dict[int, dict[int, ServerState]] = {}
        for proxy_index, server_index, state in self.start.states:
            states.setdefault(proxy_index, {})[server_index] = state
        return {
            proxy.index: LiveBackend(
                self.plant,
                proxy,
                [states[proxy.index][number] for number, _ in enumerate(proxy.servers)],
                self.tables,
                {key: fd for key, fd in descriptors.items() if key.startswith(server_key(proxy.index, 0)[:-1])},
                random.randrange,
            )
            for proxy in config.proxies
            if proxy.is_backend and not proxy.disabled
        }

    def _listeners(self, config: Config, descriptors: Mapping[str, int]) -> list[LiveListener]:
        waiters = {
            key: SlotWaiter(self.loop, fd, self.plant.report)
            for key, fd in descriptors.items()
            if not key.startswith("server/")
        }
        frontends: dict[int, LiveFrontend] = {}
        listeners = []
        for passed in self.start.listeners:
            proxy = config.proxies[passed.proxy]
            if passed.proxy not in frontends:
                frontends[passed.proxy] = self._frontend(config, proxy)
            bind = proxy.binds[passed.bind]
            sock = _socket.socket(fileno=passed.descriptor)
            doorway = Doorway(frontends[passed.proxy], bind, passed.bind, passed.port)
            listener = (StandingDoor if bind.data else LiveListener)(doorway, sock)
            listener.open_gates(waiters, passed.bind)
            listeners.append(listener)
        return listeners

    def _frontend(self, config: Config, proxy: Proxy) -> LiveFrontend:
        backend = None
        name = proxy.default_backend
        if name is not None:
            backend = self.backends.get(config.proxy(name, backend=True).index)
        elif proxy.is_backend:
            backend = self.backends[proxy.index]
        said = proxy.logging.targets or proxy.logging.xferlog
        logger: ProxyLogger | None = self.logger.for_proxy(proxy) if said else None
        return LiveFrontend(self.plant, proxy, backend, logger, self.guests, self.backends, self.tables)

    def _count_dropped_log(self) -> None:
        self.plant.cells[self.plant.process.dropped_logs] += 1

    # --- running --------------------------------------------------------------------------------------------------

    def run(self, deframer: Deframer) -> int:
        """Accept, relay and obey until told to leave. Returns the exit status."""
        for frame in self.start.orders:
            for order in Deframer().feed(frame):
                self.receive(order)
        if not self.start.hold:
            for listener in self.listeners:
                listener.start()
        self.uplink.open(deframer)
        self.time_is_up(self.loop.now)
        self.uplink.tell(Ready())
        prepare(FROM_SUPERVISOR)
        spare_the_collector()
        self.loop.run()
        return self.status

    def time_is_up(self, now: float) -> None:
        """Every second: the heartbeat, the clock, expired stick entries; and every five, `option contstats`."""
        # First of all: whatever goes wrong below, the next second comes.
        self.loop.timers.file(self, now + _TICK, now)
        self.plant.cells[self.plant.process.heartbeat] += 1
        self.plant.tell_time()
        self.logger.look()
        for table in self.tables.values():
            table.table.sweep(now, _SWEEP_BUDGET)
            for entry in table.entries_to_repeat(now):
                self.plant.tell(EntryLearnt(table.name, entry.key, entry.server_id))
        if self.lessors:
            count_transfers(self.sessions())
        if self._counts_running and now >= self._count_due:
            self._count_due = now + _COUNT_EVERY
            for session in self.sessions():
                if session.doorway.frontend.proxy.contstats:
                    session.count_bytes()

    def failed(self, error: Exception) -> None:
        """Sweeping failed: say so; the tables stay as they are."""
        self.plant.report(error)

    def sessions(self) -> list[Session]:
        """Every live session, once."""
        found = {id(owner): owner for owner in self.loop.owners if isinstance(owner, Session)}
        return list(found.values())

    def leave(self) -> None:
        """The supervisor is gone, or wants us gone: stop turning."""
        self.loop.stop()

    def _drained(self) -> None:
        self.uplink.tell(Drained())

    # --- obeying --------------------------------------------------------------------------------------------------

    def receive(self, message: Message) -> None:
        """Do what the supervisor says."""
        action = self._ACTIONS.get(type(message))
        if action is None:
            raise WireError(f"unexpected message {type(message).__name__}")
        action(self, message)

    def _server_changed(self, message: Message) -> None:
        assert isinstance(message, ServerChanged)
        backend = self.backends.get(message.proxy)
        if backend is None:
            return
        server = backend.servers[message.server]
        model, was_leaving = server.model, bool(server.state.admin)
        backend.change(message.server, message.state)
        if message.state.admin:
            drain(self._served_by(server), "the server is leaving")
        elif was_leaving:
            stay(self._served_by(server))
            self._drain(self._served_by(server))
        if message.cause == "down" and model.shutdown_sessions_when_down:
            self._kill(Culprit.DOWN, lambda session: session.is_served_by(server))
        elif message.cause == "up" and model.shutdown_backup_sessions_when_up:
            self._kill(Culprit.UP, lambda session: session.is_on_backup_of(backend))

    def _served_by(self, server: LiveServer) -> list[Session]:
        return [session for session in self.sessions() if session.is_served_by(server)]

    def _kill(self, culprit: Culprit, chosen: Callable[[Session], bool]) -> None:
        for session in self.sessions():
            if chosen(session):
                session.kill(culprit)

    def _share_entry(self, message: Message) -> None:
        assert isinstance(message, ShareEntry)
        table = self.tables.get(message.table)
        if table is not None:
            entry = table.table.enter(message.key, self.loop.now)
            entry.server_id = message.server_id
            table.table.touch(entry, self.loop.now)

    def _soft_stop(self, message: Message) -> None:
        assert isinstance(message, SoftStop)
        sessions = self.sessions()
        self.guests.soft_stop([session.host for session in sessions])
        self.soft_stop = message
        self._drain(sessions)

    def _drain(self, sessions: list[Session]) -> None:
        if self.soft_stop is not None:
            reload = self.soft_stop.reload
            drain(sessions, _REPLACED if reload else _STOPPING, reload=reload)

    def _hard_stop(self, message: Message) -> None:
        self._kill(Culprit.KILLED, lambda session: True)
        self.leave()

    def _tell_entries(self, message: Message) -> None:
        assert isinstance(message, TellEntries)
        self.telling.answer(message, self.loop.now)

    def _take_entries(self, message: Message) -> None:
        assert isinstance(message, TakeEntries)
        table = self.tables.get(message.table)
        if table is not None:
            take(table.table, message, self.loop.now)

    def _close_listeners(self, message: Message) -> None:
        assert isinstance(message, CloseListeners)
        for listener in self.listeners:
            if message.serve is None or listener.descriptor in message.serve:
                listener.hand_over()
            else:
                listener.close()
        self.listeners.clear()
        # Those who waited in the queues came after everybody was told.
        self._drain(self.sessions())

    def _features_known(self, message: Message) -> None:
        assert isinstance(message, FeaturesKnown)
        backend = self.backends.get(message.proxy)
        if backend is not None:
            backend.features = message.features
            for server in backend.servers:
                server.features = None

    def _passive_known(self, message: Message) -> None:
        assert isinstance(message, PassiveKnown)
        backend = self.backends.get(message.proxy)
        if backend is not None:
            known = backend.servers[message.server].passive
            known.works, known.closes = DataMode(message.works), DataMode(message.closes)

    def _pause_listeners(self, message: Message) -> None:
        assert isinstance(message, PauseListeners)
        for listener in self.listeners:
            if message.paused:
                listener.stop()
            else:
                listener.start()

    def _login_answered(self, message: Message) -> None:
        assert isinstance(message, LoginAnswered)
        logins = self.logins.get(message.proxy)
        if logins is not None:
            logins.answered(message)

    def _logins_known(self, message: Message) -> None:
        assert isinstance(message, LoginsKnown)
        logins = self.logins.get(message.proxy)
        if logins is not None:
            logins.remember(message)

    def _ask(self, message: Message) -> None:
        assert isinstance(message, Ask)
        self.queries.ask(message)

    def activity(self) -> tuple[int, int]:
        """(messages that the supervisor did not take, questions asked)."""
        return self.uplink.dropped, self.queries.asked

    _ACTIONS: Mapping[type, Callable[[Worker, Message], None]] = {
        ServerChanged: _server_changed,
        ShareEntry: _share_entry,
        LoginAnswered: _login_answered,
        LoginsKnown: _logins_known,
        SoftStop: _soft_stop,
        HardStop: _hard_stop,
        CloseListeners: _close_listeners,
        PauseListeners: _pause_listeners,
        **ORDERS,
        FeaturesKnown: _features_known,
        PassiveKnown: _passive_known,
        TellEntries: _tell_entries,
        TakeEntries: _take_entries,
        Ask: _ask,
    }

    def dispose(self) -> None:
        """Close what this object opened."""
        for session in self.sessions():
            session.kill(Culprit.KILLED)
        for listener in self.listeners:
            listener.close()
        self.plant.dispose()
        self.logger.close()
        self.loop.dispose()


# --- the process --------------------------------------------------------------------------------------------------


def read_start(control: int) -> tuple[Start, Deframer]:
    """Wait for the first message. Raises WireError when it is anything but Start, or the wire ends."""
    deframer = Deframer()
    while data := os.read(control, 1 << 20):
        for message in deframer.feed(data):
            if not isinstance(message, Start):
                raise WireError(f"{type(message).__name__} before Start")
            return message, deframer
    raise WireError("the supervisor left before it said Start")


def main(control: int, release: str = __version__) -> int:
    """Run a worker on the wire `control`; returns the exit status.

    `release` is the supervisor's. A worker of another release, installed meanwhile, does not serve: the two may not
    understand each other.
    """
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    tell_where_on(signal.SIGQUIT)
    if release != __version__:
        text = f"pasvport {__version__} is installed but {release} is running: restart it, or take over from it with -x"
        os.write(control, encode(BootFailed(text)))
        return 3
    try:
        start, deframer = read_start(control)
    except (OSError, WireError) as error:
        print(f"pasvport worker: {error}", file=sys.stderr)
        return 1
    try:
        raise_descriptor_limit(start.descriptor_limit)
        worker = Worker(start, control)
        drop_privileges(start)
    except (OSError, PasvportError, KeyError) as error:
        os.write(control, encode(BootFailed(f"worker {start.worker}: {error}")))
        return 3
    try:
        return worker.run(deframer)
    finally:
        worker.dispose()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), *sys.argv[2:]))
