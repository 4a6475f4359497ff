"""The page as the server renders it: whole without JavaScript; with it, the script keeps the same tables up to date."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.resources import files
from string import Template

import pasvport
from pasvport.control.web.admin import ACTIONS, MEANINGS, SHUTDOWN
from pasvport.control.web.metrics import pool_size, ports_in_use, state_of
from pasvport.control.web.served import Serving
from pasvport.control.web.target import Target
from pasvport.control.web.watch import Watch
from pasvport.exposition.info import uptime
from pasvport.exposition.stat import Kind, Row
from pasvport.model import Mode, Proxy, Stats

STATIC = files("pasvport.control.web") / "static"
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


@cache
def _template() -> Template:
    return Template((STATIC / "page.html").read_text(encoding="utf-8"))


def bytes_text(value: object) -> str:
    """`1.5 MB`; "" for what is not known."""
    if not isinstance(value, int | float):
        return ""
    amount = float(value)
    for unit in _UNITS[:-1]:
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} {_UNITS[-1]}"


def duration_text(seconds: object) -> str:
    """The two largest units: `3d 4h`, `5m 2s`."""
    if not isinstance(seconds, int | float) or seconds < 0:
        return ""
    parts: list[str] = []
    rest = int(seconds)
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2])


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table of servers or frontends. `field` is what the script calls it."""

    title: str
    field: str
    is_number: bool = True


SERVER_COLUMNS = (
    Column("Server", "name", False),
    Column("State", "status", False),
    Column("Last check", "check", False),
    Column("Last hour", "minutes", False),
    Column("Sessions", "sessions"),
    Column("Queue", "queued"),
    Column("Transfers", "transfers"),
    Column("Traffic", "traffic"),
    Column("Errors", "errors"),
    Column("Weight", "weight"),
)
FRONTEND_COLUMNS = (
    Column("Frontend", "name", False),
    Column("Mode", "mode", False),
    Column("State", "status", False),
    Column("Sessions", "sessions"),
    Column("New per second", "rate"),
    Column("Served", "sessions_total"),
    Column("Transfers", "transfers"),
    Column("Traffic", "traffic"),
    Column("Logins", "logins"),
    Column("Failed logins", "login_failures"),
    Column("Data ports", "leases"),
)


@dataclass(frozen=True, slots=True)
class Material:
    """What the page is made of, gathered at one moment. `minutes` are those of each server, by proxy and name."""

    generation: Serving
    stats: Stats
    target: Target
    rows: tuple[Row, ...]
    minutes: Mapping[tuple[str, str], tuple[int, ...]]


def gather(generation: Serving, stats: Stats, target: Target, rows: Iterable[Row], watch: Watch) -> Material:
    """Look at everything once."""
    found = tuple(rows)
    minutes = {
        key: tuple(watch.past(*key).minutes)
        for key in ((str(row.values["pxname"]), str(row.values["svname"])) for row in found if row.kind is Kind.SERVER)
    }
    return Material(generation, stats, target, found, minutes)


def render(material: Material) -> str:
    """The whole document. It may be made in another thread."""
    generation, stats, target, rows = material.generation, material.stats, material.target, material.rows
    return _template().substitute(
        title=escape(" - ".join(("pasvport", *filter(None, [stats.show_node])))),
        node=_optional("node", stats.show_node),
        description=_optional("description", stats.show_description),
        version=escape(f" {pasvport.__version__}" if not stats.hide_version else ""),
        uptime=escape(uptime(int(_age(generation)))),
        uri=escape(stats.uri, quote=True),
        admin="yes" if stats.admin else "no",
        refresh=_refresh(stats, target),
        notice=_notice(target.status),
        summary=escape(_summary(rows)),
        backends="".join(_backends(material)),
        frontends=_table("Frontends", FRONTEND_COLUMNS, _frontend_rows(generation, rows)),
        links=_links(stats),
    )


def _age(generation: Serving) -> float:
    return max(0.0, time.time() - generation.started)


def _optional(name: str, text: str | None) -> str:
    return f'<p class="{name}">{escape(text)}</p>' if text else ""


def _refresh(stats: Stats, target: Target) -> str:
    if not stats.refresh or not target.refresh:
        return ""
    return f'<noscript><meta http-equiv="refresh" content="{stats.refresh}"></noscript>'


def _notice(status: str) -> str:
    if not status:
        return ""
    kind = "good" if status == "DONE" else "bad"
    text = MEANINGS.get(status, MEANINGS["UNKN"])
    return f'<p class="notice {kind}" role="status">{escape(text)}</p>'


def _links(stats: Stats) -> str:
    uri = escape(stats.uri, quote=True)
    pairs = ((f"{uri};csv", "CSV"), (f"{uri};json", "JSON"), ("/metrics", "Metrics"), ("/health", "Health"))
    return " ".join(f'<a href="{address}">{name}</a>' for address, name in pairs)


def _summary(rows: Iterable[Row]) -> str:
    states = [state_of(row) for row in rows if row.kind is Kind.SERVER]
    up = states.count("UP")
    return f"{up} of {len(states)} servers up" if states else "no servers"


# --- tables -------------------------------------------------------------------------------------------------------


def _table(caption: str, columns: Sequence[Column], rows: Iterable[str], *, extra: str = "", name: str = "") -> str:
    heads = "".join(
        f'<th scope="col"{" class=number" if column.is_number else ""}>{escape(column.title)}</th>'
        for column in columns
    )
    attribute = f' data-backend="{escape(name, quote=True)}"' if name else ""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption, quote=True)}"><table{attribute}>'
        f"<caption{'' if name else ' class=unseen'}>{escape(caption)}</caption>"
        f"<thead><tr>{heads}{extra}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _row(columns: Sequence[Column], cells: Mapping[str, str], extra: str = "", state: str = "") -> str:
    found = []
    for number, column in enumerate(columns):
        label = escape(column.title, quote=True)
        kind = " class=number" if column.is_number else ""
        head = ('th scope="row"', "th") if not number else ("td", "td")
        found.append(f'<{head[0]} data-label="{label}"{kind}>{cells.get(column.field, "")}</{head[1]}>')
    return f'<tr data-state="{escape(state, quote=True)}">{"".join(found)}{extra}</tr>'


def _plain(row: Row, fields: Mapping[str, str]) -> dict[str, str]:
    return {name: escape(str(row.values.get(field, ""))) for name, field in fields.items()}


def _traffic(row: Row) -> str:
    down, up = bytes_text(row.values.get("bout")), bytes_text(row.values.get("bin"))
    return f'<span title="to clients">\u2193 {down}</span> <span title="from clients">\u2191 {up}</span>'


def _of_limit(row: Row) -> str:
    limit = row.values.get("slim")
    return f"{row.values.get('scur', '')}{f' / {limit}' if limit else ''}"


def _frontend_rows(generation: Serving, rows: Iterable[Row]) -> Iterable[str]:
    proxies = {proxy.id: proxy for proxy in generation.config.proxies}
    for row in rows:
        if row.kind is not Kind.FRONTEND or row.values["mode"] == Mode.HTTP:
            continue
        fields = {
            "name": "pxname",
            "mode": "mode",
            "rate": "rate",
            "sessions_total": "stot",
            "transfers": "ftp_xfer_cur",
            "logins": "ftp_login",
            "login_failures": "ftp_login_fail",
        }
        cells = _plain(row, fields) | {"traffic": _traffic(row)}
        cells["name"] += _described(proxies[row.proxy_id])
        cells["sessions"] = _of_limit(row)
        cells["status"] = _badge(row)
        if "ftp_lease_cur" in row.values:
            proxy = proxies[row.proxy_id]
            cells["leases"] = f"{ports_in_use(generation, proxy)} (pool {pool_size(generation, proxy.index)})"
        yield _row(FRONTEND_COLUMNS, cells, state=state_of(row))


def _described(proxy: Proxy) -> str:
    return f" <small>{escape(proxy.description)}</small>" if proxy.description else ""


def _badge(row: Row) -> str:
    return f'<span class="badge" data-state="{state_of(row)}">{escape(str(row.values["status"]))}</span>'


def _server_cells(row: Row, material: Material) -> dict[str, str]:
    fields = {"name": "svname", "queued": "qcur", "transfers": "ftp_xfer_cur", "weight": "weight"}
    cells = _plain(row, fields) | {"traffic": _traffic(row)}
    cells["status"] = f"{_badge(row)} <small>{duration_text(row.values.get('lastchg'))}</small>"
    cells["sessions"] = f"{_of_limit(row)} <small>{row.values.get('stot', '')} served</small>"
    cells["errors"] = str(int(row.values.get("econ", 0)) + int(row.values.get("eresp", 0)))
    cells["check"] = _check_words(row)
    cells["minutes"] = strip(material.minutes[str(row.values["pxname"]), str(row.values["svname"])])
    if row.values.get("addr"):
        cells["name"] += f" <small>{escape(str(row.values['addr']))}</small>"
    return cells


RANKS = ("not known", "up", "in maintenance", "draining", "up, but failing checks", "down")
"""What the ranks of watch.Past mean."""


def strip(minutes: Sequence[int]) -> str:
    """The last hour of a server as a strip of minutes, and in words for who cannot see it."""
    runs: list[list[int]] = []
    for place, rank in enumerate(minutes):
        if runs and runs[-1][1] == rank:
            runs[-1][2] += 1
        else:
            runs.append([place, rank, 1])
    drawn = "".join(
        f'<rect class="rank{rank}" x="{place}" y="0" width="{count}" height="10"/>' for place, rank, count in runs
    )
    totals = [(text, sum(each == rank for each in minutes)) for rank, text in enumerate(RANKS)]
    words = ", ".join(f"{text} {count} min" for text, count in totals if count)
    return (
        f'<svg class="strip" role="img" viewBox="0 0 {len(minutes)} 10" preserveAspectRatio="none" '
        f'aria-label="Last hour: {words}"><title>Last hour: {words}</title>{drawn}</svg>'
    )


def _check_words(row: Row) -> str:
    """`Layer7 check passed, 2 ms`; a detail in parentheses only says which kind of check it was."""
    if not row.values.get("check_status"):
        return "not checked"
    detail, duration = str(row.values.get("last_chk", "")), row.values.get("check_duration")
    words = [str(row.values.get("check_desc", "")), "" if detail.startswith("(") else detail]
    words += [f"{duration} ms"] if duration is not None else []
    return escape(", ".join(filter(None, words)))


def _backends(material: Material) -> Iterable[str]:
    rows, stats = material.rows, material.stats
    proxies = {proxy.id: proxy for proxy in material.generation.config.proxies}
    for backend in rows:
        name = str(backend.values["pxname"])
        servers = [row for row in rows if row.kind is Kind.SERVER and row.proxy_id == backend.proxy_id]
        if backend.kind is not Kind.BACKEND or (not servers and backend.values["mode"] == Mode.HTTP):
            continue
        algorithm = f", {backend.values['algo']}" if "algo" in backend.values else ""
        caption = ": ".join(filter(None, (f"{name}{algorithm}", proxies[backend.proxy_id].description)))
        extra = '<th scope="col" class="act">Orders</th>' if stats.admin else ""
        body = [
            _row(SERVER_COLUMNS, _server_cells(row, material), _chooser(row) if stats.admin else "", state_of(row))
            for row in servers
        ]
        table = _table(caption, SERVER_COLUMNS, body, extra=extra, name=name)
        yield _form(name, table, stats) if stats.admin else table


def _chooser(row: Row) -> str:
    name = escape(str(row.values["svname"]), quote=True)
    box = f'<label><input type="checkbox" name="s" value="{name}"> choose <span class="unseen">{name}</span></label>'
    return f'<td class="act" data-label="Orders">{box}</td>'


def _form(backend: str, table: str, stats: Stats) -> str:
    options = "".join(
        f'<option value="{action}">{escape(title)}</option>' for action, (_, title) in ACTIONS.items() if title
    )
    options += f'<option value="{SHUTDOWN}">End its sessions</option>'
    name = escape(backend, quote=True)
    return (
        f'<form method="post" action="{escape(stats.uri, quote=True)}">{table}'
        f'<p class="orders"><input type="hidden" name="b" value="{name}"><label>With the chosen servers of {name}: '
        f'<select name="action">{options}</select></label> <button type="submit">Do it</button></p></form>'
    )
