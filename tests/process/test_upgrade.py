"""Another release takes over from the running one, and no session notices; or it does not, and nothing has changed."""

import shutil
import signal
from contextlib import contextmanager
from pathlib import Path

import pytest
from test_service_unit import Manager, ctl

import pasvport
from farm.ports import free_ports, free_range
from farm.raw_client import RawClient
from farm.scripted import Scripted
from process_rig import Running, Upstream, configuration, kill, session, source_for, talk, until_gone, workers_of


@pytest.fixture
def installed(tmp_path):
    folder = tmp_path / "installed" / "pasvport"
    shutil.copytree(Path(pasvport.__file__).parent, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture
def manager(tmp_path):
    found = Manager(tmp_path)
    yield found
    found.channel.close()


def install_another(folder, line=""):
    file = folder / "__init__.py"
    file.write_text(file.read_text().replace(f'"{pasvport.__version__}"', '"99.1"') + line)


@contextmanager
def upgraded(balancer):
    """The process id of the successor, which is ended."""
    pid = int(balancer.pidfile.read_text())
    assert pid != balancer.pid
    try:
        yield pid
    finally:
        family = [pid, *workers_of(pid)]
        kill(pid, signal.SIGTERM)
        until_gone(family)


def test_sessions_stay_and_the_installed_release_serves(tmp_path, installed, manager):
    port = free_ports(1)[0]
    surroundings = {"PYTHONPATH": str(installed.parent), "NOTIFY_SOCKET": str(manager.address)}
    with Upstream() as upstream:
        text = configuration(port, upstream.port)
        with (
            Running(tmp_path, text, "-Ws", **surroundings) as balancer,
            session(port, upstream, source_for(0)) as (client, server),
        ):
            install_another(installed)
            done = ctl(balancer, "reload")
            assert (done.returncode, done.stderr) == (0, "")
            with upgraded(balancer) as pid:
                manager.until("MAINPID", str(pid))
                talk(client, server)
                for number in range(2):
                    with session(port, upstream, source_for(number)):
                        pass
                assert "99.1" in ctl(balancer, "show info").stdout
                talk(client, server)
                client.close()
                server.close()
                assert balancer.ends() == 0
                with session(port, upstream):
                    pass


@pytest.mark.parametrize(
    ("line", "reason"),
    [("\nraise SystemExit(1)\n", "gave no reason"), ("\nBROKEN = 1 / 0\n", "gave no reason")],
)
def test_a_release_that_does_not_start_changes_nothing(tmp_path, installed, line, reason):
    port = free_ports(1)[0]
    with Upstream() as upstream:
        text = configuration(port, upstream.port)
        with Running(tmp_path, text, "-Ws", PYTHONPATH=str(installed.parent)) as balancer:
            before = balancer.workers()
            install_another(installed, line)
            failed = ctl(balancer, "reload")
            assert failed.returncode == 1
            assert reason in failed.stderr
            assert balancer.workers() == before
            assert balancer.pidfile.read_text() == f"{balancer.pid}\n"
            with session(port, upstream):
                pass


def test_a_text_that_the_installed_release_refuses_changes_nothing(tmp_path, installed):
    port = free_ports(1)[0]
    with Upstream() as upstream:
        text = configuration(port, upstream.port)
        with Running(tmp_path, text, "-Ws", PYTHONPATH=str(installed.parent)) as balancer:
            install_another(installed)
            balancer.file.write_text(text + "    nonsense\n")
            failed = ctl(balancer, "reload")
            assert failed.returncode == 1
            assert "unknown keyword 'nonsense'" in failed.stderr
            with session(port, upstream):
                pass
            balancer.file.write_text(text)
            assert ctl(balancer, "reload").returncode == 0
            with upgraded(balancer), session(port, upstream):
                pass


FTP = """
global
    nbthread 2
defaults
    mode ftp
    timeout client 60s
    timeout server 60s
    timeout connect 5s
frontend fe
    bind 127.0.0.1:{port}
    bind 127.0.0.1:{low}-{high} name ftp-data
    default_backend be
backend be
    server s {server}
"""


def test_an_idle_session_of_mode_ftp_is_served_by_the_release_before(tmp_path, installed):
    port = free_ports(1)[0]
    low, high = free_range(30, ("127.0.0.1",))
    with Scripted() as server:
        text = FTP.format(port=port, low=low, high=high, server=server.address)
        with (
            Running(tmp_path, text, "-Ws", PYTHONPATH=str(installed.parent)) as balancer,
            RawClient(("127.0.0.1", port)) as idle,
        ):
            idle.log_in("joe", "x")
            install_another(installed)
            assert ctl(balancer, "reload").returncode == 0
            with upgraded(balancer):
                with RawClient(("127.0.0.1", port)) as new:
                    new.log_in("joe", "x")
                    assert new.receive("RETR x") == server.content
                    new.quit()
                idle.ask("NOOP", 200)
                assert idle.receive("RETR x") == server.content
                assert idle.receive("RETR x", extended=False) == server.content
                idle.quit()
                assert balancer.ends() == 0
