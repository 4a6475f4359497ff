"""What `mode ftp` of a frontend says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class AuthTls(StrEnum):
    """`option ftp-auth-tls`. Terminating TLS would be a third value: AUTH answered here."""

    PASS = "pass"
    REFUSE = "refuse"


class FtpPassive(StrEnum):
    """`option ftp-passive`, `ftp-passive` of a server: by which command servers are asked for a data port."""

    AUTO = "auto"
    EPSV = "epsv"
    PASV = "pasv"


@dataclass(frozen=True, slots=True)
class Ftp:
    """What `mode ftp` of a frontend (or listen) says; the defaults are the language's.

    `data_peer_*`: leading bits of the control peer's address that a data peer must share (strict 32 and 128, any 0).
    `login_limit` failures in `login_limit_period` ms are allowed to a source network, 0: no limit; who is over it is
    answered after `login_limit_delay` ms. `login_limit_ipv4` and `_ipv6` are the leading bits of a network.
    `drain_idle`: ms of silence after which a session that is drained ends, 0: it does not (`never`); None: what
    the cause of the drain wants.
    """

    data_peer_ipv4: int = 32
    data_peer_ipv6: int = 128
    trust_named_host: bool = False
    """`ftp-data-host any`."""
    active: bool = False
    auth_tls: AuthTls = AuthTls.REFUSE
    greeting: str | None = None
    denied: tuple[str, ...] = ()
    max_line: int = 4096
    login_limit: int = 0
    login_limit_period: int = 0
    login_limit_delay: int = 2000
    login_limit_ipv4: int = 32
    login_limit_ipv6: int = 64
    drain_idle: int | None = None
