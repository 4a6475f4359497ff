"""What the keywords fill in while the text is read: mutable, thrown away once the model is built."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Generic, TypeVar

from pasvport.address import Endpoint
from pasvport.config.keywords import Place
from pasvport.config.syntax import Line, Word
from pasvport.model import (
    Advertise,
    Balance,
    Bind,
    CheckKind,
    CheckStep,
    Expression,
    Ftp,
    FtpCheck,
    FtpPassive,
    LogTarget,
    Mode,
    ObserveMode,
    OnError,
    PortMap,
    ServerPort,
    Source,
    Stats,
    StickAction,
    StickTable,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Said(Generic[T]):
    """A value and the place that said it, for what can only be judged when everything was read."""

    value: T
    line: Line
    word: Word | None = None


@dataclass(frozen=True, slots=True)
class LogLine:
    """A `log` line; `target` None for `log global`. `framed` when the line names a format."""

    target: LogTarget | None
    framed: bool = True


@dataclass(frozen=True, slots=True)
class Leftover:
    """What only HTTP would obey: the warning (with a place for the `{proxy}`) and the side it is about.

    One that is `own` is told of in the section that says it; in what inherits it, HAProxy is silent and so are we.
    """

    text: str
    line: Line
    side: Place
    own: bool = False


@dataclass(slots=True)
class Keepalive:
    """`clitcpka-*` or `srvtcpka-*`: count, and times in seconds."""

    count: int = 0
    idle: int = 0
    interval: int = 0


@dataclass(slots=True)
class BindDraft:
    """The options of one `bind` line, whatever the number of its addresses and ports."""

    line: Line
    name: str | None = None
    id: int | None = None
    sockets: int = 1
    maxconn: int = 0
    backlog: int = 0
    interface: str | None = None
    transparent: bool = False
    v6only: bool = False
    v4v6: bool = False
    defer_accept: bool = False
    mss: int = 0
    user_timeout: int = 0
    fast_open: bool = False
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    data: bool = False
    advertise: list[Advertise] = field(default_factory=list)
    ftp: list[Said[str]] = field(default_factory=list)
    """Its `data` and `advertise` words."""


@dataclass(slots=True)
class ServerDraft:
    """A `server`, `server-template` or `default-server` line. Check port 0: none given; intervals None: default.

    `disabled` None: neither `disabled` nor `enabled` was said.
    """

    line: Line | None = None
    name: str = "default-server"
    endpoint: Endpoint | None = None
    port: ServerPort = field(default_factory=lambda: ServerPort(PortMap.SAME))
    id: Said[int] | None = None
    weight: int = 1
    backup: bool = False
    disabled: bool | None = None
    maxconn: int = 0
    minconn: int = 0
    maxqueue: int = 0
    slowstart: int = 0
    source: Source | None = None
    check: bool = False
    check_endpoint: Endpoint | None = None
    check_port: int = 0
    interval: int = 2000
    fast_interval: int = 0
    down_interval: int = 0
    rise: int = 2
    fall: int = 3
    observe: ObserveMode = ObserveMode.NONE
    error_limit: int = 10
    on_error: OnError = OnError.FAIL_CHECK
    agent: bool = False
    agent_endpoint: Endpoint | None = None
    agent_port: int = 0
    agent_interval: int = 2000
    agent_send: str = ""
    track: Said[str] | None = None
    shutdown_sessions_when_down: bool = False
    shutdown_backup_sessions_when_up: bool = False
    non_stick: bool = False
    ftp_passive: FtpPassive | None = None
    init_addr: tuple[str, ...] = ("last", "libc")
    user_timeout: int = 0
    fast_open: bool = False
    cookie: bool = False
    redir: bool = False


@dataclass(frozen=True, slots=True)
class StickRuleDraft:
    """Half a `stick` line; `table` None means the backend's own."""

    line: Line
    action: StickAction
    expression: Expression
    table: Word | None


@dataclass(slots=True)
class StatsDraft:
    """The `stats` lines of one section. A section's own lines replace all that its defaults said of statistics.

    `node` and `description`: None when not to be shown, "" for the global section's. `condition` is an admin condition
    that would need ACLs.
    """

    line: Line
    owner: Line
    values: Stats = field(default_factory=lambda: Stats(enabled=True))
    node: str | None = None
    description: Said[str] | None = None
    condition: Said[str] | None = None
    admin_line: Line | None = None

    def set(self, **values: object) -> None:
        self.values = replace(self.values, **values)  # type: ignore[arg-type]


@dataclass(slots=True)
class ProxyDraft:
    """A frontend, backend, listen or defaults section.

    `options` maps a table-driven option to whether it is on;
    `http` collects, by keyword, what the section said that only HTTP would obey. What was attempted counts
    even if the line was wrong, so that one mistake is not told twice. `metrics` and `http_rule` are `http-request`
    lines: the exporter's, and the first of another kind. `ftp_only` is to `mode ftp` what `http` is to HTTP,
    `ftp_binds` are the `data` and `advertise` words of bind lines. `bind_lines` goes with `binds`; `binds_refused`
    lines gave none.
    """

    header: Line
    kind: str
    name: str
    side: Place
    id: Said[int] | None = None
    mode: Mode = Mode.TCP
    mode_said: Said[str] | None = None
    disabled: bool = False
    description: str = ""
    options: dict[str, bool] = field(default_factory=dict)
    timeouts: dict[str, int] = field(default_factory=dict)
    own_timeouts: set[str] = field(default_factory=set)
    http: dict[str, Leftover] = field(default_factory=dict)
    # mode http
    stats: StatsDraft | None = None
    metrics: Said[str] | None = None
    http_rule: Said[str] | None = None
    # frontend
    binds: list[Bind] = field(default_factory=list)
    bind_lines: list[Line] = field(default_factory=list)
    bind_attempted: bool = False
    binds_refused: int = 0
    listener_ids: dict[int, Line] = field(default_factory=dict)
    maxconn: int = 0
    backlog: int = 0
    session_rate_limit: int = 0
    default_backend: Said[str] | None = None
    use_backend: list[Said[Expression]] = field(default_factory=list)
    client_keepalive: Keepalive = field(default_factory=Keepalive)
    # backend
    servers: list[ServerDraft] = field(default_factory=list)
    attempted_servers: set[str] = field(default_factory=set)
    server_ids: dict[int, ServerDraft] = field(default_factory=dict)
    default_server: ServerDraft = field(default_factory=ServerDraft)
    balance: Balance = field(default_factory=Balance)
    hash_said: Said[Expression] | None = None
    use_server: list[Said[Expression]] = field(default_factory=list)
    ftp_passive: Said[FtpPassive] | None = None
    stick_table: StickTable | None = None
    stick_line: Line | None = None
    stick_rules: list[StickRuleDraft] = field(default_factory=list)
    retries: int = 3
    retry_on_none: bool = False
    redispatch: int = 0
    fullconn: int = 0
    source: Source | None = None
    server_keepalive: Keepalive = field(default_factory=Keepalive)
    check_kind: CheckKind = CheckKind.TCP
    check_steps: list[CheckStep] = field(default_factory=list)
    steps_inherited: bool = False
    check_command: str | None = None
    check_path: str | None = None
    ftp_check: FtpCheck | None = None
    load_server_state: str | None = None
    server_state_file_name: str | None = None
    # mode ftp
    ftp: Ftp = field(default_factory=Ftp)
    ftp_only: dict[str, Leftover] = field(default_factory=dict)
    ftp_binds: list[Said[str]] = field(default_factory=list)
    auth_tls_line: Line | None = None
    # logs
    logs: list[LogLine] = field(default_factory=list)
    log_format: Said[str] | None = None
    transfer_format: Said[str] | None = None
    xferlog: str | None = None
    log_option: str = ""
    error_log_format: Said[str] | None = None
    structured_data: Said[str] | None = None
    unique_id_format: Said[str] | None = None
    log_tag: str | None = None

    def formats(self) -> Iterator[tuple[str, Said[str]]]:
        """Every log-format string that was said, with its keyword."""
        for name, said in (
            ("log-format", self.log_format),
            ("log-format-sd", self.structured_data),
            ("error-log-format", self.error_log_format),
            ("log-format-transfer", self.transfer_format),
            ("unique-id-format", self.unique_id_format),
        ):
            if said is not None:
                yield name, said

    @property
    def is_frontend(self) -> bool:
        return bool(self.side & Place.FRONTEND)

    @property
    def is_backend(self) -> bool:
        return bool(self.side & Place.BACKEND)

    @property
    def is_defaults(self) -> bool:
        return self.side is Place.DEFAULTS

    @property
    def title(self) -> str:
        """What HAProxy calls the section in messages: a listen section is a `proxy`."""
        return "proxy" if self.kind == "listen" else self.kind

    def option(self, name: str) -> bool:
        """Whether `option NAME` is on."""
        return self.options.get(name, False)

    def inherit(self, defaults: ProxyDraft) -> None:
        """Begin with what a defaults section said."""
        for item in fields(defaults):
            if item.name not in _OWN:
                setattr(self, item.name, _copied(getattr(defaults, item.name)))
        self.http = {keyword: leftover for keyword, leftover in self.http.items() if not leftover.own}
        if not self.is_defaults and not self.is_frontend:
            self.default_backend = None
        self.steps_inherited = bool(self.check_steps)


_OWN = frozenset({"server_state_file_name", "header", "kind", "name", "side", "id", "own_timeouts", "ftp_only"})


def _copied(value: object) -> object:
    return copy.copy(value) if isinstance(value, (list, dict, set, Keepalive, ServerDraft)) else value


@dataclass(slots=True)
class GlobalDraft:
    """All `global` sections together. `said` remembers what may be said only once, and where."""

    values: dict[str, object] = field(default_factory=dict)
    logs: list[LogLine] = field(default_factory=list)
    said: dict[str, Line] = field(default_factory=dict)
    environment_edited: bool = False
    default_path: tuple[str, str] = ("current", "")
    """The mode, and the directory of `origin`."""
    insecure_fork: bool = False
    tls: list[tuple[Line, Word]] = field(default_factory=list)
    """Keywords of TLS, which have nothing to act on."""
