"""Commands about sessions and tables, given to HAProxy and to pasvport with the same configuration."""

from __future__ import annotations

import re
import socket
import threading

import pytest

from api_sides import ask, plain
from farm.balancers import Haproxy, Pasvport
from farm.ports import free_ports
from farm.waiting import until
from process_rig import is_cut
from real_haproxy import needs_haproxy

TABLES = """
backend text
    stick-table type string len 20 size 100 expire 1h store conn_cnt
backend number
    stick-table type integer size 30 store conn_cnt,bytes_in_cnt
backend full
    stick-table type string size 3 nopurge
backend six
    stick-table type ipv6 size 30 expire 1h store sess_cnt
backend raw
    stick-table type binary len 4 size 30 expire 1h store conn_cnt
backend bare
    stick-table type ip size 30 expire 1h
backend rates
    stick-table type ip size 30 expire 1h store conn_rate(100s),conn_cur,server_id
backend many
    stick-table type string size 1k store conn_cnt,sess_cnt
backend plain
    server s1 127.0.0.1:9
"""
COMMANDS = """\
show table
show table nosuch
show table plain
show table text
set table
set table text
set table text key
set table text foo a data.conn_cnt 5
set table nosuch
set table nosuch key a data.conn_cnt 5
set table text data.conn_cnt 5
set table text data.conn_cnt
set table text key a
set table text key a data.conn_cnt
set table text key a data.conn_cnt x
set table text key a data.conn_cnt +1
set table text key a data.conn_cnt 0x1
set table text key a data.conn_cnt 99999999999999999999999
set table text key a data.gpc0 5
set table text key a data.nosuch 5
set table text key a data.
set table text key a foo
set table text key a conn_cnt 5
set table text key a data.conn_cnt 5
set table text key b data.conn_cnt -1
set table text key c data.conn_cnt 99999999999
set table text key aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa data.conn_cnt 7
set table text key a\\ b data.conn_cnt 8
show table text
show table text key a
show table text key nosuch
show table text key
show table text key a and more
show table text foo
show table text data.conn_cnt
show table text data.conn_cnt eq
show table text data.conn_cnt zz 5
show table text data.conn_cnt eq x
show table text data.conn_cnt eq 5
show table text data.conn_cnt ne 5
show table text data.conn_cnt lt 7
show table text data.conn_cnt le 7
show table text data.conn_cnt gt 7
show table text data.conn_cnt ge 7
show table text data.conn_cnt ge -5
show table text data.gpc0 eq 5
show table text data.nosuch eq 5
show table text data.nosuch
show table text data.conn_cnt ge 5 data.conn_cnt le 7
show table text data.conn_cnt ge 5 data.conn_cnt lt 5
show table text data.conn_cnt ge 5 data.conn_cnt zz 5
show table text data.conn_cnt ge 5 data.conn_cnt eq x
show table text data.conn_cnt ge 5 data.gpc0 eq 1
show table text data.conn_cnt ge 1 data.conn_cnt ge 1 data.conn_cnt ge 1 data.conn_cnt eq 5
show table text data.conn_cnt ge 1 data.conn_cnt ge 1 data.conn_cnt ge 1 data.conn_cnt ge 1 data.conn_cnt ge 1
clear table
clear table nosuch
clear table nosuch key a
clear table text foo
clear table text key
clear table text key nosuch
clear table text data.conn_cnt
clear table text data.nosuch eq 1
clear table text data.conn_cnt eq 5
show table text
clear table text key b
show table text
clear table text
show table text
set table number key 1
set table number key 2 data.conn_cnt 2 data.bytes_in_cnt 99999999999
set table number key abc
set table number key -3
set table number key 4294967296
set table number key 12x data.conn_cnt 1
show table number
set table number key 4294967295
clear table number key 2
show table number
set table full key 1
set table full key 2
set table full key 3
set table full key 4
clear table full key 2
set table full key 4
show table full
set table six key ::1 data.sess_cnt 1
set table six key 1.2.3.4 data.sess_cnt 1
set table six key zz data.sess_cnt 1
set table six key 2001:db8::7
show table six
show table six key ::1
clear table six key ::1
show table six
set table raw key ab
show table raw key ab
clear table raw key ab
clear table raw
show table raw
set table bare key 1.2.3.4
set table bare key 1.2.3.4 data.conn_cnt 1
show table bare data.conn_cnt gt 1
show table bare
set table rates key 10.0.0.1 data.conn_rate 7 data.conn_cur 3
set table rates key 10.0.0.2 data.server_id 77
set table rates key 10.0.0.3 data.server_id 3x
clear table rates key 10.0.0.3
show table rates
show table rates data.conn_rate gt 5
show table rates data.server_id eq 77
set table many key b;set table many key a;set table many key c data.sess_cnt 4
show table many
show table
show sess 0x1
shutdown session
shutdown session 0x1
shutdown session nonsense
shutdown sessions server
shutdown sessions server be
shutdown sessions server be/
shutdown sessions server /s1
shutdown sessions server be/nosuch
shutdown sessions server nosuch/s1
shutdown sessions server be/s1
"""
BY_USERS = """\
show sess
shutdown session 0x1
shutdown sessions server be/s1
show table
show table text
show table text key a
set table text key a
"""


class Upstream:
    """A server that greets, and keeps what was accepted."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.held = []
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            connection.sendall(b"220 hello\r\n")
            self.held.append(connection)

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()
        for connection in self.held:
            connection.close()


@pytest.fixture
def upstream():
    made = Upstream()
    yield made
    made.close()


def text(folder, port, upstream, threads):
    return f"""
global
    stats socket {folder}/admin mode 600 level admin
    stats socket {folder}/user mode 600 level user
    nbthread {threads}
defaults
    mode tcp
    timeout client 100s
    timeout server 200s
    timeout connect 5s
frontend fe
    bind 127.0.0.1:{port}
    default_backend be
backend be
    server s1 127.0.0.1:{upstream}
{TABLES}"""


class Side:
    def __init__(self, kind, folder, upstream, threads=1):
        folder.mkdir()
        self.folder = folder
        self.port = free_ports(1)[0]
        self.balancer = kind(text(folder, self.port, upstream, threads), ("127.0.0.1", self.port))

    def __enter__(self):
        self.balancer.__enter__()
        until((self.folder / "user").exists, "the stats sockets to be there")
        return self

    def __exit__(self, *exc):
        self.balancer.__exit__(*exc)

    def admin(self, line):
        return ask(self.folder / "admin", line)

    def user(self, line):
        return ask(self.folder / "user", line)

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)


@pytest.fixture
def sides(tmp_path, upstream):
    """(HAProxy with one thread, pasvport with two workers)."""
    with (
        Side(Haproxy, tmp_path / "haproxy", upstream.port) as real,
        Side(Pasvport, tmp_path / "pasvport", upstream.port, threads=2) as ours,
    ):
        yield real, ours


@needs_haproxy
def test_answers_about_tables_and_refusals_are_haproxys(sides):
    real, ours = sides
    different = []
    for command in COMMANDS.splitlines():
        wanted, got = plain(real.admin(command)), plain(ours.admin(command))
        if wanted != got:
            different.append((command, wanted, got))
    assert not different, "\n".join(map(str, different))


@needs_haproxy
def test_who_may_do_what_is_haproxys(sides):
    real, ours = sides
    for side in sides:
        side.admin("set table text key a data.conn_cnt 1")
    for command in BY_USERS.splitlines():
        assert plain(ours.user(command)) == plain(real.user(command)), command
    assert ours.user("show activity").startswith("thread_id: 1 (1..2)\ndate_now: ")


def fields(line):
    """name -> value of a line of `show sess`, in order; a group in brackets is one value."""
    return dict(re.findall(r"(\w+)(?:=|(?=\[))(\[[^]]*\]|\S*)", line))


def normal(line):
    """A line of `show sess` without what two processes cannot have in common."""
    found = fields(line)
    for name in ("src", "calls", "rate", "exp"):
        found[name] = "-" if found[name] else ""
    for name in ("scf", "scb"):
        found[name] = re.sub(r"fd=\d+", "fd=N", found[name])
    return found


@needs_haproxy
def test_a_session_is_shown_as_haproxy_shows_it(sides):
    shown, full = [], []
    for side in sides:
        with side.connect() as client:
            assert client.recv(100) == b"220 hello\r\n"
            client.sendall(b"USER me\r\n")
            host, port = client.getsockname()
            (line,) = [each for each in side.admin("show sess").splitlines() if f"src={host}:{port} " in each]
            shown.append(normal(line))
            identity = line.partition(":")[0]
            full.append(side.admin(f"show sess {identity}"))
            assert f"source={host}:{port}" in full[-1]
            assert side.admin(f"shutdown session {identity}") == "\n"
            assert is_cut(client)
    wanted, got = shown
    # Time may tick between the two.
    assert {**got, "age": "", "rq": "", "rp": ""} == {**wanted, "age": "", "rq": "", "rp": ""}
    assert list(got) == list(wanted)
    for group in ("rq", "rp"):
        assert re.sub(r"\d+s", "S", got[group]) == re.sub(r"\d+s", "S", wanted[group])
    for label in (
        "flags",
        "conn_retries",
        "frontend",
        "listener",
        "backend",
        "server",
        "task",
        "scf",
        "scb",
        "req",
        "res",
    ):
        assert f"{label}=" in full[0]
        assert f"{label}=" in full[1]
    for line in (
        "  frontend=fe (id=2 mode=tcp), listener=? (id=1) addr=127.0.0.1:",
        "  server=s1 (id=1) addr=127.0.0.1:",
    ):
        assert line in full[0]
        assert line in full[1]


def test_a_malformed_address_is_refused_and_nothing_is_half_done(tmp_path, upstream):
    """HAProxy makes 0.0.0.0 of the one, and sets the first value of the other."""
    with Side(Pasvport, tmp_path / "one", upstream.port, threads=2) as ours:
        assert ours.admin("set table bare key 1.2.3") == "Invalid key\n\n"
        assert ours.admin("show table bare key nonsense") == "Invalid key\n\n"
        assert ours.admin("set table rates key 1.2.3.4 data.conn_cur 5 data.conn_rate x").startswith("Require a valid")
        assert plain(ours.admin("show table rates")) == "# table: rates, type: ip, size:30, used:0\n\n"
