"""Data ports of `mode ftp`: leased to one session, opened when leased, given back on every path.

A port that listens is a door. Sessions of different clients may hold leases on one door at once, because whoever comes
is recognised by address, in one look; two leases that the same address could claim never share one. A stranger is reset
at once and costs the same however many leases there are: the door counts, and a lease knows where the count stood when
it began. A lease stands until its transfer starts; who comes second for it is the holder's to judge. Doors are bound
when their first lease is granted and closed with their last, so a port of the pool listens only while it is leased.

Workers share a pool without talking: each chooses at random (RFC 2577 section 4) among all ports, of which bind()
refuses those that another worker has opened. A worker that has opened its share of the pool lets clients share what it
has, and opens more only for an address that holds a lease on all of them. One port of each share is never lent: a
single one serves any number of different addresses, so no client can starve those of the other workers.

Where sessions may go blind (`option ftp-auth-tls pass`) nobody can know which port a client was told; then the whole
range listens from the start, as in `mode tcp`, and leases are looked up at the same doors.
"""

from __future__ import annotations

import _socket
import contextlib
import errno
import math
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

from pasvport import sockets
from pasvport.address import Family, PortRange, family_of, unmapped
from pasvport.engine.dialer import OUT_OF_DESCRIPTORS
from pasvport.engine.plant import Plant
from pasvport.ftp.passive import Claim, PeerPolicy
from pasvport.model import AuthTls, Bind, Origin, Proxy
from pasvport.sight import LeaseSight

_ACCEPTABLE = 0x001
_GUESSES = 8
"""Random ports looked at before the whole pool is gone through."""
_WILDCARDS = ("*", "", "0.0.0.0", "::")
_BATCH = 64
_NO_PORTS = PortRange(0, 0)
_MOST_ADDRESSES = 256
"""Addresses of this machine whose pool is remembered."""
_TAKEN = (errno.EADDRINUSE, errno.EACCES)


class Holder(Protocol):
    """Who holds a lease."""

    def claimed(self, descriptor: int, host: str) -> bool:
        """Somebody with the awaited address connected, perhaps not the first; the lease stands until it is given back.

        False: nobody can be meant yet. Else the descriptor, which does not block, is the holder's.
        """


class Lease:
    """One port of the pool, held for one session until it is given back."""

    __slots__ = ("_strangers", "claim", "connected", "door", "granted", "holder")

    def __init__(self, door: Door, claim: Claim, holder: Holder, now: float) -> None:
        self.door = door
        self.granted = now
        self.claim = claim
        self.holder = holder
        self._strangers = door.strangers
        self.connected = False
        """Somebody has come."""

    @property
    def strangers(self) -> int:
        """Who came to the port since the lease began, was not awaited by anybody and was dropped."""
        return self.door.strangers - self._strangers

    @property
    def port(self) -> int:
        return self.door.port

    def give_back(self) -> None:
        """Nobody is awaited any more; a second time does nothing."""
        self.door.forget(self)


class Door:
    """One address and port where leases wait. Without a socket of its own, a standing door brings it who comes."""

    def __init__(self, ports: DataPorts, pool: Pool, host: str, port: int, sock: _socket.socket | None) -> None:
        self.ports = ports
        self.pool = pool
        self.host = host
        self.port = port
        self.leases: dict[Claim, Lease] = {}
        self.strangers = 0
        self._sock = sock
        self._rests = False
        pool.opened += 1
        if sock is not None:
            ports.plant.loop.add(sock.fileno(), self, _ACCEPTABLE)

    def grant(self, claim: Claim, holder: Holder) -> Lease:
        """A lease for whoever shows `claim`, which nobody here may hold yet."""
        lease = self.leases[claim] = Lease(self, claim, holder, self.ports.plant.loop.now)
        self.ports.count(1)
        return lease

    def forget(self, lease: Lease) -> None:
        """A lease has ended."""
        if self.leases.get(lease.claim) is lease:
            del self.leases[lease.claim]
            self.ports.count(-1)
            if not self.leases:
                self.close()

    def close(self) -> None:
        """Nobody is awaited here."""
        if self.ports.doors.pop((self.host, self.port), None) is not None:
            self.pool.opened -= 1
        if self._sock is not None:
            # The descriptor lives until this batch of events is over; its port is free at once.
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RD)
            self.ports.plant.loop.close(self._sock.detach())
            self._sock = None

    def ready(self, descriptor: int, events: int) -> None:
        """Somebody knocked. Behind one who was awaited nobody is looked for: another knock is reported again."""
        for _ in range(_BATCH):
            caller = self._next()
            if caller is None or self.ports.arrived(self, *caller):
                return

    def look(self) -> None:
        """Take in everybody who has knocked by now."""
        for _ in range(_BATCH):
            caller = self._next()
            if caller is None:
                return
            self.ports.arrived(self, *caller)

    def _next(self) -> tuple[int, str] | None:
        if self._sock is None or self._rests:
            return None
        try:
            return accepted(self._sock)
        except OSError:
            self._rest()
            return None

    def _rest(self) -> None:
        """No descriptor is left: a caller that cannot be taken would wake us for ever."""
        plant = self.ports.plant
        assert self._sock is not None
        self._rests = True
        plant.loop.remove(self._sock.fileno())
        plant.exhausted()
        plant.starve(self)

    def feed(self) -> None:
        """There may be one now."""
        self._rests = False
        if self._sock is not None:
            self.ports.plant.loop.add(self._sock.fileno(), self, _ACCEPTABLE)

    def failed(self, error: Exception) -> None:
        """A bug met while one caller was served; the door stays open for the others."""
        self.ports.plant.report(error)


def accepted(sock: _socket.socket) -> tuple[int, str] | None:
    """(descriptor, peer's literal address) of the next connection; None when none waits.

    Raises OSError when there is no descriptor for it.
    """
    try:
        descriptor, address = sock._accept()  # type: ignore[attr-defined]
    except OSError as error:
        if error.errno in OUT_OF_DESCRIPTORS:
            raise
        return None
    return descriptor, unmapped(address[0])


class Pool:
    """The ports that are leased on one address: those of one bind, or of several that are otherwise alike."""

    def __init__(self, bind: Bind, ports: Sequence[int], worker: int, workers: int) -> None:
        self.bind = bind
        host = bind.endpoint.host
        self.is_wildcard = host in _WILDCARDS
        self.host = "" if self.is_wildcard else unmapped(host)
        self.family = bind.endpoint.family
        enough = len(ports) >= 2 * workers
        self._kept = ports[worker : worker + 1] if enough else ()
        """The one port that only this worker uses."""
        self._lent = ports[workers:] if enough else ports
        self._size = len(self._kept) + len(self._lent)
        self.share = -(-len(ports) // workers)
        """How many ports this worker opens before clients of different addresses must share them."""
        self.opened = 0

    def serves(self, host: str) -> bool:
        """Whether a client that dialled `host` reaches this pool's ports there."""
        if not self.is_wildcard:
            return self.host == host
        return self._has_family(family_of(host))

    def _has_family(self, family: Family) -> bool:
        both = self.family is Family.IPV6 and not self.bind.v6only
        return family is self.family or (both and family is Family.IPV4)

    def order(self, draw: Callable[[int], int]) -> Iterator[int]:
        """All ports for this worker, some perhaps twice: a few at random, then all in steps of a random length."""
        size = self._size
        for _ in range(min(_GUESSES, size)):
            yield self._port(draw(size))
        place, step = draw(size), draw(size)
        while math.gcd(step, size) != 1:
            step += 1
        for _ in range(size):
            yield self._port(place)
            place = (place + step) % size

    def _port(self, place: int) -> int:
        return self._lent[place] if place < len(self._lent) else self._kept[0]


def pools(proxy: Proxy, worker: int, workers: int) -> list[Pool]:
    """Of a frontend, as one of `workers` sees them."""
    alike: dict[Bind, list[Bind]] = {}
    for bind in proxy.binds:
        if bind.data:
            alike.setdefault(_but_for_ports(bind), []).append(bind)
    return [Pool(binds[0], _ports_of(binds), worker, workers) for binds in alike.values()]


def _but_for_ports(bind: Bind) -> Bind:
    origin = Origin("", 0)
    return replace(bind, origin=origin, endpoint=bind.endpoint.with_port(0), ports=_NO_PORTS, name=None, first_id=0)


def _ports_of(binds: list[Bind]) -> Sequence[int]:
    ranges = [range(bind.ports.low, bind.ports.high + 1) for bind in binds]
    return ranges[0] if len(ranges) == 1 else [port for each in ranges for port in each]


class DataPorts:
    """The data ports of one frontend in one worker.

    `draw(n)` gives a random whole number below n that nobody can foresee. `bits` are the leading bits of IPv4 and IPv6
    addresses by which a peer is recognised. `changed(+1|-1)` counts leases, `refused()` strangers.
    """

    def __init__(
        self,
        plant: Plant,
        proxy: Proxy,
        draw: Callable[[int], int],
        changed: Callable[[int], None],
        refused: Callable[[], None],
    ) -> None:
        self.plant = plant
        self._proxy = proxy
        self._draw = draw
        self._pool_of: dict[str, Pool | None] = {}
        self.count = changed
        self._refused = refused
        self._claim_of = PeerPolicy(proxy.ftp.data_peer_ipv4, proxy.ftp.data_peer_ipv6).claim
        counters = plant.counters
        self.pools = pools(proxy, counters.worker, counters.workers)
        self.doors: dict[tuple[str, int], Door] = {}
        self.is_standing = proxy.ftp.auth_tls is AuthTls.PASS
        """Listeners are open on every port anyway: doors need no sockets."""

    # --- leasing --------------------------------------------------------------------------------------------------

    def pool_for(self, host: str) -> Pool | None:
        """The pool whose ports a client that dialled `host` is given; another address only where there is no other."""
        try:
            return self._pool_of[host]
        except KeyError:
            found = self._pool_of[host] = self._find_pool(host)
            if len(self._pool_of) > _MOST_ADDRESSES:
                del self._pool_of[next(iter(self._pool_of))]
            return found

    def _find_pool(self, host: str) -> Pool | None:
        matching = [pool for pool in self.pools if pool.serves(host)]
        family = family_of(host)
        others = [pool for pool in self.pools if not pool.is_wildcard and family_of(pool.host) is family]
        return next(iter(matching or others), None)

    def lease(self, pool: Pool, dialled: str, client: str, holder: Holder) -> Lease | None:
        """A listening port for whom `client` stands for, or None when the pool has none left.

        Raises OSError when the machine refuses (no descriptor, an address that is not ours).
        """
        host = pool.host or dialled
        claim = self._claim_of(client)
        if self.is_standing or pool.opened < pool.share:
            return self._lease(pool, host, claim, holder, may_open=True)
        found = self._lease(pool, host, claim, holder, may_open=False)
        return found or self._lease(pool, host, claim, holder, may_open=True)

    def _lease(self, pool: Pool, host: str, claim: Claim, holder: Holder, *, may_open: bool) -> Lease | None:
        for port in pool.order(self._draw):
            door = self.doors.get((host, port))
            if door is None and may_open:
                door = self._open(pool, host, port)
            if door is not None and claim not in door.leases:
                return door.grant(claim, holder)
        return None

    def _open(self, pool: Pool, host: str, port: int) -> Door | None:
        sock = None
        if not self.is_standing:
            try:
                sock = sockets.open_door(pool.bind, host, port, self._proxy, self.plant.config.settings)
            except OSError as error:
                if error.errno in _TAKEN:
                    return None
                raise
        door = self.doors[host, port] = Door(self, pool, host, port, sock)
        return door

    # --- arriving -------------------------------------------------------------------------------------------------

    def arrived(self, door: Door, descriptor: int, host: str) -> bool:
        """Somebody connected to a leased port. False: a stranger, who was turned away."""
        lease = door.leases.get(self._claim_of(host))
        if lease is not None:
            os.set_blocking(descriptor, False)
            if lease.holder.claimed(descriptor, host):
                lease.connected = True
                return True
        door.strangers += 1
        self.turn_away(descriptor)
        return False

    def awaited(self, host: str, port: int, caller: str) -> Door | None:
        """The door at `host` and `port`, if somebody waits there for `caller`."""
        door = self.doors.get((host, port))
        return door if door is not None and self._claim_of(caller) in door.leases else None

    def turn_away(self, descriptor: int) -> None:
        """A stranger: reset the connection and count it."""
        self._refused()
        borrowed = sockets.borrow(descriptor)
        sockets.reset_on_close(borrowed)
        borrowed.close()

    def leases(self) -> Iterator[LeaseSight]:
        """The ports whose client is awaited, or whose transfer has not started."""
        now, worker = self.plant.loop.now, self.plant.counters.worker
        for door in self.doors.values():
            for claim, lease in door.leases.items():
                yield LeaseSight(
                    self._proxy.name, door.port, claim or "any", now - lease.granted, worker, lease.connected
                )

    def close(self) -> None:
        """Close every door."""
        for door in list(self.doors.values()):
            door.leases.clear()
            door.close()
