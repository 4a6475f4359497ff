"""Rules over the text of a configuration in `mode tcp`: which server a data connection reaches, and for how long."""

from __future__ import annotations

from collections.abc import Iterator

from pasvport.doctor.case import Case
from pasvport.doctor.persistence import (
    Key,
    hashes_source,
    kind_of,
    match_and_store,
    moves_on_change,
    narrow_rules,
    shared_backends,
    why_not_kept,
)
from pasvport.doctor.rules import Rule, Severity, Symptom
from pasvport.doctor.services import Service, is_ipv6
from pasvport.model import KeyType, Mode, Origin, Proxy, StickRule, StickTable

_SMALLEST_TABLE = 1000
"""Clients of an unknown number: a table for fewer is small, whatever `maxconn` is."""


def _shared(case: Case) -> Iterator[tuple[Service, Proxy]]:
    """Services in `mode tcp` and the backends among whose servers a data connection could go astray."""
    for service in case.services_of(Mode.TCP):
        for _, backend in shared_backends(service):
            yield service, backend


def no_stickiness(case: Case) -> Iterator[Symptom]:
    for service, backend in _shared(case):
        why = why_not_kept(service.backend, backend)
        if why:
            origin = backend.stick_rules[0].origin if backend.stick_rules else backend.origin
            detail = (
                f"{len(backend.servers)} servers share the data ports {service.ranges}, and nothing takes a data "
                f"connection to the server of its session: {why}."
            )
            yield Symptom(origin, f"backend {backend.name}", detail)


def stick_key_narrow(case: Case) -> Iterator[Symptom]:
    for service in case.services_of(Mode.TCP):
        for backend, rule in narrow_rules(service):
            detail = f"the key '{rule.expression.text}' is another one for every connection of a client."
            yield Symptom(rule.origin, f"backend {backend.name}", detail, "Stick on the address alone: 'stick on src'.")


def stick_key_wide(case: Case) -> Iterator[Symptom]:
    for _, backend in _shared(case):
        for rule in match_and_store(backend):
            if kind_of(rule.expression) is Key.WIDE:
                detail = f"the key '{rule.expression.text}' is one and the same for many clients."
                yield Symptom(rule.origin, f"backend {backend.name}", detail)
        yield from _short_strings(case, backend)


def _short_strings(case: Case, backend: Proxy) -> Iterator[Symptom]:
    for rule, table in _tables(case, backend):
        is_short = table.key_type is KeyType.STRING and table.key_length < len("255.255.255.255")
        if is_short and kind_of(rule.expression) is Key.RIGHT:
            detail = f"keys are cut after {table.key_length} characters: addresses that begin alike are one client."
            yield Symptom(table.origin, f"backend {backend.name}", detail, "Use 'type ip' (or 'type ipv6').")


def _tables(case: Case, backend: Proxy) -> Iterator[tuple[StickRule, StickTable]]:
    """The stick rules of a backend with the tables they use."""
    tables = {proxy.stick_table.name: proxy.stick_table for proxy in case.config.proxies if proxy.stick_table}
    for rule in match_and_store(backend):
        table = tables.get(rule.table)
        if table is not None:
            yield rule, table


def stick_key_family(case: Case) -> Iterator[Symptom]:
    for service, backend in _shared(case):
        binds = [bind for bind in service.controls if is_ipv6(bind)]
        for _, table in _tables(case, backend):
            if binds and table.key_type is KeyType.IP:
                detail = f"'type ip' holds no IPv6 address, and clients come over IPv6 through {binds[0].origin}."
                yield Symptom(table.origin, f"table {table.name}", detail)


def stick_table_small(case: Case) -> Iterator[Symptom]:
    for service, backend in _shared(case):
        # Every session has its control connection, and one data connection at times: half of maxconn are clients.
        clients = max(_SMALLEST_TABLE, (service.frontend.maxconn or case.config.settings.maxconn) // 2)
        for _, table in _tables(case, backend):
            if table.size < clients:
                detail = f"{table.size} entries, while {clients} clients may be there at once."
                yield Symptom(
                    table.origin, f"table {table.name}", detail, f"Say 'size 100k' or more, not under {clients}."
                )


def stick_nopurge(case: Case) -> Iterator[Symptom]:
    for _, backend in _shared(case):
        for _, table in _tables(case, backend):
            if table.nopurge:
                yield Symptom(table.origin, f"table {table.name}", "a full table takes no new client ('nopurge').")


def stick_expire(case: Case) -> Iterator[Symptom]:
    for service, backend in _shared(case):
        idle = _longest_silence(service)
        for _, table in _tables(case, backend):
            if idle is not None and 0 < table.expire < idle:
                detail = (
                    f"a client is forgotten after {told(table.expire)}, but its control connection may be silent for "
                    f"{told(idle)}."
                )
                yield Symptom(table.origin, f"table {table.name}", detail, f"Set 'expire' to more than {told(idle)}.")


def _longest_silence(service: Service) -> int | None:
    """Milliseconds for which a control connection may be silent; None: without end."""
    client, server = service.frontend.timeouts, service.backend.timeouts
    if server.tunnel is not None or client.tunnel is not None:
        return server.tunnel if server.tunnel is not None else client.tunnel
    known = [each for each in (client.client, server.server) if each is not None]
    return min(known) if known else None


def told(milliseconds: int) -> str:
    """A time as the language writes it."""
    for size, unit in ((86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")):
        if milliseconds >= size and not milliseconds % size:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms"


def hash_persistence(case: Case) -> Iterator[Symptom]:
    for service, backend in _shared(case):
        if backend.stick_rules or why_not_kept(service.backend, backend) or not hashes_source(backend.balance):
            continue
        if moves_on_change(backend):
            detail = f"'balance {backend.balance.algorithm}' is all that keeps a client on its server."
            yield Symptom(backend.origin, f"backend {backend.name}", detail)


def one_server_per_address(case: Case) -> Iterator[Symptom]:
    for service, backend in _shared(case):
        if why_not_kept(service.backend, backend) or any(narrow_rules(service)):
            continue
        origin: Origin = next((rule.origin for rule in match_and_store(backend)), backend.origin)
        detail = "every client behind one address (an office, a carrier's NAT) lands on one server."
        yield Symptom(origin, f"backend {backend.name}", detail)


def redispatch_data(case: Case) -> Iterator[Symptom]:
    for _, backend in _shared(case):
        if backend.redispatch:
            detail = (
                "a data connection that its own server refuses is tried on another server, where the port may be open."
            )
            yield Symptom(backend.origin, f"backend {backend.name}", detail)


def server_maxconn(case: Case) -> Iterator[Symptom]:
    for service in case.services_of(Mode.TCP):
        for server in service.backend.servers:
            if server.maxconn and service.doorways_to(server):
                detail = f"'maxconn {server.maxconn}' counts control and data connections alike."
                yield Symptom(server.origin, f"server {service.backend.name}/{server.name}", detail)


PERSISTENCE: tuple[Rule[Case], ...] = (
    Rule(
        "no-stickiness",
        Severity.ERROR,
        no_stickiness,
        "Several servers share the data ports, and nothing keeps a client on one of them.",
        "A data connection is a connection of its own: the balancer chooses a server for it again, and most reach one "
        "that is not waiting for it. Transfers fail, or deliver the file of another session.",
        "Add 'stick-table type ip size 100k expire 1h' and 'stick on src' to the backend (one table for control and "
        "data), or give each server a port range of its own, or use 'mode ftp'.",
    ),
    Rule(
        "stick-key-narrow",
        Severity.ERROR,
        stick_key_narrow,
        "The stick key differs between the connections of one client.",
        "The control connection is remembered under one key and the data connection asks for another, so it reaches "
        "any server.",
        "Stick on the address alone: 'stick on src'.",
    ),
    Rule(
        "stick-key-wide",
        Severity.WARNING,
        stick_key_wide,
        "The stick key is the same for many clients.",
        "All of them land on one server while the others idle.",
        "Stick on the whole address: 'stick on src'. ('mode ftp' with 'ftp-data-peer network' is the answer for "
        "clients that have several addresses.)",
    ),
    Rule(
        "stick-key-family",
        Severity.ERROR,
        stick_key_family,
        "IPv6 clients come in, and the table holds IPv4 addresses only.",
        "A client without a key does not stick: its data connections reach any server.",
        "Say 'stick-table type ipv6', which holds both families.",
    ),
    Rule(
        "stick-table-small",
        Severity.WARNING,
        stick_table_small,
        "The stick table holds fewer clients than may be connected.",
        "A full table drops its oldest entries, those of live sessions among them; their next transfer goes to any "
        "server. (pasvport keeps entries in use, HAProxy does not.)",
        "Say 'size 100k' or more.",
    ),
    Rule(
        "stick-nopurge",
        Severity.WARNING,
        stick_nopurge,
        "A full stick table refuses new clients.",
        "A client that finds no room does not stick, and its transfers reach any server.",
        "Take 'nopurge' away.",
    ),
    Rule(
        "stick-expire",
        Severity.WARNING,
        stick_expire,
        "Clients are forgotten while their sessions live.",
        "A session that was silent, or in one long transfer, for longer than 'expire' has its next data connection "
        "sent to any server. (pasvport keeps entries in use, HAProxy does not.)",
        "Set 'expire' longer than the timeouts of the control connection.",
    ),
    Rule(
        "hash-persistence",
        Severity.WARNING,
        hash_persistence,
        "Only the balancing hash keeps a client on its server.",
        "When any server goes down or comes back, the hash sends most clients elsewhere, in the middle of their "
        "sessions.",
        "Add 'stick-table type ip size 100k expire 1h' and 'stick on src', or at least 'hash-type consistent'.",
    ),
    Rule(
        "one-server-per-address",
        Severity.NOTE,
        one_server_per_address,
        "The port range is shared, and clients are told apart by address.",
        "Behind NAT that does not balance; and a client whose data connections leave through another address (two "
        "uplinks, a carrier's pool) reaches another server, which cannot tell a stranger from its own client.",
        "Use 'mode ftp', which ties data to its session, or give each server a port range of its own.",
    ),
    Rule(
        "redispatch-data",
        Severity.WARNING,
        redispatch_data,
        "A refused data connection is sent to another server.",
        "If another session waits on that port there, its file is delivered to the wrong client.",
        "Say 'no option redispatch' in this backend.",
    ),
    Rule(
        "server-maxconn",
        Severity.WARNING,
        server_maxconn,
        "A server's connection limit counts data connections in 'mode tcp'.",
        "When control connections have taken all places, their own transfers wait in the queue until they time out.",
        "Limit sessions on the server itself, or leave room for as many data as control connections, or use 'mode "
        "ftp', where the limit counts sessions.",
    ),
)
