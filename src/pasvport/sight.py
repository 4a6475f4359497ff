"""What can be seen of a running worker: the rows that answer the runtime API's questions.

Rows travel as plain tuples; the asker reads them as these classes, whose fields have bounds (`bounds`): what a worker
tells is not believed. Ages and idle times are seconds. Numbers that identify are unique over the
workers of a generation.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

from msgspec import Meta

from pasvport.bounds import Count, Moment, Number, Octets, Seconds, Whole, Word

_WORKER_BITS = 40
"""A worker would need centuries to begin that many sessions."""


def session_id(worker: int, number: int) -> int:
    """What `show sess` shows where HAProxy shows a pointer. `number` counts the worker's sessions."""
    return (worker + 1) << _WORKER_BITS | number


def worker_of_session(identity: int) -> int:
    """The worker that a `session_id` names; below 0 for what is none."""
    return (identity >> _WORKER_BITS) - 1


class FlowSight(NamedTuple):
    """One direction of a session. `left` is seconds until the source's silence ends the session, None: never."""

    total: Whole
    ended: bool = False
    shut: bool = False
    clogged: bool = False
    spliced: bool = False
    held: Whole = 0
    read_left: Seconds | None = None
    write_left: Seconds | None = None


class SessionSight(NamedTuple):
    """One session. The addresses with `_address` in their name cost system calls: empty unless asked for.

    `accepted` is seconds since the epoch; `family` HAProxy's word for the protocol; `phase` a lower-case word;
    `entries` the stick entries that the session pins: (table, key as `show table` prints it).
    """

    identity: Whole
    worker: Whole
    number: Whole
    accepted: Moment
    age: Seconds
    client_idle: Seconds
    server_idle: Seconds
    family: Word
    client_host: Word
    client_port: Whole
    frontend: Word
    listener: Word
    listener_id: Whole
    backend: Word
    server: Word
    phase: Word
    client_descriptor: Number
    server_descriptor: Number
    upload: FlowSight
    download: FlowSight
    expires: Seconds | None
    phase_expires: Seconds | None
    retries: Whole
    redispatched: bool
    queues: tuple[Count, Count]
    entries: Annotated[tuple[tuple[Word, Word], ...], Meta(max_length=1024)] = ()
    local_address: Word = ""
    source_address: Word = ""
    server_address: Word = ""

    @property
    def bytes_in(self) -> int:
        """What the client sent."""
        return self.upload.total

    @property
    def bytes_out(self) -> int:
        """What the server sent."""
        return self.download.total


class FtpSessionSight(NamedTuple):
    """One control connection of `mode ftp`. Users and `last_command` are the client's bytes, without any secret.

    `user` is who is logged in, `failed_user` whose login was refused last. `transfers` includes one that runs;
    `doing` is a word of the dialogue's.
    """

    identity: Whole
    worker: Whole
    client: Word
    user: Octets
    frontend: Word
    backend: Word
    server: Word
    phase: Word
    age: Seconds
    idle: Seconds
    commands: Whole
    transfers: Whole
    bytes_in: Whole
    bytes_out: Whole
    last_command: Octets
    failed_user: Octets = b""
    doing: Word = ""


class TransferSight(NamedTuple):
    """One transfer that runs now. `session` is its control connection's number; `expected` bytes, -1: not known.

    `direction` is record.Direction's word, the modes are record.DataMode's; `started` is seconds since the epoch.
    """

    session: Whole
    worker: Whole
    user: Octets
    client: Word
    frontend: Word
    backend: Word
    server: Word
    direction: Word
    verb: Word
    path: Octets
    size: Whole
    expected: Whole
    started: Moment
    client_mode: Word
    server_mode: Word
    port: Whole


class LoginFailureSight(NamedTuple):
    """A login that failed lately. `user` is the name that was given, `when` seconds since the epoch."""

    when: Moment
    worker: Whole
    client: Word
    user: Octets
    frontend: Word
    backend: Word
    server: Word


class LeaseSight(NamedTuple):
    """One data port in use. `network` is whose connection it waits for; `connected`: it came."""

    frontend: Word
    port: Whole
    network: Word
    age: Seconds
    worker: Whole
    connected: bool


class ActivitySight(NamedTuple):
    """What a worker's loop did since it started. Microseconds where the name says so."""

    worker: Whole
    process_id: Whole
    epoch: Moment
    turns: Whole
    events: Whole
    longest_turn_us: Whole
    busy_us: Whole
    deferred: Whole
    sessions: Whole
    accepted: Whole
    pipes_used: Whole
    pipes_free: Whole
    descriptors: Whole
    dropped_messages: Whole
    questions: Whole


class TableSight(NamedTuple):
    """How many entries a stick table holds in one worker; `shared`: others may hold the same keys."""

    name: Word
    used: Whole
    shared: bool
