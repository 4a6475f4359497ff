"""Messages between supervisor and worker: frozen values, framed with a four-byte length and the number of their class.

Both ends are this package and share a UNIX stream socket; still, a worker talks to the outside and is not believed:
each end takes only the messages that are for it, and of what a worker tells every field has a bound (`bounds`), which
holds before anything is built. The body is MessagePack, written and read by msgspec by the types of the fields.
Times in messages are seconds of the monotonic clock unless a field says otherwise.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from enum import Enum
from functools import cache
from typing import Annotated, cast, get_args

import msgspec

from pasvport import model, record
from pasvport.bounds import Count, Network, Octets, Place, Seconds, Text, Whole, Word, visible
from pasvport.errors import WireError

LARGEST_FROM_SUPERVISOR = 256 << 20
"""Bytes of a message: a configuration of a million servers."""
LARGEST_FROM_WORKER = 8 << 20
PORTION = 1 << 20
"""Bytes of rows about which a worker ends a part of an answer; one row may be larger."""
MOST_ROWS = 2000
"""Rows of a part, or of a portion of entries."""
_HEAD = struct.Struct("!IB")
_LENGTH = struct.Struct("!I")
_LATIN = 0x80
"""Bit of the class's number: every text stands as the Latin-1 of its bytes, because one of them is no UTF-8."""


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

    `counters` are the files of the counters, one of each worker, of which only its own can be written; `logs` is a
    datagram socket towards the journal for targets that are streams or descriptors; `slots` maps (proxy, server, kind)
    to an eventfd semaphore, see engine.slots. `states` holds the ServerState of every server as (proxy index, server
    index, state). `config` holds nothing that a worker does not need, see control.needed.
    `hold`: be ready, but accept nothing before PauseListeners(False). `mixed`: connections of one source address may
    reach several workers, because their number has changed since the process began.
    `epoch_offset` is time.time() - time.monotonic() at start-up.
    """

    config: model.Config
    worker: int
    workers: int
    listeners: tuple[Listener, ...]
    counters: tuple[int, ...]
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
    orders: tuple[bytes, ...] = ()
    """What an operator ordered before this worker was there, as frames; done before it accepts."""


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


# The three numbers of a rate are counted by whoever believes them: msgspec up to 0.23 crashes in a garbage collection
# where a union has a bounded number and a tuple of fixed length (a test looks at all types).
_Some = Annotated[tuple[Whole, ...], msgspec.Meta(max_length=1024)]
Figure = Whole | Annotated[tuple[Whole | _Some, ...], msgspec.Meta(max_length=1024)]
"""What an entry holds of one stored type: a number, a rate, or an array of either."""


@dataclass(frozen=True, slots=True)
class EntryRow:
    """A stick entry on its way to another worker. `left` is in seconds, None for ever.

    `data` follows the table's stored types in the order of their ids; a rate is (started, current, previous), an
    array a tuple in a tuple. Empty: another worker has it.
    """

    key: Octets
    server_id: Place
    server_key: Word
    left: Seconds | None
    data: Annotated[tuple[Figure, ...], msgspec.Meta(max_length=64)] = ()


@dataclass(frozen=True, slots=True)
class TakeEntries:
    """Entries of a table as an earlier generation had them; `stores` names what `data` of the rows holds."""

    table: Word
    stores: Annotated[tuple[Word, ...], msgspec.Meta(max_length=64)]
    rows: Annotated[tuple[EntryRow, ...], msgspec.Meta(max_length=MOST_ROWS)]


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


@dataclass(frozen=True, slots=True)
class PassiveKnown:
    """`mode ftp`: by which command a server opens data ports, and at which it hangs up, as sessions learnt; or `-`."""

    proxy: int
    server: int
    works: str
    closes: str


@dataclass(frozen=True, slots=True)
class LoginsKnown:
    """`ftp-login-limit`: logins that failed before this worker, or in other ones: networks, and when it was."""

    proxy: int
    failed: tuple[tuple[str, tuple[float, ...]], ...]


# --- worker -> supervisor -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LoginAnswered:
    """Answer to LoginAsked, by its number; refused for `wait` seconds."""

    proxy: int
    number: int
    allowed: bool
    wait: float = 0.0


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker accepts."""


@dataclass(frozen=True, slots=True)
class BootFailed:
    """The worker could not start, and would not if tried again; the text is for the operator."""

    text: Text


@dataclass(frozen=True, slots=True)
class Drained:
    """After SoftStop: no session is left."""


@dataclass(frozen=True, slots=True)
class ObservedErrors:
    """`observe layer4`: connection results towards a server since the last message.

    `good` is True when a success came after the errors (which resets the count).
    """

    proxy: Place
    server: Place
    errors: Place
    good: bool


@dataclass(frozen=True, slots=True)
class EntryLearnt:
    """A stick entry stored here that other workers must know; see ShareEntry."""

    table: Word
    key: Octets
    server_id: Place


@dataclass(frozen=True, slots=True)
class EntriesTold:
    """Answer to TellEntries: some entries, by table. `last`: there are no more."""

    parts: Annotated[tuple[TakeEntries, ...], msgspec.Meta(max_length=MOST_ROWS)]
    last: bool


@dataclass(frozen=True, slots=True)
class Answered:
    """A part of the answer to an Ask, `last` with the final one. `error`: why there is none.

    `rows` are those of `encode_rows`; what they are depends on the question, which the asker knows: `read_rows`.
    """

    number: Count
    rows: Annotated[bytes, msgspec.Meta(max_length=LARGEST_FROM_WORKER)]
    last: bool
    error: Text = ""


@dataclass(frozen=True, slots=True)
class FeaturesLearnt:
    """`mode ftp`: what a server answered to FEAT; see FeaturesKnown."""

    proxy: Place
    server: Place
    features: Annotated[tuple[Annotated[bytes, msgspec.Meta(max_length=64)], ...], msgspec.Meta(max_length=64)]


PassiveWay = Annotated[str, msgspec.Meta(pattern=r"^(-|EPSV|PASV)\Z")]


@dataclass(frozen=True, slots=True)
class PassiveLearnt:
    """`mode ftp`: a session learnt how a server opens data ports, or that what was known fails; see PassiveKnown."""

    proxy: Place
    server: Place
    works: PassiveWay
    closes: PassiveWay


@dataclass(frozen=True, slots=True)
class LoginAsked:
    """`ftp-login-limit`: may a login of `network` begin at this frontend? See LoginAnswered."""

    proxy: Place
    network: Network
    number: Count


@dataclass(frozen=True, slots=True)
class LoginFailed:
    """A login of `network` that was allowed has failed, and is about to be finished."""

    proxy: Place
    network: Network


@dataclass(frozen=True, slots=True)
class LoginCounted:
    """A login of `network` has failed, which this worker counts without the supervisor: told for those that follow."""

    proxy: Place
    network: Network


@dataclass(frozen=True, slots=True)
class LoginFinished:
    """A login of `network` that was allowed is over."""

    proxy: Place
    network: Network


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the operator should read, at a syslog level (0..7); said on stderr and in the global logs."""

    level: Annotated[int, msgspec.Meta(ge=0, le=7)]
    text: Text


FromSupervisor = (
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
    | LoginAnswered
    | PassiveKnown
    | LoginsKnown
)
FromWorker = (
    Ready
    | BootFailed
    | Drained
    | ObservedErrors
    | EntryLearnt
    | EntriesTold
    | Answered
    | FeaturesLearnt
    | PassiveLearnt
    | LoginAsked
    | LoginFailed
    | LoginFinished
    | LoginCounted
    | Notice
)
Message = FromSupervisor | FromWorker

FROM_SUPERVISOR: frozenset[type] = frozenset(get_args(FromSupervisor))
FROM_WORKER: frozenset[type] = frozenset(get_args(FromWorker))
_CLASSES: tuple[type, ...] = get_args(Message)
_NUMBERS = {kind: number for number, kind in enumerate(_CLASSES)}
_ENCODER = msgspec.msgpack.Encoder()


# --- frames -------------------------------------------------------------------------------------------------------


def encode(message: Message) -> bytes:
    """One framed message. What a worker has to say to the operator is made `visible`, and all of its texts if one of
    them is no UTF-8."""
    number = _NUMBERS[type(message)]
    if isinstance(message, Notice | BootFailed):
        message = replace(message, text=visible(message.text))
    try:
        body = _ENCODER.encode(message)
    except UnicodeEncodeError:
        is_ours = type(message) in FROM_SUPERVISOR
        body = _ENCODER.encode(_with_texts(message, _as_latin if is_ours else visible))
        number |= _LATIN if is_ours else 0
    return _HEAD.pack(len(body) + 1, number) + body


def decode(body: bytes, expected: frozenset[type] = FROM_SUPERVISOR) -> Message:
    """The value of one frame's body (behind the length). Raises WireError for all but a sound one of `expected`."""
    number = body[0] if body else _LATIN
    latin = bool(number & _LATIN) and expected is not FROM_WORKER
    number &= ~_LATIN if latin else 0xFF
    kind = _CLASSES[number] if number < len(_CLASSES) else None
    if kind not in expected:
        raise WireError(f"unexpected message {kind.__name__ if kind else number}")
    value = _read(_decoder(kind), memoryview(body)[1:], kind.__name__)
    message = cast(Message, _with_texts(value, _as_bytes) if latin else value)
    return replace(message, arguments=_tuples(message.arguments)) if isinstance(message, Ask) else message


def prepare(kinds: frozenset[type]) -> None:
    """Build the readers of these now: done with the first message it leaves garbage, which a worker never collects."""
    for kind in kinds:
        _decoder(kind)


def encode_rows(rows: Iterable[tuple[object, ...]]) -> bytes:
    """Rows of an answer: tuples of plain values."""
    found = tuple(rows)
    try:
        return _ENCODER.encode(found)
    except UnicodeEncodeError:
        return _ENCODER.encode(_with_texts(found, visible))


def read_rows(rows: bytes, kind: object) -> list[tuple[object, ...]]:
    """The rows of an answer, each of which is of the type `kind`. Raises WireError."""
    return cast(list[tuple[object, ...]], _read(_rows_decoder(kind), rows, "answer")) if rows else []


@cache
def _decoder(kind: type) -> msgspec.msgpack.Decoder[object]:
    return msgspec.msgpack.Decoder(kind)


@cache
def _rows_decoder(kind: type) -> msgspec.msgpack.Decoder[object]:
    return msgspec.msgpack.Decoder(Annotated[list[kind], msgspec.Meta(max_length=MOST_ROWS)])  # type: ignore[valid-type]


def _read(decoder: msgspec.msgpack.Decoder[object], body: bytes | memoryview, name: str) -> object:
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError) as error:
        # The error quotes the path of the field, which the types name, and nothing of the message.
        raise WireError(f"bad {name}: {error}") from None


def _tuples(values: Iterable[object]) -> tuple[object, ...]:
    return tuple(_tuples(value) if isinstance(value, list) else value for value in values)


# --- texts that are no UTF-8 --------------------------------------------------------------------------------------


def _as_latin(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("latin-1")


def _as_bytes(text: str) -> str:
    return text.encode("latin-1").decode("utf-8", "surrogateescape")


def _with_texts(value: object, change: Callable[[str], str]) -> object:
    """A message, or rows, with every text changed."""
    if isinstance(value, str):
        return value if isinstance(value, Enum) else change(value)
    if isinstance(value, tuple):
        return tuple(_with_texts(each, change) for each in value)
    if not is_dataclass(value) or isinstance(value, type):
        return value
    return replace(value, **{each.name: _with_texts(getattr(value, each.name), change) for each in fields(value)})


class Deframer:
    """Incremental splitter: feed bytes as they come, iterate whole messages of those that are `expected`."""

    def __init__(self, expected: frozenset[type] = FROM_SUPERVISOR) -> None:
        self._expected = expected
        self._largest = LARGEST_FROM_WORKER if expected is FROM_WORKER else LARGEST_FROM_SUPERVISOR
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        """Yields every message completed by `data`. Raises WireError on a frame that is too large, or no message."""
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if length > self._largest:
                raise WireError(f"frame of {length} bytes")
            if len(self._buffer) < _LENGTH.size + length:
                return
            body = bytes(self._buffer[_LENGTH.size : _LENGTH.size + length])
            del self._buffer[: _LENGTH.size + length]
            yield decode(body, self._expected)
