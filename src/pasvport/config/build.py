"""Drafts to model: numbers ids, resolves `log global`, fills in the defaults that depend on other settings."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import replace

from pasvport.address import Endpoint, Family, PortRange
from pasvport.config.draft import GlobalDraft, Keepalive, LogLine, ProxyDraft, Said, ServerDraft
from pasvport.config.fullconn import fill_fullconn
from pasvport.config.judged import Judged
from pasvport.config.keywords_check import encoded
from pasvport.config.keywords_option import FTPLOG, TCPLOG_FORMAT
from pasvport.config.keywords_stats import stats_of
from pasvport.config.references import tracked_name
from pasvport.config.references_ftp import is_pool
from pasvport.config.references_stick import with_servers
from pasvport.config.world import World
from pasvport.model import (
    Agent,
    Bind,
    Check,
    CheckKind,
    Config,
    Expression,
    Ftp,
    FtpPassive,
    Global,
    LogFormat,
    Logging,
    LogTarget,
    Mode,
    Proxy,
    Server,
    SocketOptions,
    StickRule,
    Timeouts,
    UseRule,
)

FIRST_PROXY_ID = 2


def build(judged: Judged, environment: dict[str, str]) -> Config:
    """The model of drafts that were judged and found free of errors."""
    settings, drafts, world = judged.settings, judged.proxies, judged.world
    with_servers(judged)
    made = _settings(settings, environment, world)
    ids = _numbered([draft.id.value if draft.id is not None else None for draft in drafts], FIRST_PROXY_ID)
    proxies = tuple(
        _proxy(draft, index, number, made, world) for index, (draft, number) in enumerate(zip(drafts, ids, strict=True))
    )
    maps = tuple(found.compiled() for found in judged.maps.values())
    return fill_fullconn(Config(made, proxies, maps=maps))


def _numbered(forced: Iterable[int | None], first: int) -> Iterator[int]:
    """HAProxy's automatic ids: each takes the next free number, and every object moves the counter on."""
    forced = list(forced)
    used = {number for number in forced if number is not None}
    following = first
    for number in forced:
        if number is None:
            while following in used:
                following += 1
            number = following
        following += 1
        yield number


# --- global -------------------------------------------------------------------------------------------------------

_PATHS = ("chroot", "pidfile")


def _settings(draft: GlobalDraft, environment: dict[str, str], world: World) -> Global:
    values = dict(draft.values)
    for name in _PATHS:
        if name in values:
            values[name] = _path(str(values[name]), world)
    if world.maxconn:
        values["maxconn"] = world.maxconn
    values.setdefault("node", world.hostname)
    if world.localpeer:
        values["localpeer"] = world.localpeer
    values.setdefault("localpeer", world.hostname)
    targets = _targets(draft.logs, draft)
    changed = tuple(sorted(environment.items())) if draft.environment_edited else ()
    return replace(Global(), **values, log_targets=targets, environment=changed)  # type: ignore[arg-type]


def _path(path: str, world: World) -> str:
    return posixpath.normpath(posixpath.join(world.directory, path))


def _targets(logs: list[LogLine], settings: GlobalDraft) -> tuple[LogTarget, ...]:
    framing = LogFormat.RFC3164 if "log_send_hostname" in settings.values else LogFormat.LOCAL
    found: list[LogTarget] = []
    for log in logs:
        if log.target is None:
            found.extend(_targets(settings.logs, settings))
        else:
            found.append(log.target if log.framed else replace(log.target, format=framing))
    return tuple(found)


# --- proxies ------------------------------------------------------------------------------------------------------


def _proxy(draft: ProxyDraft, index: int, number: int, settings: Global, world: World) -> Proxy:
    proxy = Proxy(
        origin=draft.header.origin,
        name=draft.name,
        index=index,
        id=number,
        is_frontend=draft.is_frontend,
        is_backend=draft.is_backend,
        mode=draft.mode,
        disabled=draft.disabled,
        description=draft.description,
        stick_table=draft.stick_table,
        timeouts=_timeouts(draft),
        logging=_logging(draft, settings, world),
        contstats=draft.option("contstats"),
    )
    if draft.is_frontend:
        proxy = replace(_with_frontend(proxy, draft, world), stats=stats_of(draft, settings))
    if draft.is_backend:
        proxy = _with_backend(proxy, draft)
    return proxy


def _with_frontend(proxy: Proxy, draft: ProxyDraft, world: World) -> Proxy:
    return replace(
        proxy,
        binds=tuple(_binds(draft)),
        maxconn=draft.maxconn or world.frontend_maxconn,
        session_rate_limit=draft.session_rate_limit,
        default_backend=_default_backend(draft),
        client_options=_socket_options(
            draft.option("clitcpka"),
            draft.client_keepalive,
        ),
        socket_stats=draft.option("socket-stats"),
        unique_id_format=draft.unique_id_format.value if draft.unique_id_format is not None else None,
        nolinger_client=draft.option("nolinger"),
        ftp=draft.ftp if draft.mode is Mode.FTP else Ftp(),
        use_backend=_use_rules(draft.use_backend) if draft.mode is Mode.FTP else (),
    )


def _default_backend(draft: ProxyDraft) -> str | None:
    """Outside `mode ftp` all rules are plain names, so that the first one is where every session goes."""
    if draft.use_backend and draft.mode is not Mode.FTP:
        return draft.use_backend[0].value.text
    return draft.default_backend.value if draft.default_backend is not None else None


def _use_rules(rules: list[Said[Expression]]) -> tuple[UseRule, ...]:
    return tuple(UseRule(rule.line.origin, rule.value) for rule in rules)


def _with_backend(proxy: Proxy, draft: ProxyDraft) -> Proxy:
    scripted = draft.check_kind is CheckKind.TCP_SCRIPT
    return replace(
        proxy,
        servers=tuple(_servers(draft)),
        balance=replace(draft.balance, all_backups=draft.option("allbackups")),
        stick_rules=tuple(
            StickRule(
                rule.line.origin,
                rule.action,
                rule.expression,
                rule.table.text if rule.table is not None else draft.name,
            )
            for rule in draft.stick_rules
        ),
        retries=0 if draft.retry_on_none else max(0, draft.retries),
        redispatch=draft.redispatch,
        persist=draft.option("persist"),
        abortonclose=draft.option("abortonclose"),
        source=draft.source,
        server_options=_socket_options(
            draft.option("srvtcpka"),
            draft.server_keepalive,
        ),
        fullconn=draft.fullconn,
        check_kind=draft.check_kind,
        check_steps=tuple(draft.check_steps) if scripted else (),
        check_command=draft.check_command,
        check_path=draft.check_path,
        ftp_check=draft.ftp_check if draft.check_kind is CheckKind.FTP else None,
        ftp_passive=draft.ftp_passive.value if draft.ftp_passive is not None else FtpPassive.AUTO,
        use_server=_use_rules(draft.use_server),
        load_server_state=draft.load_server_state,
        server_state_file_name=draft.server_state_file_name,
        nolinger_server=draft.option("nolinger"),
    )


def _socket_options(keepalive: bool, timing: Keepalive) -> SocketOptions:
    return SocketOptions(
        keepalive=keepalive,
        keepalive_count=timing.count,
        keepalive_idle=timing.idle,
        keepalive_interval=timing.interval,
    )


def _timeouts(draft: ProxyDraft) -> Timeouts:
    def given(name: str) -> int | None:
        return draft.timeouts.get(name) or None

    front = {"client": given("client"), "client_fin": given("client-fin")} if draft.is_frontend else {}
    if draft.is_frontend and draft.mode is Mode.FTP:
        front |= {name.replace("-", "_"): given(name) for name in ("ftp-login", "ftp-data", "ftp-transfer")}
    back = {}
    if draft.is_backend:
        back = {name: given(name) for name in ("server", "connect", "tunnel", "check")}
        back["queue"] = given("queue") or given("connect")
        back["server_fin"] = given("server-fin")
    return Timeouts(**front, **back)


def _logging(draft: ProxyDraft, settings: Global, world: World) -> Logging:
    ftp = draft.mode is Mode.FTP and draft.is_frontend
    fallen_back = draft.log_option == FTPLOG and draft.is_frontend and not ftp
    return Logging(
        targets=_proxy_targets(draft, settings),
        format=TCPLOG_FORMAT if fallen_back else _said(draft.log_format, draft),
        transfer_format=_said(draft.transfer_format, draft) if ftp else None,
        xferlog=_path(draft.xferlog, world) if ftp and draft.xferlog is not None else None,
        error_format=_said(draft.error_log_format, draft),
        structured_data=_said(draft.structured_data, draft),
        tag=draft.log_tag,
        dontlognull=draft.option("dontlognull"),
        dontlog_normal=draft.option("dontlog-normal"),
        separate_errors=draft.option("log-separate-errors"),
        logasap=draft.option("logasap"),
        log_health_checks=draft.option("log-health-checks"),
    )


def _proxy_targets(draft: ProxyDraft, settings: Global) -> tuple[LogTarget, ...]:
    framing = LogFormat.RFC3164 if settings.log_send_hostname is not None else LogFormat.LOCAL
    found: list[LogTarget] = []
    for log in draft.logs:
        if log.target is None:
            found.extend(settings.log_targets)
        else:
            found.append(log.target if log.framed else replace(log.target, format=framing))
    return tuple(found)


def _said(said: Said[str] | None, draft: ProxyDraft) -> str | None:
    return said.value if said is not None and draft.is_frontend else None


# --- listeners ----------------------------------------------------------------------------------------------------


def _binds(draft: ProxyDraft) -> Iterator[Bind]:
    forced: list[int | None] = []
    for bind in draft.binds:
        forced.extend([bind.first_id or None] * len(bind.ports))
    ids = _numbered(forced, 1)
    for bind in draft.binds:
        data = draft.mode is Mode.FTP and is_pool(bind)
        bind = replace(bind, data=data, backlog=bind.backlog or draft.backlog)
        yield from _runs(bind, [next(ids) for _ in range(len(bind.ports))])


def _runs(bind: Bind, ids: list[int]) -> Iterator[Bind]:
    """A range whose ids have a gap (another line claimed a number in it) becomes several, each without one."""
    start = 0
    for index in range(1, len(ids) + 1):
        if index < len(ids) and ids[index] == ids[index - 1] + 1:
            continue
        low = bind.ports.low + start
        ports = PortRange(low, bind.ports.low + index - 1)
        yield replace(bind, first_id=ids[start], ports=ports, endpoint=bind.endpoint.with_port(low))
        start = index


# --- servers ------------------------------------------------------------------------------------------------------


def _servers(draft: ProxyDraft) -> Iterator[Server]:
    ids = _numbered([server.id.value if server.id is not None else None for server in draft.servers], 1)
    for server, number in zip(draft.servers, ids, strict=True):
        yield server_of(server, number, draft)


def server_of(server: ServerDraft, number: int, draft: ProxyDraft) -> Server:
    """The model of a server line in the backend `draft`, of which only the name counts here."""
    assert server.endpoint is not None  # every server line gives one
    assert server.line is not None
    return Server(
        origin=server.line.origin,
        name=server.name,
        id=number,
        endpoint=server.endpoint,
        port=server.port,
        weight=server.weight,
        backup=server.backup,
        disabled=bool(server.disabled),
        # HAProxy raises maxconn to minconn rather than complain.
        maxconn=max(server.maxconn, server.minconn),
        minconn=server.minconn,
        maxqueue=server.maxqueue,
        slowstart=server.slowstart,
        source=server.source,
        check=_check(server),
        agent=_agent(server),
        track="/".join(tracked_name(draft, server.track.value)) if server.track is not None else None,
        shutdown_sessions_when_down=server.shutdown_sessions_when_down,
        shutdown_backup_sessions_when_up=server.shutdown_backup_sessions_when_up,
        non_stick=server.non_stick,
        ftp_passive=server.ftp_passive,
        init_addr=server.init_addr,
        options=SocketOptions(user_timeout=server.user_timeout, fast_open=server.fast_open),
    )


def _check(server: ServerDraft) -> Check:
    return Check(
        enabled=server.check,
        endpoint=_where(server.check_endpoint, server.check_port),
        port=server.check_port,
        interval=server.interval,
        fast_interval=server.fast_interval,
        down_interval=server.down_interval,
        rise=server.rise,
        fall=server.fall,
        observe=server.observe,
        error_limit=server.error_limit,
        on_error=server.on_error,
    )


def _agent(server: ServerDraft) -> Agent:
    return Agent(
        enabled=server.agent,
        endpoint=_where(server.agent_endpoint, server.agent_port),
        port=server.agent_port,
        interval=server.agent_interval,
        send=encoded(server.agent_send),
    )


def _where(endpoint: Endpoint | None, port: int) -> Endpoint | None:
    if endpoint is None or endpoint.family in (Family.UNIX, Family.ABNS, Family.FD) or not port:
        return endpoint
    return endpoint.with_port(port)
