"""`stats socket`, `stats timeout`, `stats maxconn` of the global section."""

from __future__ import annotations

import pytest

from compiling import alerts, compiled
from pasvport.address import Endpoint, Family
from pasvport.model import StatsLevel, UnixPermissions

LISTEN = """
listen x
    bind 127.0.0.1:2121
    timeout client 1s
    timeout server 1s
    timeout connect 1s
"""


def settings(*lines):
    return compiled("global\n" + "".join(f"    {line}\n" for line in lines) + LISTEN).settings


def test_nothing_is_opened_unless_asked_for():
    found = settings()
    assert (found.stats_sockets, found.stats_timeout, found.stats_maxconn) == ((), 10_000, 10)


def test_every_option():
    (socket,) = settings(
        "stats socket /run/s mode 660 uid 3 gid 4 level admin expose-fd listeners maxconn 7 severity-output number"
    ).stats_sockets
    assert socket.endpoint == Endpoint(Family.UNIX, "/run/s")
    assert socket.permissions == UnixPermissions(0o660, 3, 4)
    assert (socket.level, socket.expose_listeners, socket.maxconn) == (StatsLevel.ADMIN, True, 7)
    assert socket.severity_output == "number"


def test_several_lines_and_several_addresses_open_in_their_order():
    found = settings("stats socket /run/a,ipv4@127.0.0.1:9999", "stats socket ipv6@::1:9998 level user").stats_sockets
    assert [str(socket.endpoint) for socket in found] == ["/run/a", "127.0.0.1:9999", "::1:9998"]
    assert [socket.level for socket in found] == [StatsLevel.OPERATOR, StatsLevel.OPERATOR, StatsLevel.USER]


def test_times_and_counts():
    found = settings("stats timeout 2m", "stats maxconn 3")
    assert (found.stats_timeout, found.stats_maxconn) == (120_000, 3)


@pytest.mark.parametrize("name", ["uid", "gid", "maxconn"])
@pytest.mark.parametrize("line", ["global\n stats socket /run/s {}\n", "listen x\n bind /run/s {}\n"])
def test_numbers_below_zero_are_refused(name, line):
    ((_, text),) = [found for found in alerts(line.format(f"{name} -5")) if name in found[1]]
    assert text.endswith(f"'{name}' : invalid value -5, must be >= 0")


@pytest.mark.parametrize("option", ["level admin", "expose-fd listeners", "severity-output number"])
def test_a_bind_has_none_of_its_options(option):
    name = option.partition(" ")[0]
    ((line, text),) = [found for found in alerts(LISTEN.replace(":2121", f":2121 {option}")) if name in found[1]]
    assert (line, f"'{name}' is for 'stats socket'" in text) == (3, True)
