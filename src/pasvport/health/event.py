"""Events a check dialogue takes (past tense) and actions it asks for (imperative)."""

from __future__ import annotations

from dataclasses import dataclass

from pasvport.address import Endpoint
from pasvport.health.result import CheckResult


@dataclass(frozen=True, slots=True)
class Connected:
    """The connection asked for is established."""


@dataclass(frozen=True, slots=True)
class BytesReceived:
    """The peer sent something; never empty."""

    data: bytes


@dataclass(frozen=True, slots=True)
class PeerClosed:
    """The peer will send no more (end of stream)."""


@dataclass(frozen=True, slots=True)
class Broken:
    """The connection failed, or could not be made; `text` is the operating system's (`Connection refused`)."""

    text: str


@dataclass(frozen=True, slots=True)
class DataSent:
    """Everything asked to be sent is with the kernel."""


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The last deadline asked for has passed."""


@dataclass(frozen=True, slots=True)
class StepTimedOut:
    """The time that WaitBriefly gave has passed; the deadline has not."""


@dataclass(frozen=True, slots=True)
class DataConnected:
    """`option ftp-check`: the data connection asked for is established."""


@dataclass(frozen=True, slots=True)
class DataReceived:
    """So many bytes came over the data connection; nobody keeps them."""

    size: int


@dataclass(frozen=True, slots=True)
class DataClosed:
    """The data connection came to its end (end of stream)."""


@dataclass(frozen=True, slots=True)
class DataBroken:
    """The data connection failed, or could not be made; `text` is the operating system's."""

    text: str


Event = (
    Connected
    | BytesReceived
    | PeerClosed
    | Broken
    | DataSent
    | TimedOut
    | StepTimedOut
    | DataConnected
    | DataReceived
    | DataClosed
    | DataBroken
)


@dataclass(frozen=True, slots=True)
class Connect:
    """Close the present connection, if any, and open a new one.

    `endpoint` None: the check's own address; `port` 0: the endpoint's, else the check's own. `linger` False: end
    it with a reset. `quiet` True: nothing will be exchanged, so the handshake's last ACK is best left unsent.
    """

    endpoint: Endpoint | None = None
    port: int = 0
    linger: bool = False
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class Send:
    """Write these bytes; DataSent follows."""

    data: bytes


@dataclass(frozen=True, slots=True)
class WaitUntil:
    """Replace the deadline: TimedOut is due this many milliseconds from now."""

    milliseconds: int


@dataclass(frozen=True, slots=True)
class WaitBriefly:
    """Beside the deadline, which goes on: StepTimedOut is due this many milliseconds from now. 0: no more."""

    milliseconds: int


@dataclass(frozen=True, slots=True)
class ConnectData:
    """Open a data connection to that port of the address that is checked, whatever address the server named."""

    port: int


@dataclass(frozen=True, slots=True)
class CloseData:
    """Close the data connection, if there is one; nothing more is heard of it."""


@dataclass(frozen=True, slots=True)
class Finish:
    """The check is over: close the connections and report. Nothing follows."""

    result: CheckResult


Action = Connect | Send | WaitUntil | WaitBriefly | ConnectData | CloseData | Finish


@dataclass(frozen=True, slots=True)
class Patience:
    """Deadlines of one check, in ms. `connect` for the connection, `reply` for what follows (None: `connect` goes on).

    HAProxy: a connection may take `inter`, or min(inter, timeout connect) once `timeout check` is set; then
    `timeout check` starts afresh, and without it `inter` covers everything.
    """

    connect: int
    reply: int | None = None

    @classmethod
    def of(cls, interval: int, connect: int | None, check: int | None) -> Patience:
        """From `inter`, `timeout connect` and `timeout check`."""
        if check and connect:
            return cls(min(interval, connect), check)
        return cls(interval, check or None)
