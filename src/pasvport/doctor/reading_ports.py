"""Rules over binds and server ports: which data ports exist, where they lead, what they cost."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from pasvport.address import PortRange
from pasvport.doctor.case import Case
from pasvport.doctor.machine import Machine
from pasvport.doctor.rules import Rule, Severity, Symptom
from pasvport.doctor.services import (
    Doorway,
    Service,
    examinable,
    is_wildcard,
    keeps_port,
    overlap,
    ports_of,
)
from pasvport.model import Bind, Config, Mode, PortMap, Proxy, Server

_SPARE = 64
"""Descriptors of a process besides listeners and connections."""
_LEAST_CONNECTIONS = 100
_RANGE_LINE = "Add to the frontend 'bind ADDRESS:LOW-HIGH name ftp-data' with the servers' passive range."


def no_service(case: Case) -> Iterator[Symptom]:
    if not case.services:
        origin = case.config.proxies[0].origin if case.config.proxies else None
        yield Symptom(origin, "configuration", "no frontend or listen section looks like FTP with servers behind it.")


def no_data_ports(case: Case) -> Iterator[Symptom]:
    for service in case.services_of(Mode.TCP):
        if not service.doorways and service.backend.servers:
            detail = f"clients reach the control port {service.controls[0].ports}, and no bind takes data connections."
            yield Symptom(service.controls[0].origin, f"frontend {service.frontend.name}", detail)


def range_elsewhere(case: Case) -> Iterator[Symptom]:
    for service in case.services_of(Mode.TCP):
        lost = [server for server in examinable(service.backend) if not service.doorways_to(server)]
        if service.doorways and lost:
            yield _elsewhere(service, lost)


def _elsewhere(service: Service, lost: list[Server]) -> Symptom:
    names = ", ".join(server.name for server in lost)
    others = ", ".join(dict.fromkeys(backend.name for door in service.doorways for backend in door.backends))
    through = service.doorways[0].bind.origin
    detail = (
        f"sessions of backend '{service.backend.name}' get their data connections through {through}, which leads to "
        f"'{others}', not to {names}."
    )
    return Symptom(service.controls[0].origin, f"frontend {service.frontend.name}", detail)


def overlapping_binds(case: Case) -> Iterator[Symptom]:
    binds = [(proxy, bind) for proxy in case.config.proxies if _listens(proxy) for bind in proxy.binds]
    ours = {service.frontend.name for service in case.services} | {
        doorway.frontend.name for service in case.services for doorway in service.doorways
    }
    for (one, first), (other, second) in combinations(binds, 2):
        both = overlap(first.ports, second.ports)
        if both is not None and {one.name, other.name} & ours and _same_place(first, second):
            detail = (
                f"port{'s' * (len(both) > 1)} {both} of this bind are also those of {other.name} ({second.origin})."
            )
            yield Symptom(first.origin, f"frontend {one.name}", detail)


def _listens(proxy: Proxy) -> bool:
    return proxy.is_frontend and not proxy.disabled and proxy.mode is Mode.TCP


def _same_place(one: Bind, other: Bind) -> bool:
    """The kernel would let both listen there; a wildcard beside an address loses to it, which is used on purpose."""
    if one.ports == PortRange(0, 0) or one.interface != other.interface:
        return False
    same = one.endpoint.host == other.endpoint.host
    return same or (is_wildcard(one.endpoint) and is_wildcard(other.endpoint))


def server_port(case: Case) -> Iterator[Symptom]:
    for service in case.services_of(Mode.TCP):
        for doorway in service.doorways:
            for backend in doorway.backends:
                yield from _lost_ports(doorway, backend)


def _lost_ports(doorway: Doorway, backend: Proxy) -> Iterator[Symptom]:
    for server in backend.servers:
        # A range of one may be mapped onto one fixed port.
        fixed_right = server.port.kind is PortMap.FIXED and len(doorway.bind.ports) == 1
        if not keeps_port(server) and not fixed_right:
            yield Symptom(server.origin, f"server {backend.name}/{server.name}", _where_data_goes(server, doorway))


def _where_data_goes(server: Server, doorway: Doorway) -> str:
    if server.port.kind is PortMap.FIXED:
        return (
            f"every data connection ({doorway.bind.ports}, {doorway.bind.origin}) is taken to port {server.port.value}."
        )
    return f"a data connection to a port of {doorway.bind.ports} is taken to that port {server.port.value:+d}."


# --- what ports cost ----------------------------------------------------------------------------------------------


def descriptors(case: Case) -> Iterator[Symptom]:
    if not any(case.services_of(Mode.TCP)):
        return
    limit, whose = _limit(case.config, case.machine)
    ports = sum(len(bind.ports) for proxy in case.config.proxies if _listens(proxy) for bind in proxy.binds)
    connections = 2 * (case.config.settings.maxconn or _LEAST_CONNECTIONS)
    needed = ports + connections + _SPARE
    if limit and needed > limit:
        widest = max((door for service in case.services for door in service.doorways), key=_width, default=None)
        origin = widest.bind.origin if widest else case.services[0].frontend.origin
        detail = f"{ports} ports and {connections} ends of connections need {needed} descriptors; {whose} is {limit}."
        yield Symptom(origin, "descriptors", detail)


def _width(doorway: Doorway) -> int:
    return len(doorway.bind.ports)


def _limit(config: Config, machine: Machine | None) -> tuple[int, str]:
    if config.settings.ulimit_n:
        return config.settings.ulimit_n, "'ulimit-n'"
    return (machine.descriptors, "this machine's hard limit (ulimit -Hn)") if machine else (0, "")


def ephemeral_ports(case: Case) -> Iterator[Symptom]:
    if case.machine is None or case.machine.ephemeral is None:
        return
    for doorway in dict.fromkeys(door for service in case.services for door in service.doorways):
        both = overlap(doorway.bind.ports, case.machine.ephemeral)
        if both is not None and not _is_reserved(both, case.machine):
            detail = f"ports {both} are also ephemeral ports of this machine ({case.machine.ephemeral})."
            below = f"move the range below {case.machine.ephemeral.low}"
            fix = f"Say 'sysctl net.ipv4.ip_local_reserved_ports={both}', or {below}."
            yield Symptom(doorway.bind.origin, f"frontend {doorway.frontend.name}", detail, fix)


def _is_reserved(ports: PortRange, machine: Machine) -> bool:
    return any(ports.low in each and ports.high in each for each in machine.reserved)


# --- mode ftp -----------------------------------------------------------------------------------------------------


def no_pool(case: Case) -> Iterator[Symptom]:
    for service in case.services_of(Mode.FTP):
        if not service.doorways:
            detail = "no bind is a range of ports or marked 'data', so there is no port to announce."
            yield Symptom(service.controls[0].origin, f"frontend {service.frontend.name}", detail)


def pool_small(case: Case) -> Iterator[Symptom]:
    for service in case.services_of(Mode.FTP):
        ports, sessions = ports_of(service), service.frontend.maxconn
        if service.doorways and ports < sessions:
            detail = f"{ports} data ports for {sessions} sessions ('maxconn')."
            yield Symptom(service.doorways[0].bind.origin, f"frontend {service.frontend.name}", detail)


PORTS: tuple[Rule[Case], ...] = (
    Rule(
        "no-ftp",
        Severity.WARNING,
        no_service,
        "Nothing in the configuration looks like FTP.",
        "There was nothing to examine. In 'mode tcp' a proxy counts as FTP when it binds port 21 or 990, has 'ftp' in "
        "a name, or binds a single port and a range.",
        "Give the proxy or its bind a name with 'ftp' in it.",
    ),
    Rule(
        "no-data-ports",
        Severity.ERROR,
        no_data_ports,
        "Only the control port is balanced.",
        "Clients log in, and every transfer and listing then fails: the port that the server names does not exist on "
        "the balancer.",
        _RANGE_LINE,
    ),
    Rule(
        "range-elsewhere",
        Severity.ERROR,
        range_elsewhere,
        "The data ports at this address lead to other servers than the control port.",
        "A port belongs to one backend. Where several backends share one address and one range, all but one lose their "
        "data connections to servers that do not know the session.",
        "Give each backend an address or a port range of its own, and its servers that range.",
    ),
    Rule(
        "overlapping-binds",
        Severity.ERROR,
        overlapping_binds,
        "Two proxies listen on the same ports of one address.",
        "The kernel deals connections out between them (SO_REUSEPORT), so half of them reach the wrong backend.",
        "Give each its own ports or its own address.",
    ),
    Rule(
        "server-port",
        Severity.ERROR,
        server_port,
        "A server line with a port, behind a range of data ports.",
        "Every data connection is taken to that port instead of the one the server opened for it: transfers hang or "
        "get a banner instead of a file.",
        "Leave the port away ('server NAME ADDRESS check port 21'), so that a connection keeps its port.",
    ),
    Rule(
        "descriptors",
        Severity.ERROR,
        descriptors,
        "More ports and connections than descriptors.",
        "HAProxy needs a descriptor for each port of a range: it does not start, or refuses connections under load. "
        "(pasvport needs one per worker for a range of 64 ports and more.)",
        "Narrow the range, lower 'maxconn', or raise 'ulimit-n' and the service's LimitNOFILE.",
    ),
    Rule(
        "ephemeral-ports",
        Severity.NOTE,
        ephemeral_ports,
        "The data ports are also ephemeral ports of the machine.",
        "An outgoing connection that happens to use one of them keeps the balancer from binding it, at a restart above "
        "all.",
        "Reserve the range with net.ipv4.ip_local_reserved_ports.",
    ),
    Rule(
        "no-pool",
        Severity.WARNING,
        no_pool,
        "'mode ftp' without data ports.",
        "Only clients in active mode ('option ftp-active') can transfer.",
        _RANGE_LINE.replace("with the servers' passive range", "with any free ports"),
    ),
    Rule(
        "pool-small",
        Severity.NOTE,
        pool_small,
        "Fewer data ports than sessions.",
        "Clients of different addresses can hold one port at once, those behind one address cannot: with more "
        "transfers at once from there than ports, they are answered 425.",
        "Widen the range, or add a second one; it costs nothing before it is used.",
    ),
)
