"""The metrics of one generation, in Prometheus' text format. Names and states: see metric_tables.

Source: HAProxy 2.6's exporter, observed: a field without a meaning for its object is NaN; `scope` selects groups.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import nan
from urllib.parse import parse_qsl

from prometheus_client import generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

import pasvport
from pasvport.control.information import info
from pasvport.control.statistics import Selection, stat_rows
from pasvport.control.web import metric_tables as tables
from pasvport.control.web.served import Serving
from pasvport.exposition.stat import Kind, Row
from pasvport.model import Mode, Proxy
from pasvport.sight import TableSight

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SCOPES = ("global", "frontend", "listener", "backend", "server", "sticktable")
_PREFIX = {kind: f"haproxy_{kind.name.lower()}_" for kind in Kind}
_FTP_PREFIX = {kind: f"pasvport_ftp_{kind.name.lower()}_" for kind in Kind}
_KINDS = {kind.name.lower(): kind for kind in (Kind.FRONTEND, Kind.LISTENER, Kind.BACKEND, Kind.SERVER)}
_OF_CHECKS = ("check_code", "check_duration")
Labels = dict[str, str]
Sample = tuple[Labels, float]


@dataclass(frozen=True, slots=True)
class WebFigures:
    """What the web server knows of itself."""

    connections: int = 0
    refused: int = 0
    responses: tuple[tuple[int, int], ...] = ()
    draining: int = 0
    login_failures: int = 0


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which groups, and whether servers in maintenance are left out."""

    scopes: frozenset[str]
    no_maintenance: bool = False


def wanted(query: str) -> Wanted | None:
    """What a query string asks for: everything without `scope`; None for a scope that does not exist, or too much."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=64)
    except ValueError:
        return None
    given = [value for name, value in pairs if name == "scope"]
    if any(value not in ("", "*", *SCOPES) for value in given):
        return None
    chosen = SCOPES if not given or "*" in given else [value for value in given if value]
    return Wanted(frozenset(chosen), any(name == "no-maint" for name, _ in pairs))


async def tables_used(generation: Serving) -> dict[str, int]:
    """Entries of every stick table, over all workers; a table whose entries all workers share counts once."""
    used: dict[str, int] = {}
    if not any(proxy.stick_table is not None for proxy in generation.config.proxies):
        return used
    answer = await generation.questions.gather("tables", patience=1.0)
    for row in answer.plain():
        sight = TableSight(*row)  # type: ignore[arg-type]
        before = used.get(sight.name, 0)
        used[sight.name] = max(before, sight.used) if sight.shared else before + sight.used
    return used


class _Answer(Collector):
    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


@dataclass(frozen=True, slots=True)
class Material:
    """What a text is made of, gathered at one moment; nothing in it changes any more."""

    what: Wanted
    rows: tuple[Row, ...]
    process: Mapping[str, object]
    own: tuple[Metric, ...]


def gather(
    generation: Serving, what: Wanted, entries: Mapping[str, int], web: WebFigures, scope: tuple[str, ...] = ()
) -> Material:
    """Look at everything once. `entries` is what tables_used found; `scope` are the proxies that may be seen."""
    selection = Selection(no_maintenance=what.no_maintenance, legends=False, scope=scope)
    needs_rows = bool(what.scopes & _KINDS.keys())
    own: list[Metric] = []
    if "global" in what.scopes:
        own += _own(generation, web)
    if "frontend" in what.scopes:
        own += _pools(generation, scope)
    if "sticktable" in what.scopes:
        own += _stick_tables(generation, entries, scope)
    process = info(generation) if "global" in what.scopes else {}
    return Material(what, tuple(stat_rows(generation, selection)) if needs_rows else (), process, tuple(own))


def exposition(material: Material) -> bytes:
    """The whole text. It may be made in another thread."""
    found = list(_process(material.process))
    for name, kind in _KINDS.items():
        if name in material.what.scopes:
            found += _group(kind, [row for row in material.rows if row.kind is kind], material.rows)
    return bytes(generate_latest(_Answer([*found, *material.own])))


# --- writing ------------------------------------------------------------------------------------------------------


def _metric(name: str, kind: str, doc: str, samples: Iterable[Sample]) -> Iterator[Metric]:
    """One metric, unless it has no sample."""
    metric = Metric(name.removesuffix("_total") if kind == tables.COUNTER else name, doc, kind)
    for labels, value in samples:
        metric.add_sample(name, labels, value)
    if metric.samples:
        yield metric


def _other(name: str, samples: Iterable[Sample], kind: str = tables.GAUGE) -> Iterator[Metric]:
    return _metric(name, kind, tables.OTHER_HELP[name], samples)


def _labels(row: Row) -> Labels:
    labels = {"proxy": str(row.values["pxname"])}
    if row.kind in (Kind.SERVER, Kind.LISTENER):
        labels[row.kind.name.lower()] = str(row.values["svname"])
    return labels


def _number(value: object, factor: float = 1) -> float:
    return value * factor if isinstance(value, int | float) else nan


# --- the process --------------------------------------------------------------------------------------------------


def _process(values: Mapping[str, object]) -> Iterator[Metric]:
    for shown in tables.PROCESS if values else ():
        value = _number(values.get(tables.info_field(shown)))
        yield from _metric(f"haproxy_process_{shown.name}", shown.type, tables.help_of(shown), [({}, value)])


def _own(generation: Serving, web: WebFigures) -> Iterator[Metric]:
    yield from _other("haproxy_process_build_info", [({"version": pasvport.__version__}, 1)])
    yield from _other("pasvport_workers", [({}, generation.config.settings.nbthread)])
    yield from _other("pasvport_workers_alive", [({}, workers_alive(generation))])
    yield from _other("pasvport_generations_draining", [({}, web.draining)])
    yield from _other("pasvport_web_connections_current", [({}, web.connections)])
    yield from _other("pasvport_web_connections_refused_total", [({}, web.refused)], tables.COUNTER)
    answers = [({"code": str(code)}, float(count)) for code, count in web.responses]
    yield from _other("pasvport_web_responses_total", answers, tables.COUNTER)
    yield from _other("pasvport_web_login_failures_total", [({}, web.login_failures)], tables.COUNTER)


def workers_alive(generation: Serving) -> int:
    """Workers that serve."""
    return sum(worker.is_ready and not worker.is_suspect for worker in generation.crew.members)


# --- proxies, listeners, servers ----------------------------------------------------------------------------------


def _group(kind: Kind, rows: Sequence[Row], every: Sequence[Row]) -> Iterator[Metric]:
    for shown in tables.GROUPS[kind]:
        # Where a server is not checked, the exporter has no samples about its check, not even NaN.
        concerned = [row for row in rows if _check_of(row)] if shown.field in _OF_CHECKS else rows
        yield from _shown(_PREFIX[kind], shown, concerned)
    yield from _status(kind, rows)
    if kind is Kind.SERVER:
        yield from _check_status(rows)
    if kind is Kind.BACKEND:
        yield from _aggregates(rows, [row for row in every if row.kind is Kind.SERVER])
    speaking = [row for row in rows if "ftp_login" in row.values]
    for shown in tables.FTP_GROUPS.get(kind, ()):
        yield from _shown(_FTP_PREFIX[kind], shown, speaking)
    if speaking:
        yield from _ftp_bytes(f"{_FTP_PREFIX[kind]}bytes_total", speaking)


def _shown(prefix: str, shown: tables.Shown, rows: Iterable[Row]) -> Iterator[Metric]:
    samples = [(_labels(row), _number(row.values.get(shown.field), shown.factor)) for row in rows]
    return _metric(prefix + shown.name, shown.type, tables.help_of(shown), samples)


def _ftp_bytes(name: str, rows: Iterable[Row]) -> Iterator[Metric]:
    samples = [
        (_labels(row) | {"direction": direction}, _number(row.values.get(field)))
        for row in rows
        for direction, field in tables.FTP_BYTES
    ]
    return _other(name, samples, tables.COUNTER)


def state_of(row: Row) -> str:
    """The word of metric_tables.STATES that a row's status begins with; what is neither down nor special is up."""
    text = str(row.values.get("status", ""))
    first = text.partition(" ")[0]
    if row.kind is Kind.LISTENER or first in tables.STATES[row.kind]:
        return first
    return "DOWN" if first == "STOP" else "UP"


def _check_of(row: Row) -> str:
    return str(row.values.get("check_status", "")).removeprefix("* ")


def _states(labels: Labels, states: Iterable[str], counts: Mapping[str, int]) -> Iterator[Sample]:
    return ((labels | {"state": state}, float(counts.get(state, 0))) for state in states)


def _status(kind: Kind, rows: Iterable[Row]) -> Iterator[Metric]:
    samples = [sample for row in rows for sample in _states(_labels(row), tables.STATES[kind], {state_of(row): 1})]
    return _other(f"{_PREFIX[kind]}status", samples)


def _check_status(rows: Iterable[Row]) -> Iterator[Metric]:
    samples = [
        sample
        for row in rows
        if _check_of(row)
        for sample in _states(_labels(row), tables.CHECK_STATES, {_check_of(row): 1})
    ]
    return _other("haproxy_server_check_status", samples)


def _aggregates(backends: Sequence[Row], servers: Sequence[Row]) -> Iterator[Metric]:
    by_state: dict[str, Counter[str]] = {}
    by_check: dict[str, Counter[str]] = {}
    for row in servers:
        proxy = str(row.values["pxname"])
        by_state.setdefault(proxy, Counter())[state_of(row)] += 1
        by_check.setdefault(proxy, Counter())[_check_of(row)] += 1
    for name, states, counts in (
        ("agg_server_status", tables.STATES[Kind.SERVER], by_state),
        ("agg_server_check_status", tables.STATES[Kind.SERVER], by_state),
        ("agg_check_status", tables.CHECK_STATES, by_check),
    ):
        samples = [
            sample
            for row in backends
            if row.values["pxname"] in counts
            for sample in _states(_labels(row), states, counts[str(row.values["pxname"])])
        ]
        yield from _other(f"haproxy_backend_{name}", samples)


# --- pools and tables ---------------------------------------------------------------------------------------------


def pool_size(generation: Serving, index: int) -> int:
    """Ports in the pools of a frontend in `mode ftp`."""
    return sum(len(bind.ports) for bind in generation.config.proxies[index].binds if bind.data)


def ports_in_use(generation: Serving, proxy: Proxy) -> int:
    """Its data ports that have a transfer, or whose client is awaited; clients that share a port count each."""
    return sum(generation.figures.frontend(proxy, name) for name in ("ftp_lease_cur", "ftp_pasv_cur"))


def _pools(generation: Serving, scope: tuple[str, ...]) -> Iterator[Metric]:
    frontends = [
        proxy
        for proxy in generation.config.proxies
        if proxy.mode is Mode.FTP and proxy.is_frontend and not proxy.disabled and (not scope or proxy.name in scope)
    ]
    sizes = [({"proxy": proxy.name}, float(pool_size(generation, proxy.index))) for proxy in frontends]
    used = [({"proxy": proxy.name}, float(generation.figures.frontend(proxy, "ftp_lease_cur"))) for proxy in frontends]
    yield from _other("pasvport_ftp_pool_ports", sizes)
    yield from _other("pasvport_ftp_pool_ports_in_use", used)


def _stick_tables(generation: Serving, entries: Mapping[str, int], scope: tuple[str, ...]) -> Iterator[Metric]:
    declared = [
        ({"name": table.name, "type": str(table.key_type)}, table)
        for proxy in generation.config.proxies
        if (table := proxy.stick_table) is not None and (not scope or proxy.name in scope)
    ]
    yield from _other("haproxy_sticktable_size", [(labels, float(table.size)) for labels, table in declared])
    used = [(labels, float(entries.get(table.name, 0))) for labels, table in declared]
    yield from _other("haproxy_sticktable_used", used)
