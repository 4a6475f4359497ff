"""Addresses and ports that two `bind` lines want.

HAProxy accepts them and lets the kernel choose which line gets a connection. So it is here with one worker; with
several the first line gets all, and of UNIX sockets the last. Nobody can mean this, so a warning names both lines.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby

from pasvport.config.judged import Judged, titled
from pasvport.config.references_ftp import is_pool
from pasvport.config.syntax import Line
from pasvport.model import AuthTls, Bind, Mode


@dataclass(frozen=True, slots=True)
class _Claim:
    """One `bind` address and the ports it listens on, in the order of the text."""

    number: int
    owner: str
    bind: Bind
    line: Line

    @property
    def place(self) -> tuple[str, str, str]:
        """What two claims share when their ports can collide."""
        return self.bind.endpoint.family, self.bind.endpoint.host, self.bind.interface or ""


def bound_twice(judged: Judged) -> None:
    """Warn of every `bind` whose address and port an earlier one has."""
    ordered = sorted(_claims(judged), key=lambda claim: (claim.place, claim.bind.ports.low, claim.number))
    found: dict[int, tuple[_Claim, _Claim]] = {}
    for _, claims in groupby(ordered, key=lambda claim: claim.place):
        for pair in _collisions(claims):
            earlier, later = sorted(pair, key=lambda claim: claim.number)
            found.setdefault(later.number, (earlier, later))
    for _, (earlier, later) in sorted(found.items()):
        _tell(judged, earlier, later)


def _claims(judged: Judged) -> Iterator[_Claim]:
    number = 0
    for proxy in judged.started:
        if not proxy.is_frontend:
            continue
        for bind, line in zip(proxy.binds, proxy.bind_lines, strict=True):
            number += 1
            # Two frontends may lease from one range: a port that is in use is passed over.
            if not (proxy.mode is Mode.FTP and proxy.ftp.auth_tls is AuthTls.REFUSE and is_pool(bind)):
                yield _Claim(number, titled(proxy), bind, line)


def _collisions(claims: Iterator[_Claim]) -> Iterator[tuple[_Claim, _Claim]]:
    """Pairs that share a port, of claims to one place in the order of their lowest ports."""
    widest = next(claims)
    for claim in claims:
        if claim.bind.ports.low <= widest.bind.ports.high:
            yield widest, claim
        if claim.bind.ports.high > widest.bind.ports.high:
            widest = claim


def _tell(judged: Judged, earlier: _Claim, later: _Claim) -> None:
    shared = replace(later.bind.endpoint, port=max(earlier.bind.ports.low, later.bind.ports.low))
    text = (
        f"{later.owner} : {earlier.owner} binds {shared} already ({earlier.line.origin}), "
        "and nothing tells which of the two a client is for."
    )
    judged.diagnostics.warn(later.line, text, word=later.line.words[1])
