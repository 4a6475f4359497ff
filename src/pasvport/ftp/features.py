"""FEAT: only what balancer and server both do, worded the same for every server (RFC 2389)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pasvport.ftp.grammar import Reply, rendered_list
from pasvport.ftp.settings import FEATURES, Settings
from pasvport.model import AuthTls

_OURS = (b"EPSV", b"PASV")
"""Answered by the balancer, whatever the server can."""
_WORDS = {b"AUTH": b"AUTH TLS", b"REST": b"REST STREAM"}
_CODE = re.compile(rb"[0-9]{3}[ -]")
_TLS = frozenset({b"AUTH", b"PBSZ", b"PROT"})
# Its facts differ between servers and clients must know them, so the server's own line is shown.
_SERVERS_WORDS = frozenset({b"MLST"})


def features_of(reply: Reply) -> dict[bytes, bytes]:
    """What the reply to FEAT lists of what we carry: name -> its whole line. Empty for a refusal.

    RFC 2389 section 3.2 wants a space before each; lines without it, and `211-SIZE`, are read alike.
    """
    if reply.code >= 400:
        return {}
    listed = (_CODE.sub(b"", line, 1).strip() for line in reply.lines)
    found = {line.split(b" ", 1)[0].upper(): line for line in listed if line}
    return {name: line for name, line in found.items() if name in FEATURES}


def rendered_features(settings: Settings, of_server: dict[bytes, bytes]) -> bytes:
    """The answer to FEAT."""
    names = {name for name in settings.features if name in of_server} | set(_OURS)
    names -= _TLS if settings.auth is AuthTls.REFUSE or settings.deferred else set()
    names -= set() if settings.active else {b"EPRT"}
    names |= {b"EPRT"} if settings.active else set()
    names -= {verb.encode("ascii") for verb in settings.denied}
    lines = tuple(_line(name, of_server) for name in sorted(names))
    return rendered_list(211, "Features:", lines, "End")


def common_features(names: Iterable[bytes]) -> dict[bytes, bytes]:
    """Stands for a server not chosen yet; features that only a server can word are left out."""
    return {name: name for name in names if name not in _SERVERS_WORDS}


def _line(name: bytes, of_server: dict[bytes, bytes]) -> bytes:
    if name in _SERVERS_WORDS:
        return of_server[name]
    return _WORDS.get(name, name)
