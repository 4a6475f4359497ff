"""The rules that need nothing but the text: each fault is found at its line, and nothing else is."""

from __future__ import annotations

import pytest

from doctor_rig import ALWAYS, PAGE, QUIET_MACHINE, found, ids, line_of, read_text, spoilt
from pasvport.address import PortRange
from pasvport.doctor.consultation import verdict
from pasvport.doctor.machine import Machine

STICK = "    stick-table type ip size 100k expire 1h\n    stick on src\n"
SERVERS = "    server s1 192.0.2.10 check port 21\n    server s2 192.0.2.11 check port 21\n"
DEFAULTS = """\
defaults
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    option clitcpka
    mode tcp
"""
PINNED = (
    DEFAULTS
    + """\
frontend ftp_control
    bind 192.0.2.100:21
    default_backend ftp
backend ftp
    server s1 192.0.2.10 check port 21
    server s2 192.0.2.11 check port 21
listen ftp_data1
    bind 192.0.2.100:20000-20009
    server s1 192.0.2.10 check port 21
listen ftp_data2
    bind 192.0.2.100:20010-20019
    server s2 192.0.2.11 check port 21
"""
)
SPLIT = (
    DEFAULTS
    + """\
frontend ftp_control
    bind 192.0.2.100:21
    default_backend control
frontend ftp_data
    bind 192.0.2.100:20000-20010
    default_backend data
backend control
    stick-table type ip size 100k expire 1h
    stick on src
    server s1 192.0.2.10:21 check
    server s2 192.0.2.11:21 check
backend data
    stick match src table control
    server s1 192.0.2.10 check port 21
    server s2 192.0.2.11 check port 21
"""
)
FTP = """\
defaults
    mode ftp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
frontend ftp_fe
    bind 198.51.100.1:21 advertise 8.8.8.8
    bind 198.51.100.1:20000-20010 name ftp-data
    default_backend ftp_servers
backend ftp_servers
    option ftp-check user probe password secret passive list
    server s1 192.0.2.10:21 check
    server s2 192.0.2.11:21 check
"""


def test_the_page_is_healthy():
    report = read_text(PAGE, QUIET_MACHINE)
    assert {finding.id for finding in report.findings} == ALWAYS
    assert verdict(report, strict=True) == 0


def test_the_published_page_as_it_stands_has_neither_error_nor_warning():
    text = "".join(f"{line}\n" for line in PAGE.splitlines()[5:])
    report = read_text(text, QUIET_MACHINE)
    assert ids(report) == {"no-timeouts", "no-keepalive"}
    assert verdict(report, strict=True) == 0


@pytest.mark.parametrize("text", [PINNED, SPLIT, FTP], ids=["pinned ranges", "two frontends, one table", "mode ftp"])
def test_other_right_recipes_are_healthy(text: str):
    assert ids(read_text(text, QUIET_MACHINE)) == set()


def test_pinned_ranges_are_not_called_shared():
    assert "one-server-per-address" not in {finding.id for finding in read_text(PINNED).findings}


FAULTS = [
    ("no-stickiness", "backend ftp_servers", spoilt(STICK, "")),
    ("no-stickiness", "stick store-request", spoilt("stick on src", "stick store-request src")),
    ("no-stickiness", "stick match", spoilt("stick on src", "stick match src")),
    ("no-stickiness", "stick match", spoilt("stick on src", "stick match src\n    stick store-request dst")),
    ("stick-key-narrow", "stick on", spoilt("on src", "on src_port").replace("type ip", "type integer")),
    ("stick-key-wide", "stick on", spoilt("on src", "on src,ipmask(24)")),
    ("stick-key-wide", "stick on", spoilt("on src", "on src,ipmask(255.255.0.0)")),
    ("stick-key-wide", "stick on", spoilt("on src", "on dst")),
    ("stick-key-wide", "stick-table", spoilt("type ip", "type string len 7")),
    ("stick-table-small", "stick-table", spoilt("size 100k", "size 200")),
    ("stick-table-small", "stick-table", spoilt("    default_backend", "    maxconn 300000\n    default_backend")),
    ("stick-nopurge", "stick-table", spoilt("expire 1h", "expire 1h nopurge")),
    ("stick-expire", "stick-table", spoilt("expire 1h", "expire 5m")),
    ("stick-expire", "stick-table", spoilt("timeout connect 5s", "timeout connect 5s\n    timeout tunnel 2h")),
    ("hash-persistence", "backend ftp", spoilt(STICK, "").replace("leastconn", "source")),
    ("redispatch-data", "backend ftp", spoilt("balance leastconn", "balance leastconn\n    option redispatch")),
    ("server-maxconn", "server s2", spoilt("192.0.2.11 check", "192.0.2.11 maxconn 50 check")),
    ("no-data-ports", "bind", spoilt("    bind 192.0.2.100:20000-20010 name ftp-data\n", "")),
    ("server-port", "server s2", spoilt("192.0.2.11 check", "192.0.2.11:21 check")),
    ("server-port", "server s1", spoilt("192.0.2.10 check", "192.0.2.10:+1000 check")),
    ("descriptors", "ftp-data", "global\n    ulimit-n 1000\n    maxconn 495\n" + PAGE),
    ("descriptors", "ftp-data", "global\n    maxconn 9970\n" + PAGE),
    ("control-timeout", "frontend", spoilt("client 1h", "client 30s")),
    ("control-timeout", "backend", spoilt("server 1h", "server 1m")),
    ("control-timeout", "backend ftp", spoilt("balance leastconn", "balance leastconn\n    timeout tunnel 90s")),
    ("no-timeouts", "frontend", spoilt("    timeout client 1h\n", "")),
    ("no-keepalive", "frontend", spoilt("    option clitcpka\n", "")),
    ("no-check", "server s1", spoilt("192.0.2.10 check port 21", "192.0.2.10")),
    ("unreadable", "balanse", spoilt("balance", "balanse")),
    ("unsupported", "send-proxy", spoilt("192.0.2.11 check", "192.0.2.11 send-proxy-v2 check")),
    ("no-stickiness", "backend data", spoilt("    stick match src table control\n", "", SPLIT)),
    ("no-stickiness", "stick on src-2", spoilt("stick match src table control", "stick on src table other", SPLIT)),
    ("advertise-private", "advertise", spoilt("8.8.8.8", "10.1.1.1", FTP)),
    ("pool-small", "ftp-data", spoilt("    default_backend", "    maxconn 500\n    default_backend", FTP)),
    ("blind-check", "server s1", spoilt("    option ftp-check user probe password secret passive list\n", "", FTP)),
    ("blind-check", "server s1", spoilt(" user probe password secret passive list", "", FTP)),
    ("blind-tls", "frontend", spoilt("    default_backend", "    option ftp-auth-tls pass\n    default_backend", FTP)),
]


@pytest.mark.parametrize(("wanted", "part", "text"), FAULTS, ids=[f"{n} {row[0]}" for n, row in enumerate(FAULTS)])
def test_one_fault_is_named_with_its_line_and_nothing_else_is(wanted: str, part: str, text: str):
    if part == "stick on src-2":
        # Another table of the same kind, so that only the agreement is missing.
        text += "backend other\n    stick-table type ip size 100k expire 1h\n"
        part = "stick on src table other"
    report = read_text(text, QUIET_MACHINE)
    if wanted == "blind-check":
        assert [(each.id, each.origin and each.origin.line) for each in report.findings] == [
            (wanted, line_of(text, part))
        ]
    else:
        assert found(report) == {(wanted, line_of(text, part))}


def test_ipv6_clients_and_a_table_for_ipv4():
    text = spoilt("bind 192.0.2.100:21 name ftp-control", "bind 192.0.2.100:21\n    bind [2001:db8::1]:21")
    text = text.replace("name ftp-data", "name ftp-data\n    bind [2001:db8::1]:20000-20010")
    assert found(read_text(text)) == {
        ("stick-key-family", line_of(text, "stick-table")),
        ("ipv6-pasv", line_of(text, "[2001:db8::1]:21")),
    }
    assert found(read_text(text.replace("type ip ", "type ipv6 "))) == {
        ("ipv6-pasv", line_of(text, "[2001:db8::1]:21"))
    }


TWO_FARMS = (
    PAGE
    + """\
frontend ftp_second
    mode tcp
    bind 192.0.2.100:2121 name ftp-second
    default_backend second
backend second
    mode tcp
    stick-table type ip size 100k expire 1h
    stick on src
    server s3 192.0.2.12 check port 21
    server s4 192.0.2.13 check port 21
"""
)


def test_two_backends_behind_one_address_and_one_range():
    assert ("range-elsewhere", line_of(TWO_FARMS, "ftp-second")) in found(read_text(TWO_FARMS))


def test_two_proxies_that_bind_the_same_range():
    text = TWO_FARMS.replace("name ftp-second", "name ftp-second\n    bind 192.0.2.100:20005-20020")
    assert ("overlapping-binds", line_of(text, "20000-20010")) in found(read_text(text))


def test_a_second_address_makes_it_right():
    second = "bind 192.0.2.101:21\n    bind 192.0.2.101:20000-20010"
    text = TWO_FARMS.replace("bind 192.0.2.100:2121 name ftp-second", second)
    assert ids(read_text(text)) == set()


def test_a_range_among_the_ephemeral_ports():
    machine = Machine(ephemeral=PortRange(20005, 60999))
    assert found(read_text(PAGE, machine)) == {("ephemeral-ports", line_of(PAGE, "20000-20010"))}
    reserved = Machine(ephemeral=PortRange(20005, 60999), reserved=(PortRange(20000, 20010),))
    assert found(read_text(PAGE, reserved)) == set()


def test_public_addresses_must_be_advertised():
    assert ids(read_text(FTP, public=("8.8.8.8",))) == set()
    report = read_text(FTP, public=("8.8.4.4",))
    assert found(report) == {("advertise-missing", line_of(FTP, "advertise"))}
    assert "advertise 8.8.4.4" in report.findings[0].fix


def test_no_ftp_at_all():
    text = (
        PAGE.replace("ftp", "web").replace("21", "80").replace("    bind 192.0.2.100:20000-20010 name web-data\n", "")
    )
    report = read_text(text)
    assert {finding.id for finding in report.findings} == {"no-ftp"}
    assert (verdict(report, strict=False), verdict(report, strict=True)) == (0, 1)


def test_one_server_needs_no_stickiness():
    text = spoilt(STICK, "").replace(SERVERS, SERVERS.splitlines()[0] + "\n")
    assert {finding.id for finding in read_text(text).findings} == {"blind-check"}


def test_what_pasvport_does_not_know_hides_nothing_else():
    foreign = """\
peers mine
    peer a 127.0.0.1:1024
frontend web
    mode http
    bind :80
    http-request deny if { path /x }
    default_backend app
backend app
    mode http
    cookie SRV insert
    server w1 192.0.2.50:80 cookie w1 ssl verify none
"""
    text = spoilt("expire 1h", "expire 1h peers mine").replace("    stick on src\n", "") + foreign
    assert ("no-stickiness", line_of(text, "backend ftp_servers")) in found(read_text(text))
    healthy = spoilt("expire 1h", "expire 1h peers mine") + foreign
    report = read_text(healthy)
    assert ids(report) <= {"unsupported"}
    assert any("peers" in finding.detail for finding in report.findings)


def test_a_text_of_which_nothing_is_left():
    report = read_text("frontend\n")
    assert verdict(report, strict=False) == 1
    assert ids(report) >= {"unreadable"}


def test_a_variable_that_is_not_set_is_found():
    text = PAGE + 'frontend pages\n    mode http\n    bind 127.0.0.1:1\n    stats auth "a:${NONE}"\n'
    assert [(each.id, each.origin.line) for each in read_text(text).findings if "'NONE' is not set" in each.detail] == [
        ("unset", line_of(text, "stats auth"))
    ]
    worse = text.replace("stats auth", "stats realm").replace('"a:${NONE}"', '"${NONE}"')
    assert [each.id for each in read_text(worse).findings if "variable 'NONE' is not set" in each.detail] == [
        "unreadable"
    ]
