"""One data path: what a PASV, EPSV, PORT or EPRT opened, up to the end of the one transfer it serves."""

from __future__ import annotations

from pasvport.ftp.grammar import NO_COMMAND, Reply
from pasvport.ftp.passive import Target
from pasvport.ftp.states import PATH, PathState, Step
from pasvport.record import Culprit, DataEnding, DataMode, Direction, Stage

_BUSY = frozenset(PathState) - {PathState.READY, PathState.CONTESTED, PathState.GONE}
_STARTED = frozenset({PathState.MOVING, PathState.HELD})


class DataPath:
    """Facts about one path; `take` is the only thing that moves its state."""

    __slots__ = (
        "aborted",
        "ahead",
        "behind",
        "blame",
        "candidate",
        "client_connected",
        "client_mode",
        "code",
        "command",
        "cut",
        "dialled_client",
        "direction",
        "ending",
        "expected",
        "failed",
        "final",
        "granted_by_final",
        "late",
        "number",
        "port",
        "preliminary",
        "question",
        "refusal",
        "restart",
        "said_twice",
        "server_answered",
        "server_code",
        "server_connected",
        "server_mode",
        "size",
        "state",
        "target",
        "told",
        "tries",
        "waits",
    )

    def __init__(self, number: int, client_mode: DataMode, tries: list[DataMode]) -> None:
        self.number = number
        self.client_mode = client_mode
        self.server_mode = DataMode.NONE
        self.tries = tries
        self.state = PathState.OPENING
        self.port = 0
        self.target: Target | None = None
        self.question: object = None
        """The reply that is awaited to PASV or EPSV for this path."""
        self.waits = 0
        """How often its time was up."""
        self.candidate: tuple[DataMode, Target] | None = None
        """What a question that was given up was answered late."""
        self.refusal: Reply | None = None
        """The last refusal of a port."""
        self.failed = False
        """One way of asking was in vain, and not only for the moment."""
        self.server_answered = self.granted_by_final = False
        self.client_connected = self.server_connected = self.dialled_client = False
        self.command = NO_COMMAND
        self.direction = Direction.DOWNLOAD
        self.restart = 0
        self.preliminary: Reply | None = None
        """A 1xx that waits for the active client's connection."""
        self.ahead: Reply | None = None
        """A 2xx that came where 1xx is due, and that the client has: more is to come, or it was all."""
        self.late: Reply | None = None
        """A further 2xx, which the client may wait for or not: told a moment after the bytes have ended."""
        self.final: Reply | None = None
        """A positive reply that waits for the end of the data, or a negative one that the client has."""
        self.behind = b""
        """Replies that came after a held one."""
        self.told = self.aborted = self.cut = False
        self.said_twice: object = None
        """The transfer command whose 150 came a second time."""
        self.code = self.server_code = 0
        self.size = 0
        self.expected = -1
        """Bytes of a download as the server's 1xx announced them, -1: it said nothing of them."""
        self.ending = DataEnding.NONE
        self.blame: tuple[Culprit, Stage] | None = None

    def take(self, step: Step) -> bool:
        """Move as the table says; False, and nothing happens, where it has no row."""
        target = PATH.get((self.state, step))
        if target is None:
            return False
        self.state = target
        return True

    def note_conflict(self) -> None:
        """Two connections came for the client's one."""
        self.ending = DataEnding.CONFLICT
        self.blame = self.blame or (Culprit.PROXY, Stage.CONNECT)

    def note_end(self, size: int, how: DataEnding) -> None:
        """The bytes have ended; where they were cut because of a conflict, that is how."""
        self.size = size
        if self.ending is not DataEnding.CONFLICT:
            self.ending = how

    @property
    def is_busy(self) -> bool:
        """Further commands must wait."""
        return self.state in _BUSY

    @property
    def is_transferring(self) -> bool:
        """A transfer command was forwarded and its end has not been told."""
        return self.state in _BUSY and self.state is not PathState.OPENING

    @property
    def is_started(self) -> bool:
        """StartTransfer was asked and DataFinished is still due."""
        return self.state in _STARTED

    @property
    def awaits_server(self) -> bool:
        """The client was told its port, and the server's data connection is still to come."""
        return self.state is PathState.READY and not self.server_connected

    @property
    def awaits_client(self) -> bool:
        """The client's data connection is still to come."""
        return not (self.client_connected or self.aborted)

    @property
    def awaits_word(self) -> bool:
        """The bytes have ended, and the client was told a 2xx before them that may have been the server's last."""
        return self.ahead is not None and self.state is PathState.ENDED and not self.told

    @property
    def may_hear_more(self) -> bool:
        """The client was told a 2xx already, and a further one may be the answer that it waits for."""
        is_under_way = self.state in (PathState.MOVING, PathState.ENDED) and not (self.told or self.aborted)
        return is_under_way and self.ahead is not None and self.late is None

    @property
    def may_flow_on(self) -> bool:
        """The server has granted the transfer and is connected: its bytes need no control connection to arrive."""
        granted = self.state is PathState.MOVING or (self.state is PathState.GRANTED and self.server_connected)
        return granted and not self.aborted

    @property
    def is_cut_short(self) -> bool:
        """The bytes have ended before their end."""
        return self.ending not in (DataEnding.NONE, DataEnding.COMPLETE)

    @property
    def holds_replies(self) -> bool:
        """The transfer's final reply waits, so those after it must wait behind it."""
        return self.final is not None and not self.told and self.state in (PathState.GRANTED, PathState.HELD)

    def judged(self) -> tuple[Culprit, Stage]:
        """Who ended this transfer and at which stage."""
        if self.blame is not None:
            return self.blame
        if self.aborted or self.ending is DataEnding.CLIENT_ABORT:
            return Culprit.CLIENT_ABORT, Stage.DATA
        if self.ending is DataEnding.COMPLETE and 200 <= self.code < 300:
            return Culprit.NONE, Stage.NONE
        if self.ending is DataEnding.NONE:
            return Culprit.SERVER_ABORT, Stage.REQUEST
        return Culprit.SERVER_ABORT, Stage.DATA
