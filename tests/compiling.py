"""Compile a configuration text in a small, fixed world."""

from __future__ import annotations

from pasvport.config.compiler import Outcome, load
from pasvport.config.diagnostics import Severity
from pasvport.config.world import World
from pasvport.errors import ConfigError
from pasvport.model import Config

USERS = {"nobody": 65534, "ftp": 110}
GROUPS = {"nogroup": 65534, "ftp": 115}


def refuse_unknown_alias(text: str) -> None:
    """A log-format check that knows one wrong alias."""
    if "%zz" in text:
        raise ConfigError("no such format variable 'zz'")


def world(**changes: object) -> World:
    """The machine of these tests."""
    facts: dict[str, object] = {
        "user_id": USERS.get,
        "group_id": GROUPS.get,
        "hostname": "balancer",
        "directory": "/etc/pasvport",
        "check_log_format": refuse_unknown_alias,
    }
    return World(**{**facts, **changes})  # type: ignore[arg-type]


def outcome(text: str, **changes: object) -> Outcome:
    """Load one file called `t.cfg`."""
    return load([("t.cfg", text)], world(**changes))


def compiled(text: str, **changes: object) -> Config:
    """The model of a text without errors."""
    found = outcome(text, **changes)
    assert found.config is not None, [entry.text for entry in found.diagnostics.found]
    return found.config


def messages(found: Outcome, severity: Severity) -> list[tuple[int, str]]:
    """(line, text) of every message of that severity, in order; line 0 for one without a place."""
    return [
        (entry.origin.line if entry.origin is not None else 0, entry.text)
        for entry in found.diagnostics.found
        if entry.severity is severity
    ]


def alerts(text: str, **changes: object) -> list[tuple[int, str]]:
    """The errors of a text."""
    return messages(outcome(text, **changes), Severity.ALERT)


def warnings(text: str, **changes: object) -> list[tuple[int, str]]:
    """The warnings of a text."""
    return messages(outcome(text, **changes), Severity.WARNING)
