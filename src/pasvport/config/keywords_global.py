"""Keywords of the global section. Source: HAProxy configuration manual, section 3."""

from __future__ import annotations

import re
from collections.abc import Callable

from pasvport.config.arguments import duration, integer
from pasvport.config.cursor import Cursor, LineError, Prefix
from pasvport.config.draft import GlobalDraft
from pasvport.config.keywords import Keyword, Place, Status, Table, later, not_supported, words
from pasvport.config.keywords_environment import ENVIRONMENT_ROWS
from pasvport.config.keywords_log import read_log
from pasvport.config.keywords_state import GLOBAL_STATE_ROWS
from pasvport.config.keywords_stats_socket import STATS_ROWS
from pasvport.config.keywords_tls import TLS_ROWS
from pasvport.config.placement import check_count
from pasvport.config.scalars import lenient_int, strict_int

Reader = Callable[[Cursor, GlobalDraft], None]
MAX_THREADS = 64
_GLOBAL = Place.GLOBAL
_NODE = re.compile(r"[A-Za-z0-9_.-]+")


def read_global(cursor: Cursor, draft: GlobalDraft) -> None:
    """One line of a global section. Raises LineError."""
    row = GLOBAL.find(cursor.keyword.text, cursor.text(1))
    if row is None:
        text = f"unknown keyword '{cursor.keyword}' in 'global' section"
        raise LineError(text, cursor.keyword, GLOBAL.suggestion(cursor.keyword.text))
    cursor.at = row.name.count(" ") + 1
    if row.status is Status.REMOVED:
        raise LineError(f"'{row.name}' is not supported any more. {row.doc}", cursor.keyword)
    if row.read is None:
        raise LineError(not_supported(row.name), cursor.words[cursor.at - 1])
    check_count(row, cursor)
    row.read(cursor, draft)


# --- readers ------------------------------------------------------------------------------------------------------


def _once(cursor: Cursor, draft: GlobalDraft, what: str = "", kind: str = "") -> bool:
    """Whether this is the first time; HAProxy keeps the first and goes on, after an alert that is not fatal."""
    kind = kind or cursor.keyword.text
    if kind in draft.said:
        cursor.alert(f"{what or repr(kind)} already specified. Continuing.", cursor.keyword, fatal=False)
        return False
    draft.said[kind] = cursor.line
    return True


def _flag(field: str, value: bool = True) -> Reader:
    def read(cursor: Cursor, draft: GlobalDraft) -> None:
        draft.values[field] = value if cursor.prefix is not Prefix.NO else not value

    return read


def _number(field: str, *, once: bool = False, lowest: int | None = None) -> Reader:
    def read(cursor: Cursor, draft: GlobalDraft) -> None:
        word = cursor.argument(f"'{cursor.keyword}' expects an integer argument.")
        value = integer(cursor, word)
        if lowest is not None and value < lowest:
            raise LineError(f"'{cursor.keyword}' expects a positive integer argument.", word)
        if not once or _once(cursor, draft):
            draft.values[field] = value

    return read


def _text(field: str, complaint: str, *, once: bool = False) -> Reader:
    def read(cursor: Cursor, draft: GlobalDraft) -> None:
        word = cursor.argument(complaint)
        if not once or _once(cursor, draft):
            draft.values[field] = word.text

    return read


def _path(field: str, complaint: str) -> Reader:
    def read(cursor: Cursor, draft: GlobalDraft) -> None:
        word = cursor.argument(complaint)
        if _once(cursor, draft):
            draft.values[field] = word.text

    return read


def _master_worker(cursor: Cursor, draft: GlobalDraft) -> None:
    if cursor.more and cursor.take().text != "no-exit-on-failure":
        raise LineError("'master-worker' only supports 'no-exit-on-failure' option.", cursor.word(1))
    draft.values["master_worker"] = True


def _nbthread(cursor: Cursor, draft: GlobalDraft) -> None:
    word = cursor.argument("'nbthread' passed a missing or unparsable integer value in ''")
    value = strict_int(word.text)
    if value is None:
        raise LineError(f"'nbthread' passed a missing or unparsable integer value in '{word}'", word)
    if not 1 <= value <= MAX_THREADS:
        raise LineError(f"'nbthread' value must be between 1 and {MAX_THREADS} (was {value})", word)
    draft.values["nbthread"] = value


def _user(cursor: Cursor, draft: GlobalDraft) -> None:
    word = cursor.argument("cannot find user id for ''")
    number = cursor.world.user_id(word.text)
    if number is None:
        raise LineError(f"cannot find user id for '{word}'", word)
    if _once(cursor, draft, "user/uid", "user"):
        draft.values["user"], draft.values["uid"] = word.text, number


def _group(cursor: Cursor, draft: GlobalDraft) -> None:
    word = cursor.argument("cannot find group id for ''")
    number = cursor.world.group_id(word.text)
    if number is None:
        raise LineError(f"cannot find group id for '{word}'", word)
    if _once(cursor, draft, "group/gid", "group"):
        draft.values["group"], draft.values["gid"] = word.text, number


def _numeric_id(field: str, what: str, kind: str) -> Reader:
    def read(cursor: Cursor, draft: GlobalDraft) -> None:
        word = cursor.argument(f"'{cursor.keyword}' expects an integer argument.")
        if strict_int(word.text) is None:
            cursor.warn(f"{field}: string '{word}' is not a number: use '{kind}' for a name.", word)
        if _once(cursor, draft, what, kind):
            draft.values[field] = lenient_int(word.text)

    return read


def _node(cursor: Cursor, draft: GlobalDraft) -> None:
    complaint = (
        "'node' requires valid node name - non-empty string with digits(0-9), letters(A-Z, a-z), dot(.), "
        "hyphen(-) or underscode(_)."
    )
    word = cursor.argument(complaint)
    if not _NODE.fullmatch(word.text):
        raise LineError(complaint, word)
    draft.values["node"] = word.text


def _description(cursor: Cursor, draft: GlobalDraft) -> None:
    cursor.argument("'description' expects a string argument.")
    draft.values["description"] = " ".join(word.text for word in cursor.words[1:])


def _log(cursor: Cursor, draft: GlobalDraft) -> None:
    read_log(cursor, draft.logs, in_global=True)


def _log_send_hostname(cursor: Cursor, draft: GlobalDraft) -> None:
    if _once(cursor, draft):
        draft.values["log_send_hostname"] = cursor.take().text if cursor.more else cursor.world.hostname


def _time(field: str) -> Reader:
    def read(cursor: Cursor, draft: GlobalDraft) -> None:
        word = cursor.argument(f"'{cursor.keyword}' expects <time> as argument.")
        draft.values[field] = duration(cursor, word, cursor.keyword.text)

    return read


def _spread_checks(cursor: Cursor, draft: GlobalDraft) -> None:
    word = cursor.argument("'spread-checks' expects an integer argument (0..50).")
    value = lenient_int(word.text)
    if not 0 <= value <= 50:
        raise LineError("'spread-checks' needs a positive value in range 0..50.", word)
    if _once(cursor, draft):
        draft.values["spread_checks"] = integer(cursor, word)


def _insecure_fork(cursor: Cursor, draft: GlobalDraft) -> None:
    draft.insecure_fork = cursor.prefix is not Prefix.NO


def _bufsize(cursor: Cursor, draft: GlobalDraft) -> None:
    word = cursor.argument("'tune.bufsize' expects an integer argument.")
    # HAProxy rounds up to two pointers.
    value = integer(cursor, word) + 15 & ~15
    if value <= 0:
        raise LineError("'tune.bufsize' expects a positive integer argument.", word)
    draft.values["bufsize"] = value


def _ftp_held(cursor: Cursor, draft: GlobalDraft) -> None:
    word = cursor.argument("'tune.ftp.maxheld' expects a number of bytes.")
    value = integer(cursor, word)
    if value <= 0:
        raise LineError("'tune.ftp.maxheld' expects a positive number of bytes.", word)
    draft.values["ftp_held"] = value


_PORT_RANGES = ("sk_lookup", "bind", "auto")


def _port_range(cursor: Cursor, draft: GlobalDraft) -> None:
    word = cursor.argument(f"'tune.port-range' expects one of {', '.join(_PORT_RANGES)}.")
    if word.text not in _PORT_RANGES:
        raise LineError(f"'tune.port-range' expects one of {', '.join(_PORT_RANGES)} (got '{word}').", word)
    draft.values["port_range"] = word.text


# --- the table ----------------------------------------------------------------------------------------------------


def _row(
    name: str, syntax: str, doc: str, read: Reader, priority: str = "P1", default: str = "", most: int | None = 1
) -> Keyword[GlobalDraft]:
    return Keyword(name, syntax, doc, read, _GLOBAL, priority, default, most=most)


def _switch(
    name: str, field: str, doc: str, priority: str = "P1", default: str = "off", *, negatable: bool = False
) -> Keyword[GlobalDraft]:
    return Keyword(name, "", doc, _flag(field), _GLOBAL, priority, default, negatable=negatable, most=0)


_PROCESS: tuple[Keyword[GlobalDraft], ...] = (
    _switch("daemon", "daemon", "Go to the background.", "P0"),
    _row(
        "master-worker",
        "[no-exit-on-failure]",
        "A master that supervises the workers (always so here).",
        _master_worker,
    ),
    _row("nbthread", "<1..64>", "Number of worker processes.", _nbthread, default="one per CPU"),
    _row(
        "maxconn", "<number>", "Connections at once.", _number("maxconn", once=True), "P0", "from the descriptor limit"
    ),
    _row("maxconnrate", "<number>", "Connections accepted per second.", _number("maxconnrate"), default="no limit"),
    _row("maxsessrate", "<number>", "Sessions begun per second.", _number("maxsessrate"), default="no limit"),
    _row("ulimit-n", "<number>", "Limit of file descriptors.", _number("ulimit_n", once=True), default="computed"),
    _row("fd-hard-limit", "<number>", "Ceiling for the computed limit.", _number("fd_hard_limit"), default="none"),
    _switch(
        "strict-limits", "strict_limits", "Refuse to start when limits cannot be set.", default="on", negatable=True
    ),
    _row("user", "<name>", "User to become after binding.", _user, "P0"),
    _row("group", "<name>", "Group to become after binding.", _group, "P0"),
    _row("uid", "<number>", "As `user`, by number.", _numeric_id("uid", "user/uid", "user"), "P0"),
    _row("gid", "<number>", "As `group`, by number.", _numeric_id("gid", "group/gid", "group"), "P0"),
    _row(
        "chroot",
        "<directory>",
        "Directory to be confined to after binding.",
        _path("chroot", "'chroot' expects a directory as an argument."),
        "P0",
    ),
    _row(
        "pidfile",
        "<file>",
        "Where to write the process id.",
        _path("pidfile", "'pidfile' expects a file name as an argument."),
    ),
    _row("hard-stop-after", "<time>", "Longest a soft stop may take.", _time("hard_stop_after"), default="no limit"),
    _row("grace", "<time>", "Wait between the order to stop and unbinding.", _time("grace"), "P2", "0"),
    _switch("quiet", "quiet", "No messages at start.", "P2"),
    _switch("zero-warning", "zero_warning", "Refuse to start with warnings.", "P2"),
    Keyword(
        "insecure-fork-wanted",
        "",
        "Let external checks run programs.",
        _insecure_fork,
        _GLOBAL,
        "P2",
        "off",
        negatable=True,
        most=0,
    ),
    _switch("external-check", "external_check", "Permit `option external-check`.", "P2"),
    _switch("nosplice", "nosplice", "Copy instead of splicing in the kernel.", "P3"),
    _switch("noreuseport", "noreuseport", "Bind without SO_REUSEPORT.", "P2"),
)

_NAMES: tuple[Keyword[GlobalDraft], ...] = (
    _row("node", "<name>", "Name of this node in the statistics.", _node),
    _row("description", "<text>", "Shown in the statistics.", _description, most=None),
    Keyword(
        "log",
        "<target> [len <n>] [format <f>] [sample <r>:<s>] <facility> [<max> [<min>]]",
        "Where to log.",
        _log,
        _GLOBAL,
        "P0",
        negatable=True,
    ),
    _row(
        "log-tag",
        "<tag>",
        "Program name in log lines.",
        _text("log_tag", "'log-tag' expects a tag for use in syslog."),
        default="pasvport",
    ),
    _row("log-send-hostname", "[<name>]", "Put a host name in log lines; format rfc3164 then.", _log_send_hostname),
)

_TUNING: tuple[Keyword[GlobalDraft], ...] = (
    _row("spread-checks", "<0..50>", "Vary check intervals by this percentage.", _spread_checks, default="0"),
    _row(
        "max-spread-checks",
        "<time>",
        "Spread the first checks over this time at most.",
        _time("max_spread_checks"),
        "P2",
    ),
    _row("tune.bufsize", "<bytes>", "Buffer of one direction; bounds a check's answer.", _bufsize, default="16384"),
    _row(
        "tune.ftp.maxheld",
        "<bytes>",
        "`mode ftp`: bytes of commands sent ahead and of answers not read that the sessions of one worker may hold "
        "together; beyond, a session that holds some is not read until it holds none. One session holds up to two "
        "lines of `ftp-max-line`, 16 KiB for each peer, and what it was read last.",
        _ftp_held,
        default="33554432",
    ),
    _row("tune.maxaccept", "<number>", "Connections accepted at a time.", _number("maxaccept", once=True), "P2"),
    _row("tune.pipesize", "<bytes>", "Size of the kernel pipes for splicing.", _number("pipesize"), "P3", "1 MiB"),
    _row(
        "tune.port-range",
        "sk_lookup|bind|auto",
        "How a range of ports is listened on: one socket per worker and a BPF program, or a socket per port. "
        "`auto` takes the program for ranges of 64 ports and more where the kernel lets it. Not HAProxy's.",
        _port_range,
        default="auto",
    ),
    _row(
        "tune.rcvbuf.client",
        "<bytes>",
        "Receive buffer towards clients.",
        _number("client_receive_buffer", once=True),
        "P2",
    ),
    _row(
        "tune.rcvbuf.server",
        "<bytes>",
        "Receive buffer towards servers.",
        _number("server_receive_buffer", once=True),
        "P2",
    ),
    _row(
        "tune.sndbuf.client", "<bytes>", "Send buffer towards clients.", _number("client_send_buffer", once=True), "P2"
    ),
    _row(
        "tune.sndbuf.server", "<bytes>", "Send buffer towards servers.", _number("server_send_buffer", once=True), "P2"
    ),
)

_LATER: tuple[Keyword[GlobalDraft], ...] = (
    *later("mworker-max-reloads close-spread-time", "Reloading.", places=_GLOBAL),
    *later(
        "issuers-chain-path ssl-mode-async ssl-propquery ssl-provider ssl-provider-path ssl-engine",
        "TLS.",
        places=_GLOBAL,
        priority="P1",
    ),
    *later(
        "set-var set-var-fmt tune.vars.global-max-size tune.vars.proc-max-size tune.vars.sess-max-size "
        "tune.vars.txn-max-size tune.vars.reqres-max-size tune.vars.check-max-size tune.peers.max-updates-at-once "
        "unix-bind set-dumpable expose-experimental-directives pp2-never-send-local insecure-setuid-wanted",
        "Not planned yet.",
        places=_GLOBAL,
    ),
    *later(
        "thread-groups thread-group cpu-map numa-cpu-mapping maxpipes noepoll nopoll nokqueue noevports busy-polling "
        "tune.idletimer tune.pattern.cache-size tune.listener.multi-queue profiling.tasks cluster-secret lua-load "
        "lua-load-per-thread lua-prepend-path tune.maxpollevents tune.runqueue-depth tune.sched.low-latency "
        "tune.recv_enough tune.fd.edge-triggered tune.buffers.limit tune.buffers.reserve tune.fail-alloc "
        "no-memory-trimming tune.idle-pool.shared tune.pool-low-fd-ratio tune.pool-high-fd-ratio tune.maxrewrite "
        "tune.fast-forward no-quic limited-quic tune.lua.forced-yield tune.lua.maxmem tune.lua.service-timeout "
        "tune.lua.session-timeout tune.lua.task-timeout nogetaddrinfo",
        "About the inside of HAProxy.",
        places=_GLOBAL,
        priority="P3",
    ),
)


def _http_only(_cursor: Cursor, _draft: GlobalDraft) -> None:
    """Read by HTTP proxies only, of which there are none."""


_HTTP: tuple[Keyword[GlobalDraft], ...] = tuple(
    Keyword(name, "...", "HTTP only; not used.", _http_only, _GLOBAL, "P3", status=Status.HTTP)
    for name in words(
        "h1-accept-payload-with-any-method h1-case-adjust h1-case-adjust-file httpclient.resolvers.id "
        "httpclient.resolvers.prefer httpclient.ssl.ca-file httpclient.ssl.verify "
        "h2-workaround-bogus-websocket-clients maxcomprate maxcompcpuusage maxzlibmem tune.comp.maxlevel "
        "tune.h2.header-table-size tune.h2.initial-window-size tune.h2.max-concurrent-streams tune.h2.max-frame-size "
        "tune.http.cookielen tune.http.logurilen tune.http.maxhdr"
    )
)

_REMOVED: tuple[Keyword[GlobalDraft], ...] = (
    Keyword("nbproc", "<n>", "Use 'nbthread'.", None, _GLOBAL, "P3", status=Status.REMOVED),
    Keyword("tune.chksize", "<n>", "Use 'tune.bufsize'.", None, _GLOBAL, "P3", status=Status.REMOVED),
)

GLOBAL: Table[GlobalDraft] = Table(
    _PROCESS
    + _NAMES
    + STATS_ROWS
    + GLOBAL_STATE_ROWS
    + ENVIRONMENT_ROWS
    + _TUNING
    + TLS_ROWS
    + _LATER
    + _HTTP
    + _REMOVED
)
