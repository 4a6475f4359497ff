"""Data paths are opened: PASV and EPSV answered with a leased port, PORT and EPRT checked, the server asked for its.

RFC 959, RFC 2428; the server stays passive whatever the client is, and is dialled the moment its reply names a port. It
is asked first as the client asks. What it refuses, answers oddly or not at all, and a port that does not open, lead to
the other way within the same command, also after the client was told our port: until the server's stands, no transfer
command is forwarded.
"""

from __future__ import annotations

from pasvport.address import Family, family_of, unmapped
from pasvport.errors import ProtocolError, Side
from pasvport.ftp.actions import DialServerData, LearnPassive, LeaseDataPort, SendToClient
from pasvport.ftp.data_path import DataPath
from pasvport.ftp.events import (
    DataPortLeased,
    LeaseFailed,
    ServerDataConnected,
    ServerDataFailed,
)
from pasvport.ftp.grammar import Command, Reply, rendered
from pasvport.ftp.ground import Expected, Ground, Purpose
from pasvport.ftp.passive import (
    OTHER_WAY,
    ArgumentError,
    Target,
    check_bounce,
    named_target,
    parse_eprt,
    parse_port,
    rendered_227,
    rendered_229,
    wants_epsv_all,
)
from pasvport.ftp.states import PathState, Step
from pasvport.record import DataMode

_MODES = {str(mode): mode for mode in DataMode}
_ACCEPTS = {"EPSV": 229, "PASV": 227}
NAMES_A_PORT = frozenset({227, 228, 229})
_ABORT_ANSWERS = frozenset({225, 226, 426, 500, 501, 502})
_CONCLUSIONS = frozenset({225, 226, 250})
"""What may be said a second time for a transfer or an ABOR that is over."""
_BEFORE_TRANSFER = (PathState.OPENING, PathState.READY)
_LAST_WAITS = 3
"""How many times as long as the first way of asking the last one may take."""
_MOST_IN_DOUBT = 8
"""Questions that were given up one after the other; a server that answers nothing at all is left."""
_UNUSABLE = "The server named no usable data port."
_SILENT = "The server does not answer."
_UNREACHABLE = "The server's data port cannot be reached."
NOTHING_PREPARED = "Use PASV or EPSV first."


class Opening(Ground):
    """From PASV, EPSV, PORT or EPRT to the answer."""

    __slots__ = ()

    # --- what the client asks -------------------------------------------------------------------------------------

    def _open_passive(self, command: Command) -> None:
        try:
            mode = _MODES[command.verb]
            if mode is DataMode.EPSV and wants_epsv_all(command.argument, self._family):
                self._epsv_all = True
                self._say(200, "Only EPSV from now on.")
                return
            self._check_mode(mode)
        except ArgumentError as refused:
            self._say(refused.code, str(refused))
            return
        path = self._new_path(mode)
        self._do(LeaseDataPort(path.number))
        self._ask_server(path)

    def _open_active(self, command: Command) -> None:
        try:
            mode = _MODES[command.verb]
            target = self._active_target(mode, command.argument)
        except ArgumentError as refused:
            self._say(refused.code, str(refused))
            return
        path = self._new_path(mode)
        path.target, path.port = target, target.port
        self._ask_server(path)

    def _check_mode(self, mode: DataMode) -> None:
        if self._epsv_all and mode is not DataMode.EPSV:
            raise ArgumentError(501, f"{mode} is not allowed after EPSV ALL.")
        if mode is DataMode.PASV and not self._advertise:
            raise ArgumentError(425, "PASV cannot name an IPv6 address: use EPSV.")

    def _active_target(self, mode: DataMode, argument: bytes) -> Target:
        if not self._settings.active:
            raise ArgumentError(502, f"{mode} is disabled: use PASV or EPSV.")
        self._check_mode(mode)
        target = parse_port(argument) if mode is DataMode.PORT else parse_eprt(argument, self._family)
        check_bounce(target, self._client_host)
        return target

    def _new_path(self, mode: DataMode) -> DataPath:
        """At most one is pending: this one takes the place of a former."""
        self._drop_path()
        self._paths += 1
        self._no_data = ""
        ipv6 = family_of(unmapped(self._server_host)) is Family.IPV6
        self._path = path = DataPath(self._paths, mode, self._known.ways(mode, ipv6=ipv6))
        return path

    # --- asking the server ----------------------------------------------------------------------------------------

    def _ask_server(self, path: DataPath) -> None:
        path.server_mode = mode = path.tries.pop(0)
        path.waits = 0
        self._ask(mode.encode("ascii"), Purpose.PASSIVE, Command(mode))
        self._question = path.question = self._expected[-1]

    def _passive_reply(self, expected: Expected, reply: Reply) -> None:
        if reply.is_preliminary:
            return
        if expected.doubtful:
            self._late_answer(expected, reply)
            return
        path = self._path
        current = path if path is not None and path.question is expected else None
        target = self._target_of(reply, expected)
        if target is None and reply.code in _CONCLUSIONS:
            # Perhaps the answer to something else: taking it for ours would shift every later one.
            self._record.strays += 1
            if current is not None and current.tries:
                self._not_answered(current)
            return
        self._expected.remove(expected)
        self._question = None
        if current is None:
            return
        current.question = None
        if target is None:
            current.refusal = reply
            self._not_that_way(current, _UNUSABLE, passing=reply.code < 500 and not reply.is_positive)
        else:
            self._dial_server(current, target)

    def _target_of(self, reply: Reply, expected: Expected) -> Target | None:
        """Where the server listens; always on its own address unless the configuration trusts what it names."""
        try:
            named = named_target(reply, _MODES[expected.command.verb])
        except ProtocolError:
            return None
        trusted = self._settings.trust_named_host and named.host not in ("", "0.0.0.0")
        return named if trusted else Target(self._server_host, named.port)

    def _dial_server(self, path: DataPath, target: Target) -> None:
        path.server_answered = True
        self._do(DialServerData(path.number, *target, is_last=not path.tries))
        self._announce(path)

    # --- the other way --------------------------------------------------------------------------------------------

    def _not_that_way(self, path: DataPath, reason: str, *, passing: bool = False) -> None:
        """No answer, no port, or one that cannot be reached. `passing` (4xx): that makes no habit."""
        if not passing:
            path.failed = True
            if self._known.works is path.server_mode:
                self._learn(DataMode.NONE)
        if path.tries:
            self._ask_server(path)
        else:
            self._give_up_opening(path, reason)

    def _give_up_opening(self, path: DataPath, reason: str) -> None:
        """A client that was not answered yet hears what the server said last; another at its transfer command."""
        announced, refusal = path.state is not PathState.OPENING, path.refusal
        self._drop_path()
        if announced:
            self._no_data = _UNREACHABLE
        elif refusal is None or refusal.is_positive:
            self._say(425, reason)
        else:
            self._relay(refusal)

    def _learn(self, works: DataMode, closes: DataMode = DataMode.NONE) -> None:
        known = self._known
        if known.fixed is DataMode.NONE and (known.works, known.closes) != (works, closes):
            known.works, known.closes = works, closes
            self._do(LearnPassive(works, closes))

    def _hung_up(self) -> None:
        """The server closes its control connection: was PASV or EPSV too much for it?

        The session is lost, since its password is kept nowhere; the next one shall ask the other way.
        """
        question = self._question
        if question is None or family_of(unmapped(self._server_host)) is Family.IPV6:
            return
        given_up = (each for each in self._expected if each.doubtful and each.purpose is Purpose.PASSIVE)
        closes = _MODES[next(given_up, question).command.verb]
        self._learn(OTHER_WAY[closes], closes)

    # --- silence, and answers that come late ----------------------------------------------------------------------

    def _passive_slow(self) -> None:
        """Nothing was heard for some seconds."""
        uncertain, path, question = self._uncertain, self._path, self._question
        if uncertain is not None:
            # Nothing followed: what was taken for a late answer was the answer to what was asked last.
            self._uncertain = None
            self._forget_doubtful()
            self._answered(uncertain, self._expected[0] if self._expected else None)
        elif question is None:
            return
        elif path is None or path.question is not question:
            self._doubt_question()
        elif path.candidate is not None:
            self._doubt_question()
            path.question = None
            path.server_mode, target = path.candidate
            self._dial_server(path, target)
        elif path.tries:
            self._not_answered(path)
        else:
            path.waits += 1
            if path.waits >= _LAST_WAITS:
                self._not_answered(path)

    def _not_answered(self, path: DataPath) -> None:
        """The question is given up; its answer may still come."""
        self._doubt_question()
        path.question = None
        self._not_that_way(path, _SILENT)

    def _doubt_question(self) -> None:
        if self._question is not None:
            self._question.doubtful = True
            self._question = None
        if len(self._expected) > _MOST_IN_DOUBT and all(each.doubtful for each in self._expected):
            raise ProtocolError("PASV and EPSV are never answered", Side.SERVER)

    def _late_answer(self, expected: Expected, reply: Reply) -> None:
        """To a question that was given up: swallowed, so that commands and replies stay in step."""
        waiting, path = self._expected, self._path
        self._unanswered_ports += waiting.index(expected)
        del waiting[: waiting.index(expected) + 1]
        target = self._target_of(reply, expected)
        if target is None:
            self._uncertain = reply if waiting else None
        elif path is not None and path.question is not None:
            # The server closes this port when it hears the next question, unless it never answers that.
            path.candidate = (_MODES[expected.command.verb], target)

    def _settle_doubts(self, code: int) -> None:
        """Take from the head of what is expected that to which a reply of this code shows that none will come.

        Servers answer in order, or not at all. After 226 for a transfer, some answer the ABOR behind it and some not.
        """
        waiting = self._expected
        while waiting and waiting[0].doubtful and not self._may_answer(waiting[0], code):
            self._unanswered_ports += waiting[0].purpose is Purpose.PASSIVE
            del waiting[0]

    def _may_answer(self, doubtful: Expected, code: int) -> bool:
        if doubtful.purpose is not Purpose.PASSIVE:
            return code in _ABORT_ANSWERS
        question = self._question
        if code == _ACCEPTS[doubtful.command.verb]:
            return True
        if code in NAMES_A_PORT:
            return question is None or code != _ACCEPTS[question.command.verb]
        return 200 <= code < 300 or code >= 400

    def _forget_doubtful(self) -> None:
        waiting = self._expected
        while waiting and waiting[0].doubtful:
            del waiting[0]
            self._unanswered_ports += 1

    def _is_late_port(self, reply: Reply, expected: Expected) -> bool:
        """A 227 or 229 behind the answers to later commands."""
        late = self._unanswered_ports > 0 and expected.purpose is not Purpose.PASSIVE
        if late:
            self._unanswered_ports -= 1
            self._record.strays += 1
        return late

    def _answered(self, reply: Reply, expected: Expected | None) -> None:
        """A whole reply and whose it is."""
        raise NotImplementedError

    # --- what the engine says -------------------------------------------------------------------------------------

    def _current(self, number: int) -> DataPath | None:
        """The path an event speaks of, if it is still the present one."""
        path = self._path
        return path if path is not None and path.number == number else None

    def _leased(self, event: DataPortLeased) -> None:
        path = self._current(event.path)
        if path is not None and path.state is PathState.OPENING:
            path.port = event.port
            self._announce(path)

    def _announce(self, path: DataPath) -> None:
        """Tell the client, once our port listens and the server's is known."""
        if not (path.port and path.server_answered and path.take(Step.ANNOUNCED)):
            return
        if path.client_mode is DataMode.EPSV:
            answer = rendered_229(path.port)
        elif path.client_mode is DataMode.PASV:
            answer = rendered_227(self._advertise, path.port)
        else:
            answer = rendered(200, f"{path.client_mode} accepted.")
        self._do(SendToClient(answer))

    def _lease_failed(self, event: LeaseFailed) -> None:
        path = self._current(event.path)
        if path is not None and path.state is PathState.OPENING:
            self._drop_path()
            self._say(425, "No data port is free.")

    def _server_data_connected(self, event: ServerDataConnected) -> None:
        path = self._current(event.path)
        if path is not None:
            path.server_connected = True
            if path.failed and path.server_mode is not self._known.works:
                self._learn(path.server_mode)

    def _server_data_failed(self, event: ServerDataFailed) -> None:
        path = self._current(event.path)
        if path is not None and not path.server_connected and path.state in _BEFORE_TRANSFER:
            self._not_that_way(path, _UNREACHABLE)
