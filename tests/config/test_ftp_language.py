"""The language of `mode ftp`: what is accepted and what it compiles to, what is refused, what is warned of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiling import alerts, compiled, outcome, warnings
from pasvport.address import Network, PortRange
from pasvport.config.diagnostics import Speaker, render
from pasvport.config.fullconn import fill_fullconn
from pasvport.config.keywords import words
from pasvport.config.keywords_option import FTP_TRANSFER_FORMAT, FTPLOG_FORMAT, TCPLOG_FORMAT
from pasvport.config.maps import parse_map
from pasvport.errors import ConfigError
from pasvport.model import (
    Advertise,
    AuthTls,
    CheckKind,
    Converter,
    Expression,
    Ftp,
    FtpCheck,
    FtpCheckAction,
    FtpCheckMode,
    FtpPassive,
    LogFormat,
    MapFile,
    Mode,
    Origin,
    UseRule,
)

PAGE = """\
global
    log 127.0.0.1 local0
defaults
    timeout client 1m
    timeout server 1m
    timeout connect 5s
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
QUIET = "defaults\n mode ftp\n timeout client 1m\n timeout server 1m\n timeout connect 5s\n"
FARM = "listen l\n bind 10.0.0.1:21\n bind 10.0.0.1:50000-50010\n server s1 10.0.1.1:21\n server s2 10.0.1.2:21\n"
"""Lines 6 to 10; what a test adds begins on line 11."""
ADDED = 11


def farm(*lines, head=QUIET):
    return head + FARM + "".join(f" {line}\n" for line in lines)


def listened(*binds, lines=()):
    added = "".join(f" {line}\n" for line in (*(f"bind {bind}" for bind in binds), *lines))
    return f"{QUIET}listen l\n server s 10.0.1.1:21\n{added}"


def files(**texts):
    """A world with files in its directory."""

    def read(path):
        name = path.removeprefix("/etc/pasvport/")
        if name not in texts:
            raise ConfigError("No such file or directory")
        return texts[name]

    return {"read_file": read}


def ftp_of(*lines):
    found = outcome(farm(*lines))
    assert found.config is not None, found.diagnostics.found
    assert not found.diagnostics.has_warnings, found.diagnostics.found
    return found.config.proxies[0].ftp


# --- the page -----------------------------------------------------------------------------------------------------


def test_one_word_makes_the_page_a_farm_of_sessions():
    text = PAGE.replace("mode tcp", "mode ftp")
    assert outcome(text).diagnostics.found == []
    frontend, backend = compiled(text).proxies
    assert frontend.mode is backend.mode is Mode.FTP
    assert [bind.data for bind in frontend.binds] == [False, True]
    assert frontend.ftp == Ftp()
    assert frontend.logging.format == TCPLOG_FORMAT
    assert frontend.logging.transfer_format is None
    assert (frontend.timeouts.ftp_data, frontend.timeouts.ftp_transfer) == (None, None)


def test_the_same_text_in_mode_tcp_has_no_pool():
    assert [bind.data for bind in compiled(PAGE).proxies[0].binds] == [False, False]


@pytest.mark.parametrize(
    ("modes", "line", "text"),
    [
        (("tcp", "ftp"), 13, "tcp frontend 'ftp_fe' (t.cfg:7) tries to use incompatible ftp backend 'ftp_servers' "),
        (("ftp", "tcp"), 13, "ftp frontend 'ftp_fe' (t.cfg:7) tries to use incompatible tcp backend 'ftp_servers' "),
    ],
)
def test_both_sides_must_be_changed(modes, line, text):
    front, back = modes
    text += "(t.cfg:14) as its default backend (see 'mode')."
    page = PAGE.replace("mode tcp", f"mode {front}", 1).replace("mode tcp\n    balance", f"mode {back}\n    balance")
    assert alerts(page) == [(line, text)]


# --- binds --------------------------------------------------------------------------------------------------------


def test_data_makes_any_bind_a_pool():
    config = compiled(listened(":21", ":20000 data", ":50000-50001"))
    assert [(bind.ports, bind.data) for bind in config.proxies[0].binds] == [
        (PortRange(21, 21), False),
        (PortRange(20000, 20000), True),
        (PortRange(50000, 50001), True),
    ]


def test_one_line_can_give_control_and_pool():
    (proxy,) = compiled(listened("10.0.0.1:21,10.0.0.1:50000-50009")).proxies
    assert [bind.data for bind in proxy.binds] == [False, True]


def test_a_pool_that_ids_cut_in_two_is_two_pools():
    binds = compiled(listened("10.0.0.1:21 id 3", "10.0.0.1:50000-50005")).proxies[0].binds
    assert [(str(bind.ports), bind.data) for bind in binds] == [
        ("21", False),
        ("50000", True),
        ("50001-50005", True),
    ]


def test_advertise():
    words = "advertise 192.168.0.1 for 192.168.7.9/16 advertise 10.9.9.9 for 2001:db8::/32 advertise 203.0.113.7"
    found = compiled(listened("10.0.0.1:21", f"10.0.0.1:5000-5001 {words}")).proxies[0].binds[1].advertise
    assert found == (
        Advertise("192.168.0.1", Network("192.168.0.0/16")),
        Advertise("10.9.9.9", Network("2001:db8::/32")),
        Advertise("203.0.113.7"),
    )


def test_a_name_can_be_advertised_and_one_address_is_a_network():
    bind = compiled(listened(":21", ":5000-5001 advertise ftp.example.com for 10.0.0.1")).proxies[0].binds[1]
    assert bind.advertise == (Advertise("ftp.example.com", Network("10.0.0.1/32")),)


def test_advertise_takes_a_variable():
    text = listened(":21", ':5000-5001 advertise "${PUBLIC}"')
    assert compiled(text, environment={"PUBLIC": "203.0.113.7"}).proxies[0].binds[1].advertise[0].host == "203.0.113.7"


@pytest.mark.parametrize(
    ("bind", "text"),
    [
        (":5000 advertise", "'advertise' : missing IPv4 address"),
        (":5000 advertise 2001:db8::1", "'advertise' : '2001:db8::1' is not an IPv4 address that PASV could tell"),
        (":5000 advertise 0.0.0.0", "'advertise' : '0.0.0.0' is not an IPv4 address that PASV could tell"),
        (":5000 advertise 203.0.113", "'advertise' : '203.0.113' is not an IPv4 address that PASV could tell"),
        (":5000 advertise 1.2.3.4:21", "'advertise' : port specification not permitted here in '1.2.3.4:21'"),
        (":5000 advertise 1.2.3.4 for", "'advertise' : missing network after 'for'"),
        (":5000 advertise 1.2.3.4 for 10.0.0.0/33", "'advertise' : '10.0.0.0/33' is not an IPv4 or IPv6 network"),
        ("/run/ftp.sock data", "'data' : an address without ports cannot be a pool of data ports"),
        ("fd@3 advertise 1.2.3.4", "'advertise' : an address without ports cannot be a pool of data ports"),
        (":5000 dat", "unknown keyword 'dat'"),
    ],
)
def test_wrong_pools(bind, text):
    address = bind.split()[0]
    assert alerts(listened(":21", bind)) == [(9, f"'bind {address}' in section 'listen' : {text}")]


def test_pools_need_mode_ftp():
    text = "listen l\n bind :21\n bind :50000-50001 data advertise 10.0.0.1\n mode tcp\n"
    assert alerts(text) == [
        (3, "proxy 'l' : 'data' of a 'bind' line needs 'mode ftp', not 'mode tcp'."),
        (3, "proxy 'l' : 'advertise' of a 'bind' line needs 'mode ftp', not 'mode tcp'."),
    ]


def test_a_frontend_needs_a_pool():
    text = "proxy 'l' has no data ports: 'mode ftp' needs a 'bind' line with a range of ports, or with 'data'."
    assert alerts(listened(":21")) == [(6, text)]
    active = listened(":21", lines=["option ftp-active"])
    assert alerts(active) == []
    assert warnings(active) == [(6, f"{text} Without, only clients that use PORT or EPRT can transfer.")]


def test_a_pool_needs_a_control_bind():
    text = "proxy 'l' has data ports only: 'mode ftp' needs a 'bind' line with one port, without 'data'."
    assert alerts(listened(":50000-50010")) == [(8, text)]


def test_one_mistake_is_not_told_twice():
    assert alerts(listened(":21", ":50000-50010 bogus")) == [
        (9, "'bind :50000-50010' in section 'listen' : unknown keyword 'bogus'")
    ]
    assert [text for _, text in warnings(f"{QUIET}frontend f\n")] == [
        "frontend 'f' has no 'bind' directive. Please declare it as a backend if this was intended."
    ]


def test_a_unix_address_can_be_a_control_bind_but_no_pool():
    (proxy,) = compiled(listened("/run/ftp.sock", ":50000-50001")).proxies
    assert [bind.data for bind in proxy.binds] == [False, True]


def test_a_control_port_is_in_no_pool():
    text = "proxy 'l' : port 2121 is that of control connections and in a pool of data ports."
    assert alerts(listened("10.0.0.1:2121", ":2000-3000")) == [(8, text)]
    assert alerts(listened("10.0.0.1:2121", "10.0.0.2:2000-3000 advertise 10.0.0.2")) == []


@pytest.mark.parametrize(("said", "count"), [("user nobody", 1), ("uid 65534", 1), ("uid 0", 0), ("maxconn 10", 0)])
def test_an_ordinary_user_cannot_lease_low_ports(said, count):
    found = warnings(f"global\n {said}\n" + listened(":21", ":1000-1100"))
    assert len(found) == count
    assert all(line == 11 and "data ports below 1024 are bound when they are leased" in text for line, text in found)


@pytest.mark.parametrize(("said", "count"), [("user nobody", 1), ("uid 0", 0)])
def test_an_ordinary_user_cannot_lease_transparent_ports(said, count):
    found = warnings(f"global\n {said}\n" + listened(":21", ":50000-50010 transparent"))
    assert len(found) == count
    assert all(line == 11 and "'transparent' needs CAP_NET_ADMIN then" in text for line, text in found)


def test_what_the_supervisor_binds_may_be_privileged():
    text = "global\n user nobody\n" + listened(":21", ":1000-1100 transparent", lines=["option ftp-auth-tls pass"])
    assert not [found for found in warnings(text) if "ordinary user" in found[1]]


@pytest.mark.parametrize("control", ["/run/ftp.sock", "abns@ftp"])
def test_clients_without_a_network_address_cannot_transfer(control):
    (found,) = warnings(listened(control, "10.0.0.1:50000-50010"))
    assert found[0] == 8
    assert "no data port can be opened for them" in found[1]
    assert warnings(listened("fd@3", "10.0.0.1:50000-50010")) == []


@pytest.mark.parametrize(
    ("control", "pool", "count"),
    [
        ("10.0.0.1:21", "10.0.0.1:50000-50010", 0),
        ("10.0.0.1:21", ":50000-50010", 0),
        (":21", "10.0.0.1:50000-50010", 0),
        ("10.0.0.1:21", "10.0.0.2:50000-50010", 1),
        ("10.0.0.1:21", "10.0.0.2:50000-50010 advertise 203.0.113.7", 0),
        ("10.0.0.1:21 advertise 203.0.113.7", "10.0.0.2:50000-50010", 0),
        ("ftp.example.com:21", "10.0.0.2:50000-50010", 0),
        (":::21", "10.0.0.2:50000-50010 data", 1),
        ("2001:db8::1:21,10.0.0.1:21", "10.0.0.1:50000-50010", 1),
        ("2001:db8::1:21", ":::50000-50010", 0),
    ],
)
def test_clients_must_reach_the_pool(control, pool, count):
    assert len(warnings(listened(control, pool))) == count


def test_what_a_client_that_uses_epsv_would_miss_is_told():
    assert warnings(listened("10.0.0.1:21", "10.0.0.2:50000-50010")) == [
        (
            9,
            "proxy 'l' : no control connection is made to 10.0.0.2, but clients that use EPSV open data connections to "
            "the address they dialled. Bind the pool there, or say 'advertise'.",
        )
    ]
    assert warnings(listened("10.0.0.1:21", "2001:db8::1:21", "10.0.0.1:50000-50010")) == [
        (9, "proxy 'l' : the IPv6 clients of this 'bind' have no pool of data ports with IPv6.")
    ]


@pytest.mark.parametrize(
    ("binds", "word"),
    [
        ((":21", ":50000-50010 maxconn 5"), "maxconn"),
        ((":21", ":50000-50010 backlog 5"), "backlog"),
        ((":21", ":50000-50010 defer-accept"), "defer-accept"),
        ((":21 defer-accept", ":50000-50010"), "defer-accept"),
    ],
)
def test_options_without_sense_are_told(binds, word):
    (found,) = warnings(listened(*binds))
    assert f"'{word}'" in found[1]


def test_options_of_control_binds_have_sense():
    assert warnings(listened(":21 maxconn 5 backlog 5", ":50000-50010")) == []


def test_nolinger_could_cut_a_transfer():
    assert [line for line, _ in warnings(farm("option nolinger"))] == [6]


# --- keywords -----------------------------------------------------------------------------------------------------

WELL_SAID = [
    ("ftp-data-peer strict", {}),
    ("ftp-data-peer any", {"data_peer_ipv4": 0, "data_peer_ipv6": 0}),
    ("ftp-data-peer network", {"data_peer_ipv4": 24, "data_peer_ipv6": 64}),
    ("ftp-data-peer network /20", {"data_peer_ipv4": 20, "data_peer_ipv6": 64}),
    ("ftp-data-peer network /16 /48", {"data_peer_ipv4": 16, "data_peer_ipv6": 48}),
    ("ftp-data-host any", {"trust_named_host": True}),
    ("ftp-data-host server", {}),
    ("option ftp-active", {"active": True}),
    ("no option ftp-active", {}),
    ("option ftp-auth-tls refuse", {}),
    ("ftp-greeting Welcome to FTP", {"greeting": "Welcome to FTP"}),
    ('ftp-greeting "Hello,  you"', {"greeting": "Hello,  you"}),
    ("ftp-deny-commands site Dele SITE", {"denied": ("SITE", "DELE")}),
    ("ftp-max-line 512", {"max_line": 512}),
    ("ftp-max-line 65536", {"max_line": 65536}),
    ("ftp-login-limit 5 60s", {"login_limit": 5, "login_limit_period": 60_000}),
    (
        "ftp-login-limit 5 1m delay 500",
        {"login_limit": 5, "login_limit_period": 60_000, "login_limit_delay": 500},
    ),
    ("ftp-login-limit 0 1s", {"login_limit_period": 1000}),
    (
        "ftp-login-limit 5 1s ipmask 24",
        {"login_limit": 5, "login_limit_period": 1000, "login_limit_ipv4": 24},
    ),
    (
        "ftp-login-limit 5 1s delay 0 ipmask 255.255.0.0,56",
        {
            "login_limit": 5,
            "login_limit_period": 1000,
            "login_limit_delay": 0,
            "login_limit_ipv4": 16,
            "login_limit_ipv6": 56,
        },
    ),
    ("ftp-drain-idle 1m", {"drain_idle": 60_000}),
    ("ftp-drain-idle 250", {"drain_idle": 250}),
    ("ftp-drain-idle never", {"drain_idle": 0}),
]


@pytest.mark.parametrize(("line", "fields"), WELL_SAID)
def test_keywords(line, fields):
    assert ftp_of(line) == Ftp(**fields)


def test_denied_commands_add_up():
    assert ftp_of("ftp-deny-commands SITE", "ftp-deny-commands RMD SITE").denied == ("SITE", "RMD")


def test_defaults_are_inherited_and_overridden():
    head = QUIET + " option ftp-active\n ftp-max-line 1000\n ftp-data-peer any\n"
    text = head + FARM + " no option ftp-active\n ftp-data-peer strict\n"
    assert compiled(text).proxies[0].ftp == Ftp(max_line=1000)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("ftp-data-peer", "'ftp-data-peer' expects 'strict', 'network' or 'any'."),
        ("ftp-data-peer none", "'ftp-data-peer' expects 'strict', 'network' or 'any', got 'none'."),
        (
            "ftp-data-peer network /33",
            "'ftp-data-peer network' expects a prefix length of 1 to 32 for IPv4, got '/33'.",
        ),
        (
            "ftp-data-peer network /8 /129",
            "'ftp-data-peer network' expects a prefix length of 1 to 128 for IPv6, got '/129'.",
        ),
        ("ftp-data-peer network 0", "'ftp-data-peer network' expects a prefix length of 1 to 32 for IPv4, got '0'."),
        ("ftp-data-peer network /8 /8 /8", "'ftp-data-peer' cannot handle unexpected argument '/8'."),
        ("ftp-data-peer any x", "'ftp-data-peer' cannot handle unexpected argument 'x'."),
        ("ftp-data-host", "'ftp-data-host' expects 'server' or 'any'."),
        ("ftp-data-host client", "'ftp-data-host' expects 'server' or 'any', got 'client'."),
        ("ftp-data-host any x", "'ftp-data-host' cannot handle unexpected argument 'x'."),
        ("option ftp-active x", "'option ftp-active' cannot handle unexpected argument 'x'."),
        ("option ftp-auth-tls", "'option ftp-auth-tls' expects 'pass' or 'refuse'."),
        ("option ftp-auth-tls maybe", "'option ftp-auth-tls' expects 'pass' or 'refuse', got 'maybe'."),
        ("no option ftp-auth-tls", "negation/default is not supported for option 'ftp-auth-tls'."),
        ("option ftp-xferlog", "'option ftp-xferlog' expects a file."),
        ("option ftp-xferlog ''", "'option ftp-xferlog' expects a file."),
        ("option ftplog x", "'option ftplog' cannot handle unexpected argument 'x'."),
        ("ftp-greeting", "'ftp-greeting' expects a text."),
        ("ftp-greeting ' '", "'ftp-greeting' expects a text."),
        ('ftp-greeting "a\\r\\n230 b"', "control characters are not permitted in 'ftp-greeting'."),
        ("ftp-deny-commands", "'ftp-deny-commands' expects at least one command."),
        (
            "ftp-deny-commands RE-TR",
            "'ftp-deny-commands' : 'RE-TR' is not an FTP command, which is 3 to 8 letters.",
        ),
        ("ftp-deny-commands quit", "'ftp-deny-commands' : without 'QUIT' there is no FTP session."),
        ("ftp-max-line", "'ftp-max-line' expects a number of bytes from 512 to 65536."),
        ("ftp-max-line 511", "'ftp-max-line' expects a number of bytes from 512 to 65536, got '511'."),
        ("ftp-max-line 4k", "'ftp-max-line' expects a number of bytes from 512 to 65536, got '4k'."),
        (
            "ftp-login-limit 5",
            "'ftp-login-limit' expects a number of failures, a period, and optionally 'delay' and a time, 'ipmask' and "
            "one or two masks.",
        ),
        ("ftp-login-limit x 5s", "'ftp-login-limit' : unexpected character 'x' in integer value 'x'"),
        ("ftp-login-limit 5 0", "'ftp-login-limit' : the period must be more than 0."),
        ("ftp-login-limit 5 soon", "unexpected character 's' in 'ftp-login-limit'"),
        (
            "ftp-login-limit 5 5s after",
            "'ftp-login-limit' expects a number of failures, a period, and optionally 'delay' and a time, 'ipmask' and "
            "one or two masks, got 'after'.",
        ),
        ("ftp-login-limit 5 5s delay", "'ftp-login-limit' : missing time after 'delay'."),
        (
            "ftp-login-limit 5 5s delay 2m",
            "'ftp-login-limit' : a delay of more than 60s would hold too many sessions.",
        ),
        ("ftp-login-limit 5 5s ipmask", "'ftp-login-limit' : missing mask after 'ipmask'."),
        *(
            (
                f"ftp-login-limit 5 5s ipmask {mask}",
                "'ftp-login-limit ipmask' expects a prefix length of 1 to 32 or a netmask for IPv4, then one of 1 to "
                f"128 for IPv6, got '{mask}'.",
            )
            for mask in ("0", "33", "x", "24,", "24,0", "24,129", "255.0.255.0", ",64", "\u00b9")
        ),
        ("ftp-login-limit 5 5s delay 1s x", "'ftp-login-limit' cannot handle unexpected argument 'x'."),
        ("ftp-drain-idle", "'ftp-drain-idle' expects a time or 'never'."),
        ("ftp-drain-idle 0", "'ftp-drain-idle' : the time must be more than 0; 'never' leaves idle sessions alone."),
        ("ftp-drain-idle soon", "'ftp-drain-idle' expects a time or 'never', got 'soon'."),
        ("ftp-drain-idle 5s x", "'ftp-drain-idle' cannot handle unexpected argument 'x'."),
        ("ftp-drain-idle never x", "'ftp-drain-idle' cannot handle unexpected argument 'x'."),
        ("timeout ftp-data", "'timeout ftp-data' expects an integer value (in milliseconds)"),
        ("log-format-transfer", "log-format-transfer expects an argument."),
        ("ftp-dat-peer any", "unknown keyword 'ftp-dat-peer' in 'listen' section"),
    ],
)
def test_wrong_keywords(line, text):
    assert alerts(farm(line)) == [(ADDED, text)]


FRONT_LINES = [
    "ftp-data-peer any",
    "ftp-data-host any",
    "ftp-drain-idle 1m",
    "ftp-greeting hi",
    "ftp-deny-commands SITE",
    "ftp-max-line 1000",
    "ftp-login-limit 5 5s",
    "option ftp-active",
    "option ftp-auth-tls refuse",
    "option ftp-xferlog x",
]


@pytest.mark.parametrize("line", FRONT_LINES)
def test_what_only_mode_ftp_obeys_is_told_elsewhere(line):
    head = QUIET.replace("ftp", "tcp")
    name = " ".join(line.split()[: 2 if line.startswith("option") else 1])
    assert warnings(farm(line, head=head)) == [(ADDED, f"'{name}' ignored for proxy 'l' as it requires FTP mode.")]
    assert compiled(farm(line, head=head)).proxies[0].ftp == Ftp()
    inherited = f"{head} {line}\n{FARM}"
    assert warnings(inherited) == []
    assert compiled(inherited).proxies[0].ftp == Ftp()


@pytest.mark.parametrize("line", FRONT_LINES)
def test_what_is_about_clients_is_ignored_in_backends(line):
    (found,) = warnings(f"{QUIET}backend b\n server s 10.0.0.1:21\n {line}\n")
    assert found[1].endswith("ignored because backend 'b' has no frontend capability.")


def test_times():
    times = (
        compiled(farm("timeout ftp-data 10s", "timeout ftp-transfer 2m", "timeout ftp-login 5s")).proxies[0].timeouts
    )
    assert (times.ftp_data, times.ftp_transfer, times.ftp_login) == (10_000, 120_000, 5_000)
    inherited = farm().replace("defaults\n", "defaults\n timeout ftp-login 7s\n")
    assert compiled(inherited).proxies[0].timeouts.ftp_login == 7_000
    assert [text for _, text in warnings(farm("timeout ftp-data 10s", head=QUIET.replace("ftp", "tcp")))] == [
        "'timeout ftp-data' ignored for proxy 'l' as it requires FTP mode."
    ]


def test_the_tunnel_timeout_stands_for_the_servers_in_mode_ftp_too():
    assert warnings(farm().replace("timeout server", "timeout tunnel")) == []


# --- logs ---------------------------------------------------------------------------------------------------------


def test_ftplog_sets_both_lines():
    logging = compiled(farm("log stdout local0", "option ftplog")).proxies[0].logging
    assert (logging.format, logging.transfer_format) == (FTPLOG_FORMAT, FTP_TRANSFER_FORMAT)


def test_the_line_of_transfers_can_be_told_apart_from_the_sessions():
    logging = compiled(farm("log stdout local0", "option tcplog", 'log-format-transfer "%ci %Xp"')).proxies[0].logging
    assert (logging.format, logging.transfer_format) == (TCPLOG_FORMAT, "%ci %Xp")


def test_tcplog_takes_an_inherited_ftplog_back():
    head = QUIET + " log stdout local0\n option ftplog\n"
    logging = compiled(farm("option tcplog", head=head)).proxies[0].logging
    assert (logging.format, logging.transfer_format) == (TCPLOG_FORMAT, None)
    logging = compiled(farm("log-format %ci", head=head)).proxies[0].logging
    assert (logging.format, logging.transfer_format) == ("%ci", FTP_TRANSFER_FORMAT)
    own = compiled(farm("log-format-transfer %ci", "option tcplog", head=head)).proxies[0].logging
    assert own.transfer_format == "%ci"


def test_ftplog_falls_back_in_mode_tcp():
    text = farm("log stdout local0", "option ftplog", head=QUIET.replace("ftp", "tcp"))
    logging = compiled(text).proxies[0].logging
    assert (logging.format, logging.transfer_format) == (TCPLOG_FORMAT, None)
    assert warnings(text) == [
        (12, "'option ftplog' not usable with proxy 'l' (needs 'mode ftp'). Falling back to 'option tcplog'.")
    ]


def test_a_wrong_format_of_transfers_is_an_error():
    assert alerts(farm("log stdout local0", "log-format-transfer %zz")) == [
        (12, "failed to parse log-format-transfer : no such format variable 'zz'")
    ]


def test_a_format_of_transfers_without_a_target_is_told():
    text = "log format ignored for proxy 'l' since it has no log address."
    assert warnings(farm("log-format-transfer %ci")) == [(ADDED, text)]
    assert warnings(farm("option ftplog")) == [(ADDED, text)]


def test_the_xferlog_begins_where_the_program_was_started():
    assert compiled(farm("option ftp-xferlog logs/xferlog")).proxies[0].logging.xferlog == "/etc/pasvport/logs/xferlog"
    assert compiled(farm("option ftp-xferlog /var/log/xferlog")).proxies[0].logging.xferlog == "/var/log/xferlog"


def test_logs_can_be_json():
    (target,) = compiled(farm("log stdout format json local0")).proxies[0].logging.targets
    assert target.format is LogFormat.JSON


# --- ftp-passive --------------------------------------------------------------------------------------------------


def test_the_way_of_asking_for_ports() -> None:
    proxy = compiled(farm()).proxies[0]
    assert [proxy.passive_of(server) for server in proxy.servers] == [FtpPassive.AUTO] * 2
    proxy = compiled(farm("option ftp-passive pasv", "server s3 10.0.1.3:21 ftp-passive epsv")).proxies[0]
    assert [proxy.passive_of(server) for server in proxy.servers] == [FtpPassive.PASV, FtpPassive.PASV, FtpPassive.EPSV]
    text = farm("default-server ftp-passive pasv", "server s3 10.0.1.3:21", "server s4 10.0.1.4:21 ftp-passive auto")
    proxy = compiled(text).proxies[0]
    ways = [FtpPassive.AUTO, FtpPassive.AUTO, FtpPassive.PASV, FtpPassive.AUTO]
    assert [proxy.passive_of(server) for server in proxy.servers] == ways


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("option ftp-passive", "'option ftp-passive' expects 'epsv', 'pasv' or 'auto'."),
        ("option ftp-passive PORT", "'option ftp-passive' expects 'epsv', 'pasv' or 'auto', got 'PORT'."),
        ("server s3 10.0.1.3:21 ftp-passive x", "'ftp-passive' expects 'epsv', 'pasv' or 'auto', got 'x'."),
    ],
)
def test_bad_ways_of_asking(line: str, text: str) -> None:
    assert [(place, said.rpartition(" : ")[2]) for place, said in alerts(farm(line))] == [(ADDED, text)]


def test_where_the_way_of_asking_means_nothing() -> None:
    lines = ("option ftp-passive pasv", "server s3 10.0.1.3:21 ftp-passive pasv")
    for mode, check, count in (("tcp", (), 2), ("tcp", ("option ftp-check",), 0), ("ftp", (), 0)):
        said = warnings(farm(f"mode {mode}", *lines, *check, head=QUIET.replace("mode ftp", "mode tcp")))
        assert len([text for _, text in said if "ftp-passive' ignored" in text]) == count, (mode, check)
    said = warnings(farm("option ftp-passive pasv", "server s3 [2001:db8::1]:21"))
    assert [text for _, text in said if "EPSV" in text] == [
        "proxy 'l' : server 's3' has an IPv6 address and will be asked with EPSV."
    ]


# --- ftp-check ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["tcp", "ftp"])
@pytest.mark.parametrize(
    ("rest", "check"),
    [
        ("", FtpCheck()),
        ("user u password p", FtpCheck("u", "p")),
        ("user u password p passive", FtpCheck("u", "p", FtpCheckMode.PASSIVE)),
        ("user u password p epsv list", FtpCheck("u", "p", FtpCheckMode.EPSV, FtpCheckAction.LIST)),
        ("user u password p list", FtpCheck("u", "p", FtpCheckMode.NONE, FtpCheckAction.LIST)),
        ("user u password p list /pub", FtpCheck("u", "p", FtpCheckMode.NONE, FtpCheckAction.LIST, "/pub")),
        ("user u password p retr /a", FtpCheck("u", "p", FtpCheckMode.NONE, FtpCheckAction.RETR, "/a")),
        (
            "user passive password list epsv retr list",
            FtpCheck("passive", "list", FtpCheckMode.EPSV, FtpCheckAction.RETR, "list"),
        ),
        ('user u password "${PROBE}" passive', FtpCheck("u", "s3 cret", FtpCheckMode.PASSIVE)),
    ],
)
def test_ftp_checks(mode, rest, check):
    head = QUIET.replace("ftp", mode)
    found = outcome(farm(f"option ftp-check {rest}", head=head), environment={"PROBE": "s3 cret"})
    assert found.config is not None
    assert not found.diagnostics.has_warnings
    assert (found.config.proxies[0].check_kind, found.config.proxies[0].ftp_check) == (CheckKind.FTP, check)


def test_the_last_kind_of_check_counts():
    assert compiled(farm("option tcp-check", "option ftp-check")).proxies[0].check_kind is CheckKind.FTP
    proxy = compiled(farm("option ftp-check", "option tcp-check")).proxies[0]
    assert (proxy.check_kind, proxy.ftp_check) == (CheckKind.TCP_SCRIPT, None)


_CHECK_USAGE = (
    "'option ftp-check' expects [user <user> password <password>] [passive|epsv] [list [<path>]|retr <path>], got "
)


@pytest.mark.parametrize(
    ("rest", "text"),
    [
        ("passive", "'option ftp-check' : 'passive' needs a user and a password."),
        ("list", "'option ftp-check' : 'list' needs a user and a password."),
        ("user", "'option ftp-check' : missing argument after 'user'."),
        ("user u", "'option ftp-check' : 'user' must be followed by 'password'."),
        ("user u pass p", "'option ftp-check' : 'user' must be followed by 'password'."),
        ("user u password", "'option ftp-check' : missing argument after 'password'."),
        ("user u password '' passive", "'option ftp-check' : missing argument after 'password'."),
        ("user u password p retr", "'option ftp-check' : missing argument after 'retr'."),
        ("user u password p list a b", f"{_CHECK_USAGE}'b'."),
        ("user u password p active", f"{_CHECK_USAGE}'active'."),
        ("banner", f"{_CHECK_USAGE}'banner'."),
        ('user "u\\r\\nDELE x" password p', "control characters are not permitted in the user of 'option ftp-check'."),
    ],
)
def test_wrong_ftp_checks(rest, text):
    assert alerts(farm(f"option ftp-check {rest}")) == [(ADDED, text)]


def test_a_mistyped_password_word_shows_no_password():
    found = outcome(farm("option ftp-check user probe pasword s3cret")).diagnostics
    shown = render(found, Speaker(1, "pasvport", "1", "/p"))
    assert "did you mean 'password' maybe ?" in shown
    assert "s3cret" not in shown


def test_a_complaint_about_a_check_does_not_show_its_password():
    diagnostics = outcome(farm('option ftp-check user u password "s3 cret" bogus')).diagnostics
    said = render(diagnostics, Speaker(1, "pasvport", "0", "/usr/bin/pasvport"))
    assert "bogus" in said
    assert "password *********" in said
    assert "cret" not in said


# --- names and keys by user ---------------------------------------------------------------------------------------

USERS = Expression("ftp.user,lower,map(users)", "ftp.user", (), (Converter("lower"), Converter("map", ("users",))))
TWO = """\
frontend f
 bind :21
 bind :50000-50010
 default_backend b1
backend b1
 server s1 10.0.0.1:21
backend b2
 server s1 10.0.0.2:21
"""


def _at(line):
    return Origin("t.cfg", line)


def routed(*rules, head=QUIET, modes=""):
    """Rules on line 8 and below."""
    lines = "".join(f" {rule}\n" for rule in rules)
    return head + TWO.replace("frontend f\n bind :21\n", f"frontend f\n bind :21\n{lines}") + modes


def test_a_backend_by_user():
    text = routed("use_backend %[ftp.user,lower,map(users)]", "use_backend b1")
    found = outcome(text, **files(users="alice b1\nBob\tb2\n"))
    assert found.config is not None
    assert not found.diagnostics.has_warnings
    assert found.config.maps == (MapFile("users", (("alice", "b1"), ("Bob", "b2"))),)
    assert found.config.proxies[0].use_backend == (
        UseRule(_at(8), USERS),
        UseRule(_at(9), Expression("b1", "str", ("b1",))),
    )


def test_a_server_by_user():
    config = compiled(farm("use-server %[ftp.user,lower,map(users)]"), **files(users="a s1\nb s2\n"))
    assert config.proxies[0].use_server == (UseRule(_at(11), USERS),)


def test_one_file_is_read_once_and_kept_once():
    reads = []

    def read(path):
        reads.append(path)
        return "a s1\n"

    text = farm(
        "use-server %[ftp.user,map(dir/users)]",
        "use-server %[ftp.host,map_reg(dir/users,s2)]",
        "stick-table type string size 1k",
        "stick on ftp.user,map(/abs)",
    )
    config = compiled(text, read_file=read)
    assert reads == ["/etc/pasvport/dir/users", "/abs"]
    assert [found.path for found in config.maps] == ["dir/users", "/abs"]


@pytest.mark.parametrize(
    ("mode", "read"),
    [
        ("current", "/etc/pasvport/keys"),
        ("config", "/etc/pasvport/keys"),
        ("parent", "/etc/keys"),
        ("origin /maps", "/maps/keys"),
        ("origin maps", "/etc/pasvport/maps/keys"),
    ],
)
def test_where_the_map_of_a_key_begins(mode, read):
    """HAProxy reads it with the text, and that of a choice afterwards, when `default-path` is over."""
    text = farm(
        "use-server %[ftp.user,map(users)]",
        "stick-table type string size 1k",
        "stick on ftp.user,map(keys)",
        head=f"global\n default-path {mode}\n{QUIET}",
    )
    reads = []

    def reading(path):
        reads.append(path)
        return "a s1\n"

    compiled(text, read_file=reading)
    assert reads == ["/etc/pasvport/users", read]


def test_one_path_for_two_files_is_refused():
    text = farm(
        "use-server %[ftp.user,map(users)]",
        "stick-table type string size 1k",
        "stick on ftp.user,map(users)",
        head=f"global\n default-path origin maps\n{QUIET}",
    )
    ((_, said),) = alerts(text, read_file=lambda path: "a s1\n")
    assert said == "proxy 'l' : 'default-path' makes 'users' another file here than above."


def test_keys_by_user():
    lines = ("balance hash ftp.user,lower", "stick-table type string len 64 size 1k", "stick on ftp.host")
    (proxy,) = compiled(farm(*lines)).proxies
    assert proxy.balance.expression == Expression("ftp.user,lower", "ftp.user", (), (Converter("lower"),))
    assert {rule.expression.fetch for rule in proxy.stick_rules} == {"ftp.host"}


@pytest.mark.parametrize(
    "lines",
    [
        ("balance hash ftp.user",),
        ("use-server %[ftp.user,map(users)]",),
        ("stick on ftp.user", "stick-table type string size 1k"),
    ],
)
def test_users_need_mode_ftp(lines):
    found = alerts(farm(*lines, head=QUIET.replace("ftp", "tcp")), **files(users="a s1"))
    assert found == [(ADDED, "proxy 'l' : 'ftp.user' needs 'mode ftp', not 'mode tcp'.")]


def test_a_hash_that_was_given_up_is_not_judged():
    assert alerts(farm("balance hash ftp.user", "balance roundrobin", head=QUIET.replace("ftp", "tcp"))) == []


def test_a_plain_name_in_mode_tcp_is_where_all_sessions_go():
    config = compiled(routed("use_backend b2", "use_backend b1", head=QUIET.replace("ftp", "tcp")))
    assert (config.proxies[0].default_backend, config.proxies[0].use_backend) == ("b2", ())


def test_a_server_by_address_in_mode_tcp():
    config = compiled(farm("use-server %[src,map(m)]", head=QUIET.replace("ftp", "tcp")), **files(m="10.1.1.1 s2\n"))
    assert config.proxies[0].use_server[0].expression.fetch == "src"


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("use_backend", "'use_backend' expects a backend name."),
        ("use_backend b1 if TRUE", "'use_backend ... if' needs ACLs, which are not supported yet."),
        ("use_backend b1 unless", "'use_backend ... unless' needs ACLs, which are not supported yet."),
        ("use_backend b1 b2", "unexpected keyword 'b2' after switching rule, only 'if' and 'unless' are allowed."),
        ("use_backend b3", "Proxy 'f': unable to find required use_backend: 'b3'."),
        (
            "use_backend b%[ftp.user]",
            "'use_backend b%[ftp.user]' is not supported yet. A name is one '%[...]', or has no '%'.",
        ),
        (
            "use_backend %[ftp.user,nosuch]",
            "failed to parse use_backend rule '%[ftp.user,nosuch]' : unknown converter 'nosuch'.",
        ),
        (
            "use_backend %[ftp.user,map]",
            "failed to parse use_backend rule '%[ftp.user,map]' : converter 'map' : invalid args: failed to open "
            "pattern file <>.",
        ),
        (
            "use_backend %[ftp.user,map(a,b,c)]",
            "failed to parse use_backend rule '%[ftp.user,map(a,b,c)]' : converter 'map' : invalid args: expects a "
            "file and a default, got 3 arguments.",
        ),
        (
            "use_backend %[ftp.usr]",
            "failed to parse use_backend rule '%[ftp.usr]' : unknown fetch method 'ftp.usr'.",
        ),
        (
            "use_backend %[ftp.user,map(nofile)]",
            "frontend 'f' : invalid args in converter 'map' : failed to open pattern file <nofile>: No such file or "
            "directory.",
        ),
        (
            "use_backend %[ftp.user,map_reg(bad)]",
            "frontend 'f' : invalid args in converter 'map_reg' : regex 'a(b' is invalid (error=missing ): a(b) "
            "at line 2 of file 'bad'.",
        ),
    ],
)
def test_wrong_backend_rules(rule, text):
    assert alerts(routed(rule), **files(bad="x b1\na(b b1\n")) == [(8, text)]


def test_a_listen_cannot_use_itself():
    assert alerts(farm("use_backend l")) == [(ADDED, "Proxy 'l': loop detected for use_backend: 'l'.")]


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("use-server", "'use-server' expects a server name."),
        ("use-server s1", "'use-server' requires either 'if' or 'unless' followed by a condition."),
        ("use-server s1 if TRUE", "'use-server ... if' needs ACLs, which are not supported yet."),
        ("use-server %[src] x", "unexpected keyword 'x' after server rule, only 'if' and 'unless' are allowed."),
    ],
)
def test_wrong_server_rules(rule, text):
    assert alerts(farm(rule)) == [(ADDED, text)]


def test_a_backend_by_expression_needs_mode_ftp():
    text = routed("use_backend %[src]", head=QUIET.replace("ftp", "tcp"))
    assert alerts(text) == [(8, "frontend 'f' : 'use_backend %[...]' is not supported yet in 'mode tcp'.")]


def test_rules_lead_to_backends_of_the_same_mode():
    other = "backend b3\n mode tcp\n server s 10.0.0.3:21\n"
    text = (
        "ftp frontend 'f' (t.cfg:6) tries to use incompatible tcp backend 'b3' (t.cfg:15) in a 'use_backend' rule "
        "(see 'mode')."
    )
    assert alerts(routed("use_backend b3", modes=other)) == [(8, text)]
    assert alerts(routed("use_backend %[ftp.user,map(m)]", modes=other), **files(m="a b1\nb b3\n")) == [(8, text)]


def test_names_that_do_not_exist_are_told_with_their_line():
    found = warnings(routed("use_backend %[ftp.user,map(m,b9)]"), **files(m="# users\na b1\nb b7\nc\n"))
    assert found == [
        (8, "frontend 'f' : m:3 of 'use_backend' names backend 'b7', which does not exist."),
        (8, "frontend 'f' : m:4 of 'use_backend' names backend '', which does not exist."),
        (8, "frontend 'f' : the map's default of 'use_backend' names backend 'b9', which does not exist."),
    ]
    assert warnings(farm("use-server %[ftp.user,map(m)]"), **files(m="a s1\nb s3\n")) == [
        (ADDED, "proxy 'l' : m:2 of 'use-server' names server 's3', which does not exist.")
    ]
    assert warnings(farm("use-server %[str(s3)]")) == [
        (ADDED, "proxy 'l' : the rule of 'use-server' names server 's3', which does not exist.")
    ]


def test_many_wrong_names_are_counted():
    found = warnings(farm("use-server %[ftp.user,map(m)]"), **files(m="".join(f"u{n} x{n}\n" for n in range(1000))))
    assert len(found) == 11
    assert found[-1][1] == "proxy 'l' : 990 more lines of that map name a server that does not exist."


def test_names_behind_another_converter_are_not_guessed():
    assert warnings(farm("use-server %[ftp.user,map(m),lower]"), **files(m="a S1\n")) == []


def test_fullconn_counts_the_frontends_whose_rules_name_the_backend():
    text = "global\n maxconn 1000\n" + routed("use_backend b2", "use_backend %[str(b1)]", "maxconn 200")
    assert [proxy.fullconn for proxy in compiled(text).proxies] == [0, 20, 20]
    only = routed("maxconn 200", "use_backend %[ftp.user,map(m)]")
    assert [proxy.fullconn for proxy in compiled(only, **files(m="a b2")).proxies] == [0, 20, 0]
    assert fill_fullconn(compiled(text)) == compiled(text)


def test_a_backend_that_a_rule_names_must_hold_the_keys_of_ipv6_clients():
    sticky = "backend b3\n server s 10.0.0.3:21\n stick-table type ip size 1k\n stick on src\n"
    text = routed("use_backend %[ftp.user,map(m)]", modes=sticky).replace("bind :", "bind :::")
    (found,) = warnings(text, **files(m="a b3\n"))
    assert found[0] == 17
    assert found[1].startswith("stick-table 'b3' of type ip cannot hold the IPv6 clients of frontend 'f'")


# --- map files ----------------------------------------------------------------------------------------------------


def test_a_map_is_read_as_haproxy_reads_it():
    text = "# comment\n\n  alice   s1  \nbob\n\tcarol\ts2 # no comment\n dave s3\r\n#eve s4\n # x y\nlast z"
    assert [(entry.line, entry.key, entry.value) for entry in parse_map(text)] == [
        (3, "alice", "s1"),
        (4, "bob", ""),
        (5, "carol", "s2 # no comment"),
        (6, "dave", "s3"),
        (8, "#", "x y"),
        (9, "last", "z"),
    ]


@given(st.text())
def test_any_text_is_a_map(text):
    lines = text.split("\n")
    for entry in parse_map(text):
        assert entry.key
        assert entry.key in lines[entry.line - 1]
        assert entry.value in lines[entry.line - 1]
        assert entry.value == entry.value.strip(" \t")


@given(st.dictionaries(st.from_regex(r"[A-Za-z0-9@._-]{1,12}", fullmatch=True), st.sampled_from(["s1", "s2"])))
def test_a_map_that_was_written_is_read(users):
    text = "".join(f"{user} {server}\n" for user, server in users.items())
    config = compiled(farm("use-server %[ftp.user,map(users)]"), **files(users=text))
    assert config.maps == (MapFile("users", tuple(users.items())),)


# --- blind sessions -----------------------------------------------------------------------------------------------

BLIND = "proxy 'l' : after AUTH ('option ftp-auth-tls pass') "
STICKY = ("stick-table type ip size 1k", "stick on src")


@pytest.mark.parametrize(
    ("lines", "problems"),
    [
        (STICKY, []),
        (("balance source",), []),
        (("balance hash src,ipmask(24)",), []),
        ((), ["nothing leads data connections to their session's server of proxy 'l': say 'stick on src'."]),
        (
            (*STICKY, "ftp-data-peer network"),
            [
                "data connections from another address than their session's ('ftp-data-peer') may reach another "
                "worker, which knows nothing of it: say 'nbthread 1'."
            ],
        ),
    ],
)
def test_what_a_blind_session_needs(lines, problems):
    text = farm("option ftp-auth-tls pass", *lines)
    assert warnings(text) == [(ADDED, BLIND + problem) for problem in problems]
    assert warnings(text.replace("pass", "refuse")) == []
    assert compiled(text).proxies[0].ftp.auth_tls is AuthTls.PASS


def test_one_worker_knows_every_blind_session():
    text = "global\n nbthread 1\n" + farm("option ftp-auth-tls pass", *STICKY, "ftp-data-peer any")
    assert warnings(text) == []


def test_one_server_needs_no_stickiness():
    lines = ("option ftp-auth-tls pass",)
    assert warnings(listened(":21", ":50000-50010", lines=lines)) == []
    found = warnings(listened(":21", lines=(*lines, "option ftp-active")))
    assert found[-1] == (9, BLIND + "sessions have no data ports: 'bind' the range of ports that the servers use.")


# --- anything -----------------------------------------------------------------------------------------------------

WORDS = st.sampled_from(
    words(
        "strict network any server /24 /200 user u password p passive epsv list retr pass refuse 5 60s delay "
        "%[ftp.user] %[ftp.user,map(users)] %[ b1 if SITE USER x for data advertise 10.0.0.1 '' \""
    )
)
KEYWORDS = st.sampled_from(
    [
        *(line.rsplit(maxsplit=1)[0] for line, _ in WELL_SAID),
        "option ftp-check",
        "option ftplog",
        "option ftp-xferlog",
        "use_backend",
        "use-server",
        "bind :5000-5010",
        "timeout ftp-data",
        "log-format-transfer",
    ]
)


@given(KEYWORDS, st.lists(WORDS, max_size=6), st.sampled_from(["ftp", "tcp", "http"]))
def test_any_line_compiles_or_is_refused_with_its_place(keyword, rest, mode):
    line = " ".join([keyword, *rest])
    found = outcome(farm(line, head=QUIET.replace("mode ftp", f"mode {mode}")), **files(users="a s1\n"))
    assert (found.config is None) == found.diagnostics.has_alerts
    blamed = [entry for entry in found.diagnostics.found if entry.origin is not None]
    assert all(1 <= entry.origin.line <= ADDED for entry in blamed)
