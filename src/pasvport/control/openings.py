"""What a configuration wants to listen on: one opening for each port of each bind, or for a whole range at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from pasvport.address import Endpoint, Family
from pasvport.errors import ResourceError
from pasvport.model import AuthTls, Bind, Config, Mode, Proxy
from pasvport.sk_lookup import PortRanges

SK_LOOKUP = "sk_lookup"
WORTH_A_PROGRAM = 64
"""Ports from which on `auto` prefers the program; fewer are bound, as every tool that lists listeners shows."""
UNSHARED = (Family.UNIX, Family.ABNS, Family.FD)
"""Families whose sockets have no SO_REUSEPORT group."""


@dataclass(frozen=True, slots=True)
class Opening:
    """One thing to listen on: a port of a bind, or with `ranged` its whole range, by its lowest `port`."""

    proxy: Proxy
    number: int
    bind: Bind
    port: int
    ranged: bool = False

    @property
    def is_web(self) -> bool:
        return self.proxy.mode is Mode.HTTP

    @property
    def told_port(self) -> int:
        """What workers are told: 0 for a range."""
        return 0 if self.ranged else self.port

    def complaint(self, error: str, port: int | None = None) -> str:
        """HAProxy's words for what could not be bound."""
        place = f"Binding [{self.bind.origin}] for {capability(self.proxy)} {self.proxy.name}"
        return f"{place}: {error} for [{shown(self.bind.endpoint, self.port if port is None else port)}]"


def openings(config: Config) -> Iterator[Opening]:
    """All that shall be listened on, in the order of the text."""
    for proxy in config.proxies:
        if proxy.disabled or not proxy.is_frontend:
            continue
        for number, bind in enumerate(proxy.binds):
            if _is_leased(proxy, bind):
                continue
            if config.settings.port_range == SK_LOOKUP and _can_be_steered(config, proxy, bind):
                yield Opening(proxy, number, bind, bind.ports.low, ranged=True)
                continue
            for port in range(bind.ports.low, bind.ports.high + 1):
                yield Opening(proxy, number, bind, port)


def settle_port_range(config: Config, remark: Callable[[str], None]) -> Config:
    """Decide `tune.port-range auto`: the program for large ranges where the kernel takes it, else a socket a port."""
    if config.settings.port_range != "auto":
        return config
    ranges = [
        bind
        for proxy in config.proxies
        for bind in proxy.binds
        if _can_be_steered(config, proxy, bind) and not _is_leased(proxy, bind)
    ]
    decided = "bind"
    if any(len(bind.ports) >= WORTH_A_PROGRAM for bind in ranges):
        try:
            PortRanges([]).close()
            decided = SK_LOOKUP
        except ResourceError as error:
            count = sum(len(bind.ports) for bind in ranges)
            remark(f"{error}; the {count} ports of ranges are bound one by one, a descriptor each in every worker")
    return replace(config, settings=replace(config.settings, port_range=decided))


def _is_leased(proxy: Proxy, bind: Bind) -> bool:
    """Whether it is a pool whose ports the workers open, each as it is leased."""
    return bind.data and proxy.ftp.auth_tls is AuthTls.REFUSE


def _can_be_steered(config: Config, proxy: Proxy, bind: Bind) -> bool:
    if proxy.mode is Mode.HTTP:
        return False
    plain = bind.endpoint.family in (Family.IPV4, Family.IPV6) and bind.interface is None and not bind.transparent
    # A dual-stack socket would need the program twice, and a shared one has no group to be a member of.
    return plain and len(bind.ports) > 1 and not bind.v4v6 and not config.settings.noreuseport


def literal(bind: Bind) -> str:
    return "0.0.0.0" if bind.endpoint.host in ("", "*") else bind.endpoint.host


def capability(proxy: Proxy) -> str:
    """`frontend`, `backend`, or `proxy` for a section that is both."""
    if proxy.is_frontend and proxy.is_backend:
        return "proxy"
    return "frontend" if proxy.is_frontend else "backend"


def shown(endpoint: Endpoint, port: int) -> str:
    """An address as HAProxy shows it in a bind failure."""
    if endpoint.family in UNSHARED:
        return str(endpoint)
    host = endpoint.host if endpoint.host not in ("", "*") else "0.0.0.0"
    return f"{host}:{port}"
