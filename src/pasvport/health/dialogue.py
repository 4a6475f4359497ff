"""A tcp-check script being run: events in, actions out, no socket and no clock.

Semantics of HAProxy 2.6: consecutive expects look at the same accumulated bytes; a send forgets them; an expectation
that is not met waits for more until the peer closes, the buffer is full, or `min-recv` makes the answer final.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pasvport.health.event import (
    Action,
    Broken,
    BytesReceived,
    Connect,
    Connected,
    DataSent,
    Event,
    Finish,
    Patience,
    PeerClosed,
    Send,
    TimedOut,
    WaitUntil,
)
from pasvport.health.result import CheckResult, Status
from pasvport.health.script import Script, Step
from pasvport.model import ExpectMatch, StepKind

_TIMEOUT_WORDS = {
    ExpectMatch.STRING: " (expect string '{}')",
    ExpectMatch.BINARY: " (expect binary '{}')",
    ExpectMatch.RSTRING: " (expect regex)",
    ExpectMatch.RBINARY: " (expect binary regex)",
}
_MISMATCH_WORDS = {
    ExpectMatch.STRING: " '{}'",
    ExpectMatch.BINARY: " (binary)",
    ExpectMatch.RSTRING: " (regex)",
    ExpectMatch.RBINARY: " (binary regex)",
}


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What one look at a step came to: go on, wait, or the check's result."""

    result: CheckResult | None = None
    waits: bool = False


_GO_ON = _Verdict()
_WAIT = _Verdict(waits=True)


class ScriptDialogue:
    """One run of a script. `start()` once, then `receive()` per event until a Finish comes out.

    Accepts any event at any time: one that makes no sense in the present step is remembered or ignored, never an
    error. `capacity` bounds what is kept of the peer's bytes, and what may be sent at once (`tune.bufsize`).
    """

    def __init__(self, script: Script, patience: Patience, capacity: int) -> None:
        self._steps = script.steps
        self._is_plain = script.is_plain
        self._patience = patience
        self._capacity = capacity
        self._at = 0
        self._asked = False
        self._answered = False
        self._buffer = bytearray()
        self._connected = False
        self._closed = False
        self._broken = ""
        self._finished = False

    @property
    def room(self) -> int:
        """Bytes that may still be taken in."""
        return self._capacity - len(self._buffer)

    def start(self) -> list[Action]:
        """The first actions: always a Connect and a deadline."""
        return self._run()

    def receive(self, event: Event) -> list[Action]:
        """The consequences of one event, in order."""
        if self._finished:
            return []
        if isinstance(event, TimedOut):
            return [self._finish(self._timed_out())]
        if not self._connected and not isinstance(event, Connected):
            return [self._finish(self._unreachable(event.text))] if isinstance(event, Broken) else []
        return self._note(event) + self._run()

    def _note(self, event: Event) -> list[Action]:
        if isinstance(event, Connected):
            return self._established()
        if isinstance(event, BytesReceived):
            self._buffer += event.data[: self.room]
        elif isinstance(event, DataSent):
            self._answered = self._asked
        elif isinstance(event, PeerClosed):
            self._closed = True
        elif isinstance(event, Broken):
            self._closed, self._broken = True, event.text
        return []

    def _established(self) -> list[Action]:
        if self._connected:
            return []
        self._connected = self._answered = True
        return [] if self._patience.reply is None else [WaitUntil(self._patience.reply)]

    def _run(self) -> list[Action]:
        actions: list[Action] = []
        while self._at < len(self._steps):
            step = self._steps[self._at]
            verdict = _EVALUATORS[step.kind](self, step, actions)
            if verdict.result is not None:
                return [*actions, self._finish(verdict.result)]
            if verdict.waits:
                return actions
            self._at += 1
            self._asked = self._answered = False
        return [*actions, self._finish(self._success())]

    # --- the steps ------------------------------------------------------------------------------------------------

    def _connect(self, step: Step, actions: list[Action]) -> _Verdict:
        if self._asked:
            return _GO_ON if self._connected else _WAIT
        self._buffer.clear()
        self._connected = self._closed = False
        self._broken = ""
        self._asked = True
        said = step.said
        actions += [Connect(said.address, said.port, said.linger, step.quiet), WaitUntil(self._patience.connect)]
        return _WAIT

    def _send(self, step: Step, actions: list[Action]) -> _Verdict:
        if self._answered:
            return _GO_ON
        if self._broken:
            return _Verdict(CheckResult(Status.SOCKERR, self._broken + self._where()))
        if self._asked:
            return _WAIT
        data = step.said.data
        if len(data) >= self._capacity:
            text = f"string too large ({len(data)}) for buffer size ({self._capacity}) at step {step.number}"
            return _Verdict(CheckResult(Status.L7RSP, f"tcp-check send : {text}"))
        self._buffer.clear()
        self._asked = True
        actions.append(Send(data))
        return _WAIT

    def _expect(self, step: Step, _: list[Action]) -> _Verdict:
        if not self._buffer and self._closed:
            return _Verdict(self._nothing_came(step))
        is_last = self._closed or not self.room
        if not self._buffer or (not is_last and not step.enough(len(self._buffer))):
            return self._wait_for_more(step)
        found = step.looks_at(bytes(self._buffer))
        if not found and not is_last and step.said.min_recv == -1:
            return self._wait_for_more(step)
        return _GO_ON if found is not step.said.negated else _Verdict(_mismatch(step, found))

    def _wait_for_more(self, step: Step) -> _Verdict:
        self._at = step.restart
        return _WAIT

    def _nothing_came(self, step: Step) -> CheckResult:
        if self._broken:
            return CheckResult(Status.SOCKERR, self._broken + self._where())
        comment = f" comment: '{step.comment}'" if step.comment else ""
        return CheckResult(step.error_status, f"TCPCHK got an empty response at step {step.number}{comment}")

    # --- the results ----------------------------------------------------------------------------------------------

    def _finish(self, result: CheckResult) -> Finish:
        self._finished = True
        return Finish(result)

    def _success(self) -> CheckResult:
        step = self._steps[-1]
        if step.kind is StepKind.EXPECT:
            return CheckResult(step.ok_status, step.said.on_success or "(tcp-check)")
        if step.kind is StepKind.CONNECT:
            return CheckResult(Status.L4OK, "(tcp-check)" if step.number else "")
        return CheckResult(Status.L7OK, "(tcp-check)")

    def _unreachable(self, text: str) -> CheckResult:
        return CheckResult(Status.L4CON, text + self._where())

    def _timed_out(self) -> CheckResult:
        if not self._connected:
            return CheckResult(Status.L4TOUT, self._where())
        step = self._steps[self._at]
        status = step.timeout_status if step.kind is StepKind.EXPECT else Status.L7TOUT
        return CheckResult(status, self._where())

    def _where(self) -> str:
        """At which step the connection failed, in HAProxy's words."""
        step = self._steps[self._at]
        if self._is_plain:
            return ""
        if not step.number:
            return " at initial connection step of tcp-check"
        comment = f" comment: '{step.comment}'" if step.comment else ""
        return f" at step {step.number} of tcp-check{_step_words(step)}{comment}"


_EVALUATORS: dict[StepKind, Callable[[ScriptDialogue, Step, list[Action]], _Verdict]] = {
    StepKind.CONNECT: ScriptDialogue._connect,
    StepKind.SEND: ScriptDialogue._send,
    StepKind.EXPECT: ScriptDialogue._expect,
}


def _step_words(step: Step) -> str:
    if step.kind is StepKind.CONNECT:
        return f" (connect port {step.said.port})" if step.said.port else " (connect)"
    if step.kind is StepKind.SEND:
        return " (send)"
    return _TIMEOUT_WORDS[step.said.match].format(_printed(step.said.data))


def _mismatch(step: Step, found: bool) -> CheckResult:
    comment = f" comment: {step.comment}" if step.comment else ""
    if step.said.on_error:
        return CheckResult(step.error_status, step.said.on_error + comment)
    verb = "TCPCHK matched unwanted content" if found else "TCPCHK did not match content"
    pattern = _MISMATCH_WORDS[step.said.match].format(_printed(step.said.data))
    return CheckResult(step.error_status, f"{verb}{pattern} at step {step.number}{comment}")


def _printed(data: bytes) -> str:
    # HAProxy prints the pattern as a C string: it ends at the first NUL.
    return data.partition(b"\0")[0].decode("latin-1")
