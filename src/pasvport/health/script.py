"""A tcp-check script made ready to run: numbered steps, comments handed on, expressions compiled.

Source: HAProxy manual, `tcp-check connect`, `tcp-check send`, `tcp-check expect`, `tcp-check comment`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pasvport.health.result import Status, named
from pasvport.model import CheckStep, ExpectMatch, Origin, StepKind
from pasvport.regex import LARGEST_SUBJECT, Regex


@dataclass(frozen=True, slots=True)
class Step:
    """One executable step. `number` counts the lines of the script from 1, comments included; 0 is the connect
    that is implied where a script does not begin with one. `restart` is the index to resume at when more data is
    needed: a negated expect earlier in the same run of expects must be asked again.
    """

    number: int
    kind: StepKind
    said: CheckStep
    comment: str = ""
    regex: Regex | None = None
    restart: int = 0
    quiet: bool = False

    @property
    def ok_status(self) -> Status:
        return named(self.said.ok_status, Status.L7OK)

    @property
    def error_status(self) -> Status:
        return named(self.said.error_status, Status.L7RSP)

    @property
    def timeout_status(self) -> Status:
        return named(self.said.timeout_status, Status.L7TOUT)

    def looks_at(self, data: bytes) -> bool:
        """Whether the expectation's pattern occurs in `data` (negation not applied)."""
        if self.regex is None:
            return self.said.data in data
        if self.said.match is ExpectMatch.RBINARY:
            return self.regex.found_in(data[: LARGEST_SUBJECT // 2].hex().upper().encode())
        return self.regex.found_in(data[:LARGEST_SUBJECT])

    def enough(self, length: int) -> bool:
        """Whether that many bytes are worth a look; fewer can neither hold the pattern nor the minimum."""
        shortest = 0 if self.regex is not None else len(self.said.data)
        return length >= max(shortest, self.said.min_recv)


@dataclass(frozen=True, slots=True)
class Script:
    """Steps that always begin with a connect. `is_plain`: no script at all, a bare connection test."""

    steps: tuple[Step, ...]
    is_plain: bool = False


_IMPLICIT = CheckStep(Origin("", 0), StepKind.CONNECT)


def prepare(steps: tuple[CheckStep, ...], *, scripted: bool) -> Script:
    """The script of a backend; `scripted` False (no `option tcp-check`) gives the bare connection test.

    Raises ConfigError for an expression that cannot be compiled, KeyError for an unknown status.
    """
    if not scripted:
        return Script((Step(0, StepKind.CONNECT, _IMPLICIT, quiet=True),), is_plain=True)
    numbered = _commented(steps)
    if not numbered or numbered[0][1].kind is not StepKind.CONNECT:
        numbered.insert(0, (0, _IMPLICIT, ""))
    return Script(tuple(_step(numbered, position) for position in range(len(numbered))))


def _commented(steps: tuple[CheckStep, ...]) -> list[tuple[int, CheckStep, str]]:
    """Steps without the comment lines: (number, step, comment). A comment line belongs to the steps that follow it
    as long as they are of one kind."""
    kept: list[tuple[int, CheckStep, str]] = []
    pending, previous = "", StepKind.COMMENT
    for number, step in enumerate(steps, 1):
        if step.kind is not previous and previous is not StepKind.COMMENT:
            pending = ""
        previous = step.kind
        if step.kind is StepKind.COMMENT:
            pending = step.comment
            continue
        kept.append((number, step, step.comment or pending))
        if step.kind is StepKind.CONNECT:
            pending = ""
    return kept


def _step(numbered: list[tuple[int, CheckStep, str]], position: int) -> Step:
    number, said, comment = numbered[position]
    said = replace(said, on_success=_raw(said.on_success), on_error=_raw(said.on_error))
    following = numbered[position + 1][1].kind if position + 1 < len(numbered) else None
    is_regex = said.kind is StepKind.EXPECT and said.match in (ExpectMatch.RSTRING, ExpectMatch.RBINARY)
    return Step(
        number,
        said.kind,
        said,
        _raw(comment),
        regex=Regex(said.data) if is_regex else None,
        restart=_restart(numbered, position),
        quiet=following is not StepKind.EXPECT,
    )


def _raw(text: str) -> str:
    """Words of the configuration as results hold text: one character per byte."""
    return text.encode("utf-8", "surrogateescape").decode("latin-1")


def _restart(numbered: list[tuple[int, CheckStep, str]], position: int) -> int:
    restart = position
    for earlier in range(position - 1, -1, -1):
        if numbered[earlier][1].kind is not StepKind.EXPECT:
            break
        if numbered[earlier][1].negated:
            restart = earlier
    return restart
