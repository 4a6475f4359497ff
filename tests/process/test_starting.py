"""How a process starts, or says why it does not: ports, pid file, background, service manager, identity, limits."""

import contextlib
import os
import pwd
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from compiling import compiled
from farm.ports import free_ports
from farm.processes import is_running
from farm.waiting import listening, until
from pasvport.control.second_start import refuse_second_start, running_instance, taken_places
from pasvport.errors import ResourceError
from pasvport.terminal.connection import ask
from process_rig import (
    COMMAND,
    Running,
    Upstream,
    configuration,
    connect,
    kill,
    session,
    talk,
    until_gone,
    workers_of,
)

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def start(folder, text, *flags, command=COMMAND, **options):
    file = folder / "start.cfg"
    file.write_text(text)
    return subprocess.run([*command, "-f", str(file), *flags], capture_output=True, text=True, timeout=60, **options)


@pytest.fixture
def upstream():
    with Upstream() as server:
        yield server


@pytest.fixture
def port():
    return free_ports(1)[0]


# --- ports --------------------------------------------------------------------------------------------------------


def test_every_port_that_cannot_be_bound_is_named_and_nothing_stays(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        first, second = one.getsockname()[1], two.getsockname()[1]
        (free,) = free_ports(1)
        text = configuration(first, 1, frontend=f"    bind 127.0.0.1:{free}\n")
        text += f"listen other\n    bind 127.0.0.1:{second}\n    server s 127.0.0.1:1\n"
        result = start(tmp_path, text)
    assert result.returncode == 1
    line = text.splitlines().index(f"    bind 127.0.0.1:{first}") + 1
    name = tmp_path / "start.cfg"
    busy = "cannot bind socket (Address already in use)"
    assert (
        f"[ALERT]    ({pid_of(result)}) : Binding [{name}:{line}] for frontend fe: {busy} for [127.0.0.1:{first}]\n"
        in result.stderr
    )
    assert f"for proxy other: {busy} for [127.0.0.1:{second}]\n" in result.stderr
    assert result.stderr.endswith(
        f"({pid_of(result)}) : [pasvport.main()] Some protocols failed to start their listeners! Exiting.\n"
    )
    assert ("127.0.0.1", free) not in listening()


def pid_of(result):
    return result.stderr.partition("(")[2].partition(")")[0]


def test_a_range_is_bound_once_for_each_worker_and_served_on_every_port(tmp_path, upstream):
    ports = consecutive(5)
    text = configuration(f"{ports[0]}-{ports[-1]}", upstream.port)
    with Running(tmp_path, text) as balancer:
        rows = Path("/proc/net/tcp").read_text()
        assert all(rows.count(f"0100007F:{port:04X} 00000000:0000 0A") == 2 for port in ports)
        for port in ports:
            with session(port, upstream):
                pass
        assert len(balancer.workers()) == 2


def consecutive(count):
    """That many neighbouring free ports, below those the kernel gives to outgoing connections."""
    while True:
        first = random.randrange(20000, 30000)
        with contextlib.suppress(OSError), contextlib.ExitStack() as held:
            for port in range(first, first + count):
                held.enter_context(socket.create_server(("127.0.0.1", port)))
            return list(range(first, first + count))


def test_a_unix_listener_is_shared_by_the_workers(tmp_path, upstream, port):
    path = tmp_path / "front"
    text = configuration(port, upstream.port, frontend=f"    bind {path} mode 600\n")
    with Running(tmp_path, text), socket.socket(socket.AF_UNIX) as client:
        assert path.stat().st_mode & 0o777 == 0o600
        client.settimeout(10)
        client.connect(str(path))
        with upstream.accept() as server:
            client.sendall(b"x")
            assert server.recv(1) == b"x"


def test_without_reuseport_the_workers_share_one_socket(tmp_path, upstream, port):
    with Running(tmp_path, configuration(port, upstream.port), "-dR"):
        assert Path("/proc/net/tcp").read_text().count(f"0100007F:{port:04X} 00000000:0000 0A") == 1
        with session(port, upstream), session(port, upstream, "127.0.0.2"), session(port, upstream, "127.0.0.3"):
            pass


# --- pid file, background, service manager ------------------------------------------------------------------------


def test_the_pid_file_names_the_supervisor(tmp_path, port):
    with Running(tmp_path, configuration(port, 1)) as balancer:
        assert balancer.pidfile.read_text() == f"{balancer.pid}\n"


def test_a_pid_file_that_cannot_be_written_stops_the_start(tmp_path, port):
    result = start(tmp_path, configuration(port, 1), "-p", "/nonexistent/pid")
    assert result.returncode == 1
    assert "[pasvport.main()] Cannot create pidfile /nonexistent/pid" in result.stderr


def test_a_start_that_fails_leaves_the_pid_file_of_the_one_that_runs(tmp_path, port):
    with Running(tmp_path, configuration(port, 1), "-dR") as balancer:
        result = start(tmp_path, configuration(port, 1), "-p", str(balancer.pidfile), "-dR")
        assert result.returncode == 1
        assert "Address already in use" in result.stderr
        assert balancer.pidfile.read_text() == f"{balancer.pid}\n"
        unused = tmp_path / "unused.pid"
        assert start(tmp_path, configuration(port, 1), "-p", str(unused), "-dR").returncode == 1
        assert not unused.exists()


@pytest.mark.parametrize("kind", ["link", "dangling link", "directory", "pipe", "device"])
def test_a_pid_file_that_leads_elsewhere_is_refused(tmp_path, port, kind):
    precious, pidfile = tmp_path / "precious", tmp_path / "pid"
    precious.write_text("precious")
    if kind == "link":
        pidfile.symlink_to(precious)
    elif kind == "dangling link":
        pidfile.symlink_to(tmp_path / "new")
    elif kind == "directory":
        pidfile.mkdir()
    elif kind == "pipe":
        os.mkfifo(pidfile)
    else:
        pidfile = Path("/dev/null")
    result = start(tmp_path, configuration(port, 1), "-p", str(pidfile))
    assert result.returncode == 1
    assert f"Cannot create pidfile {pidfile} (" in result.stderr
    assert precious.read_text() == "precious"
    assert not (tmp_path / "new").exists()


def test_a_longer_pid_leaves_nothing_behind(tmp_path, port):
    stale = tmp_path / "stale.pid"
    stale.write_text("12345678901234567890\nmore\n")
    text = configuration(port, 1, settings="    daemon\n")
    assert start(tmp_path, text, "-p", str(stale)).returncode == 0
    pid = int(stale.read_text())
    assert stale.read_text() == f"{pid}\n"
    kill(pid, signal.SIGUSR1)
    until_gone([pid])


def test_a_daemon_gives_the_prompt_back_when_it_serves(tmp_path, upstream, port):
    pidfile = tmp_path / "pid"
    text = configuration(port, upstream.port, settings=f"    daemon\n    pidfile {pidfile}\n")
    result = start(tmp_path, text)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    pid = int(pidfile.read_text())
    try:
        with session(port, upstream):
            pass
        family = [pid, *workers_of(pid)]
        assert len(family) == 3
        assert {os.readlink(f"/proc/{pid}/fd/{number}") for number in (0, 1, 2)} == {"/dev/null"}
        assert os.getsid(pid) not in (pid, os.getsid(0))
    finally:
        kill(pid, signal.SIGUSR1)
        until_gone([pid])
    until_gone(family)


def test_a_daemon_that_cannot_start_says_so_where_it_was_typed(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = start(tmp_path, configuration(taken.getsockname()[1], 1), "-D")
    assert result.returncode == 1
    assert "cannot bind socket (Address already in use)" in result.stderr


def test_foreground_flags_win_over_the_configuration(tmp_path, port):
    with Running(tmp_path, configuration(port, 1, settings="    daemon\n"), "-db") as balancer:
        assert balancer.pidfile.read_text() == f"{balancer.pid}\n"


def test_the_service_manager_hears_when_everything_serves(tmp_path, port):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)
        text = configuration(port, 1)
        with Running(tmp_path, text, "-Ws", NOTIFY_SOCKET=str(tmp_path / "notify")) as balancer:
            told = manager.recv(4096).decode().splitlines()
            assert told[:2] == ["READY=1", f"MAINPID={balancer.pid}"]
            assert ("127.0.0.1", port) in listening()
            balancer.signal(signal.SIGTERM)
            assert balancer.ends() == 0
            assert manager.recv(4096) == b"STOPPING=1\n"


# --- identity -----------------------------------------------------------------------------------------------------


@as_root
def test_workers_drop_their_identity_and_are_confined_and_a_new_one_too(tmp_path, upstream, port):
    jail = tmp_path / "jail"
    jail.mkdir()
    nobody = pwd.getpwnam("nobody")
    group = "nogroup" if nobody.pw_gid == 65534 else "nobody"
    text = configuration(port, upstream.port, settings=f"    user nobody\n    group {group}\n    chroot {jail}\n")
    with Running(tmp_path, text) as balancer:
        for pid in balancer.workers():
            assert identity(pid) == (nobody.pw_uid, nobody.pw_gid, [], str(jail))
        assert identity(balancer.pid)[0] == 0
        kill(balancer.workers()[0])
        balancer.wait_for("Starting another")
        for source in ("127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"):
            with session(port, upstream, source):
                pass
        for pid in until(lambda: len(balancer.workers()) == 2 and balancer.workers(), "another worker"):
            assert identity(pid) == (nobody.pw_uid, nobody.pw_gid, [], str(jail))


@as_root
def test_every_question_is_answered_from_a_jail(tmp_path, upstream, port):
    """What workers look up in files must be open before the chroot: there is no /proc in it."""
    jail = tmp_path / "jail"
    jail.mkdir()
    settings = f"    user nobody\n    chroot {jail}\n    stats socket {tmp_path}/api level admin\n"
    with Running(tmp_path, configuration(port, upstream.port, settings=settings)) as balancer:
        with session(port, upstream):
            workers = len(balancer.workers())
            for command in (
                "show activity",
                "show sess",
                "show sess all",
                "show info",
                "show stat",
                "show ftp sessions json",
            ):
                answer = str(ask(f"unix@{tmp_path}/api", command))
                assert answer
                assert "error" not in answer.lower().replace("errors", ""), answer
                assert "did not answer" not in answer
            activity = str(ask(f"unix@{tmp_path}/api", "show activity"))
            counted = re.search(r"^descriptors: \d+ \[ ([\d ]+) \]$", activity, re.MULTILINE)
            assert counted
            seen = [int(each) for each in counted[1].split()]
            assert len(seen) == workers
            assert sorted(seen) == sorted(len(os.listdir(f"/proc/{pid}/fd")) - 1 for pid in balancer.workers())
        assert "internal error" not in balancer.messages()


@as_root
def test_a_log_socket_outside_the_jail_is_reached(tmp_path, upstream, port):
    jail, path = tmp_path / "jail", tmp_path / "log"
    jail.mkdir()
    settings = f"    user nobody\n    chroot {jail}\n    stats socket {tmp_path}/api level admin\n"
    text = configuration(port, upstream.port, settings=settings, frontend=f"    option tcplog\n    log {path} local0\n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(path))
        receiver.settimeout(10)
        with Running(tmp_path, text) as balancer:
            with session(port, upstream):
                pass
            while b" fe be/s " not in receiver.recv(4096):
                pass
            assert "\nDroppedLogs: 0\n" in str(ask(f"unix@{tmp_path}/api", "show info"))
            assert "nobody takes lines" not in balancer.messages()


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("127.0.0.1:{port}", "Connection refused"),
        ("tcp@127.0.0.1:{port}", "Connection refused"),
        ("{folder}/nobody", "No such file or directory"),
        ("[::1]:{port}", "Connection refused"),
    ],
)
def test_a_log_that_nobody_takes_is_told_at_the_start_and_counted(tmp_path, upstream, port, where, why):
    where = where.format(port=free_ports(1)[0], folder=tmp_path)
    frontend = f"    option tcplog\n    log {where} local0\n"
    text = configuration(
        port, upstream.port, settings=f"    stats socket {tmp_path}/api level admin\n", frontend=frontend
    )
    with Running(tmp_path, text) as balancer:
        balancer.wait_for(r"WARNING.*log .*: nobody takes lines there \(" + why)
        for _ in range(2):
            with session(port, upstream):
                pass
        if not where.startswith("tcp"):
            dropped = "\nDroppedLogs: 2\n"
            until(lambda: dropped in str(ask(f"unix@{tmp_path}/api", "show info")), "both lines to be counted")


def identity(pid):
    """(user, group, further groups, root directory)"""
    rows = dict(row.split(":\t", 1) for row in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in row)
    users, groups = set(rows["Uid"].split()), set(rows["Gid"].split())
    assert len(users) == len(groups) == 1
    return int(users.pop()), int(groups.pop()), rows["Groups"].split(), os.readlink(f"/proc/{pid}/root")


@as_root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="no setpriv")
def test_an_identity_that_cannot_be_taken_stops_the_start(tmp_path, port):
    powerless = ["setpriv", "--bounding-set", "-setuid", *COMMAND]
    result = start(tmp_path, configuration(port, 1, settings="    user nobody\n"), command=powerless)
    assert result.returncode == 1
    assert re.search(r"\[ALERT\]    \(\d+\) : \[pasvport\.main\(\)\] .*Operation not permitted", result.stderr)
    assert ("127.0.0.1", port) not in listening()


@as_root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="no setpriv")
def test_the_rights_of_the_service_unit_are_enough(tmp_path, upstream, port):
    jail = tmp_path / "jail"
    jail.mkdir()
    rights = ",".join(["-all", *(f"+{name.removeprefix('CAP_').lower()}" for name in unit_capabilities())])
    text = configuration(port, upstream.port, settings=f"    user nobody\n    chroot {jail}\n")
    with Running(tmp_path, text, command=["setpriv", "--bounding-set", rights, *COMMAND]) as balancer:
        with session(port, upstream):
            pass
        kill(balancer.workers()[0], signal.SIGSTOP)
        balancer.signal(signal.SIGTERM)
        # A worker that does not obey has another user's identity by now, and is killed all the same.
        assert balancer.ends() == -signal.SIGTERM


def unit_capabilities():
    unit = Path(__file__).parents[2] / "contrib" / "pasvport.service"
    (row,) = (row for row in unit.read_text().splitlines() if row.startswith("CapabilityBoundingSet="))
    return row.partition("=")[2].split()


# --- limits -------------------------------------------------------------------------------------------------------


def test_more_connections_than_descriptors_stop_the_start(tmp_path, port):
    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (500, 500))

    if os.geteuid() == 0 and can_raise_limits():
        pytest.skip("this user may raise any limit")
    result = start(tmp_path, configuration(port, 1, settings="    maxconn 1000\n"), preexec_fn=few)
    assert result.returncode == 1
    assert "[pasvport.main()] Cannot raise FD limit to " in result.stderr
    assert ", limit is 500." in result.stderr


def can_raise_limits():
    bits = next(row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith("CapEff"))
    return bool(int(bits.split()[1], 16) >> 24 & 1)


def test_limits_that_are_not_strict_are_a_warning(tmp_path, upstream, port):
    (hard,) = {resource.getrlimit(resource.RLIMIT_NOFILE)[1]}
    if hard == resource.RLIM_INFINITY or can_raise_limits():
        pytest.skip("no limit to exceed")
    text = configuration(port, upstream.port, settings=f"    maxconn {hard}\n    no strict-limits\n")
    with Running(tmp_path, text) as balancer, session(port, upstream):
        assert f"[pasvport.main()] Cannot raise FD limit to {2 * hard + 66}, limit is {hard}." in balancer.messages()
        assert f"FD limit ({hard}) too low for maxconn={hard}" in balancer.messages()


def test_the_memory_limit_holds_for_every_process(tmp_path, upstream, port):
    with Running(tmp_path, configuration(port, upstream.port), "-m", "512") as balancer, session(port, upstream):
        for pid in (balancer.pid, *balancer.workers()):
            limits = Path(f"/proc/{pid}/limits").read_text()
            (row,) = (row for row in limits.splitlines() if row.startswith("Max address space"))
            assert row.split()[3] == str(512 << 20)


def test_a_memory_limit_in_which_nothing_starts_is_refused(tmp_path, port):
    result = start(tmp_path, configuration(port, 1), "-m", "10")
    assert result.returncode == 1
    assert "Cannot fix MEM limit to 10 megs" in result.stderr


def test_the_process_limit_of_the_command_line_wins(tmp_path, upstream, port):
    text = configuration(port, upstream.port, settings="    maxconn 100\n")
    only_one_at_a_time(tmp_path, text, port, upstream, "-n", "1")


def test_frontends_without_a_limit_get_that_of_the_command_line(tmp_path, upstream, port):
    only_one_at_a_time(tmp_path, configuration(port, upstream.port), port, upstream, "-N", "1")


def only_one_at_a_time(folder, text, port, upstream, *flags):
    with Running(folder, text, *flags) as balancer, connect(port) as first, upstream.accept() as server:
        talk(first, server)
        with connect(port) as second:
            second.sendall(b"x")
            balancer.signal(signal.SIGHUP)
            balancer.wait_for(r"Proxy be has .*tot\(FE\+BE\): 0\+1\.")
            first.close()
            server.close()
            with upstream.accept() as next_server:
                assert next_server.recv(1) == b"x"


def test_debug_shows_what_the_processes_tell_each_other(tmp_path, port):
    with Running(tmp_path, configuration(port, 1), "-d") as balancer:
        balancer.signal(signal.SIGHUP)
        balancer.wait_for("signal SIGHUP\n")
        assert is_running(balancer.pid)


# --- a second start by mistake ------------------------------------------------------------------------------------


def test_a_second_start_by_mistake_is_refused_and_harms_nobody(tmp_path, upstream, port):
    """With SO_REUSEPORT both would serve, each a share of the clients, and the pid file would be the second one's."""
    with Running(tmp_path, configuration(port, upstream.port)) as balancer:
        for flags in ((), ("-D",), ("-W",), ("-Ws",), ("-db",)):
            result = start(tmp_path, configuration(port, upstream.port), "-p", str(balancer.pidfile), *flags)
            assert result.returncode == 1
            said = (
                f"Process {balancer.pid} runs with this pid file ({balancer.pidfile}) and listens at 127.0.0.1:{port}."
            )
            assert said in result.stderr
        assert balancer.pidfile.read_text() == f"{balancer.pid}\n"
        with session(port, upstream):
            pass


def test_a_start_beside_a_process_with_another_pid_file_is_a_warning(tmp_path, upstream, port):
    with (
        Running(tmp_path, configuration(port, upstream.port)),
        Running(tmp_path, configuration(port, upstream.port), name="two") as second,
    ):
        assert f"another process listens at 127.0.0.1:{port}: the kernel gives it a share" in second.messages()


def test_a_pid_file_left_behind_is_no_proof(tmp_path, port):
    """The number may be anybody's by now: it counts only where somebody listens at our addresses, too."""
    left = tmp_path / "left.pid"
    config = compiled(configuration(port, 1))
    left.write_text(f"{os.getppid()}\n")
    assert running_instance(str(left)) == os.getppid()
    assert refuse_second_start(config, str(left)) == ""
    with socket.create_server(("127.0.0.1", port)):
        with pytest.raises(ResourceError, match=f"Process {os.getppid()} runs with this pid file"):
            refuse_second_start(config, str(left))
        for text in (f"{os.getpid()}\n", "999999999\n", "junk", "", "-1", "0", "9" * 40, "\xb9"):
            left.write_text(text, encoding="latin-1")
            assert "another process listens at 127.0.0.1" in refuse_second_start(config, str(left))


def test_listeners_are_found_in_the_kernels_tables(tmp_path):
    table = tmp_path / "tcp"
    word = "0100007F" if sys.byteorder == "little" else "7F000001"
    row = "   {}: {}:0BB8 00000000:0000 {} 00000000:00000000 00:00000000 00000000 0 0 1\n"
    config = compiled(configuration(3000, 1))
    for state, found in (("0A", ["127.0.0.1:3000"]), ("01", [])):
        table.write_text("  sl  local_address rem_address st\n" + row.format(0, word, state))
        assert taken_places(config, [str(table)]) == found
    for junk in ("", "\n", "x\n", "\xff\xfe"):
        table.write_text(junk, encoding="latin-1")
        assert taken_places(config, [str(table), str(tmp_path / "missing")]) == []
