"""Which metrics there are, and which field of the statistics each one shows: HAProxy 2.6's names, and our own for FTP.

Times of the statistics are milliseconds, those of metrics seconds. docs/statistics.md lists these tables.
"""

from __future__ import annotations

from dataclasses import dataclass

from pasvport.exposition.info_fields import INFO_FIELDS
from pasvport.exposition.stat import Kind
from pasvport.exposition.stat_fields import BY_NAME

GAUGE, COUNTER, UNTYPED = "gauge", "counter", "unknown"


@dataclass(frozen=True, slots=True)
class Shown:
    """One metric: its name without the group's prefix, its type, and the field it shows, times `factor`."""

    name: str
    type: str
    field: str
    factor: float = 1
    help: str = ""


def _shown(text: str, factor: float = 1) -> tuple[Shown, ...]:
    """Rows of `name=field`; a name that ends in `_total` is a counter."""
    pairs = (pair.split("=") for pair in text.split())
    return tuple(Shown(name, COUNTER if name.endswith("_total") else GAUGE, field, factor) for name, field in pairs)


_EVERYWHERE = """
    current_sessions=scur max_sessions=smax limit_sessions=slim sessions_total=stot bytes_in_total=bin
    bytes_out_total=bout failed_header_rewriting_total=wrew internal_errors_total=eint
"""
_ENTRANCE = """
    requests_denied_total=dreq responses_denied_total=dresp request_errors_total=ereq
    denied_connections_total=dcon denied_sessions_total=dses
"""
_BEHIND = """
    current_queue=qcur max_queue=qmax responses_denied_total=dresp connection_errors_total=econ
    response_errors_total=eresp retry_warnings_total=wretr redispatch_warnings_total=wredis weight=weight
    check_up_down_total=chkdown check_last_change_seconds=lastchg downtime_seconds_total=downtime
    loadbalanced_total=lbtot max_session_rate=rate_max client_aborts_total=cli_abrt server_aborts_total=srv_abrt
    last_session_seconds=lastsess connection_attempts_total=connect connection_reuses_total=reuse uweight=uweight
"""
_TIMES = """
    queue_time_average_seconds=qtime connect_time_average_seconds=ctime response_time_average_seconds=rtime
    total_time_average_seconds=ttime max_queue_time_seconds=qtime_max max_connect_time_seconds=ctime_max
    max_response_time_seconds=rtime_max max_total_time_seconds=ttime_max
"""
_THOUSANDTH = 0.001

GROUPS: dict[Kind, tuple[Shown, ...]] = {
    Kind.FRONTEND: _shown(
        _EVERYWHERE
        + _ENTRANCE
        + "limit_session_rate=rate_lim max_session_rate=rate_max connections_rate_max=conn_rate_max "
        + "connections_total=conn_tot"
    ),
    Kind.LISTENER: _shown(_EVERYWHERE + _ENTRANCE),
    Kind.BACKEND: _shown(
        _EVERYWHERE + _BEHIND + "requests_denied_total=dreq active_servers=act backup_servers=bck",
    )
    + _shown(_TIMES, _THOUSANDTH),
    Kind.SERVER: _shown(
        _EVERYWHERE
        + _BEHIND
        + "check_failures_total=chkfail queue_limit=qlimit current_throttle=throttle check_code=check_code "
        + "idle_connections_current=srv_icur idle_connections_limit=src_ilim "
        + "unsafe_idle_connections_current=idle_conn_cur safe_idle_connections_current=safe_conn_cur "
        + "used_connections_current=used_conn_cur need_connections_current=need_conn_est"
    )
    + _shown(_TIMES + "check_duration_seconds=check_duration", _THOUSANDTH),
}

_FTP_EVERYWHERE = """
    logins_total=ftp_login login_failures_total=ftp_login_fail transfers_total=ftp_xfer
    transfers_failed_total=ftp_xfer_fail transfers_current=ftp_xfer_cur
"""
FTP_GROUPS: dict[Kind, tuple[Shown, ...]] = {
    Kind.FRONTEND: _shown(
        _FTP_EVERYWHERE
        + "leases_total=ftp_lease leases_current=ftp_lease_cur leases_failed_total=ftp_lease_fail "
        + "transfers_passive_current=ftp_pasv_cur "
        + "strangers_total=ftp_stranger conflicts_total=ftp_conflict "
        + "commands_refused_total=ftp_refused"
    ),
    Kind.BACKEND: _shown(_FTP_EVERYWHERE),
    Kind.SERVER: _shown(_FTP_EVERYWHERE),
}
FTP_BYTES = (("download", "ftp_down"), ("upload", "ftp_up"))
"""The label `direction` of `pasvport_ftp_*_bytes_total`, and the field."""

_PROCESS = _shown(
    """
    nbthread=Nbthread nbproc=Nbproc relative_process_id=Process_num uptime_seconds=Uptime_sec
    pool_failures_total=PoolFailed max_fds=Ulimit-n max_sockets=Maxsock max_connections=Maxconn
    hard_max_connections=Hard_maxconn current_connections=CurrConns connections_total=CumConns
    requests_total=CumReq max_ssl_connections=MaxSslConns current_ssl_connections=CurrSslConns
    ssl_connections_total=CumSslConns max_pipes=Maxpipes pipes_used_total=PipesUsed pipes_free_total=PipesFree
    current_connection_rate=ConnRate limit_connection_rate=ConnRateLimit max_connection_rate=MaxConnRate
    current_session_rate=SessRate limit_session_rate=SessRateLimit max_session_rate=MaxSessRate
    current_ssl_rate=SslRate limit_ssl_rate=SslRateLimit max_ssl_rate=MaxSslRate
    current_frontend_ssl_key_rate=SslFrontendKeyRate max_frontend_ssl_key_rate=SslFrontendMaxKeyRate
    frontend_ssl_reuse=SslFrontendSessionReuse_pct current_backend_ssl_key_rate=SslBackendKeyRate
    max_backend_ssl_key_rate=SslBackendMaxKeyRate ssl_cache_lookups_total=SslCacheLookups
    ssl_cache_misses_total=SslCacheMisses current_tasks=Tasks current_run_queue=Run_queue
    idle_time_percent=Idle_pct stopping=Stopping jobs=Jobs unstoppable_jobs=Unstoppable~Jobs listeners=Listeners
    active_peers=ActivePeers connected_peers=ConnectedPeers dropped_logs_total=DroppedLogs
    busy_polling_enabled=BusyPolling bytes_out_total=TotalBytesOut
    spliced_bytes_out_total=TotalSplicdedBytesOut bytes_out_rate=BytesOutRate recv_logs_total=CumRecvLogs
    max_memory_bytes=Memmax_bytes pool_allocated_bytes=PoolAlloc_bytes pool_used_bytes=PoolUsed_bytes
    start_time_seconds=Start_time_sec
    """
)
PROCESS = (
    *_PROCESS,
    # HAProxy calls it a counter, but the name lacks what the format asks of counters.
    Shown("failed_resolutions", UNTYPED, "FailedResolutions"),
)

STATES: dict[Kind, tuple[str, ...]] = {
    Kind.FRONTEND: ("DOWN", "UP"),
    Kind.LISTENER: ("WAITING", "OPEN", "FULL"),
    Kind.BACKEND: ("DOWN", "UP"),
    Kind.SERVER: ("DOWN", "UP", "MAINT", "DRAIN", "NOLB"),
}
"""Values of the label `state` of `*_status`."""
CHECK_STATES = (
    *("HANA", "SOCKERR", "L4OK", "L4TOUT", "L4CON", "L6OK", "L6TOUT", "L6RSP", "L7TOUT", "L7RSP", "L7OK", "L7OKC"),
    *("L7STS", "PROCERR", "PROCTOUT", "PROCOK"),
)
_INFO = {field.name: field for field in INFO_FIELDS}


def info_field(shown: Shown) -> str:
    """The name of `show info` that a metric of PROCESS shows."""
    return shown.field.replace("~", " ")


def help_of(shown: Shown) -> str:
    """What a metric means, in the words of the field it shows."""
    field = BY_NAME.get(shown.field) or _INFO[info_field(shown)]
    unit = " (in seconds)" if shown.factor == _THOUSANDTH else ""
    return field.doc.replace("Milliseconds", "Time").replace("milliseconds", "time") + unit


OTHERS: tuple[tuple[str, str, str, str], ...] = (
    ("haproxy_process_build_info", GAUGE, "version", "Always 1; the version is the label"),
    ("haproxy_frontend_status", GAUGE, "proxy, state", "1 for the state the frontend is in"),
    ("haproxy_listener_status", GAUGE, "proxy, listener, state", "1 for the state the listener is in"),
    ("haproxy_backend_status", GAUGE, "proxy, state", "1 for the state the backend is in"),
    ("haproxy_backend_agg_server_status", GAUGE, "proxy, state", "How many servers are in each state"),
    ("haproxy_backend_agg_server_check_status", GAUGE, "proxy, state", "The same, under its older name"),
    ("haproxy_backend_agg_check_status", GAUGE, "proxy, state", "How many servers' last check had each result"),
    ("haproxy_server_status", GAUGE, "proxy, server, state", "1 for the state the server is in"),
    ("haproxy_server_check_status", GAUGE, "proxy, server, state", "1 for the result of the last check"),
    ("haproxy_sticktable_size", GAUGE, "name, type", "Entries the table has room for, in each worker"),
    ("haproxy_sticktable_used", GAUGE, "name, type", "Entries in the table, over all workers"),
    ("pasvport_ftp_frontend_bytes_total", COUNTER, "proxy, direction", "Bytes of FTP transfers"),
    ("pasvport_ftp_backend_bytes_total", COUNTER, "proxy, direction", "Bytes of FTP transfers"),
    ("pasvport_ftp_server_bytes_total", COUNTER, "proxy, server, direction", "Bytes of FTP transfers"),
    ("pasvport_ftp_pool_ports", GAUGE, "proxy", "Ports in the pools of data ports"),
    (
        "pasvport_ftp_pool_ports_in_use",
        GAUGE,
        "proxy",
        "Ports of the pools whose client is awaited now; `transfers_passive_current` has those with a transfer",
    ),
    ("pasvport_workers", GAUGE, "", "Worker processes there should be"),
    ("pasvport_workers_alive", GAUGE, "", "Worker processes that serve"),
    ("pasvport_generations_draining", GAUGE, "", "Configurations replaced by a reload that still have sessions"),
    ("pasvport_web_connections_current", GAUGE, "", "Connections to the statistics now"),
    (
        "pasvport_web_connections_refused_total",
        COUNTER,
        "",
        "Connections to the statistics for which there was no room",
    ),
    ("pasvport_web_responses_total", COUNTER, "code", "Answers of the statistics"),
    ("pasvport_web_login_failures_total", COUNTER, "", "Wrong passwords given to the statistics"),
)
"""Metrics that no single field shows: name, type, labels, meaning."""
OTHER_HELP = {name: doc for name, _, _, doc in OTHERS}
