"""What the engine shall do, in the imperative; carried out in the order given.

Each question has exactly one answer among the events: ChooseServer -> ServerAssigned (then ServerConnected) or
NoServer; BeginLogin -> LoginAllowed or LoginLimitExceeded; LeaseDataPort -> DataPortLeased or LeaseFailed;
DialServerData, DialClientData -> connected or failed; StartTransfer -> DataFinished. DropData and CloseSession make the
answers still due needless (all but DataFinished).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pasvport.record import Culprit, DataMode, Direction, FtpSessionRecord, Stage, TransferRecord

# A frozen dataclass takes three times as long to make; these two are made for every line, and `Final` keeps them as
# they are.


@dataclass(init=False, slots=True, unsafe_hash=True)
class SendToClient:
    """Whole lines for the client's control connection, in one write: some peers want CR and LF together.

    Only of a very long line there may be a piece.
    """

    data: Final[bytes]

    def __init__(self, data: bytes) -> None:
        self.data = data


@dataclass(init=False, slots=True, unsafe_hash=True)
class SendToServer:
    """Whole lines for the server's control connection, in one write.

    `urgent` is the offset of the byte to be sent as urgent data (MSG_OOB; Telnet's DM, RFC 854), -1 for none.
    """

    data: Final[bytes]
    urgent: Final[int]

    def __init__(self, data: bytes, urgent: int = -1) -> None:
        self.data = data
        self.urgent = urgent


@dataclass(frozen=True, slots=True)
class ChooseServer:
    """Pick a server and connect to it. `user` and `virtual_host` are known when the choice was deferred to USER.

    `again`: another one failed this session before its login, for `reason`; it must not be picked again if there is
    a choice.
    """

    user: bytes = b""
    virtual_host: bytes = b""
    again: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class LeaveServer:
    """Close the server's control connection once what was sent is on its way; forget its data path."""


@dataclass(frozen=True, slots=True)
class LeaseDataPort:
    """Bind a random free port of the pool, on the address the client dialled, and listen before answering.

    The lease belongs to this session; PeerPolicy says who may connect. It ends with DropData, with the end of
    its transfer, or with the session.
    """

    path: int


@dataclass(frozen=True, slots=True)
class DropData:
    """Give back the lease and close whatever data connections, waiting or being dialled, the path has.

    Only for a path whose transfer was not started.
    """

    path: int


@dataclass(frozen=True, slots=True)
class DialServerData:
    """Connect to the server's data port at once, before the client comes.

    `is_last`: there is no other way to ask for a port, so it may take longer to answer.
    """

    path: int
    host: str
    port: int
    is_last: bool = False


@dataclass(frozen=True, slots=True)
class DialClientData:
    """Connect to an active client, from the address it dialled."""

    path: int
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class StartTransfer:
    """Both data connections stand: pump one direction. End as FIN is told by FIN, end as reset by reset.

    `may_be_empty`: the server has said that it is done already, and a reset before the first byte is an end, too.
    """

    path: int
    direction: Direction
    may_be_empty: bool = False


@dataclass(frozen=True, slots=True)
class AbortTransfer:
    """Reset both data connections of a started transfer, so that what was cut short never looks complete."""

    path: int


@dataclass(frozen=True, slots=True)
class CountLoginFailure:
    """A login failed: the server refused it, or the session ended before PASS or ACCT was answered."""

    user: bytes


@dataclass(frozen=True, slots=True)
class BeginLogin:
    """May USER, PASS or ACCT go to the server (`ftp-login-limit`)? It waits for the answer, which may take a while:
    as many logins of a source may be under way as may fail.
    """


@dataclass(frozen=True, slots=True)
class FinishLogin:
    """The server has answered what BeginLogin was asked for; whether well was said before."""


@dataclass(frozen=True, slots=True)
class NoteLogin:
    """The server let `user` in."""

    user: bytes


@dataclass(frozen=True, slots=True)
class LearnPassive:
    """What is known of this server's passive mode has changed: KnownPassive.works and `closes` are now these."""

    works: DataMode
    closes: DataMode = DataMode.NONE


@dataclass(frozen=True, slots=True)
class LearnFeatures:
    """What this server lists of what we carry, never nothing: Settings.features of later sessions are what all do."""

    features: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class RecordTransfer:
    """A transfer has ended, well or not: complete the record with times and log it."""

    record: TransferRecord


@dataclass(frozen=True, slots=True)
class GoBlind:
    """AUTH was accepted: from here on both control connections are opaque bytes, relayed as `mode tcp` would.

    Nothing of either side is left unread in the dialogue. The engine may end the session by the rules of the relay,
    without a word to the dialogue; whoever tells it of the end (ClientLeft, ServerLeft, TimedOut) gets CloseSession.
    """


@dataclass(frozen=True, slots=True)
class CloseSession:
    """The last action of every session, exactly once: send what is queued, close everything, write the log line."""

    culprit: Culprit
    stage: Stage
    record: FtpSessionRecord


Action = (
    SendToClient
    | SendToServer
    | ChooseServer
    | LeaveServer
    | LeaseDataPort
    | DropData
    | DialServerData
    | DialClientData
    | StartTransfer
    | AbortTransfer
    | CountLoginFailure
    | BeginLogin
    | FinishLogin
    | NoteLogin
    | LearnPassive
    | LearnFeatures
    | RecordTransfer
    | GoBlind
    | CloseSession
)
