"""Rules over timeouts, checks, addresses and TLS as the text has them."""

from __future__ import annotations

from collections.abc import Iterator

from pasvport.address import Family
from pasvport.doctor.case import Case
from pasvport.doctor.persistence import is_sticky
from pasvport.doctor.reading_persistence import told
from pasvport.doctor.rules import Rule, Severity, Symptom
from pasvport.doctor.services import Service, is_ipv6, is_private, is_wildcard, usable
from pasvport.model import AuthTls, Bind, CheckKind, Mode, Proxy

_SHORT = 600_000
"""Milliseconds: transfers that last longer are ordinary."""


# --- time ---------------------------------------------------------------------------------------------------------


def control_timeout(case: Case) -> Iterator[Symptom]:
    for service in case.services_of(Mode.TCP):
        for proxy, name, value in _limits(service):
            if value is not None and value < _SHORT:
                detail = (
                    f"'timeout {name} {told(value)}' also ends the control connection, which is silent in a transfer."
                )
                yield Symptom(proxy.origin, f"{_section(proxy)} {proxy.name}", detail, f"Say 'timeout {name} 1h'.")


def _limits(service: Service) -> Iterator[tuple[Proxy, str, int | None]]:
    """The timeouts that end an idle control connection in `mode tcp`: `tunnel` overrides the two others."""
    for proxy in (service.backend, service.frontend):
        if proxy.timeouts.tunnel is not None:
            yield proxy, "tunnel", proxy.timeouts.tunnel
            return
    yield service.frontend, "client", service.frontend.timeouts.client
    yield service.backend, "server", service.backend.timeouts.server


def _section(proxy: Proxy) -> str:
    if proxy.is_frontend and proxy.is_backend:
        return "listen"
    return "frontend" if proxy.is_frontend else "backend"


def no_timeouts(case: Case) -> Iterator[Symptom]:
    for service in case.services:
        for proxy, name, value in _limits(service):
            if value is None:
                detail = f"'timeout {name}' is not set: a connection whose peer has vanished is kept for ever."
                yield Symptom(proxy.origin, f"{_section(proxy)} {proxy.name}", detail, f"Say 'timeout {name} 1h'.")


def no_keepalive(case: Case) -> Iterator[Symptom]:
    for service in case.services_of(Mode.TCP):
        if not service.frontend.client_options.keepalive:
            detail = (
                "without 'option clitcpka', a firewall on the way forgets the control connection in a long transfer."
            )
            yield Symptom(service.frontend.origin, f"{_section(service.frontend)} {service.frontend.name}", detail)


# --- checks -------------------------------------------------------------------------------------------------------


def no_check(case: Case) -> Iterator[Symptom]:
    for service in case.services:
        if len(usable(service.backend)) < 2:
            continue
        for server in service.backend.servers:
            if not (server.check.enabled or server.agent.enabled or server.track or server.disabled):
                detail = "it is not checked: clients are sent to it when it is dead."
                yield Symptom(server.origin, f"server {service.backend.name}/{server.name}", detail)


def blind_check(case: Case) -> Iterator[Symptom]:
    for service in case.services:
        backend = service.backend
        checked = [server for server in backend.servers if server.check.enabled]
        if checked and _is_blind(backend):
            detail = f"{_kind(backend)} asks for the control port only."
            yield Symptom(checked[0].origin, f"backend {backend.name}", detail)


def _is_blind(backend: Proxy) -> bool:
    if backend.check_kind is CheckKind.FTP:
        return backend.ftp_check is None or not backend.ftp_check.user
    return backend.check_kind is not CheckKind.EXTERNAL


def _kind(backend: Proxy) -> str:
    return "a plain 'check'" if backend.check_kind is CheckKind.TCP else f"'option {backend.check_kind}'"


# --- addresses ----------------------------------------------------------------------------------------------------


def ipv6_pasv(case: Case) -> Iterator[Symptom]:
    for service in case.services_of(Mode.TCP):
        for bind in service.controls:
            if is_ipv6(bind):
                detail = "PASV can name no IPv6 address; clients that come over IPv6 must use EPSV."
                yield Symptom(bind.origin, f"frontend {service.frontend.name}", detail)


def advertise_missing(case: Case) -> Iterator[Symptom]:
    for service, bind, hosts in _advertised(case):
        wrong = [host for host in hosts if case.public and host not in case.public]
        if wrong:
            detail = f"clients are told {', '.join(wrong)}, and reach the balancer at {', '.join(case.public)}."
            fix = f"Add 'advertise {case.public[0]}' to this bind."
            yield Symptom(bind.origin, f"frontend {service.frontend.name}", detail, fix)


def advertise_private(case: Case) -> Iterator[Symptom]:
    for service, bind, hosts in _advertised(case):
        private = [host for host in hosts if is_private(host)]
        if private and not case.public:
            detail = f"clients are told the private address {', '.join(private)}."
            yield Symptom(bind.origin, f"frontend {service.frontend.name}", detail)


def _advertised(case: Case) -> Iterator[tuple[Service, Bind, list[str]]]:
    """Control binds of `mode ftp`, and the addresses that clients from anywhere are told in PASV."""
    for service in case.services_of(Mode.FTP):
        for bind in service.controls:
            rules = (*bind.advertise, *(rule for door in service.doorways for rule in door.bind.advertise))
            hosts = [rule.host for rule in rules if rule.network is None][:1]
            if not hosts and bind.endpoint.family is Family.IPV4 and not is_wildcard(bind.endpoint):
                hosts = [bind.endpoint.host]
            yield service, bind, hosts


# --- TLS ----------------------------------------------------------------------------------------------------------


def blind_tls(case: Case) -> Iterator[Symptom]:
    for service in case.services_of(Mode.FTP):
        if (
            service.frontend.ftp.auth_tls is AuthTls.PASS
            and len(usable(service.backend)) > 1
            and not is_sticky(service)
        ):
            detail = f"'option ftp-auth-tls pass', and backend '{service.backend.name}' has no stick rule by address."
            yield Symptom(service.frontend.origin, f"frontend {service.frontend.name}", detail)


CONDUCT: tuple[Rule[Case], ...] = (
    Rule(
        "control-timeout",
        Severity.WARNING,
        control_timeout,
        "A timeout ends control connections during transfers.",
        "In 'mode tcp' the control connection is idle for as long as a transfer lasts. When the timeout comes first, "
        "the file arrives and the client never hears '226': it reports an error, and often transfers again.",
        "Say 'timeout client 1h' and 'timeout server 1h'. ('mode ftp' stops the clock while data moves.)",
    ),
    Rule(
        "no-timeouts",
        Severity.NOTE,
        no_timeouts,
        "A timeout is missing.",
        "Connections whose client or server is gone without a word pile up until 'maxconn' is reached.",
        "Say 'timeout client 1h' and 'timeout server 1h'.",
    ),
    Rule(
        "no-keepalive",
        Severity.NOTE,
        no_keepalive,
        "No TCP keepalive towards clients.",
        "NAT devices and firewalls drop connections that are silent for some minutes, and in 'mode tcp' the control "
        "connection is silent in every transfer.",
        "Say 'option clitcpka' in the frontend and 'option srvtcpka' in the backend.",
    ),
    Rule(
        "no-check",
        Severity.WARNING,
        no_check,
        "A server is not checked.",
        "Its share of the clients fails while it is down.",
        "Add 'check port 21' to the server line ('check' in 'mode ftp').",
    ),
    Rule(
        "blind-check",
        Severity.NOTE,
        blind_check,
        "The health check cannot see a dead data path.",
        "A server whose passive ports are firewalled or used up, or whose disk is gone, stays up: clients log in, and "
        "every transfer fails.",
        "Say 'option ftp-check user U password P passive list' (pasvport), or an external check that transfers a file.",
    ),
    Rule(
        "ipv6-pasv",
        Severity.NOTE,
        ipv6_pasv,
        "IPv6 clients in 'mode tcp'.",
        "The reply to PASV holds an IPv4 address, which an IPv6 client may not be able to reach, or refuses.",
        "Make sure that every server answers EPSV, or use 'mode ftp', which translates.",
    ),
    Rule(
        "advertise-missing",
        Severity.ERROR,
        advertise_missing,
        "Clients are told an address at which the balancer is not reached (--public).",
        "Clients log in, and each transfer dials an address that leads nowhere.",
        "Add 'advertise ADDRESS' to the bind.",
    ),
    Rule(
        "advertise-private",
        Severity.NOTE,
        advertise_private,
        "Clients are told a private address.",
        "That is right inside the network. If NAT stands before the balancer, clients outside cannot reach it.",
        "With NAT, add 'advertise ADDRESS' to the bind, for clients outside ('for NETWORK' tells them apart); say "
        "--public ADDRESS to have it examined.",
    ),
    Rule(
        "blind-tls",
        Severity.ERROR,
        blind_tls,
        "Encrypted sessions pass through blindly, and nothing keeps them on one server.",
        "After AUTH TLS nobody can read which port the server names; its data connection is balanced like any other "
        "and reaches any server.",
        "Add 'stick-table type ip size 100k expire 1h' and 'stick on src' to the backend, or refuse AUTH with 'option "
        "ftp-auth-tls refuse'.",
    ),
)
