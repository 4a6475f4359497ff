"""What the runtime API says, as numbers: one look, and what changed between two. Pure."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

Ask = Callable[[str], str]
Row = Mapping[str, object]

_LUMP = 9.0
"""Seconds between two looks after which a transfer that did not move stands still."""
_FTP = ("sessions", "transfers", "leases", "pools")


@dataclass(frozen=True, slots=True)
class Look:
    """Everything at one moment. `moment` in seconds, of any clock that does not jump. `ftp` has the rows of `show ftp`.

    `speaks_ftp` is False where that command is unknown (HAProxy). `sessions` are the lines of `show sess`, by field.
    """

    moment: float
    info: Mapping[str, str]
    stat: Sequence[Mapping[str, str]]
    speaks_ftp: bool = False
    ftp: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    sessions: Sequence[Mapping[str, str]] = ()

    def number(self, name: str) -> int:
        """A field of `show info`; 0 where there is none."""
        return whole(self.info.get(name, ""))

    def servers(self) -> list[Mapping[str, str]]:
        """Rows of servers, in the order of the configuration."""
        return [row for row in self.stat if row.get("type") == "2"]

    def frontends(self) -> list[Mapping[str, str]]:
        """Rows of frontends."""
        return [row for row in self.stat if row.get("type") == "0"]


def whole(text: object) -> int:
    """A number as the API writes it; 0 for an empty field."""
    try:
        return int(str(text))
    except ValueError:
        return 0


def look(ask: Ask, moment: float, *, sessions: int = 0) -> Look:
    """Ask for everything. `sessions`: how many lines of `show sess` to keep where there is no FTP."""
    info = read_info(ask("show info"))
    stat = read_stat(ask("show stat"))
    rows = {what: read_rows(ask(f"show ftp {what} json")) for what in _FTP}
    speaks_ftp = all(found is not None for found in rows.values())
    ftp = {what: found or [] for what, found in rows.items()}
    lines = [] if ftp["sessions"] or not sessions else read_sessions(ask("show sess"))[:sessions]
    return Look(moment, info, stat, speaks_ftp, ftp, lines)


def read_info(text: str) -> dict[str, str]:
    """`Name: value` lines."""
    pairs = (line.partition(": ") for line in text.splitlines())
    return {name: value for name, colon, value in pairs if colon}


def read_stat(text: str) -> list[dict[str, str]]:
    """The CSV of `show stat`; columns by their names, whatever their order."""
    return [
        {name: value for name, value in row.items() if isinstance(name, str)}
        for row in csv.DictReader(text.removeprefix("# ").strip().splitlines())
    ]


def read_rows(text: str) -> list[Row] | None:
    """A JSON array of objects; None for anything else, such as the answer to an unknown command."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    if not isinstance(found, list):
        return None
    return [row for row in found if isinstance(row, dict)]


def read_sessions(text: str) -> list[dict[str, str]]:
    """Lines of `show sess`, those of stats clients left out."""
    found = []
    for line in text.splitlines():
        words = [word.partition("=") for word in line.partition(": ")[2].split()]
        row = {name: value for name, equals, value in words if equals}
        if row.get("fe", "GLOBAL") != "GLOBAL":
            found.append({"id": line.partition(":")[0], **row})
    return found


# --- what changed -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Change:
    """Two looks. Rates are per second; 0 where there was no earlier look, or it counted from another start."""

    before: Look | None
    now: Look

    def server_rate(self, row: Mapping[str, str], name: str) -> float:
        """How fast a counter of a server grows."""
        key = row.get("pxname"), row.get("svname")
        earlier = next(
            (each for each in self._earlier_stat() if (each.get("pxname"), each.get("svname")) == key),
            None,
        )
        return 0.0 if earlier is None else self._rate(whole(earlier.get(name)), whole(row.get(name)))

    def total_rate(self, name: str) -> float:
        """How fast a counter grows, over all frontends."""
        then = sum(whole(row.get(name)) for row in self._earlier_stat() if row.get("type") == "0")
        return self._rate(then, sum(whole(row.get(name)) for row in self.now.frontends()))

    def transfer_rate(self, row: Row) -> float:
        """Bytes a second of a transfer that both looks saw; of one that began between them, since it did.

        A slow receiver takes its bytes in lumps, seconds apart: of one that did not move between two looks that are
        near to each other, since it began.
        """
        earlier = [] if self.before is None else self.before.ftp.get("transfers", ())
        for each in earlier:
            if _same_transfer(each, row):
                rate = self._rate(whole(each.get("size")), whole(row.get("size")))
                return rate or self._rate_since_start(row)
        return self._rate(0, whole(row.get("size")))

    def _rate_since_start(self, row: Row) -> float:
        started = row.get("started")
        epoch = self.now.number("Start_time_sec") + self.now.number("Uptime_sec")
        if self.before is None or self.now.moment - self.before.moment >= _LUMP or not isinstance(started, int | float):
            return 0.0
        return whole(row.get("size")) / max(1.0, epoch - started) if epoch else 0.0

    def _earlier_stat(self) -> Sequence[Mapping[str, str]]:
        return () if self.before is None else self.before.stat

    def _rate(self, then: int, now: int) -> float:
        if self.before is None:
            return 0.0
        seconds = self.now.moment - self.before.moment
        return max(0.0, (now - then) / seconds) if seconds > 0 else 0.0


def _same_transfer(one: Row, other: Row) -> bool:
    return all(one.get(name) == other.get(name) for name in ("session", "started", "path"))


_UNITS = ("", "k", "M", "G", "T", "P")


def scaled(value: float) -> str:
    """`0`, `999`, `1.5k`, `23M`: three digits and a decimal unit."""
    place = 0
    while value >= 999.5 and place < len(_UNITS) - 1:
        value, place = value / 1000, place + 1
    digits = f"{value:.1f}" if place and value < 9.95 else f"{value:.0f}"
    return digits + _UNITS[place]
