"""Everything that can be said of a configuration without asking anybody."""

from __future__ import annotations

from collections.abc import Iterator

from pasvport.config.diagnostics import TAKEN_AS_EMPTY, Diagnostic
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


def _kind(complaint: Diagnostic) -> str:
    if TAKEN_AS_EMPTY in complaint.text:
        return "unset"
    return "unsupported" if any(word in complaint.text for word in _LATER) else "unreadable"


def _unset(complaints: tuple[Diagnostic, ...]) -> Iterator[Symptom]:
    return (_symptom(each) for each in complaints if _kind(each) == "unset")


def _unsupported(complaints: tuple[Diagnostic, ...]) -> Iterator[Symptom]:
    return (_symptom(each) for each in complaints if _kind(each) == "unsupported")


def _unreadable(complaints: tuple[Diagnostic, ...]) -> Iterator[Symptom]:
    return (_symptom(each) for each in complaints if _kind(each) == "unreadable")


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
        "unset",
        Severity.WARNING,
        _unset,
        "A variable of the environment that is not set.",
        "It is taken as empty: a password is then none, an address any. The service may have it, and not this shell.",
        "Set it (of the packaged service: in `/etc/default/pasvport`; `set -a; . /etc/default/pasvport` sets it here).",
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
