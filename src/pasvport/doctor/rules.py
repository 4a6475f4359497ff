"""What a rule is, and what it finds: every rule is a row of a table, and the tables write docs/doctor.md."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from pasvport.model import Origin

C = TypeVar("C")


class Severity(StrEnum):
    """ERROR: sessions or transfers fail, or bytes reach the wrong client. WARNING: they will on some days.

    NOTE: worth knowing; nothing is wrong.
    """

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


SEVERITIES = tuple(Severity)


@dataclass(frozen=True, slots=True)
class Symptom:
    """One place where a rule applies. `fix` "" means: the rule's own."""

    origin: Origin | None
    subject: str
    detail: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Rule(Generic[C]):
    """One row: `look` yields the places in a case of kind C where it applies; the texts are for people."""

    id: str
    severity: Severity
    look: Callable[[C], Iterable[Symptom]]
    meaning: str
    why: str
    fix: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that applied: everything that is printed about it."""

    id: str
    severity: Severity
    origin: Origin | None
    subject: str
    detail: str
    why: str
    fix: str


def apply(rules: Iterable[Rule[C]], case: C) -> Iterator[Finding]:
    """What the rules find in a case, in the order of the table; a symptom that is yielded twice is told once."""
    for rule in rules:
        for symptom in dict.fromkeys(rule.look(case)):
            yield Finding(
                rule.id,
                rule.severity,
                symptom.origin,
                symptom.subject,
                symptom.detail,
                rule.why,
                symptom.fix or rule.fix,
            )


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """Errors first, then by place."""

    def rank(finding: Finding) -> tuple[int, str, int]:
        origin = finding.origin
        return (
            SEVERITIES.index(finding.severity),
            origin.file if origin else "",
            origin.line if origin else 0,
        )

    return sorted(findings, key=rank)
