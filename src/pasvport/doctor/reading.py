"""Everything that can be said of a configuration without asking anybody."""

from __future__ import annotations

from collections.abc import Iterator

from pasvport.config.diagnostics import Diagnostic
from pasvport.doctor.case import Case
from pasvport.doctor.reading_conduct import CONDUCT
from pasvport.doctor.reading_persistence import PERSISTENCE
from pasvport.doctor.reading_ports import PORTS
from pasvport.doctor.rules import Finding, Rule, Severity, Symptom, apply

READING: tuple[Rule[Case], ...] = (*PORTS, *PERSISTENCE, *CONDUCT)

_LATER = ("not supported", "no counterpart", "for statistics only here")
"""Words by which the language says that the line would be right elsewhere."""


def _symptom(alert: Diagnostic) -> Symptom:
    text = alert.text if alert.text.endswith(".") else alert.text + "."
    wish = f"Did you mean '{alert.suggestion}'?" if alert.suggestion else ""
    return Symptom(alert.origin, "configuration", text, wish)


def _unsupported(refused: tuple[Diagnostic, ...]) -> Iterator[Symptom]:
    return (_symptom(alert) for alert in refused if any(word in alert.text for word in _LATER))


def _unreadable(refused: tuple[Diagnostic, ...]) -> Iterator[Symptom]:
    return (_symptom(alert) for alert in refused if not any(word in alert.text for word in _LATER))


READABILITY: tuple[Rule[tuple[Diagnostic, ...]], ...] = (
    Rule(
        "unreadable",
        Severity.ERROR,
        _unreadable,
        "A line that is wrong.",
        "No balancer starts with it. It was left out of the examination.",
        "See `pasvport -c -f FILE` for all that is wrong with the text.",
    ),
    Rule(
        "unsupported",
        Severity.NOTE,
        _unsupported,
        "A line that HAProxy knows and pasvport does not.",
        "pasvport would refuse to start with it; HAProxy takes it. It was left out of the examination.",
        "Nothing, with HAProxy. For pasvport, take it out.",
    ),
)


def read(case: Case, refused: tuple[Diagnostic, ...] = ()) -> list[Finding]:
    """What the text says, and what of it could not be read."""
    return [*apply(READABILITY, refused), *apply(READING, case)]
