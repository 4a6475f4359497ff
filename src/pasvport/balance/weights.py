"""Effective weights, slow start and dynamic connection limits of one server, on HAProxy's scale.

Facts from HAProxy 2.6: `weight`, `slowstart`, `maxconn`, `minconn`, `fullconn` (configuration manual, 5.2 and 4.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

from pasvport import model
from pasvport.record import Operation, ServerState

SCALE = 16
"""Steps a dynamic weight is divided into, so that slow start has something to count."""

USER_RANGE = 256
MAXIMUM = USER_RANGE * SCALE
"""The largest effective weight."""

NEVER_FULL = 0


@dataclass(frozen=True, slots=True)
class Scale:
    """How a backend turns user weights into effective ones: weight x `multiplier` / `divisor`, rounded up.

    Dynamic algorithms multiply by 16. Static ones (maps) divide by the greatest common divisor of all configured
    weights, which keeps the map small, and know no slow start.
    """

    multiplier: int
    divisor: int

    @property
    def dynamic(self) -> bool:
        return self.multiplier == SCALE

    def effective(self, weight: int, part: int | None = None) -> int:
        """`part` of `multiplier` of the weight (all of it by default); more than 0 if the weight is."""
        share = self.multiplier if part is None else part
        return -(-weight * share // self.divisor)


DYNAMIC = Scale(SCALE, 1)


def static_scale(servers: tuple[model.Server, ...]) -> Scale:
    """The scale of a map over these servers."""
    return Scale(1, gcd(*(server.weight for server in servers)) or 1)


@dataclass(slots=True)
class Warmth:
    """How far a server is into its slow start: `part` sixteenths of its weight, `percent` of its connections.

    `until` is when this changes next (None: warm).
    """

    part: int = SCALE
    percent: int = 100
    until: float | None = None


def warmth(server: model.Server, state: ServerState, now: float) -> Warmth:
    """HAProxy's ramp at `now` (monotonic seconds): whole seconds since the server came up count, no fractions.

    The weight starts at one sixteenth and reaches all of it after `slowstart`; the connection limit starts at one
    connection. Only a server that is STARTING and has `started` ramps; slowstart is rounded up to whole seconds.
    """
    period = -(-server.slowstart // 1000)
    if not period or state.operation is not Operation.STARTING or not state.started:
        return Warmth()
    elapsed = max(0, int(now - state.started))
    if elapsed >= period:
        return Warmth()
    part = (SCALE * elapsed + period) // period
    limited = bool(state.maxconn or server.maxconn or server.minconn)
    # Without a connection limit only the weight moves, and it moves when part * period / 16 seconds are full.
    step = elapsed + 1 if limited else -(-part * period // SCALE)
    return Warmth(part, 100 * elapsed // period, state.started + min(step, period))


def connection_limit(server: model.Server, state: ServerState, fullconn: int, load: int, percent: int) -> int:
    """The `maxconn` in force for a server whose backend has `load` sessions; 0 means no limit.

    With `minconn` below `maxconn` the limit grows with the load of the backend, from minconn to maxconn at `fullconn`
    sessions. A warming server gets `percent` of the limit, at least one.
    """
    top = max(state.maxconn or server.maxconn, server.minconn)
    if not top:
        return NEVER_FULL
    limit = top
    if server.minconn and server.minconn < top and load < fullconn:
        limit = max(server.minconn, load * top // fullconn)
    if percent < 100:
        limit = max(1, limit * percent // 100)
    return limit
