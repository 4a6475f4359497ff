"""Commands that change servers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from pasvport.control.allowances import UNLIMITED
from pasvport.control.api.commands import WARNING, Command, Refusal, Request, answering, find_server, remarking
from pasvport.control.replacement import replace_server
from pasvport.control.server_orders import OrderError, literal, port_number, set_address
from pasvport.model import Agent, Check, Proxy, Server, StatsLevel
from pasvport.slots import server_key

Setter = Callable[[Request, Proxy, int], str]
"""Changes one thing of a server. The words after its own are `request.arguments[2:]`; returns a remark, or ""."""
C = TypeVar("C", Check, Agent)
_ADMIN = StatsLevel.ADMIN


def _server(request: Request, proxy: Proxy, number: int) -> Server:
    return request.generation.roster.server(proxy.index, number)


# --- set server ---------------------------------------------------------------------------------------------------


def _set_server(request: Request) -> str:
    proxy, number = find_server(request, request.argument(0))
    setter = _SETTERS.get(request.argument(1))
    if setter is None:
        raise Refusal(f"usage: set server <backend>/<server> {' | '.join(_SETTERS)}")
    try:
        return setter(request, proxy, number)
    except OrderError as error:
        raise Refusal(str(error)) from None


def _state(request: Request, proxy: Proxy, number: int) -> str:
    try:
        request.generation.roster.set_admin(proxy.index, number, request.argument(2))
    except KeyError:
        raise Refusal("'set server <srv> state' expects 'ready', 'drain' and 'maint'.") from None
    return ""


def _weight(request: Request, proxy: Proxy, number: int) -> str:
    return _reweigh(request, proxy, number, request.argument(2))


def _reweigh(request: Request, proxy: Proxy, number: int, text: str) -> str:
    complaint = request.generation.roster.set_weight(proxy.index, number, text)
    if complaint:
        raise Refusal(complaint)
    return ""


def _health(request: Request, proxy: Proxy, number: int) -> str:
    if _server(request, proxy, number).track:
        raise Refusal("cannot change health on a tracking server.")
    try:
        request.generation.roster.set_health(proxy.index, number, request.argument(2))
    except KeyError:
        raise Refusal("'set server <srv> health' expects 'up', 'stopping', or 'down'.") from None
    return ""


def _agent(request: Request, proxy: Proxy, number: int) -> str:
    _require_agent(request, proxy, number, "agent checks are not enabled on this server.")
    word = request.argument(2)
    if word not in ("up", "down"):
        raise Refusal("'set server <srv> agent' expects 'up' or 'down'.")
    request.generation.roster.set_agent(proxy.index, number, up=word == "up")
    return ""


def _require_agent(request: Request, proxy: Proxy, number: int, complaint: str) -> None:
    view = request.generation.roster.view(proxy.index, number).agent
    if not view.configured or not view.enabled:
        raise Refusal(complaint)


def _require_check(request: Request, proxy: Proxy, number: int) -> None:
    view = request.generation.roster.view(proxy.index, number).check
    if not view.configured or not view.enabled:
        raise Refusal("health checks are not enabled on this server")


def _address(request: Request, proxy: Proxy, number: int) -> str:
    words = request.arguments[2:]
    if not words:
        raise Refusal("set server <b>/<s> addr requires an address and optionally a port.")
    port = request.argument(4) if words[1:2] == ("port",) else None
    try:
        return set_address(request.generation, proxy, number, words[0], port)
    except OrderError as error:
        raise Refusal(str(error), WARNING) from None


def _check_port(request: Request, proxy: Proxy, number: int) -> str:
    if not request.argument(2):
        raise Refusal("set server <b>/<s> check-port requires a port.")
    _require_check(request, proxy, number)
    server = _server(request, proxy, number)
    changed = replace(server, check=replace(server.check, port=port_number(request.argument(2))))
    replace_server(request.generation, proxy, number, changed)
    return ""


def _check_address(request: Request, proxy: Proxy, number: int) -> str:
    if not request.argument(2):
        raise Refusal("set server <b>/<s> check-addr requires an address and optionally a port.")
    _require_check(request, proxy, number)
    server = _server(request, proxy, number)
    replace_server(request.generation, proxy, number, replace(server, check=_redirected(request, server.check)))
    return ""


def _redirected(request: Request, check: C) -> C:
    """A check of either kind at the address, and the port, that the order names."""
    redirected = replace(check, endpoint=literal(request.argument(2)))
    if request.argument(3) == "port":
        redirected = replace(redirected, port=port_number(request.argument(4)))
    return redirected


def _agent_address(request: Request, proxy: Proxy, number: int) -> str:
    if not request.argument(2):
        raise Refusal("set server <b>/<s> agent-addr requires an address and optionally a port.")
    _require_agent(request, proxy, number, "agent checks are not enabled on this server")
    server = _server(request, proxy, number)
    replace_server(request.generation, proxy, number, replace(server, agent=_redirected(request, server.agent)))
    return ""


def _agent_port(request: Request, proxy: Proxy, number: int) -> str:
    if not request.argument(2):
        raise Refusal("set server <b>/<s> agent-port requires a port.")
    _require_agent(request, proxy, number, "agent checks are not enabled on this server")
    server = _server(request, proxy, number)
    agent = replace(server.agent, port=port_number(request.argument(2)))
    replace_server(request.generation, proxy, number, replace(server, agent=agent))
    return ""


def _agent_send(request: Request, proxy: Proxy, number: int) -> str:
    _require_agent(request, proxy, number, "agent checks are not enabled on this server.")
    server = _server(request, proxy, number)
    agent = replace(server.agent, send=request.argument(2).encode())
    replace_server(request.generation, proxy, number, replace(server, agent=agent))
    return ""


def _fqdn(request: Request, _proxy: Proxy, _number: int) -> str:
    if not request.argument(2):
        raise Refusal("set server <b>/<s> fqdn requires a FQDN.")
    raise Refusal("set server <b>/<s> fqdn failed because no resolution is configured.", WARNING)


def _ssl(_request: Request, _proxy: Proxy, _number: int) -> str:
    raise Refusal("'set server <srv> ssl' cannot be set.  default-server should define ssl settings")


_SETTERS: Mapping[str, Setter] = {
    "addr": _address,
    "agent": _agent,
    "agent-addr": _agent_address,
    "agent-port": _agent_port,
    "agent-send": _agent_send,
    "check-addr": _check_address,
    "check-port": _check_port,
    "fqdn": _fqdn,
    "health": _health,
    "ssl": _ssl,
    "state": _state,
    "weight": _weight,
}


# --- the others ---------------------------------------------------------------------------------------------------


def _order_state(mode: str) -> Callable[[Request], str]:
    def action(request: Request) -> str:
        proxy, number = find_server(request, request.argument(0))
        request.generation.roster.set_admin(proxy.index, number, mode)
        return ""

    return action


def _checking(*, agent: bool, enabled: bool) -> Callable[[Request], str]:
    what = "Agent" if agent else "Health check"

    def action(request: Request) -> str:
        proxy, number = find_server(request, request.argument(0))
        roster = request.generation.roster
        view = roster.view(proxy.index, number)
        configured = view.agent.configured if agent else view.check.configured
        if not configured and enabled:
            raise Refusal(f"{what} was not configured on this server, cannot enable.")
        if configured:
            roster.set_checking(proxy.index, number, agent=agent, enabled=enabled)
        return ""

    return action


def _get_weight(request: Request) -> str:
    proxy, number = find_server(request, request.argument(0))
    view = request.generation.roster.view(proxy.index, number)
    return f"{view.weight} (initial {view.initial_weight})\n"


def _set_weight(request: Request) -> str:
    proxy, number = find_server(request, request.argument(0))
    return _reweigh(request, proxy, number, request.argument(1))


def _set_maxconn(request: Request) -> str:
    proxy, number = find_server(request, request.argument(0))
    generation, key = request.generation, server_key(proxy.index, number)
    if request.argument(1) and key not in generation.allowances:
        raise Refusal("This server has no maxconn in the configuration, so that its connections are not counted.")
    wanted = str(UNLIMITED) if request.argument(1) == "0" else request.argument(1)
    complaint = generation.roster.set_maxconn(proxy.index, number, wanted)
    if complaint:
        raise Refusal(complaint)
    # Fewer connections are a matter of counting in the workers; more need slots.
    limit = generation.roster.view(proxy.index, number).maxconn
    generation.allowances.resize(key, max(limit, generation.allowances.size(key)))
    return ""


_SET_SERVER = """`addr IP [port PORT]`, `state ready|drain|maint`, `weight N|N%`, `health up|stopping|down`,
`check-addr IP [port PORT]`, `check-port PORT`, `agent up|down`, `agent-addr IP [port PORT]`, `agent-port PORT`,
`agent-send TEXT`. In `mode ftp`, sessions of a server that drains or enters maintenance end with 421 when they have no
transfer and are idle (`ftp-drain-idle`). A new address is for new connections; open ones stay. `fqdn` and `ssl` are
refused: there is neither a resolver nor TLS towards servers."""

SERVER_COMMANDS = (
    Command(
        "set server",
        "<bk>/<srv> [opts]",
        "change a server's state, weight, address or ssl",
        remarking(_set_server, WARNING),
        _ADMIN,
        detail=_SET_SERVER,
    ),
    Command(
        "enable server",
        "(DEPRECATED)",
        "enable a disabled server (use 'set server' instead)",
        remarking(_order_state("ready")),
        _ADMIN,
    ),
    Command(
        "disable server",
        "(DEPRECATED)",
        "disable a server for maintenance (use 'set server' instead)",
        remarking(_order_state("maint")),
        _ADMIN,
    ),
    Command("enable health", "", "enable health checks", remarking(_checking(agent=False, enabled=True)), _ADMIN),
    Command("disable health", "", "disable health checks", remarking(_checking(agent=False, enabled=False)), _ADMIN),
    Command("enable agent", "", "enable agent checks", remarking(_checking(agent=True, enabled=True)), _ADMIN),
    Command("disable agent", "", "disable agent checks", remarking(_checking(agent=True, enabled=False)), _ADMIN),
    Command("get weight", "<bk>/<srv>", "report a server's current weight", answering(_get_weight)),
    Command(
        "set weight",
        "<bk>/<srv>  (DEPRECATED)",
        "change a server's weight (use 'set server' instead)",
        remarking(_set_weight),
        _ADMIN,
    ),
    Command(
        "set maxconn server",
        "<bk>/<srv>",
        "change a server's maxconn setting",
        remarking(_set_maxconn),
        _ADMIN,
        detail="Only where the server's line has a maxconn. 0 lifts the limit.",
    ),
)
