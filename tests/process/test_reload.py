"""A reload: another generation takes over, and nobody who connects or is connected notices."""

import re
import shutil
import signal
from pathlib import Path

import pytest

import pasvport
from farm.ports import free_ports
from farm.waiting import until
from process_rig import Running, Upstream, configuration, is_cut, session, source_for, talk


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


def test_another_release_installed_meanwhile_is_refused(tmp_path, upstream, port):
    installed = tmp_path / "installed" / "pasvport"
    shutil.copytree(Path(pasvport.__file__).parent, installed, ignore=shutil.ignore_patterns("__pycache__"))
    with Running(tmp_path, configuration(port, upstream.port), "-W", PYTHONPATH=str(installed.parent)) as balancer:
        before = balancer.workers()
        (installed / "__init__.py").write_text('__version__ = "99.1"\n__release_date__ = "2099/01/01"\n')
        balancer.signal(signal.SIGHUP)
        balancer.wait_for(rf"pasvport 99\.1 is installed but {re.escape(pasvport.__version__)} is running")
        balancer.wait_for("Loading failure!")
        assert balancer.workers() == before
        with session(port, upstream):
            pass


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
