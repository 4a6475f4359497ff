"""The rows of `show stat`: every field that a proxy, a server or a listener has, as HAProxy 2.6 fills it in TCP mode.

A field without a meaning for its object is absent. Differences from HAProxy, all in numbers and none in names: a range
of ports is one listener; bytes are counted when a session ends (`option contstats`: every five seconds); rates are
looked up in the counters four times a second (`control.rates`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from pasvport.address import Endpoint, Family
from pasvport.balance.weights import DYNAMIC, Scale, static_scale, warmth
from pasvport.control.doors import Doors
from pasvport.control.rates import Rates
from pasvport.control.report import Figures
from pasvport.control.roster import Roster
from pasvport.control.set_words import is_static
from pasvport.control.standing import CheckView, ServerView
from pasvport.control.tally import Tally
from pasvport.exposition.fields import Value
from pasvport.exposition.stat import Kind, Row
from pasvport.health.result import Status
from pasvport.model import Bind, Config, Mode, PortMap, Proxy, Server, ServerPort
from pasvport.record import FTP_COUNTERS, Admin, Block, Operation, ServerState

Values = dict[str, Value]
ANY = -1
"""As proxy id, as kinds, or as id in a Selection."""


class Served(Protocol):
    """What of a generation the statistics need."""

    @property
    def config(self) -> Config: ...
    @property
    def tally(self) -> Tally: ...
    @property
    def figures(self) -> Figures: ...
    @property
    def roster(self) -> Roster: ...
    @property
    def rates(self) -> Rates: ...
    @property
    def doors(self) -> Doors: ...


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows: by proxy id, by a mask of `1 << Kind`, by server or listener id; ANY each. `up_only` leaves servers
    out that are down or in maintenance, `no_maintenance` only the latter. `legends` fills addr, cookie and algo, which
    HAProxy shows to operators. `scope` are names of proxies, all if empty."""

    proxy: int = ANY
    kinds: int = ANY
    id: int = ANY
    up_only: bool = False
    no_maintenance: bool = False
    legends: bool = True
    scope: tuple[str, ...] = ()

    def takes(self, kind: Kind, identity: int = ANY) -> bool:
        wanted = identity == ANY or self.id in (ANY, identity)
        return wanted and bool(self.kinds & (1 << kind))


EVERYTHING = Selection()


def stat_rows(served: Served, selection: Selection = EVERYTHING) -> Iterator[Row]:
    """FRONTEND, listeners (with `option socket-stats`), servers, BACKEND of every proxy that is not disabled."""
    for proxy in served.config.proxies:
        chosen = selection.proxy in (ANY, proxy.id) and (not selection.scope or proxy.name in selection.scope)
        if chosen and not proxy.disabled:
            yield from _proxy_rows(served, proxy, selection)


def _proxy_rows(served: Served, proxy: Proxy, selection: Selection) -> Iterator[Row]:
    if proxy.is_frontend and selection.takes(Kind.FRONTEND):
        yield Row(Kind.FRONTEND, proxy.id, 0, _frontend(served, proxy))
    if proxy.is_frontend and proxy.socket_stats:
        for number, bind in enumerate(proxy.binds):
            if selection.takes(Kind.LISTENER, bind.first_id) and not _is_pool(proxy, bind):
                yield Row(Kind.LISTENER, proxy.id, bind.first_id, _listener(served, proxy, number, selection))
    if proxy.is_backend:
        yield from _server_rows(served, proxy, selection)
        if selection.takes(Kind.BACKEND):
            yield Row(Kind.BACKEND, proxy.id, 0, _backend(served, proxy, selection))


def _server_rows(served: Served, proxy: Proxy, selection: Selection) -> Iterator[Row]:
    for number, server in enumerate(proxy.servers):
        if not selection.takes(Kind.SERVER, server.id):
            continue
        view = served.roster.view(proxy.index, number)
        in_maintenance = bool(view.admin & Admin.MAINT & ~Admin.CONFIG_MAINT)
        if (selection.no_maintenance or selection.up_only) and in_maintenance:
            continue
        if selection.up_only and view.operation is Operation.STOPPED:
            continue
        yield Row(Kind.SERVER, proxy.id, server.id, _server(served, proxy, number, view, selection))


def _identity(proxy: Proxy, kind: Kind, name: str, number: int = 0) -> Values:
    return {
        "pxname": proxy.name,
        "svname": name,
        "pid": 1,
        "iid": proxy.id,
        "sid": number,
        "type": int(kind),
        "mode": proxy.mode.value,
    }


# --- frontends and their listeners --------------------------------------------------------------------------------

_NO_HTTP_FRONTEND = dict.fromkeys(
    ("dreq", "dresp", "req_rate", "req_rate_max", "req_tot", "comp_in", "comp_out", "comp_byp", "comp_rsp", "wrew"), 0
)
"""What HAProxy counts for every frontend though only rules and HTTP can make it more than 0."""
_FTP_LEASES = ("ftp_lease", "ftp_lease_cur", "ftp_lease_fail", "ftp_pasv_cur")
_FTP_DOORS = (*_FTP_LEASES, "ftp_stranger", "ftp_refused", "ftp_conflict")


def _frontend(served: Served, proxy: Proxy) -> Values:
    figures, rates, block = served.figures, served.rates, served.tally.layout.frontend[proxy.index]
    values = _identity(proxy, Kind.FRONTEND, "FRONTEND") | _NO_HTTP_FRONTEND
    for name in ("scur", "smax", "stot", "bin", "bout", "ereq", "dcon", "dses", "conn_tot", "eint"):
        values[name] = figures.frontend(proxy, name)
    values["slim"] = served.doors.maxconn_of(proxy)
    values["status"] = served.doors.status_of(proxy)
    values["rate"], values["rate_max"] = rates.rate(block, "stot"), rates.largest(block, "stot")
    values["rate_lim"] = proxy.session_rate_limit
    values["conn_rate"], values["conn_rate_max"] = rates.rate(block, "conn_tot"), rates.largest(block, "conn_tot")
    if proxy.mode is Mode.FTP:
        values |= {name: figures.frontend(proxy, name) for name in (*FTP_COUNTERS, *_FTP_DOORS)}
    return values


def _is_pool(proxy: Proxy, bind: Bind) -> bool:
    """In `mode ftp` nobody listens on a pool of data ports until one is leased."""
    return proxy.mode is Mode.FTP and bind.data


def _listener(served: Served, proxy: Proxy, number: int, selection: Selection) -> Values:
    figures, bind = served.figures, proxy.binds[number]
    name = bind.name if bind.name is not None else f"sock-{bind.first_id}"
    values = _identity(proxy, Kind.LISTENER, name, bind.first_id)
    values |= dict.fromkeys(("dreq", "dresp", "ereq", "wrew", "eint"), 0)
    for counter in ("scur", "smax", "stot", "bin", "bout", "dcon", "dses"):
        values[counter] = figures.listener(proxy.index, number, counter)
    values["slim"] = bind.maxconn
    values["status"] = _listener_status(served, proxy, bind, int(values["scur"]))
    if selection.legends:
        values["addr"] = _listener_address(bind)
    return values


def _listener_status(served: Served, proxy: Proxy, bind: Bind, sessions: int) -> str:
    if bind.maxconn and sessions >= bind.maxconn:
        return "FULL"
    is_limited = served.figures.frontend(proxy, "scur") >= served.doors.maxconn_of(proxy) > 0
    return "WAITING" if is_limited else "OPEN"


def _listener_address(bind: Bind) -> str:
    if bind.endpoint.family in (Family.UNIX, Family.ABNS):
        return "unix"
    return f"{_host(bind.endpoint)}:{bind.ports}"


def _host(endpoint: Endpoint) -> str:
    host = endpoint.host if endpoint.host not in ("", "*") else "0.0.0.0"
    return f"[{host}]" if ":" in host else host


# --- servers and backends -----------------------------------------------------------------------------------------

_BEHIND = (
    *("scur", "smax", "stot", "bin", "bout", "qcur", "qmax", "econ", "eresp", "wretr", "wredis"),
    *("cli_abrt", "srv_abrt", "lbtot", "connect", "eint"),
)
_TIMES = (("qtime", "queue_time"), ("ctime", "connect_time"), ("ttime", "total_time"))
_NO_HTTP_BACKEND = dict.fromkeys(("dresp", "wrew", "reuse", "rtime", "rtime_max"), 0)
_NO_IDLE = dict.fromkeys(("srv_icur", "idle_conn_cur", "safe_conn_cur"), 0)
"""Connections are never kept for another session: TCP has no requests to keep them for."""


def _server(served: Served, proxy: Proxy, number: int, view: ServerView, selection: Selection) -> Values:
    server, block = proxy.servers[number], served.tally.layout.server[proxy.index, number]
    counters = served.tally.values(block)
    values = _identity(proxy, Kind.SERVER, server.name, server.id) | _NO_HTTP_BACKEND | _NO_IDLE
    values |= _behind(served.tally, block, counters, proxy)
    values["used_conn_cur"], values["need_conn_est"] = counters["scur"], counters["smax"]
    values["rate"], values["rate_max"] = served.rates.rate(block, "stot"), served.rates.largest(block, "stot")
    values["act"], values["bck"] = int(not server.backup), int(server.backup)
    values["status"], values["lastchg"] = view.status, int(view.changed_ago)
    values["uweight"] = view.weight
    values |= _weight(proxy, server, view)
    if view.maxconn:
        values["slim"] = view.maxconn
    if server.maxqueue:
        values["qlimit"] = server.maxqueue
    if view.tracked:
        values["tracked"] = view.tracked
    if selection.legends:
        values["addr"] = _server_address(served.roster.server(proxy.index, number))
    return values | _check(view) | _agent(view)


def _behind(tally: Tally, block: Block, counters: Mapping[str, int], proxy: Proxy) -> Values:
    """What servers and backends count alike."""
    values: Values = {name: counters[name] for name in _BEHIND}
    for shown, counter in _TIMES:
        values[shown] = tally.average(block, counter)
        values[f"{shown}_max"] = counters[f"{counter}_max"]
    values["lastsess"] = int(time.time()) - counters["lastsess"] if counters["lastsess"] else -1
    if proxy.mode is Mode.FTP:
        values |= {name: counters[name] for name in FTP_COUNTERS}
    return values


def _weight(proxy: Proxy, server: Server, view: ServerView) -> Values:
    """The weight in force, and how far a slow start has come."""
    scale = scale_of(proxy)
    state = ServerState(view.operation, view.admin, view.weight, time.monotonic() - view.changed_ago, view.maxconn)
    part = warmth(server, state, time.monotonic()).part if scale.dynamic else None
    effective = scale.effective(view.weight, part)
    values: Values = {"weight": -(-effective * scale.divisor // scale.multiplier)}
    is_starting = view.operation is Operation.STARTING and not view.admin & Admin.DRAIN
    if is_starting and view.weight:
        full = scale.multiplier * view.weight
        values["throttle"] = (100 * effective * scale.divisor + scale.multiplier - 1) // full
    return values


def scale_of(proxy: Proxy) -> Scale:
    """How the backend's algorithm turns user weights into its own."""
    return static_scale(proxy.servers) if is_static(proxy.balance) else DYNAMIC


def _server_address(server: Server) -> str:
    if server.endpoint.family in (Family.UNIX, Family.ABNS):
        return "unix"
    return f"{_host(server.endpoint)}:{shown_port(server.port)}"


def shown_port(port: ServerPort) -> str:
    """`21`, or `+0`, `-2000` for a port that follows the client's."""
    return str(port.value) if port.kind is PortMap.FIXED else f"{port.value:+d}"


def _check(view: ServerView) -> Values:
    check = view.check
    if not check.configured or not check.enabled:
        return {}
    values: Values = {
        "chkfail": view.failed_checks,
        "chkdown": view.times_down,
        "downtime": int(view.downtime),
    }
    if view.failed_observations:
        values["hanafail"] = view.failed_observations
    return values if check.paused else values | _check_result(check, "check", "last_chk")


def _agent(view: ServerView) -> Values:
    agent = view.agent
    if not agent.configured or not agent.enabled or agent.paused:
        return {}
    return _check_result(agent, "agent", "last_agt")


def _check_result(check: CheckView, prefix: str, detail: str) -> Values:
    status = check.result.status
    is_known = status >= Status.CHECKED
    values: Values = {
        f"{prefix}_status": ("* " if check.running and is_known else "") + status.name,
        f"{prefix}_desc": status.description,
        f"{prefix}_rise": check.rise,
        f"{prefix}_fall": check.fall,
        f"{prefix}_health": check.health,
        detail: check.result.shown_text,
    }
    if status.has_code:
        values[f"{prefix}_code"] = check.result.code
    if is_known:
        values[f"{prefix}_duration"] = max(0, check.result.duration)
    return values


_NO_HTTP_WHOLE = dict.fromkeys(
    ("dreq", "comp_in", "comp_out", "comp_byp", "comp_rsp", "agg_server_status", "agg_server_check_status"), 0
) | {"agg_check_status": 0}


def _backend(served: Served, proxy: Proxy, selection: Selection) -> Values:
    block = served.tally.layout.backend[proxy.index]
    counters = served.tally.values(block)
    view = served.roster.backend_view(proxy.index)
    values = _identity(proxy, Kind.BACKEND, "BACKEND") | _NO_HTTP_BACKEND | _NO_HTTP_WHOLE
    values |= _behind(served.tally, block, counters, proxy)
    values["rate"], values["rate_max"] = served.rates.rate(block, "stot"), served.rates.largest(block, "stot")
    values["slim"] = proxy.fullconn or 1
    values["status"] = "UP" if view.weight or not proxy.servers else "DOWN"
    values["act"], values["bck"] = view.active, view.backup
    values["chkdown"], values["lastchg"] = view.times_down, int(view.changed_ago)
    values |= _total_weight(served, proxy, bool(view.active))
    if proxy.servers:
        values["downtime"] = int(view.downtime)
    if selection.legends:
        values["algo"] = proxy.balance.algorithm.value
    return values


def _total_weight(served: Served, proxy: Proxy, has_active: bool) -> Values:
    """Weights of the usable servers: the active ones, else the backups (the first alone without `allbackups`)."""
    weights = uweights = 0
    for number, server in enumerate(proxy.servers):
        view = served.roster.view(proxy.index, number)
        if not view.is_usable or server.backup is has_active:
            continue
        weights += int(_weight(proxy, server, view)["weight"])
        uweights += view.weight
        if server.backup and not proxy.balance.all_backups:
            break
    return {"weight": weights, "uweight": uweights}
