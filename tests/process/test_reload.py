"""A reload: another generation takes over, and nobody who connects or is connected notices."""

import shutil
import signal
from pathlib import Path

import pytest

import pasvport
from farm.ports import free_ports
from farm.processes import command_line, descendants, is_running
from farm.waiting import until
from process_rig import Running, Upstream, configuration, is_cut, kill, session, source_for, talk


@pytest.fixture
def upstream():
    with Upstream() as server:
        yield server


@pytest.fixture
def port():
    return free_ports(1)[0]


def test_old_sessions_go_on_and_new_ones_are_served_by_new_workers(tmp_path, upstream, port):
    with Running(tmp_path, configuration(port, upstream.port), "-W") as balancer:
        before = balancer.workers()
        with session(port, upstream, source_for(0)) as (client, server):
            balancer.signal(signal.SIGUSR2)
            balancer.wait_for(r"Proxy fe stopped \(cumulated conns: FE: 1")
            balancer.wait_for(rf"Former worker \(({before[0]}|{before[1]})\) exited with code 0")
            with session(port, upstream, source_for(0)):
                talk(client, server)
            assert len(balancer.workers()) == 3
        balancer.wait_for(r"(?s)Former worker.*Former worker")
        assert not set(before) & set(balancer.workers())


def test_invalid_text_is_refused_and_the_old_generation_serves_on(tmp_path, upstream, port):
    text = configuration(port, upstream.port)
    with Running(tmp_path, text, "-W") as balancer:
        before = balancer.workers()
        balancer.file.write_text(text + "    server\n    nonsense\n")
        balancer.signal(signal.SIGHUP)
        balancer.wait_for(r"unknown keyword 'nonsense'")
        balancer.wait_for("Loading failure!")
        assert "'server' expects <name> and <addr>" in balancer.messages()
        assert balancer.workers() == before
        with session(port, upstream):
            pass


@pytest.fixture
def installed(tmp_path):
    """A release of its own, in a folder that may be changed."""
    folder = tmp_path / "installed" / "pasvport"
    shutil.copytree(Path(pasvport.__file__).parent, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def replaced_by_another_release(installed):
    shutil.rmtree(installed)
    installed.mkdir()
    (installed / "__init__.py").write_text('__version__ = "99.1"\n__release_date__ = "2099/01/01"\n')


def test_a_worker_that_dies_after_another_release_was_installed_is_replaced(tmp_path, upstream, port, installed):
    text = configuration(port, upstream.port)
    with Running(tmp_path, text, PYTHONPATH=str(installed.parent)) as balancer:
        first, second = balancer.workers()
        replaced_by_another_release(installed)
        for pid in (first, second):
            kill(pid)
            balancer.wait_for(rf"Current worker \({pid}\) exited with code 137 \(Killed\): 0 sessions lost")
        until(lambda: len(balancer.workers()) == 2, "other workers")
        for number in range(2):
            with session(port, upstream, source_for(number)):
                pass
        assert not {first, second} & set(balancer.workers())


def test_a_fork_server_that_is_killed_is_started_again(tmp_path, upstream, port, installed):
    """Where this release is still installed; otherwise those who serve serve on, and the reason is said."""
    text = configuration(port, upstream.port)
    with Running(tmp_path, text, PYTHONPATH=str(installed.parent)) as balancer:
        kill(fork_server(balancer))
        first, second = balancer.workers()
        kill(first)
        balancer.wait_for(rf"Current worker \({first}\) exited")
        until(lambda: len(balancer.workers()) == 2, "another worker")
        with session(port, upstream, source_for(0)), session(port, upstream, source_for(1)):
            pass
        replaced_by_another_release(installed)
        kill(fork_server(balancer))
        kill(max(balancer.workers(), key=lambda pid: pid != second))
        balancer.wait_for("pasvport 99.1 is installed but .* is running")
        with session(port, upstream, source_for(1)):
            pass


def fork_server(balancer):
    running = filter(is_running, descendants(balancer.pid))
    return next(pid for pid in running if b"pasvport.engine.fork_server" in command_line(pid))


def test_a_port_that_is_taken_refuses_the_whole(tmp_path, upstream, port):
    text = configuration(port, upstream.port)
    with Running(tmp_path, text) as balancer:
        balancer.file.write_text(
            text.replace("    default_backend be", f"    bind 127.0.0.1:{upstream.port}\n    default_backend be")
        )
        before = balancer.descriptors()
        balancer.signal(signal.SIGUSR2)
        balancer.wait_for("cannot bind socket")
        balancer.wait_for("Loading failure!")
        with session(port, upstream):
            pass
        until(lambda: balancer.descriptors() == before, "descriptors to be given back")


def test_hard_stop_after_bounds_the_former_generation(tmp_path, upstream, port):
    text = configuration(port, upstream.port, settings="    hard-stop-after 300ms\n")
    with Running(tmp_path, text, "-W") as balancer, session(port, upstream) as (client, _):
        balancer.signal(signal.SIGUSR2)
        balancer.wait_for("soft-stop running for too long, performing a hard-stop.")
        assert is_cut(client)
        with session(port, upstream):
            pass
