"""Messages between supervisor and worker: frozen values, framed with a four-byte length.

Both ends are this package and share a UNIX stream socket; still, a worker talks to the outside and is not believed
blindly: the decoder builds only the classes named in `_ALLOWED`, whatever the bytes say.
Times in messages are seconds of the monotonic clock unless a field says otherwise.
"""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from types import ModuleType
from typing import get_args

from pasvport import address, model, record
from pasvport.errors import WireError

MAX_MESSAGE = 256 * 1024 * 1024
_HEAD = struct.Struct("!I")


# --- supervisor -> worker -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Listener:
    """One listening descriptor the worker inherited: for which bind of which proxy, on which port (0: no port)."""

    proxy: int
    bind: int
    port: int
    descriptor: int


@dataclass(frozen=True, slots=True)
class Start:
    """First message: everything a worker needs. Descriptor numbers are valid in the worker (inherited).

    `counters` is the memfd of the shared counters; `logs` a datagram socket towards the journal for targets that are
    streams or descriptors; `slots` maps (proxy, server, kind) to an eventfd semaphore, see engine.slots.
    `states` holds the ServerState of every server as (proxy index, server index, state).
    `hold`: be ready, but accept nothing before PauseListeners(False). `mixed`: connections of one source address may
    reach several workers, because their number has changed since the process began.
    `epoch_offset` is time.time() - time.monotonic() at start-up.
    """

    config: model.Config
    worker: int
    workers: int
    listeners: tuple[Listener, ...]
    counters: int
    logs: int
    slots: tuple[tuple[str, int], ...]
    states: tuple[tuple[int, int, record.ServerState], ...]
    process_id: int
    uid: int | None = None
    gid: int | None = None
    chroot: str | None = None
    descriptor_limit: int = 0
    hold: bool = False
    mixed: bool = False
    orders: tuple[Message, ...] = ()
    """What an operator ordered before this worker was there; done before it accepts."""


@dataclass(frozen=True, slots=True)
class ServerChanged:
    """A server's state changed; `cause` is for on-marked-down/up: "down", "up" or ""."""

    proxy: int
    server: int
    state: record.ServerState
    cause: str = ""


@dataclass(frozen=True, slots=True)
class ShareEntry:
    """A stick entry learnt by another worker (tables whose keys are not a function of the source address)."""

    table: str
    key: bytes
    server_id: int


@dataclass(frozen=True, slots=True)
class SoftStop:
    """Serve no new client; leave when the last session ends. Sessions in mode ftp are drained.

    `reload`: another generation of this process serves; sessions are in nobody's way, and stay unless
    `ftp-drain-idle` says otherwise. Said again without it, the process is about to leave: they are drained for that.
    """

    reload: bool = False


@dataclass(frozen=True, slots=True)
class HardStop:
    """Close every session now and exit."""


@dataclass(frozen=True, slots=True)
class CloseListeners:
    """Somebody else serves these ports now: close the listening sockets.

    `serve` names the descriptors whose queues must be served first, since nobody else will; None: all.
    """

    serve: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class TellEntries:
    """A reload: tell the stick entries, about `count` at a time, one EntriesTold for each of these.

    `begin`: from the first one. Without `changed` that is all of them; with it those used since that began, and from
    then on what sessions learn is told as it happens, whatever the table.
    """

    count: int
    begin: bool = False
    changed: bool = False


@dataclass(frozen=True, slots=True)
class EntryRow:
    """A stick entry on its way to another worker. `left` is in seconds, None for ever.

    `data` follows the table's stored types in the order of their ids; a rate is (started, current, previous), an
    array a tuple in a tuple. Empty: another worker has it.
    """

    key: bytes
    server_id: int
    server_key: str
    left: float | None
    data: tuple[object, ...] = ()


@dataclass(frozen=True, slots=True)
class TakeEntries:
    """Entries of a table as an earlier generation had them; `stores` names what `data` of the rows holds."""

    table: str
    stores: tuple[str, ...]
    rows: tuple[EntryRow, ...]


@dataclass(frozen=True, slots=True)
class PauseListeners:
    """SIGTTOU: stop accepting; SIGTTIN resumes (`paused` False)."""

    paused: bool


@dataclass(frozen=True, slots=True)
class FrontendClosed:
    """`disable frontend` and `shutdown frontend`: accept nothing for it, whatever else is told; `enable` ends that."""

    proxy: int
    closed: bool


@dataclass(frozen=True, slots=True)
class RatesLimited:
    """`set rate-limit ... global`: the process's limits, over all workers. 0: none."""

    connections_per_second: int
    sessions_per_second: int


@dataclass(frozen=True, slots=True)
class ServerReplaced:
    """`set server ... addr`: new connections to the server go to the address and port of this model."""

    proxy: int
    server: int
    model: model.Server


@dataclass(frozen=True, slots=True)
class Ask:
    """A question of the runtime API to a worker, or an order whose outcome is told.

    `what` names it (engine.queries has the table), `arguments` are plain values (str, int, bytes, tuples of them).
    It is answered by one or more Answered with the same number.
    """

    number: int
    what: str
    arguments: tuple[object, ...] = ()


@dataclass(frozen=True, slots=True)
class FeaturesKnown:
    """`mode ftp`: what every server of a backend is known to do (FEAT names), as some worker or check learnt."""

    proxy: int
    features: tuple[bytes, ...]


# --- worker -> supervisor -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker accepts."""


@dataclass(frozen=True, slots=True)
class BootFailed:
    """The worker could not start, and would not if tried again; the text is for the operator."""

    text: str


@dataclass(frozen=True, slots=True)
class Drained:
    """After SoftStop: no session is left."""


@dataclass(frozen=True, slots=True)
class ObservedErrors:
    """`observe layer4`: connection results towards a server since the last message.

    `good` is True when a success came after the errors (which resets the count).
    """

    proxy: int
    server: int
    errors: int
    good: bool


@dataclass(frozen=True, slots=True)
class EntryLearnt:
    """A stick entry stored here that other workers must know; see ShareEntry."""

    table: str
    key: bytes
    server_id: int


@dataclass(frozen=True, slots=True)
class EntriesTold:
    """Answer to TellEntries: some entries, by table. `last`: there are no more."""

    parts: tuple[TakeEntries, ...]
    last: bool


@dataclass(frozen=True, slots=True)
class Answered:
    """A part of the answer to an Ask: rows of plain values; `last` with the final part. `error`: why there is none."""

    number: int
    rows: tuple[tuple[object, ...], ...]
    last: bool
    error: str = ""


@dataclass(frozen=True, slots=True)
class FeaturesLearnt:
    """`mode ftp`: a server lists fewer features than its backend was known for; see FeaturesKnown."""

    proxy: int
    features: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the operator should read, at a syslog level (0..7); said on stderr and in the global logs."""

    level: int
    text: str


Message = (
    Start
    | ServerChanged
    | ShareEntry
    | SoftStop
    | HardStop
    | CloseListeners
    | PauseListeners
    | FrontendClosed
    | RatesLimited
    | ServerReplaced
    | TellEntries
    | TakeEntries
    | Ask
    | FeaturesKnown
    | Ready
    | BootFailed
    | Drained
    | ObservedErrors
    | EntryLearnt
    | EntriesTold
    | Answered
    | FeaturesLearnt
    | Notice
)

_MESSAGES = frozenset(get_args(Message))


def _classes(home: ModuleType) -> dict[tuple[str, str], type]:
    """What a module or package of ours defines, by the two names that a pickle gives a class."""
    return {
        (kind.__module__, kind.__name__): kind
        for kind in vars(home).values()
        if isinstance(kind, type) and kind.__module__.startswith(home.__name__)
    }


_ALLOWED = _classes(address) | _classes(model) | _classes(record)
_ALLOWED |= {(__name__, kind.__name__): kind for kind in (*_MESSAGES, Listener, EntryRow)}


class _Pickler(pickle.Pickler):
    """Writes a member of an enumeration as its class and value.

    Python 3.11.0 to 3.11.3 (Debian 12 has 3.11.2) would write a call of `getattr`, which the reader rightly refuses.
    """

    def reducer_override(self, value: object) -> tuple[type[Enum], tuple[object]]:
        return (type(value), (value.value,)) if isinstance(value, Enum) else NotImplemented


class _Unpickler(pickle.Unpickler):
    """Builds values of our own value modules and of this one, nothing else."""

    def find_class(self, module: str, name: str) -> type:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise WireError(f"message names {module}.{name}, which is not part of the wire") from None


def encode(message: Message) -> bytes:
    """One framed message."""
    buffer = io.BytesIO()
    _Pickler(buffer, protocol=5).dump(message)
    body = buffer.getvalue()
    return _HEAD.pack(len(body)) + body


def decode(body: bytes) -> Message:
    """The value of one frame's body. Raises WireError for anything that is not one of ours."""
    try:
        value = _Unpickler(io.BytesIO(body)).load()
    except WireError:
        raise
    except Exception as error:  # a damaged pickle may raise nearly anything; all of it means the same here
        raise WireError(f"undecodable message: {error}") from error
    if type(value) not in _MESSAGES:
        raise WireError(f"not a message: {type(value).__name__}")
    return value  # type: ignore[no-any-return]


class Deframer:
    """Incremental splitter: feed bytes as they come, iterate whole messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        """Yields every message completed by `data`. Raises WireError on a frame larger than MAX_MESSAGE."""
        self._buffer += data
        while len(self._buffer) >= _HEAD.size:
            (length,) = _HEAD.unpack_from(self._buffer)
            if length > MAX_MESSAGE:
                raise WireError(f"frame of {length} bytes")
            if len(self._buffer) < _HEAD.size + length:
                return
            body = bytes(self._buffer[_HEAD.size : _HEAD.size + length])
            del self._buffer[: _HEAD.size + length]
            yield decode(body)
