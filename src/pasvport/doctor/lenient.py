"""Reading a configuration although parts of it are refused: HAProxy's files hold much that has no bearing on FTP.

A refused word is blanked, a refused line after that, a refused section as a whole, and the rest is compiled again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pasvport.config.compiler import SECTIONS, load
from pasvport.config.diagnostics import TAKEN_AS_EMPTY, Diagnostic, Severity
from pasvport.config.world import World
from pasvport.model import Config

_ROUNDS = 40
_WORD_ROUNDS = 30
"""After so many rounds whole lines are given up, so that the end is reached."""


@dataclass(slots=True)
class LenientReading:
    """`refused` holds the first complaint of each line. `config` is None when nothing could be made of the rest.

    `unset` holds the notices about variables that are not set.
    """

    config: Config | None = None
    refused: list[Diagnostic] = field(default_factory=list)
    unset: list[Diagnostic] = field(default_factory=list)


def read_leniently(texts: Sequence[tuple[str, str]], world: World) -> LenientReading:
    """Compile what can be compiled. Raises nothing."""
    reading = LenientReading()
    files = {name: text.split("\n") for name, text in texts}
    for attempt in range(_ROUNDS):
        outcome = load([(name, "\n".join(lines)) for name, lines in files.items()], world)
        if not attempt:
            reading.unset = [each for each in outcome.diagnostics.found if TAKEN_AS_EMPTY in each.text]
        if outcome.config is not None:
            reading.config = outcome.config
            break
        alerts = list(_refusals(outcome.diagnostics.found))
        if not attempt:
            # Later complaints may be about what blanking has left behind.
            reading.refused = list({_place(alert): alert for alert in reversed(alerts)}.values())[::-1]
        if not [alert for alert in alerts if _blank(files, alert, words=attempt < _WORD_ROUNDS)]:
            break
    return reading


def _refusals(found: Sequence[Diagnostic]) -> Iterator[Diagnostic]:
    return (each for each in found if each.severity is Severity.ALERT and each.fatal)


def _place(alert: Diagnostic) -> tuple[str, int]:
    return (alert.origin.file, alert.origin.line) if alert.origin is not None else ("", 0)


def _blank(files: dict[str, list[str]], alert: Diagnostic, *, words: bool) -> bool:
    """Take out what the alert is about; False when it is about no line, or about one that is gone already."""
    origin = alert.origin
    if origin is None or origin.file not in files:
        return False
    lines, at = files[origin.file], origin.line - 1
    if not 0 <= at < len(lines) or not lines[at].strip():
        return False
    if lines[at].split()[0] in SECTIONS:
        _blank_section(lines, at)
    elif words and lines[at] == alert.source and _is_inner(alert):
        start = alert.column - 1
        lines[at] = lines[at][:start] + " " * alert.width + lines[at][start + alert.width :]
    else:
        lines[at] = ""
    return True


def _is_inner(alert: Diagnostic) -> bool:
    """The complaint points at an option: the keyword and what it names cannot be missed."""
    before = alert.source[: alert.column - 1].split()
    return bool(alert.width) and len(before) > (2 if before[:1] == ["server"] else 1)


def _blank_section(lines: list[str], at: int) -> None:
    lines[at] = ""
    for number in range(at + 1, len(lines)):
        if lines[number].split()[:1] and lines[number].split()[0] in SECTIONS:
            return
        lines[number] = ""
