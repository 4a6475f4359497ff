"""Replies of the server: whose they are, and what becomes of them.

RFC 959 section 4.2, RFC 4217 section 4. A reply nobody asked for is never taken for the answer to something else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pasvport.digits import is_number
from pasvport.errors import ProtocolError, Side
from pasvport.ftp.actions import GoBlind, LearnFeatures, SendToClient, SendToServer
from pasvport.ftp.features import features_of, rendered_features
from pasvport.ftp.grammar import Reply
from pasvport.ftp.ground import Expected, Purpose
from pasvport.ftp.login import Login
from pasvport.ftp.opening import NAMES_A_PORT
from pasvport.ftp.settings import Settings
from pasvport.ftp.states import Phase
from pasvport.record import Culprit

_WELCOMING: Final = Phase.WELCOMING
_MOST_KEPT = 8192
"""Lines of a reply that is read as a whole: a banner, FEAT. Bytes are bounded too, but a line costs more than its."""
_STREAMED = frozenset({Purpose.RELAY, Purpose.REPLAYED, Purpose.REMEMBER, Purpose.ABORT})
_CONCLUSIONS = frozenset({226, 250, 425, 426, 450, 451, 452, 550, 551, 552, 553})
_ABOUT_FEATURES = frozenset({211, 500, 502, 504})
"""Replies to FEAT that say what a server can do: the list, or that it knows no FEAT. Others are about the moment."""


class Replies(Login):
    """Every reply from its reading to its relaying."""

    __slots__ = ("_parts", "_parts_for")

    def __init__(self, settings: Settings) -> None:
        Login.__init__(self, settings)
        self._parts: list[bytes] = []
        self._parts_for: Expected | None = None

    def _replied(self, reply: Reply) -> None:
        self._uncertain = None
        if not reply.complete:
            self._part(reply)
            return
        if self._parts:
            reply = Reply(reply.code, (*self._parts, *reply.lines))
            self._parts = []
        expected, self._parts_for = self._parts_for, None
        if self._phase is _WELCOMING:
            self._banner(reply)
        elif reply.code == 421:
            self._dismissed(reply)
        else:
            self._answered(reply, expected or self._matching(reply.code))

    def _part(self, reply: Reply) -> None:
        """The beginning or middle of a long reply: passed on where nobody reads it, kept (bounded) where we must."""
        welcoming = self._phase is Phase.WELCOMING
        expected = self._parts_for or (None if welcoming else self._matching(reply.code))
        if expected is not None and expected.purpose in _STREAMED and reply.code != 421:
            self._check_port(reply, expected)
            self._parts_for = expected
            if not expected.told:
                self._relay(reply)
        else:
            self._parts.extend(reply.lines)
            if len(self._parts) > _MOST_KEPT:
                raise ProtocolError("reply too long", Side.SERVER)

    def _answered(self, reply: Reply, expected: Expected | None) -> None:
        if expected is None:
            # Nobody asked: relayed, it would be taken for the answer to the client's next command.
            self._record.strays += 1
            return
        if reply.code in NAMES_A_PORT:
            if self._is_late_port(reply, expected):
                return
            self._check_port(reply, expected)
        _REPLIES[expected.purpose](self, expected, reply)

    def _check_port(self, reply: Reply, expected: Expected) -> None:
        """No client ever hears of a data port that is not ours."""
        if reply.code in NAMES_A_PORT and expected.purpose is not Purpose.PASSIVE:
            raise ProtocolError(f"{reply.code} to another command than PASV and EPSV", Side.SERVER)

    def _matching(self, code: int) -> Expected | None:
        """Whose reply this is. Servers answer commands given during a transfer before its end, or after."""
        waiting = self._expected
        if waiting and waiting[0].doubtful:
            self._settle_doubts(code)
        if not waiting:
            return None
        head = waiting[0]
        during = head.preliminary and len(waiting) > 1 and head.purpose is Purpose.TRANSFER
        if during and code >= 200 and code not in _CONCLUSIONS:
            return waiting[1]
        return head

    def _dismissed(self, reply: Reply) -> None:
        """421, asked or unasked: relayed once; before login another server takes over."""
        path = self._path
        if self._phase is Phase.PARTING:
            self._end(Culprit.NONE, "QUIT, answered 421", reply.text)
        elif path is not None and path.holds_replies:
            self._server_gone = "the server said 421"
            self._refusal = reply.text
        elif self._is_replaceable:
            self._refusal = reply.text
            self._redispatch("the server said 421", Culprit.SERVER_ABORT)
        else:
            self._hung_up()
            self._end(Culprit.SERVER_ABORT, "the server said 421", reply.text)

    def _relay_reply(self, expected: Expected, reply: Reply) -> None:
        if not expected.told:
            self._relay(reply)
        if not reply.is_preliminary:
            self._expected.remove(expected)

    def _remembered_reply(self, expected: Expected, reply: Reply) -> None:
        self._relay_reply(expected, reply)
        verb, argument = expected.command.verb, expected.command.argument
        if reply.is_positive and verb == "TYPE" and argument:
            self._data_type = argument[:1].upper().decode("latin-1")
        elif reply.code == 350 and is_number(argument):
            self._restart = int(argument)

    def _features_reply(self, expected: Expected, reply: Reply) -> None:
        if reply.is_preliminary:
            return
        self._expected.remove(expected)
        if reply.code not in _ABOUT_FEATURES:
            self._relay(reply)
            return
        found = features_of(reply)
        self._do(LearnFeatures(tuple(sorted(found))))
        self._do(SendToClient(rendered_features(self._settings, found)))

    def _authenticate_reply(self, expected: Expected, reply: Reply) -> None:
        """234 is RFC 4217's answer; after another 2xx, or 334, clients begin TLS too, or go on in clear text."""
        if reply.code != 234:
            self._relay_reply(expected, reply)
            self._tls_offered = 200 <= reply.code < 300 or reply.code == 334
            return
        # What stands in clear behind AUTH or 234 was put there by somebody else (RFC 4217 section 10, RFC 3207).
        if self._held or not (self._client.is_empty or self._client.looks_like_tls):
            raise ProtocolError("clear text after AUTH", Side.CLIENT)
        if not self._server.is_empty:
            raise ProtocolError("clear text after 234", Side.SERVER)
        self._relay_reply(expected, reply)
        self._become_blind()

    def _become_blind(self) -> None:
        """From here on TLS is spoken; a hello that came before its time is passed on."""
        self._drop_path()
        self._phase = Phase.BLIND
        self._record.blind = True
        # Whoever logged in before must do so again (RFC 4217 section 4), and what is said then cannot be read.
        self._give_up_attempt()
        self._record.user, self._record.logged_in = b"", False
        hello = self._client.take_all()
        if hello:
            self._do(SendToServer(hello))
        self._do(GoBlind())

    def _quit_reply(self, expected: Expected, reply: Reply) -> None:
        self._relay_reply(expected, reply)
        if not reply.is_preliminary:
            self._end(Culprit.NONE, "QUIT")


_REPLIES: dict[Purpose, Callable[[Replies, Expected, Reply], None]] = {
    Purpose.RELAY: Replies._relay_reply,
    Purpose.REPLAYED: Replies._replayed_reply,
    Purpose.REMEMBER: Replies._remembered_reply,
    Purpose.LOGIN: Replies._login_reply,
    Purpose.PASSIVE: Replies._passive_reply,
    Purpose.TRANSFER: Replies._transfer_reply,
    Purpose.ABORT: Replies._relay_reply,
    Purpose.FEATURES: Replies._features_reply,
    Purpose.AUTHENTICATE: Replies._authenticate_reply,
    Purpose.REINITIALIZE: Replies._reinitialize_reply,
    Purpose.QUIT: Replies._quit_reply,
    Purpose.REPLAY: Replies._replay_reply,
}
