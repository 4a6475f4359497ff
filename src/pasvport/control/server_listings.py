"""Servers as `show servers state` and `show servers conn` list them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from pasvport.address import Endpoint, Family
from pasvport.control.report import Figures
from pasvport.control.roster import Roster
from pasvport.control.standing import CheckView, ServerView
from pasvport.exposition.server_state import CheckFlag, ServerLine
from pasvport.model import Agent, PortMap, Proxy, Server
from pasvport.record import Admin

_PURGE_DELAY = 5000
"""Milliseconds after which HAProxy closes idle connections (`pool-purge-delay`); here there are none to close."""


class Served(Protocol):
    """What of a generation is looked at."""

    @property
    def roster(self) -> Roster: ...
    @property
    def figures(self) -> Figures: ...


def state_lines(served: Served, backends: Iterable[Proxy]) -> Iterator[ServerLine]:
    """Every server of these backends, for `exposition.server_state.write`."""
    for proxy in backends:
        for number, _ in enumerate(proxy.servers):
            server = served.roster.server(proxy.index, number)
            yield _state_line(proxy, server, served.roster.view(proxy.index, number))


def _state_line(proxy: Proxy, server: Server, view: ServerView) -> ServerLine:
    check, agent = server.check, server.agent
    result = view.check.result
    return ServerLine(
        backend_id=proxy.id,
        backend=proxy.name,
        server_id=server.id,
        server=server.name,
        address=_host(server.endpoint),
        op_state=int(view.operation),
        admin_state=view.admin,
        user_weight=view.weight,
        initial_weight=view.initial_weight,
        since=int(view.changed_ago),
        check_status=int(result.status),
        check_result=int(result.outcome),
        check_health=view.check.health,
        check_state=_flags(view.check) | (CheckFlag.PAUSED if _is_check_paused(view) else 0),
        agent_state=_flags(view.agent) | (CheckFlag.AGENT if view.agent.configured else 0),
        port=port_of(server),
        check_port=check.port,
        check_address=_host(check.endpoint),
        agent_address=_host(agent.endpoint),
        agent_port=_agent_port(agent),
    )


def _host(endpoint: Endpoint | None) -> str:
    if endpoint is None or endpoint.family in (Family.UNIX, Family.ABNS):
        return ""
    return endpoint.host


def port_of(server: Server) -> int:
    """The port of a server as HAProxy lists it: for a port that follows the client's, what is added to it."""
    return server.port.value & 0xFFFF if server.port.kind is not PortMap.SAME else 0


def _agent_port(agent: Agent) -> int:
    return agent.port if agent.enabled else 0


def _flags(view: CheckView) -> int:
    return (
        (CheckFlag.IN_PROGRESS if view.running else 0)
        | (CheckFlag.CONFIGURED if view.configured else 0)
        | (CheckFlag.ENABLED if view.configured and view.enabled else 0)
    )


def _is_check_paused(view: ServerView) -> bool:
    """Maintenance pauses a check that runs; `disabled` in the configuration says so even where there is none."""
    runs = view.check.configured and view.check.enabled
    return view.check.paused and (runs or bool(view.admin & Admin.CONFIG_MAINT))


def connection_lines(served: Served, backends: Iterable[Proxy]) -> Iterator[str]:
    """A header and a line for each server. No connection to a server is ever kept idle: those columns are 0."""
    yield (
        "# bkname/svname bkid/svid addr port - purge_delay used_cur used_max need_est unsafe_nb safe_nb idle_lim "
        "idle_cur idle_per_thr[1]\n"
    )
    for proxy in backends:
        for number, _ in enumerate(proxy.servers):
            server = served.roster.server(proxy.index, number)
            used = served.figures.server(proxy.index, number, "scur")
            most = served.figures.server(proxy.index, number, "smax")
            place = f"{_host(server.endpoint) or '-'} {port_of(server)}"
            yield (
                f"{proxy.name}/{server.name} {proxy.id}/{server.id} {place} - {_PURGE_DELAY} "
                f"{used} {most} {most} 0 0 -1 0 0\n"
            )
