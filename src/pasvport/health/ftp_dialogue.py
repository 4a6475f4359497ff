"""`option ftp-check` as a dialogue: banner, login, FEAT, data connection, transfer, QUIT. No socket and no clock.

Sources: RFC 959 sections 4.2, 5.4 and 6 (replies and their order), RFC 2428 (EPSV), RFC 2389 (FEAT). What each step
accepts, and what its texts mean: `ftp_steps`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pasvport.errors import ProtocolError
from pasvport.ftp.features import features_of
from pasvport.ftp.grammar import Reply, ReplyReader
from pasvport.ftp.passive import named_target
from pasvport.health.event import (
    Action,
    Broken,
    BytesReceived,
    CloseData,
    Connect,
    ConnectData,
    Connected,
    DataBroken,
    DataClosed,
    DataConnected,
    DataReceived,
    DataSent,
    Event,
    Finish,
    Patience,
    PeerClosed,
    Send,
    StepTimedOut,
    TimedOut,
    WaitBriefly,
    WaitUntil,
)
from pasvport.health.ftp_steps import (
    LAST_WORD,
    LULL,
    MOST_CONTROL,
    MOST_DATA,
    MOST_LULLS,
    MOST_REPLY,
    STEP_WAIT,
    STEPS,
    FtpStep,
)
from pasvport.health.result import CheckResult, Status
from pasvport.model import FtpCheck, FtpCheckAction, FtpCheckMode, FtpPassive
from pasvport.record import DataMode

_NOT_READY = 421
_ROOM = 1 << 20
_ACCOUNT_WANTED = 332
_SHOWN = bytes.maketrans(bytes(range(32)) + b"\x7f", b" " * 33)
"""A text goes into logs and statistics: what would steer a terminal or end a line is a space there."""
_WAYS = {
    FtpPassive.AUTO: ("PASV", "EPSV"),
    FtpPassive.PASV: ("PASV",),
    FtpPassive.EPSV: ("EPSV",),
}
_MODES = {"PASV": DataMode.PASV, "EPSV": DataMode.EPSV}
_NAMES_A_PORT = {"PASV": 227, "EPSV": 229}
_NO_DATA = (421, 425, 426, 530, 532)
"""Refusals of LIST that mean that no client gets data; others are about the directory or the user's rights."""
_TYPES = {FtpCheckAction.RETR: "I"}
_VERBS = {FtpCheckAction.RETR: "RETR"}


class FtpDialogue:
    """One check as `wanted`. Same use as ScriptDialogue: `start()` once, `receive()` per event until a Finish.

    Accepts any event at any time. `ipv6`: the checked address is one, so that only EPSV can be asked. The text of a
    result never contains the password. `features` are the names that FEAT listed, of those the balancer can carry;
    None as long as the server was not asked.
    """

    def __init__(
        self, wanted: FtpCheck, patience: Patience, passive: FtpPassive = FtpPassive.AUTO, *, ipv6: bool = False
    ) -> None:
        self._wanted = wanted
        self._patience = patience
        # As clients are served: the other way where the first fails, unless one is fixed.
        self._ways = list(("EPSV",) if ipv6 or wanted.mode is FtpCheckMode.EPSV else _WAYS[passive])
        self._given_up: list[str] = []
        self._candidate = 0
        self._again = False
        self._step = FtpStep.CONNECT
        self._replies = ReplyReader(MOST_REPLY)
        self._kept = b""
        self._said_text = False
        self._lulls = 0
        self._in_lull = False
        """The deadline is that of a reply which may be over."""
        self._taken = 0
        self._moved = 0
        self._data_over = False
        self._data_fault = ""
        self._last: Reply | None = None
        self._verdict: CheckResult | None = None
        self._aborted = False
        self._finished = False
        self.features: tuple[bytes, ...] | None = None

    @property
    def room(self) -> int:
        """Nothing waits here but an unfinished line and reply, both bounded: there always is room."""
        return _ROOM

    def start(self) -> list[Action]:
        """Connect, and a deadline."""
        # Lingering: a reset would be an error in the server's log, every few seconds.
        return [Connect(linger=True), WaitUntil(self._patience.connect)]

    def receive(self, event: Event) -> list[Action]:
        """The consequences of one event, in order."""
        if self._finished or (self._step is FtpStep.CONNECT and not isinstance(event, Connected | Broken | TimedOut)):
            return []
        return _EVENTS[type(event)](self, event)

    # --- the control connection -----------------------------------------------------------------------------------

    def _connected(self, _: Connected) -> list[Action]:
        if self._step is not FtpStep.CONNECT:
            return []
        self._step = FtpStep.BANNER
        if self._again:
            return []
        return [] if self._patience.reply is None else [WaitUntil(self._patience.reply)]

    def _bytes_received(self, event: BytesReceived) -> list[Action]:
        self._taken += len(event.data)
        if self._taken > MOST_CONTROL:
            return self._junk("too many replies")
        reader = self._replies
        reader.push(event.data)
        actions: list[Action] = []
        if self._in_lull:
            actions.append(self._resumed())
        try:
            while not self._finished and (reply := reader.pull() or reader.rest()) is not None:
                actions += self._piece(reply)
        except ProtocolError as error:
            return [*actions, *self._junk(str(error))]
        if reader.doubt and not self._finished and self._lulls < MOST_LULLS:
            self._lulls += 1
            self._in_lull = True
            actions.append(WaitUntil(LULL))
        return actions

    def _resumed(self) -> WaitUntil:
        """The time that a step may take, anew."""
        self._in_lull = False
        return WaitUntil(self._patience.connect if self._patience.reply is None else self._patience.reply)

    def _piece(self, reply: Reply) -> list[Action]:
        """Text outside replies is skipped, as clients skip it; a reply counts once it is whole."""
        if not reply.code:
            self._said_text = True
            return []
        self._kept += reply.raw
        if not reply.complete:
            return []
        whole, self._kept = Reply(reply.code, self._kept), b""
        return self._reply(whole)

    def _reply(self, reply: Reply) -> list[Action]:
        if self._verdict is not None:
            # After ABOR, two more replies may come before 221.
            return [] if self._aborted and reply.code != 221 else self._finish()
        self._last = reply
        if reply.code == _NOT_READY and not self._may_try_again:
            return self._fail(Status.L7STS, "not ready", reply)
        return _REPLIES[self._step](self, reply)

    def _peer_closed(self, _: PeerClosed) -> list[Action]:
        if self._may_try_again:
            return self._try_again()
        return self._finish() if self._verdict is not None else self._fail(Status.L7RSP, "connection closed")

    def _broken(self, event: Broken) -> list[Action]:
        if self._may_try_again:
            return self._try_again()
        if self._verdict is not None:
            return self._finish()
        return self._fail(Status.L4CON if self._step is FtpStep.CONNECT else Status.SOCKERR, event.text)

    def _timed_out(self, _: TimedOut) -> list[Action]:
        if self._in_lull:
            return [self._resumed(), *self._piece(self._replies.settle())]
        if self._verdict is not None:
            return self._finish()
        if self._step is FtpStep.BANNER and self._last is not None:
            return self._fail(Status.L7STS, "not ready", self._last)
        if self._step is FtpStep.BANNER and self._said_text:
            return self._fail(Status.L7RSP, "not a reply")
        if self._step in (FtpStep.CONNECT, FtpStep.DATA):
            return self._farewell() + self._fail(Status.L4TOUT, "no connection")
        is_over = self._step is not FtpStep.TRANSFER or self._data_over
        return self._farewell() + self._fail(Status.L7TOUT, "no answer" if is_over else "no end of data")

    # --- replies, step by step ------------------------------------------------------------------------------------

    def _banner(self, reply: Reply) -> list[Action]:
        if reply.is_preliminary:
            # 120: ready in a while. The greeting is still to come.
            return []
        if not reply.is_positive:
            return self._wrong(reply)
        return self._ask(FtpStep.USER, "USER", self._wanted.user) if self._wanted.user else self._succeed()

    def _user(self, reply: Reply) -> list[Action]:
        if reply.is_preliminary:
            return []
        if reply.code // 100 == 3 and reply.code != _ACCOUNT_WANTED:
            return self._ask(FtpStep.PASS, "PASS", self._wanted.password)
        return self._ask(FtpStep.FEAT, "FEAT") if _is_good(reply) else self._wrong(reply)

    def _pass(self, reply: Reply) -> list[Action]:
        if reply.is_preliminary:
            return []
        return self._ask(FtpStep.FEAT, "FEAT") if _is_good(reply) else self._wrong(reply)

    def _feat(self, reply: Reply) -> list[Action]:
        if reply.is_preliminary:
            return []
        # What is refused or listed badly says nothing of what the server can do.
        self.features = tuple(sorted(features_of(reply))) or None
        if self._wanted.mode is FtpCheckMode.NONE and self._wanted.action is FtpCheckAction.NONE:
            return self._succeed()
        return self._ask(FtpStep.TYPE, "TYPE", _TYPES.get(self._wanted.action, "A"))

    def _type(self, reply: Reply) -> list[Action]:
        passes = _is_good(reply) or self._wanted.action is FtpCheckAction.NONE
        return self._ask_port() if passes else self._wrong(reply)

    # --- a data port ----------------------------------------------------------------------------------------------

    @property
    def _brief(self) -> int:
        """Milliseconds for one step on the way to a data connection, so that another way may be tried after it."""
        whole = self._patience.connect if self._patience.reply is None else self._patience.reply
        return min(STEP_WAIT, whole // 4)

    def _ask_port(self) -> list[Action]:
        actions = self._ask(FtpStep.PASSIVE, self._ways[0])
        return [*actions, WaitBriefly(self._brief)] if len(self._ways) > 1 else actions

    def _other_way(self) -> list[Action]:
        del self._ways[0]
        return [CloseData(), WaitBriefly(0), *self._ask_port()]

    def _passive_reply(self, reply: Reply) -> list[Action]:
        if reply.is_preliminary:
            return []
        if reply.code == _NOT_READY:
            return self._try_again()
        way = self._ways[0]
        try:
            port = named_target(reply, _MODES[way]).port
        except ProtocolError as error:
            if self._given_up:
                self._given_up.pop()
                return []
            if len(self._ways) > 1:
                return self._other_way()
            if reply.code != _NAMES_A_PORT[way]:
                return self._wrong(reply)
            return self._fail(Status.L7RSP, str(error), reply)
        if self._given_up and reply.code != _NAMES_A_PORT[way]:
            # Late, and gone when the question that is out is heard; unless nothing answers that.
            self._given_up.pop()
            self._candidate = port
            return [WaitBriefly(self._brief)]
        return self._dial(port)

    def _dial(self, port: int) -> list[Action]:
        self._step = FtpStep.DATA
        return [WaitBriefly(self._brief if len(self._ways) > 1 else 0), ConnectData(port)]

    def _step_timed_out(self, _: StepTimedOut) -> list[Action]:
        if self._step is FtpStep.PASSIVE and self._candidate:
            return self._dial(self._candidate)
        if self._step not in (FtpStep.PASSIVE, FtpStep.DATA) or len(self._ways) == 1:
            return []
        if self._step is FtpStep.PASSIVE:
            self._given_up.append(self._ways[0])
        return self._other_way()

    def _late(self, reply: Reply) -> list[Action]:
        """While the data port is dialled only a late answer is expected."""
        return [] if reply.code in _NAMES_A_PORT.values() else self._wrong(reply)

    @property
    def _may_try_again(self) -> bool:
        return self._verdict is None and self._step is FtpStep.PASSIVE and len(self._ways) > 1

    def _try_again(self) -> list[Action]:
        """The server hangs up when it is asked like this: log in again, and ask the other way."""
        del self._ways[0]
        self._given_up.clear()
        self._step, self._again = FtpStep.CONNECT, True
        self._replies, self._kept, self._in_lull = ReplyReader(MOST_REPLY), b"", False
        return [WaitBriefly(0), CloseData(), Connect(linger=True)]

    # --- the transfer ---------------------------------------------------------------------------------------------

    def _begin(self, reply: Reply) -> list[Action]:
        if reply.code in _NAMES_A_PORT.values():
            return []
        if not (reply.is_preliminary or _is_good(reply)):
            return self._refused(reply)
        self._step = FtpStep.TRANSFER
        return self._progress()

    def _transfer(self, reply: Reply) -> list[Action]:
        if reply.is_preliminary or _is_good(reply):
            return self._progress()
        return self._refused(reply)

    def _refused(self, reply: Reply) -> list[Action]:
        """Where nothing but a data connection was wanted, the server may well have nothing to list."""
        if self._wanted.action is FtpCheckAction.NONE and reply.code >= 400 and reply.code not in _NO_DATA:
            return [CloseData(), *self._succeed()]
        return self._wrong(reply)

    # --- the data connection --------------------------------------------------------------------------------------

    def _data_connected(self, _: DataConnected) -> list[Action]:
        if self._step is not FtpStep.DATA:
            return []
        return [WaitBriefly(0), *self._ask(FtpStep.BEGIN, self._verb, self._wanted.path)]

    def _data_received(self, event: DataReceived) -> list[Action]:
        self._moved += event.size
        return self._progress()

    def _data_closed(self, _: DataClosed) -> list[Action]:
        self._data_over = True
        return self._progress()

    def _data_broken(self, event: DataBroken) -> list[Action]:
        if self._step is FtpStep.DATA and len(self._ways) > 1:
            return self._other_way()
        if self._step is FtpStep.DATA:
            return self._farewell() + self._fail(Status.L4CON, event.text)
        # The reply that will follow (425, 426, 550) says more than the reset does.
        self._data_over, self._data_fault = True, self._data_fault or event.text
        return self._progress()

    def _progress(self) -> list[Action]:
        """Whether the transfer is over: it needs the end of the data and the reply that completes it."""
        if self._step is not FtpStep.TRANSFER or self._last is None:
            return []
        if self._moved > MOST_DATA:
            self._aborted = True
            return [CloseData(), *self._succeed("ABOR\r\nQUIT\r\n")]
        if not self._data_over or not _is_good(self._last):
            return []
        if self._data_fault:
            return self._farewell() + self._fail(Status.SOCKERR, self._data_fault)
        return self._succeed()

    # --- going on and ending --------------------------------------------------------------------------------------

    @property
    def _verb(self) -> str:
        return _VERBS.get(self._wanted.action, "LIST")

    def _ask(self, step: FtpStep, verb: str, argument: str = "") -> list[Action]:
        self._step = step
        line = f"{verb} {argument}" if argument or step is FtpStep.PASS else verb
        # A line end inside an argument would be a second command.
        data = line.encode("utf-8", "surrogateescape").translate(None, b"\r\n\0")
        return [Send(data + b"\r\n")]

    def _succeed(self, farewell: str = "QUIT\r\n") -> list[Action]:
        code = self._last.code if self._last is not None else 0
        return self._part(CheckResult(Status.L7OK, "(ftp-check)", code), farewell)

    def _wrong(self, reply: Reply) -> list[Action]:
        """A reply that ends the check: we still leave as the protocol wants it."""
        what = "refused" if reply.code >= 400 else "unexpected reply"
        verdict = CheckResult(Status.L7STS, self._text(what, reply), reply.code)
        if self._step is FtpStep.BANNER:
            self._verdict = verdict
            return self._finish()
        return [CloseData(), *self._part(verdict, "QUIT\r\n")]

    def _part(self, verdict: CheckResult, farewell: str) -> list[Action]:
        self._verdict = verdict
        self._step = FtpStep.QUIT
        patience = self._patience.connect if self._patience.reply is None else self._patience.reply
        return [Send(farewell.encode("ascii")), WaitUntil(min(patience, LAST_WORD))]

    def _junk(self, what: str) -> list[Action]:
        return self._finish() if self._verdict is not None else self._fail(Status.L7RSP, what)

    def _farewell(self) -> list[Action]:
        """QUIT without waiting for its reply, where the server has greeted."""
        return [Send(b"QUIT\r\n")] if self._step > FtpStep.BANNER else []

    def _fail(self, status: Status, what: str, reply: Reply | None = None) -> list[Action]:
        code = reply.code if reply is not None and status is Status.L7STS else 0
        self._verdict = CheckResult(status, self._text(what, reply), code)
        return self._finish()

    def _finish(self) -> list[Action]:
        self._finished = True
        return [Finish(self._verdict or CheckResult(Status.L7RSP))]

    def _text(self, what: str, reply: Reply | None) -> str:
        text = f"ftp-check: {what} at step {self._step} ({self._name})"
        return text if reply is None else f"{text}: {self._shown(reply)}"

    @property
    def _name(self) -> str:
        if self._step is FtpStep.PASSIVE:
            return self._ways[0]
        return self._verb if self._step is FtpStep.BEGIN else STEPS[self._step].name

    def _shown(self, reply: Reply) -> str:
        """The last line, without the password: some servers repeat what they were sent."""
        text = reply.text.translate(_SHOWN).decode("latin-1")
        secret = self._wanted.password.encode("utf-8", "surrogateescape").decode("latin-1")
        return f"{reply.code:03} {text.replace(secret, '***') if secret else text}"


def _is_good(reply: Reply) -> bool:
    """2xx, whatever the server means by the rest: what clients look at is the first digit."""
    return 200 <= reply.code < 300


def _ignore(_: FtpDialogue, __: DataSent) -> list[Action]:
    return []


_EVENTS: dict[type, Callable[[FtpDialogue, Any], list[Action]]] = {
    Connected: FtpDialogue._connected,
    BytesReceived: FtpDialogue._bytes_received,
    PeerClosed: FtpDialogue._peer_closed,
    Broken: FtpDialogue._broken,
    DataSent: _ignore,
    TimedOut: FtpDialogue._timed_out,
    StepTimedOut: FtpDialogue._step_timed_out,
    DataConnected: FtpDialogue._data_connected,
    DataReceived: FtpDialogue._data_received,
    DataClosed: FtpDialogue._data_closed,
    DataBroken: FtpDialogue._data_broken,
}
_REPLIES: dict[FtpStep, Callable[[FtpDialogue, Reply], list[Action]]] = {
    FtpStep.BANNER: FtpDialogue._banner,
    FtpStep.USER: FtpDialogue._user,
    FtpStep.PASS: FtpDialogue._pass,
    FtpStep.FEAT: FtpDialogue._feat,
    FtpStep.TYPE: FtpDialogue._type,
    FtpStep.PASSIVE: FtpDialogue._passive_reply,
    FtpStep.DATA: FtpDialogue._late,
    FtpStep.BEGIN: FtpDialogue._begin,
    FtpStep.TRANSFER: FtpDialogue._transfer,
}
