"""What is asked of a server to learn whether it lives: scripts, `option ftp-check`, agents."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pasvport.address import Endpoint
from pasvport.model.origin import Origin


class ObserveMode(StrEnum):
    """`observe`: what traffic may count against a server."""

    NONE = "none"
    LAYER4 = "layer4"


class OnError(StrEnum):
    """`on-error`: what happens after `error-limit` observed errors."""

    FASTINTER = "fastinter"
    FAIL_CHECK = "fail-check"
    SUDDEN_DEATH = "sudden-death"
    MARK_DOWN = "mark-down"


class CheckKind(StrEnum):
    """What a health check does; one kind for a whole backend."""

    TCP = "tcp"
    TCP_SCRIPT = "tcp-check"
    EXTERNAL = "external-check"
    FTP = "ftp-check"


class StepKind(StrEnum):
    """Steps of a tcp-check script."""

    CONNECT = "connect"
    SEND = "send"
    EXPECT = "expect"
    COMMENT = "comment"


class ExpectMatch(StrEnum):
    """How `tcp-check expect` compares."""

    STRING = "string"
    RSTRING = "rstring"
    BINARY = "binary"
    RBINARY = "rbinary"


@dataclass(frozen=True, slots=True)
class CheckStep:
    """One step of a tcp-check script; only the fields of its kind are meaningful.

    CONNECT: `port` (0 = the check's own), `address` (None = the check's own), `linger`.
    SEND: `data`. EXPECT: `match`, `negated`, `data` (bytes to find, or the regular expression's source as bytes),
    `min_recv` (-1 = no minimum), `ok_status`, `error_status`, `timeout_status` (HAProxy's status names, "" = default),
    `on_success`, `on_error` (messages). `comment` belongs to any step.
    """

    origin: Origin
    kind: StepKind
    comment: str = ""
    port: int = 0
    address: Endpoint | None = None
    linger: bool = False
    data: bytes = b""
    match: ExpectMatch = ExpectMatch.STRING
    negated: bool = False
    min_recv: int = -1
    ok_status: str = ""
    error_status: str = ""
    timeout_status: str = ""
    on_success: str = ""
    on_error: str = ""


class FtpCheckMode(StrEnum):
    """How an `option ftp-check` opens its data connection."""

    NONE = ""
    PASSIVE = "passive"
    EPSV = "epsv"


class FtpCheckAction(StrEnum):
    """What an `option ftp-check` transfers."""

    NONE = ""
    LIST = "list"
    RETR = "retr"


@dataclass(frozen=True, slots=True)
class FtpCheck:
    """`option ftp-check [user U password P] [passive|epsv] [list|retr PATH]`. `user` empty: the banner is enough."""

    user: str = ""
    password: str = ""
    mode: FtpCheckMode = FtpCheckMode.NONE
    action: FtpCheckAction = FtpCheckAction.NONE
    path: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """`check` of a server: where, how often, and how many results flip the state.

    `fast_interval` and `down_interval` 0 mean: as `interval`. `port` 0: the server's own.
    """

    enabled: bool = False
    endpoint: Endpoint | None = None
    port: int = 0
    interval: int = 2000
    fast_interval: int = 0
    down_interval: int = 0
    rise: int = 2
    fall: int = 3
    observe: ObserveMode = ObserveMode.NONE
    error_limit: int = 10
    on_error: OnError = OnError.FAIL_CHECK


@dataclass(frozen=True, slots=True)
class Agent:
    """`agent-check` of a server. `send` is written after connecting."""

    enabled: bool = False
    endpoint: Endpoint | None = None
    port: int = 0
    interval: int = 2000
    send: bytes = b""
