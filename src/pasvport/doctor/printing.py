"""A consultation as text for people, and as JSON for machines."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from dataclasses import dataclass, field
from typing import IO, Any

from rich.console import Console
from rich.markup import escape

from pasvport.doctor.rules import SEVERITIES, Finding, Severity
from pasvport.doctor.visit import Visit

JSON_VERSION = 1
_COLOURS = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}
_WIDTH = 100
_INDENT = "    "


@dataclass(frozen=True, slots=True)
class Report:
    """What there is to say. `unseen` are sentences about what could not be examined."""

    files: tuple[str, ...]
    findings: tuple[Finding, ...]
    visits: tuple[Visit, ...] = ()
    unseen: tuple[str, ...] = field(default=())

    def count(self, severity: Severity) -> int:
        return sum(finding.severity is severity for finding in self.findings)


# --- for people ---------------------------------------------------------------------------------------------------


def print_text(report: Report, stream: IO[str]) -> None:
    """Findings, errors first, each with its place, its reason and its cure; then what was and was not seen."""
    console = Console(file=stream, highlight=False, soft_wrap=False)
    if not console.is_terminal:
        console = Console(file=stream, highlight=False, width=_WIDTH)
    for finding in report.findings:
        _print_finding(console, finding)
    for visit in report.visits:
        console.print(escape(f"examined {visit.subject} at {visit.host}:{visit.port}"), style="dim", soft_wrap=True)
    for sentence in report.unseen:
        console.print(escape(f"not seen: {sentence}"), style="dim", soft_wrap=True)
    console.print(_verdict(report))


def _print_finding(console: Console, finding: Finding) -> None:
    place = f"{finding.origin}: " if finding.origin is not None else ""
    colour = _COLOURS[finding.severity]
    # The first line is not wrapped, so that editors and grep find the place.
    head = f"{escape(place)}[{colour}]{finding.severity}[/] {escape(f'[{finding.id}] {finding.subject}')}"
    console.print(head, soft_wrap=True)
    for label, text in (("", finding.detail), ("Why: ", finding.why), ("Fix: ", finding.fix)):
        # Wrapped here: rich would fill each line up with spaces.
        wrapped = textwrap.fill(label + text, console.width, initial_indent=_INDENT, subsequent_indent=_INDENT)
        console.print(
            escape(wrapped).replace(label, f"[bold]{label}[/]", 1) if label else escape(wrapped), soft_wrap=True
        )
    console.print()


def _verdict(report: Report) -> str:
    counts = Counter(finding.severity for finding in report.findings)
    told = [f"{counts[each]} {each}{'s' * (counts[each] != 1)}" for each in SEVERITIES if counts[each]]
    if not counts[Severity.ERROR] and not counts[Severity.WARNING]:
        return f"Healthy{f' ({told[0]})' if told else ''}."
    return ", ".join(told) + "."


# --- for machines -------------------------------------------------------------------------------------------------


def print_json(report: Report, stream: IO[str]) -> None:
    """One object; see docs/doctor.md."""
    json.dump(as_json(report), stream, indent=2, ensure_ascii=True)
    stream.write("\n")


def as_json(report: Report) -> dict[str, Any]:
    return {
        "version": JSON_VERSION,
        "files": list(report.files),
        "summary": {f"{severity}s": report.count(severity) for severity in SEVERITIES},
        "findings": [_finding(finding) for finding in report.findings],
        "servers": [_visit(visit) for visit in report.visits],
        "unseen": list(report.unseen),
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "id": finding.id,
        "severity": str(finding.severity),
        "file": finding.origin.file if finding.origin is not None else None,
        "line": finding.origin.line if finding.origin is not None else None,
        "subject": finding.subject,
        "finding": finding.detail,
        "why": finding.why,
        "fix": finding.fix,
    }


def _visit(visit: Visit) -> dict[str, Any]:
    passive, tls = visit.passive, visit.tls
    return {
        "backend": visit.backend,
        "server": visit.server,
        "host": visit.host,
        "address": visit.address or None,
        "port": visit.port,
        "failure": str(visit.failure) if visit.failure is not None else None,
        "why": visit.why or None,
        "greeting": visit.greeting or None,
        "features": sorted(visit.features) if visit.features is not None else None,
        "tls": tls.version or None if tls is not None else None,
        "logged_in": visit.login.accepted if visit.login is not None else None,
        "passive_addresses": sorted({target.host for target in passive.targets}) if passive is not None else None,
        "passive_ports": list(passive.every_port) if passive is not None else None,
        "tls_reuse_required": visit.reuse.required if visit.reuse is not None else None,
    }
