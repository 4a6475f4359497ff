"""Samples become medians, spreads, ratios and verdicts. Pure: numbers in, numbers out; the JSON file is this data."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import Any

REFERENCE = "haproxy"
OURS = "pasvport"
OURS_FTP = "pasvport-ftp"
"""With the word `tcp` of the page changed to `ftp`."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One measured quantity. `higher` says which way is better; `None` where neither is."""

    title: str
    unit: str
    higher: bool | None
    digits: int = 0


METRICS: dict[str, Metric] = {
    "per_second": Metric("rate", "/s", True),
    "cpu_us": Metric("CPU each", "us", False),
    "gb_per_second": Metric("throughput", "GB/s", True, 2),
    "cpu_s_per_gb": Metric("CPU", "s/GB", False, 3),
    "first_byte_p50_us": Metric("first data byte, p50", "us", False),
    "first_byte_p99_us": Metric("first data byte, p99", "us", False),
    "kb_per_idle": Metric("memory each", "KB", False, 2),
    "ready_ms": Metric("ready after", "ms", False),
    "descriptors": Metric("descriptors, all processes", "", False),
    "descriptors_largest_process": Metric("descriptors, largest process", "", False),
    "check_ms": Metric("check takes", "ms", False),
    "base_kb": Metric("memory", "KB", False),
    "log_lines_per_connection": Metric("log lines a connection", "", None, 3),
    "errors": Metric("errors", "", None),
}


@dataclass(slots=True)
class Row:
    """A case: peer -> metric -> its samples, in the order they were taken."""

    measurement: str
    name: str
    samples: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def add(self, peer: str, metrics: dict[str, float]) -> None:
        """One more sample of that peer."""
        kept = self.samples.setdefault(peer, {})
        for key, value in metrics.items():
            if key in METRICS:
                kept.setdefault(key, []).append(value)

    def median(self, peer: str, metric: str) -> float | None:
        """None when that peer has no such number."""
        values = self.samples.get(peer, {}).get(metric)
        return median(values) if values else None

    def spread(self, peer: str, metric: str) -> float:
        """Half of the distance from least to greatest, as a part of the median."""
        values = self.samples[peer][metric]
        middle = median(values)
        return (max(values) - min(values)) / 2 / middle if middle else 0.0

    def ratio(self, peer: str, metric: str, to: str = REFERENCE) -> float | None:
        """Median over median, None when either is missing or the reference is zero."""
        ours, theirs = self.median(peer, metric), self.median(to, metric)
        return ours / theirs if ours is not None and theirs else None

    def metrics(self) -> list[str]:
        """Those that any peer has, in the order of METRICS."""
        return [key for key in METRICS if any(key in found for found in self.samples.values())]


@dataclass(slots=True)
class Outcome:
    """A whole run: where, how, what came out."""

    machine: dict[str, str]
    notes: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    def row(self, measurement: str, name: str) -> Row:
        """That case, made when it is new."""
        for row in self.rows:
            if (row.measurement, row.name) == (measurement, name):
                return row
        self.rows.append(Row(measurement, name))
        return self.rows[-1]

    def as_json(self) -> dict[str, Any]:
        """Everything, with medians and ratios for readers that do not compute."""
        return {"machine": self.machine, "notes": self.notes, "rows": [_row_as_json(row) for row in self.rows]}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Outcome:
        """What `as_json` wrote."""
        rows = [Row(row["measurement"], row["name"], row["samples"]) for row in data["rows"]]
        return cls(data["machine"], data["notes"], rows)


def _row_as_json(row: Row) -> dict[str, Any]:
    medians = {peer: {key: row.median(peer, key) for key in found} for peer, found in row.samples.items()}
    ratios = {
        peer: {key: row.ratio(peer, key) for key in found} for peer, found in row.samples.items() if peer != REFERENCE
    }
    return {
        "measurement": row.measurement,
        "name": row.name,
        "samples": row.samples,
        "medians": medians,
        "ratios": ratios,
    }


# --- goals ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound on pasvport's ratio to a peer, for every case of a measurement whose name contains `part`."""

    measurement: str
    part: str
    metric: str
    bound: float
    to: str = REFERENCE
    of: str = OURS

    @property
    def at_least(self) -> bool:
        """More is better for this metric."""
        return METRICS[self.metric].higher is True

    def met(self, ratio: float) -> bool:
        """Does that ratio reach the bound?"""
        return ratio >= self.bound if self.at_least else ratio <= self.bound


GOALS = (
    Goal("connections", ", logs", "per_second", 1.0),
    Goal("ftp", "", "per_second", 1.0),
    Goal("ftp", "", "per_second", 1.0, of=OURS_FTP),
    Goal("ftp", "", "first_byte_p50_us", 1.0, of=OURS_FTP),
    Goal("bulk", "", "gb_per_second", 2.5),
    Goal("bulk", "", "gb_per_second", 1.5, "haproxy+splice"),
    Goal("bulk", "", "cpu_s_per_gb", 0.3),
    Goal("memory", "", "kb_per_idle", 0.5),
    Goal("start", "10,000", "descriptors", 0.01),
    Goal("fairness", "", "first_byte_p99_us", 1.0),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """One line of the list of goals."""

    what: str
    wanted: str
    found: float
    met: bool


def verdicts(outcome: Outcome) -> list[Verdict]:
    """Every goal for every case that has the numbers, and the growth of pasvport against its own smallest case."""
    found = [verdict for goal in GOALS for row in outcome.rows if (verdict := _judge(goal, row)) is not None]
    return found + _growth(outcome, "idle") + _growth(outcome, "entries")


def _judge(goal: Goal, row: Row) -> Verdict | None:
    if row.measurement != goal.measurement or goal.part not in row.name:
        return None
    ratio = row.ratio(goal.of, goal.metric, goal.to)
    if ratio is None:
        return None
    mode = " of mode ftp" if goal.of == OURS_FTP else ""
    what = f"{row.measurement}: {row.name}: {METRICS[goal.metric].title}{mode} to {goal.to}"
    return Verdict(what, f"{'>=' if goal.at_least else '<='} {goal.bound:g}", ratio, goal.met(ratio))


NOISE = 0.9
"""A case within ten percent of the smallest one counts as flat."""


def _growth(outcome: Outcome, part: str) -> list[Verdict]:
    rows = [row for row in outcome.rows if row.measurement == "growth" and part in row.name]
    rates = [(row, rate) for row in rows if (rate := row.median(OURS, "per_second"))]
    return [
        Verdict(f"growth: {row.name}: rate to that of {rates[0][0].name}", f">= {NOISE:g}", rate / rates[0][1], ok)
        for row, rate in rates[1:]
        for ok in (rate / rates[0][1] >= NOISE,)
    ]
