"""Server states at the start, from files that the real HAProxy wrote, and across reloads."""

import re
import select
import signal
import socket
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api_rig import states as listed
from farm.ports import free_ports
from farm.processes import Child
from farm.waiting import until
from pasvport.control import state_files
from pasvport.exposition.server_state import COLUMNS
from process_rig import Running, Upstream, connect, session
from real_haproxy import HAPROXY, needs_haproxy


@pytest.fixture
def upstream():
    with Upstream() as server:
        yield server


def ask(path, command):
    """The answer of a stats socket."""
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(10)
        channel.connect(str(path))
        channel.sendall(command.encode() + b"\n")
        answer = b""
        while data := channel.recv(65536):
            answer += data
    return answer.decode()


def states(path):
    """{server: (operation, admin, weight, check enabled, port)}"""
    found = {}
    for line in listed(ask(path, "show servers state")).values():
        words = ("srv_op_state", "srv_admin_state", "srv_uweight", "srv_check_state", "srv_port")
        operation, admin, weight, check, port = (int(line[word]) for word in words)
        found[line["srv_name"]] = (operation, admin, weight, bool(check & 4), port)
    return found


def text(port, upstream, api, settings="", backend="", extra=""):
    return f"""
global
    nbthread 1
    stats socket {api} level admin
{settings}
defaults
    mode tcp
    timeout client 20s
    timeout server 20s
    timeout connect 5s
frontend fe
    bind 127.0.0.1:{port}
    default_backend be
backend be
{backend}
    server up 127.0.0.1:{upstream} check inter 100s weight 10
    server light 127.0.0.1:{upstream} check inter 100s weight 10
    server drained 127.0.0.1:{upstream} check inter 100s weight 10
    server closed 127.0.0.1:{upstream} check inter 100s weight 10
    server fallen 127.0.0.1:{upstream} check inter 100s weight 10
    server unchecked 127.0.0.1:{upstream} check inter 100s weight 10
{extra}"""


ORDERS = (
    "set server be/light weight 3",
    "set server be/drained state drain",
    "set server be/closed state maint",
    "set server be/fallen health down",
    "disable health be/unchecked",
)


@needs_haproxy
@pytest.mark.parametrize("where", ["global", "local"])
def test_the_states_of_a_real_haproxy_are_taken_over(tmp_path, upstream, where):
    theirs, ours = tmp_path / "theirs.sock", tmp_path / "ours.sock"
    port = free_ports(1)[0]
    file = tmp_path / "theirs.cfg"
    file.write_text(text(port, upstream.port, theirs))
    haproxy = Child([str(HAPROXY), "-db", "-f", str(file)], tmp_path / "theirs.log")
    try:
        until(theirs.exists, "HAProxy's stats socket")
        for order in ORDERS:
            ask(theirs, order)
        written = ask(theirs, "show servers state")
        expected = states(theirs)
    finally:
        haproxy.stop()
    (tmp_path / "be").write_text(written)
    settings = f"    server-state-base {tmp_path}\n    server-state-file be"
    backend = f"    load-server-state-from-file {where}"
    with Running(tmp_path, text(port, upstream.port, ours, settings, backend)) as balancer:
        assert states(ours) == expected
        assert "Server be/fallen is DOWN, changed from server-state after a reload." in balancer.messages()


def test_what_is_wrong_with_a_file_is_said(tmp_path, upstream):
    api, port = tmp_path / "api.sock", free_ports(1)[0]
    settings = f"    server-state-file {tmp_path}/states"
    configuration = text(port, upstream.port, api, settings, "    load-server-state-from-file global")
    for content, complaint in (
        (None, "Can't open global server state file .*: No such file or directory"),
        ("", "Can't get version of the global server state file"),
        ("2\n", "Can't get version of the global server state file"),
        ("1\nbe up\n", "corrupted global server state file .* at line 1"),
        (
            "1\n3 be 1 up - 2 0 1 1 --5 1 0 0 0 0 0 0 - 0 - 0 0 - - 0\n",
            "failed for server 'be/up', invalid srv_time_since_last_change value '--5'",
        ),
        ("1\n3 be 1 up - 7 0 1 1 5 1 0 0 0 0 0 0 - 0 - 0 0 - - 0\n", "failed for server 'be/up', invalid srv_op_state"),
    ):
        if content is not None:
            (tmp_path / "states").write_text(content)
        with Running(tmp_path, configuration) as balancer:
            assert re.search(complaint, balancer.messages())
            assert states(api)["up"][:3] == (2, 0, 10)


SERVER = "3 be 1 up - 2 0 1 1 5 1 0 0 0 0 0 0 - 0 - 0 0 - - 0"


@given(st.lists(st.sampled_from([SERVER, SERVER.rpartition(" ")[0], "be up", "# x", ""]) | st.text(), max_size=5))
def test_a_file_of_anything_gives_whole_lines_or_a_complaint(lines):
    said = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "states")
        path.write_text("\n".join(["1", *lines]), errors="replace")
        found = state_files._read(path, "file", said.append)
    assert not (found and said)
    assert all(set(COLUMNS.split()[:20]) <= line.keys() for line in found.values())
    if set(lines) <= {SERVER, "# x", ""}:
        assert not said
        assert set(found) == ({("be", "up")} if SERVER in lines else set())
    if "be up" in lines:
        assert said


def test_states_and_counters_survive_a_reload(tmp_path, upstream):
    api, port = tmp_path / "api.sock", free_ports(1)[0]
    before = text(port, upstream.port, api)
    with Running(tmp_path, before, "-W") as balancer:
        for order in ORDERS:
            ask(api, order)
        with session(port, upstream):
            pass
        until(lambda: counted(api, "fe,FRONTEND", "bin") == "4", "the session to be counted")
        known = states(api)
        # A weight that the text changes is the text's; a server that comes begins as any.
        changed = before.replace("server up 127.0.0.1", "server up 127.0.0.1").replace(
            f"server light 127.0.0.1:{upstream.port} check inter 100s weight 10",
            f"server light 127.0.0.1:{upstream.port} check inter 100s weight 20",
        )
        balancer.file.write_text(changed + f"    server fresh 127.0.0.1:{upstream.port}\n")
        balancer.signal(signal.SIGUSR2)
        balancer.wait_for("(?s)Former worker.*exited with code 0")
        now = states(api)
        assert now.pop("fresh")[:2] == (2, 0)
        assert now.pop("light")[2] == 20
        del known["light"]
        assert now == known
        assert counted(api, "fe,FRONTEND", "stot") == "1"
        assert counted(api, "fe,FRONTEND", "bin") == "4"
        assert counted(api, "be,BACKEND", "bout") == "4"
        with session(port, upstream):
            pass
        until(lambda: counted(api, "fe,FRONTEND", "stot") == "2", "both generations' sessions in one sum")


def counted(api, row, column):
    """One value of `show stat`."""
    lines = ask(api, "show stat").splitlines()
    names = lines[0].removeprefix("# ").split(",")
    values = next(line for line in lines if line.startswith(row)).split(",")
    return values[names.index(column)]


def home_of(port, source, *upstreams):
    """Whom a client is sent to."""
    with connect(port, source) as client:
        client.sendall(b"x")
        ready, _, _ = select.select([upstream.listener for upstream in upstreams], [], [], 10)
        home = next(upstream for upstream in upstreams if upstream.listener in ready)
        with home.accept():
            return home


def test_entries_of_stick_tables_survive_a_reload(tmp_path):
    """With another order of servers, other workers and another size: the client stays with its server."""
    api, port = tmp_path / "api.sock", free_ports(1)[0]
    with Upstream() as one, Upstream() as other:

        def configuration(servers, workers, size):
            lines = "".join(f"    server {name} 127.0.0.1:{at.port}\n" for name, at in servers)
            return f"""
global
    nbthread {workers}
    stats socket {api} level admin
defaults
    mode tcp
    timeout client 20s
    timeout server 20s
    timeout connect 5s
frontend fe
    bind 127.0.0.1:{port}
    default_backend be
backend be
    stick-table type ip size {size} expire 10m store conn_cnt
    stick on src
{lines}"""

        servers = [("one", one), ("other", other)]
        clients = [f"127.0.3.{number}" for number in range(1, 9)]
        with Running(tmp_path, configuration(servers, 2, "1k"), "-W") as balancer:
            homes = {source: home_of(port, source, one, other) for source in clients}
            assert len(set(homes.values())) == 2
            for number, (workers, size) in enumerate([(2, "2k"), (3, "1k"), (1, "1k"), (2, "1k")], 1):
                servers = servers[::-1]
                balancer.file.write_text(configuration(servers, workers, size))
                balancer.signal(signal.SIGUSR2)
                until(lambda n=number: balancer.log.read_text().count("Proxy fe stopped") == n, "a reload")
                assert {source: home_of(port, source, one, other) for source in clients} == homes
                shown = ask(api, "show table be")
                assert len(re.findall(rf"conn_cnt={number + 1}\b", shown)) == len(clients), shown
                listed = {key: int(left) for key, left in re.findall(r"key=(\S+) .*?exp=([0-9]+)", shown)}
                assert set(listed) == set(clients)
                assert all(500_000 < left <= 600_000 for left in listed.values())
