"""Rules over the passive replies of the servers: the address and the ports they name, and whether data flows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum

from pasvport.address import Family
from pasvport.doctor.case import Case
from pasvport.doctor.rules import Rule, Severity, Symptom
from pasvport.doctor.services import Doorway, Service, is_ipv6, is_private, is_wildcard
from pasvport.doctor.visit import Visit
from pasvport.ftp.passive import same_host
from pasvport.model import AuthTls, FtpPassive, Mode, Server

_SHOWN_PORTS = 4
_MANNERS = (
    ("vsftpd", "pasv_address={address}", "pasv_min_port={low} and pasv_max_port={high}"),
    ("proftpd", "MasqueradeAddress {address}", "PassivePorts {low} {high}"),
    ("pure-ftpd", "ForcePassiveIP {address}", "PassivePortRange {low} {high}"),
    ("pyftpdlib", "masquerade_address = '{address}'", "passive_ports = range({low}, {high} + 1)"),
    ("filezilla", "passive mode's host override {address}", "passive mode's port range {low}-{high}"),
    ("microsoft", "the external firewall address {address}", "the data channel port range {low}-{high}"),
)
"""Word of the greeting; how that server is told its address, and its range."""


class Named(StrEnum):
    """What the address in a 227 is."""

    RIGHT = "right"
    OWN = "own"
    ANY = "any"
    PRIVATE = "private"
    UNKNOWN = "unknown"
    WRONG = "wrong"


def judge_address(case: Case, doorways: tuple[Doorway, ...], visit: Visit, host: str) -> Named:
    """Whether a client that dials `host` reaches one of the doorways, as far as can be known here."""
    endpoints = [doorway.bind.endpoint for doorway in doorways]
    literal = [each.host for each in endpoints if not is_wildcard(each) and each.family is not Family.NAME]
    is_open = len(literal) < len(endpoints)
    if host in (*literal, *case.public):
        return Named.RIGHT
    if host == "0.0.0.0":
        return Named.ANY
    if same_host(host, visit.address):
        return Named.OWN
    if is_open and case.machine is not None and case.machine.owns(host):
        return Named.RIGHT
    return _judge_stranger(case, literal, host, is_open)


def _judge_stranger(case: Case, literal: list[str], host: str, is_open: bool) -> Named:
    if is_private(host) and any(not is_private(each) for each in literal):
        return Named.PRIVATE
    if not case.public and (is_open or not is_private(host)):
        return Named.UNKNOWN
    return Named.WRONG


def _addresses(kind: Named, text: str) -> Callable[[Case], Iterator[Symptom]]:
    """A rule about addresses of that kind; `text` may name {host} and {right}."""

    def look(case: Case) -> Iterator[Symptom]:
        for service, server, visit in _taken_at_its_word(case):
            doorways = service.doorways_to(server)
            hosts = {target.host for target in visit.passive.targets} if visit.passive is not None else set()
            for host in sorted(hosts) if doorways else ():
                if judge_address(case, doorways, visit, host) is kind:
                    right = _right_address(case, doorways)
                    detail = text.format(host=host, right=right)
                    yield Symptom(visit.origin, visit.subject, detail, _address_fix(visit, right))

    return look


def _right_address(case: Case, doorways: tuple[Doorway, ...]) -> str:
    literal = [doorway.bind.endpoint.host for doorway in doorways if not is_wildcard(doorway.bind.endpoint)]
    return (*case.public, *literal, "the balancer's address")[0]


def _address_fix(visit: Visit, right: str) -> str:
    ways = [way.format(address=right) for word, way, _ in _MANNERS if word in visit.greeting.lower()]
    if not ways:
        ways = [way.format(address=right) for _, way, _ in _MANNERS[:3]]
    return f"Tell the server its address: {', or '.join(ways)}. Or use 'mode ftp', which needs no such setting."


def _ports_fix(visit: Visit, doorways: tuple[Doorway, ...]) -> str:
    ports = doorways[0].bind.ports
    ways = [way.format(low=ports.low, high=ports.high) for word, _, way in _MANNERS if word in visit.greeting.lower()]
    if not ways:
        ways = [way.format(low=ports.low, high=ports.high) for _, _, way in _MANNERS[:3]]
    return f"Give the server the range {ports}: {', or '.join(ways)}. Or bind the range that the server has."


def _taken_at_its_word(case: Case) -> Iterator[tuple[Service, Server, Visit]]:
    """Visits to servers whose passive replies reach clients as they are: in `mode ftp`, those of encrypted sessions."""
    for service, server, visit in case.seen():
        is_blind = service.frontend.ftp.auth_tls is AuthTls.PASS and visit.tls is not None and visit.tls.works
        if service.mode is Mode.TCP or is_blind:
            yield service, server, visit


def ports_outside(case: Case) -> Iterator[Symptom]:
    for service, server, visit in _taken_at_its_word(case):
        doorways = service.doorways_to(server)
        if visit.passive is None or not doorways:
            continue
        seen = visit.passive.every_port
        outside = [port for port in seen if not any(port in doorway.bind.ports for doorway in doorways)]
        if outside:
            shown = ", ".join(map(str, outside[:_SHOWN_PORTS])) + (" ..." if len(outside) > _SHOWN_PORTS else "")
            ranges = ", ".join(f"{doorway.bind.ports} ({doorway.bind.origin})" for doorway in doorways)
            detail = f"it names ports outside {ranges}: {shown} ({len(outside)} of {len(seen)} seen)."
            yield Symptom(visit.origin, visit.subject, detail, _ports_fix(visit, doorways))


def data_port_closed(case: Case) -> Iterator[Symptom]:
    for _, _, visit in case.seen():
        if visit.passive is not None and visit.passive.trouble:
            seen = visit.passive
            detail = f"it announced port {seen.dialled}, which cannot be reached from here: {seen.trouble}."
            yield Symptom(visit.origin, visit.subject, detail)


def no_passive(case: Case) -> Iterator[Symptom]:
    for _, _, visit in case.seen():
        if visit.passive is not None and not visit.passive.every_port:
            detail = f"PASV: {visit.passive.pasv_refusal} EPSV: {visit.passive.epsv_refusal}"
            yield Symptom(visit.origin, visit.subject, detail)


def epsv_refused(case: Case) -> Iterator[Symptom]:
    return _epsv(case, over_ipv6=False)


def epsv_refused_ipv6(case: Case) -> Iterator[Symptom]:
    return _epsv(case, over_ipv6=True)


def _epsv(case: Case, *, over_ipv6: bool) -> Iterator[Symptom]:
    for service, _, visit in case.seen(Mode.TCP):
        passive = visit.passive
        if passive is not None and passive.targets and passive.epsv_refusal and _has_ipv6(service) is over_ipv6:
            yield Symptom(visit.origin, visit.subject, f"EPSV: {passive.epsv_refusal}")


def epsv_broken(case: Case) -> Iterator[Symptom]:
    for service, server, visit in case.seen():
        passive = visit.passive
        fixed = service.backend.passive_of(server) is FtpPassive.PASV and service.mode is Mode.FTP
        if passive is not None and passive.targets and passive.epsv_trouble and not fixed:
            yield Symptom(visit.origin, visit.subject, f"PASV works. {passive.epsv_trouble}.")


def _has_ipv6(service: Service) -> bool:
    return any(is_ipv6(bind) for bind in service.controls)


def listing_failed(case: Case) -> Iterator[Symptom]:
    for _, _, visit in case.seen():
        if visit.listing is not None and visit.listing.trouble:
            yield Symptom(visit.origin, visit.subject, f"LIST: {visit.listing.trouble}")


DATA: tuple[Rule[Case], ...] = (
    Rule(
        "pasv-own-address",
        Severity.ERROR,
        _addresses(Named.OWN, "its reply to PASV names its own address {host}, not the balancer's ({right})."),
        "A server names its own address in PASV.",
        "A client that obeys dials the server past the balancer, which fails where it has no route to it. (Modern "
        "clients ignore the address, so it works for some and not for others.)",
        "Tell the server the balancer's address, or use 'mode ftp'.",
    ),
    Rule(
        "pasv-private",
        Severity.ERROR,
        _addresses(Named.PRIVATE, "its reply to PASV names the private address {host}; clients come to {right}."),
        "A server names a private address in PASV, and clients come from the internet.",
        "No client outside can reach that address.",
        "Tell the server the balancer's address, or use 'mode ftp'.",
    ),
    Rule(
        "pasv-wrong-address",
        Severity.ERROR,
        _addresses(Named.WRONG, "its reply to PASV names {host}, where no data port is bound; it should be {right}."),
        "A server names an address that is not the balancer's.",
        "Clients that obey the reply dial into nowhere; others succeed: it works for some and not for others.",
        "Tell the server the balancer's address, or use 'mode ftp'.",
    ),
    Rule(
        "pasv-unknown-address",
        Severity.WARNING,
        _addresses(Named.UNKNOWN, "its reply to PASV names {host}, which is not known here as the balancer's."),
        "A server names an address that may or may not lead to the balancer.",
        "If that is not the address of the NAT in front of the balancer, clients dial into nowhere.",
        "Say --public ADDRESS if it is the right one; else tell the server the right one.",
    ),
    Rule(
        "pasv-any-address",
        Severity.WARNING,
        _addresses(Named.ANY, "its reply to PASV names {host}."),
        "A server names 0.0.0.0 in PASV.",
        "Some clients understand it as 'the address you know', others dial themselves.",
        "Tell the server the balancer's address, or use 'mode ftp'.",
    ),
    Rule(
        "ports-outside",
        Severity.ERROR,
        ports_outside,
        "A server opens ports that the balancer does not take to it.",
        "Transfers to those ports are refused by the balancer, or reach another server; with a few ports too many, it "
        "happens now and then.",
        "Give servers and balancer the same range, or use 'mode ftp'.",
    ),
    Rule(
        "data-port-closed",
        Severity.ERROR,
        data_port_closed,
        "A server's data port cannot be reached.",
        "The control connection works, every transfer fails: mostly a firewall that knows port 21 only.",
        "Open the server's passive port range in the firewall between the balancer and the server.",
    ),
    Rule(
        "no-passive",
        Severity.ERROR,
        no_passive,
        "A server refuses PASV and EPSV.",
        "There are no passive transfers without either.",
        "Switch passive mode on (vsftpd pasv_enable=YES), or give it more passive ports.",
    ),
    Rule(
        "epsv-refused",
        Severity.NOTE,
        epsv_refused,
        "A server refuses EPSV.",
        "Most clients then try PASV, at the cost of a question; some do not.",
        "Switch EPSV on, or use 'mode ftp', which translates.",
    ),
    Rule(
        "epsv-refused-ipv6",
        Severity.ERROR,
        epsv_refused_ipv6,
        "A server refuses EPSV, and clients come over IPv6.",
        "An IPv6 client has no other way to open a data connection.",
        "Switch EPSV on, or use 'mode ftp', which translates.",
    ),
    Rule(
        "epsv-broken",
        Severity.WARNING,
        epsv_broken,
        "A server does not answer EPSV, hangs up at it, or names a port that does not open.",
        "Clients that say EPSV wait, or lose their session; in 'mode ftp' only the first one does, since the balancer "
        "asks with PASV from then on.",
        "Say 'ftp-passive pasv' on its server line ('mode ftp'), or let the server refuse EPSV.",
    ),
    Rule(
        "listing-failed",
        Severity.ERROR,
        listing_failed,
        "The login directory cannot be listed.",
        "The first thing that most clients do fails.",
        "Look at the server's log: rights of the directory, a full disk, a dead network file system.",
    ),
)
