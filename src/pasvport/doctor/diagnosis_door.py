"""Rules over what probes saw at the door: names, connections, greetings, logins."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pasvport.doctor.case import Case
from pasvport.doctor.rules import Rule, Severity, Symptom
from pasvport.doctor.visit import Failure
from pasvport.model import AuthTls, Mode

Look = Callable[[Case], Iterator[Symptom]]


def _failed(kind: Failure, text: str) -> Look:
    """A rule about visits that ended so; `text` may name {host}, {port} and {why}."""

    def look(case: Case) -> Iterator[Symptom]:
        for _, _, visit in case.seen():
            if visit.failure is kind:
                detail = text.format(host=visit.host, port=visit.port, why=visit.why)
                yield Symptom(visit.origin, visit.subject, detail)

    return look


def not_ready(case: Case) -> Iterator[Symptom]:
    for _, _, visit in case.seen():
        if visit.not_ready:
            yield Symptom(visit.origin, visit.subject, "it first answers 120, 'ready in some minutes'.")


def login_refused(case: Case) -> Iterator[Symptom]:
    for _, _, visit in case.seen():
        login = visit.login
        if login is not None and not login.accepted:
            yield Symptom(visit.origin, visit.subject, f"user '{login.user}' is refused: {login.reply}")


def check_user(case: Case) -> Iterator[Symptom]:
    for service, _, visit in case.seen():
        login = visit.check_login
        if login is not None and not login.accepted:
            detail = f"the check's user '{login.user}' is refused: {login.reply}"
            yield Symptom(visit.origin, f"backend {service.backend.name}, {visit.subject}", detail)


def login_needs_tls(case: Case) -> Iterator[Symptom]:
    for service, _, visit in case.seen(Mode.FTP):
        if visit.login is None or not visit.login.needs_tls:
            continue
        if service.frontend.ftp.auth_tls is AuthTls.REFUSE:
            detail = "it accepts no login in clear text, and the balancer refuses AUTH."
            yield Symptom(visit.origin, visit.subject, detail)
        elif _is_deferred(case, service.frontend.name, service.backend.name):
            detail = "it accepts no login in clear text, and the server is chosen by a user name read in clear text."
            yield Symptom(visit.origin, visit.subject, detail)


def _is_deferred(case: Case, frontend: str, backend: str) -> bool:
    """The choice of a server waits for USER."""
    proxies = [proxy for proxy in case.config.proxies if proxy.name in (frontend, backend)]
    for proxy in proxies:
        keys = [rule.expression for rule in (*proxy.use_backend, *proxy.use_server)]
        keys += [rule.expression for rule in proxy.stick_rules]
        keys += [proxy.balance.expression] if proxy.balance.expression is not None else []
        if any(key.fetch == "ftp.user" for key in keys):
            return True
    return False


DOOR: tuple[Rule[Case], ...] = (
    Rule(
        "name-unresolved",
        Severity.ERROR,
        _failed(Failure.NAME, "'{host}' has no address: {why}"),
        "A server's name has no address.",
        "The balancer does not start, or starts without this server.",
        "Correct the name or the DNS, or write the address.",
    ),
    Rule(
        "server-unreachable",
        Severity.ERROR,
        _failed(Failure.UNREACHABLE, "nothing answers at {host}:{port} from here: {why}."),
        "A server's control port cannot be reached.",
        "Every client that is given this server fails or waits for another one.",
        "Start the server, correct the address or the port, or open the firewall between here and there.",
    ),
    Rule(
        "no-greeting",
        Severity.ERROR,
        _failed(Failure.SILENT, "{host}:{port} takes the connection and says nothing: {why}."),
        "A server does not greet.",
        "A plain TCP check finds it healthy, and clients hang. Often it is an overloaded server, one that looks "
        "the client's name up in a dead DNS, or one that expects TLS first (implicit FTPS).",
        "Look at the server; for implicit FTPS bind port 990.",
    ),
    Rule(
        "not-ftp",
        Severity.ERROR,
        _failed(Failure.NOT_FTP, "what answers at {host}:{port} does not speak FTP: {why}."),
        "Something else than FTP answers on the control port.",
        "Clients cannot understand it.",
        "Correct the address or the port of the server line.",
    ),
    Rule(
        "greeting-refused",
        Severity.ERROR,
        _failed(Failure.REFUSED, "it greets with a refusal: {why}"),
        "A server refuses service at its greeting (421 and the like).",
        "A plain TCP check finds it healthy, so clients are sent there to be turned away. A limit of connections per "
        "address counts all clients as one: the balancer.",
        "Raise the server's limits (vsftpd max_per_ip, ProFTPD MaxClientsPerHost, Pure-FTPd MaxClientsPerIP), and "
        "check with 'option ftp-check' or a tcp-check that expects 220.",
    ),
    Rule(
        "not-ready",
        Severity.WARNING,
        not_ready,
        "A server answers 120 before its greeting.",
        "Many clients take 120 for a refusal.",
        "Let the server listen only when it is ready.",
    ),
    Rule(
        "broke-off",
        Severity.ERROR,
        _failed(Failure.LOST, "it broke off in the middle: {why}."),
        "A server stopped answering in the middle of a session.",
        "Clients see timeouts where the probe saw them.",
        "Look at the server's log; raise --timeout if it is only slow.",
    ),
    Rule(
        "login-refused",
        Severity.ERROR,
        login_refused,
        "A server refuses the user given to the doctor.",
        "A client whose account is missing on one server fails whenever it is sent there. Behind this login nothing "
        "could be examined.",
        "Give all servers the same accounts (or correct --user and its password).",
    ),
    Rule(
        "check-user",
        Severity.ERROR,
        check_user,
        "The health check's user cannot log in.",
        "The check will mark a healthy server down.",
        "Create the user on the server, or correct 'option ftp-check user U password P'.",
    ),
    Rule(
        "login-needs-tls",
        Severity.ERROR,
        login_needs_tls,
        "A server demands TLS, and clients of 'mode ftp' cannot give it.",
        "No client can log in there.",
        "Say 'option ftp-auth-tls pass' together with 'stick on src' (and no choice by user), or let the server accept "
        "clear text from the balancer (vsftpd force_local_logins_ssl=NO, ProFTPD TLSRequired off).",
    ),
)
