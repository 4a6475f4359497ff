"""What every part of the dialogue stands on: phase, channels, expected replies, the session's record and its end."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum, auto
from typing import Final

from pasvport.address import Family, family_of, unmapped
from pasvport.errors import ProtocolError, Side
from pasvport.ftp.actions import (
    AbortTransfer,
    Action,
    CloseSession,
    DropData,
    RecordTransfer,
    SendToClient,
    SendToServer,
)
from pasvport.ftp.data_path import DataPath
from pasvport.ftp.grammar import CRLF, NO_COMMAND, Command, Reply, ReplyReader, rendered
from pasvport.ftp.lines import LineSplitter
from pasvport.ftp.passive import KnownPassive
from pasvport.ftp.settings import Settings
from pasvport.ftp.states import PHASES, PathState, Phase, Step
from pasvport.record import (
    NO_SERVER,
    Culprit,
    Direction,
    FtpSessionRecord,
    Stage,
    TransferRecord,
)

NO_VERB = "-"
"""Of a transfer that never was asked for, and is recorded because somebody came for it who may not have been asked."""
_SYNCH_ABOR = b"\xff\xf4\xff\xf2"
_DATA_MARK = 3
_MOST_BEHIND = 256 * 1024
"""Bytes of replies kept for a client that has not got all of its data: more than it can have asked for."""
_POLITE = frozenset({Phase.REPLAYING, Phase.OPEN})


class Purpose(StrEnum):
    """Why a reply is expected: what will be done with it."""

    RELAY = auto()
    REPLAYED = auto()
    REMEMBER = auto()
    LOGIN = auto()
    PASSIVE = auto()
    TRANSFER = auto()
    ABORT = auto()
    FEATURES = auto()
    AUTHENTICATE = auto()
    REINITIALIZE = auto()
    QUIT = auto()
    REPLAY = auto()


_REPLAY: Final = Purpose.REPLAY
_TRANSFER: Final = Purpose.TRANSFER


class Expected:
    """One reply that the server owes. `told`: the client has its answer already, or was never to see one.

    `doubtful`: it may never come, nobody waits for it: an answer to ABOR, or (PASSIVE) one that was given up.
    """

    __slots__ = ("command", "doubtful", "preliminary", "purpose", "told")

    def __init__(self, purpose: Purpose, command: Command) -> None:
        self.purpose = purpose
        self.command = command
        self.preliminary = False
        self.doubtful = False
        self.told = purpose is _REPLAY


class Ground:
    """State of one session. Subclasses add floors; each may use those below it."""

    __slots__ = (
        "_actions",
        "_advertise",
        "_client",
        "_client_done",
        "_client_host",
        "_data_type",
        "_draining",
        "_epsv_all",
        "_expected",
        "_family",
        "_held",
        "_known",
        "_last",
        "_no_data",
        "_path",
        "_paths",
        "_phase",
        "_question",
        "_reader",
        "_record",
        "_restart",
        "_server_alive",
        "_server_gone",
        "_server_host",
        "_settings",
        "_tls_offered",
        "_unanswered_ports",
        "_uncertain",
        "_verdict",
    )

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._phase = Phase.NEW
        self._actions: list[Action] = []
        self._record = FtpSessionRecord()
        self._client = LineSplitter(settings.max_line, finds_tls=True)
        self._reader = ReplyReader(settings.max_reply)
        # A deque's first block is 600 bytes, which an idle session would keep; these hold a few things at most.
        self._expected: list[Expected] = []
        self._held: list[Command] = []
        self._client_host = self._advertise = self._server_host = ""
        self._family = Family.IPV4
        self._known = KnownPassive()
        self._question: Expected | None = None
        """The answer to PASV or EPSV that is awaited."""
        self._uncertain: Reply | None = None
        """Taken for the late answer to a PASV or EPSV that was given up; if nothing follows, it was the next one's."""
        self._unanswered_ports = 0
        """Questions for a port that were never answered before others were: 227 and 229 may still come."""
        self._server_alive = self._client_done = self._epsv_all = False
        self._server_gone = ""
        self._draining: tuple[Culprit, str] | None = None
        self._verdict: tuple[Culprit, Stage] = (Culprit.NONE, Stage.NONE)
        self._path: DataPath | None = None
        self._paths = 0
        self._restart = 0
        self._data_type = "A"
        self._no_data = ""
        self._last = NO_COMMAND
        self._tls_offered = False
        """The server has agreed to AUTH by another code than 234, and the client has said nothing since."""

    # --- speaking -------------------------------------------------------------------------------------------------

    def _do(self, action: Action) -> None:
        self._actions.append(action)

    def _say(self, code: int, text: str | bytes) -> None:
        """A reply of our own."""
        self._actions.append(SendToClient(rendered(code, text)))

    def _relay(self, reply: Reply) -> None:
        """What the server said, as it came, behind a reply that is held."""
        path = self._path
        if not reply.raw:
            return
        if path is not None and path.holds_replies:
            path.behind += reply.raw
            if len(path.behind) > _MOST_BEHIND:
                raise ProtocolError("too many replies behind the end of a transfer", Side.SERVER)
        else:
            self._actions.append(SendToClient(reply.raw))

    def _ask(self, line: bytes, purpose: Purpose, command: Command) -> None:
        """A line for the server, whose reply will be treated by `purpose`."""
        # Without a transfer there is nothing to interrupt, and Pure-FTPd never answers an ABOR behind a Synch then.
        if command.urgent and any(each.purpose is _TRANSFER for each in self._expected):
            self._actions.append(SendToServer(_SYNCH_ABOR + line + CRLF, _DATA_MARK))
        else:
            self._actions.append(SendToServer(line + CRLF))
        self._expected.append(Expected(purpose, command))

    def _meet(self, host: str, advertise: str) -> None:
        self._client_host, self._advertise = host, advertise
        self._family = Family.IPV6 if family_of(unmapped(host)) is Family.IPV6 else Family.IPV4

    # --- data paths -----------------------------------------------------------------------------------------------

    def _drop_path(self) -> None:
        """Give up a path whose transfer was not started; one that was asked for is recorded."""
        path = self._path
        if path is None or path.is_started:
            return
        contested = path.state is PathState.CONTESTED
        asked = path.is_transferring or contested
        if path.state not in (PathState.ABANDONED, PathState.ENDED) and not (path.aborted or contested):
            self._do(DropData(path.number))
        path.take(Step.DROPPED)
        self._path = None
        if asked:
            self._record_transfer(path)

    def _cut(self, path: DataPath) -> None:
        """End a started transfer at once; several reasons may come together, before it is accounted for."""
        if not path.cut:
            path.cut = True
            self._do(AbortTransfer(path.number))

    def _record_transfer(self, path: DataPath) -> None:
        session, command = self._record, path.command
        culprit, stage = path.judged()
        record = TransferRecord(
            path.number,
            command.verb or NO_VERB,
            command.argument,
            path.direction,
            user=session.user,
            server=session.server,
            data_type=self._data_type,
            restart=path.restart,
            size=path.size,
            client_mode=path.client_mode,
            server_mode=path.server_mode,
            port=path.port,
            code=path.code,
            server_code=path.server_code,
            ending=path.ending,
            culprit=culprit,
            stage=stage,
        )
        session.transfers += 1
        session.failed_transfers += not record.is_complete
        if path.direction is Direction.UPLOAD:
            session.bytes_in += path.size
        else:
            session.bytes_out += path.size
        self._do(RecordTransfer(record))

    # --- the end --------------------------------------------------------------------------------------------------

    @property
    def _stage(self) -> Stage:
        if self._phase is Phase.OPEN and not self._record.logged_in:
            return Stage.REQUEST
        return PHASES[self._phase][0]

    def _end(self, culprit: Culprit, reason: str, goodbye: str | bytes = "") -> None:
        """The session is over: tell the client 421 if there is a goodbye, cut what moves, account for it, close."""
        stage = Stage.NONE if culprit is Culprit.NONE else self._stage
        self._verdict = (culprit, stage)
        self._record.reason = reason
        path = self._path
        if path is not None:
            self._blame(path, culprit, stage, 421 if goodbye else 0)
        if goodbye:
            self._say(421, goodbye)
        if path is not None and path.is_started:
            self._cut(path)
            self._phase = Phase.LEAVING
            return
        self._drop_path()
        self._close()

    def _blame(self, path: DataPath, culprit: Culprit, stage: Stage, code: int) -> None:
        if path.blame is None and not path.aborted:
            path.blame = (culprit, stage)
        if not path.told:
            path.code = code

    def _close(self) -> None:
        if self._server_alive and self._phase in _POLITE and not self._expected:
            self._do(SendToServer(b"QUIT" + CRLF))
        self._phase = Phase.OVER
        self._held.clear()
        self._expected.clear()
        self._do(CloseSession(*self._verdict, self._record))

    def _forget_server(self) -> None:
        """Nothing of the present server is awaited any more."""
        self._expected.clear()
        self._reader = ReplyReader(self._settings.max_reply)
        self._server_alive = False
        self._question = self._uncertain = None
        self._unanswered_ports = 0
        self._record.server = NO_SERVER

    def _unanswered(self) -> Iterable[Command]:
        """What the client asked and has no answer to, in order."""
        return [each.command for each in self._expected if not each.told and not each.doubtful]
