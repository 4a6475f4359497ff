"""The servers of one backend as the engine sees them: which can be used, how much they may take, which is next.

HAProxy's rules (configuration manual, `balance`, `backup`, `option allbackups`, `slowstart`, `minconn`): active
servers first; when none is usable, the first usable backup, or all of them with allbackups. A server with weight 0,
draining, stopping, in maintenance or down is not usable. Times are seconds of the monotonic clock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pasvport import model
from pasvport.balance import weights
from pasvport.balance.draws import Draw, RandomDraws
from pasvport.balance.first import First
from pasvport.balance.hashed import Hashed
from pasvport.balance.hashing import FUNCTIONS, address, spread
from pasvport.balance.leastconn import LeastConnections
from pasvport.balance.picker import Full, Load, Member, Picker
from pasvport.balance.ring import Ring
from pasvport.balance.roundrobin import RoundRobin
from pasvport.balance.weight_map import StaticRoundRobin, Turn, WeightMap
from pasvport.model import Algorithm, HashMethod
from pasvport.record import ServerState

_STATIC = (Algorithm.STATIC_RR,)
_HASHED = (Algorithm.SOURCE, Algorithm.HASH)


def _nobody_is_full(_index: int) -> bool:
    return False


class Pool:
    """Chooses servers for one backend.

    `states` are the servers' states by index. `load(i)` is the number of sessions now on server i over the whole
    machine, queued ones included; `draw(n)` a random whole number from 0 to n - 1. `shared` is False when no other
    process serves this backend, so that `took` and `dropped` tell of every change of load.
    """

    def __init__(
        self,
        proxy: model.Proxy,
        states: Sequence[ServerState],
        *,
        load: Load,
        draw: Draw,
        shared: bool = True,
        now: float = 0.0,
    ) -> None:
        self._servers = proxy.servers
        self._balance = proxy.balance
        self._fullconn = proxy.fullconn
        self._states = list(states)
        self._scale = weights.static_scale(proxy.servers) if _is_static(proxy.balance) else weights.DYNAMIC
        self._warmth = [weights.warmth(s, state, now) for s, state in zip(proxy.servers, states, strict=True)]
        self._weights = [self._weight(index) for index in range(len(proxy.servers))]
        self._backups = {index for index, server in enumerate(proxy.servers) if server.backup}
        self._usable = {index for index in range(len(proxy.servers)) if self._is_usable(index)}
        self._first_backup = -1
        self._count()
        build = _Builder(proxy, load, draw, shared)
        self._active_picker = build.picker(self._members(backup=False))
        self._backup_picker = build.picker(self._members(backup=True))

    # --- what stands where ----------------------------------------------------------------------------------------

    @property
    def active(self) -> int:
        """How many active (not backup) servers are usable."""
        return self._active

    @property
    def backup(self) -> int:
        """How many backup servers are usable."""
        return len(self._usable) - self._active

    def usable(self, index: int) -> bool:
        """Whether the algorithm may choose the server for a new session."""
        return index in self._usable

    def up(self, index: int) -> bool:
        """Whether sessions that persistence sends to the server may go there (true also while it drains)."""
        return self._states[index].is_up

    def max_connections(self, index: int, backend_load: int) -> int:
        """The connection limit in force for a server while its backend has that many sessions; 0 is no limit.

        HAProxy's formula of `minconn`, `maxconn`, `fullconn`, and the ramp of `slowstart` as of the last `warm`.
        """
        percent = self._warmth[index].percent
        server, state = self._servers[index], self._states[index]
        return weights.connection_limit(server, state, self._fullconn, backend_load, percent)

    def saturated(self, index: int, *, served: int, queued: int, backend_load: int) -> bool:
        """Whether the algorithm must pass a server over that serves and queues that many sessions.

        A server with a queue counts as full, but `leastconn` fills the queue up to `maxqueue` first (HAProxy 2.6).
        """
        limit = self.max_connections(index, backend_load)
        if not limit:
            return False
        if self._balance.algorithm is Algorithm.LEASTCONN:
            return served + queued >= limit + self._servers[index].maxqueue
        return queued > 0 or served >= limit

    # --- what happens ---------------------------------------------------------------------------------------------

    def change(self, index: int, state: ServerState, now: float) -> None:
        """A server went up, down, into drain or maintenance, or its weight or limit changed."""
        old = self._states[index]
        self._states[index] = state
        self._warmth[index] = weights.warmth(self._servers[index], state, now)
        self._settle(index, (old.operation, old.admin) != (state.operation, state.admin))

    def warm(self, now: float) -> float | None:
        """Moves slow starts on. Returns when the next step is due, None when every server is warm."""
        due: list[float] = []
        for index, warmth in enumerate(self._warmth):
            if warmth.until is None:
                continue
            if warmth.until <= now:
                warmth = self._warmth[index] = weights.warmth(self._servers[index], self._states[index], now)
                # The end of the ramp is a change of state (STARTING to RUNNING), whatever the weight does.
                self._settle(index, warmth.until is None)
            if warmth.until is not None:
                due.append(warmth.until)
        return min(due, default=None)

    def mover(self, index: int) -> Callable[[int], None] | None:
        """What `took` and `dropped` come down to for the server, None where its algorithm does not look at loads."""
        picker = self._picker_of(index)
        return picker.moved if isinstance(picker, LeastConnections) else None

    def took(self, index: int) -> None:
        """A session was given to the server, or queued for it: call it after `load` says so."""
        self._picker_of(index).moved(index)

    def dropped(self, index: int) -> None:
        """A session left the server: call it after `load` says so."""
        self._picker_of(index).moved(index)

    def pick(self, key: bytes | None = None, *, avoid: int = -1, full: Callable[[int], bool] | None = None) -> int:
        """The server for a new session, -1 when none is usable or all that may be asked are full.

        `key`: packed source address for `balance source`, the sample's bytes for `balance hash` (None: no sample,
        round robin), ignored by the others. `avoid` is passed over on a redispatch while there is another choice.
        `full(i)` tells whether a server has no free slot (see `saturated`). Hashed keys and a lone backup do not ask:
        their sessions wait in that server's queue.
        """
        check: Full = full or _nobody_is_full
        if self._active:
            return self._active_picker.pick(key, avoid, check)
        if self._first_backup >= 0 and not self._balance.all_backups:
            return self._first_backup
        return self._backup_picker.pick(key, avoid, check)

    # --- inside ---------------------------------------------------------------------------------------------------

    def _weight(self, index: int) -> int:
        warmth = self._warmth[index]
        part = warmth.part if self._scale.dynamic and warmth.until is not None else None
        return self._scale.effective(self._states[index].weight, part)

    def _is_usable(self, index: int) -> bool:
        return self._states[index].takes_new and self._weights[index] > 0

    def _members(self, *, backup: bool) -> list[Member]:
        chosen = self._usable & self._backups if backup else self._usable - self._backups
        return [(index, self._weights[index]) for index in sorted(chosen)]

    def _picker_of(self, index: int) -> Picker:
        return self._backup_picker if index in self._backups else self._active_picker

    def _count(self) -> None:
        backups = self._usable & self._backups
        self._active = len(self._usable) - len(backups)
        self._first_backup = min(backups, default=-1)

    def _settle(self, index: int, changed: bool) -> None:
        """Tells the picker what became of a server: `changed` when its state did, not only its weight."""
        old_weight = self._weights[index]
        weight = self._weights[index] = self._weight(index)
        was, now = index in self._usable, self._is_usable(index)
        picker = self._picker_of(index)
        if now and not was:
            self._usable.add(index)
            picker.add(index, weight)
        elif was and not now:
            self._usable.discard(index)
            picker.remove(index)
        elif now and (changed or weight != old_weight):
            picker.reweigh(index, weight)
        if now is not was:
            self._count()


def _is_static(balance: model.Balance) -> bool:
    """Whether the algorithm works on a map, which knows neither slow start nor other weights than it began with."""
    mapped = balance.algorithm in _HASHED and balance.hash_method is HashMethod.MAP_BASED
    return balance.algorithm in _STATIC or mapped


class _Builder:
    """Makes the picker of a group of servers for a backend's algorithm."""

    def __init__(self, proxy: model.Proxy, load: Load, draw: Draw, shared: bool) -> None:
        self._balance = proxy.balance
        self._ids = [server.id for server in proxy.servers]
        self._load = load
        self._draw = draw
        self._shared = shared
        self._turn = Turn()
        self._makers: dict[Algorithm, Callable[[list[Member]], Picker]] = {
            Algorithm.ROUNDROBIN: RoundRobin,
            Algorithm.STATIC_RR: lambda members: StaticRoundRobin(members, self._turn),
            Algorithm.LEASTCONN: lambda members: LeastConnections(members, self._load, shared=self._shared),
            Algorithm.FIRST: lambda members: First(members, self._ids),
            Algorithm.SOURCE: self._hashed,
            Algorithm.HASH: self._hashed,
            Algorithm.RANDOM: self._random,
        }

    def picker(self, members: list[Member]) -> Picker:
        return self._makers[self._balance.algorithm](members)

    def _random(self, members: list[Member]) -> Picker:
        balance = self._balance
        return RandomDraws(members, self._ids, self._load, balance.balance_factor, balance.draws, self._draw)

    def _hashed(self, members: list[Member]) -> Picker:
        balance = self._balance
        function = address if balance.algorithm is Algorithm.SOURCE else FUNCTIONS[balance.hash_function]
        return Hashed(self._table(members), spread(function) if balance.avalanche else function)

    def _table(self, members: list[Member]) -> WeightMap | Ring:
        if self._balance.hash_method is HashMethod.MAP_BASED:
            return WeightMap(members, self._turn)
        return Ring(members, self._ids, self._load, self._balance.balance_factor)
