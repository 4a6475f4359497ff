"""How the demonstration looks: tables for a terminal of 80 columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from rich import box
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pasvport.demo.callers import Member
from pasvport.demo.pages import Windows
from pasvport.demo.visits import Visit

_YES, _NO = "[green]yes[/]", "[bold red]NO[/]"
_NUMBERS = ("sessions", "clients", "bytes", "downloads")
_SIGN = {"+": "bright_green", "-": "bright_red"}


def _mark(fact: bool) -> str:
    return _YES if fact else _NO


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", header_style="cyan", box=box.ROUNDED)
    for column in columns:
        table.add_column(column, justify="right" if column in _NUMBERS else "left")
    return table


def _rows(pairs: Iterable[tuple[str, str]], style: str) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 1), pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(style=style, overflow="fold")
    for name, value in pairs:
        table.add_row(f"  {name}", Text(value))
    return table


def by_server(title: str, names: Sequence[str], visits: Sequence[Visit]) -> Table:
    """One row a server: how many clients and sessions, and whether everything held."""
    table = _table(title, "server", "clients", "sessions", "bytes", "control = data", "sha256 equal")
    for name in names:
        here = [each for each in visits if each.control == name]
        clients = str(len({each.source for each in here}))
        agree = _mark(all(each.control == each.data for each in here)) if here else "-"
        intact = _mark(all(each.intact for each in here)) if here else "-"
        table.add_row(name, clients, str(len(here)), f"{sum(each.size for each in here):,}", agree, intact)
    lost = [each for each in visits if each.control not in names]
    if lost:
        table.add_row("[red]nowhere[/]", "", str(len(lost)), "", f"[red]{escape(lost[0].error[:24])}[/]", _NO)
    return table


def by_client(title: str, visits: Sequence[Visit], limit: int = 6) -> Table:
    """The first few sessions in full."""
    table = _table(title, "client", "control", "data", "LIST", "sha256 equal")
    for each in visits[:limit]:
        if each.error:
            table.add_row(each.source, f"[red]{escape(each.error[:40])}[/]", "-", _NO, _NO)
        else:
            table.add_row(each.source, each.control, each.data, _mark(each.listed), _mark(each.intact))
    if len(visits) > limit:
        table.add_row(f"... {len(visits) - limit} more", "", "", "", "")
    return table


def moves(title: str, before: Sequence[Visit], after: Sequence[Visit]) -> Table:
    """From which server to which: clients are counted, a client is its address."""
    home = {each.source: each.control for each in before}
    table = _table(title, "clients", "were on", "are on")
    counted = Counter((home[each.source], each.control or "nowhere") for each in after)
    for (old, new), count in sorted(counted.items()):
        table.add_row(str(count), old, new if old == new else f"[yellow]{new}[/]")
    return table


def office(title: str, names: Sequence[str], members: Sequence[Member]) -> Table:
    """One row a server: who is with it, and where the downloads of those sessions came from."""
    table = _table(title, "server", "sessions", "users", "downloads", "from this server")
    for name in names:
        here = [each for each in members if each.server == name]
        files = [file for each in here for file in each.files]
        users = ", ".join(sorted({each.user for each in here}))
        right = files.count(name)
        table.add_row(name, str(len(here)), users, str(len(files)), f"{right} of {len(files)}")
    for each in members:
        if each.error:
            table.add_row("[red]nowhere[/]", "1", each.user, "0", f"[red]{escape(each.error[:24])}[/]")
    return table


def difference(lines: Iterable[str]) -> Text:
    """Lines of a diff, in its colours."""
    text = Text()
    for line in lines:
        text.append(f"  {line}\n", style=_SIGN[line[0]])
    text.rstrip()
    return text


def said(pairs: Iterable[tuple[str, str]]) -> Table:
    """Who said what."""
    return _rows(pairs, "yellow")


def windows(where: Windows) -> Text:
    """How to look at the farm while it runs."""
    lines = (
        f"http://{where.web}/",
        f"pasvport top -s {where.socket}",
        f"pasvport ctl -s {where.socket} show ftp transfers",
        f"curl http://{where.web}/metrics",
    )
    return Text("\n".join(f"  {line}" for line in lines), style="cyan")


def next_steps() -> Text:
    """What to type when the demonstration is over."""
    steps = (
        ("pasvport demo --keep", "the same, then the farm stays: dashboard, top, curl"),
        ("pasvport doctor -f FILE", "what would break in a farm of yours"),
        ("pasvport -c -f FILE", "whether a configuration, HAProxy's too, is right"),
        ("pasvport help", "the rest; docs/operations.md installs it"),
    )
    text = Text()
    for command, what in steps:
        text.append(f"  {command:24}", style="cyan")
        text.append(f" {what}\n")
    text.rstrip()
    return text


def log_line(line: str) -> Padding:
    """One line of the log, folded."""
    return Padding(Text(line, style="green", overflow="fold"), (0, 0, 0, 2))


def verdicts(facts: Sequence[tuple[str, str, bool]]) -> Table:
    """What was promised, act by act, and whether it held."""
    table = _table("Verdict", "promise", "held")
    act = ""
    for chapter, promise, fact in facts:
        if chapter != act:
            if act:
                table.add_section()
            table.add_row(f"[bold]{chapter}[/]", "")
            act = chapter
        table.add_row(f"  {promise}", _mark(fact))
    return table
