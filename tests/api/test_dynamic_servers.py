"""`add server` and `del server` beside the real HAProxy's, and what they leave untouched."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from api_rig import Echo, Pair, ask, rows, states
from farm.ports import free_ports
from farm.waiting import until
from pasvport.config.keywords_server import SERVER
from process_rig import Running, Upstream, connect, session, talk
from real_haproxy import needs_haproxy

CONFIGURATION = """
global
    stats socket {admin} mode 600 level admin
    stats socket {user} mode 600 level operator
    nbthread 1
    maxconn 200
defaults
    mode tcp
    timeout client 20s
    timeout server 20s
    timeout connect 5s
frontend fe
    bind 127.0.0.1:{front}
    maxconn 50
    default_backend be
backend be
    balance roundrobin
    default-server weight 7
    server s1 127.0.0.1:{echo} weight 10 maxconn 20
    server s2 127.0.0.1:{echo} check inter 100
backend hashed
    balance source
    server a 127.0.0.1:{echo}
backend static
    balance static-rr
    server a 127.0.0.1:{echo}
backend consistent
    balance source
    hash-type consistent
    server a 127.0.0.1:{echo}
backend first
    balance first
    server a 127.0.0.1:{echo} id 5
backend follows
    server x 127.0.0.1:{echo} track be/s2
frontend alone
    bind 127.0.0.1:{alone}
"""

QUESTIONS = [
    "add server",
    "add server be",
    "add server be/",
    "add server /x",
    "add server be/n1",
    "add server nope/n1 127.0.0.1:1",
    "add server fe/n1 127.0.0.1:1",
    "add server alone/n1 127.0.0.1:1",
    "add server be/s1",
    "add server be/s1 127.0.0.1:1",
    "add server be/s1 127.0.0.1:1 bogus",
    "add server hashed/n1 127.0.0.1:1",
    "add server static/n1 127.0.0.1:1",
    "add server first/n1 127.0.0.1:1",
    "add server be/a$b 127.0.0.1:1",
    "add server be/n1 127.0.0.1:1",
    "add server be/n1 127.0.0.1:1",
    "add server be/#3 127.0.0.1:1",
    "add server be/n2 127.0.0.1:99999",
    "add server be/n2 127.0.0.1:1-5",
    "add server be/n2 127.0.0.1:1 wieght 3",
    "add server be/n2 127.0.0.1:1 backup weight 3 maxconn 10 minconn 2 maxqueue 3 source 127.0.0.5 slowstart 10s",
    "add server be/n3 127.0.0.1:1 disabled",
    "add server be/n4 127.0.0.1:{echo} enabled",
    "add server be/n5 127.0.0.1:1 id 50",
    "add server be/n6 127.0.0.1:1 id 0",
    "add server be/n6 127.0.0.1:1 check inter 200 rise 1 fall 1",
    "add server be/n7 127.0.0.1:1 track s2",
    "add server be/n8 127.0.0.1:1 track be/zz",
    "add server be/n8 127.0.0.1:1 track nope/zz",
    "add server be/n8 127.0.0.1:1 track be/s1",
    "add server be/n8 127.0.0.1:1 track be/n6",
    "add server be/n8 127.0.0.1:1 check track s2",
    "add server be/n8 127.0.0.1:1 observe layer4 error-limit 5 on-error mark-down",
    "add server be/n9 127.0.0.1:1 observe foo",
    "add server be/n9 127.0.0.1:1 observe layer7",
    "add server be/n11 127.0.0.1:1 agent-check",
    "add server be/n12 127.0.0.1:1 weight 300",
    "add server be/n12 127.0.0.1:1 inter 0",
    "add server be/n12 127.0.0.1:1 rise 0",
    "add server be/n12 127.0.0.1:1 on-error foo",
    "add server be/n12 127.0.0.1:1 on-marked-down foo",
    "add server be/n12 127.0.0.1:1 usesrc x",
    "add server be/n12 127.0.0.1:1 id",
    "add server be/n12 127.0.0.1:1 port",
    "add server be/n12 127.0.0.1:1 agent-send",
    "add server be/n12 [::1]:5 tfo agent-check agent-port {echo} agent-inter 1s",
    "add server #4/n13 127.0.0.1:1",
    "add server be/n14 127.0.0.1:+5",
    "add server be/n15 127.0.0.1:0 disabled enabled",
    "del server",
    "del server be",
    "del server nope/x",
    "del server be/nope",
    "del server be/s1",
    "del server be/n4",
    "disable server be/n4",
    "del server be/n4",
    "del server be/n4",
    "disable server be/s1",
    "del server be/s1",
    "disable server be/s2",
    "del server be/s2",
    "disable server hashed/a",
    "del server hashed/a",
    "del server be/#3",
    "add server be/again 127.0.0.1:1",
]
_IGNORED = {"srv_time_since_last_change", "srv_port", "srv_check_result", "srv_check_status"}
_IGNORED |= {"srv_check_state", "srv_check_health", "srv_f_forced_id"}


@pytest.fixture(scope="module")
def echo():
    with Echo() as server:
        yield server


def worded(answer):
    """HAProxy ends its sentences with one full stop, two, or none, and lines likewise."""
    return answer.strip().rstrip(".")


@needs_haproxy
def test_answers_and_servers_are_haproxys(tmp_path, echo):
    """The same orders, the same answers, and then the same servers, in the same states under the same numbers."""
    with Pair(tmp_path, CONFIGURATION, ("front", "alone"), echo=echo.port) as pair:
        for question in QUESTIONS:
            answers = [worded(side.ask(question.format(echo=echo.port))) for side in pair]
            assert answers[0] == answers[1], question
        found = [
            {key: {name: row[name] for name in row.keys() - _IGNORED} for key, row in side.states().items()}
            for side in pair
        ]
        assert found[0] == found[1]
        assert [*pair.haproxy.states()] == [*pair.pasvport.states()]
        for side in pair:
            assert "ermission denied" in ask(side.user, "add server be/z 127.0.0.1:1")
            assert "ermission denied" in ask(side.user, "del server be/n1")


@needs_haproxy
def test_options_are_refused_where_haproxy_refuses_them(tmp_path, echo):
    """Every word of a server line: what HAProxy does not accept here, is not; what it does, is, if we have it."""
    with Pair(tmp_path, CONFIGURATION, ("front", "alone"), echo=echo.port) as pair:
        known = set()
        for row in SERVER:
            # The last word is none, so that nothing is ever added: only what is said about the first counts.
            answers = [side.ask(f"add server first/z 127.0.0.1:1 {row.name} x zzz") for side in pair]
            refused = ["is not accepted for dynamic server" in answer for answer in answers]
            assert refused[0] == refused[1], row.name
            known.add(refused[0])
        assert known == {True, False}


def test_an_added_server_is_served_once_it_is_enabled(tmp_path):
    """Checks wait for `enable health`; clients for `enable server`; what a session holds cannot be deleted."""
    (port,) = free_ports(1)
    api = tmp_path / "sock"
    with Upstream() as one, Upstream() as two, Running(tmp_path, simple(port, one.port, api), "-W") as balancer:
        with session(port, one) as (client, server):
            added = ask(api, f"add server be/two 127.0.0.1:{two.port} check inter 50 fall 1")
            assert added.strip() == "New server registered."
            state = states(ask(api, "show servers state"))["be", "two"]
            assert (state["srv_admin_state"], state["srv_op_state"]) == ("1", "0")
            ask(api, "enable server be/two; disable server be/one")
            assert rows(ask(api, "show stat"))["be", "two"]["check_status"] in ("", "INI")
            ask(api, "enable health be/two")
            until(lambda: rows(ask(api, "show stat"))["be", "two"]["check_status"] == "L4OK", "a check")
            # Checks connect too: sessions are those that say something.
            with connect(port, "127.0.0.9") as newcomer:
                newcomer.sendall(b"hello")
                with accept_speaking(two, b"hello"):
                    talk(client, server)
                    ask(api, "disable server be/two")
                    assert ask(api, "del server be/two").startswith("Server still has connections")
                    assert ask(api, "del server be/one").startswith("Server still has connections")
            until(lambda: ask(api, "del server be/two").strip() == "Server deleted.", "the server to be deleted")
            assert ("be", "two") not in rows(ask(api, "show stat"))
            talk(client, server)
        until(lambda: len(balancer.workers()) == 2, "former workers to leave")


def accept_speaking(upstream, words):
    """The first connection that says so much; those that say nothing are checks."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        peer = upstream.accept()
        if peer.recv(len(words)) == words:
            return peer
        peer.close()
    raise AssertionError("nobody spoke")


def simple(port, upstream, api, servers=""):
    return (
        f"global\n    nbthread 2\n    maxconn 100\n    stats socket {api} level admin\n    stats maxconn 50\n"
        "defaults\n    mode tcp\n    timeout client 20s\n    timeout server 20s\n    timeout connect 5s\n"
        f"frontend fe\n    bind 127.0.0.1:{port}\n    maxconn 40\n    default_backend be\n"
        "frontend shut\n    bind 127.0.0.1:0\n    default_backend be\n"
        "backend be\n    stick-table type ip size 100 expire 1h store conn_cnt\n    stick on src\n"
        f"    server one 127.0.0.1:{upstream}\n{servers}"
    ).replace("127.0.0.1:0", f"127.0.0.1:{free_ports(1)[0]}")


def test_nothing_that_was_ordered_is_lost(tmp_path):
    """Not what a reload forgets either: limits, closed frontends, addresses; nor counters, entries, the uptime."""
    (port,) = free_ports(1)
    api = tmp_path / "sock"
    text = simple(port, 9, api, "    server spare 127.0.0.1:9\n")
    with Upstream() as one, Upstream() as two, Running(tmp_path, text) as balancer:
        ask(api, f"set server be/spare addr 127.0.0.1 port {two.port}; set server be/spare weight 3")
        ask(api, f"set server be/one addr 127.0.0.1 port {one.port}; set server be/one state drain")
        ask(api, "set maxconn frontend fe 30; set maxconn global 60; set rate-limit sessions global 77")
        ask(api, "disable frontend shut")
        with session(port, two) as pair:
            before = started(api)
            for number in range(2):
                assert ask(api, f"add server be/s{number} 127.0.0.1:9").strip() == "New server registered."
            check_orders(api, one.port, two.port)
            assert started(api) == before
            assert "key=127.0.0.1" in ask(api, "show table be")
            talk(*pair)
            with session(port, two) as another:
                talk(*another)
        assert "stopped (cumulated" not in balancer.messages()


def started(api):
    return next(line for line in ask(api, "show info").splitlines() if line.startswith("Start_time_sec"))


def check_orders(api, one, two):
    stat, info = rows(ask(api, "show stat")), ask(api, "show info")
    assert (stat["fe", "FRONTEND"]["slim"], stat["fe", "FRONTEND"]["stot"]) == ("30", "1")
    assert (stat["be", "spare"]["addr"], stat["be", "spare"]["weight"]) == (f"127.0.0.1:{two}", "3")
    assert stat["be", "one"]["addr"] == f"127.0.0.1:{one}"
    assert stat["shut", "FRONTEND"]["status"] == "PAUSED"
    assert states(ask(api, "show servers state"))["be", "one"]["srv_admin_state"] == "8"
    for word in ("\nMaxconn: 60", "\nSessRateLimit: 77"):
        assert word in info


def test_orders_in_quick_succession_are_served_together(tmp_path):
    """Sixteen clients at once, each with an order of its own: all are followed."""
    (port,) = free_ports(1)
    api = tmp_path / "sock"
    with Upstream() as one, Running(tmp_path, simple(port, one.port, api)), session(port, one) as pair:
        orders = [f"add server be/n{number} 127.0.0.1:9" for number in range(16)]
        with ThreadPoolExecutor(len(orders)) as pool:
            answers = list(pool.map(lambda order: ask(api, order).strip(), orders))
        assert set(answers) == {"New server registered."}
        found = [key[1] for key in states(ask(api, "show servers state")) if key[0] == "be"]
        assert sorted(found) == sorted(["one", *(f"n{number}" for number in range(16))])
        twice = ask(api, "del server be/n1; add server be/n1 127.0.0.1:9; del server be/n1; del server be/n1")
        assert twice.split("\n\n")[:-1] == [
            "Server deleted.",
            "New server registered.",
            "Server deleted.",
            "No such server.",
        ]
        talk(*pair)


def test_a_reload_forgets_what_the_files_do_not_have(tmp_path):
    (port,) = free_ports(1)
    api = tmp_path / "sock"
    with Upstream() as one, Running(tmp_path, simple(port, one.port, api)):
        ask(api, "add server be/kept 127.0.0.1:9; add server be/lost 127.0.0.1:9")
        unknown = ask(api, "add server be/nobody no.such.name.invalid:9").strip()
        assert unknown == "could not resolve address 'no.such.name.invalid'."
        balancer_file = tmp_path / "one.cfg"
        text = balancer_file.read_text()
        balancer_file.write_text(text + "    server kept 127.0.0.1:9\n")
        assert ask(api, "reload").strip() == "Success=1"
        found = states(ask(api, "show servers state"))
        assert ("be", "lost") not in found
        assert found["be", "kept"]["srv_admin_state"] == "1"


FTP = """
global
    nbthread 1
    stats socket {api} level admin
defaults
    mode ftp
    timeout client 60s
    timeout server 60s
    timeout connect 5s
frontend fe
    bind 127.0.0.1:{port}
    bind 127.0.0.1:{data} data
    default_backend be
backend be
    server one 127.0.0.1:{server}
"""


def stays(client, server):
    """Longer than the silence after which a drained session ends, and served then."""
    client.settimeout(2.5)
    with pytest.raises(TimeoutError):
        client.recv(100)
    client.settimeout(20)
    client.sendall(b"NOOP\r\n")
    assert server.recv(100) == b"NOOP\r\n"
    server.sendall(b"200 ok\r\n")
    assert client.recv(100) == b"200 ok\r\n"


def test_sessions_in_mode_ftp_go_on_through_added_servers_and_reloads(tmp_path):
    """Neither concerns those who are there: they stay in their generation as long as they like."""
    port, data = free_ports(2)
    api = tmp_path / "sock"
    with Upstream() as one:
        text = FTP.format(api=api, port=port, data=data, server=one.port)
        with Running(tmp_path, text), connect(port) as client, one.accept() as server:
            server.sendall(b"220 here\r\n")
            assert client.recv(100) == b"220 here\r\n"
            assert ask(api, "add server be/two 127.0.0.1:9").strip() == "New server registered."
            stays(client, server)
            assert ask(api, "reload").strip() == "Success=1"
            stays(client, server)
