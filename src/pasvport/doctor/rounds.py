"""The doctor's rounds: every server of every FTP service visited, many at once, none waited for without end."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from pasvport.doctor.case import Case
from pasvport.doctor.examination import Order, examine
from pasvport.doctor.questions import Credentials
from pasvport.doctor.services import IMPLICIT_PORT, Service, examinable
from pasvport.doctor.visit import Failure, Visit
from pasvport.model import Server

_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Errand:
    """What the rounds are given: a login, if any, and the seconds to wait for each answer."""

    timeout: float
    login: Credentials | None = None


def visit_all(case: Case, errand: Errand) -> tuple[Visit, ...]:
    """Every examinable server, once for each control port. Raises nothing."""
    orders = list(dict.fromkeys(_orders(case, errand)))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return tuple(pool.map(_visit, orders))


def _orders(case: Case, errand: Errand) -> Iterator[Order]:
    for service in case.services:
        check = service.backend.ftp_check
        checker = Credentials(check.user, check.password) if check is not None and check.user else None
        for server in examinable(service.backend):
            for port in service.control_ports(server):
                visit = Visit(service.backend.name, server.name, server.origin, server.endpoint.host, port)
                implicit = _is_implicit(service, server, port)
                yield Order(visit, implicit, errand.timeout, errand.login or checker, checker)


def _is_implicit(service: Service, server: Server, port: int) -> bool:
    """Implicit FTPS has a port of its own; behind other numbers, the bind's name says so."""
    binds = [bind for bind in service.controls if server.port.towards(bind.ports.low) == port]
    named = any(IMPLICIT_PORT in bind.ports or "implicit" in (bind.name or "").lower() for bind in binds)
    return port == IMPLICIT_PORT or named


def _visit(order: Order) -> Visit:
    visit = order.visit
    address, why = _look_up(visit.host, order.timeout)
    if not address:
        return replace(visit, failure=Failure.NAME, why=why)
    return examine(replace(order, visit=replace(visit, address=address)))


def _look_up(host: str, timeout: float) -> tuple[str, str]:
    """(address, why there is none). The resolver knows no deadline, so a thread is left to it."""
    answer: list[tuple[str, str]] = []
    seeker = threading.Thread(target=lambda: answer.append(_resolve(host)), daemon=True)
    seeker.start()
    seeker.join(timeout)
    return answer[0] if answer else ("", "no answer in time")


def _resolve(host: str) -> tuple[str, str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return "", getattr(error, "strerror", None) or str(error)
    return (str(found[0][4][0]), "") if found else ("", "no address")
