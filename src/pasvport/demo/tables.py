"""How the demonstration looks: tables for a terminal of 80 columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.table import Table

from pasvport.demo.visits import Visit

_YES, _NO = "[green]yes[/]", "[bold red]NO[/]"


def _mark(fact: bool) -> str:
    return _YES if fact else _NO


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", header_style="cyan", expand=False)
    for column in columns:
        table.add_column(column, justify="right" if column in ("sessions", "clients", "bytes") else "left")
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
    return table


def by_client(title: str, visits: Sequence[Visit], limit: int = 6) -> Table:
    """The first few sessions in full."""
    table = _table(title, "client", "control", "data", "LIST", "sha256 equal")
    for each in visits[:limit]:
        if each.error:
            table.add_row(each.source, f"[red]{each.error[:40]}[/]", "-", _NO, _NO)
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


def verdicts(facts: Sequence[tuple[str, bool]]) -> Table:
    """What was promised, and whether it held."""
    table = _table("Verdict", "promise", "held")
    for promise, fact in facts:
        table.add_row(promise, _mark(fact))
    return table
