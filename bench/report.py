"""The tables: one text that reads well in a terminal and is Markdown too."""

from __future__ import annotations

from bench.measurements import MEASUREMENTS
from bench.results import METRICS, OURS, OURS_FTP, REFERENCE, Outcome, Row, verdicts

COLUMNS = ("pasvport", "pasvport-ftp", "haproxy", "haproxy+splice", "nginx", "direct")


def tables(outcome: Outcome) -> str:
    """Machine, goals, one table a measurement, notes."""
    parts = [_machine(outcome), _goals(outcome)]
    for key, (title, _) in MEASUREMENTS.items():
        rows = [row for row in outcome.rows if row.measurement == key]
        if rows:
            parts.append(f"### {title[0].upper()}{title[1:]}\n\n{_table(rows)}")
    if outcome.notes:
        parts.append("### Notes\n\n" + "\n".join(f"- {note}" for note in outcome.notes))
    return "\n\n".join(part for part in parts if part) + "\n"


def _machine(outcome: Outcome) -> str:
    return "\n".join(f"- {key}: {value}" for key, value in outcome.machine.items())


def _goals(outcome: Outcome) -> str:
    found = verdicts(outcome)
    if not found:
        return ""
    lines = [[v.what, v.wanted, f"{v.found:.2f}", "met" if v.met else "NOT met"] for v in found]
    return "### Goals\n\n" + aligned([["goal", "wanted", "found", ""], *lines])


def _table(rows: list[Row]) -> str:
    peers = [peer for peer in COLUMNS if any(peer in row.samples for row in rows)]
    ratios = [(ours, peer) for ours in (OURS, OURS_FTP) for peer in peers if _compares(ours, peer, peers)]
    head = ["case", "", *peers, *(f"{ours}/{peer}" for ours, peer in ratios)]
    lines = []
    for row in rows:
        for metric in row.metrics():
            if metric == "errors" and not any(row.median(peer, "errors") for peer in peers):
                continue
            cells = [_cell(row, peer, metric) for peer in peers] + [_ratio(row, metric, *pair) for pair in ratios]
            lines.append([row.name, _title(metric), *cells])
    return aligned([head, *lines])


def _compares(ours: str, peer: str, peers: list[str]) -> bool:
    return ours in peers and peer not in (OURS, OURS_FTP, "direct")


def _title(metric: str) -> str:
    shown = METRICS[metric]
    return f"{shown.title} ({shown.unit})" if shown.unit else shown.title


def _cell(row: Row, peer: str, metric: str) -> str:
    value = row.median(peer, metric)
    if value is None:
        return "-"
    return f"{value:,.{METRICS[metric].digits}f} ±{row.spread(peer, metric) * 100:.0f}%"


def _ratio(row: Row, metric: str, ours: str, peer: str) -> str:
    if METRICS[metric].higher is None:
        return ""
    ratio = row.ratio(ours, metric, peer)
    return "-" if ratio is None else f"{ratio:.2f}"


def aligned(lines: list[list[str]]) -> str:
    """A Markdown table whose columns line up; the first line is the head; the first column is left-aligned."""
    widths = [max(3, *(len(line[column]) for line in lines)) for column in range(len(lines[0]))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    out = []
    for line in (lines[0], rule, *lines[1:]):
        cells = [
            cell.ljust(width) if not n else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        out.append("| " + " | ".join(cells) + " |")
    return "\n".join(out)


def brief(row: Row) -> str:
    """One line for the terminal while the run goes on: the first metric of each peer, and the ratio."""
    metric = row.metrics()[0]
    cells = [f"{peer} {_cell(row, peer, metric)}" for peer in COLUMNS if row.median(peer, metric) is not None]
    ratio = row.ratio(OURS, metric)
    tail = f"  -> {OURS}/{REFERENCE} {ratio:.2f}" if ratio is not None else ""
    return f"{row.measurement}: {row.name}: {_title(metric)}: " + ", ".join(cells) + tail
