"""What the configuration says to the dialogue; a value, the same for every session of a frontend and backend."""

from __future__ import annotations

from dataclasses import dataclass

from pasvport.model import AuthTls

DEFAULT_GREETING = "FTP service ready."
FEATURES = (
    b"AUTH",
    b"CLNT",
    b"EPRT",
    b"EPSV",
    b"HOST",
    b"MDTM",
    b"MFMT",
    b"MLST",
    b"PASV",
    b"PBSZ",
    b"PROT",
    b"REST",
    b"SIZE",
    b"TVFS",
    b"UTF8",
)
"""What the balancer can carry. FEAT shows at most these, whatever the server says."""


@dataclass(frozen=True, slots=True)
class Settings:
    """`greeting` is ours, used where `deferred` (the server is chosen at USER). Sizes are bytes.

    `features` is what every server of the backend is known to do; the engine narrows it with what LearnFeatures
    reports. `max_held` bounds the commands a client may send ahead; `max_refused` how many lines in a row may be no
    command at all; `redispatches` how many servers may fail a session before its login; `max_moves` how often one may
    be given to another server, for another user, before anybody is logged in. `login_limited`: no login is begun
    before the engine allows it (BeginLogin).
    """

    deferred: bool = False
    greeting: str = DEFAULT_GREETING
    active: bool = False
    auth: AuthTls = AuthTls.PASS
    denied: frozenset[str] = frozenset()
    trust_named_host: bool = False
    """`ftp-data-host any`: dial the host that a 227 names, not the server's own."""
    features: tuple[bytes, ...] = FEATURES
    max_line: int = 4096
    max_reply: int = 1 << 26
    max_held: int = 32
    max_held_bytes: int = 8192
    """Bytes of commands sent ahead after which no more is read of the client."""
    max_refused: int = 20
    redispatches: int = 3
    max_moves: int = 5
    login_limited: bool = False
