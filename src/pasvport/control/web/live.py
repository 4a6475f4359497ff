"""What the dashboard draws: one JSON object, of statistics, watch, history and workers' answers."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import pasvport
from pasvport.control.information import info
from pasvport.control.statistics import Selection, stat_rows
from pasvport.control.web.history import History
from pasvport.control.web.metrics import pool_size, state_of, workers_alive
from pasvport.control.web.served import Serving
from pasvport.control.web.watch import Watch
from pasvport.exposition.stat import Kind, Row
from pasvport.model import Mode, Stats
from pasvport.sight import FtpSessionSight, LoginFailureSight, TransferSight

MOST_ROWS = 200
"""Sessions, and transfers, that a page is given; it is told how many there are."""
MOST_FAILURES = 50
_PATIENCE = 1.0
"""Seconds that a worker may be silent before the page goes without it."""
_FRESH = 1.0
"""Seconds for which one answer of the workers serves all pages."""
_FIELDS: Mapping[str, str] = {
    "sessions": "scur",
    "sessions_max": "smax",
    "sessions_limit": "slim",
    "sessions_total": "stot",
    "rate": "rate",
    "queued": "qcur",
    "bytes_in": "bin",
    "bytes_out": "bout",
    "weight": "weight",
    "since": "lastchg",
    "downtime": "downtime",
    "check": "check_status",
    "check_text": "last_chk",
    "check_words": "check_desc",
    "check_ms": "check_duration",
    "check_code": "check_code",
    "connect_errors": "econ",
    "response_errors": "eresp",
    "retries": "wretr",
    "redispatches": "wredis",
    "backup": "bck",
    "throttle": "throttle",
    "logins": "ftp_login",
    "login_failures": "ftp_login_fail",
    "transfers": "ftp_xfer_cur",
    "transfers_total": "ftp_xfer",
    "transfers_failed": "ftp_xfer_fail",
    "downloaded": "ftp_down",
    "uploaded": "ftp_up",
    "leases": "ftp_lease_cur",
    "passive": "ftp_pasv_cur",
    "leases_failed": "ftp_lease_fail",
    "strangers": "ftp_stranger",
    "conflicts": "ftp_conflict",
    "address": "addr",
    "algorithm": "algo",
    "id": "sid",
}
"""Names for the page, and the fields they show; what a row lacks is left out."""


class Now(NamedTuple):
    """What workers told of the moment: `transfers` and `sessions` are at most MOST_ROWS; `cut`: there are more.

    `taken` is when they were asked, seconds since the epoch: rates are of that time, not of the page's.
    """

    transfers: tuple[TransferSight, ...] = ()
    sessions: tuple[FtpSessionSight, ...] = ()
    failures: tuple[LoginFailureSight, ...] = ()
    cut: tuple[bool, bool] = (False, False)
    taken: float = 0.0


class Moment:
    """The newest answer of the workers, shared by all who look within a second."""

    def __init__(self) -> None:
        self._now = Now()
        self._taken = 0.0

    async def look(self, generation: Serving) -> Now:
        """Ask, unless somebody just did; who comes meanwhile gets what there was before."""
        now = time.monotonic()
        if now - self._taken < _FRESH:
            return self._now
        self._taken = now
        speaks_ftp = any(proxy.mode is Mode.FTP and not proxy.disabled for proxy in generation.config.proxies)
        self._now = await _ask(generation) if speaks_ftp else Now()
        return self._now


async def _ask(generation: Serving) -> Now:
    taken = time.time()
    transfers, more = await _some(generation, "ftp transfers")
    sessions, others = await _some(generation, "ftp sessions")
    failures, _ = await _some(generation, "ftp login failures")
    latest = sorted((LoginFailureSight(*row) for row in failures), reverse=True)  # type: ignore[arg-type]
    return Now(
        tuple(TransferSight(*row) for row in transfers),  # type: ignore[arg-type]
        tuple(FtpSessionSight(*row) for row in sessions),  # type: ignore[arg-type]
        tuple(latest[:MOST_FAILURES]),
        (more, others),
        taken,
    )


async def _some(generation: Serving, question: str) -> tuple[list[tuple[object, ...]], bool]:
    rows: list[tuple[object, ...]] = []
    async with generation.questions.ask(question, patience=_PATIENCE) as inquiry:
        async for _, row in inquiry:
            if len(rows) >= MOST_ROWS:
                return rows, True
            rows.append(row)
    return rows, False


def snapshot(
    generation: Serving, stats: Stats, watch: Watch, history: History, now: Now, after: int
) -> dict[str, object]:
    """Everything; of the history only what comes after sample `after`."""
    rows = list(stat_rows(generation, Selection(legends=stats.show_legends, scope=stats.scope)))
    return {
        "about": _about(generation, stats),
        "frontends": [_frontend(generation, row) for row in rows if row.kind is Kind.FRONTEND],
        "backends": _backends(rows, watch),
        "transfers": [_transfer(each) for each in now.transfers if _is_seen(each.frontend, each.backend, stats)],
        "ftp_sessions": [_session(each) for each in now.sessions if _is_seen(each.frontend, each.backend, stats)],
        "login_failures": [_failure(each) for each in now.failures if _is_seen(each.frontend, each.backend, stats)],
        "taken": round(now.taken, 3),
        "cut": {"transfers": now.cut[0], "ftp_sessions": now.cut[1]},
        "events": _events(watch, stats),
        # Sums over all proxies would tell of those outside the scope.
        "history": None if stats.scope else history.since(after),
    }


def _is_seen(frontend: str, backend: str, stats: Stats) -> bool:
    return not stats.scope or frontend in stats.scope or backend in stats.scope


def _about(generation: Serving, stats: Stats) -> dict[str, object]:
    values = info(generation)
    about: dict[str, object] = {
        "now": round(time.time(), 3),
        "started": round(generation.started, 3),
        "workers": generation.config.settings.nbthread,
        "workers_alive": workers_alive(generation),
        "paused": generation.is_paused,
        "admin": stats.admin,
        "idle": values["Idle_pct"],
        "memory": values["PoolUsed_bytes"],
        "connections": values["CurrConns"],
        "connections_limit": values["Maxconn"],
        "dropped_logs": values["DroppedLogs"],
        "ftp": any(proxy.mode is Mode.FTP and not proxy.disabled for proxy in generation.config.proxies),
    }
    if not stats.hide_version:
        about["version"] = pasvport.__version__
    return about


def _values(row: Row) -> dict[str, object]:
    return {name: row.values[field] for name, field in _FIELDS.items() if field in row.values}


def _frontend(generation: Serving, row: Row) -> dict[str, object]:
    proxy = next(proxy for proxy in generation.config.proxies if proxy.id == row.proxy_id)
    found = {"name": proxy.name, "mode": str(proxy.mode), "status": row.values["status"], **_values(row)}
    if proxy.description:
        found["description"] = proxy.description
    if proxy.mode is Mode.FTP:
        found["pool"] = pool_size(generation, proxy.index)
    return found


def _backends(rows: Iterable[Row], watch: Watch) -> list[dict[str, object]]:
    found: dict[str, dict[str, object]] = {}
    waiting: dict[str, list[dict[str, object]]] = {}
    for row in rows:
        name = str(row.values["pxname"])
        if row.kind is Kind.SERVER:
            waiting.setdefault(name, []).append(_server(row, watch))
        elif row.kind is Kind.BACKEND and (name in waiting or row.values["mode"] != "http"):
            head = {"name": name, "id": row.proxy_id, "mode": row.values["mode"], "status": row.values["status"]}
            found[name] = {**head, **_values(row), "servers": waiting.get(name, [])}
    return list(found.values())


def _server(row: Row, watch: Watch) -> dict[str, object]:
    name = str(row.values["svname"])
    past = watch.past(str(row.values["pxname"]), name)
    return {
        "name": name,
        "status": row.values["status"],
        "state": state_of(row),
        **_values(row),
        "minutes": list(past.minutes),
        "checks": [
            {"when": round(when, 1), "status": status, "passed": passed, "ms": ms, "text": text}
            for when, status, passed, ms, text in past.checks
        ],
    }


def _events(watch: Watch, stats: Stats) -> list[dict[str, object]]:
    return [
        {
            "number": event.number,
            "when": round(event.when, 1),
            "level": event.level,
            "kind": event.kind,
            "proxy": event.proxy,
            "server": event.server,
            "text": event.text,
            "count": event.count,
        }
        for event in watch.newest(stats.scope)[:100]
    ]


def _text(raw: bytes) -> str:
    """Bytes of a client's: what is not UTF-8 is escaped, so that the page shows what came."""
    return raw.decode("utf-8", "backslashreplace")


def _transfer(each: TransferSight) -> dict[str, object]:
    return {
        "session": str(each.session),
        "user": _text(each.user),
        "client": each.client,
        "frontend": each.frontend,
        "backend": each.backend,
        "server": each.server,
        "direction": each.direction,
        "verb": each.verb,
        "path": _text(each.path),
        "size": each.size,
        "expected": each.expected,
        "started": round(each.started, 2),
        "client_mode": each.client_mode,
        "server_mode": each.server_mode,
        "port": each.port,
    }


def _failure(each: LoginFailureSight) -> dict[str, object]:
    return {
        "when": round(each.when, 2),
        "user": _text(each.user),
        "client": each.client,
        "frontend": each.frontend,
        "backend": each.backend,
        "server": each.server,
    }


def _session(each: FtpSessionSight) -> dict[str, object]:
    return {
        "session": str(each.identity),
        "user": _text(each.user),
        "client": each.client,
        "frontend": each.frontend,
        "backend": each.backend,
        "server": each.server,
        "phase": each.phase,
        "doing": each.doing,
        "age": round(each.age, 1),
        "idle": round(each.idle, 1),
        "commands": each.commands,
        "transfers": each.transfers,
        "bytes_in": each.bytes_in,
        "bytes_out": each.bytes_out,
        "last_command": _text(each.last_command),
        "failed_user": _text(each.failed_user),
    }
