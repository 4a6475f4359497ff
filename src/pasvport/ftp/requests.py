"""Commands of the client: which may go now, what each becomes.

One command is with the server at a time, so that replies are in order even where a client sends several ahead; during a
transfer ABOR, STAT and NOOP go through.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pasvport.errors import ProtocolError, Side
from pasvport.ftp.data_path import DataPath
from pasvport.ftp.grammar import Command, parse_command, verbs_behind_cr
from pasvport.ftp.ground import Purpose
from pasvport.ftp.login import AUTH_REFUSED, LOGS_IN, NOT_LOGGED_IN, UNAVAILABLE
from pasvport.ftp.replies import Replies
from pasvport.ftp.settings import Settings
from pasvport.ftp.states import Phase
from pasvport.ftp.verbs import VERBS, Arity, Treatment
from pasvport.model import AuthTls
from pasvport.record import Culprit

MAX_IN_TRANSFER = 8
"""Commands forwarded during a transfer whose replies are still due; further ones wait."""

_LOCAL: Final = Phase.LOCAL
_TAKES_COMMANDS: Final = frozenset({Phase.LOCAL, Phase.OPEN})
_DEAF: Final = frozenset({Phase.BLIND, Phase.OVER, Phase.LEAVING, Phase.PENALTY})
_SERVERS_TO_JUDGE: Final = frozenset({Treatment.FORWARD, Treatment.REPLAYED, Treatment.REMEMBER})
_TLS_MECHANISMS = frozenset({b"TLS", b"TLS-C", b"TLS-P", b"SSL"})


class Requests(Replies):
    """Every command from its line to its forwarding or its answer."""

    __slots__ = ("_refused_in_a_row",)

    def __init__(self, settings: Settings) -> None:
        Replies.__init__(self, settings)
        self._refused_in_a_row = 0

    def _proceed(self) -> None:
        """Obey what the client sent, in order, as far as it can be obeyed now."""
        if not self._client.is_empty:
            self._pull()
        while self._held and self._phase in _TAKES_COMMANDS:
            command = self._next_command()
            if command is None:
                break
            self._obey(command)
            self._pull()
        if self._client.begins_tls and self._phase not in _DEAF:
            self._tls_begun()
        if self._client_done or self._server_gone or self._draining is not None:
            self._rest()

    def _pull(self) -> None:
        held, limit = self._held, self._settings.max_held
        client = self._client
        if self._phase in _DEAF:
            return
        while len(held) < limit and (not held or self._size_of_held() < self._settings.max_held_bytes):
            line = client.pull()
            if line is None:
                return
            if not line.data.strip(b"\r") and not line.fault:
                # vsftpd and Pure-FTPd say nothing to it, and a client would take an answer for its next command's.
                continue
            self._record.commands += 1
            held.append(parse_command(line))

    def _size_of_held(self) -> int:
        return sum([len(command.line) for command in self._held])

    def _tls_begun(self) -> None:
        """The client's hello is there: it waits for the answer to AUTH, and ends a session that agreed to no TLS.

        A hello that comes with AUTH in one segment is no injection: whoever put it there cannot go on with it.
        """
        asked = any(each.verb == "AUTH" for each in self._held)
        if asked or any(each.purpose is Purpose.AUTHENTICATE for each in self._expected):
            return
        if not self._tls_offered or self._expected or self._held:
            raise ProtocolError("TLS without AUTH", Side.CLIENT)
        if not self._reader.is_empty:
            raise ProtocolError("clear text after the answer to AUTH", Side.SERVER)
        self._become_blind()

    @property
    def _is_owed(self) -> bool:
        """The server owes a reply for certain."""
        expected = self._expected
        if not expected:
            return False
        # Doubtful ones are rare and first.
        return not expected[-1].doubtful or any(not each.doubtful for each in expected)

    @property
    def _is_busy(self) -> bool:
        return self._is_owed or (self._path is not None and self._path.is_busy)

    def _next_command(self) -> Command | None:
        """The first held command if nothing is under way; during a transfer, what may be said then."""
        held, path = self._held, self._path
        if self._server_gone:
            self._abort_alone(path)
            return None
        if self._asks_to_log_in:
            return None
        if (path is None and not self._expected) or not self._is_busy:
            waits = path is not None and path.awaits_server and _is_transfer(held[0])
            return held.pop(0) if self._draining is None and not waits else None
        if path is None or not path.is_transferring or len(self._expected) > MAX_IN_TRANSFER:
            return None
        if not path.aborted:
            urgent = next((each for each in held if each.verb == "ABOR"), None)
            if urgent is not None:
                held.remove(urgent)
                return urgent
        verb = VERBS.get(held[0].verb)
        if verb is not None and verb.in_transfer and verb.name != "ABOR":
            return held.pop(0)
        if path.late is None or not path.awaits_word:
            return None
        self._was_all()
        return held.pop(0)

    def _abort_alone(self, path: DataPath | None) -> None:
        """ABOR, where no server is left that could be told."""
        if path is not None and path.is_started and any(each.verb == "ABOR" for each in self._held):
            path.aborted = True
            self._cut(path)

    def _obey(self, command: Command) -> None:
        verb = command.verb
        self._last = command
        self._tls_offered = False
        if not verb:
            self._refuse(500, f"{command.fault[0].upper()}{command.fault[1:]}.")
        elif verb in self._settings.denied:
            self._refuse(502, f"{verb} is not allowed.")
        elif b"\r" in command.line and self._hides_another(command.line):
            self._refuse(501, "A name may have a CR, but no command behind it.")
        elif not command.argument and self._lacks_argument(verb):
            self._refuse(501, f"{verb} needs an argument.")
        elif verb in LOGS_IN and self._must_be_allowed(command):
            return
        elif self._phase is _LOCAL:
            self._refused_in_a_row = 0 if verb in VERBS else self._refused_in_a_row
            self._local_or_refused(command)
        elif not self._record.logged_in and not self._may_ask(command):
            self._refuse(530, NOT_LOGGED_IN)
        else:
            self._refused_in_a_row = 0
            row = VERBS.get(verb)
            _OBEY[row.treatment if row is not None else Treatment.FORWARD](self, command)

    def _lacks_argument(self, verb: str) -> bool:
        """Whether we cannot go on without one; what is only passed on is the server's to judge."""
        row = VERBS.get(verb)
        if row is None or row.arity is not Arity.REQUIRED:
            return False
        return row.treatment not in _SERVERS_TO_JUDGE or self._phase is _LOCAL

    def _hides_another(self, line: bytes) -> bool:
        """Whether a server that ends lines at a lone CR would find a further command, which nobody here has seen."""
        return any(verb in VERBS or verb in self._settings.denied for verb in verbs_behind_cr(line))

    def _local_or_refused(self, command: Command) -> None:
        row = VERBS.get(command.verb)
        if row is None:
            self._refuse(530, NOT_LOGGED_IN)
        elif row.treatment is Treatment.REFUSE:
            self._not_implemented(command)
        else:
            self._local(command)

    def _refuse(self, code: int, text: str) -> None:
        """An answer of our own to what is not allowed; too many in a row are no dialogue."""
        self._record.refused_commands += 1
        self._refused_in_a_row += 1
        if self._refused_in_a_row > self._settings.max_refused:
            raise ProtocolError("too many bad commands", Side.CLIENT)
        self._say(code, text)

    def _forward(self, command: Command) -> None:
        self._ask(command.line, Purpose.RELAY, command)

    def _replayed(self, command: Command) -> None:
        self._ask(command.line, Purpose.REPLAYED, command)

    def _remembered(self, command: Command) -> None:
        self._ask(command.line, Purpose.REMEMBER, command)

    def _features(self, command: Command) -> None:
        # With an argument it is no question that every server understands alike, and nothing is learnt from the answer.
        self._ask(command.line, Purpose.RELAY if command.argument.strip() else Purpose.FEATURES, command)

    def _quit(self, command: Command) -> None:
        self._drop_path()
        self._ask(command.line, Purpose.QUIT, command)
        self._phase = Phase.PARTING

    def _authenticate(self, command: Command) -> None:
        mechanism = command.argument.strip().upper()
        if mechanism not in _TLS_MECHANISMS:
            self._say(504, "Only AUTH TLS.")
        elif self._settings.auth is AuthTls.REFUSE or self._settings.deferred:
            self._say(534, AUTH_REFUSED)
        else:
            self._ask(command.line, Purpose.AUTHENTICATE, command)

    def _only_default(self, command: Command) -> None:
        row = VERBS[command.verb]
        if command.argument.strip().upper() == row.default:
            self._forward(command)
        else:
            self._say(504, f"Only {row.name} {row.default.decode('ascii')}.")

    def _clear(self, command: Command) -> None:
        self._say(533, "The control connection cannot go back to clear text.")

    def _not_implemented(self, command: Command) -> None:
        self._refuse(502, f"{command.verb} is not implemented.")

    def _rest(self) -> None:
        """Nothing more can be done now: is it the moment that somebody waits for?"""
        if self._phase not in _TAKES_COMMANDS or self._is_busy:
            return
        if self._draining is not None:
            culprit, reason = self._draining
            self._end(culprit, reason, UNAVAILABLE)
        elif self._server_gone:
            goodbye = self._refusal or (UNAVAILABLE if self._held else b"")
            self._end(Culprit.SERVER_ABORT, self._server_gone, goodbye)
        elif self._client_done and not self._held:
            self._end(Culprit.NONE if self._record.logged_in else Culprit.CLIENT_ABORT, "the client closed")


def _is_transfer(command: Command) -> bool:
    """What the server must not hear before its data port was reached: until then there may be another."""
    verb = VERBS.get(command.verb)
    return verb is not None and verb.treatment is Treatment.TRANSFER


_OBEY: dict[Treatment, Callable[[Requests, Command], None]] = {
    Treatment.FORWARD: Requests._forward,
    Treatment.REPLAYED: Requests._replayed,
    Treatment.REMEMBER: Requests._remembered,
    Treatment.LOGIN: Requests._login,
    Treatment.PASSIVE: Requests._open_passive,
    Treatment.ACTIVE: Requests._open_active,
    Treatment.TRANSFER: Requests._transfer,
    Treatment.ABORT: Requests._abort,
    Treatment.QUIT: Requests._quit,
    Treatment.REINITIALIZE: Requests._reinitialize,
    Treatment.FEATURES: Requests._features,
    Treatment.AUTHENTICATE: Requests._authenticate,
    Treatment.ONLY_DEFAULT: Requests._only_default,
    Treatment.CLEAR: Requests._clear,
    Treatment.REFUSE: Requests._not_implemented,
}
