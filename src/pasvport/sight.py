"""What can be seen of a running worker: the rows that answer the runtime API's questions.

Rows travel as plain tuples (a wire.Answered holds nothing else); whoever receives them gives them their names back with
`SessionSight._make(row)`. Ages and idle times are seconds. Numbers that identify are unique over the workers of a
generation.
"""

from __future__ import annotations

from typing import NamedTuple

_WORKER_BITS = 40
"""A worker would need centuries to begin that many sessions."""


def session_id(worker: int, number: int) -> int:
    """What `show sess` shows where HAProxy shows a pointer. `number` counts the worker's sessions."""
    return (worker + 1) << _WORKER_BITS | number


class FlowSight(NamedTuple):
    """One direction of a session. `left` is seconds until the source's silence ends the session, None: never."""

    total: int
    ended: bool = False
    shut: bool = False
    clogged: bool = False
    spliced: bool = False
    held: int = 0
    read_left: float | None = None
    write_left: float | None = None


class SessionSight(NamedTuple):
    """One session. The addresses with `_address` in their name cost system calls: empty unless asked for.

    `accepted` is seconds since the epoch; `family` HAProxy's word for the protocol; `phase` a lower-case word;
    `entries` the stick entries that the session pins: (table, key as `show table` prints it).
    """

    identity: int
    worker: int
    number: int
    accepted: float
    age: float
    client_idle: float
    server_idle: float
    family: str
    client_host: str
    client_port: int
    frontend: str
    listener: str
    listener_id: int
    backend: str
    server: str
    phase: str
    client_descriptor: int
    server_descriptor: int
    upload: tuple[object, ...]
    download: tuple[object, ...]
    expires: float | None
    phase_expires: float | None
    retries: int
    redispatched: bool
    queues: tuple[int, int]
    entries: tuple[tuple[str, str], ...] = ()
    local_address: str = ""
    source_address: str = ""
    server_address: str = ""

    @property
    def bytes_in(self) -> int:
        """What the client sent."""
        return FlowSight._make(self.upload).total

    @property
    def bytes_out(self) -> int:
        """What the server sent."""
        return FlowSight._make(self.download).total


class FtpSessionSight(NamedTuple):
    """One control connection of `mode ftp`. `user` and `last_command` are the client's bytes, without any secret."""

    identity: int
    worker: int
    client: str
    user: bytes
    frontend: str
    backend: str
    server: str
    phase: str
    age: float
    idle: float
    commands: int
    transfers: int
    bytes_in: int
    bytes_out: int
    last_command: bytes


class TransferSight(NamedTuple):
    """One transfer that runs now. `session` is its control connection's number; `expected` bytes, -1: not known.

    `direction` is record.Direction's word, the modes are record.DataMode's; `started` is seconds since the epoch.
    """

    session: int
    worker: int
    user: bytes
    client: str
    frontend: str
    backend: str
    server: str
    direction: str
    verb: str
    path: bytes
    size: int
    expected: int
    started: float
    client_mode: str
    server_mode: str
    port: int


class LoginFailureSight(NamedTuple):
    """A login that failed lately. `user` is the name that was given, `when` seconds since the epoch."""

    when: float
    worker: int
    client: str
    user: bytes
    frontend: str
    backend: str
    server: str


class LeaseSight(NamedTuple):
    """One data port in use. `network` is whose connection it waits for; `connected`: it came."""

    frontend: str
    port: int
    network: str
    age: float
    worker: int
    connected: bool


class ActivitySight(NamedTuple):
    """What a worker's loop did since it started. Microseconds where the name says so."""

    worker: int
    process_id: int
    epoch: float
    turns: int
    events: int
    longest_turn_us: int
    busy_us: int
    deferred: int
    sessions: int
    accepted: int
    pipes_used: int
    pipes_free: int
    descriptors: int
    dropped_messages: int
    questions: int


class TableSight(NamedTuple):
    """How many entries a stick table holds in one worker; `shared`: others may hold the same keys."""

    name: str
    used: int
    shared: bool
