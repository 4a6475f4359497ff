"""One generation takes over from another in the same process: what a reload does once all of the new one is ready.

1. The new workers are ready, but accept nobody yet. Stick entries are brought over, while the old ones serve on.
2. The old workers stop accepting and tell what changed meanwhile: clients wait in the kernel's queues, for moments.
3. The new workers accept from the same sockets. Servers stand as they stood, counters go on.
4. The old workers finish their sessions; what those learn, and count, still comes over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from pasvport.control.allowances import UNLIMITED
from pasvport.control.crew import share
from pasvport.control.entries import Entries
from pasvport.control.generation import Generation
from pasvport.control.inheritance import inherit
from pasvport.control.ports import Ports
from pasvport.control.tally import Tally, is_largest
from pasvport.control.workers import Worker
from pasvport.model import Bind, Config
from pasvport.record import Block, CounterLayout
from pasvport.slots import server_key
from pasvport.wire import (
    EntryLearnt,
    LoginCounted,
    LoginFailed,
    PauseListeners,
    ServerChanged,
    TakeEntries,
    TellEntries,
)

_PORTION = 500
"""Entries told at a time: a worker is busy with them for a millisecond or two."""
_LARGEST_BACKLOG = 4 << 20
"""Bytes that may wait for a new worker before more entries are asked for."""
_PATIENCE = 5.0
"""Seconds that an old worker may take to tell what changed; clients wait for it."""
_PAUSE = 0.005


class Legacy:
    """What links a former generation `old` to the one that accepts, `new`; satisfies generation.Successor.

    When `new` becomes a former one itself, the newest takes its place: see `passed_on`.
    """

    def __init__(self, old: Generation, new: Generation, carrier: Carrier | None = None) -> None:
        self.old = old
        self.new = new
        self.entries = Entries(old.config, new.config, mixed=new.manner.mixed)
        self._carrier = carrier or Carrier(old)
        self._places = _server_places(old.config)

    @property
    def ports(self) -> Ports:
        return self.new.ports

    def passed_on(self, newest: Generation) -> Legacy:
        """The same with another generation that accepts."""
        return Legacy(self.old, newest, self._carrier)

    def learn(self, worker: Worker, message: EntryLearnt) -> None:
        """A session of the old generation learnt a server, or still uses an entry."""
        learnt = self.entries.learnt(message, worker.number)
        if learnt is not None:
            home, entry = learnt
            share([taker for taker in self.new.crew.members if home in (None, taker.number)], entry)

    def learn_failure(self, message: LoginCounted | LoginFailed) -> None:
        """A login of the old generation failed."""
        known = self.new.logins.failed_before(self.old.config.proxies[message.proxy].name, message)
        if known is not None:
            self.new.crew.tell(known)

    def change(self, change: ServerChanged) -> None:
        """A server changed: the old workers, who check nothing any more, hear of it under their own numbers."""
        proxy = self.new.config.proxies[change.proxy]
        place = self._places.get((proxy.name, proxy.servers[change.server].name))
        if place is not None:
            self.old.crew.tell(ServerChanged(*place, change.state, change.cause))

    def count(self) -> None:
        """Bring over what the old generation counted since the last time."""
        self._carrier.carry(self.new)


async def hand_over(legacy: Legacy, keep: Callable[[Generation, Generation], None] = lambda new, old: None) -> None:
    """From two generations of which the old one accepts to two of which the new one does.

    `keep` is called with the new and the old one while both get ready, and again just before the new one accepts.
    Raises ResourceError, or is cancelled: then the old one goes on as if nothing had been.
    """
    old, new = legacy.old, legacy.new
    keep(new, old)
    inherit(new.roster, old.roster)
    new.passive.inherit(old.passive)
    _keep_limits(new)
    await new.start()
    await _copy_entries(legacy, changed=False)
    old.crew.tell(PauseListeners(True))
    try:
        await _copy_changes(legacy)
        keep(new, old)
        inherit(new.roster, old.roster)
        for known in new.passive.inherit(old.passive):
            new.crew.tell(known)
        for failed in new.logins.inherit(old.logins):
            new.crew.tell(failed)
        new.open()
    except BaseException:
        old.crew.tell(PauseListeners(False))
        raise
    legacy.count()


# --- stick entries ------------------------------------------------------------------------------------------------


async def _copy_changes(legacy: Legacy) -> None:
    try:
        async with asyncio.timeout(_PATIENCE):
            await _copy_entries(legacy, changed=True)
    except TimeoutError:
        legacy.new.alert("A worker does not answer: what its clients did last is not known to the new workers.")


async def _copy_entries(legacy: Legacy, *, changed: bool) -> None:
    async with asyncio.TaskGroup() as group:
        for worker in legacy.old.crew.members:
            if worker.is_ready:
                group.create_task(_copy_from(legacy, worker, changed=changed))


async def _copy_from(legacy: Legacy, worker: Worker, *, changed: bool) -> None:
    question = TellEntries(_PORTION, begin=True, changed=changed)
    while True:
        told = await legacy.old.entries(worker, question)
        for part in told.parts:
            for number, carried in legacy.entries.carried(part, worker.number):
                await _give(legacy, number, carried)
        if told.last:
            return
        question = TellEntries(_PORTION, changed=changed)


async def _give(legacy: Legacy, number: int, part: TakeEntries) -> None:
    for worker in legacy.new.crew.members:
        if worker.number == number:
            while worker.backlog > _LARGEST_BACKLOG and worker in legacy.new.crew.members:
                await asyncio.sleep(_PAUSE)
            worker.send(part)


# --- servers and counters -----------------------------------------------------------------------------------------


def _keep_limits(new: Generation) -> None:
    """Room for the `maxconn` that an operator gave a server."""
    for standing in new.roster.standings():
        key = server_key(*standing.position)
        if standing.maxconn != standing.server.maxconn and key in new.allowances:
            new.allowances.resize(key, max(standing.maxconn or UNLIMITED, new.allowances.size(key)))


def _server_places(config: Config) -> dict[tuple[str, str], tuple[int, int]]:
    """Where in a configuration the server of a backend is, by their names."""
    return {
        (proxy.name, server.name): (proxy.index, number)
        for proxy in config.proxies
        if proxy.is_backend and not proxy.disabled
        for number, server in enumerate(proxy.servers)
    }


class Carrier:
    """Carries the counters of one generation on to others, each count once."""

    def __init__(self, generation: Generation) -> None:
        self._tally = generation.tally
        self._journal = generation.journal
        self._lost = 0
        self._blocks = dict(_blocks(generation.config, generation.tally.layout))
        self._carried: dict[int, int] = {}

    def carry(self, new: Generation) -> None:
        """Add what was counted since the last time to the object of the same name, where there is one."""
        blocks = dict(_blocks(new.config, new.tally.layout))
        for name, block in self._blocks.items():
            heir = blocks.get(name)
            for counter in block.names:
                self._carry(new.tally, block, heir, counter)
        lost = self._journal.dropped
        new.tally.carry(new.tally.layout.process, "dropped_logs", lost - self._lost)
        self._lost = lost

    def _carry(self, tally: Tally, block: Block, heir: Block | None, counter: str) -> None:
        if is_largest(counter):
            if heir is not None:
                tally.carry(heir, counter, self._tally.largest(block, counter))
            return
        slot, total = block.slot(counter), self._tally.total(block, counter)
        news = total - self._carried.get(slot, 0)
        if news:
            self._carried[slot] = total
            if heir is not None:
                tally.carry(heir, counter, news)


def _blocks(config: Config, layout: CounterLayout) -> Iterator[tuple[tuple[str, ...], Block]]:
    """Every block of counters, by what it counts and the names of that."""
    yield ("process",), layout.process
    for proxy in config.proxies:
        if proxy.is_frontend:
            yield ("frontend", proxy.name), layout.frontend[proxy.index]
            for number, bind in enumerate(proxy.binds):
                yield ("listener", proxy.name, _shown(bind)), layout.listener[proxy.index, number]
        if proxy.is_backend:
            yield ("backend", proxy.name), layout.backend[proxy.index]
            for number, server in enumerate(proxy.servers):
                yield ("server", proxy.name, server.name), layout.server[proxy.index, number]


def _shown(bind: Bind) -> str:
    return bind.name or f"{bind.endpoint} {bind.ports}"
