"""The dialogue of one FTP session between a client, the balancer and a server: events in, actions out.

Drive it so: `receive(event)` gives the actions to carry out, in order; then look at `timers` and `reads_client`, and
arm, disarm, read or stop reading accordingly. Answers to actions are given by further calls of `receive`, never from
within one. AbortTransfer is answered (DataFinished) before any other event. After CloseSession nothing is accepted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pasvport.errors import ProtocolError, Side
from pasvport.ftp.actions import Action
from pasvport.ftp.data_path import DataPath
from pasvport.ftp.events import (
    ClientConnected,
    ClientDataConflict,
    ClientDataConnected,
    ClientDataFailed,
    ClientLeft,
    ClientSent,
    DataFinished,
    DataPortLeased,
    DrainRequested,
    Event,
    LeaseFailed,
    LoginAllowed,
    LoginLimitExceeded,
    NoServer,
    ServerAssigned,
    ServerConnected,
    ServerDataConnected,
    ServerDataFailed,
    ServerLeft,
    ServerSent,
    SessionKilled,
    TimedOut,
    Timer,
)
from pasvport.ftp.grammar import masked
from pasvport.ftp.login import CLOSES, LOGIN_LIMIT, UNAVAILABLE
from pasvport.ftp.requests import Requests
from pasvport.ftp.states import ALLOWED, DOING, PathState, Phase
from pasvport.record import Culprit, FtpSessionRecord

_LISTS = frozenset({"LIST", "NLST", "MLSD"})


class Dialogue(Requests):
    """One session. Any event at any time is safe: what the phase does not allow is ignored.

    A peer's breach of the protocol ends the session (CloseSession names the culprit), it never raises.
    """

    __slots__ = ()

    # --- the interface --------------------------------------------------------------------------------------------

    def receive(self, event: Event) -> list[Action]:
        """The consequences of one event, in order."""
        take = _TAKEN[self._phase].get(type(event))
        if take is None:
            return []
        actions: list[Action] = []
        self._actions = actions
        try:
            take(self, event)
            self._proceed()
        except ProtocolError as broken:
            self._broken(broken)
        return actions

    @property
    def phase(self) -> Phase:
        return self._phase

    @property
    def record(self) -> FtpSessionRecord:
        """What is known of the session so far."""
        return self._record

    @property
    def last_command(self) -> bytes:
        """The client's command that was obeyed last, without any secret; empty before the first."""
        return masked(self._last) if self._last.line else b""

    @property
    def path(self) -> DataPath | None:
        """The present data path, to look at only."""
        return self._path

    @property
    def is_transferring(self) -> bool:
        """A transfer was asked for and its end has not been told."""
        return self._path is not None and self._path.is_transferring

    @property
    def doing(self) -> str:
        """What the session does: `download`, `upload`, `list`, `command`, `idle`, or a word of states.DOING."""
        path = self._path
        if self._phase is not _OPEN:
            return DOING[self._phase]
        if path is not None and path.is_transferring:
            return "list" if path.command.verb in _LISTS else str(path.direction)
        if not self._record.logged_in:
            return "login"
        return "command" if self._is_owed else DOING[_OPEN]

    @property
    def reads_client(self) -> bool:
        """Whether more of the client's bytes are wanted; False while it has sent too much ahead."""
        if self._phase in _READS_NOTHING:
            return False
        if self._client.begins_tls:
            return False
        # Few clients ever send ahead.
        if not self._held:
            return True
        return len(self._held) < self._settings.max_held and self._size_of_held() < self._settings.max_held_bytes

    @property
    def holds_commands(self) -> bool:
        """The client has sent ahead."""
        return bool(self._held)

    @property
    def held_bytes(self) -> int:
        """What is kept of both peers' words: commands sent ahead, unfinished lines, replies that wait."""
        size = self._client.held
        if self._kept is not None:
            size += len(self._kept)
        if self._held:
            size += self._size_of_held()
        return size if self._path is None else size + len(self._path.behind)

    @property
    def bytes_behind(self) -> int:
        """Of replies that wait for a transfer's end."""
        return 0 if self._path is None else len(self._path.behind)

    @property
    def timers(self) -> frozenset[Timer]:
        """The deadlines that must be running now. A timer that stays in the set goes on, it is not restarted."""
        path = self._path
        in_doubt = self._may_have_ended or (path is not None and path.awaits_word)
        return self._phase_timers() | _LULL_TIMER if in_doubt else self._phase_timers()

    def _phase_timers(self) -> frozenset[Timer]:
        if self._phase is not _OPEN:
            return _PHASE_TIMERS.get(self._phase, _NO_TIMER)
        if self._path is not None:
            return self._open_timers()
        if not self._record.logged_in:
            return _SERVER_AND_LOGIN if self._is_owed else _CLIENT_AND_LOGIN
        return self._owed_timers() if self._is_owed else _CLIENT_TIMER

    def _owed_timers(self) -> frozenset[Timer]:
        asked = self._question is not None or self._uncertain is not None
        return _SERVER_AND_PASSIVE if asked else _SERVER_TIMER

    def _open_timers(self) -> frozenset[Timer]:
        path = self._path
        if path is not None and path.is_started:
            return _TRANSFER_TIMER
        awaited = path.state if path is not None and path.awaits_client else PathState.GONE
        if awaited is PathState.GRANTED:
            return _DATA_TIMER
        if self._is_owed:
            return _SERVER_AND_DATA if awaited is PathState.ASKED else self._owed_timers()
        if awaited is PathState.READY:
            return _CLIENT_AND_DATA
        return _CLIENT_TIMER

    # --- bytes ----------------------------------------------------------------------------------------------------

    def _client_sent(self, event: ClientSent) -> None:
        self._spoken_on()
        self._client.push(event.data)

    def _server_sent(self, event: ServerSent) -> None:
        reader = self._reader
        reader.push(event.data)
        # A server that is left in the middle takes the rest of its bytes with it.
        while self._reader is reader and self._phase not in _HEARS_NO_SERVER:
            reply = reader.pull() or reader.rest()
            if reply is None:
                return
            self._replied(reply)

    # --- ends -----------------------------------------------------------------------------------------------------

    def _broken(self, broken: ProtocolError) -> None:
        """A peer broke the protocol. Before login another server may do better than this one."""
        by_client = broken.whose is Side.CLIENT
        culprit = Culprit.CLIENT_ABORT if by_client else Culprit.SERVER_ABORT
        replaceable = self._phase is not Phase.PARTING and self._is_replaceable
        if by_client or not replaceable:
            self._end(culprit, str(broken), f"Protocol error, {CLOSES}")
        else:
            self._redispatch(str(broken), culprit)

    def _client_left(self, event: ClientLeft) -> None:
        self._client_done = True
        if self._phase in (Phase.PARTING, Phase.BLIND):
            self._end(Culprit.CLIENT_ABORT if event.reset else Culprit.NONE, "the client closed")
        elif event.reset or self._phase is Phase.PENALTY or not (self._held or self._phase is Phase.OPEN):
            self._end(Culprit.CLIENT_ABORT, "the client reset the connection" if event.reset else "the client closed")

    def _server_left(self, event: ServerLeft) -> None:
        self._take_as_ended()
        self._was_all()
        if self._owes_a_final_reply:
            # lftp and wget take what came of its line for the whole.
            self._server_sent(ServerSent(b"\r\n"))
        if self._phase in _HEARS_NO_SERVER and self._phase is not Phase.BLIND:
            return
        self._server_alive = False
        path = self._path
        if self._phase is Phase.BLIND:
            self._end(Culprit.NONE, event.reason)
        elif self._phase is Phase.PARTING:
            self._say(221, "Goodbye.")
            self._end(Culprit.NONE, "QUIT")
        elif self._is_replaceable:
            self._redispatch(event.reason, Culprit.SERVER_ABORT)
        elif path is not None and path.holds_replies:
            # Its last word is known: the bytes may still arrive. Behind it curl takes 421 for the next answer.
            self._server_gone, self._refusal = event.reason, b""
        elif path is not None and path.may_flow_on:
            self._flow_on(event.reason)
        else:
            self._hung_up()
            self._end(Culprit.SERVER_ABORT, event.reason, UNAVAILABLE)

    def _timed_out(self, event: TimedOut) -> None:
        if event.which not in self.timers:
            return
        _TIMEOUTS[event.which](self, event)

    def _client_slow(self, event: TimedOut) -> None:
        if self._phase is Phase.BLIND:
            self._end(Culprit.CLIENT_TIMEOUT, "timeout client")
        else:
            self._end(Culprit.CLIENT_TIMEOUT, "timeout client", f"Timeout, {CLOSES}")

    def _server_slow(self, event: TimedOut) -> None:
        if self._phase is Phase.BLIND:
            self._end(Culprit.SERVER_TIMEOUT, "timeout server")
        elif self._phase is Phase.PARTING:
            self._say(221, "Goodbye.")
            self._end(Culprit.NONE, "QUIT, not answered in time")
        elif self._is_replaceable:
            self._redispatch("timeout server", Culprit.SERVER_TIMEOUT)
        else:
            self._end(Culprit.SERVER_TIMEOUT, "timeout server", f"The server does not answer, {CLOSES}")

    def _answer_slow(self, event: TimedOut) -> None:
        self._passive_slow()

    def _login_slow(self, event: TimedOut) -> None:
        """`timeout ftp-login`: whoever is awaited just then has used it up."""
        waits = self._phase not in (Phase.LOCAL, Phase.OPEN) or self._is_owed
        culprit = Culprit.SERVER_TIMEOUT if waits else Culprit.CLIENT_TIMEOUT
        self._end(culprit, "timeout ftp-login", f"Login timeout, {CLOSES}")

    def _data_slow(self, event: TimedOut) -> None:
        self._client_never_came()

    def _transfer_slow(self, event: TimedOut) -> None:
        self._stalled(Culprit.SERVER_TIMEOUT if event.whose is Side.SERVER else Culprit.CLIENT_TIMEOUT)

    def _lull(self, event: TimedOut) -> None:
        self._silent()

    def _penalty_over(self, event: TimedOut) -> None:
        self._end(Culprit.PROXY, LOGIN_LIMIT, f"Too many failed logins, {CLOSES}")

    def _drain(self, event: DrainRequested) -> None:
        if self._phase is Phase.BLIND:
            return
        self._draining = (event.culprit, event.reason)
        if self._phase is Phase.PARTING:
            self._say(221, "Goodbye.")
            self._end(Culprit.NONE, "QUIT")
        elif self._phase is not Phase.OPEN:
            self._end(event.culprit, event.reason, UNAVAILABLE)

    def _killed(self, event: SessionKilled) -> None:
        self._end(event.culprit, event.reason, "" if self._phase is Phase.BLIND else UNAVAILABLE)

    def _finished(self, event: DataFinished) -> None:
        path = self._path
        if self._phase is not Phase.LEAVING:
            self._data_finished(event)
        elif path is not None and path.number == event.path:
            path.note_end(event.size, event.how)
            self._path = None
            self._record_transfer(path)
            self._close()


_OPEN: Final = Phase.OPEN
_READS_NOTHING: Final = frozenset({Phase.PENALTY, Phase.LEAVING, Phase.OVER})
_HEARS_NO_SERVER: Final = frozenset({Phase.OVER, Phase.LEAVING, Phase.BLIND})
_NO_TIMER: Final[frozenset[Timer]] = frozenset()
_CLIENT_TIMER: Final = frozenset({Timer.CLIENT})
_SERVER_TIMER: Final = frozenset({Timer.SERVER})
_DATA_TIMER: Final = frozenset({Timer.DATA})
_TRANSFER_TIMER: Final = frozenset({Timer.TRANSFER})
_LULL_TIMER: Final = frozenset({Timer.LULL})
_CLIENT_AND_DATA: Final = _CLIENT_TIMER | _DATA_TIMER
_SERVER_AND_PASSIVE: Final = frozenset({Timer.SERVER, Timer.PASSIVE})
_LOGIN_TIMER: Final = frozenset({Timer.LOGIN})
_CLIENT_AND_LOGIN: Final = _CLIENT_TIMER | _LOGIN_TIMER
_SERVER_AND_LOGIN: Final = _SERVER_TIMER | _LOGIN_TIMER
_SERVER_AND_DATA: Final = _SERVER_TIMER | _DATA_TIMER
_PHASE_TIMERS: Final = {
    Phase.PENALTY: frozenset({Timer.PENALTY}),
    Phase.LOCAL: _CLIENT_AND_LOGIN,
    Phase.SUMMONING: _LOGIN_TIMER,
    Phase.WELCOMING: _SERVER_AND_LOGIN,
    Phase.REPLAYING: _SERVER_AND_LOGIN,
    Phase.PARTING: _SERVER_TIMER,
    Phase.BLIND: _CLIENT_TIMER | _SERVER_TIMER,
}

# The event's class is the key, so that each method may say exactly which event it takes.
_EVENTS: dict[type[Event], Callable[[Dialogue, Any], None]] = {
    ClientConnected: Dialogue._client_connected,
    LoginLimitExceeded: Dialogue._limit_exceeded,
    LoginAllowed: Dialogue._login_allowed,
    ServerAssigned: Dialogue._assigned,
    ServerConnected: Dialogue._connected,
    NoServer: Dialogue._no_server,
    ClientSent: Dialogue._client_sent,
    ServerSent: Dialogue._server_sent,
    ClientLeft: Dialogue._client_left,
    ServerLeft: Dialogue._server_left,
    DataPortLeased: Dialogue._leased,
    LeaseFailed: Dialogue._lease_failed,
    ServerDataConnected: Dialogue._server_data_connected,
    ServerDataFailed: Dialogue._server_data_failed,
    ClientDataConnected: Dialogue._client_data_connected,
    ClientDataConflict: Dialogue._client_data_conflict,
    ClientDataFailed: Dialogue._client_data_failed,
    DataFinished: Dialogue._finished,
    TimedOut: Dialogue._timed_out,
    DrainRequested: Dialogue._drain,
    SessionKilled: Dialogue._killed,
}

_TAKEN = {phase: {kind: _EVENTS[kind] for source, kind in ALLOWED if source is phase} for phase in Phase}
"""What is done with an event in each phase: `ALLOWED` and `_EVENTS` in one look."""

_TIMEOUTS: dict[Timer, Callable[[Dialogue, TimedOut], None]] = {
    Timer.CLIENT: Dialogue._client_slow,
    Timer.SERVER: Dialogue._server_slow,
    Timer.LOGIN: Dialogue._login_slow,
    Timer.PASSIVE: Dialogue._answer_slow,
    Timer.DATA: Dialogue._data_slow,
    Timer.TRANSFER: Dialogue._transfer_slow,
    Timer.PENALTY: Dialogue._penalty_over,
    Timer.LULL: Dialogue._lull,
}
