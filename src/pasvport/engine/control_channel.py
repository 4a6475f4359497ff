"""The control channel of an FTP session: what the dialogue decides is carried out here.

A control channel is a session like any other, with accept, queue, slot, retries, counters and log line; but its two
connections are not relayed: what either peer says goes through `ftp.dialogue`. After AUTH TLS (`option ftp-auth-tls
pass`) it turns into the relay that it would be in `mode tcp`.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from typing import Any

from pasvport.engine.backends import LiveBackend
from pasvport.engine.connected import dialled_address, shut_writing
from pasvport.engine.dialer import literal_address
from pasvport.engine.frontends import Doorway
from pasvport.engine.loop import EDGE, INWARD
from pasvport.engine.pump import CLOGGED
from pasvport.engine.seeker import ASSIGNING, CONNECTING, ESTABLISHED, OVER, QUEUED, RETRYING
from pasvport.engine.session import Session
from pasvport.engine.timers import NEVER
from pasvport.engine.transfers import Transfers
from pasvport.ftp.actions import (
    AbortTransfer,
    Action,
    BeginLogin,
    ChooseServer,
    CloseSession,
    CountLoginFailure,
    DialClientData,
    DialServerData,
    DropData,
    FinishLogin,
    GoBlind,
    LearnFeatures,
    LearnPassive,
    LeaseDataPort,
    LeaveServer,
    NoteLogin,
    RecordTransfer,
    StartTransfer,
)
from pasvport.ftp.events import (
    ClientConnected,
    LoginAllowed,
    LoginLimitExceeded,
    NoServer,
    ServerAssigned,
    ServerConnected,
    SessionKilled,
    Timer,
)
from pasvport.record import Admin, Culprit, DataMode, Direction, SessionRecord, Stage
from pasvport.sight import FtpSessionSight, LoginFailureSight, session_id
from pasvport.wire import Notice, PassiveLearnt

_FAREWELL = 5.0
"""Seconds that a client may take to read our last words."""
_CHUNK = 16 * 1024
_MOST_CHUNKS = 16
"""Thrown away at the end; who sent more ahead, or sends on, is reset."""
_NO_TIMERS: frozenset[Timer] = frozenset()
_NOTHING = (0, 0, 0)
_BETWEEN_CHOICES = 1.0
"""Seconds between two servers that one client is given for one user after another."""
_SEARCHING = (QUEUED, CONNECTING, RETRYING)


class ControlChannel(Transfers):
    """One session in `mode ftp`."""

    __slots__ = (
        "_user",
        "_virtual_host",
        "choice",
        "credited",
        "logs_in",
        "next_choice",
        "pins_user",
        "stop_stage",
        "waits_to_log_in",
    )

    def __init__(self, doorway: Doorway, descriptor: int, host: str, port: int, number: int) -> None:
        Transfers.__init__(self, doorway, descriptor, host, port, number)
        if self.backend is not None:
            self.patience = self.service.patience(self.backend)
        self.backend = None
        self._user = self._virtual_host = b""
        self.logs_in = self.waits_to_log_in = False
        """A login that `ftp-login-limit` allowed is with the server; or waits for those of others."""
        self.choice: ChooseServer | None = None
        """A server is to be chosen at the present deadline."""
        self.next_choice = 0.0
        """When another server may be chosen for another user; the first change of mind is free."""
        self.pins_user = False
        """Stick entries of the user are in use."""
        self.credited = _NOTHING
        """Bytes that were counted in stick entries, of users before this one."""
        self.stop_stage = Stage.NONE
        """Where the search for a server ended, if it was in vain."""

    @property
    def user(self) -> bytes:
        """What USER said, for keys."""
        return self._user

    @property
    def virtual_host(self) -> bytes:
        """What HOST said (RFC 7151), for keys."""
        return self._virtual_host

    # --- life -----------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Accepted and counted: greet, or find a server."""
        plant, service = self.plant, self.service
        plant.loop.add(self.client, self, INWARD)
        self.dialled = self.doorway.address or dialled_address(self.client)
        self.pool = service.ports.pool_for(self.dialled)
        host = self.host if self.host != "unix" else "127.0.0.1"
        advertise = service.advertised(self.doorway.bind, self.pool, host, self.dialled)
        if service.logins.exceeded(self.host, plant.loop.now):
            plant.cells[service.cells.ftp_refused] += 1
            self._events.append(LoginLimitExceeded())
        else:
            self._events.append(ClientConnected(host, advertise))
        self._tell_all()

    def carry_out(self, action: Action) -> None:
        """Do what the dialogue wants, beyond speaking."""
        _CARRY_OUT[type(action)](self, action)

    def kill(self, culprit: Culprit) -> None:
        """End at once because somebody outside decided so; what moves is cut, and the client is told 421."""
        if self.blind:
            Session.kill(self, culprit)
        else:
            self.tell(SessionKilled(_KILLERS.get(culprit, "killed"), culprit))

    def failed(self, error: Exception) -> None:
        """A bug met while this session was served: it ends, the others go on."""
        self._events.clear()
        if self.data is not None:
            self.data.drop()
        Session.failed(self, error)

    # --- the server -----------------------------------------------------------------------------------------------

    def _choose_server(self, action: ChooseServer) -> None:
        if action.user:
            self._user, self._virtual_host = action.user, action.virtual_host
        now = self.plant.loop.now
        if action.again:
            self.direct = False
            self._assign(None)
        elif now < self.next_choice:
            self.choice = action
            self.phase = RETRYING
            self._wait_until(self.next_choice)
        else:
            if self.connected_at:
                self.next_choice = now + _BETWEEN_CHOICES
            self._choose_now()

    def _retry(self) -> None:
        if self.choice is None:
            Transfers._retry(self)
        else:
            self.choice = None
            self.next_choice = self.plant.loop.now + _BETWEEN_CHOICES
            self._choose_now()

    def feed(self) -> None:
        """Descriptors may be free again."""
        if self.choice is None:
            Transfers.feed(self)

    def _choose_now(self) -> None:
        backend = self.service.route(self)
        if backend is not self.backend:
            self._enter(backend)
        if backend is None:
            self._stop(Culprit.SERVER_ABORT, Stage.CONNECT)
            return
        self.pick = None
        server = backend.named(self) or (backend.persistent(self) if backend.rules else None)
        if server is not None and server.state.admin & Admin.DRAIN:
            # In `mode tcp` a client that the table knows must still come, for its data connections; here it need not.
            server = None
        self.direct = server is not None
        self._assign(server)

    def _enter(self, backend: LiveBackend | None) -> None:
        plant, former = self.plant, self.backend
        if former is not None:
            plant.cells[former.cells.scur] -= 1
        self.backend = backend
        if backend is not None:
            plant.counters.enter(backend.cells)
            self.patience = self.service.patience(backend)

    def _stop(self, culprit: Culprit, stage: Stage) -> None:
        """No server was found or reached: the client is told by the dialogue, which then ends the session."""
        if self.blind:
            Session._stop(self, culprit, stage)
            return
        self.stop_stage = stage
        self.tell(NoServer("no server is available", culprit))

    def _may_go_elsewhere(self, backend: LiveBackend) -> bool:
        """Before the login one server is as good as another; only a login has consequences."""
        return (not self.blind and backend.pool.active > 1) or Session._may_go_elsewhere(self, backend)

    def _retry_delay(self, backend: LiveBackend, elsewhere: bool) -> float:
        return 0.0 if elsewhere and backend.pool.active > 1 else Session._retry_delay(self, backend, elsewhere)

    def establish(self) -> None:
        """The server is connected: its banner comes next."""
        if self.blind:
            Session.establish(self)
            return
        server = self.pick
        assert server is not None
        self.server_seen = self.plant.loop.now
        self._events.append(ServerAssigned(server.model.name, literal_address(self, server), server.passive))
        self.tell(ServerConnected())
        if self.drain_asked is not None and self.phase is not OVER:
            # While a server was searched, only the search had deadlines.
            self._watch_deadlines()

    def _leave_server(self, action: LeaveServer) -> None:
        if self.phase is QUEUED:
            assert self.backend is not None
            self.backend.leave_queue(self, self.queue_owner)
            self.queue_owner = None
        self.choice = None
        if self.pins_user:
            self.release_entries(self.bytes_in, self.bytes_out)
        self.speak()
        self._hang_up_server()
        self.to_server.clear()
        self.server_held = False
        self._release_server()
        self.phase = ASSIGNING
        self.deadline = NEVER

    # --- logins ---------------------------------------------------------------------------------------------------

    def _count_failure_of_login(self, action: CountLoginFailure) -> None:
        now, service = self.plant.loop.now, self.service
        for cells in self.owners_of_events():
            self.plant.cells[cells.ftp_login_fail] += 1
        service.logins.count(self.host, now)
        service.count_in_tables(self, action.user, self.backend, self.dialogue.record.login_failures)
        self.plant.login_failures.append(self._failed_login(action.user, now))
        if service.logins.exceeded(self.host, now):
            self.login_refused()

    def _failed_login(self, user: bytes, now: float) -> LoginFailureSight:
        return LoginFailureSight(
            now + self.plant.epoch_offset,
            self.plant.counters.worker,
            self.host,
            user,
            *self.names(),
        )

    def _begin_login(self, action: BeginLogin) -> None:
        if self.logs_in:
            # Another server is asked what one that is gone did not answer.
            self.tell(LoginAllowed())
            return
        self.waits_to_log_in = True
        self.service.logins.begin(self.host, self, self.plant.loop.now)

    def login_allowed(self) -> None:
        """`ftp-login-limit` lets this session's login go on."""
        self.waits_to_log_in, self.logs_in = False, True
        self.tell(LoginAllowed())

    def login_refused(self) -> None:
        """`ftp-login-limit` does not: the client's network failed too often."""
        self.waits_to_log_in = False
        self.plant.cells[self.service.cells.ftp_refused] += 1
        self.tell(LoginLimitExceeded())

    def _finish_login(self, action: FinishLogin) -> None:
        if self.logs_in:
            self.logs_in = False
            self.service.logins.finish(self.host, self.plant.loop.now)

    def _note_login(self, action: NoteLogin) -> None:
        for cells in self.owners_of_events():
            self.plant.cells[cells.ftp_login] += 1
        backend, server = self.backend, self.pick
        # Who logs in as somebody else where he is has no say in where that user's sessions go.
        if backend is not None and backend.learns_users and server is not None and action.user == self._user:
            self.pins_user = True
            backend.learn_user(self, server)

    def _learn_passive(self, action: LearnPassive) -> None:
        """The sessions of this worker know it already; those of others shall."""
        if self.pick is None or self.backend is None:
            return
        place = self.backend.proxy.index, self.pick.index
        self.plant.tell(PassiveLearnt(*place, str(action.works), str(action.closes)))
        if action.closes is not DataMode.NONE:
            _, backend, server = self.names()
            text = f"server {backend}/{server} closed its control connection at {action.closes}"
            self.plant.tell(Notice(4, f"{text}: it is asked with {action.works} from now on"))

    def _learn_features(self, action: LearnFeatures) -> None:
        if self.backend is not None and self.pick is not None:
            self.service.learnt_features(self.backend, self.pick, action.features)

    # --- blind ----------------------------------------------------------------------------------------------------

    def _go_blind(self, action: GoBlind) -> None:
        """From here on bytes are relayed; what has not left yet goes first."""
        self.speak()
        self.forget_held()
        self.blind = True
        if self.data is not None:
            self.data.drop()
        self.service.went_blind(self)
        if self.backend is not None:
            self.patience = self.service.patience(self.backend, blind=True)
        Session.establish(self)
        upload, download = self.upload, self.download
        assert upload is not None
        assert download is not None
        upload.taken = upload.total = self.heard
        download.taken = download.total = self.spoken
        for pump, waiting in ((upload, self.to_server), (download, self.to_client)):
            if waiting:
                pump.held = bytes(waiting)
                pump.state = CLOGGED
                waiting.clear()
        self.plant.loop.defer(_Awakening(self))

    # --- the end --------------------------------------------------------------------------------------------------

    def _close_session(self, action: CloseSession) -> None:
        """Everything was said: let the client read it, then close."""
        culprit, stage = action.culprit, action.stage
        if self.stop_stage is not Stage.NONE:
            stage = self.stop_stage
        self.speak()
        if not self.to_client:
            self.end(culprit, stage)
            return
        if self.phase in _SEARCHING:
            self._leave_server(LeaveServer())
        self.farewell = (culprit, stage)
        self.timers = _NO_TIMERS
        self.wake_by(self.plant.loop.now + _FAREWELL)

    def close_both(self, *, reset_client: bool, reset_server: bool) -> None:
        """An orderly end for the client, even if it said more than was read; what is said last is sent before."""
        self.farewell = None
        self.speak()
        if self.client_held and not self.blind and not reset_client:
            shut_writing(self.client)
            self._throw_away()
        Session.close_both(self, reset_client=reset_client, reset_server=reset_server)

    def _throw_away(self) -> None:
        # Unread bytes would turn close() into a reset, which may overtake our last words.
        try:
            for _ in range(_MOST_CHUNKS):
                if len(os.read(self.client, _CHUNK)) < _CHUNK:
                    return
        except OSError:
            pass

    def over(self, culprit: Culprit, stage: Stage) -> None:
        """The control connections are given up; so is everything else."""
        self.forget_held()
        if self.data is not None:
            self.data.drop()
        if self.blind:
            self.service.left_blind(self)
        if self.waits_to_log_in:
            self.service.logins.leave(self.host, self)
        self._finish_login(FinishLogin())
        try:
            Transfers.over(self, culprit, stage)
        finally:
            # The connections know their session: without this, only a full collection would free the two, and there
            # are none.
            self.data = None

    def release_entries(self, bytes_in: int, bytes_out: int) -> None:
        """As every session's; users who follow one another on a connection are credited with their own bytes."""
        before, self.credited = self.credited, (bytes_in, bytes_out, 0)
        self.pins_user = False
        if self.entries is not None:
            Transfers.release_entries(self, bytes_in - before[0], bytes_out - before[1])

    # --- counting and the record ----------------------------------------------------------------------------------

    @property
    def bytes_in(self) -> int:
        """Bytes the client sent: commands and uploads."""
        upload = self.upload
        control = self.heard if upload is None else upload.taken
        return control + self.dialogue.record.bytes_in + self.moving(Direction.UPLOAD)

    @property
    def bytes_out(self) -> int:
        """Bytes the server sent: replies and downloads."""
        download = self.download
        control = self.spoken if download is None else download.taken
        return control + self.dialogue.record.bytes_out + self.moving(Direction.DOWNLOAD)

    def count_bytes(self) -> None:
        """Add what has passed since the last time."""
        inward, outward = self.bytes_in, self.bytes_out
        cells, more_in, more_out = self.plant.cells, inward - self.counted[0], outward - self.counted[1]
        for owner in self._owners():
            cells[owner.bin] += more_in
            cells[owner.bout] += more_out
        cells[self.plant.process.bytes_out] += more_out
        self.counted = (inward, outward, 0)

    def ftp_summary(self) -> FtpSessionSight:
        """How the session stands, for whoever asks."""
        dialogue, now, worker = self.dialogue, self.plant.loop.now, self.plant.counters.worker
        return FtpSessionSight(
            session_id(worker, self.number),
            worker,
            self.host,
            dialogue.record.user,
            *self.names(),
            str(dialogue.phase).lower(),
            now - self.accepted_at,
            now - self.client_seen,
            dialogue.record.commands,
            dialogue.record.transfers + dialogue.is_transferring,
            self.bytes_in,
            self.bytes_out,
            dialogue.last_command,
            dialogue.record.failed_user,
            dialogue.doing,
        )

    def record(self, culprit: Culprit, stage: Stage) -> SessionRecord:
        """As every session's, with what FTP knows more."""
        record = Session.record(self, culprit, stage)
        record.backend = self.backend.proxy.name if self.backend is not None else self.doorway.frontend.proxy.name
        record.ftp = self.dialogue.record
        return record


class _Awakening:
    """The first turn of a session that went blind: edges that came before were spent on the dialogue."""

    __slots__ = ("session",)

    def __init__(self, session: ControlChannel) -> None:
        self.session = session

    def resume(self) -> None:
        session = self.session
        for descriptor in (session.client, session.server):
            if session.phase is ESTABLISHED:
                session.relay_events(descriptor, EDGE & ~select.EPOLLET & ~select.EPOLLPRI & ~select.EPOLLRDHUP)

    def failed(self, error: Exception) -> None:
        self.session.failed(error)


_KILLERS = {
    Culprit.DOWN: "the server is down",
    Culprit.UP: "a better server is up",
    Culprit.KILLED: "killed by the administrator",
}

_CARRY_OUT: dict[type[Action], Callable[[ControlChannel, Any], None]] = {
    ChooseServer: ControlChannel._choose_server,
    LeaveServer: ControlChannel._leave_server,
    LeaseDataPort: ControlChannel.lease_port,
    DropData: ControlChannel.drop_data,
    DialServerData: ControlChannel.dial_server_data,
    DialClientData: ControlChannel.dial_client_data,
    StartTransfer: ControlChannel.start_transfer,
    AbortTransfer: ControlChannel.abort_transfer,
    CountLoginFailure: ControlChannel._count_failure_of_login,
    BeginLogin: ControlChannel._begin_login,
    FinishLogin: ControlChannel._finish_login,
    NoteLogin: ControlChannel._note_login,
    LearnPassive: ControlChannel._learn_passive,
    LearnFeatures: ControlChannel._learn_features,
    RecordTransfer: ControlChannel.record_transfer,
    GoBlind: ControlChannel._go_blind,
    CloseSession: ControlChannel._close_session,
}
