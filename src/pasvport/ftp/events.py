"""What happens to a session, in the past tense: everything the dialogue can be told.

`path` numbers the data paths of a session. An event of a path that is no longer the present one is ignored, so that
a late accept or dial can never serve another transfer.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pasvport.errors import Side
from pasvport.ftp.passive import KnownPassive
from pasvport.record import Culprit, DataEnding


class Timer(StrEnum):
    """Deadlines the dialogue may want; `Dialogue.timers` says which ones now. Their lengths are the engine's."""

    CLIENT = "client"
    """`timeout client`: the client's next command, a whole line. What is not one yet restarts nothing."""
    SERVER = "server"
    """`timeout server`: the server's next reply. Restarted by every byte it sends."""
    PASSIVE = "passive"
    """The server's answer to PASV or EPSV; far below `timeout server`, because there is another way. Restarted by every
    byte it sends, and when it ran out and is still wanted."""
    LOGIN = "ftp-login"
    """`timeout ftp-login`: from accept to an accepted login, the wait in a queue left out; anew after REIN."""
    DATA = "ftp-data"
    """`timeout ftp-data`: from the answer to PASV until the client's data connection is there."""
    TRANSFER = "ftp-transfer"
    """`timeout ftp-transfer`: no byte of the transfer moved."""
    PENALTY = "penalty"
    """The delay before a source that failed too many logins is sent away."""
    LULL = "lull"
    """A server whose reply some clients would take for ended says nothing more. Restarted by every byte it sends."""


@dataclass(frozen=True, slots=True)
class ClientConnected:
    """`host` is the client's literal address; `advertise` the IPv4 literal for 227, empty if there is none.

    The engine has chosen `advertise`: the address that the client dialled, or what `advertise ... for` names.
    """

    host: str
    advertise: str


@dataclass(frozen=True, slots=True)
class LoginLimitExceeded:
    """The source failed too often (`ftp-login-limit`): first of all, in answer to BeginLogin, or after a failure."""


@dataclass(frozen=True, slots=True)
class LoginAllowed:
    """Answer to BeginLogin: it may go to the server."""


@dataclass(frozen=True, slots=True)
class ServerAssigned:
    """Answer to ChooseServer. `host` is its literal address, `passive` what its sessions know of it (None: nothing)."""

    name: str
    host: str
    passive: KnownPassive | None = None


@dataclass(frozen=True, slots=True)
class ServerConnected:
    """The control connection to the assigned server stands."""


@dataclass(frozen=True, slots=True)
class NoServer:
    """Answer to ChooseServer: none is left, or the queue's time is over. `culprit` as HAProxy would name it."""

    reason: str
    culprit: Culprit = Culprit.SERVER_ABORT


# As in `actions`: not frozen, because they are made for every piece of a control connection.


@dataclass(init=False, slots=True, unsafe_hash=True)
class ClientSent:
    """Bytes of the client's control connection, cut anywhere."""

    data: Final[bytes]

    def __init__(self, data: bytes) -> None:
        self.data = data


@dataclass(init=False, slots=True, unsafe_hash=True)
class ServerSent:
    """Bytes of the server's control connection, cut anywhere."""

    data: Final[bytes]

    def __init__(self, data: bytes) -> None:
        self.data = data


@dataclass(frozen=True, slots=True)
class ClientLeft:
    """The client's control connection ended: by FIN (it may still wait for replies) or by a reset."""

    reset: bool = False


@dataclass(frozen=True, slots=True)
class ServerLeft:
    """The server's control connection ended, after everything it sent was reported."""

    reason: str = "connection closed"


@dataclass(frozen=True, slots=True)
class DataPortLeased:
    """Answer to LeaseDataPort: the port listens, for this session alone."""

    path: int
    port: int


@dataclass(frozen=True, slots=True)
class LeaseFailed:
    """Answer to LeaseDataPort: the pool is exhausted, or the machine refused."""

    path: int
    reason: str


@dataclass(frozen=True, slots=True)
class ServerDataConnected:
    """Answer to DialServerData."""

    path: int


@dataclass(frozen=True, slots=True)
class ServerDataFailed:
    """Answer to DialServerData: refused, or `timeout connect` passed."""

    path: int
    reason: str


@dataclass(frozen=True, slots=True)
class ClientDataConnected:
    """The client reached the leased port from an address the policy admits, or DialClientData succeeded.

    The engine reads nothing before StartTransfer. Until then the port stays open: a second connection that the policy
    admits, while the first one stands, is a ClientDataConflict.
    """

    path: int
    host: str


@dataclass(frozen=True, slots=True)
class ClientDataConflict:
    """Two connections came to the leased port that the policy admits, before StartTransfer or together with it.

    Either may be the client's. The engine has reset both; a transfer that StartTransfer began moves no byte, and is
    answered with DataFinished after AbortTransfer.
    """

    path: int
    host: str


@dataclass(frozen=True, slots=True)
class ClientDataFailed:
    """Answer to DialClientData: the client could not be reached."""

    path: int
    reason: str


@dataclass(frozen=True, slots=True)
class DataFinished:
    """Answer to StartTransfer, exactly one, also after AbortTransfer (then with CUT): both data connections are closed.

    COMPLETE: the sender's FIN was met and every byte, and then FIN, was given to the receiver. In an upload that is
    the server, so its 226 comes after. `size` is how many bytes the receiver was given.
    """

    path: int
    size: int
    how: DataEnding


@dataclass(frozen=True, slots=True)
class TimedOut:
    """A timer of `Dialogue.timers` ran out. For TRANSFER, `whose` names the side that did not move, if known."""

    which: Timer
    whose: Side | None = None


@dataclass(frozen=True, slots=True)
class DrainRequested:
    """The session shall end at the next moment without a transfer: soft stop, reload, its server set to drain."""

    reason: str
    culprit: Culprit = Culprit.KILLED


@dataclass(frozen=True, slots=True)
class SessionKilled:
    """The session shall end now, whatever it does: its server was marked down, or an operator said so."""

    reason: str
    culprit: Culprit = Culprit.KILLED


Event = (
    ClientConnected
    | LoginLimitExceeded
    | LoginAllowed
    | ServerAssigned
    | ServerConnected
    | NoServer
    | ClientSent
    | ServerSent
    | ClientLeft
    | ServerLeft
    | DataPortLeased
    | LeaseFailed
    | ServerDataConnected
    | ServerDataFailed
    | ClientDataConnected
    | ClientDataConflict
    | ClientDataFailed
    | DataFinished
    | TimedOut
    | DrainRequested
    | SessionKilled
)
