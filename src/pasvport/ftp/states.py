"""States of a session and of a data path, and what is allowed in each: THE tables.

The dialogue looks every event up here and ignores what a phase does not allow; a data path moves by PATH alone. The
diagrams in `docs/ftp-dialogue.md` are drawn from these rows.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from pasvport.ftp import events
from pasvport.ftp.events import Event
from pasvport.record import Stage


class Phase(StrEnum):
    """Of a session."""

    NEW = "New"
    PENALTY = "Penalty"
    LOCAL = "Local"
    SUMMONING = "Summoning"
    WELCOMING = "Welcoming"
    REPLAYING = "Replaying"
    OPEN = "Open"
    PARTING = "Parting"
    BLIND = "Blind"
    LEAVING = "Leaving"
    OVER = "Over"


PHASES: dict[Phase, tuple[Stage, str]] = {
    Phase.NEW: (Stage.REQUEST, "nothing has happened yet"),
    Phase.PENALTY: (Stage.REQUEST, "the source failed too many logins: a delay, then 421"),
    Phase.LOCAL: (Stage.REQUEST, "greeted by the balancer; the server is chosen at USER"),
    Phase.SUMMONING: (Stage.CONNECT, "a server is being chosen and dialled"),
    Phase.WELCOMING: (Stage.CONNECT, "the server's banner is awaited"),
    Phase.REPLAYING: (Stage.CONNECT, "HOST, OPTS and USER are repeated to the server, its replies swallowed"),
    Phase.OPEN: (Stage.DATA, "commands and replies flow"),
    Phase.PARTING: (Stage.LAST, "QUIT was forwarded"),
    Phase.BLIND: (Stage.DATA, "TLS from end to end: bytes are relayed"),
    Phase.LEAVING: (Stage.DATA, "the session is over; its transfer was cut and is still to be accounted for"),
    Phase.OVER: (Stage.NONE, "closed"),
}
"""Second letter of the termination state (before login the stage of OPEN is REQUEST), and the meaning."""


class Transition(NamedTuple):
    """One row: in `source`, `event` is allowed and may lead to `targets` (staying is always possible)."""

    source: Phase
    event: type[Event]
    targets: frozenset[Phase]
    doc: str


_P = Phase
_END = frozenset({_P.OVER, _P.LEAVING})
_AWAY = _END | {_P.SUMMONING}
_COMMANDS = _END | {_P.LOCAL, _P.SUMMONING, _P.PARTING}


def _row(source: Phase, event: type[Event], targets: frozenset[Phase] | set[Phase], doc: str) -> Transition:
    return Transition(source, event, frozenset(targets), doc)


def _before_login(phase: Phase, doc: str) -> tuple[Transition, ...]:
    """What a phase without an open server connection has in common."""
    return (
        _row(phase, events.ClientSent, _END, f"commands wait {doc}"),
        _row(phase, events.ClientLeft, _END, "the client gave up"),
        _row(phase, events.DrainRequested, _END, "421"),
        _row(phase, events.LoginLimitExceeded, {_P.PENALTY, _P.OVER}, "the source must wait"),
    )


def _with_data(phase: Phase) -> tuple[Transition, ...]:
    """Events of data paths, and what they let go on: held commands, a held QUIT, a drain."""
    after = _COMMANDS
    return (
        _row(phase, events.DataPortLeased, after, "227 or 229, once the server's port is known"),
        _row(phase, events.LeaseFailed, after, "425"),
        _row(phase, events.ServerDataConnected, after, "the transfer may start"),
        _row(phase, events.ServerDataFailed, after, "425, now or at the transfer command"),
        _row(phase, events.ClientDataConnected, after, "the transfer may start"),
        _row(phase, events.ClientDataFailed, after, "425"),
        _row(phase, events.ClientDataRefused, after, "counted"),
        _row(phase, events.DataFinished, after, "the final reply is relayed, or a false one replaced by 426"),
    )


SESSION: tuple[Transition, ...] = (
    _row(_P.NEW, events.ClientConnected, {_P.LOCAL, _P.SUMMONING}, "our greeting, or a server is chosen"),
    _row(_P.PENALTY, events.TimedOut, _END, "421"),
    _row(_P.PENALTY, events.ClientLeft, _END, "the client gave up"),
    _row(_P.PENALTY, events.DrainRequested, _END, "421"),
    _row(_P.LOCAL, events.ClientSent, {_P.SUMMONING, *_END}, "answered here; USER chooses a server"),
    _row(_P.LOCAL, events.ClientLeft, _END, "the client left"),
    _row(_P.LOCAL, events.DrainRequested, _END, "421"),
    _row(_P.LOCAL, events.LoginLimitExceeded, {_P.PENALTY, _P.OVER}, "the source must wait"),
    _row(_P.LOCAL, events.TimedOut, _END, "421: idle"),
    *_before_login(_P.SUMMONING, "for a server"),
    _row(_P.SUMMONING, events.ServerAssigned, frozenset(), "noted"),
    _row(_P.SUMMONING, events.ServerConnected, {_P.WELCOMING}, "its banner comes next"),
    _row(_P.SUMMONING, events.NoServer, _END, "421"),
    *_before_login(_P.WELCOMING, "for the banner"),
    _row(
        _P.WELCOMING,
        events.ServerSent,
        {_P.REPLAYING, _P.OPEN, *_COMMANDS},
        "220 opens, a refusal chooses another server, 120 waits",
    ),
    _row(_P.WELCOMING, events.ServerLeft, _AWAY, "another server"),
    _row(_P.WELCOMING, events.TimedOut, _AWAY, "another server"),
    *_before_login(_P.REPLAYING, "for the repetition"),
    _row(
        _P.REPLAYING,
        events.ServerSent,
        {_P.OPEN, *_COMMANDS},
        "the next line is repeated, or the dialogue goes on",
    ),
    _row(_P.REPLAYING, events.ServerLeft, _AWAY, "another server"),
    _row(_P.REPLAYING, events.TimedOut, _AWAY, "another server"),
    _row(_P.OPEN, events.ClientSent, _COMMANDS, "commands are answered, forwarded or held"),
    _row(
        _P.OPEN,
        events.ServerSent,
        {_P.BLIND, *_COMMANDS},
        "replies are matched; 234 to AUTH makes the session blind; 421 ends it, or before login chooses another server",
    ),
    *_with_data(_P.OPEN),
    _row(_P.OPEN, events.ClientLeft, _COMMANDS, "after FIN what was asked is finished, a reset ends at once"),
    _row(_P.OPEN, events.ServerLeft, _COMMANDS, "421; before login another server"),
    _row(_P.OPEN, events.TimedOut, _COMMANDS, "421, 425 or 426 by which timer; before login another server"),
    _row(_P.OPEN, events.DrainRequested, _END, "421 at the next moment without a transfer"),
    _row(_P.OPEN, events.LoginLimitExceeded, {_P.PENALTY, _P.OVER}, "before login: the source must wait"),
    _row(_P.PARTING, events.ServerSent, _END, "221 is relayed"),
    _row(_P.PARTING, events.ServerLeft, _END, "221 is ours"),
    _row(_P.PARTING, events.ClientLeft, _END, "it did not wait for 221"),
    _row(_P.PARTING, events.TimedOut, _END, "221 is ours"),
    _row(_P.PARTING, events.DrainRequested, _END, "221 is ours"),
    _row(_P.BLIND, events.ClientLeft, _END, "the relay has ended"),
    _row(_P.BLIND, events.ServerLeft, _END, "the relay has ended"),
    _row(_P.BLIND, events.TimedOut, _END, "the relay was idle"),
    _row(
        _P.BLIND, events.DrainRequested, frozenset(), "blind sessions cannot be told 421; `hard-stop-after` bounds them"
    ),
    _row(_P.LEAVING, events.DataFinished, {_P.OVER}, "accounted for"),
)

ALLOWED: dict[tuple[Phase, type[Event]], Transition] = {(row.source, row.event): row for row in SESSION}


class PathState(StrEnum):
    """Of a data path: from PASV (or PORT) to the end of its transfer."""

    OPENING = "Opening"
    READY = "Ready"
    ASKED = "Asked"
    GRANTED = "Granted"
    MOVING = "Moving"
    ENDED = "Ended"
    HELD = "Held"
    ABANDONED = "Abandoned"
    GONE = "Gone"


PATHS: dict[PathState, str] = {
    PathState.OPENING: "a port is being leased, the server is asked for its own",
    PathState.READY: "the client was told 227, 229 or 200",
    PathState.ASKED: "the transfer command was forwarded",
    PathState.GRANTED: "the server said 1xx; both data connections are awaited",
    PathState.MOVING: "bytes move",
    PathState.ENDED: "the bytes have ended, the server's final reply is awaited",
    PathState.HELD: "the server's final reply is held until the bytes have ended",
    PathState.ABANDONED: "the client was told 4xx; the server's final reply is awaited and swallowed",
    PathState.GONE: "nothing is left",
}


class Step(StrEnum):
    """What moves a data path."""

    ANNOUNCED = "announced"
    DROPPED = "dropped"
    ASKED = "transfer command"
    GRANTED = "1xx"
    STARTED = "both connected"
    DATA_ENDED = "data ended"
    FINAL = "final reply"
    ABANDONED = "4xx told"


_S = PathState
PATH: dict[tuple[PathState, Step], PathState] = {
    (_S.OPENING, Step.ANNOUNCED): _S.READY,
    (_S.OPENING, Step.DROPPED): _S.GONE,
    (_S.READY, Step.DROPPED): _S.GONE,
    (_S.READY, Step.ASKED): _S.ASKED,
    (_S.ASKED, Step.GRANTED): _S.GRANTED,
    (_S.ASKED, Step.FINAL): _S.GONE,
    (_S.ASKED, Step.ABANDONED): _S.ABANDONED,
    (_S.ASKED, Step.DROPPED): _S.GONE,
    (_S.GRANTED, Step.STARTED): _S.MOVING,
    (_S.GRANTED, Step.FINAL): _S.GONE,
    (_S.GRANTED, Step.ABANDONED): _S.ABANDONED,
    (_S.GRANTED, Step.DROPPED): _S.GONE,
    (_S.MOVING, Step.DATA_ENDED): _S.ENDED,
    (_S.MOVING, Step.FINAL): _S.HELD,
    (_S.ENDED, Step.FINAL): _S.GONE,
    (_S.ENDED, Step.DROPPED): _S.GONE,
    (_S.HELD, Step.DATA_ENDED): _S.GONE,
    (_S.ABANDONED, Step.FINAL): _S.GONE,
    (_S.ABANDONED, Step.DROPPED): _S.GONE,
}
"""A step that has no row here is ignored."""
