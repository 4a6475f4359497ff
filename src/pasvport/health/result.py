"""What one check found out: HAProxy's status codes, their meaning, and how a result is put in words.

Sources: HAProxy management guide, section 9.1 (`check_status`), and `show servers state` (srv_check_status numbers).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

MAX_TEXT = 127
"""Bytes of detail a result keeps; the rest is cut, as HAProxy cuts it."""


class Outcome(IntEnum):
    """`srv_check_result`: what a status means for the server."""

    UNKNOWN = 0
    NEUTRAL = 1
    FAILED = 2
    PASSED = 3
    CONDITIONAL = 4


class Status(IntEnum):
    """`srv_check_status`. 14 is a divider in HAProxy's numbering: statuses above it carry a code."""

    UNK = 0
    INI = 1
    START = 2
    CHECKED = 3
    HANA = 4
    SOCKERR = 5
    L4OK = 6
    L4TOUT = 7
    L4CON = 8
    L6OK = 9
    L6TOUT = 10
    L6RSP = 11
    L7TOUT = 12
    L7RSP = 13
    L7OK = 15
    L7OKC = 16
    L7STS = 17
    PROCERR = 18
    PROCTOUT = 19
    PROCOK = 20

    @property
    def outcome(self) -> Outcome:
        return _MEANING[self][0]

    @property
    def description(self) -> str:
        return _MEANING[self][1]

    @property
    def has_code(self) -> bool:
        return self >= Status.L7OK


_MEANING = {
    Status.UNK: (Outcome.UNKNOWN, "Unknown"),
    Status.INI: (Outcome.UNKNOWN, "Initializing"),
    Status.START: (Outcome.UNKNOWN, "Unknown"),
    Status.CHECKED: (Outcome.NEUTRAL, "No status change"),
    Status.HANA: (Outcome.FAILED, "Health analyze"),
    Status.SOCKERR: (Outcome.FAILED, "Socket error"),
    Status.L4OK: (Outcome.PASSED, "Layer4 check passed"),
    Status.L4TOUT: (Outcome.FAILED, "Layer4 timeout"),
    Status.L4CON: (Outcome.FAILED, "Layer4 connection problem"),
    Status.L6OK: (Outcome.PASSED, "Layer6 check passed"),
    Status.L6TOUT: (Outcome.FAILED, "Layer6 timeout"),
    Status.L6RSP: (Outcome.FAILED, "Layer6 invalid response"),
    Status.L7TOUT: (Outcome.FAILED, "Layer7 timeout"),
    Status.L7RSP: (Outcome.FAILED, "Layer7 invalid response"),
    Status.L7OK: (Outcome.PASSED, "Layer7 check passed"),
    Status.L7OKC: (Outcome.CONDITIONAL, "Layer7 check conditionally passed"),
    Status.L7STS: (Outcome.FAILED, "Layer7 wrong status"),
    Status.PROCERR: (Outcome.FAILED, "External check error"),
    Status.PROCTOUT: (Outcome.FAILED, "External check timeout"),
    Status.PROCOK: (Outcome.PASSED, "External check passed"),
}

_BY_NAME = {status.name: status for status in Status}


def named(name: str, default: Status) -> Status:
    """The status of that name as `ok-status`, `error-status` and `tout-status` write it; `default` for "".

    Raises KeyError for a name that is no status.
    """
    return _BY_NAME[name] if name else default


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One finished check. `text` is its detail as raw bytes read as latin-1; `duration` in ms, -1 = not measured."""

    status: Status
    text: str = ""
    code: int = 0
    duration: int = -1

    @property
    def outcome(self) -> Outcome:
        return self.status.outcome

    def lasting(self, milliseconds: int) -> CheckResult:
        """The same result with its duration filled in."""
        return replace(self, duration=max(0, milliseconds))

    @property
    def shown_text(self) -> str:
        """The detail cut to 127 bytes, as HAProxy keeps it; what is not printable ASCII becomes `<XX>`.

        HAProxy does that in messages only, and hands a server's escape sequences to whoever looks at the statistics.
        """
        return _printable(self.text[:MAX_TEXT])


def _printable(text: str) -> str:
    return "".join(c if " " <= c <= "~" else f"<{ord(c):02X}>" for c in text)


def escaped(text: str) -> str:
    """Detail inside quotes: what is not printable ASCII, and the quote itself, becomes `<XX>`."""
    return _printable(text).replace('"', "<22>")


def reason(result: CheckResult) -> str:
    """`, reason: D[, code: N][, info: "T"][, check duration: Nms]`, the middle of every state message."""
    parts = [f", reason: {result.status.description}"]
    if result.status.has_code:
        parts.append(f", code: {result.code}")
    if result.text:
        parts.append(f', info: "{escaped(result.shown_text)}"')
    if result.duration >= 0:
        parts.append(f", check duration: {result.duration}ms")
    return "".join(parts)
