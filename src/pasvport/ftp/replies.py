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
from pasvport.ftp.grammar import Reply, rendered
from pasvport.ftp.ground import Expected, Purpose
from pasvport.ftp.login import Login
from pasvport.ftp.opening import NAMES_A_PORT
from pasvport.ftp.passive import names_port
from pasvport.ftp.settings import Settings
from pasvport.ftp.states import PathState, Phase
from pasvport.record import Culprit

_WELCOMING: Final = Phase.WELCOMING
_TRANSFER: Final = Purpose.TRANSFER
_HEARS_REPLIES: Final = frozenset({Phase.WELCOMING, Phase.REPLAYING, Phase.OPEN, Phase.PARTING})
_MOST_KEPT = 256 * 1024
"""Bytes of a reply that is read as a whole: a banner, FEAT, the end of a transfer."""
_AS_IT_COMES = frozenset(
    {
        Purpose.RELAY,
        Purpose.REPLAYED,
        Purpose.REMEMBER,
        Purpose.LOGIN,
        Purpose.REINITIALIZE,
        Purpose.ABORT,
        Purpose.QUIT,
    }
)
"""Replies of which the client gets every line when it has come, whatever will follow."""
_SHOWS_TEXT = _AS_IT_COMES | {Purpose.TRANSFER, Purpose.AUTHENTICATE}
_CONCLUSIONS = frozenset({226, 250, 425, 426, 450, 451, 452, 550, 551, 552, 553})
_ONLY_OF_TRANSFERS = frozenset({226, 426, 451, 452, 551, 552})
"""What no other command is answered that may be given during a transfer (RFC 959 section 5.4: STAT, NOOP)."""
_NOT_ABOUT_FEATURES = frozenset({503, 530, 550})
"""Refusals of FEAT that are about the moment, as 4xx are; others say that the server knows no FEAT."""
_PASSIVE_PORTS = frozenset({227, 229})


class Replies(Login):
    """Every reply from its reading to its relaying."""

    __slots__ = ("_after", "_inside", "_kept", "_midway", "_overdue", "_owner")

    def __init__(self, settings: Settings) -> None:
        Login.__init__(self, settings)
        self._kept: bytearray | None = None
        """What has come of a reply that is read as a whole."""
        self._inside = False
        """A reply has begun, which is `_owner`'s."""
        self._owner: Expected | None = None
        self._midway = self._overdue = False
        """The client has the beginning of a reply; one was taken for ended, and the client has said nothing since."""
        self._after = b""
        """What it is to hear once it has its end."""

    def _forget_server(self) -> None:
        super()._forget_server()
        self._kept, self._inside, self._owner = None, False, None
        self._midway = self._overdue = False

    def _say(self, code: int, text: str | bytes) -> None:
        """A reply of our own; never inside one of the server's, but for the last words of all."""
        if self._midway and code != 421:
            self._after += rendered(code, text)
        else:
            super()._say(code, text)

    # --- from bytes to replies ------------------------------------------------------------------------------------

    def _replied(self, reply: Reply) -> None:
        self._uncertain = None
        if reply.complete:
            self._whole(reply)
            return
        doubt = self._reader.doubt
        if doubt in NAMES_A_PORT:
            self._check_hidden_port(reply)
        if reply.code:
            self._piece(reply)
        else:
            self._text(reply)
        if doubt and (doubt != reply.code or reply.lines[-1] == b"%d" % doubt) and self._ends_at_once(doubt):
            self._take_as_ended()

    def _whole(self, reply: Reply) -> None:
        self._midway = False
        self._dispose(reply)
        if self._after:
            self._do(SendToClient(self._after))
            self._after = b""

    def _dispose(self, reply: Reply) -> None:
        """Of a reply that is whole, or whose last piece this is."""
        if self._kept is not None:
            reply = Reply(reply.code, bytes(self._kept) + reply.raw)
            self._kept = None
        inside, owner = self._inside, self._owner
        self._inside, self._owner = False, None
        if self._phase is _WELCOMING:
            if reply.code in NAMES_A_PORT:
                self._check_hidden_port(reply)
            self._banner(reply)
        elif reply.code == 421:
            self._dismissed(reply)
        elif not inside:
            self._answered(reply, self._matching(reply.code))
        else:
            self._answered(reply, owner if owner in self._expected else None)

    def _check_hidden_port(self, reply: Reply) -> None:
        """Nor does one where a line among others looks like 227 or 229, which curl would take for a reply."""
        asked = self._expected[0].purpose if self._expected else None
        if asked is not Purpose.PASSIVE and names_port(reply.text):
            raise ProtocolError("a data port in another reply than that to PASV and EPSV", Side.SERVER)

    def _piece(self, reply: Reply) -> None:
        """Of a reply whose end is still to come: passed on where nobody reads it, kept (bounded) where we must."""
        welcoming = self._phase is _WELCOMING
        if not self._inside:
            self._inside = True
            self._owner = None if welcoming else self._matching(reply.code)
        owner = self._owner
        if owner is not None and owner.purpose in _AS_IT_COMES and reply.code != 421:
            self._check_port(reply, owner)
            if not owner.told:
                self._midway = self._path is None or not self._path.holds_replies
                self._relay(reply)
        elif owner is not None or welcoming or reply.code == 421:
            self._keep(reply.raw)
        elif self._overdue:
            self._relay(reply)

    def _text(self, reply: Reply) -> None:
        """Lines that are no part of a reply: clients skip them, or show them."""
        if self._phase is _WELCOMING:
            self._keep(reply.raw)
        elif self._phase is not Phase.REPLAYING:
            awaited = self._expected[0] if self._expected else None
            if awaited is None:
                self._relay(reply)
            elif not awaited.told:
                if awaited.purpose in _SHOWS_TEXT and not self._may_conclude(awaited):
                    self._relay(reply)
                else:
                    self._keep(reply.raw)

    def _keep(self, data: bytes) -> None:
        if self._kept is None:
            self._kept = bytearray()
        self._kept += data
        if len(self._kept) > _MOST_KEPT:
            raise ProtocolError("reply too long", Side.SERVER)

    # --- replies whose end is in doubt ----------------------------------------------------------------------------

    @property
    def _may_have_ended(self) -> bool:
        """Some clients would say that the reply has ended which somebody waits for."""
        if not self._reader.doubt or self._phase not in _HEARS_REPLIES:
            return False
        return self._phase is not Phase.OPEN or self._reader.is_open or bool(self._expected)

    def _may_conclude(self, awaited: Expected) -> bool:
        """A line without a space behind its code is a transfer's reply, for lftp and ftplib: `2260 Done`."""
        return awaited.purpose is _TRANSFER and self._reader.doubt > 0

    @property
    def _speaks_on(self) -> bool:
        """What the client says now it says after a reply that has ended by its rules: it sends nothing ahead."""
        expected = self._expected
        alone = self._phase is Phase.OPEN and len(expected) == 1 and not self._held and self._client.is_empty
        return alone and expected[0].purpose in _AS_IT_COMES

    @property
    def _owes_a_final_reply(self) -> bool:
        """A transfer was granted, and of the line that ends it some has come."""
        granted = bool(self._expected) and self._expected[0].preliminary
        return granted and self._phase is Phase.OPEN and self._reader.begins_with_code

    def _ends_at_once(self, doubt: int) -> bool:
        """The client and the server must go on for anything more to come; should the reply go on, nothing is lost."""
        owner = self._owner if self._inside else next(iter(self._expected), None)
        if owner is None or self._phase is not Phase.OPEN:
            return False
        if owner.purpose is Purpose.PASSIVE:
            return doubt in _PASSIVE_PORTS
        return owner.purpose is _TRANSFER and not owner.preliminary and 100 <= doubt < 200

    def _take_as_ended(self) -> None:
        """The reply in doubt, if there is one, has ended."""
        if self._may_have_ended:
            self._replied(self._reader.settle())

    def _spoken_on(self) -> None:
        """The client says something: has the reply ended that it was waiting for?"""
        self._overdue = False
        if (self._reader.doubt or self._reader.faint) and self._speaks_on:
            self._replied(self._reader.settle())

    def _silent(self) -> None:
        """The server has said nothing more for a moment. Should the reply go on, the client shall have the rest."""
        owner = self._owner if self._inside else next(iter(self._expected), None)
        shown = owner is None or owner.purpose in _SHOWS_TEXT
        self._take_as_ended()
        self._was_all()
        self._overdue = shown

    # --- whose a reply is -----------------------------------------------------------------------------------------

    def _answered(self, reply: Reply, expected: Expected | None) -> None:
        if expected is None:
            self._stray(reply)
            return
        if reply.code in NAMES_A_PORT:
            if self._is_late_port(reply, expected):
                return
            self._check_port(reply, expected)
        _REPLIES[expected.purpose](self, expected, reply)

    def _stray(self, reply: Reply) -> None:
        """Nobody asked: relayed, it would be taken for the answer to the client's next command."""
        if self._overdue:
            self._relay(reply)
        else:
            self._record.strays += 1

    def _check_port(self, reply: Reply, expected: Expected) -> None:
        """No client ever hears of a data port that is not ours."""
        if reply.code in NAMES_A_PORT and expected.purpose is not Purpose.PASSIVE:
            raise ProtocolError(f"{reply.code} to another command than PASV and EPSV", Side.SERVER)

    def _matching(self, code: int) -> Expected | None:
        """Whose reply this is. Servers answer commands given during a transfer before its end, or after.

        As many replies come as commands were given, so that a wrong guess shifts none that comes later.
        """
        waiting = self._expected
        if waiting and waiting[0].doubtful:
            self._settle_doubts(code)
        if not waiting:
            return None
        head = waiting[0]
        if len(waiting) > 1 and head.purpose is _TRANSFER and not self._is_of_transfer(head, code):
            return waiting[1]
        return head

    def _is_of_transfer(self, transfer: Expected, code: int) -> bool:
        """Whether a reply is the transfer's, where other commands wait for theirs too."""
        path = self._path
        if code < 200 or code in _ONLY_OF_TRANSFERS:
            return True
        if not transfer.preliminary and (path is None or path.ahead is None):
            # Refusals come in order; nothing is complete that has not begun.
            return code == 250 or code >= 300
        if path is None or path.aborted or transfer.told or path.is_cut_short:
            return code in _CONCLUSIONS
        if path.state is PathState.ENDED:
            return code == 250
        # It goes on as long as its data does.
        return code == 425 and path.state is PathState.GRANTED

    def _dismissed(self, reply: Reply) -> None:
        """421, asked or unasked: relayed once; before login another server takes over."""
        path = self._path
        if self._phase is Phase.PARTING:
            self._end(Culprit.NONE, "QUIT, answered 421", reply.text)
        elif path is not None and path.holds_replies:
            self._server_gone = "the server said 421"
            self._refusal = reply.text
        elif path is not None and path.may_flow_on:
            self._flow_on("the server said 421")
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
        if 400 <= reply.code < 500 or reply.code in _NOT_ABOUT_FEATURES:
            self._relay(reply)
            return
        found = features_of(reply)
        if found:
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
        if not self._reader.is_empty:
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
