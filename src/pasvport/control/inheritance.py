"""What the servers of a new configuration inherit from the one before, in the same process.

The rules are those by which HAProxy applies a state file: what the text changed comes from the text, what was changed
at run time and the text does not mention stays. Source: configuration manual, `load-server-state-from-file`.
"""

from __future__ import annotations

from pasvport.control.roster import Roster
from pasvport.control.standing import Standing
from pasvport.health.machine import Health
from pasvport.model import Server
from pasvport.record import Admin, Operation

_INHERITED = Admin.INHERITED_MAINT | Admin.INHERITED_DRAIN


def inherit(roster: Roster, former: Roster) -> None:
    """Servers known by the same names at the same address go on as they stood; workers hear of what that changes."""
    before = {standing.name: standing for standing in former.standings()}
    heirs = [(standing, before[standing.name]) for standing in roster.standings() if standing.name in before]
    heirs = [(standing, old) for standing, old in heirs if _is_same(_configured(standing), _configured(old))]
    for standing, old in heirs:
        _administer(standing, old)
        _adopt(standing, old)
    roster.rearrange()
    for proxy, old_backend in former.backends():
        backend = roster.backend_named(proxy)
        if backend is not None:
            backend.downtime, backend.times_down = old_backend.downtime, old_backend.times_down
            if bool(backend.usable) is bool(old_backend.usable):
                backend.since = old_backend.since


def _configured(standing: Standing) -> Server:
    """What the text said, whatever address was ordered since."""
    return standing.proxy.servers[standing.position[1]]


def _is_same(server: Server, old: Server) -> bool:
    return server.endpoint == old.endpoint and server.port == old.port


def _administer(standing: Standing, old: Standing) -> None:
    """Maintenance and drain that were ordered; a `disabled` that came or went in the text decides alone."""
    configured = standing.admin & Admin.CONFIG_MAINT
    forced = old.admin & Admin.FORCED_MAINT
    if configured != old.admin & Admin.CONFIG_MAINT:
        forced = Admin.FORCED_MAINT if configured else 0
    admin = configured | forced | (standing.admin & Admin.RESOLUTION_MAINT)
    if not forced and old.admin & Admin.FORCED_DRAIN and (old.server.weight or not standing.server.weight):
        admin |= Admin.FORCED_DRAIN
    standing.admin = admin | (old.admin & _INHERITED if standing.tracked is not None else 0)


def _adopt(standing: Standing, old: Standing) -> None:
    before = _configured(old)
    if standing.server.weight == before.weight:
        standing.weight = old.weight
    if (standing.server.maxconn, standing.server.minconn) == (before.maxconn, before.minconn):
        standing.maxconn, standing.minconn = old.maxconn, old.minconn
    _adopt_health(standing, old)
    standing.check_enabled = old.check_enabled or old.check is None
    standing.agent_enabled = old.agent_enabled or old.agent is None
    standing.since, standing.downtime, standing.started = old.since, old.downtime, old.started
    standing.times_down = old.times_down
    standing.failed_checks, standing.failed_observations = old.failed_checks, old.failed_observations


def _adopt_health(standing: Standing, old: Standing) -> None:
    """A state that checks found needs a check that can find another."""
    standing.operation = Operation.STOPPED if standing.in_maintenance else old.operation
    if standing.check is not None and old.check is not None:
        _continue(standing.check, old.check, old.operation)
        standing.check_result = old.check_result
    if standing.agent is not None and old.agent is not None:
        _continue(standing.agent, old.agent, old.operation)
        standing.agent_result = old.agent_result
    if standing.in_maintenance:
        if standing.check is not None:
            standing.check.value = 0
    elif old.in_maintenance or (standing.check is None and standing.agent is None and standing.tracked is None):
        standing.operation = Operation.RUNNING
        if old.in_maintenance and standing.check is not None:
            standing.check.value = standing.check.rise


def _continue(health: Health, old: Health, operation: Operation) -> None:
    if (health.rise, health.fall) == (old.rise, old.fall):
        health.value = old.value
    else:
        health.value = 0 if operation is Operation.STOPPED else health.top
