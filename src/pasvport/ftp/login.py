"""Before login: the greeting, the choice of the server, and its replacement by another without the client noticing.

RFC 959 section 5.4, RFC 7151 (HOST). A server is replaceable until it has accepted the login: nothing but HOST, OPTS,
CLNT and USER was asked, which the next one is asked again, its replies swallowed.
"""

from __future__ import annotations

from pasvport.ftp.actions import (
    BeginLogin,
    ChooseServer,
    CountLoginFailure,
    FinishLogin,
    LeaveServer,
    NoteLogin,
    SendToClient,
    SendToServer,
)
from pasvport.ftp.events import (
    ClientConnected,
    LoginAllowed,
    LoginLimitExceeded,
    NoServer,
    ServerAssigned,
    ServerConnected,
)
from pasvport.ftp.features import common_features, rendered_features
from pasvport.ftp.grammar import CRLF, Command, Reply
from pasvport.ftp.ground import Expected, Purpose
from pasvport.ftp.moving import Moving
from pasvport.ftp.passive import KnownPassive
from pasvport.ftp.settings import Settings
from pasvport.ftp.states import Phase
from pasvport.ftp.verbs import VERBS, Allowed
from pasvport.record import Culprit

_LOGGED_IN = (230, 232)
LOGS_IN = frozenset({"USER", "PASS", "ACCT"})
"""Commands whose answer may log somebody in."""
_NOT_ABOUT_THE_PASSWORD = frozenset({500, 501, 502, 503, 504})
_UNKNOWN_USER = frozenset({430, 530})
_GIVEN_UP = frozenset({Culprit.CLIENT_ABORT, Culprit.SERVER_ABORT})
MAX_PREAMBLE = 8
"""Accepted HOST, OPTS and CLNT lines that are repeated to another server; more are forwarded, not remembered."""
NOT_LOGGED_IN = "Please login with USER and PASS."
UNAVAILABLE = "Service not available, closing the control connection."
_UNAVAILABLE = UNAVAILABLE.encode("ascii")
CLOSES = "closing the control connection."
LOGIN_LIMIT = "ftp-login-limit"
AUTH_REFUSED = "TLS is not available here."

_LOCAL_ANSWERS: dict[str, tuple[int, str]] = {
    "NOOP": (200, "OK."),
    "SYST": (215, "UNIX Type: L8"),
    "HELP": (214, "Commands are those of RFC 959, 2428 and 3659."),
    "REIN": (220, "Ready for a new user."),
    "PASS": (503, "Login with USER first."),
    "ACCT": (503, "Login with USER first."),
    "ABOR": (225, "No transfer to abort."),
    "AUTH": (534, AUTH_REFUSED),
    "PBSZ": (503, "AUTH comes first."),
    "PROT": (503, "AUTH comes first."),
    "CCC": (533, "The control connection cannot go back to clear text."),
    "LANG": (504, "Only the default language."),
    "CSID": (200, "OK."),
}


class Login(Moving):
    """From the client's connection to its login."""

    __slots__ = (
        "_asks_to_log_in",
        "_attempted",
        "_choices",
        "_greeted",
        "_is_allowed",
        "_is_undecided",
        "_named",
        "_preamble",
        "_refusal",
        "_replay",
        "_user_line",
    )

    def __init__(self, settings: Settings) -> None:
        Moving.__init__(self, settings)
        self._greeted = False
        self._preamble: list[bytes] = []
        self._named = b""
        """The user that was said last, by whom a server is chosen."""
        self._attempted = b""
        """The user whose login is under way: said to the server, neither accepted nor refused."""
        self._choices = 0
        """Servers that were chosen since somebody logged in last, those that took over from another left out."""
        self._asks_to_log_in = self._is_allowed = False
        """BeginLogin waits for its answer; it was answered, and the command has not gone yet."""
        self._is_undecided = False
        """A server was told a password and has not answered."""
        self._user_line = b""
        self._replay: list[bytes] = []
        self._refusal: bytes = _UNAVAILABLE

    # --- the greeting and the choice ------------------------------------------------------------------------------

    def _client_connected(self, event: ClientConnected) -> None:
        self._meet(event.host, event.advertise)
        if self._settings.deferred:
            self._greeted = True
            self._say(220, self._settings.greeting)
            self._phase = Phase.LOCAL
        else:
            self._choose()

    def _choose(self, *, again: bool = False, reason: str = "") -> None:
        deferred = self._settings.deferred
        self._choices += not again
        self._phase = Phase.SUMMONING
        user, host = (self._named, self._record.virtual_host) if deferred else (b"", b"")
        self._do(ChooseServer(user, host, again, reason))

    def _assigned(self, event: ServerAssigned) -> None:
        self._record.server = event.name
        self._server_host, self._known = event.host, event.passive or KnownPassive()

    def _connected(self, event: ServerConnected) -> None:
        self._server_alive = True
        self._phase = Phase.WELCOMING

    def _no_server(self, event: NoServer) -> None:
        self._end(event.culprit, event.reason, self._refusal)

    def _redispatch(self, reason: str, culprit: Culprit) -> None:
        """Another server, which first hears again what this one had accepted."""
        if self._record.redispatches >= self._settings.redispatches:
            self._end(culprit, reason, self._refusal)
            return
        self._held[:0] = self._unanswered()
        self._leave_server()
        self._record.redispatches += 1
        self._choose(again=True, reason=reason)

    @property
    def _is_replaceable(self) -> bool:
        """Nobody is logged in; and no login was refused, for then its closing is an answer that must stand."""
        return not self._record.logged_in and not self._record.login_failures

    def _leave_server(self) -> None:
        self._forget_server()
        self._replay.clear()
        self._do(LeaveServer())

    # --- the server's banner, and what it hears again -------------------------------------------------------------

    def _banner(self, reply: Reply) -> None:
        if reply.is_preliminary:
            # 120: ready in a while. The greeting is still to come.
            if not self._greeted:
                self._relay(reply)
        elif not reply.is_positive:
            self._refusal = reply.text or self._refusal
            self._redispatch(f"banner {reply.code}", Culprit.SERVER_ABORT)
        else:
            if not self._greeted:
                self._relay(reply)
                self._greeted = True
                self._greeted_with(reply)
            self._replay.extend(self._preamble)
            if self._user_line:
                self._replay.append(self._user_line)
            self._replay_next()

    def _greeted_with(self, reply: Reply) -> None:
        """230 as a greeting: curl takes itself for logged in and sends no USER."""
        if reply.code == 230:
            self._accepted()

    def _replay_next(self) -> None:
        if not self._replay:
            self._phase = Phase.OPEN
            return
        self._phase = Phase.REPLAYING
        self._ask(self._replay.pop(0), Purpose.REPLAY, Command(""))

    def _replay_reply(self, expected: Expected, reply: Reply) -> None:
        if reply.is_preliminary:
            return
        self._expected.remove(expected)
        if reply.is_positive:
            if reply.code in _LOGGED_IN:
                # To USER: this server wants no password.
                self._accepted()
            self._replay_next()
        else:
            self._refusal = reply.text
            self._redispatch(f"{reply.code} to what another server had accepted", Culprit.SERVER_ABORT)

    # --- what the client asks -------------------------------------------------------------------------------------

    def _login(self, command: Command) -> None:
        if command.verb == "USER":
            if self._settings.deferred and self._must_move(command.argument):
                self._choose_for(command)
                return
            self._named = self._attempted = command.argument
        else:
            self._is_undecided = True
        self._is_allowed = False
        self._ask(command.line, Purpose.LOGIN, command)

    def _choose_for(self, command: Command) -> None:
        """A server for the user that USER names, in place of the present one if there is one."""
        if self._choices > self._settings.max_moves:
            self._end(Culprit.PROXY, "too many users", f"Too many users were named, {CLOSES}")
            return
        if self._phase is not Phase.LOCAL:
            self._do(SendToServer(b"QUIT" + CRLF))
            self._leave_server()
            self._user_line = b""
        self._named = command.argument
        self._held.insert(0, command)
        self._choose()

    def _must_be_allowed(self, command: Command) -> bool:
        """`ftp-login-limit`: whether the engine must be asked first; then the command is held."""
        if not self._settings.login_limited or self._is_allowed:
            return False
        if self._phase is Phase.LOCAL and command.verb != "USER":
            return False
        self._held.insert(0, command)
        self._asks_to_log_in = True
        self._do(BeginLogin())
        return True

    def _login_allowed(self, event: LoginAllowed) -> None:
        self._is_allowed, self._asks_to_log_in = self._asks_to_log_in, False

    def _must_move(self, user: bytes) -> bool:
        """Another name before login may belong to another server."""
        return not self._record.logged_in and bool(self._named) and user != self._named

    def _reinitialize(self, command: Command) -> None:
        if not self._settings.deferred:
            self._ask(command.line, Purpose.REINITIALIZE, command)
            return
        self._drop_path()
        self._do(SendToServer(b"QUIT" + CRLF))
        self._leave_server()
        self._start_anew()
        self._phase = Phase.LOCAL
        self._say(*_LOCAL_ANSWERS["REIN"])

    def _local(self, command: Command) -> None:
        """Commands while no server is chosen."""
        verb = command.verb
        if verb == "USER":
            self._choose_for(command)
        elif verb == "QUIT":
            self._say(221, "Goodbye.")
            self._end(Culprit.NONE, "QUIT")
        elif verb == "FEAT":
            features = common_features(self._settings.features)
            self._do(SendToClient(rendered_features(self._settings, features)))
        elif verb in ("HOST", "OPTS", "CLNT"):
            self._local_preamble(command)
        else:
            self._say(*_LOCAL_ANSWERS.get(verb, (530, NOT_LOGGED_IN)))

    def _local_preamble(self, command: Command) -> None:
        """Accepted here, repeated to the server once there is one."""
        option = command.argument.upper().split()
        if command.verb == "OPTS" and option[:1] not in ([b"UTF8"], [b"UTF-8"]):
            self._say(501, "Only OPTS UTF8 before login.")
            return
        self._remember(command)
        self._say(220 if command.verb == "HOST" else 200, f"{command.verb} accepted.")

    def _may_ask(self, command: Command) -> bool:
        """Before login the server answers whatever wants no data connection: nobody gets a port before."""
        verb = VERBS.get(command.verb)
        return verb is None or verb.allowed is Allowed.ALWAYS

    def _remember(self, command: Command) -> None:
        if command.verb == "HOST":
            self._record.virtual_host = command.argument
        if len(self._preamble) < MAX_PREAMBLE:
            self._preamble.append(command.line)

    # --- what the server says -------------------------------------------------------------------------------------

    def _login_reply(self, expected: Expected, reply: Reply) -> None:
        self._relay(reply)
        if reply.is_preliminary:
            return
        self._expected.remove(expected)
        verb = expected.command.verb
        if 200 <= reply.code < 300:
            self._accepted()
        elif reply.code >= 400:
            self._refused(reply.code in _UNKNOWN_USER if verb == "USER" else reply.code not in _NOT_ABOUT_THE_PASSWORD)
        self._is_undecided = False
        if self._settings.login_limited:
            self._do(FinishLogin())
        if verb == "USER":
            self._user_line = expected.command.line if 300 <= reply.code < 400 else b""
            if reply.code >= 400:
                # PASS may still be sent, and answered 230 because somebody else is logged in.
                self._attempted = b""
        elif reply.code >= 400:
            # After a wrong password the server wants USER again, and so would another.
            self._user_line = b""

    def _accepted(self) -> None:
        """The server let somebody in; a needless PASS or ACCT behind that (230, 202) says nothing new."""
        record = self._record
        if record.logged_in and not self._attempted:
            return
        record.logged_in = True
        record.user, self._attempted = self._attempted or record.user, b""
        self._choices = 0
        self._preamble.clear()
        self._refusal = _UNAVAILABLE
        self._do(NoteLogin(record.user))

    def _refused(self, counts: bool) -> None:
        """`counts`: the login failed; else the server did not understand, or was not ready for, what it was told."""
        record = self._record
        # What was refused at USER is over: PASS behind it names nobody else.
        record.failed_user = self._attempted or record.failed_user
        if counts:
            record.login_failures += 1
            self._do(CountLoginFailure(record.failed_user))

    def _give_up_attempt(self) -> None:
        """Nothing more will come of a login that is under way."""
        if self._attempted:
            self._record.failed_user, self._attempted = self._attempted, b""

    def _close(self) -> None:
        if self._is_undecided and self._verdict[0] in _GIVEN_UP:
            # Servers are slow to refuse: whoever leaves before the answer knows it, too.
            self._refused(counts=True)
        self._give_up_attempt()
        Moving._close(self)

    def _replayed_reply(self, expected: Expected, reply: Reply) -> None:
        self._relay(reply)
        if reply.is_preliminary:
            return
        self._expected.remove(expected)
        if reply.is_positive and not self._record.logged_in:
            self._remember(expected.command)

    def _reinitialize_reply(self, expected: Expected, reply: Reply) -> None:
        self._relay(reply)
        if reply.is_preliminary:
            return
        self._expected.remove(expected)
        if reply.is_positive:
            self._drop_path()
            self._start_anew()

    def _start_anew(self) -> None:
        """REIN: as after the greeting."""
        self._give_up_attempt()
        self._named = b""
        record = self._record
        record.user, record.logged_in, record.virtual_host = b"", False, b""
        self._preamble.clear()
        self._user_line = b""
        self._epsv_all = False
        self._restart, self._data_type = 0, "A"

    # --- too many failures ----------------------------------------------------------------------------------------

    def _limit_exceeded(self, event: LoginLimitExceeded) -> None:
        self._asks_to_log_in = self._is_allowed = False
        if self._path is not None and self._path.is_started:
            # No login is begun then; should one fail all the same, what moves is cut before the delay.
            self._end(Culprit.PROXY, LOGIN_LIMIT, f"Too many failed logins, {CLOSES}")
            return
        self._drop_path()
        if self._phase not in (Phase.NEW, Phase.LOCAL):
            self._leave_server()
        self._held.clear()
        self._phase = Phase.PENALTY
