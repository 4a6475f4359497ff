"""Data paths are opened: PASV and EPSV answered with a leased port, PORT and EPRT checked, the server asked for its.

RFC 959, RFC 2428; the server stays passive whatever the client is, and is dialled the moment its reply names a port.
"""

from __future__ import annotations

from pasvport.address import Family, family_of, unmapped
from pasvport.errors import ProtocolError
from pasvport.ftp.actions import DialServerData, LearnPassive, LeaseDataPort, SendToClient
from pasvport.ftp.data_path import DataPath
from pasvport.ftp.events import DataPortLeased, LeaseFailed, ServerDataConnected
from pasvport.ftp.grammar import Command, Reply, rendered
from pasvport.ftp.ground import Expected, Ground, Purpose
from pasvport.ftp.passive import (
    ArgumentError,
    Target,
    check_bounce,
    parse_227,
    parse_229,
    parse_eprt,
    parse_port,
    rendered_227,
    rendered_229,
    wants_epsv_all,
)
from pasvport.ftp.states import PathState, Step
from pasvport.record import DataMode

_MODES = {str(mode): mode for mode in DataMode}
_ACCEPTS = {DataMode.EPSV: 229, DataMode.PASV: 227}
_UNSUPPORTED = frozenset({500, 501, 502, 504, 522})
# These are about the session, not about the way of asking: the other command would fare no better.
_NOT_ABOUT_MODE = frozenset({421, 503, 530, 532, 550})
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
        self._path = path = DataPath(self._paths, mode, self._tries())
        return path

    def _tries(self) -> list[DataMode]:
        if family_of(unmapped(self._server_host)) is Family.IPV6:
            return [DataMode.EPSV]
        if self._server_passive is DataMode.PASV:
            return [DataMode.PASV, DataMode.EPSV]
        return [DataMode.EPSV, DataMode.PASV]

    # --- what the server says -------------------------------------------------------------------------------------

    def _ask_server(self, path: DataPath) -> None:
        path.server_mode = mode = path.tries.pop(0)
        self._ask(mode.encode("ascii"), Purpose.PASSIVE, Command(mode))

    def _passive_reply(self, expected: Expected, reply: Reply) -> None:
        path = self._path
        if reply.is_preliminary or (reply.is_positive and reply.code not in _ACCEPTS.values()):
            # An answer to something else: taking it for ours would shift every later one.
            self._record.strays += 1
            return
        self._expected.remove(expected)
        if expected.told or path is None or path.state is not PathState.OPENING:
            return
        target = self._server_target(path.server_mode, reply)
        if target is None:
            self._not_that_way(path, reply)
            return
        path.server_answered = True
        self._learn(path)
        self._do(DialServerData(path.number, *target))
        self._announce(path)

    def _server_target(self, mode: DataMode, reply: Reply) -> Target | None:
        """Where the server listens; always on its own address unless the configuration trusts what it names."""
        if reply.code != _ACCEPTS[mode]:
            return None
        try:
            if mode is DataMode.EPSV:
                return Target(self._server_host, parse_229(reply.text))
            named = parse_227(reply.text)
        except ProtocolError:
            return None
        trusted = self._settings.trust_named_host and named.host != "0.0.0.0"
        return named if trusted else Target(self._server_host, named.port)

    def _not_that_way(self, path: DataPath, reply: Reply) -> None:
        path.unsupported = path.unsupported or reply.is_positive or reply.code in _UNSUPPORTED
        if path.tries and reply.code not in _NOT_ABOUT_MODE:
            self._ask_server(path)
            return
        self._drop_path()
        if reply.is_positive:
            self._say(425, "The server named no usable data port.")
        else:
            self._relay(reply)

    def _learn(self, path: DataPath) -> None:
        """Only what a server cannot do, or what worked at the first try: a passing failure makes no habit."""
        mode, known = path.server_mode, self._server_passive
        first_success = known is DataMode.NONE and mode is DataMode.EPSV
        if mode is not known and (path.unsupported or first_success):
            self._server_passive = mode
            self._do(LearnPassive(mode))

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
            self._give_up_opening("No data port is free.")

    def _give_up_opening(self, text: str) -> None:
        for expected in self._expected:
            expected.told = expected.told or expected.purpose is Purpose.PASSIVE
        self._drop_path()
        self._say(425, text)

    def _server_data_connected(self, event: ServerDataConnected) -> None:
        path = self._current(event.path)
        if path is not None:
            path.server_connected = True
