"""The published page's configuration, sections, defaults, references, ids: text in, model out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from compiling import alerts, compiled, outcome, warnings, world
from pasvport.address import Endpoint, Family, PortRange
from pasvport.config.compiler import load
from pasvport.config.fullconn import fill_fullconn
from pasvport.model import (
    Algorithm,
    Balance,
    Bind,
    Check,
    CheckKind,
    Config,
    Expression,
    Global,
    KeyType,
    LogFormat,
    Logging,
    LogTarget,
    LogTransport,
    Origin,
    PortMap,
    Proxy,
    Server,
    ServerPort,
    StickAction,
    StickRule,
    StickTable,
    StoredType,
    Timeouts,
)

PAGE = """\
frontend ftp_fe
mode tcp
option tcplog
log global
bind 192.168.0.100:21 name ftp-control
bind 192.168.0.100:50000-50010 name ftp-data
default_backend ftp_servers
backend ftp_servers
mode tcp
balance leastconn
stick-table type ip size 100k expire 1h
stick on src
server ftp-server1 192.168.1.10 check port 21
server ftp-server2 192.168.1.11 check port 21
"""

QUIET = "defaults\n timeout client 1m\n timeout server 1m\n timeout connect 5s\n"


def _at(line):
    return Origin("t.cfg", line)


def _v4(host, port=0):
    return Endpoint(Family.IPV4, host, port)


def test_the_page_gives_exactly_this_model():
    source = Expression("src", "src")
    frontend = Proxy(
        origin=_at(1),
        name="ftp_fe",
        index=0,
        id=2,
        is_frontend=True,
        is_backend=False,
        binds=(
            Bind(_at(5), _v4("192.168.0.100", 21), PortRange(21, 21), name="ftp-control", first_id=1),
            Bind(_at(6), _v4("192.168.0.100", 50000), PortRange(50000, 50010), name="ftp-data", first_id=2),
        ),
        default_backend="ftp_servers",
        logging=Logging(format="%ci:%cp [%t] %ft %b/%s %Tw/%Tc/%Tt %B %ts %ac/%fc/%bc/%sc/%rc %sq/%bq"),
    )
    servers = tuple(
        Server(
            origin=_at(12 + number),
            name=f"ftp-server{number}",
            id=number,
            endpoint=_v4(f"192.168.1.{9 + number}"),
            port=ServerPort(PortMap.SAME),
            check=Check(enabled=True, port=21),
        )
        for number in (1, 2)
    )
    backend = Proxy(
        origin=_at(8),
        name="ftp_servers",
        index=1,
        id=3,
        is_frontend=False,
        is_backend=True,
        servers=servers,
        balance=Balance(Algorithm.LEASTCONN),
        stick_table=StickTable(
            _at(11),
            "ftp_servers",
            KeyType.IP,
            102400,
            expire=3_600_000,
            stores=(StoredType("server_id"), StoredType("server_key")),
        ),
        stick_rules=(
            StickRule(_at(12), StickAction.MATCH, source, "ftp_servers"),
            StickRule(_at(12), StickAction.STORE_REQUEST, source, "ftp_servers"),
        ),
    )
    settings = Global(node="balancer", localpeer="balancer")
    assert compiled(PAGE) == Config(settings, (frontend, backend), ("t.cfg",))


def test_the_page_warns_as_haproxy_does():
    found = warnings(PAGE)
    assert [(line, text.splitlines()[0]) for line, text in found] == [
        (1, "missing timeouts for frontend 'ftp_fe'."),
        (8, "missing timeouts for backend 'ftp_servers'."),
        (3, "log format ignored for frontend 'ftp_fe' since it has no log address."),
    ]
    assert outcome(PAGE).has_listener


def test_log_global_brings_the_global_targets_and_their_framing():
    text = "global\n log 127.0.0.1 local0 info\n log stdout format raw local1\n log-send-hostname\n" + QUIET + PAGE
    config = compiled(text)
    udp = LogTarget(_at(2), LogTransport.UDP, _v4("127.0.0.1", 514), format=LogFormat.RFC3164, facility=16, level=6)
    stdout = LogTarget(_at(3), LogTransport.DESCRIPTOR, None, 1, format=LogFormat.RAW, facility=17)
    assert config.settings.log_targets == config.proxies[0].logging.targets == (udp, stdout)
    assert config.settings.log_send_hostname == "balancer"
    assert outcome(text).diagnostics.found == []


# --- sections -----------------------------------------------------------------------------------------------------


def test_a_listen_section_is_both_sides_and_its_own_backend():
    (proxy,) = compiled(QUIET + "listen l\n bind :21\n server s 10.0.0.1:21\n").proxies
    assert proxy.is_frontend
    assert proxy.is_backend
    assert proxy.default_backend is None
    assert proxy.timeouts == Timeouts(client=60_000, server=60_000, connect=5_000, queue=5_000)


def test_defaults_apply_to_what_follows_until_the_next_ones():
    config = compiled(
        "defaults\n retries 1\nbackend a\ndefaults\n option redispatch\nbackend b\ndefaults x from base\nbackend c\n"
        "".replace(" from base", "")
    )
    assert [(proxy.retries, proxy.redispatch) for proxy in config.proxies] == [(1, 0), (3, -1), (3, 0)]


def test_named_defaults_are_taken_by_name_and_build_on_each_other():
    config = compiled(
        "defaults slow\n timeout server 1h\n retries 9\ndefaults quick from slow\n timeout server 1s\n"
        "backend a from slow\nbackend b from quick\nbackend c\n"
    )
    assert [(proxy.timeouts.server, proxy.retries) for proxy in config.proxies] == [
        (3_600_000, 9),
        (1_000, 9),
        (1_000, 9),
    ]


def test_a_section_does_not_change_the_defaults_it_began_with():
    config = compiled(
        "defaults\n option tcpka\n default-server weight 5\n log stdout local0\n tcp-check send a\n"
        "backend a\n no option srvtcpka\n default-server weight 7\n no log\n option tcp-check\n tcp-check send b\n"
        " server s 10.0.0.1\n"
        "backend b\n option tcp-check\n server s 10.0.0.1\n"
    )
    first, second = config.proxies
    assert (first.server_options.keepalive, second.server_options.keepalive) == (False, True)
    assert (first.servers[0].weight, second.servers[0].weight) == (7, 5)
    assert (len(first.logging.targets), len(second.logging.targets)) == (0, 1)
    assert [step.data for step in first.check_steps] == [b"b"]
    assert [step.data for step in second.check_steps] == [b"a"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("frontend f from x\n bind :1\n", [(1, "defaults section 'x' not found for frontend 'f'.")]),
        (
            "defaults a\ndefaults a\nbackend b from a\n",
            [
                (
                    3,
                    "ambiguous defaults section name 'a' referenced by backend 'b' exists at least at t.cfg:1 "
                    "and t.cfg:2.",
                )
            ],
        ),
        ("frontend\n", [(1, "'frontend' expects an <id> argument")]),
        ("backend b!\n", [(1, "character '!' is not permitted in 'backend' name 'b!'.")]),
        ("global x\n", [(1, "'global' cannot handle unexpected argument 'x'.")]),
        ("bind :1\n", [(1, "unknown keyword 'bind' out of section.")]),
        ("peers p\n peer a 10.0.0.1:1\n", [(1, "section 'peers' is not supported yet.")]),
        (
            "frontend f\n bind :1\nlisten f\n bind :2\n",
            [(3, "proxy 'f' has the same name as frontend 'f' declared at t.cfg:1.")],
        ),
    ],
)
def test_wrong_headers(text, found):
    assert alerts(text) == found


def test_a_frontend_and_a_backend_may_share_a_name():
    config = compiled(QUIET + "frontend x\n bind :1\n default_backend x\nbackend x\n server s 10.0.0.1:1\n")
    assert config.proxies[0].default_backend == "x"
    assert config.proxy("x", backend=True).is_backend


def test_all_errors_of_all_files_are_told_at_once():
    first = "frontend f\n bind 127.0.0.1:0\n foo\n default_backend nope\n"
    second = "backend b\n server s 10.0.0.1 chek\n balance leastcon\n"
    found = load([("one.cfg", first), ("two.cfg", second)], world())
    blamed = [str(entry.origin) for entry in found.diagnostics.found if entry.severity.value == "ALERT"]
    assert blamed == ["one.cfg:2", "one.cfg:3", "two.cfg:2", "two.cfg:3", "one.cfg:4"]
    assert found.config is None


def test_a_table_that_a_rule_stores_in_tells_servers():
    def stores(table, rule):
        text = f"backend t\n stick-table type ip size 10{table}\nbackend b\n server s 127.0.0.1:1\n stick {rule}\n"
        return [store.name for store in compiled(text).proxies[0].stick_table.stores]

    assert stores("", "on src table t") == ["server_id", "server_key"]
    assert stores(" store conn_cnt,server_key", "store-request src table t") == ["conn_cnt", "server_key", "server_id"]
    assert stores(" store conn_cnt", "match src table t") == ["conn_cnt"]


def test_a_mistyped_header_is_recognised():
    (entry, *_) = outcome("defaults\nfronted f\n").diagnostics.found
    assert entry.suggestion == "frontend"


def test_a_byte_order_mark_is_named():
    (entry, *_) = outcome("\ufeffdefaults\n").diagnostics.found
    assert (entry.origin.line, entry.text, entry.suggestion) == (
        1,
        "the file begins with a byte order mark: save it as UTF-8 without one (BOM).",
        "",
    )


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ("10.0.0.1:21", "10.0.0.1:21", "10.0.0.1:21"),
        ("10.0.0.1:21", "10.0.0.1:20-22", "10.0.0.1:21"),
        (":21", "*:21", "0.0.0.0:21"),
        ("[::1]:21", "::1:21", "::1:21"),
        ("/run/x.sock", "unix@/run/x.sock", "/run/x.sock"),
        ("10.0.0.1:21", "10.0.0.2:21", ""),
        ("10.0.0.1:21", ":21", ""),
        ("10.0.0.1:21", "10.0.0.1:22", ""),
        ("10.0.0.1:21 interface eth0", "10.0.0.1:21 interface eth1", ""),
    ],
)
def test_what_two_binds_want_is_told(first, second, told):
    begin = "defaults\n timeout client 1m\n timeout server 1m\n timeout connect 5s\n"
    text = f"{begin}listen a\n bind {first}\nlisten b\n bind {second}\n"
    wanted = (
        f"proxy 'b' : proxy 'a' binds {told} already (t.cfg:6), and nothing tells which of the two a client is for."
    )
    assert warnings(text) == ([(8, wanted)] if told else [])
    assert warnings(text.replace("listen a\n", "listen a\n disabled\n")) == []


def test_pools_may_share_their_ports():
    begin = "defaults\n mode ftp\n timeout client 1m\n timeout server 1m\n timeout connect 5s\n"
    text = begin + "".join(f"listen {port}\n bind :{port}\n bind :50000-50010\n" for port in (21, 2121))
    assert warnings(text) == []
    assert (
        len(
            warnings(
                text + " option ftp-auth-tls pass\nlisten x\n bind :3\n bind :50010-50020\n option ftp-auth-tls pass\n"
            )
        )
        == 1
    )


def test_errors_name_the_word_and_suggest():
    (entry,) = outcome("backend b\n server s 10.0.0.1 chek\n").diagnostics.found
    assert (entry.source[entry.column - 1 : entry.column - 1 + entry.width], entry.suggestion) == ("chek", "check")


# --- environment --------------------------------------------------------------------------------------------------


def test_setenv_is_seen_by_the_lines_below_and_given_to_the_model():
    config = compiled(
        "global\n setenv PORT 2121\n presetenv PORT 1\n presetenv HOST 10.0.0.9\n unsetenv GONE\n"
        + QUIET
        + 'listen l\n bind ":${PORT}"\n server s "${HOST}${GONE}:21"\n',
        environment={"GONE": "x", "PATH": "/bin"},
    )
    assert config.proxies[0].binds[0].ports == PortRange(2121, 2121)
    assert config.proxies[0].servers[0].endpoint.host == "10.0.0.9"
    assert dict(config.settings.environment) == {
        "PORT": "2121",
        "HOST": "10.0.0.9",
        "PATH": "/bin",
        "HAPROXY_LOCALPEER": "balancer",
    }


@pytest.mark.parametrize(("flag", "known", "told"), [("", "a", []), ("b", "b", ["'localpeer' ignored since it is"])])
def test_the_lines_below_localpeer_know_it_unless_the_command_line_said_another(flag, known, told):
    text = 'global\n localpeer a\n node "${HAPROXY_LOCALPEER}"\n'
    settings = compiled(text, localpeer=flag).settings
    assert (settings.localpeer, settings.node) == (known, known)
    assert [entry.text[:31] for entry in outcome(text, localpeer=flag).diagnostics.found] == told


def test_the_environment_travels_only_when_it_was_edited():
    assert compiled("global\n daemon\n", environment={"A": "b"}).settings.environment == ()


def test_resetenv_keeps_what_it_names():
    config = compiled("global\n resetenv KEEP\n", environment={"KEEP": "1", "DROP": "2"})
    assert config.settings.environment == (("KEEP", "1"),)


# --- ids ----------------------------------------------------------------------------------------------------------


def test_ids_are_those_of_haproxy():
    """As seen in `show stat` of 2.6.12: each takes the next free id, and moves the counter on even if it has one."""
    config = compiled(
        QUIET + "backend b1\n server s1 127.0.0.1:1\n server s2 127.0.0.1:2 id 1\n server s3 127.0.0.1:3\n"
        " server-template t 3-4 127.0.0.1:9\n"
        "frontend f1\n bind 127.0.0.1:21001-21003\n bind 127.0.0.1:21010,127.0.0.1:21011 name x\n"
        " bind 127.0.0.1:21012 id 2\n bind 127.0.0.1:21013\n default_backend b1\n"
        "listen l1\n id 2\n bind 127.0.0.1:21020\n server z 127.0.0.1:1\n"
        "listen l2\n bind 127.0.0.1:21021\n disabled\n"
        "listen l3\n bind 127.0.0.1:21022\n"
    )
    assert [proxy.id for proxy in config.proxies] == [3, 4, 2, 6, 7]
    assert [(server.name, server.id) for server in config.proxies[0].servers] == [
        ("s1", 2),
        ("s2", 1),
        ("s3", 4),
        ("t3", 5),
        ("t4", 6),
    ]
    assert [
        (port, bind.first_id + port - bind.ports.low)
        for bind in config.proxies[1].binds
        for port in range(bind.ports.low, bind.ports.high + 1)
    ] == [(21001, 1), (21002, 3), (21003, 4), (21010, 5), (21011, 6), (21012, 2), (21013, 8)]


def test_fullconn_is_a_tenth_of_the_frontends_that_lead_here():
    text = QUIET + "frontend a\n bind :1\n maxconn 105\n default_backend b\nfrontend c\n bind :2\n default_backend b\n"
    text += "backend b\n server s 10.0.0.1:1\n"
    assert compiled("global\n maxconn 1000\n" + text).proxy("b").fullconn == 111
    assert compiled(text).proxy("b").fullconn == 0
    assert compiled(text + " fullconn 7\n").proxy("b").fullconn == 7


# --- references ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "line", "text"),
    [
        ("frontend f\n bind :1\n default_backend g\n", 7, "Proxy 'f': unable to find required default_backend: 'g'."),
        ("listen l\n bind :1\n default_backend l\n", 7, "Proxy 'l': loop detected for default_backend: 'l'."),
        ("backend b\n stick on src\n", 6, "Proxy 'b': unable to find stick-table 'b'."),
        ("backend b\n stick on src table t\n", 6, "Proxy 'b': unable to find stick-table 't'."),
        (
            "backend b\n stick-table type integer size 1k\n stick on ipv6(::1)\n",
            7,
            "Proxy 'b': type of fetch not usable with type of stick-table 'b'.",
        ),
        (
            "backend b\n server s 10.0.0.1:1\n server s 10.0.0.1:2\n",
            7,
            "backend 'b', another server named 's' was already defined at line 6, please use distinct names.",
        ),
        (
            "backend b\n server s 10.0.0.1 check\n",
            6,
            "config: backend 'b': server 's' has neither service port nor check port.",
        ),
        (
            "backend b\n server s 10.0.0.1:+2 check\n",
            6,
            "config: backend 'b': server 's' has neither service port nor check port.",
        ),
        (
            "backend b\n option tcp-check\n tcp-check connect\n server s 10.0.0.1 check\n",
            8,
            "config: backend 'b': server 's' has neither service port nor check port nor tcp_check rule 'connect' "
            "with port information.",
        ),
        (
            "backend b\n server s 10.0.0.1:1 track x/y\n",
            6,
            "'server b/s' : unable to find required proxy 'x' for tracking.",
        ),
        (
            "backend b\n server s 10.0.0.1:1 track y\n",
            6,
            "'server b/s' : unable to find required server 'y' for tracking.",
        ),
        (
            "backend b\n server s 10.0.0.1:1 track y\n server y 10.0.0.1:1\n",
            6,
            "'server b/s' : unable to use b/y for tracking as it does not have any check nor agent enabled.",
        ),
        (
            "backend b\n server s 10.0.0.1:1 track t\n server t 10.0.0.1:1 track s\n",
            7,
            "'server b/t' : unable to track b/s as it belongs to a tracking chain looping back to b/t.",
        ),
        (
            "backend b\n option external-check\n external-check command /bin/true\n",
            5,
            "Proxy 'b' : 'option external-check' unable to find required 'global.external-check'.",
        ),
        ("frontend f\n bind :1\n log-format %zz\n", 7, "failed to parse log-format : no such format variable 'zz'"),
        (
            "listen l\n bind :1\n mode http\n",
            7,
            "proxy 'l' : 'mode http' is for statistics only here, but there is no 'stats' line.",
        ),
        (
            "backend a\n id 7\nbackend b\n id 7\n",
            8,
            "backend 'b' reuses same custom id as backend 'a' (declared at t.cfg:5).",
        ),
    ],
)
def test_wrong_references(body, line, text):
    assert (line, text) in alerts(QUIET + body)


def test_a_wrong_line_is_not_told_a_second_time():
    found = alerts(
        QUIET + "listen l\n bind :1 nam x\n stick-table type foo size 1\n stick on src\n"
        " server s 10.0.0.1 foo\n server t 10.0.0.1:1 track s\n"
    )
    assert [line for line, _ in found] == [6, 7, 9]
    assert warnings(QUIET + "listen l\n bind :1 nam x\n") == []


@pytest.mark.parametrize(
    ("body", "line", "text"),
    [
        (
            "listen l\n bind :1\n tcp-check connect\n",
            5,
            "proxy 'l' uses tcp-check rules without 'option tcp-check', so the rules are ignored.",
        ),
        (
            "frontend f\n",
            5,
            "frontend 'f' has no 'bind' directive. Please declare it as a backend if this was intended.",
        ),
        ("listen l\n bind :1\n cookie x\n", 7, "cookie will be ignored for proxy 'l' (needs 'mode http')."),
        (
            "listen l\n bind :1\n balance uri\n",
            7,
            "Layer 7 hash not possible for proxy 'l' (needs 'mode http'). Falling back to round robin.",
        ),
        (
            "listen l\n bind :1\n option forwardfor\n",
            7,
            "'option forwardfor' ignored for proxy 'l' as it requires HTTP mode.",
        ),
        (
            "listen l\n bind :1\n http-request deny\n",
            7,
            "'http-request' rules ignored for proxy 'l' as they require HTTP mode.",
        ),
        (
            "listen l\n bind :1\n server s 10.0.0.1:1 cookie c\n",
            7,
            "proxy 'l' : ignoring cookie for server 's' as HTTP mode is disabled.",
        ),
        (
            "frontend f\n bind :1\n retries 3\n",
            7,
            "'retries' ignored because frontend 'f' has no backend capability.",
        ),
        (
            "backend b\n maxconn 3\n",
            6,
            "'maxconn' ignored because backend 'b' has no frontend capability. Maybe you want 'fullconn' instead ?",
        ),
        ("backend b\n option tcplog\n", 6, "backend 'b' : 'option tcplog' directive is ignored in backends."),
        (
            "frontend f\n bind :1\n timeout client 1s\n timeout client 2s\n",
            8,
            "overwriting 'timeout client' which was already specified",
        ),
    ],
)
def test_warnings(body, line, text):
    assert (line, text) in warnings(QUIET + body)
    assert outcome(QUIET + body).config is not None


def test_tracking_another_backends_server():
    config = compiled(
        QUIET + "backend control\n server s 10.0.0.1:21 check\nbackend data\n server s 10.0.0.1 track control/s\n"
    )
    assert config.proxy("data").servers[0].track == "control/s"


def test_a_check_port_from_the_script_will_do():
    config = compiled(QUIET + "backend b\n option tcp-check\n tcp-check connect port 21\n server s 10.0.0.1 check\n")
    assert config.proxies[0].check_kind is CheckKind.TCP_SCRIPT
    assert config.proxies[0].check_steps[0].port == 21


@pytest.mark.parametrize("address", ["[::]:21", ":::21", "[2001:db8::1]:21", "ipv6@name:21"])
def test_an_ipv4_table_before_an_ipv6_bind_is_warned_of(address):
    text = (
        QUIET
        + f"frontend f\n bind {address}\n default_backend b\nbackend b\n stick-table type ip size 1k\n stick on src\n"
    )
    ((line, said),) = warnings(text)
    assert line == 9
    assert "type ipv6" in said
    assert warnings(text.replace("type ip ", "type ipv6 ")) == []
    assert warnings(text.replace("stick on src", "stick on src_port")) == []


def test_no_listener():
    found = outcome(QUIET + "listen l\n bind :1\n disabled\n")
    assert found.config is not None
    assert not found.has_listener


def test_what_is_disabled_is_not_judged():
    assert outcome("frontend f\n disabled\n default_backend nope\n").diagnostics.found == []


def test_relative_paths_begin_where_the_process_does():
    settings = compiled("global\n chroot jail\n pidfile ../run/p.pid\n").settings
    assert (settings.chroot, settings.pidfile) == ("/etc/pasvport/jail", "/etc/run/p.pid")


def test_the_command_line_wins():
    settings = compiled("global\n maxconn 5\n localpeer a\n", maxconn=9, localpeer="b").settings
    assert (settings.maxconn, settings.localpeer) == (9, "b")


# --- what only HTTP obeys -----------------------------------------------------------------------------------------


def test_the_defaults_of_an_http_balancer_are_as_quiet_as_in_haproxy():
    """Debian's defaults section, with TCP proxies below it."""
    text = (
        QUIET + " log global\n mode http\n option dontlognull\n errorfile 400 /etc/errors/400.http\n http-reuse safe\n"
    )
    text += "listen l\n mode tcp\n bind :1\n"
    assert warnings(text) == []


def test_http_keywords_of_a_tcp_proxy_itself_are_told():
    ((line, text),) = warnings(QUIET + "listen l\n bind :1\n errorfile 400 /x\n")
    assert (line, text) == (7, "'errorfile' ignored for proxy 'l' as it requires HTTP mode.")


def test_http_keywords_concern_their_side_only():
    text = QUIET + " cookie x\n monitor-uri /x\nfrontend f\n bind :1\nbackend b\n"
    assert [said for _, said in warnings(text)] == [
        "monitor-uri will be ignored for frontend 'f' (needs 'mode http').",
        "cookie will be ignored for backend 'b' (needs 'mode http').",
    ]


def test_an_http_algorithm_that_was_replaced_is_forgotten():
    text = QUIET + " balance uri\nbackend b\n balance leastconn\n"
    assert warnings(text) == []
    assert compiled(text).proxies[0].balance.algorithm is Algorithm.LEASTCONN


def test_httplog_falls_back_to_tcplog():
    text = "global\n log stdout local0\n" + QUIET + "frontend f\n bind :1\n log global\n option httplog\n"
    ((line, said),) = warnings(text)
    assert line == 10
    assert said == "'option httplog' not usable with frontend 'f' (needs 'mode http'). Falling back to 'option tcplog'."
    assert compiled(text).proxies[0].logging.format == compiled(text.replace("http", "tcp")).proxies[0].logging.format


def test_fullconn_is_filled_in_once_the_process_knows_its_maxconn():
    config = compiled(QUIET + "listen l\n bind :1\nfrontend f\n bind :2\n default_backend l\n", frontend_maxconn=0)
    assert config.proxy("l").fullconn == 0
    known = fill_fullconn(replace(config, settings=replace(config.settings, maxconn=101)))
    assert known.proxy("l").fullconn == 21
    assert known.proxy("f").fullconn == 0


def test_the_command_line_may_give_frontends_a_maxconn():
    config = compiled(QUIET + "listen l\n bind :1\nlisten m\n bind :2\n maxconn 7\n", frontend_maxconn=50)
    assert [(proxy.maxconn, proxy.fullconn) for proxy in config.proxies] == [(50, 5), (7, 1)]
