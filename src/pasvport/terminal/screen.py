"""The picture of `pasvport top`: rich renderables from two looks. Draws, decides nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Group, JustifyMethod, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pasvport.terminal.figures import Change, Look, Row, scaled, whole

_DOWN = "bold red"
_STYLES = {"UP": "green", "OPEN": "green", "no": "green", "DOWN": _DOWN, "MAINT": "magenta", "DRAIN": "cyan"}
_LINES_ASIDE = 12
"""Lines of the screen that headings need."""
_FEWEST_ROWS = 3
_LEAST_WIDTH = 100
"""Columns below which names are short and gaps narrow."""
_WIDE = 130
"""Columns from which on servers are told with their backend among transfers and sessions."""
SORTS = ("configuration", "sessions", "traffic", "name")


@dataclass(frozen=True, slots=True)
class View:
    """How to draw. `rows` bounds each list, `servers` that of the servers; 0: everything."""

    sort: str = SORTS[0]
    width: int = 120
    rows: int = 0
    servers: int = 0
    hint: bool = True

    @classmethod
    def for_screen(cls, now: Look, width: int, height: int, sort: str) -> View:
        """As much as a screen shows: of each list some rows, of the servers as many as that leaves."""
        left = height - _LINES_ASIDE - len(now.ftp.get("pools", ()))
        servers = min(len(now.servers()), max(_FEWEST_ROWS, left - 2 * _FEWEST_ROWS))
        return cls(sort, width, max(_FEWEST_ROWS, (left - servers) // 2), servers)

    @property
    def is_narrow(self) -> bool:
        return self.width < _LEAST_WIDTH


def picture(change: Change, view: View) -> Group:
    """The whole screen."""
    parts: list[RenderableType] = [_head(change), _servers(change, view)]
    if change.now.speaks_ftp and change.now.ftp["pools"]:
        parts += [_pools(change, view), _transfers(change, view)]
    parts.append(_sessions(change, view))
    if view.hint:
        parts.append(Text(f"q quit   s sort (by {view.sort})", style="dim"))
    return Group(*parts)


def _head(change: Change) -> Text:
    now, head = change.now, Text(no_wrap=True, overflow="ellipsis")
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


@dataclass(frozen=True, slots=True)
class Column:
    """One column. A text is cut where there is no room for it, a number is not; `drop`: the higher, the earlier such a
    column is left out as a whole, 0: never. Of a longer text there should be `least` characters before that is done."""

    name: str
    is_number: bool = False
    is_text: bool = False
    drop: int = 0
    least: int = 14


Cells = Mapping[str, RenderableType]


def _table(title: str, columns: Sequence[Column], rows: Sequence[Cells], view: View) -> Table:
    """Fitted to the width: every number is whole, and what is left is shared out among the texts."""
    gap = 1 if view.is_narrow else 2
    shown, widths = _fitted(columns, rows, view.width, gap)
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        header_style="cyan",
        box=None,
        pad_edge=False,
        padding=(0, gap, 0, 0),
    )
    for column in shown:
        justify: JustifyMethod = "right" if column.is_number else "left"
        table.add_column(column.name, justify=justify, no_wrap=True, overflow="ellipsis", width=widths[column.name])
    for row in rows:
        table.add_row(*(row[column.name] for column in shown))
    return table


def _fitted(
    columns: Sequence[Column], rows: Sequence[Cells], width: int, gap: int
) -> tuple[list[Column], dict[str, int]]:
    """(the columns there is room for, their widths)."""
    shown = list(columns)
    wanted = {
        column.name: max([cell_len(column.name), *(_length(row[column.name]) for row in rows)]) for column in columns
    }
    while True:
        least = {column.name: column.least for column in shown if column.is_text}
        texts = list(least)
        fixed = sum(wanted[column.name] for column in shown if not column.is_text)
        room = width - gap * (len(shown) - 1) - fixed
        droppable = [column for column in shown if column.drop]
        if not droppable or room >= sum(min(wanted[name], least[name]) for name in texts):
            break
        shown.remove(max(droppable, key=lambda column: column.drop))
    widths = {column.name: wanted[column.name] for column in shown}
    for _ in range(sum(widths[name] for name in texts) - max(room, len(texts))):
        # The widest gives way.
        widths[max(texts, key=lambda name: widths[name])] -= 1
    return shown, widths


def _length(cell: RenderableType) -> int:
    if isinstance(cell, ProgressBar):
        return cell.width or 1
    return cell.cell_len if isinstance(cell, Text) else cell_len(str(cell))


def _some(rows: Sequence[Row], view: View) -> Sequence[Row]:
    return rows[: view.rows] if view.rows else rows


# --- servers ------------------------------------------------------------------------------------------------------

_SERVER_COLUMNS = (
    Column("server", is_text=True, least=32),
    Column("state", is_text=True, least=8),
    Column("weight", is_number=True, drop=4),
    Column("sessions", is_number=True),
    Column("queue", is_number=True, drop=1),
    Column("total", is_number=True, drop=2),
    Column("in/s", is_number=True),
    Column("out/s", is_number=True),
    Column("transfers", is_number=True),
    Column("errors", is_number=True, drop=3),
    Column("check", drop=5),
    Column("since", is_number=True),
)


def _servers(change: Change, view: View) -> Table:
    rows = sorted(change.now.servers(), key=_ORDERS[view.sort](change))
    cells = [_server_cells(change, row) for row in rows]
    most = view.servers or len(cells)
    title = "Servers" if len(cells) <= most else f"Servers ({most} of {len(cells)})"
    return _table(title, _SERVER_COLUMNS, cells[:most], view)


def _server_cells(change: Change, row: Mapping[str, str]) -> dict[str, RenderableType]:
    status = row.get("status", "")
    limit = f"/{row['slim']}" if row.get("slim") else ""
    return {
        "server": _clean(f"{row.get('pxname')}/{row.get('svname')}"),
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


_POOL_COLUMNS = (
    Column("frontend", is_text=True),
    Column("ports", is_number=True),
    Column("in use", is_number=True),
    Column("awaited", is_number=True),
    Column("", drop=1),
    Column("refused", is_number=True),
)


def _pools(change: Change, view: View) -> Table:
    return _table("Data ports", _POOL_COLUMNS, [_pool_cells(row) for row in change.now.ftp["pools"]], view)


def _pool_cells(row: Row) -> Cells:
    # Clients share ports with each other: only those that are awaited can use the pool up.
    awaited, size = whole(row.get("awaited")), whole(row.get("size"))
    return {
        "frontend": _clean(row.get("frontend")),
        "ports": str(size),
        "in use": str(whole(row.get("used"))),
        "awaited": str(awaited),
        "": ProgressBar(total=max(1, size), completed=awaited, width=24, complete_style="yellow", finished_style=_DOWN),
        "refused": str(whole(row.get("failed"))),
    }


_TRANSFER_COLUMNS = (
    Column("user", is_text=True),
    Column("client", is_text=True),
    Column("server", is_text=True),
    Column(""),
    Column("file", is_text=True),
    Column("bytes", is_number=True),
    Column("bytes/s", is_number=True),
    Column("done", is_number=True),
)


def _transfers(change: Change, view: View) -> Table:
    rows = sorted(change.now.ftp["transfers"], key=lambda row: -change.transfer_rate(row))
    cells = [_transfer_cells(change, row, view) for row in _some(rows, view)]
    return _table(f"Transfers ({len(rows)})", _TRANSFER_COLUMNS, cells, view)


def _transfer_cells(change: Change, row: Row, view: View) -> Cells:
    size, expected = whole(row.get("size")), whole(row.get("expected"))
    return {
        "user": _clean(row.get("user")),
        "client": _clean(row.get("client")),
        "server": _server(row, view),
        "": "↑" if row.get("direction") == "upload" else "↓",
        "file": _clean(row.get("path")) if row.get("path") else _clean(row.get("verb")),
        "bytes": scaled(size),
        "bytes/s": scaled(change.transfer_rate(row)),
        "done": f"{min(100, size * 100 // expected)}%" if expected > 0 else "-",
    }


def _server(row: Row, view: View) -> Text:
    """With its backend where there is room."""
    return _clean(row.get("server")) if view.width < _WIDE else _clean(f"{row.get('backend')}/{row.get('server')}")


def _sessions(change: Change, view: View) -> Table:
    rows = change.now.ftp.get("sessions", ())
    return _ftp_sessions(rows, view) if rows else _plain_sessions(change, view)


_FTP_SESSION_COLUMNS = (
    Column("user", is_text=True),
    Column("client", is_text=True),
    Column("server", is_text=True),
    Column("doing"),
    Column("age", is_number=True, drop=1),
    Column("idle", is_number=True),
    Column("commands", is_number=True, drop=3),
    Column("transfers", is_number=True, drop=2),
    Column("last", is_text=True),
)


def _ftp_sessions(rows: Sequence[Row], view: View) -> Table:
    chosen = _some(sorted(rows, key=lambda row: _seconds(row, "idle")), view)
    cells = [_session_cells(row, view) for row in chosen]
    return _table(f"FTP sessions ({len(rows)})", _FTP_SESSION_COLUMNS, cells, view)


def _session_cells(row: Row, view: View) -> Cells:
    return {
        "user": _clean(row.get("user") or "-"),
        "client": _clean(row.get("client")),
        "server": _server(row, view),
        "doing": _clean(row.get("doing") or row.get("phase")),
        "age": duration(_seconds(row, "age")),
        "idle": duration(_seconds(row, "idle")),
        "commands": str(row.get("commands")),
        "transfers": str(row.get("transfers")),
        "last": _clean(row.get("last_command")),
    }


_PLAIN_COLUMNS = (
    Column("client", is_text=True),
    Column("frontend", is_text=True),
    Column("server", is_text=True),
    Column("age", is_number=True),
)


def _plain_sessions(change: Change, view: View) -> Table:
    cells: list[Cells] = [
        {
            "client": _clean(row.get("src")),
            "frontend": _clean(row.get("fe")),
            "server": _clean(f"{row.get('be')}/{row.get('srv')}"),
            "age": str(row.get("age")),
        }
        for row in _some(change.now.sessions, view)
    ]
    return _table("Sessions", _PLAIN_COLUMNS, cells, view)


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
