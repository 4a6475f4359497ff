"""Which parts of a configuration are FTP, and how control and data connections reach a server.

In `mode tcp` nothing says "FTP": a proxy counts as FTP when it binds a well-known FTP port, is named after it, or binds
single ports and a range side by side.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass

from pasvport.address import Endpoint, Family, PortRange, unmapped
from pasvport.model import Bind, Config, Mode, PortMap, Proxy, Server, UseRule

CONTROL_PORT = 21
IMPLICIT_PORT = 990
WELL_KNOWN = (CONTROL_PORT, IMPLICIT_PORT)
_DATA_WORDS = ("data", "pasv", "passive")
_WILDCARDS = ("", "*", "0.0.0.0", "::")
_HIGH = 10000
"""A single port from here on, beside a well-known control port, is a range of one."""


@dataclass(frozen=True, slots=True)
class Doorway:
    """A bind through which data connections come, and the backends behind it."""

    frontend: Proxy
    bind: Bind
    backends: tuple[Proxy, ...]


@dataclass(frozen=True, slots=True)
class Service:
    """One frontend's control ports, one backend behind them, and the data doorways a client of it can be sent to."""

    frontend: Proxy
    controls: tuple[Bind, ...]
    backend: Proxy
    doorways: tuple[Doorway, ...]

    @property
    def mode(self) -> Mode:
        return self.frontend.mode

    @property
    def ranges(self) -> str:
        return ", ".join(str(doorway.bind.ports) for doorway in self.doorways)

    def doorways_to(self, server: Server) -> tuple[Doorway, ...]:
        """Those behind which this very server stands."""
        if self.mode is Mode.FTP:
            return self.doorways
        return tuple(doorway for doorway in self.doorways if _stands_behind(server, doorway))

    def control_ports(self, server: Server) -> tuple[int, ...]:
        """The server's ports that control connections are taken to."""
        ports = (
            server.port.towards(port) for bind in self.controls for port in range(bind.ports.low, bind.ports.high + 1)
        )
        return tuple(dict.fromkeys(port for port in ports if 0 < port <= 65535))

    def control_places(self) -> Iterator[tuple[Server, int]]:
        """Every server of the backend with each of its control ports."""
        return ((server, port) for server in self.backend.servers for port in self.control_ports(server))


def _stands_behind(server: Server, doorway: Doorway) -> bool:
    hosts = (other.endpoint.host for backend in doorway.backends for other in backend.servers if not other.disabled)
    return server.endpoint.host in hosts


# --- which proxies are FTP ----------------------------------------------------------------------------------------


def find_services(config: Config) -> tuple[Service, ...]:
    """Every FTP service, in the order of the text; disabled proxies are left out."""
    frontends = [proxy for proxy in config.proxies if proxy.is_frontend and not proxy.disabled]
    backends = {proxy.name: backends_of(config, proxy) for proxy in frontends}
    chosen = [proxy for proxy in frontends if _is_ftp(proxy, backends[proxy.name])]
    doorways = [
        Doorway(proxy, bind, backends[proxy.name]) for proxy in chosen for bind in proxy.binds if is_data(proxy, bind)
    ]
    return tuple(_services(chosen, backends, doorways))


def _services(
    chosen: list[Proxy], backends: dict[str, tuple[Proxy, ...]], doorways: list[Doorway]
) -> Iterator[Service]:
    for proxy in chosen:
        controls = tuple(bind for bind in proxy.binds if not is_data(proxy, bind))
        if not controls:
            continue
        for backend in backends[proxy.name]:
            yield Service(proxy, controls, backend, _reachable(proxy, controls, doorways))


def _reachable(proxy: Proxy, controls: tuple[Bind, ...], doorways: list[Doorway]) -> tuple[Doorway, ...]:
    """Data doorways on an address that the frontend's clients may be told; `mode ftp` uses its own alone."""
    if proxy.mode is Mode.FTP:
        return tuple(doorway for doorway in doorways if doorway.frontend is proxy)
    return tuple(
        doorway
        for doorway in doorways
        if doorway.frontend.mode is Mode.TCP and any(_meet(control, doorway.bind) for control in controls)
    )


def _meet(control: Bind, data: Bind) -> bool:
    return is_wildcard(control.endpoint) or is_wildcard(data.endpoint) or control.endpoint.host == data.endpoint.host


def backends_of(config: Config, frontend: Proxy) -> tuple[Proxy, ...]:
    """Where a frontend's clients may land: its default backend, and every name that its rules' maps hold."""
    names = [frontend.default_backend or (frontend.name if frontend.is_backend else "")]
    names += [value for rule in frontend.use_backend for value in _map_values(config, rule)]
    found = {proxy.name: proxy for proxy in config.proxies if proxy.is_backend and not proxy.disabled}
    return tuple(found[name] for name in dict.fromkeys(names) if name in found)


def _map_values(config: Config, rule: UseRule) -> Iterator[str]:
    files = {argument for converter in rule.expression.converters for argument in converter.args[:1]}
    for each in config.maps:
        if each.path in files:
            yield from (value for _, value in each.entries)


def _is_ftp(proxy: Proxy, backends: tuple[Proxy, ...]) -> bool:
    if proxy.mode is not Mode.TCP:
        return proxy.mode is Mode.FTP
    names = [proxy.name, *(bind.name or "" for bind in proxy.binds), *(backend.name for backend in backends)]
    if any("ftp" in name.lower() and "sftp" not in name.lower() for name in names):
        return True
    ports = [bind.ports for bind in proxy.binds]
    if any(port in each for each in ports for port in WELL_KNOWN):
        return True
    checks = (server.check.port for backend in backends for server in backend.servers)
    return any(port in WELL_KNOWN for port in checks) or {len(each) > 1 for each in ports} == {True, False}


def is_data(proxy: Proxy, bind: Bind) -> bool:
    """Whether data connections come through this bind of an FTP frontend."""
    if bind.data or len(bind.ports) > 1:
        return True
    if proxy.mode is Mode.FTP or bind.ports.low in WELL_KNOWN:
        return False
    if any(word in (bind.name or "").lower() for word in _DATA_WORDS):
        return True
    return bind.ports.low >= _HIGH and any(other.ports.low in WELL_KNOWN for other in proxy.binds)


# --- small questions ----------------------------------------------------------------------------------------------


def is_wildcard(endpoint: Endpoint) -> bool:
    return endpoint.host in _WILDCARDS


def is_ipv6(bind: Bind) -> bool:
    """IPv6 clients come through it."""
    return bind.endpoint.family is Family.IPV6


def is_private(host: str) -> bool:
    """An address that the internet does not route; False for names."""
    try:
        return ipaddress.ip_address(unmapped(host)).is_private
    except ValueError:
        return False


def usable(backend: Proxy) -> list[Server]:
    """Servers that are given clients while all is well."""
    return [server for server in backend.servers if not (server.disabled or server.backup or not server.weight)]


def examinable(backend: Proxy) -> list[Server]:
    """Servers that may ever be given clients, and have an address."""
    families = (Family.IPV4, Family.IPV6, Family.NAME)
    return [server for server in backend.servers if not server.disabled and server.endpoint.family in families]


def keeps_port(server: Server) -> bool:
    """Whether a data connection arrives at the port that the server has announced."""
    return server.port.kind is PortMap.SAME or (server.port.kind is PortMap.OFFSET and server.port.value == 0)


def overlap(one: PortRange, other: PortRange) -> PortRange | None:
    """The ports in both."""
    low, high = max(one.low, other.low), min(one.high, other.high)
    return PortRange(low, high) if low <= high else None


def ports_of(service: Service) -> int:
    """How many data ports a service's doorways have."""
    return sum(len(doorway.bind.ports) for doorway in service.doorways)
