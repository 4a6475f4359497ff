"""What one visit to a server saw: plain values, "" and None where there was nothing to see."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pasvport.doctor.certificate import Certificate
from pasvport.ftp.passive import Target
from pasvport.model import Origin


class Failure(StrEnum):
    """Why a visit ended at the door."""

    NAME = "name"
    UNREACHABLE = "unreachable"
    SILENT = "silent"
    NOT_FTP = "not-ftp"
    REFUSED = "refused"
    TLS = "tls"
    LOST = "lost"


class Style(StrEnum):
    """Form of LIST's lines. EMPTY says nothing about the form."""

    UNIX = "unix"
    DOS = "dos"
    OTHER = "other"
    EMPTY = "empty"


@dataclass(frozen=True, slots=True)
class TlsSeen:
    """`refusal` is the reply to AUTH TLS where it was refused; `trouble` why the handshake failed.

    `old` names the oldest version that the server still speaks, where it is older than TLS 1.2.
    """

    refusal: str = ""
    trouble: str = ""
    version: str = ""
    certificate: Certificate | None = None
    old: str = ""

    @property
    def works(self) -> bool:
        return bool(self.version) and not self.trouble


@dataclass(frozen=True, slots=True)
class LoginSeen:
    """`reply` is the server's last word about it; `needs_tls` when only a protected login was accepted."""

    user: str
    accepted: bool
    reply: str = ""
    needs_tls: bool = False


@dataclass(frozen=True, slots=True)
class PassiveSeen:
    """Answers to PASV and EPSV, each asked several times; `trouble` is why the data connection failed.

    `epsv_trouble` is why EPSV was neither refused nor led to a port that opens.
    """

    targets: tuple[Target, ...] = ()
    pasv_refusal: str = ""
    ports: tuple[int, ...] = ()
    epsv_refusal: str = ""
    dialled: int = 0
    trouble: str = ""
    epsv_trouble: str = ""

    @property
    def every_port(self) -> tuple[int, ...]:
        return tuple(sorted({*self.ports, *(target.port for target in self.targets)}))


@dataclass(frozen=True, slots=True)
class Listing:
    """The login directory: its form, and the names in it. `trouble` is why LIST failed."""

    style: Style = Style.EMPTY
    names: frozenset[str] = frozenset()
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class ReuseSeen:
    """A protected LIST without and with the control connection's TLS session: "" when it worked, else why not."""

    without: str = ""
    resumed: str = ""

    @property
    def required(self) -> bool:
        return bool(self.without) and not self.resumed

    @property
    def broken(self) -> bool:
        return bool(self.without and self.resumed)


@dataclass(frozen=True, slots=True)
class Visit:
    """One server of one backend, asked on one control port. `address` is what its name was resolved to."""

    backend: str
    server: str
    origin: Origin
    host: str
    port: int
    address: str = ""
    reached: bool = False
    failure: Failure | None = None
    why: str = ""
    greeting: str = ""
    not_ready: bool = False
    features: frozenset[str] | None = None
    tls: TlsSeen | None = None
    login: LoginSeen | None = None
    check_login: LoginSeen | None = None
    passive: PassiveSeen | None = None
    listing: Listing | None = None
    reuse: ReuseSeen | None = None

    @property
    def subject(self) -> str:
        return f"server {self.backend}/{self.server}"
