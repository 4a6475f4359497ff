"""Rules over TLS, and over what should be alike on all servers of a backend."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from datetime import UTC, datetime
from typing import TypeVar

from pasvport.doctor.case import Case
from pasvport.doctor.persistence import is_sticky
from pasvport.doctor.rules import Rule, Severity, Symptom
from pasvport.doctor.services import Service, usable
from pasvport.doctor.visit import Listing, Style, TlsSeen, Visit
from pasvport.model import AuthTls, Mode

V = TypeVar("V", bound=Hashable)
_SOON = 14 * 86400
_SHOWN = 5
_TOLD_ELSEWHERE = {"AUTH", "PBSZ", "PROT", "CCC", "SSCN", "PASV", "EPSV"}
"""Features that are tried, not believed: rules of their own tell where servers differ in them."""


# --- TLS ----------------------------------------------------------------------------------------------------------


def _tls(case: Case) -> Iterator[tuple[Service, Visit, TlsSeen]]:
    """Visits whose TLS clients get to see: in `mode ftp` only where AUTH passes."""
    for service, _, visit in case.seen():
        if visit.tls is not None and _passes_tls(service):
            yield service, visit, visit.tls


def _passes_tls(service: Service) -> bool:
    return service.mode is Mode.TCP or service.frontend.ftp.auth_tls is AuthTls.PASS


def tls_handshake(case: Case) -> Iterator[Symptom]:
    for _, visit, tls in _tls(case):
        if tls.trouble:
            yield Symptom(visit.origin, visit.subject, f"it offers TLS, and the handshake fails: {tls.trouble}.")


def tls_old(case: Case) -> Iterator[Symptom]:
    for _, visit, tls in _tls(case):
        if tls.old:
            yield Symptom(visit.origin, visit.subject, f"it still speaks {tls.old}.")


def certificate_expired(case: Case) -> Iterator[Symptom]:
    for _, visit, tls in _tls(case):
        if tls.certificate is None:
            continue
        if case.now > tls.certificate.ends:
            yield Symptom(visit.origin, visit.subject, f"its certificate ended on {_day(tls.certificate.ends)}.")
        elif case.now < tls.certificate.begins:
            yield Symptom(visit.origin, visit.subject, f"its certificate begins on {_day(tls.certificate.begins)}.")


def certificate_ending(case: Case) -> Iterator[Symptom]:
    for _, visit, tls in _tls(case):
        if tls.certificate is not None and case.now <= tls.certificate.ends < case.now + _SOON:
            yield Symptom(visit.origin, visit.subject, f"its certificate ends on {_day(tls.certificate.ends)}.")


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


def reuse_lost(case: Case) -> Iterator[Symptom]:
    for service, _, visit in case.seen():
        shared = len(usable(service.backend)) > 1
        if visit.reuse is None or not visit.reuse.required or not shared or is_sticky(service):
            continue
        if _passes_tls(service):
            detail = f"it refuses data connections that do not resume their session's TLS: {visit.reuse.without}"
            yield Symptom(visit.origin, visit.subject, detail)


def tls_data(case: Case) -> Iterator[Symptom]:
    for service, _, visit in case.seen():
        if visit.reuse is not None and visit.reuse.broken and _passes_tls(service):
            yield Symptom(visit.origin, visit.subject, f"LIST after PROT P: {visit.reuse.resumed}")


# --- alike --------------------------------------------------------------------------------------------------------


def _odd_ones(
    case: Case, of: Callable[[Visit], V | None], services: Callable[[Service], bool]
) -> Iterator[tuple[Visit, V, V, Visit]]:
    """(odd visit, its value, the value of most, a visit that has it) in each backend; None is no value."""
    groups: dict[tuple[str, int], list[tuple[Visit, V]]] = {}
    for service, _, visit in case.seen():
        value = of(visit) if services(service) else None
        entry = (visit, value)
        if value is not None and entry not in groups.setdefault((visit.backend, visit.port), []):
            groups[visit.backend, visit.port].append((visit, value))
    for group in groups.values():
        yield from _odd_in(group)


def _odd_in(group: list[tuple[Visit, V]]) -> Iterator[tuple[Visit, V, V, Visit]]:
    counts = Counter(value for _, value in group)
    # The first of equally frequent values is the norm.
    norm = max(counts, key=lambda value: counts[value], default=None)
    for visit, value in group:
        if norm is not None and value != norm:
            yield visit, value, norm, next(other for other, its in group if its == norm)


def features_differ(case: Case) -> Iterator[Symptom]:
    def look(visit: Visit) -> frozenset[str] | None:
        if visit.features is None:
            return None
        return frozenset(line.partition(" ")[0] for line in visit.features if line) - _TOLD_ELSEWHERE

    for visit, has, norm, other in _odd_ones(case, look, lambda service: service.mode is Mode.TCP):
        differences = _differences(has, norm, other.server)
        yield Symptom(visit.origin, visit.subject, f"FEAT: {differences}.")


def _differences(has: frozenset[str], norm: frozenset[str], other: str) -> str:
    lacking, extra = sorted(norm - has), sorted(has - norm)
    parts = [f"it lacks {_some(lacking)}, which {other} has"] if lacking else []
    return "; ".join(parts + ([f"it has {_some(extra)}, which {other} has not"] if extra else []))


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def tls_differs(case: Case) -> Iterator[Symptom]:
    def look(visit: Visit) -> str | None:
        if visit.tls is None or visit.tls.trouble:
            return None
        return visit.tls.version or "no TLS"

    for visit, has, norm, other in _odd_ones(case, look, _passes_tls):
        yield Symptom(visit.origin, visit.subject, f"it speaks {has}, and {other.server} {norm}.")


def certificate_differs(case: Case) -> Iterator[Symptom]:
    def look(visit: Visit) -> frozenset[str] | None:
        if visit.tls is None or visit.tls.certificate is None:
            return None
        return frozenset(visit.tls.certificate.names)

    for visit, has, norm, other in _odd_ones(case, look, _passes_tls):
        detail = f"its certificate is for {_some(sorted(has))}, that of {other.server} for {_some(sorted(norm))}."
        yield Symptom(visit.origin, visit.subject, detail)


def _listing(visit: Visit) -> Listing | None:
    listing = visit.listing
    if listing is None or listing.trouble:
        return None
    return listing


def listing_differs(case: Case) -> Iterator[Symptom]:
    def look(visit: Visit) -> Style | None:
        listing = _listing(visit)
        return listing.style if listing is not None and listing.style is not Style.EMPTY else None

    for visit, has, norm, other in _odd_ones(case, look, lambda _: True):
        yield Symptom(visit.origin, visit.subject, f"LIST is in {has} form, that of {other.server} in {norm} form.")


def files_differ(case: Case) -> Iterator[Symptom]:
    def look(visit: Visit) -> frozenset[str] | None:
        listing = _listing(visit)
        return listing.names if listing is not None and listing.style is not Style.OTHER else None

    for visit, has, norm, other in _odd_ones(case, look, lambda _: True):
        detail = f"the login directory: {_differences(has, norm, other.server)}."
        yield Symptom(visit.origin, visit.subject, detail)


FARM: tuple[Rule[Case], ...] = (
    Rule(
        "tls-handshake",
        Severity.ERROR,
        tls_handshake,
        "A server offers TLS, and its handshake fails.",
        "FTPS clients cannot log in there.",
        "Correct the server's certificate, key and cipher settings.",
    ),
    Rule(
        "tls-data",
        Severity.ERROR,
        tls_data,
        "Protected data connections fail, with and without session resumption.",
        "FTPS clients log in, and no transfer works.",
        "Look at the server's TLS settings and log.",
    ),
    Rule(
        "tls-reuse-lost",
        Severity.ERROR,
        reuse_lost,
        "A server demands TLS session resumption on data connections, and the balancer may take them to another one.",
        "Another server does not know the session: 522 or 425, at every transfer that goes astray.",
        "Keep clients on their server ('stick-table type ip size 100k expire 1h', 'stick on src'), so that client and "
        "server resume end to end.",
    ),
    Rule(
        "tls-old",
        Severity.WARNING,
        tls_old,
        "A server still speaks TLS 1.0 or 1.1.",
        "Both are broken and withdrawn (RFC 8996).",
        "Allow TLS 1.2 and newer only.",
    ),
    Rule(
        "tls-differs",
        Severity.WARNING,
        tls_differs,
        "Servers of one backend differ in TLS.",
        "Clients that require what one server lacks fail whenever they are sent there; others go without.",
        "Give all servers the same TLS settings.",
    ),
    Rule(
        "certificate-expired",
        Severity.ERROR,
        certificate_expired,
        "A server's certificate is not valid now.",
        "Clients that check it refuse to go on.",
        "Renew it.",
    ),
    Rule(
        "certificate-ending",
        Severity.WARNING,
        certificate_ending,
        "A server's certificate ends within two weeks.",
        "Clients that check it will refuse to go on.",
        "Renew it.",
    ),
    Rule(
        "certificate-differs",
        Severity.WARNING,
        certificate_differs,
        "Servers of one backend have certificates for different names.",
        "Clients know the farm by one name; a server whose certificate does not hold it is refused.",
        "Give all servers a certificate for the name that clients use.",
    ),
    Rule(
        "features-differ",
        Severity.WARNING,
        features_differ,
        "Servers of one backend differ in FEAT.",
        "Clients remember what a host can do, and fail when the next session lands on a server that cannot. ('mode "
        "ftp' lists only what all can.)",
        "Use one kind and version of server with one configuration, or 'mode ftp'.",
    ),
    Rule(
        "listing-differs",
        Severity.WARNING,
        listing_differs,
        "Servers of one backend list directories in different forms.",
        "Programs that read listings understand one form.",
        "Set all servers to one form (IIS: UNIX style).",
    ),
    Rule(
        "files-differ",
        Severity.WARNING,
        files_differ,
        "Servers of one backend show different files.",
        "A client that comes back from another address, or after its entry has expired, finds other files.",
        "Share the storage or keep it in step, or route users to their server ('mode ftp').",
    ),
)
