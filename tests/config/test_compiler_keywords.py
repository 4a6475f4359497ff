"""Each supported keyword has its effect in the model."""

from __future__ import annotations

from functools import reduce

import pytest

from compiling import alerts, compiled, outcome, warnings
from pasvport.address import Endpoint, Family, PortRange
from pasvport.config.keywords import Status
from pasvport.config.keywords_bind import BIND
from pasvport.config.keywords_global import GLOBAL
from pasvport.config.keywords_option import OPTIONS
from pasvport.config.keywords_proxy import PROXY
from pasvport.config.keywords_server import SERVER
from pasvport.config.keywords_tls import TLS_ROWS
from pasvport.model import (
    Algorithm,
    CheckKind,
    Converter,
    ExpectMatch,
    Expression,
    FtpPassive,
    HashFunction,
    HashMethod,
    KeyType,
    LogFormat,
    LogTransport,
    ObserveMode,
    OnError,
    PortMap,
    ServerPort,
    Source,
    SourceUse,
    StepKind,
    StickAction,
    StoredType,
)

QUIET = "defaults\n timeout client 1m\n timeout server 1m\n timeout connect 5s\n"


IN_BIND = "'bind :1' in section 'listen' : "
IN_SERVER = "'server b/s' : "
IN_TABLE = "stick-table: "


def in_step(name):
    return f"'tcp-check {name}' : "


def _v4(host, port=0):
    return Endpoint(Family.IPV4, host, port)


def _get(thing, path):
    return reduce(getattr, path.split("."), thing)


# --- global -------------------------------------------------------------------------------------------------------

GLOBALS = [
    ("daemon", "daemon", True),
    ("master-worker", "master_worker", True),
    ("master-worker no-exit-on-failure", "master_worker", True),
    ("nbthread 4", "nbthread", 4),
    ("maxconn 1000", "maxconn", 1000),
    ("maxconnrate 5", "maxconnrate", 5),
    ("maxsessrate 6", "maxsessrate", 6),
    ("ulimit-n 4096", "ulimit_n", 4096),
    ("fd-hard-limit 99", "fd_hard_limit", 99),
    ("strict-limits", "strict_limits", True),
    ("no strict-limits", "strict_limits", False),
    ("user ftp", "uid", 110),
    ("user ftp", "user", "ftp"),
    ("group ftp", "gid", 115),
    ("group ftp", "group", "ftp"),
    ("uid 7", "uid", 7),
    ("gid 8", "gid", 8),
    ("chroot /var/empty", "chroot", "/var/empty"),
    ("pidfile /run/p.pid", "pidfile", "/run/p.pid"),
    ("hard-stop-after 30s", "hard_stop_after", 30_000),
    ("grace 500", "grace", 500),
    ("quiet", "quiet", True),
    ("zero-warning", "zero_warning", True),
    ("external-check", "external_check", True),
    ("nosplice", "nosplice", True),
    ("noreuseport", "noreuseport", True),
    ("node n-1.x", "node", "n-1.x"),
    ("description two words", "description", "two words"),
    ("localpeer p", "localpeer", "p"),
    ("log-tag ftp", "log_tag", "ftp"),
    ("log-send-hostname h", "log_send_hostname", "h"),
    ("log-send-hostname", "log_send_hostname", "balancer"),
    ("spread-checks 20", "spread_checks", 20),
    ("max-spread-checks 3s", "max_spread_checks", 3_000),
    ("tune.bufsize 20001", "bufsize", 20_016),
    ("tune.ftp.maxheld 65536", "ftp_held", 65_536),
    ("tune.maxaccept 8", "maxaccept", 8),
    ("tune.pipesize 65536", "pipesize", 65_536),
    ("tune.port-range sk_lookup", "port_range", "sk_lookup"),
    ("tune.rcvbuf.client 1", "client_receive_buffer", 1),
    ("tune.rcvbuf.server 2", "server_receive_buffer", 2),
    ("tune.sndbuf.client 3", "client_send_buffer", 3),
    ("tune.sndbuf.server 4", "server_send_buffer", 4),
]


@pytest.mark.parametrize(("line", "path", "value"), GLOBALS)
def test_global(line, path, value):
    assert _get(compiled(f"global\n {line}\n").settings, path) == value


def test_several_global_sections_are_one():
    settings = compiled("global\n nbthread 2\nglobal\n daemon\n").settings
    assert (settings.nbthread, settings.daemon) == (2, True)


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        ("uid 1\n user ftp", "user/uid"),
        ("maxconn 1\n maxconn 2", "'maxconn'"),
        ("chroot /a\n chroot /b", "'chroot'"),
        ("tune.maxaccept 3\n tune.maxaccept 4", "'tune.maxaccept'"),
    ],
)
def test_what_may_be_said_once_keeps_the_first_and_goes_on(lines, what):
    assert alerts(f"global\n {lines}\n") == [(3, f"{what} already specified. Continuing.")]
    keyword, value = lines.split("\n")[0].split()
    assert str(getattr(compiled(f"global\n {lines}\n").settings, keyword.removeprefix("tune."))) == value


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("maxcon 3", "unknown keyword 'maxcon' in 'global' section"),
        ("maxconn", "'maxconn' expects an integer argument."),
        ("daemon x", "'daemon' cannot handle unexpected argument 'x'."),
        ("nbthread 0", "'nbthread' value must be between 1 and 64 (was 0)"),
        ("nbthread x", "'nbthread' passed a missing or unparsable integer value in 'x'"),
        ("user nosuch", "cannot find user id for 'nosuch'"),
        ("group nosuch", "cannot find group id for 'nosuch'"),
        (
            "node a!",
            "'node' requires valid node name - non-empty string with digits(0-9), letters(A-Z, a-z), dot(.), "
            "hyphen(-) or underscode(_).",
        ),
        ("spread-checks 51", "'spread-checks' needs a positive value in range 0..50."),
        ("hard-stop-after x", "unexpected character 'x' in 'hard-stop-after'"),
        ("nbproc 2", "'nbproc' is not supported any more. Use 'nbthread'."),
        ("stats foo", "unknown keyword 'stats' in 'global' section"),
        ("stats socket /run/s level root", "'level' only supports 'user', 'operator', and 'admin' (got 'root')"),
        ("stats socket /run/s interface lo", "'stats socket ... interface' is not supported yet."),
        ("stats timeout 0", "'stats timeout' in global section expects a positive value."),
        ("stats maxconn -1", "'stats maxconn' in global section expects a positive value."),
        (
            "no maxconn",
            "negation/default currently supported only for options, log, busy-polling, set-dumpable, "
            "strict-limits, insecure-fork-wanted and numa-cpu-mapping.",
        ),
        ("log global", "log : 'global' is not supported for a global syslog server"),
        ("setenv A", "'setenv' expects a name and a value."),
        ("master-worker x", "'master-worker' only supports 'no-exit-on-failure' option."),
        (
            "default-path nowhere",
            "unsupported default-path mode 'nowhere' for 'default-path', supported modes include "
            "'current', 'config', 'parent', and 'origin'.",
        ),
    ],
)
def test_wrong_global_lines(line, text):
    assert alerts(f"global\n {line}\n") == [(2, text)]


# --- proxies ------------------------------------------------------------------------------------------------------

PROXIES = [
    ("maxconn 50", "maxconn", 50),
    ("rate-limit sessions 9", "session_rate_limit", 9),
    ("retries 7", "retries", 7),
    ("retry-on none", "retries", 0),
    ("retry-on conn-failure", "retries", 3),
    ("fullconn 12", "fullconn", 12),
    ("disabled", "disabled", True),
    ("disabled\n enabled", "disabled", False),
    ("description two words", "description", "two words"),
    ("id 77", "id", 77),
    ("timeout client 1s", "timeouts.client", 1_000),
    ("timeout server 2s", "timeouts.server", 2_000),
    ("timeout connect 3s", "timeouts.connect", 3_000),
    ("timeout connect 3s", "timeouts.queue", 3_000),
    ("timeout queue 4s", "timeouts.queue", 4_000),
    ("timeout check 5s", "timeouts.check", 5_000),
    ("timeout tunnel 1h", "timeouts.tunnel", 3_600_000),
    ("timeout client-fin 6s", "timeouts.client_fin", 6_000),
    ("timeout server-fin 7s", "timeouts.server_fin", 7_000),
    ("timeout tunnel 0", "timeouts.tunnel", None),
    ("option tcpka", "client_options.keepalive", True),
    ("option tcpka", "server_options.keepalive", True),
    ("option clitcpka", "server_options.keepalive", False),
    ("option clitcpka", "client_options.keepalive", True),
    ("option srvtcpka", "server_options.keepalive", True),
    ("option tcpka\n no option clitcpka", "client_options.keepalive", False),
    ("clitcpka-cnt 3", "client_options.keepalive_count", 3),
    ("clitcpka-idle 60", "client_options.keepalive_idle", 60),
    ("clitcpka-intvl 1m", "client_options.keepalive_interval", 60),
    ("srvtcpka-cnt 3", "server_options.keepalive_count", 3),
    ("srvtcpka-idle 61s", "server_options.keepalive_idle", 61),
    ("srvtcpka-intvl 1500ms", "server_options.keepalive_interval", 2),
    ("option redispatch", "redispatch", -1),
    ("option redispatch 2", "redispatch", 2),
    ("option redispatch\n no option redispatch", "redispatch", 0),
    ("option abortonclose", "abortonclose", True),
    ("option persist", "persist", True),
    ("option nolinger", "nolinger_client", True),
    ("option nolinger", "nolinger_server", True),
    ("option contstats", "contstats", True),
    ("option socket-stats", "socket_stats", True),
    ("option allbackups", "balance.all_backups", True),
    ("option dontlognull", "logging.dontlognull", True),
    ("option dontlognull\n default option dontlognull", "logging.dontlognull", False),
    ("option dontlog-normal", "logging.dontlog_normal", True),
    ("option log-separate-errors", "logging.separate_errors", True),
    ("option logasap", "logging.logasap", True),
    ("option log-health-checks", "logging.log_health_checks", True),
    ("log-format %ci", "logging.format", "%ci"),
    ("error-log-format %cp", "logging.error_format", "%cp"),
    ("log-format-sd %pid", "logging.structured_data", "%pid"),
    ("log-tag t", "logging.tag", "t"),
    ("unique-id-format %ci", "unique_id_format", "%ci"),
    ("balance", "balance.algorithm", Algorithm.ROUNDROBIN),
    ("balance static-rr", "balance.algorithm", Algorithm.STATIC_RR),
    ("balance leastconn", "balance.algorithm", Algorithm.LEASTCONN),
    ("balance first", "balance.algorithm", Algorithm.FIRST),
    ("balance source", "balance.algorithm", Algorithm.SOURCE),
    ("balance random", "balance.draws", 2),
    ("balance random(5)", "balance.draws", 5),
    ("balance hash src", "balance.expression", Expression("src", "src")),
    ("hash-type consistent", "balance.hash_method", HashMethod.CONSISTENT),
    ("hash-type consistent", "balance.avalanche", True),
    ("hash-type consistent wt6", "balance.avalanche", False),
    ("hash-type map-based crc32 avalanche", "balance.hash_function", HashFunction.CRC32),
    ("hash-type map-based crc32 avalanche", "balance.avalanche", True),
    ("hash-balance-factor 150", "balance.balance_factor", 150),
    ("option tcp-check", "check_kind", CheckKind.TCP_SCRIPT),
    ("source 10.0.0.9", "source", Source(_v4("10.0.0.9"))),
    ("source 10.0.0.9:7 interface eth0", "source", Source(_v4("10.0.0.9", 7), PortRange(7, 7), interface="eth0")),
    ("source 0.0.0.0 usesrc clientip", "source", Source(_v4("0.0.0.0"), use=SourceUse.CLIENT_IP)),
    (
        "source 10.0.0.9 usesrc 10.0.0.8",
        "source",
        Source(_v4("10.0.0.9"), use=SourceUse.ADDRESS, use_endpoint=_v4("10.0.0.8")),
    ),
]


@pytest.mark.parametrize(("line", "path", "value"), PROXIES)
def test_proxy(line, path, value):
    (proxy,) = compiled(f"{QUIET}listen l\n bind :2121\n {line}\n").proxies
    assert _get(proxy, path) == value


@pytest.mark.parametrize(("line", "path", "value"), [row for row in PROXIES if not row[0].startswith(("id", "desc"))])
def test_proxy_keywords_in_defaults(line, path, value):
    (proxy,) = compiled(f"{QUIET} {line}\nlisten l\n bind :2121\n").proxies
    assert _get(proxy, path) == value


def test_backlog_reaches_the_binds_that_have_none():
    (proxy,) = compiled(f"{QUIET}listen l\n backlog 7\n bind :1\n bind :2 backlog 9\n").proxies
    assert [bind.backlog for bind in proxy.binds] == [7, 9]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("foo", "unknown keyword 'foo' in 'listen' section"),
        ("mode", "unknown proxy mode ''."),
        ("mode ftp2", "unknown proxy mode 'ftp2'."),
        ("ftp-drain-idle forever", "'ftp-drain-idle' expects a time or 'never', got 'forever'."),
        ("option", "'option' expects an option name."),
        ("option dontlognul", "unknown option 'dontlognul'."),
        ("option tcpka x", "'option tcpka' cannot handle unexpected argument 'x'."),
        ("no option tcplog", "negation/default is not supported for option 'tcplog'."),
        ("option httpchk", "'option httpchk' is not supported yet."),
        (
            "timeout clien 3s",
            "'timeout' supports 'client', 'server', 'connect', 'check', 'queue', 'http-keep-alive', "
            "'http-request', 'tunnel', 'tarpit', 'client-fin' and 'server-fin' (got 'clien')",
        ),
        ("timeout client x", "unexpected character 'x' in 'timeout client'"),
        ("timeout client", "'timeout client' expects an integer value (in milliseconds)"),
        (
            "timeout client 99d",
            "timer overflow in argument '99d' to 'timeout client' (maximum value is 2147483647 ms or ~24.8 days)",
        ),
        ("timeout client 3s 4s", "'timeout client' : unexpected extra argument '4s' after value '3s'."),
        ("clitimeout 3s", "the 'clitimeout' directive is not supported any more. Use 'timeout client'."),
        ("rate-limit foo 1", "'rate-limit' only supports 'sessions' (got 'foo')"),
        ("rate-limit sessions x", "'rate-limit sessions' : unexpected character 'x' in integer value 'x'"),
        ("balance random(0)", "balance random : number of draws must be at least 1."),
        ("balance hash", "balance hash requires a sample expression."),
        ("balance hash src ip", "balance hash takes no other argument (got 'ip')."),
        ("hash-type foo", "'hash-type' only supports 'consistent' and 'map-based'."),
        ("hash-type consistent foo", "'hash-type' only supports 'sdbm', 'djb2', 'crc32', or 'wt6' hash functions."),
        ("hash-balance-factor 100", "'hash-balance-factor' must be 0 or greater than 100."),
        ("id 0", "custom id has to be > 0."),
        ("maxconn 1 2", "'maxconn' cannot handle unexpected argument '2'."),
        ("log-format %ci x", "log-format expects only one argument, don't forget to escape spaces!"),
        ("source", "'source' expects <addr>[:<port>], and optionally 'usesrc' <addr>, and 'interface' <name>."),
        ("source 10.0.0.1:1-2", "'source 10.0.0.1:1-2' : port range not permitted here in '10.0.0.1:1-2'"),
        ("source 10.0.0.1 foo", "'source' only supports optional keywords 'interface' and 'usesrc'."),
        ("acl a src 10.0.0.1", "'acl' is not supported yet."),
        ("tcp-request connection reject", "'tcp-request' is not supported yet."),
        ("use_backend b if TRUE", "'use_backend ... if' needs ACLs, which are not supported yet."),
        ("retry-on foo", "'retry-on': unknown keyword 'foo'"),
    ],
)
def test_wrong_proxy_lines(line, text):
    assert alerts(f"{QUIET}listen l\n bind :2121\n {line}\n") == [(7, text)]


@pytest.mark.parametrize("line", ["bind :1", "server s 10.0.0.1", "stick on src", "id 3", "use_backend b", "acl a"])
def test_what_defaults_do_not_take(line):
    ((number, text),) = alerts(f"defaults\n {line}\n")
    assert (number, text) == (2, f"'{line.split()[0]}' not allowed in 'defaults' section.")


def test_a_number_with_rubbish_is_read_as_haproxy_reads_it_and_warned_of():
    text = f"{QUIET}listen l\n bind :2121\n maxconn 12x\n"
    assert compiled(text).proxies[0].maxconn == 12
    assert warnings(text) == [(7, "'12x' is not an integer, it is read as 12.")]


# --- binds --------------------------------------------------------------------------------------------------------

BINDS = [
    ("name ctl", "name", "ctl"),
    ("id 9", "first_id", 9),
    ("maxconn 5", "maxconn", 5),
    ("backlog 6", "backlog", 6),
    ("interface eth0", "interface", "eth0"),
    ("transparent", "transparent", True),
    ("v4v6", "v4v6", True),
    ("v6only", "v6only", True),
    ("defer-accept", "defer_accept", True),
    ("mss 1400", "options.mss", 1400),
    ("tcp-ut 5s", "options.user_timeout", 5_000),
    ("tfo", "options.fast_open", True),
    ("mode 660", "permissions.mode", 0o660),
    ("user ftp", "permissions.uid", 110),
    ("group ftp", "permissions.gid", 115),
    ("uid 3", "permissions.uid", 3),
    ("gid 4", "permissions.gid", 4),
]


@pytest.mark.parametrize(("option", "path", "value"), BINDS)
def test_bind_options(option, path, value):
    (proxy,) = compiled(f"{QUIET}listen l\n bind [::]:2121 {option}\n").proxies
    assert _get(proxy.binds[0], path) == value


def test_bind_lists_ranges_and_unix_sockets():
    (proxy,) = compiled(f"{QUIET}listen l\n bind 10.0.0.1:21,10.0.0.2:5-9 name x\n bind /run/ftp.sock\n").proxies
    assert [(bind.endpoint, bind.ports, bind.name, bind.first_id) for bind in proxy.binds] == [
        (_v4("10.0.0.1", 21), PortRange(21, 21), "x", 1),
        (_v4("10.0.0.2", 5), PortRange(5, 9), "x", 2),
        (Endpoint(Family.UNIX, "/run/ftp.sock"), PortRange(0, 0), None, 7),
    ]


@pytest.mark.parametrize(
    ("rest", "text"),
    [
        ("", "'bind' expects {<path>|[addr1]:port1[-end1]}{,[addr]:port[-end]}... as arguments."),
        ("10.0.0.1", "'bind' : missing port specification in '10.0.0.1'"),
        (":0", "'bind' : invalid port '0'"),
        (":3-2", "'bind' : invalid port range '3-2'"),
        (":1 nam x", IN_BIND + "unknown keyword 'nam'"),
        (":1 name", IN_BIND + "'name' : missing name"),
        (":1-2 id 3", "'bind :1-2' in section 'listen' : 'id' can only be used with a single socket"),
        (":1 maxconn -1", IN_BIND + "'maxconn' : invalid value -1, must be >= 0"),
        (
            ":1 mode 888",
            "'bind :1' in section 'listen' : 'mode' : missing or invalid mode '888' (octal integer expected)",
        ),
        (":1 user nosuch", IN_BIND + "'user' : unknown user name 'nosuch'"),
        (
            ":1 mss 0",
            "'bind :1' in section 'listen' : 'mss' : expects an MSS with and absolute value between 1 and 65535",
        ),
        (":1 ssl crt x", IN_BIND + "'ssl' is not supported yet."),
        (":1 accept-proxy", IN_BIND + "'accept-proxy' is not supported yet."),
    ],
)
def test_wrong_binds(rest, text):
    assert alerts(f"{QUIET}listen l\n bind {rest}\n") == [(6, text)]


# --- servers ------------------------------------------------------------------------------------------------------

SERVERS = [
    ("weight 7", "weight", 7),
    ("backup", "backup", True),
    ("disabled", "disabled", True),
    ("disabled enabled", "disabled", False),
    ("maxconn 5", "maxconn", 5),
    ("minconn 2", "minconn", 2),
    ("minconn 9 maxconn 3", "maxconn", 9),
    ("maxqueue 4", "maxqueue", 4),
    ("slowstart 1500", "slowstart", 2_000),
    ("id 9", "id", 9),
    ("ftp-passive pasv", "ftp_passive", FtpPassive.PASV),
    ("non-stick", "non_stick", True),
    ("non-stick stick", "non_stick", False),
    ("init-addr none,10.0.0.1", "init_addr", ("none", "10.0.0.1")),
    ("tcp-ut 3s", "options.user_timeout", 3_000),
    ("tfo", "options.fast_open", True),
    ("source 10.0.0.9:1000-1999", "source", Source(_v4("10.0.0.9", 1000), PortRange(1000, 1999))),
    ("source 10.0.0.9 backup", "backup", True),
    ("check", "check.enabled", True),
    ("check no-check", "check.enabled", False),
    ("check port 2121", "check.port", 2121),
    ("check addr 10.0.0.7", "check.endpoint", _v4("10.0.0.7")),
    ("check addr 10.0.0.7 port 22", "check.endpoint", _v4("10.0.0.7", 22)),
    ("check addr 10.0.0.7:22", "check.port", 22),
    ("check inter 5s", "check.interval", 5_000),
    ("check fastinter 1s", "check.fast_interval", 1_000),
    ("check downinter 9s", "check.down_interval", 9_000),
    ("check rise 4", "check.rise", 4),
    ("check fall 5", "check.fall", 5),
    ("check observe layer4", "check.observe", ObserveMode.LAYER4),
    ("check error-limit 3", "check.error_limit", 3),
    ("check on-error mark-down", "check.on_error", OnError.MARK_DOWN),
    ("check on-marked-down shutdown-sessions", "shutdown_sessions_when_down", True),
    ("check on-marked-up shutdown-backup-sessions", "shutdown_backup_sessions_when_up", True),
    ("agent-check agent-port 9", "agent.enabled", True),
    ("agent-check agent-port 9", "agent.port", 9),
    ("agent-check agent-port 9 agent-addr 10.0.0.7", "agent.endpoint", _v4("10.0.0.7", 9)),
    ("agent-check agent-port 9 agent-inter 3s", "agent.interval", 3_000),
    (r"agent-check agent-port 9 agent-send hi\n", "agent.send", b"hi\n"),
]


@pytest.mark.parametrize(("options", "path", "value"), SERVERS)
def test_server_options(options, path, value):
    (proxy,) = compiled(f"{QUIET}backend b\n server s 10.0.0.1:21 {options}\n").proxies
    assert _get(proxy.servers[0], path) == value


@pytest.mark.parametrize(("options", "path", "value"), [row for row in SERVERS if not row[0].startswith("id")])
def test_default_server_options(options, path, value):
    (proxy,) = compiled(f"{QUIET}backend b\n default-server {options}\n server s 10.0.0.1:21\n").proxies
    assert _get(proxy.servers[0], path) == value


def test_default_server_applies_to_the_lines_below_it_and_adds_up():
    (proxy,) = compiled(
        f"{QUIET}backend b\n server a 10.0.0.1:1\n default-server weight 5\n server b 10.0.0.1:1\n"
        " default-server maxconn 3\n server c 10.0.0.1:1 weight 9\n"
    ).proxies
    assert [(server.weight, server.maxconn) for server in proxy.servers] == [(1, 0), (5, 0), (9, 3)]


@pytest.mark.parametrize(
    ("address", "endpoint", "port"),
    [
        ("10.0.0.1", _v4("10.0.0.1"), ServerPort(PortMap.SAME)),
        ("10.0.0.1:21", _v4("10.0.0.1", 21), ServerPort(PortMap.FIXED, 21)),
        ("10.0.0.1:+100", _v4("10.0.0.1"), ServerPort(PortMap.OFFSET, 100)),
        ("10.0.0.1:-100", _v4("10.0.0.1"), ServerPort(PortMap.OFFSET, -100)),
        ("ftp.example:21", Endpoint(Family.NAME, "ftp.example", 21), ServerPort(PortMap.FIXED, 21)),
        ("*", _v4("0.0.0.0"), ServerPort(PortMap.SAME)),
    ],
)
def test_server_addresses(address, endpoint, port):
    (proxy,) = compiled(f"{QUIET}backend b\n server s {address}\n").proxies
    assert (proxy.servers[0].endpoint, proxy.servers[0].port) == (endpoint, port)


def test_a_template_is_a_row_of_servers():
    (proxy,) = compiled(
        f"{QUIET}backend b\n server-template s 2-3 h:21 id 9 weight 2\n server-template t 2 h:21\n"
    ).proxies
    assert [(server.name, server.id, server.weight) for server in proxy.servers] == [
        ("s2", 9, 2),
        ("s3", 2, 2),
        ("t1", 3, 1),
        ("t2", 4, 1),
    ]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("server", "'server' expects <name> and <addr>[:<port>] as arguments."),
        ("server s! 10.0.0.1", "character '!' is not permitted in server name 's!'."),
        ("server s 10.0.0.1:1-3", IN_SERVER + "port range not permitted here in '10.0.0.1:1-3'"),
        ("server s 10.0.0.1:70000", IN_SERVER + "invalid port '70000'"),
        ("server s 10.0.0.1 foo", IN_SERVER + "unknown keyword 'foo'."),
        ("server s 10.0.0.1 inter", IN_SERVER + "'inter' expects a delay as argument."),
        ("server s 10.0.0.1 inter 0", IN_SERVER + "invalid value 0 for argument 'inter' of server s."),
        ("server s 10.0.0.1 weight 257", IN_SERVER + "weight of server s is not within 0 and 256 (257)."),
        ("server s 10.0.0.1 rise 0", IN_SERVER + "'rise' has to be > 0."),
        ("server s 10.0.0.1 error-limit x", IN_SERVER + "error-limit has to be > 0."),
        (
            "server s 10.0.0.1 observe x",
            "'server b/s' : 'observe' expects one of 'none', 'layer4', 'layer7' but got 'x'",
        ),
        (
            "server s 10.0.0.1 agent-check",
            "'server b/s' : server s does not have agent port. Agent check has been disabled.",
        ),
        ("server s 10.0.0.1:1 check track x", IN_SERVER + "unable to enable checks and tracking at the same time!"),
        ("server s 10.0.0.1 id 0", IN_SERVER + "'id' : custom id has to be > 0."),
        ("server s 10.0.0.1 usesrc client", IN_SERVER + "'usesrc' only allowed after a 'source' statement."),
        (
            "server s 10.0.0.1 init-addr x",
            "'server b/s' : 'init-addr' : unknown init-addr method 'x', supported methods are 'libc', 'last', 'none'.",
        ),
        ("server s 10.0.0.1 ssl", IN_SERVER + "'ssl' is not supported yet."),
        ("server s 10.0.0.1 send-proxy", IN_SERVER + "'send-proxy' is not supported yet."),
        ("server-template s x h:1", "Wrong server-template number or range arg 'x'."),
        ("server-template a:b 2 h:1", "character ':' is not permitted in server-template prefix 'a:b'."),
        ("default-server foo", "unknown keyword 'foo'. Hint: no address was expected for this server."),
        ("default-server id 3", "'id' option is not accepted in default-server sections"),
    ],
)
def test_wrong_server_lines(line, text):
    assert alerts(f"{QUIET}backend b\n {line}\n") == [(6, text)]


def test_a_server_in_a_frontend_is_an_error():
    assert alerts(f"{QUIET}frontend f\n bind :1\n server s 10.0.0.1:1\n") == [
        (7, "'server' not allowed because frontend 'f' has no backend capability.")
    ]


# --- stick tables -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "path", "value"),
    [
        ("type ip size 1k", "key_type", KeyType.IP),
        ("type ipv4 size 1k", "key_type", KeyType.IP),
        ("type ipv6 size 2k", "size", 2048),
        ("type integer size 1m expire 30m", "expire", 1_800_000),
        ("type string size 1k", "key_length", 32),
        ("type string len 64 size 1k", "key_length", 64),
        ("type binary len 8 size 1k nopurge", "nopurge", True),
        ("type ip size 1k srvkey addr", "server_key", "addr"),
        (
            "type ip size 1k store conn_cur,conn_rate(10s) store bytes_in_cnt",
            "stores",
            (StoredType("conn_cur"), StoredType("conn_rate", 10_000), StoredType("bytes_in_cnt")),
        ),
    ],
)
def test_stick_tables(options, path, value):
    (proxy,) = compiled(f"{QUIET}backend b\n stick-table {options}\n").proxies
    assert getattr(proxy.stick_table, path) == value


def test_stick_rules():
    (first, second) = compiled(
        f"{QUIET}backend a\n stick-table type ip size 1k\n"
        "backend b\n stick match src,ipmask(24) table a\n stick store-request dst_port table a\n"
    ).proxies
    assert first.stick_rules == ()
    assert [(rule.action, rule.table) for rule in second.stick_rules] == [
        (StickAction.MATCH, "a"),
        (StickAction.STORE_REQUEST, "a"),
    ]
    assert second.stick_rules[0].expression == Expression("src,ipmask(24)", "src", (), (Converter("ipmask", ("24",)),))


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("stick-table type ip", IN_TABLE + "missing size."),
        ("stick-table size 1k", IN_TABLE + "missing type."),
        ("stick-table type foo size 1k", IN_TABLE + "unknown type 'foo'."),
        ("stick-table type ip size x", IN_TABLE + "unexpected character 'x' in argument of 'size'."),
        ("stick-table type ip len 3 size 1k", IN_TABLE + "unknown argument 'len'."),
        ("stick-table type ip size 1k store foo", IN_TABLE + "unknown store option 'foo'."),
        ("stick-table type ip size 1k store conn_rate", IN_TABLE + "missing argument to store option 'conn_rate'."),
        (
            "stick-table type ip size 1k store conn_cnt(3)",
            "stick-table: unexpected argument to store option 'conn_cnt'.",
        ),
        ("stick-table type ip size 1k store gpc0", IN_TABLE + "store option 'gpc0' is not supported yet."),
        ("stick-table type ip size 1k peers p", IN_TABLE + "'peers' is not supported yet."),
        ("stick", "'stick' expects 'on', 'match', or 'store'."),
        ("stick on", "'stick' expects a fetch method."),
        ("stick on foo", "'stick': unknown fetch method 'foo'."),
        ("stick on req.len", "'stick': fetch method 'req.len' is not supported yet."),
        ("stick on src,foo", "'stick': unknown converter 'foo'."),
        ("stick on src,sha1", "'stick': converter 'sha1' is not supported yet."),
        ("stick on src,ipmask(99)", "'stick': converter 'ipmask' : invalid args: '99' is not an IPv4 mask."),
        ("stick on bin(01020304),ipmask(8)", "'stick': converter 'ipmask' cannot be applied to binary values."),
        (
            "stick on bc_src",
            "'stick': fetch method 'bc_src' extracts information from the server, which is not available during "
            "request.",
        ),
        ("stick on src(3)", "'stick': fetch method 'src' : no argument expected, got '3'."),
        ("stick on src if TRUE", "'stick': conditions ('if') are not supported yet."),
        ("stick store-response src", "'stick store-response' is not supported yet."),
    ],
)
def test_wrong_stick_lines(line, text):
    assert alerts(f"{QUIET}backend b\n {line}\n") == [(6, text)]


# --- checks -------------------------------------------------------------------------------------------------------


def test_a_check_script():
    (proxy,) = compiled(
        f"{QUIET}backend b\n option tcp-check\n tcp-check connect port 21 linger comment open\n"
        ' tcp-check expect min-recv 3 ok-status L7OKC on-error "bad banner" rstring ^220\n'
        r" tcp-check send QUIT\r\n comment bye" + "\n"
        " tcp-check comment last\n tcp-check send-binary 0d0A\n tcp-check expect ! binary ff00\n"
        " tcp-check expect rbinary ^32 error-status L7STS tout-status L7TOUT on-success fine\n"
    ).proxies
    steps = proxy.check_steps
    assert [step.kind for step in steps] == [
        StepKind.CONNECT,
        StepKind.EXPECT,
        StepKind.SEND,
        StepKind.COMMENT,
        StepKind.SEND,
        StepKind.EXPECT,
        StepKind.EXPECT,
    ]
    assert (steps[0].port, steps[0].linger, steps[0].comment) == (21, True, "open")
    assert (steps[1].min_recv, steps[1].ok_status, steps[1].on_error) == (3, "L7OKC", "bad banner")
    assert (steps[1].match, steps[1].data) == (ExpectMatch.RSTRING, b"^220")
    assert (steps[2].data, steps[2].comment, steps[3].comment) == (b"QUIT\r\n", "bye", "last")
    assert (steps[4].data, steps[5].data, steps[5].negated) == (b"\r\n", b"\xff\0", True)
    assert (steps[6].match, steps[6].error_status, steps[6].timeout_status, steps[6].on_success) == (
        ExpectMatch.RBINARY,
        "L7STS",
        "L7TOUT",
        "fine",
    )


def test_an_external_check():
    text = "global\n external-check\n insecure-fork-wanted\n" + QUIET
    text += "backend b\n option external-check\n external-check command /bin/true\n external-check path /bin\n"
    proxy = compiled(text).proxies[0]
    assert (proxy.check_kind, proxy.check_command, proxy.check_path) == (CheckKind.EXTERNAL, "/bin/true", "/bin")
    assert warnings(text) == []


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (
            "connect port 0",
            "'tcp-check connect' : expects a valid TCP port (from range 1 to 65535) or a sample expression, got 0.",
        ),
        ("connect ssl", in_step("connect") + "'ssl' is not supported yet."),
        ("send", in_step("send") + "'string' expects a send as argument."),
        ("send a b", in_step("send") + "expects 'comment' but got 'b' as argument."),
        (
            "send-binary abc",
            "'tcp-check send-binary' : 'abc' invalid binary string (an even number of hex digit is expected).",
        ),
        (
            "send-binary zz",
            "'tcp-check send-binary' : 'zz' invalid binary string (an hex digit is expected (found 'z')).",
        ),
        ("expect", in_step("expect") + "expects at least a matching pattern as arguments."),
        ("expect string", in_step("expect") + "'string' expects a <pattern> as argument."),
        ("expect min-recv -2 string a", in_step("expect") + "'min-recv' expects -1 or an integer from 0 to INT_MAX."),
        (
            "expect ok-status X string a",
            "'tcp-check expect' : 'ok-status' only supports 'L4OK', 'L6OK', 'L7OK' or 'L7OKC' status (got 'X').",
        ),
        ("expect string-lf a", in_step("expect") + "'string-lf' is not supported yet."),
        ("comment", in_step("comment") + "expects a string as argument."),
        ("send-lf %ci", in_step("send-lf") + "not supported yet."),
    ],
)
def test_wrong_check_steps(step, text):
    assert alerts(f"{QUIET}backend b\n option tcp-check\n tcp-check {step}\n") == [(7, text)]


def test_a_script_that_connects_begins_by_it():
    ((line, text),) = alerts(f"{QUIET}backend b\n option tcp-check\n tcp-check send a\n tcp-check connect\n")
    assert (line, text.startswith("'tcp-check connect' : first step MUST also be a 'connect'")) == (8, True)


# --- logs ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rest", "path", "value"),
    [
        ("10.0.0.1 local3", "facility", 19),
        ("10.0.0.1 local3", "endpoint", _v4("10.0.0.1", 514)),
        ("10.0.0.1:5514 local3 notice", "level", 5),
        ("10.0.0.1:5514 local3 notice err", "minimum_level", 3),
        ("10.0.0.1 len 2048 local0", "length", 2048),
        ("10.0.0.1 format rfc5424 local0", "format", LogFormat.RFC5424),
        ("10.0.0.1 sample 1,3-4:5 local0", "sample_ranges", ((1, 1), (3, 4))),
        ("10.0.0.1 sample 1,3-4:5 local0", "sample_size", 5),
        ("/dev/log local0", "transport", LogTransport.UNIX_DATAGRAM),
        ("tcp@10.0.0.1:514 local0", "transport", LogTransport.TCP),
        ("stderr local0", "descriptor", 2),
        ("fd@7 local0", "descriptor", 7),
    ],
)
def test_log_targets(rest, path, value):
    (target,) = compiled(f"global\n log {rest}\n").settings.log_targets
    assert getattr(target, path) == value


@pytest.mark.parametrize(
    ("rest", "text"),
    [
        ("", "log : expects <address> and <facility> or global as arguments"),
        ("10.0.0.1", "log : expects <address> and <facility> or global as arguments"),
        ("10.0.0.1 foo", "log : unknown log facility 'foo'"),
        ("10.0.0.1 local0 foo", "log : unknown optional log level 'foo'"),
        ("10.0.0.1 local0 info foo", "log : unknown optional minimum log level 'foo'"),
        ("10.0.0.1 local0 info err x", "log : cannot handle unexpected argument 'x'"),
        ("10.0.0.1 len 10 local0", "log : invalid log length '10', must be between 80 and 65535"),
        ("10.0.0.1 format foo local0", "log : unknown log format 'foo'"),
        ("10.0.0.1 sample 1 local0", "log : Missing sample size"),
        ("10.0.0.1 sample 2-1:3 local0", "log : wrong sample range '2-1'"),
        (
            "10.0.0.1 sample 3:2 local0",
            "log : sample size 2 should be greater or equal to 3 the maximum of the high ranges limits",
        ),
        ("global x", "log : cannot handle unexpected argument 'x'"),
        ("ring@r local0", "log : log target 'ring@r' is not supported yet."),
    ],
)
def test_wrong_log_lines(rest, text):
    assert alerts(f"{QUIET}backend b\n log {rest}\n") == [(6, text)]


# --- every keyword is tried ---------------------------------------------------------------------------------------


# Tried in test_ftp_language; TLS_ROWS in test_tls_language.
FTP_OPTIONS = "ftp-active ftp-auth-tls ftp-passive ftp-xferlog ftp-check ftplog"
FTP_KEYWORDS = (
    "ftp-data-peer ftp-data-host ftp-greeting ftp-deny-commands ftp-max-line ftp-login-limit"
    " ftp-drain-idle log-format-transfer"
)


def _tried(rows):
    return " ".join(str(row[0]) for row in rows).split()


@pytest.mark.parametrize(
    ("table", "tried", "elsewhere"),
    [
        (
            GLOBAL,
            _tried(GLOBALS),
            "insecure-fork-wanted log setenv presetenv unsetenv resetenv default-path"
            " server-state-file server-state-base " + " ".join(row.name for row in TLS_ROWS),
        ),
        (BIND, _tried(BINDS), "data advertise level expose-fd severity-output"),
        (SERVER, _tried(SERVERS), "track usesrc no-agent-check no-tfo no-backup"),
        (OPTIONS, _tried(PROXIES), f"splice-auto splice-request splice-response tcplog external-check {FTP_OPTIONS}"),
    ],
)
def test_no_supported_keyword_is_forgotten(table, tried, elsewhere):
    # Tried in test_stats_socket_language.
    names = {row.name for row in table if row.status is Status.SUPPORTED and not row.name.startswith("stats ")}
    assert names - set(tried) == set(elsewhere.split())


def test_no_supported_proxy_keyword_is_forgotten():
    first_words = {line.split("\n")[-1].split()[0] for line, _, _ in PROXIES}
    names = {row.name.split()[0] for row in PROXY if row.status is Status.SUPPORTED and row.priority}
    elsewhere = (
        "bind backlog default_backend server server-template default-server stick-table stick tcp-check "
        f"external-check mode log bind-process stats http-request use_backend use-server {FTP_KEYWORDS} "
        "load-server-state-from-file server-state-file-name"
    )
    assert names - first_words - {"disabled"} == set(elsewhere.split())


@pytest.mark.parametrize("name", [row.name for row in PROXY if row.status is Status.LATER])
def test_later_keywords_are_refused(name):
    assert [line for line, _ in alerts(f"{QUIET}listen l\n bind :1\n {name} x\n")] == [7]


@pytest.mark.parametrize("name", [row.name for row in GLOBAL if row.status is Status.LATER])
def test_later_global_keywords_are_refused(name):
    assert alerts(f"global\n {name} x\n") == [(2, f"'{name}' is not supported yet.")]


@pytest.mark.parametrize("name", [row.name for row in BIND if row.status is Status.LATER])
def test_later_bind_options_are_refused(name):
    assert [line for line, _ in alerts(f"{QUIET}listen l\n bind :1 {name} x\n")] == [6]


@pytest.mark.parametrize("name", [row.name for row in SERVER if row.status is Status.LATER])
def test_later_server_options_are_refused(name):
    assert alerts(f"{QUIET}listen l\n bind :1\n server s 10.0.0.1:1 {name} x\n") == [
        (7, f"'server l/s' : '{name}' is not supported yet.")
    ]


@pytest.mark.parametrize("name", [row.name for row in OPTIONS if row.status is Status.LATER])
def test_later_options_are_refused(name):
    assert alerts(f"{QUIET}listen l\n bind :1\n option {name}\n") == [(7, f"'option {name}' is not supported yet.")]


@pytest.mark.parametrize("name", [row.name for row in OPTIONS if row.status is Status.HTTP])
def test_http_options_are_accepted(name):
    assert alerts(f"{QUIET}listen l\n bind :1\n option {name}\n") == []


def test_a_mistyped_mode_is_answered_by_what_was_meant():
    for typed, meant in (("fpt", "ftp"), ("ftps", "ftp"), ("tpc", "tcp"), ("htpp", "http"), ("123", "")):
        entry = outcome(f"{QUIET}listen l\n bind :2121\n mode {typed}\n").diagnostics.found[0]
        assert (entry.text, entry.suggestion) == (f"unknown proxy mode '{typed}'.", meant)
