"""`set server B/S addr`, `check-addr`, `agent-port` ...: a server's addresses changed while it is served.

Source: HAProxy management guide, section 9.3 (`set server`). HAProxy's answers, word for word, where it has any.
"""

from __future__ import annotations

import re
from dataclasses import replace

from pasvport.address import MAX_PORT, Endpoint, Family, family_of
from pasvport.control.generation import Generation
from pasvport.control.replacement import replace_server
from pasvport.control.statistics import shown_port
from pasvport.digits import is_number
from pasvport.errors import PasvportError
from pasvport.model import PortMap, Proxy, Server, ServerPort

_BY = "by 'stats socket command'"
_PORT = re.compile(r"([+-]?)([0-9]{1,20})")


class OrderError(PasvportError):
    """An order that cannot be followed; the text is the answer."""


def set_address(generation: Generation, proxy: Proxy, number: int, host: str, port: str | None) -> str:
    """The answer. `port` None: it was not mentioned. Raises OrderError when nothing is changed."""
    server = generation.roster.server(proxy.index, number)
    endpoint, said = _endpoint(server, host)
    mapped = server.port
    if port is not None:
        mapped, about_port = _port(server, port, said)
        said = f"{said}, {about_port}"
    if (endpoint, mapped) != (server.endpoint, server.port):
        moved = replace(server, endpoint=replace(endpoint, port=0), port=mapped)
        replace_server(generation, proxy, number, moved)
        generation.say_all([(proxy, f"{proxy.name}/{server.name}: {said} {_BY}.")])
    return f"{said} {_BY}"


def _endpoint(server: Server, host: str) -> tuple[Endpoint, str]:
    family = family_of(host)
    if family is Family.NAME or server.endpoint.family not in (Family.IPV4, Family.IPV6):
        raise OrderError(f"Invalid addr '{host}' {_BY}")
    if server.endpoint.host == host:
        return server.endpoint, "no need to change the addr"
    return Endpoint(family, host), f"IP changed from '{server.endpoint.host}' to '{host}'"


def _port(server: Server, text: str, said: str) -> tuple[ServerPort, str]:
    found = _PORT.fullmatch(text)
    if found is None or int(found[2]) > MAX_PORT:
        raise OrderError(f"{said}, problem converting port '{text}' to an int {_BY}")
    sign, value = found[1], int(found[2])
    if sign and not server.check.port:
        raise OrderError(
            f"{said}, can't change <port> to port map because it is incompatible with current health check port "
            f"configuration (use 'port' statement from the 'server' directive. {_BY}"
        )
    new = ServerPort(PortMap.OFFSET, -value if sign == "-" else value) if sign else ServerPort(PortMap.FIXED, value)
    if new == server.port:
        return new, "no need to change the port"
    return new, f"port changed from '{shown_port(server.port)}' to '{shown_port(new)}'"


def literal(host: str) -> Endpoint:
    """A check's or an agent's address. Raises OrderError."""
    family = family_of(host)
    if family is Family.NAME:
        raise OrderError(f"invalid addr '{host}'")
    return Endpoint(family, host)


def port_number(text: str) -> int:
    """A check's or an agent's port, 0 for the server's own. Raises OrderError."""
    if not is_number(text):
        raise OrderError("provided port is not an integer")
    if int(text) > MAX_PORT:
        raise OrderError("provided port is invalid")
    return int(text)
