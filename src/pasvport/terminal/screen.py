"""The picture of `pasvport top`: rich renderables from two looks. Draws, decides nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pasvport.terminal.figures import Change, Row, scaled, whole

_DOWN = "bold red"
_STYLES = {"UP": "green", "OPEN": "green", "no": "green", "DOWN": _DOWN, "MAINT": "magenta", "DRAIN": "cyan"}
_LEAST_WIDTH = 100
"""Columns below which the less important ones are left out."""
SORTS = ("configuration", "sessions", "traffic", "name")


@dataclass(frozen=True, slots=True)
class View:
    """How to draw. `rows` bounds each list; 0: everything."""

    sort: str = SORTS[0]
    width: int = 120
    rows: int = 0
    hint: bool = True

    @property
    def is_narrow(self) -> bool:
        return self.width < _LEAST_WIDTH


def picture(change: Change, view: View) -> Group:
    """The whole screen."""
    parts: list[RenderableType] = [_head(change), _servers(change, view)]
    if change.now.speaks_ftp and change.now.ftp["pools"]:
        parts += [_pools(change), _transfers(change, view)]
    parts.append(_sessions(change, view))
    if view.hint:
        parts.append(Text(f"q quit   s sort (by {view.sort})", style="dim"))
    return Group(*parts)


def _head(change: Change) -> Text:
    now, head = change.now, Text()
    head.append(now.info.get("Name", "?"), style="bold")
    head.append(f" {now.info.get('Version', '')} on {now.info.get('node', '?')}, up {now.info.get('Uptime', '?')}\n")
    facts = (
        ("sessions", f"{now.number('CurrConns')}/{now.number('Maxconn')}"),
        ("new/s", str(now.number("SessRate"))),
        ("in/s", scaled(change.total_rate("bin"))),
        ("out/s", scaled(change.total_rate("bout"))),
        ("idle", f"{now.number('Idle_pct')}%"),
    )
    for name, value in facts:
        head.append(f"{name} ", style="dim")
        head.append(f"{value}   ", style="bold")
    if now.info.get("Stopping", "0") != "0":
        head.append("STOPPING", style=_DOWN)
    return head


def _table(title: str, columns: Sequence[tuple[str, bool]]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", header_style="cyan", box=None, pad_edge=False)
    for name, is_number in columns:
        table.add_column(name, justify="right" if is_number else "left", no_wrap=True, overflow="ellipsis")
    return table


def _some(rows: Sequence[Row], view: View) -> Sequence[Row]:
    return rows[: view.rows] if view.rows else rows


# --- servers ------------------------------------------------------------------------------------------------------

_SERVER_COLUMNS = (
    ("server", False),
    ("state", False),
    ("weight", True),
    ("sessions", True),
    ("queue", True),
    ("total", True),
    ("in/s", True),
    ("out/s", True),
    ("transfers", True),
    ("errors", True),
    ("check", False),
    ("since", True),
)
_LEFT_OUT = frozenset({"weight", "total", "errors", "check"})


def _servers(change: Change, view: View) -> Table:
    shown = [column for column in _SERVER_COLUMNS if not (view.is_narrow and column[0] in _LEFT_OUT)]
    table = _table("Servers", shown)
    rows = sorted(change.now.servers(), key=_ORDERS[view.sort](change))
    for row in rows:
        cells = _server_cells(change, row)
        table.add_row(*(cells[name] for name, _ in shown))
    return table


def _server_cells(change: Change, row: Mapping[str, str]) -> dict[str, RenderableType]:
    status = row.get("status", "")
    limit = f"/{row['slim']}" if row.get("slim") else ""
    return {
        "server": f"{row.get('pxname')}/{row.get('svname')}",
        "state": Text(status, style=_STYLES.get(status.split(" ")[0], "yellow")),
        "weight": row.get("weight", ""),
        "sessions": f"{row.get('scur')}{limit}",
        "queue": row.get("qcur", ""),
        "total": scaled(whole(row.get("stot"))),
        "in/s": scaled(change.server_rate(row, "bin")),
        "out/s": scaled(change.server_rate(row, "bout")),
        "transfers": row.get("ftp_xfer_cur") or "-",
        "errors": scaled(whole(row.get("econ")) + whole(row.get("eresp"))),
        "check": row.get("check_status", ""),
        "since": duration(whole(row.get("lastchg"))),
    }


_ORDERS: Mapping[str, Callable[[Change], Callable[[Mapping[str, str]], float | str]]] = {
    "configuration": lambda change: lambda row: 0.0,
    "sessions": lambda change: lambda row: -whole(row.get("scur")),
    "traffic": lambda change: lambda row: -change.server_rate(row, "bin") - change.server_rate(row, "bout"),
    "name": lambda change: lambda row: f"{row.get('pxname')}/{row.get('svname')}",
}


# --- FTP ----------------------------------------------------------------------------------------------------------


def _pools(change: Change) -> Table:
    table = _table("Data ports", (("frontend", False), ("used", True), ("", False), ("refused", True)))
    for row in change.now.ftp["pools"]:
        used, size = whole(row.get("used")), whole(row.get("size"))
        bar = ProgressBar(total=max(1, size), completed=used, width=24, complete_style="yellow", finished_style=_DOWN)
        table.add_row(str(row.get("frontend")), f"{used}/{size}", bar, str(row.get("failed")))
    return table


_TRANSFER_COLUMNS = (
    ("user", False),
    ("client", False),
    ("server", False),
    ("", False),
    ("file", False),
    ("bytes", True),
    ("bytes/s", True),
    ("done", True),
)


def _transfers(change: Change, view: View) -> Table:
    rows = sorted(change.now.ftp["transfers"], key=lambda row: -change.transfer_rate(row))
    table = _table(f"Transfers ({len(rows)})", _TRANSFER_COLUMNS)
    for row in _some(rows, view):
        size, expected = whole(row.get("size")), whole(row.get("expected"))
        arrow = "↑" if row.get("direction") == "upload" else "↓"
        table.add_row(
            _clean(row.get("user")),
            _clean(row.get("client")),
            f"{row.get('backend')}/{row.get('server')}",
            arrow,
            _clean(row.get("path")) or str(row.get("verb")),
            scaled(size),
            scaled(change.transfer_rate(row)),
            f"{min(100, size * 100 // expected)}%" if expected > 0 else "-",
        )
    return table


def _sessions(change: Change, view: View) -> Table:
    rows = change.now.ftp.get("sessions", ())
    return _ftp_sessions(rows, view) if rows else _plain_sessions(change, view)


_FTP_SESSION_COLUMNS = (
    ("user", False),
    ("client", False),
    ("server", False),
    ("phase", False),
    ("age", True),
    ("idle", True),
    ("commands", True),
    ("transfers", True),
    ("last", False),
)


def _ftp_sessions(rows: Sequence[Row], view: View) -> Table:
    table = _table(f"FTP sessions ({len(rows)})", _FTP_SESSION_COLUMNS)
    for row in _some(sorted(rows, key=lambda row: _seconds(row, "idle")), view):
        table.add_row(
            _clean(row.get("user")) or "-",
            _clean(row.get("client")),
            f"{row.get('backend')}/{row.get('server')}",
            _clean(row.get("phase")),
            duration(_seconds(row, "age")),
            duration(_seconds(row, "idle")),
            str(row.get("commands")),
            str(row.get("transfers")),
            _clean(row.get("last_command")),
        )
    return table


def _plain_sessions(change: Change, view: View) -> Table:
    table = _table("Sessions", (("client", False), ("frontend", False), ("server", False), ("age", True)))
    for row in _some(change.now.sessions, view):
        server = f"{row.get('be')}/{row.get('srv')}"
        table.add_row(str(row.get("src")), str(row.get("fe")), server, str(row.get("age")))
    return table


def _seconds(row: Row, name: str) -> float:
    value = row.get(name)
    return float(value) if isinstance(value, int | float) else 0.0


def _clean(value: object) -> Text:
    """A peer's text as it may stand on a terminal: no control characters, and no markup of rich's."""
    text = "" if value is None else str(value)
    return Text("".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text))


def duration(seconds: float) -> str:
    """`12s`, `3m`, `5h`, `2d`: the largest unit."""
    for size, letter in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{int(seconds // size)}{letter}"
    return f"{int(seconds)}s"
