"""The runtime API beside the real HAProxy's: the same configuration, the same orders, the same answers."""

from __future__ import annotations

import json
import re

import pytest

from api_rig import SEPARATOR, Connection, Echo, Pair, exchange
from farm.ports import free_ports
from farm.waiting import until
from real_haproxy import needs_haproxy

pytestmark = needs_haproxy

CONFIGURATION = """
global
    stats socket {admin} mode 600 level admin
    stats socket {user} mode 600 level user
    nbthread 1
    maxconn 2000
    node here
    description "a balancer"
defaults
    mode tcp
    timeout client 20s
    timeout server 20s
    timeout connect 5s
frontend fe
    bind 127.0.0.1:{front} name one
    bind 127.0.0.1:{other}
    option socket-stats
    maxconn 50
    default_backend be
backend be
    balance roundrobin
    option log-health-checks
    server s1 127.0.0.1:{echo} check inter 100 weight 10 maxconn 20
    server s2 127.0.0.1:{dead} check inter 100 fall 1 weight 3
    server s3 127.0.0.1:{echo} track be/s1
    server s4 127.0.0.1:{echo} disabled
    server s5 127.0.0.1:{echo} weight 2 maxconn 7 maxqueue 9
    server s6 127.0.0.1:{dead} check inter 100 fall 1 backup agent-check agent-port {dead} agent-inter 100
listen li
    bind 127.0.0.1:{listen}
    rate-limit sessions 20
    balance leastconn
    fullconn 123
    server a 127.0.0.1:{echo} check inter 100
backend bare
    balance source
frontend alone
    bind 127.0.0.1:{alone}
"""


@pytest.fixture(scope="module")
def echo():
    with Echo() as server:
        yield server


def settled(pair):
    """Checks have said their first word, and the same on both sides."""

    def same():
        first, second = ({key: row["status"] for key, row in side.rows().items()} for side in pair)
        return first == second and first["be", "s2"] == first["be", "s6"] == "DOWN" and first["be", "s1"] == "UP"

    until(same, "checks to be over")
    until(lambda: all(side.rows()["be", "s6"]["last_agt"] for side in pair), "agents to be asked")
    return pair


def sides(folder, echo):
    (dead,) = free_ports(1)
    return Pair(folder, CONFIGURATION, ("front", "other", "listen", "alone"), echo=echo.port, dead=dead)


@pytest.fixture(scope="module")
def pair(tmp_path_factory, echo):
    """For questions that change nothing."""
    with sides(tmp_path_factory.mktemp("pair"), echo) as both:
        for side in settled(both):
            for _ in range(6):
                assert exchange(side.ports["front"]) == b"hello\n"
            assert exchange(side.ports["listen"], b"x" * 1000) == b"x" * 1000
        yield both


@pytest.fixture(scope="module")
def subdued(tmp_path_factory, echo):
    """For orders, which checks do not undo."""
    with sides(tmp_path_factory.mktemp("subdued"), echo) as both:
        settled(both)
        for side in both:
            for server in ("be/s1", "be/s2", "be/s6", "li/a"):
                assert side.ask(f"disable health {server}") == "\n"
            assert side.ask("disable agent be/s6") == "\n"
        yield both


# --- show stat ----------------------------------------------------------------------------------------------------

MEASURED = frozenset(
    (
        *(
            "lastchg",
            "downtime",
            "check_duration",
            "agent_duration",
            "lastsess",
            "rate",
            "rate_max",
            "conn_rate",
        ),
        *(
            "conn_rate_max",
            "qtime",
            "ctime",
            "ttime",
            "qtime_max",
            "ctime_max",
            "ttime_max",
            "used_conn_cur",
        ),
        *(
            "need_conn_est",
            "chkfail",
            "check_status",
            "agent_status",
            "addr",
            "last_chk",
            "last_agt",
        ),
    )
)
"""Numbers that hang on the moment, or on what a health check counts as a connection; addr has other ports."""


def static(row):
    """The fields that every HAProxy has; modules' come after the separator."""
    names = list(row)
    return {name: row[name] for name in names[: names.index(SEPARATOR)]}


def test_rows_and_static_fields_are_the_same(pair):
    first, second = (side.rows() for side in pair)
    assert list(first) == list(second)
    assert [list(static(row)) for row in first.values()] == [list(static(row)) for row in second.values()]


def test_the_same_fields_are_empty(pair):
    def filled(row):
        # HAProxy forgets the last check's words while the next one runs.
        return {name for name, value in static(row).items() if value and name not in ("last_chk", "last_agt")}

    for key, row in pair.haproxy.rows().items():
        assert filled(pair.pasvport.rows()[key]) == filled(row), key


def test_words_of_checks_are_the_same(pair):
    def words(side, server):
        row = side.rows()["be", server]
        return row["last_chk"], row["last_agt"]

    for server in ("s1", "s2", "s6"):
        mine = words(pair.pasvport, server)
        until(lambda mine=mine, server=server: words(pair.haproxy, server) == mine, f"{mine} of {server}")


def test_values_that_do_not_hang_on_the_moment_are_the_same(pair):
    for key, row in pair.haproxy.rows().items():
        mine = static(pair.pasvport.rows()[key])
        for name, value in static(row).items():
            if name not in MEASURED:
                assert mine[name] == value, (key, name)


def test_statuses_of_checks_are_the_same(pair):
    for key, row in pair.haproxy.rows().items():
        mine = pair.pasvport.rows()[key]
        for name in ("check_status", "agent_status"):
            assert mine[name].removeprefix("* ") == row[name].removeprefix("* ")


def test_addresses_look_the_same(pair):
    for key, row in pair.haproxy.rows().items():
        mine = pair.pasvport.rows()[key]["addr"]
        assert re.sub(r":\d+$", ":N", mine) == re.sub(r":\d+$", ":N", row["addr"])


def typed(text):
    """{(letter, iid, sid, name): tags and type} without the modules."""
    found = {}
    for line in text.strip().splitlines():
        place, tags, kind, _ = line.split(":", 3)
        letter, proxy, identity, position, name, process = place.split(".")
        if int(position) <= 102:
            found[letter, proxy, identity, position, name, process] = (tags, kind)
    return found


def test_typed_output_is_tagged_the_same(pair):
    first, second = (typed(side.ask("show stat typed")) for side in pair)
    unknown = {key for key in first if key[4] in ("check_code", "agent_code")}
    assert {key: tags for key, tags in first.items() if key not in unknown} == second


def test_json_is_built_the_same(pair):
    first, second = (json.loads(side.ask("show stat json")) for side in pair)
    assert len(first) == len(second)
    for theirs, mine in zip(first, second, strict=True):
        assert list(theirs[0]) == list(mine[0])
        assert [f["tags"] for f in theirs if f["field"]["pos"] < 4] == [
            f["tags"] for f in mine if f["field"]["pos"] < 4
        ]


@pytest.mark.parametrize(
    "words",
    ["3 4 2", "be 2 -1", "-1 8 1", "-1 2 -1", "fe -1 -1", "li 5 -1", "99 1 1", "-1 4 -1 up", "-1 4 -1 no-maint", "foo"],
)
def test_selections_select_the_same(pair, words):
    first, second = (side.ask(f"show stat {words}") for side in pair)
    assert [line.split(",")[:2] for line in first.splitlines()] == [line.split(",")[:2] for line in second.splitlines()]


def test_users_do_not_see_addresses(pair):
    for side in pair:
        with Connection(side.user) as connection:
            connection.send("show stat\n")
            answer = connection.rest()
        assert "be,s1," in answer
        assert "127.0.0.1" not in answer
        assert "roundrobin" not in answer


# --- show info ----------------------------------------------------------------------------------------------------


def test_info_has_the_same_fields_in_the_same_order(pair):
    first, second = ([line.split(": ")[0] for line in side.ask("show info").splitlines()] for side in pair)
    assert first == second


def test_info_is_tagged_the_same(pair):
    first, second = (
        [line.split(":")[:3] for line in side.ask("show info typed").strip().splitlines()] for side in pair
    )
    assert first == second


@pytest.mark.parametrize(
    "name", ["node", "description", "Maxconn", "Hard_maxconn", "Nbthread", "Listeners", "CurrConns"]
)
def test_info_says_the_same(pair, name):
    first, second = (re.search(rf"^{name}: (.*)$", side.ask("show info"), re.M)[1] for side in pair)
    if name == "Listeners":
        # Its own sockets are among HAProxy's.
        first = str(int(first) - 2)
    assert first == second


# --- answers ------------------------------------------------------------------------------------------------------

QUESTIONS = """
show servers state zz
show servers conn zz
show backend
show cli level
show errors zz
show env NOSUCH
set server
set server be
set server be/
set server /s1
set server be/zz state ready
set server zz/s1 state ready
set server be/s5
set server be/s5 foo
set server be/s5 state
set server be/s5 state foo
set server be/s5 weight
set server be/s5 weight x
set server be/s5 weight 300
set server be/s5 weight 5x
set server be/s5 weight -1%
set server be/s5 health
set server be/s5 health foo
set server be/s3 health up
set server be/s5 agent up
set server be/s6 agent
set server be/s6 agent foo
set server be/s5 addr
set server be/s5 addr foo
set server be/s5 addr 127.0.0.1
set server be/s5 addr 127.0.0.1 port
set server be/s5 addr 127.0.0.1 port x
set server be/s5 addr 127.0.0.1 port +2
set server be/s5 addr 127.0.0.1 foo 5
set server be/s5 check-port
set server be/s5 check-port 5
set server be/s1 check-port x
set server be/s1 check-port 70000
set server be/s5 check-addr 1.2.3.4
set server be/s1 check-addr
set server be/s1 check-addr foo
set server be/s5 agent-addr 127.0.0.1
set server be/s6 agent-addr
set server be/s6 agent-addr x..y
set server be/s6 agent-port
set server be/s6 agent-port x
set server be/s5 agent-send hello
set server be/s5 fqdn
set server be/s5 fqdn a.b
set server be/s5 ssl on
get weight
get weight be
get weight be/zz
get weight zz/s1
get weight be/s1
set weight be/s1
set weight be/zz 4
set weight
enable server
enable server be/zz
enable server be
enable health be/s5
enable agent be/s5
disable health be/s5
disable agent be/s5
enable health
enable health be/zz
set maxconn frontend fe
set maxconn frontend zz 40
set maxconn frontend
set maxconn server be/s1
set maxconn server be/s1 x
set maxconn server be/zz 5
set maxconn server be
set maxconn global
set maxconn global 999999
set rate-limit connections global
set rate-limit connections global -1
set timeout
set timeout cli
set timeout cli x
set timeout cli 0
set timeout foo 5
shutdown frontend
shutdown frontend xx
disable frontend
disable frontend be
enable frontend
enable frontend fe
set severity-output
set severity-output foo
show stat domain
show stat domain dns
show stat zz 1 1
user;show cli level;show errors
operator;show cli level;clear counters all;set server be/s1 state ready
operator;user;operator
user;set timeout cli 3;set maxconn global 3;get weight be/s1
set severity-output number;get weight zz/zz;set server be/s1 addr 127.0.0.1
set severity-output string;set server be/s1 weight 300;get weight be/s1
""".strip().splitlines()


def plain(answer):
    """Without empty lines: some of HAProxy's messages lack their line feed."""
    return [line for line in answer.splitlines() if line]


@pytest.mark.parametrize("line", QUESTIONS)
def test_the_same_answer(pair, line):
    first, second = (plain(side.ask(line)) for side in pair)
    assert first == second


@pytest.mark.parametrize(
    "lines",
    [
        ["prompt", "show cli level", "show cli level;show cli level", "quit"],
        ["prompt;show cli level"],
        ["prompt", "prompt", "show cli level", "show cli level"],
        ["  show   cli level  "],
        ["show cli level;show cli level", "show cli level"],
        ["show cli level <<", "abc", "", "show cli level"],
        ["prompt", "show cli level <<", "abc", "def", "", "show cli level"],
        ["prompt", "set severity-output number", "get weight be/zz"],
    ],
)
def test_the_same_transcript(pair, lines):
    first, second = (side.ask(*lines) for side in pair)
    assert first == second


def test_an_unknown_command_is_answered_with_those_that_begin_alike(pair):
    first, second = (side.ask("set maxconn foo 5").splitlines() for side in pair)
    assert first == second


# --- orders -------------------------------------------------------------------------------------------------------

ORDERS = """
set server be/s1 state drain
set server be/s1 state maint
set server be/s1 state ready
set server be/s1 health down
set server be/s1 health stopping
set server be/s1 health up
set server be/s1 weight 5
set server be/s1 weight 50%
set server be/s1 weight 0
set server be/s1 weight 100%
set server be/s3 state drain
set server be/s3 state ready
disable server be/s1
enable server be/s1
set server be/s5 state maint
set server be/s5 state drain
set server be/s5 state ready
enable server be/s4
disable server be/s4
set server be/s6 health up
set server be/s1 state maint
set server be/s5 state maint
set server be/s2 health up
set server be/s2 state maint
set server be/s6 health down
set server be/s1 state ready
set server be/s5 state ready
set server be/s2 state ready
set server be/s5 addr 127.0.0.2
set server be/s5 addr 127.0.0.1 port 47
set weight be/s5 7
set maxconn server be/s1 5
set maxconn frontend fe 40
set maxconn global 500
""".strip().splitlines()

STATED = (
    *(
        "srv_addr",
        "srv_op_state",
        "srv_admin_state",
        "srv_uweight",
        "srv_iweight",
        "srv_check_status",
    ),
    *(
        "srv_check_result",
        "srv_agent_state",
        "srv_check_port",
        "srv_check_addr",
        "srv_agent_addr",
    ),
)
SHOWN = (
    *(
        "status",
        "weight",
        "uweight",
        "act",
        "bck",
        "slim",
        "tracked",
        "qlimit",
        "chkdown",
        "check_status",
    ),
    *(
        "check_desc",
        "check_rise",
        "agent_status",
    ),
)


def standing(side):
    """What an order can change, of every server."""
    stated = {key: [row[name] for name in STATED] for key, row in side.states().items()}
    shown = {key: [row[name] for name in SHOWN] for key, row in side.rows().items()}
    return stated, shown


def test_orders_have_the_same_answers_and_effects(subdued):
    for line in ORDERS:
        first, second = (plain(side.ask(line)) for side in subdued)
        assert first == second, line
        first, second = (standing(side) for side in subdued)
        assert first == second, line
    first, second = (re.findall(r"^Maxconn: \d+$", side.ask("show info"), re.M) for side in subdued)
    assert first == second


def test_frontends_close_and_open_alike(subdued):
    lines = [
        *("disable frontend li", "disable frontend li", "enable frontend li", "enable frontend li"),
        *("shutdown frontend alone", "shutdown frontend alone", "enable frontend alone", "disable frontend alone"),
    ]
    for line in lines:
        first, second = (plain(side.ask(line)) for side in subdued)
        assert first == second, line
        first, second = ({key: row["status"] for key, row in side.rows().items()} for side in subdued)
        assert first == second, line


def test_a_server_without_check_has_no_state_of_a_check_in_maintenance(tmp_path, echo):
    running = 1

    def flags(side):
        head, *rows = side.ask("show servers state").splitlines()[1:]
        columns = head.removeprefix("# ").split()
        found = (dict(zip(columns, row.split(), strict=True)) for row in rows if row)
        return {
            row["srv_name"]: (int(row["srv_check_state"]) & ~running, int(row["srv_agent_state"]) & ~running)
            for row in found
        }

    with sides(tmp_path, echo) as both:
        settled(both)
        first, second = map(flags, both)
        assert first == second
        orders = ("disable server", "enable server", "disable health", "disable server")
        for order in orders:
            for side in both:
                for server in ("be/s1", "be/s2", "be/s5", "be/s6"):
                    side.ask(f"{order} {server}")
            first, second = map(flags, both)
            assert first == second, order
            assert second["s5"] == (0, 0)


def test_counters_are_cleared_alike(tmp_path, echo):
    cleared = ["stot", "bin", "bout", "smax", "lbtot", "connect", "conn_tot", "chkdown", "econ", "cli_abrt", "qmax"]

    def info(side):
        return [row for row in side.ask("show info").splitlines() if ": " in row]

    def counters(side):
        return {key: {name: row[name] for name in cleared} for key, row in side.rows().items()}

    with sides(tmp_path, echo) as both:
        for side in settled(both):
            for _ in range(3):
                exchange(side.ports["listen"])
        for line in ("clear counters", "clear counters all"):
            for side in both:
                assert side.ask(line) == "\n"
            first, second = map(counters, both)
            assert first == second, line
        # Both keep the totals of the process; HAProxy's count its stats connections too.
        assert all(int(dict(row.split(": ", 1) for row in info(side))["CumConns"]) >= 3 for side in both)
        for side in both:
            assert exchange(side.ports["listen"]) == b"hello\n"
        first, second = map(counters, both)
        assert first == second
        assert first["li", "a"]["stot"] == "1"
