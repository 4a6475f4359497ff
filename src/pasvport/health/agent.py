"""The agent check: one line of words in which a server tells its weight, its limits and how it feels.

Source: HAProxy manual, section 5.2, `agent-check`. Connect, send `agent-send` if any, read one line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pasvport.digits import is_number
from pasvport.health.event import (
    Action,
    Broken,
    BytesReceived,
    Connect,
    Connected,
    Event,
    Finish,
    Patience,
    PeerClosed,
    Send,
    TimedOut,
    WaitUntil,
)
from pasvport.health.result import CheckResult, Status

_HEALTH_WORDS = {"up": Status.L7OK, "down": Status.L7STS, "stopped": Status.L7STS, "fail": Status.L7STS}
_ADMIN_WORDS = frozenset({"ready", "drain", "maint"})


@dataclass(frozen=True, slots=True)
class AgentReply:
    """What a reply said, each part "" if it did not; the last word of a kind wins, the first unknown one is kept.

    `health` is the word as written, `weight` is `N%` (or `N`), `maxconn` a number as text, `description` what
    followed `#`.
    """

    health: str = ""
    admin: str = ""
    weight: str = ""
    maxconn: str = ""
    description: str = ""
    unknown: str = ""

    @property
    def status(self) -> Status:
        """CHECKED where the reply does not speak of health."""
        return _HEALTH_WORDS.get(self.health.lower(), Status.CHECKED)

    def result(self, warning: str = "") -> CheckResult:
        """The check's result; `warning` is what went wrong in applying the weight or maxconn."""
        complaint = self.unknown or warning
        if not self.health:
            return CheckResult(self.status, self._odd(warning))
        remark = self.description
        if not remark or self.status is Status.L7OK:
            remark = complaint or remark
        return CheckResult(self.status, f"via agent : {self.health}" + (f" ({remark})" if remark else ""))

    def _odd(self, warning: str) -> str:
        if self.unknown:
            return f"agent reports an error : {self.unknown}"
        return f"agent warns : {warning}" if warning else ""


def parse_reply(line: bytes) -> AgentReply:
    """The words of one line (without its end). Never raises: what is not understood lands in `unknown`."""
    text, _, remark = _split_description(line.decode("latin-1"))
    said: dict[str, str] = {}
    for word in text.replace("\t", " ").replace(",", " ").split(" "):
        kind, value = _classify(word)
        if kind and not (kind == "unknown" and "unknown" in said):
            said[kind] = value
    return AgentReply(**said, description=remark.lstrip(" \t\n"))


def _split_description(text: str) -> tuple[str, str, str]:
    # A sharp begins the description only at the start of a word: `50%#x` is one strange word.
    for position, letter in enumerate(text):
        if letter == "#" and (position == 0 or text[position - 1] in " \t,"):
            return text[:position], "#", text[position + 1 :]
    return text, "", ""


def _classify(word: str) -> tuple[str, str]:
    lower = word.lower()
    if not word:
        return "", ""
    if lower in _HEALTH_WORDS:
        return "health", word
    if lower in _ADMIN_WORDS:
        return "admin", lower
    if is_number(word[0]) and "%" in word:
        return "weight", word
    if lower.startswith("maxconn:"):
        return "maxconn", word[8:]
    return "unknown", word


@dataclass(frozen=True, slots=True)
class AgentReport:
    """The end of an agent check: a reply, or a result that came instead of one."""

    reply: AgentReply | None = None
    failure: CheckResult | None = None


class AgentDialogue:
    """One agent check. Same use as ScriptDialogue; `report` is there once a Finish came out."""

    def __init__(self, send: bytes, patience: Patience, capacity: int) -> None:
        self._send = send
        self._patience = patience
        self._capacity = capacity
        self._buffer = bytearray()
        self._connected = False
        self.report: AgentReport | None = None

    @property
    def room(self) -> int:
        """Bytes that may still be taken in."""
        return self._capacity - len(self._buffer)

    def start(self) -> list[Action]:
        """Connect, and a deadline."""
        return [Connect(), WaitUntil(self._patience.connect)]

    def receive(self, event: Event) -> list[Action]:
        """The consequences of one event."""
        if self.report is not None:
            return []
        if isinstance(event, Connected):
            return self._established()
        if isinstance(event, BytesReceived):
            self._buffer += event.data[: self.room]
            return self._look(is_last=not self.room)
        if isinstance(event, (PeerClosed, Broken)):
            return self._ended(event)
        if isinstance(event, TimedOut):
            return self._failed(CheckResult(Status.L7TOUT if self._connected else Status.L4TOUT))
        return []

    def _established(self) -> list[Action]:
        if self._connected:
            return []
        self._connected = True
        actions: list[Action] = [] if self._patience.reply is None else [WaitUntil(self._patience.reply)]
        return [*actions, Send(self._send)] if self._send else actions

    def _look(self, *, is_last: bool) -> list[Action]:
        line = _first_line(bytes(self._buffer))
        if line is None:
            return self._failed(CheckResult(Status.CHECKED, "Ignoring incomplete line from agent")) if is_last else []
        self.report = AgentReport(reply=parse_reply(line))
        return [Finish(self.report.reply.result() if self.report.reply else CheckResult(Status.CHECKED))]

    def _ended(self, event: PeerClosed | Broken) -> list[Action]:
        if self._buffer:
            return self._look(is_last=True)
        if isinstance(event, Broken):
            return self._failed(CheckResult(Status.SOCKERR if self._connected else Status.L4CON, event.text))
        step = 1 + bool(self._send)
        return self._failed(CheckResult(Status.L7RSP, f"TCPCHK got an empty response at step {step}"))

    def _failed(self, result: CheckResult) -> list[Action]:
        self.report = AgentReport(failure=result)
        return [Finish(result)]


def _first_line(data: bytes) -> bytes | None:
    """Up to CR or LF; None while there is none. A NUL ends what an agent can say: no line can be complete after it."""
    found = re.search(rb"[\r\n\0]", data)
    return data[: found.start()] if found and found[0] != b"\0" else None
