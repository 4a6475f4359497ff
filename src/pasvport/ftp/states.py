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


DOING: dict[Phase, str] = {
    Phase.NEW: "connecting",
    Phase.PENALTY: "penalty",
    Phase.LOCAL: "login",
    Phase.SUMMONING: "connecting",
    Phase.WELCOMING: "connecting",
    Phase.REPLAYING: "login",
    Phase.OPEN: "idle",
    Phase.PARTING: "leaving",
    Phase.BLIND: "tls",
    Phase.LEAVING: "leaving",
    Phase.OVER: "leaving",
}
"""What a session does, for an operator; while it is open a command, a login or a transfer may say more."""


class Transition(NamedTuple):
    """One row: in `source`, `event` is allowed and may lead to `targets` (staying is always possible)."""

    source: Phase
    event: type[Event]
    targets: frozenset[Phase]
    doc: str


_P = Phase
_STAYS: frozenset[Phase] = frozenset()
_OVER = frozenset({_P.OVER})
_AWAY = _OVER | {_P.SUMMONING}
_COMMANDS = _AWAY | {_P.LOCAL, _P.PARTING}
"""Where a command of the client, obeyed at once or held until now, may lead."""


def _row(source: Phase, event: type[Event], targets: frozenset[Phase], doc: str) -> Transition:
    return Transition(source, event, targets, doc)


def _before_login(phase: Phase, doc: str) -> tuple[Transition, ...]:
    """What the phases on the way to an open dialogue have in common."""
    return (
        _row(phase, events.ClientSent, _OVER, f"commands wait {doc}; TLS that nobody agreed to ends the session"),
        _row(phase, events.ClientLeft, _OVER, "the client gave up"),
        _row(phase, events.DrainRequested, _OVER, "421"),
        _row(phase, events.LoginLimitExceeded, frozenset({_P.PENALTY}), "the source must wait"),
        _row(phase, events.LoginAllowed, _STAYS, "noted"),
    )


def _replaceable(phase: Phase, further: frozenset[Phase]) -> tuple[Transition, ...]:
    return (
        _row(phase, events.ServerLeft, _AWAY | further, "another server"),
        _row(
            phase,
            events.TimedOut,
            _AWAY | further,
            "another server; 421 when no login came in time; after a lull a reply in doubt is over",
        ),
    )


_BEGINNING = (
    _row(_P.NEW, events.ClientConnected, frozenset({_P.LOCAL, _P.SUMMONING}), "our greeting, or a server is chosen"),
    _row(_P.NEW, events.LoginLimitExceeded, frozenset({_P.PENALTY}), "the source must wait"),
    _row(_P.PENALTY, events.TimedOut, _OVER, "421"),
    _row(_P.PENALTY, events.ClientLeft, _OVER, "the client gave up"),
    _row(_P.PENALTY, events.DrainRequested, _OVER, "421"),
    _row(_P.LOCAL, events.ClientSent, _AWAY, "answered here; USER chooses a server"),
    _row(_P.LOCAL, events.ClientLeft, _OVER, "the client left"),
    _row(_P.LOCAL, events.DrainRequested, _OVER, "421"),
    _row(_P.LOCAL, events.LoginLimitExceeded, frozenset({_P.PENALTY}), "the source must wait"),
    _row(_P.LOCAL, events.LoginAllowed, _AWAY, "USER chooses a server"),
    _row(_P.LOCAL, events.TimedOut, _OVER, "421: idle, or no login in time"),
    *_before_login(_P.SUMMONING, "for a server"),
    _row(_P.SUMMONING, events.ServerAssigned, _STAYS, "noted"),
    _row(_P.SUMMONING, events.ServerConnected, frozenset({_P.WELCOMING}), "its banner comes next"),
    _row(_P.SUMMONING, events.NoServer, _OVER, "421"),
    _row(_P.SUMMONING, events.TimedOut, _OVER, "421: no login in time"),
    *_before_login(_P.WELCOMING, "for the banner"),
    _row(
        _P.WELCOMING,
        events.ServerSent,
        _AWAY | {_P.REPLAYING, _P.OPEN, _P.PARTING},
        "2xx or 3xx opens, a refusal chooses another server, 120 waits",
    ),
    *_replaceable(_P.WELCOMING, frozenset({_P.REPLAYING, _P.OPEN, _P.PARTING})),
    *_before_login(_P.REPLAYING, "for the repetition"),
    _row(
        _P.REPLAYING,
        events.ServerSent,
        _AWAY | {_P.OPEN, _P.PARTING},
        "the next line is repeated, or the dialogue goes on",
    ),
    *_replaceable(_P.REPLAYING, frozenset({_P.OPEN, _P.PARTING})),
)

# What a data connection's end sets free may be held commands, a held QUIT, or the drain that waited for it.
_DATA = (
    _row(_P.OPEN, events.DataPortLeased, _COMMANDS, "227 or 229, once the server's port is known"),
    _row(_P.OPEN, events.LeaseFailed, _COMMANDS, "425"),
    _row(_P.OPEN, events.ServerDataConnected, _COMMANDS, "the transfer command may go, the transfer may start"),
    _row(_P.OPEN, events.ServerDataFailed, _COMMANDS, "the other way; else 425, now or at the transfer command"),
    _row(_P.OPEN, events.ClientDataConnected, _STAYS, "the transfer may start"),
    _row(_P.OPEN, events.ClientDataConflict, _COMMANDS, "425, now or at the transfer command"),
    _row(_P.OPEN, events.ClientDataFailed, _COMMANDS, "425"),
    _row(_P.OPEN, events.DataFinished, _COMMANDS, "the final reply is relayed, or a false one replaced by 426"),
)

_DIALOGUE = (
    _row(
        _P.OPEN,
        events.ClientSent,
        _COMMANDS | {_P.BLIND, _P.LEAVING},
        "commands are answered, forwarded or held; a TLS hello that the server has agreed to makes the session blind",
    ),
    _row(
        _P.OPEN,
        events.ServerSent,
        _COMMANDS | {_P.BLIND, _P.LEAVING},
        "replies are matched; 234 to AUTH makes the session blind; 421 ends it, or before login chooses another server",
    ),
    *_DATA,
    _row(
        _P.OPEN, events.ClientLeft, _OVER | {_P.LEAVING}, "after FIN what was asked is finished, a reset ends at once"
    ),
    _row(
        _P.OPEN,
        events.ServerLeft,
        _AWAY | {_P.LEAVING},
        "421, after the data of a transfer that runs; before login another server",
    ),
    _row(
        _P.OPEN,
        events.TimedOut,
        _COMMANDS | {_P.BLIND, _P.LEAVING},
        "421, 425 or 426 by which timer; before login another server; after a lull a reply in doubt is over",
    ),
    _row(_P.OPEN, events.DrainRequested, _OVER, "421 at the next moment without a transfer"),
    _row(_P.OPEN, events.LoginLimitExceeded, frozenset({_P.PENALTY, _P.LEAVING}), "the source must wait"),
    _row(_P.OPEN, events.LoginAllowed, _COMMANDS, "USER, PASS or ACCT is forwarded"),
)

_ENDS = (
    _row(_P.PARTING, events.ServerSent, _OVER, "221 is relayed"),
    _row(_P.PARTING, events.ServerLeft, _OVER, "221 is ours"),
    _row(_P.PARTING, events.ClientLeft, _OVER, "it did not wait for 221"),
    _row(_P.PARTING, events.TimedOut, _OVER, "221 is ours"),
    _row(_P.PARTING, events.DrainRequested, _OVER, "221 is ours"),
    _row(_P.BLIND, events.ClientLeft, _OVER, "the relay has ended"),
    _row(_P.BLIND, events.ServerLeft, _OVER, "the relay has ended"),
    _row(_P.BLIND, events.TimedOut, _OVER, "the relay was idle"),
    _row(_P.BLIND, events.DrainRequested, _STAYS, "cannot be told 421; `hard-stop-after` bounds it"),
    _row(_P.LEAVING, events.DataFinished, _OVER, "accounted for"),
)

_KILLED = tuple(
    _row(phase, events.SessionKilled, _OVER | {_P.LEAVING} if phase is _P.OPEN else _OVER, "421 at once")
    for phase in _P
    if phase not in (_P.NEW, _P.LEAVING, _P.OVER)
)

SESSION: tuple[Transition, ...] = (*_BEGINNING, *_DIALOGUE, *_ENDS, *_KILLED)
ALLOWED: dict[tuple[Phase, type[Event]], Transition] = {(row.source, row.event): row for row in SESSION}


class PathState(StrEnum):
    """Of a data path: from PASV (or PORT) to the end of its transfer."""

    OPENING = "Opening"
    READY = "Ready"
    CONTESTED = "Contested"
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
    PathState.CONTESTED: "two connections came to the client's port; its transfer command is answered 425",
    PathState.ASKED: "the transfer command was forwarded",
    PathState.GRANTED: "the server said 1xx, or 2xx in its place; both data connections are awaited",
    PathState.MOVING: "bytes move",
    PathState.ENDED: "the bytes have ended, the server's final reply is awaited",
    PathState.HELD: "the server's final reply is held until the bytes have ended",
    PathState.ABANDONED: "the client was told 4xx; the server's final reply is awaited and swallowed",
    PathState.GONE: "nothing is left",
}


class Step(StrEnum):
    """What moves a data path."""

    ANNOUNCED = "announced"
    CONTESTED = "second connection"
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
    (_S.READY, Step.CONTESTED): _S.CONTESTED,
    (_S.CONTESTED, Step.DROPPED): _S.GONE,
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
