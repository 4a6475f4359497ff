"""Workers that die, supervisors that die, and every signal, on whole processes with live sessions."""

import os
import signal
import socket
from pathlib import Path

import pytest

from farm.ports import free_ports
from farm.waiting import listening, until
from process_rig import (
    Running,
    Upstream,
    configuration,
    connect,
    is_cut,
    kill,
    session,
    source_for,
    talk,
    until_gone,
)


@pytest.fixture
def upstream():
    with Upstream() as server:
        yield server


@pytest.fixture
def port():
    return free_ports(1)[0]


def refused(port, source="127.0.0.1"):
    """Whether a new client is turned away: refused, or closed without a byte."""
    try:
        with connect(port, source) as client:
            return client.recv(1) == b""
    except OSError:
        return True


# --- workers ------------------------------------------------------------------------------------------------------


def test_a_killed_worker_is_replaced_and_the_other_workers_sessions_go_on(tmp_path, upstream, port):
    with Running(tmp_path, configuration(port, upstream.port)) as balancer:
        first, second = balancer.workers()
        with session(port, upstream, source_for(0)) as (lost, _), session(port, upstream, source_for(1)) as (a, b):
            kill(first)
            assert is_cut(lost)
            balancer.wait_for(
                rf"\[ALERT\]    \(\d+\) : Current worker \({first}\) exited with code 137 \(Killed\): 1 session lost"
            )
            until(lambda: len(balancer.workers()) == 2, "another worker")
            talk(a, b)
            with session(port, upstream, source_for(0)):
                pass
        assert second in balancer.workers()
        assert first not in balancer.workers()


def test_a_dead_worker_gives_its_connection_slots_back(tmp_path, upstream, port):
    text = configuration(port, upstream.port, frontend="    maxconn 1\n", server="maxconn 1")
    with Running(tmp_path, text) as balancer, session(port, upstream, source_for(0)):
        kill(balancer.workers()[0])
        balancer.wait_for("1 session lost")
        with session(port, upstream, source_for(1)):
            pass


def test_replacing_workers_leaks_no_descriptor(tmp_path, upstream, port):
    with Running(tmp_path, configuration(port, upstream.port)) as balancer:
        before = balancer.descriptors()
        for round_ in range(1, 4):
            kill(balancer.workers()[0])
            until(lambda n=round_: balancer.messages().count("Starting another") == n, "the loss to be noticed")
            until(lambda: len(balancer.workers()) == 2, "another worker")
            with session(port, upstream, source_for(0)), session(port, upstream, source_for(1)):
                pass
        until(lambda: balancer.descriptors() <= before, "descriptors to be given back")


def test_no_worker_outlives_a_supervisor_that_was_killed(tmp_path, upstream, port):
    with Running(tmp_path, configuration(port, upstream.port)) as balancer:
        workers = balancer.workers()
        with session(port, upstream) as (client, server):
            kill(balancer.pid)
            balancer.process.wait()
            until_gone(workers)
            assert is_cut(client)
            assert is_cut(server)
        assert ("127.0.0.1", port) not in listening()


# --- stopping -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_dies_by_the_signal_that_ended_it(tmp_path, upstream, port, number):
    with Running(tmp_path, configuration(port, upstream.port)) as balancer, session(port, upstream) as (client, _):
        workers = balancer.workers()
        balancer.signal(number)
        assert balancer.ends() == -number
        until_gone(workers)
        assert is_cut(client)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_master_worker_mode_ends_as_haproxys_master_does(tmp_path, upstream, port, number, status):
    with Running(tmp_path, configuration(port, upstream.port), "-W") as balancer:
        workers = balancer.workers()
        balancer.signal(number)
        assert balancer.ends() == status
    said = balancer.messages()
    for pid in workers:
        assert f"New worker ({pid}) forked" in said
        assert f"Current worker ({pid}) exited with code 0 (Exit)" in said
    assert "Loading success." in said
    assert "Exiting Master process..." in said
    assert f"All workers exited. Exiting... ({status})" in said


def test_a_soft_stop_serves_what_is_there_and_its_clients_and_nobody_else(tmp_path, upstream, port):
    with Running(tmp_path, configuration(port, upstream.port)) as balancer:
        with session(port, upstream, source_for(0)) as (client, server):
            balancer.signal(signal.SIGUSR1)
            balancer.wait_for(r"\[WARNING\]  \(\d+\) : Proxy fe stopped \(cumulated conns: FE: 1, BE: 0\)\.")
            balancer.wait_for(r"\[WARNING\]  \(\d+\) : Proxy be stopped \(cumulated conns: FE: 0, BE: 1\)\.")
            assert refused(port, source_for(1))
            talk(client, server)
            with session(port, upstream, source_for(0)):
                pass
            assert balancer.process.poll() is None
        assert balancer.ends() == 0


def test_an_idle_process_stops_at_once(tmp_path, upstream, port):
    with Running(tmp_path, configuration(port, upstream.port)) as balancer:
        balancer.signal(signal.SIGUSR1)
        assert balancer.ends() == 0


def test_hard_stop_after_ends_a_soft_stop(tmp_path, upstream, port):
    text = configuration(port, upstream.port, settings="    hard-stop-after 100ms\n")
    with Running(tmp_path, text) as balancer, session(port, upstream) as (client, _):
        balancer.signal(signal.SIGUSR1)
        assert balancer.ends() == 0
        assert is_cut(client)
    said = balancer.messages()
    assert "soft-stop running for too long, performing a hard-stop." in said
    assert "Proxy fe hard-stopped (1 remaining conns will be closed)." in said


def test_grace_delays_a_soft_stop(tmp_path, upstream, port):
    text = configuration(port, upstream.port, settings="    grace 300ms\n")
    with Running(tmp_path, text) as balancer:
        balancer.signal(signal.SIGUSR1)
        balancer.wait_for(r"\[NOTICE\]   \(\d+\) : Scheduling a soft-stop in 300 ms\.")
        with session(port, upstream):
            pass
        balancer.wait_for("Grace period expired, proceeding with soft-stop now.")
        assert balancer.ends() == 0


def test_a_stop_now_cuts_a_soft_stop_short(tmp_path, upstream, port):
    with Running(tmp_path, configuration(port, upstream.port)) as balancer, session(port, upstream):
        balancer.signal(signal.SIGUSR1)
        balancer.wait_for("Proxy fe stopped")
        balancer.signal(signal.SIGTERM)
        assert balancer.ends() == -signal.SIGTERM


def test_a_worker_that_dies_during_a_soft_stop_is_mourned_but_not_replaced(tmp_path, upstream, port):
    with Running(tmp_path, configuration(port, upstream.port)) as balancer, session(port, upstream, source_for(0)):
        balancer.signal(signal.SIGUSR1)
        balancer.wait_for("Proxy fe stopped")
        kill(balancer.workers()[0])
        assert balancer.ends() == 0
    assert "exited with code 137 (Killed): 1 session lost." in balancer.messages()
    assert "Starting another" not in balancer.messages()


# --- other signals ------------------------------------------------------------------------------------------------


def test_hangup_dumps_every_server_and_proxy(tmp_path, upstream, port):
    with Running(tmp_path, configuration(port, upstream.port)) as balancer, session(port, upstream):
        balancer.signal(signal.SIGHUP)
        balancer.wait_for(r"\[WARNING\]  \(\d+\) : SIGHUP received, dumping servers states\.\n")
        balancer.wait_for(
            r"SIGHUP: Proxy fe has no servers\. Conn: act\(FE\+BE\): 1\+0, 0 pend \(0 unass\), tot\(FE\+BE\): 1\+0\.\n"
        )
        balancer.wait_for(r"SIGHUP: Server be/s is UP\. Conn: 1 act, 0 pend, 1 tot\.\n")
        balancer.wait_for(
            r"SIGHUP: Proxy be has 1 active servers and 0 backup servers available\. "
            r"Conn: act\(FE\+BE\): 0\+1, 0 pend \(0 unass\), tot\(FE\+BE\): 0\+1\.\n"
        )


def test_pause_refuses_and_frees_the_port_until_resumed(tmp_path, upstream, port):
    with Running(tmp_path, configuration(port, upstream.port)) as balancer, session(port, upstream) as (client, server):
        balancer.signal(signal.SIGTTOU)
        balancer.wait_for(r"Paused frontend fe\.")
        with pytest.raises(ConnectionRefusedError):
            connect(port)
        talk(client, server)
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("127.0.0.1", port))
        balancer.signal(signal.SIGTTIN)
        balancer.wait_for(r"Resumed frontend fe\.")
        for worker in (0, 1):
            with session(port, upstream, source_for(worker)):
                pass


def test_a_port_taken_during_a_pause_is_told_and_the_pause_goes_on(tmp_path, upstream, port):
    with Running(tmp_path, configuration(port, upstream.port)) as balancer:
        balancer.signal(signal.SIGTTOU)
        balancer.wait_for(r"Paused frontend fe\.")
        with socket.create_server(("127.0.0.1", port)):
            balancer.signal(signal.SIGTTIN)
            balancer.wait_for(rf"Port {port} busy while trying to enable frontend fe\.")
        balancer.signal(signal.SIGTTIN)
        balancer.wait_for(r"Resumed frontend fe\.")


def test_some_signals_are_ignored(tmp_path, upstream, port):
    with Running(tmp_path, configuration(port, upstream.port), name="alone") as balancer:
        balancer.signal(signal.SIGQUIT)
        balancer.signal(signal.SIGPIPE)
        balancer.signal(signal.SIGHUP)
        balancer.wait_for("SIGHUP received")


# --- succession ---------------------------------------------------------------------------------------------------


def test_a_successor_takes_the_ports_over_while_old_sessions_go_on(tmp_path, upstream, port):
    text = configuration(port, upstream.port)
    with (
        Running(tmp_path, text, name="old") as old,
        session(port, upstream, source_for(0)) as (client, server),
        Running(tmp_path, text, "-sf", str(old.pid), name="new") as new,
    ):
        old.wait_for("Proxy fe stopped")
        until(lambda: listeners_of(old, port) == 0, "the old process to give its sockets up")
        for worker in (0, 1):
            with session(port, upstream, source_for(worker)):
                pass
        talk(client, server)
        assert len(new.workers()) == 2
        client.close()
        server.close()
        assert old.ends() == 0


def listeners_of(balancer, port):
    """How many listening sockets on `port` that process, or a worker of it, has open."""
    inodes = set()
    for row in map(str.split, Path("/proc/net/tcp").read_text().splitlines()[1:]):
        if row[3] == "0A" and int(row[1].partition(":")[2], 16) == port:
            inodes.add(f"socket:[{row[9]}]")
    count = 0
    for pid in balancer.family():
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            try:
                count += os.readlink(entry) in inodes
            except OSError:
                continue
    return count


def test_a_predecessor_without_reuseport_is_paused_for_the_take_over(tmp_path, upstream, port):
    text = configuration(port, upstream.port, settings="    noreuseport\n")
    with Running(tmp_path, text, name="old") as old, Running(tmp_path, text, "-sf", str(old.pid), name="new"):
        assert old.ends() == 0
        assert "Paused frontend fe." in old.messages()
        with session(port, upstream):
            pass


def test_st_ends_the_predecessor_at_once(tmp_path, upstream, port):
    text = configuration(port, upstream.port)
    with (
        Running(tmp_path, text, name="old") as old,
        session(port, upstream),
        Running(tmp_path, text, "-st", str(old.pid), name="new"),
    ):
        assert old.ends() == -signal.SIGTERM
        with session(port, upstream):
            pass
