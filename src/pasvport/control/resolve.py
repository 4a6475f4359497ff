"""Host names to addresses, before the start: from then on nothing in the data plane waits for a name server.

Each name is looked up once, all at the same time, with a deadline; the first address counts, as for HAProxy.
Source: HAProxy configuration manual, `init-addr`, and section 11 (addresses are resolved when the configuration is
read). A name that runs time should follow needs a `resolvers` section, which is not supported yet.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from pasvport.address import Endpoint, Family, family_of
from pasvport.config.diagnostics import Diagnostic, Diagnostics, Form, Severity
from pasvport.model import Advertise, Bind, Config, LogTarget, Origin, Proxy, Server, Source

PATIENCE = 30.0
"""Seconds for all look-ups together."""

UNRESOLVED_SERVERS = "Failed to initialize server(s) addr."
"""HAProxy's last words when servers stay without address: nothing else is said after them."""

Name = tuple[str, Family | None]
"""(host name, the family asked for by ipv4@ or ipv6@)."""

_WANTED = {Family.IPV4: socket.AF_INET, Family.IPV6: socket.AF_INET6, None: socket.AF_UNSPEC}
_UNRESOLVED = Endpoint(Family.IPV4, "0.0.0.0")


def look_up(name: Name) -> str | None:
    """The first address the system's resolver gives, None when it gives none."""
    host, prefer = name
    try:
        found = socket.getaddrinfo(host, None, _WANTED[prefer], socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return None
    return str(found[0][4][0]) if found else None


def look_up_all(
    names: set[Name], *, one: Callable[[Name], str | None] = look_up, patience: float = PATIENCE
) -> dict[Name, str]:
    """Addresses of those names that were found in time."""
    found: dict[Name, str] = {}

    def ask(name: Name) -> None:
        address = one(name)
        if address is not None:
            found[name] = address

    threads = [threading.Thread(target=ask, args=(name,), daemon=True) for name in names]
    deadline = time.monotonic() + patience
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return dict(found)


@dataclass(slots=True)
class _Book:
    """What was found, and where complaints go."""

    found: Mapping[Name, str]
    diagnostics: Diagnostics
    ignore_failures: bool

    def literal(self, endpoint: Endpoint) -> Endpoint | None:
        """The endpoint with an address; itself if it has one; None when its name is unknown."""
        if endpoint.family is not Family.NAME:
            return endpoint
        host = self.found.get(_name(endpoint))
        return Endpoint(family_of(host), host, endpoint.port) if host is not None else None

    def required(self, endpoint: Endpoint, origin: Origin, keyword: str) -> Endpoint:
        """As `literal`, with HAProxy's alert where the name is unknown."""
        found = self.literal(endpoint)
        if found is None:
            text = f"'{keyword}' : invalid address: '{endpoint.host}' in '{endpoint}'"
            self.diagnostics.record(Diagnostic(Severity.ALERT, text, Form.KEYWORD, origin))
        return found or _UNRESOLVED

    def optional(self, endpoint: Endpoint | None, origin: Origin, keyword: str) -> Endpoint | None:
        return None if endpoint is None else self.required(endpoint, origin, keyword)


def resolve(
    config: Config,
    diagnostics: Diagnostics,
    *,
    ignore_failures: bool = False,
    every: Callable[[set[Name]], dict[Name, str]] = look_up_all,
) -> Config:
    """The configuration without host names. `ignore_failures` is `-dr`: a server without address is disabled.

    Names that cannot be resolved become alerts in `diagnostics`; the result is then not to be used.
    """
    names = {_name(endpoint) for endpoint in _endpoints(config) if endpoint.family is Family.NAME}
    if not names:
        return config
    book = _Book(every(names), diagnostics, ignore_failures)
    before = len(diagnostics.found)
    targets = tuple(_target(book, target) for target in config.settings.log_targets)
    settings = replace(config.settings, log_targets=targets)
    proxies = tuple(_proxy(book, proxy) for proxy in config.proxies)
    if any(_is_server_alert(entry) for entry in diagnostics.found[before:]):
        diagnostics.alert(None, UNRESOLVED_SERVERS)
    return replace(config, settings=settings, proxies=proxies)


def has_names(config: Config) -> bool:
    """Whether there is anything to look up."""
    return any(endpoint.family is Family.NAME for endpoint in _endpoints(config))


def _is_server_alert(entry: Diagnostic) -> bool:
    return entry.severity is Severity.ALERT and entry.form is Form.OBJECT


def _name(endpoint: Endpoint) -> Name:
    return endpoint.host, endpoint.prefer


def _endpoints(config: Config) -> Iterator[Endpoint]:
    """Every endpoint that may be a name."""
    for target in config.settings.log_targets:
        yield from _given(target.endpoint)
    for proxy in config.proxies:
        for target in proxy.logging.targets:
            yield from _given(target.endpoint)
        for bind in proxy.binds:
            yield bind.endpoint
            yield from (_told(item) for item in bind.advertise)
        for step in proxy.check_steps:
            yield from _given(step.address)
        yield from _of_source(proxy.source)
        for server in proxy.servers:
            yield from _given(server.endpoint, server.check.endpoint, server.agent.endpoint)
            yield from _of_source(server.source)


def _of_source(source: Source | None) -> Iterator[Endpoint]:
    if source is not None:
        yield from _given(source.endpoint, source.use_endpoint)


def _given(*endpoints: Endpoint | None) -> Iterator[Endpoint]:
    return (endpoint for endpoint in endpoints if endpoint is not None)


# --- rebuilding ---------------------------------------------------------------------------------------------------


def _target(book: _Book, target: LogTarget) -> LogTarget:
    return replace(target, endpoint=book.optional(target.endpoint, target.origin, "log"))


def _proxy(book: _Book, proxy: Proxy) -> Proxy:
    targets = tuple(_target(book, target) for target in proxy.logging.targets)
    steps = tuple(
        replace(step, address=book.optional(step.address, step.origin, "tcp-check")) for step in proxy.check_steps
    )
    return replace(
        proxy,
        logging=replace(proxy.logging, targets=targets),
        binds=tuple(_bind(book, bind) for bind in proxy.binds),
        servers=tuple(_server(book, proxy, server) for server in proxy.servers),
        source=_source(book, proxy.source, proxy.origin),
        check_steps=steps,
    )


def _bind(book: _Book, bind: Bind) -> Bind:
    told = tuple(
        replace(item, host=book.required(_told(item), bind.origin, "advertise").host) for item in bind.advertise
    )
    return replace(bind, endpoint=book.required(bind.endpoint, bind.origin, "bind"), advertise=told)


def _told(item: Advertise) -> Endpoint:
    """PASV can tell IPv4 addresses only."""
    family = family_of(item.host)
    return Endpoint(family, item.host, prefer=Family.IPV4 if family is Family.NAME else None)


def _source(book: _Book, source: Source | None, origin: Origin) -> Source | None:
    if source is None:
        return None
    return replace(
        source,
        endpoint=book.optional(source.endpoint, origin, "source"),
        use_endpoint=book.optional(source.use_endpoint, origin, "usesrc"),
    )


def _server(book: _Book, proxy: Proxy, server: Server) -> Server:
    endpoint, disabled = _initial_address(book, proxy, server)
    check = replace(server.check, endpoint=book.optional(server.check.endpoint, server.origin, "addr"))
    agent = replace(server.agent, endpoint=book.optional(server.agent.endpoint, server.origin, "agent-addr"))
    source = _source(book, server.source, server.origin)
    return replace(
        server, endpoint=endpoint, disabled=server.disabled or disabled, check=check, agent=agent, source=source
    )


def _initial_address(book: _Book, proxy: Proxy, server: Server) -> tuple[Endpoint, bool]:
    """(address, whether the server has to be disabled for want of one), by the methods of `init-addr` in turn."""
    if server.endpoint.family is not Family.NAME:
        return server.endpoint, False
    for method in server.init_addr:
        if method == "none":
            return _UNRESOLVED.with_port(server.endpoint.port), True
        if method == "libc":
            found = book.literal(server.endpoint)
            if found is not None:
                return found, False
        elif family_of(method) is not Family.NAME:
            return Endpoint(family_of(method), method, server.endpoint.port), False
    return _without_address(book, proxy, server)


def _without_address(book: _Book, proxy: Proxy, server: Server) -> tuple[Endpoint, bool]:
    text = f"'server {proxy.name}/{server.name}' : could not resolve address '{server.endpoint.host}'"
    severity = Severity.WARNING if book.ignore_failures else Severity.ALERT
    ending = ", disabling server." if book.ignore_failures else "."
    book.diagnostics.record(Diagnostic(severity, text + ending, Form.OBJECT, server.origin))
    return _UNRESOLVED.with_port(server.endpoint.port), True
