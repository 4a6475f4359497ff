"""Limits derived as HAProxy derives them, and the shared counters as the supervisor keeps them."""

import os
import socket

import pytest

from pasvport.config.compiler import load
from pasvport.config.world import World
from pasvport.control import host
from pasvport.control.tally import Tally
from pasvport.errors import ResourceError
from pasvport.model import Config, Global
from process_rig import configuration


def compiled(**options):
    return load([("t.cfg", configuration("5000-5009", 1, **options))], World()).config


def limits(config, *, cpus=4, soft=1024, hard=20000):
    return host.limits(config, cpus=cpus, soft=soft, hard=hard)


def test_connections_follow_from_descriptors_two_each():
    found = limits(compiled())
    base = 10 + 1 + 64
    assert (found.maxconn, found.derived) == ((20000 - base) // 2, True)
    assert 20000 - 1 <= found.descriptors <= 20000


def test_descriptors_follow_from_connections():
    found = limits(compiled(settings="    maxconn 5000\n"))
    assert (found.maxconn, found.derived) == (5000, False)
    assert found.descriptors == 2 * 5000 + 10 + 1 + 64


@pytest.mark.parametrize(
    ("settings", "hard", "maxconn"),
    [
        ("    ulimit-n 1000\n", 20000, (1000 - 75) // 2),
        ("    fd-hard-limit 2000\n", 20000, (2000 - 75) // 2),
        ("", 100, 100),
        ("", 1073741816, (1048576 - 75) // 2),
        ("", -1, (1048576 - 75) // 2),
    ],
)
def test_ceilings_and_the_floor(settings, hard, maxconn):
    assert limits(compiled(settings=settings), hard=hard).maxconn == maxconn


def ftp(settings="", frontend=""):
    text = configuration("5000", 1, settings=settings, frontend=f"    mode ftp\n    bind :6000-6099\n{frontend}")
    return load([("t.cfg", text.replace("backend be\n", "backend be\n    mode ftp\n"))], World()).config


@pytest.mark.parametrize(
    ("settings", "frontend", "hard", "maxconn"),
    [
        ("", "", 20000, (20000 - 66) // 6),
        ("    tune.pipesize 65536\n", "", 20000, (20000 - 66) // 6),
        ("    nosplice\n", "", 20000, (20000 - 66) // 4),
        ("    ulimit-n 300\n", "", 20000, (300 - 66) // 6),
        ("", "", 300, (300 - 66) // 6),
        ("", "", 100, 10),
        # Few sessions may transfer: the others need no more than anywhere.
        ("", "    maxconn 20\n", 300, (300 - 67 - 4 * 20) // 2),
        ("", "    maxconn 2000\n", 300, (300 - 67) // 6),
    ],
)
def test_sessions_of_mode_ftp_leave_descriptors_for_their_data(settings, frontend, hard, maxconn):
    found = limits(ftp(settings, frontend), hard=hard)
    assert found.maxconn == maxconn
    assert maxconn == 10 or found.full <= (300 if "ulimit" in settings else hard)


def test_descriptors_follow_from_sessions_of_mode_ftp():
    """As many as all could have, where there are so many; what was configured is not refused for want of them."""
    assert limits(ftp("    maxconn 1000\n")).descriptors == 6 * 1000 + 66
    assert limits(ftp("    maxconn 5000\n")).descriptors == 20000
    assert limits(ftp("    maxconn 15000\n")).descriptors == 2 * 15000 + 66


def test_what_is_said_of_descriptors():
    few = host.remark(limits(ftp(), hard=300), hard=300)
    assert "'maxconn' is 39: a session in mode ftp may need 6 descriptors" in few
    many = host.remark(limits(ftp("    maxconn 5000\n")), hard=20000)
    assert "'maxconn 5000' may need 30066 descriptors with the data of mode ftp, and the limit is 20000" in many
    for config in (ftp(), ftp("    maxconn 1000\n"), compiled(), compiled(settings="    maxconn 5000\n")):
        assert not host.remark(limits(config), hard=20000)
    assert not host.remark(limits(compiled(), hard=300), hard=300)


def test_an_explicit_descriptor_limit_is_what_is_set():
    assert limits(compiled(settings="    ulimit-n 777\n")).descriptors == 777


def test_a_soft_limit_that_is_high_enough_is_not_lowered():
    assert limits(compiled(settings="    maxconn 10\n"), soft=4096).descriptors == 4096


def test_workers_are_the_processors_up_to_a_limit_unless_said():
    bare = Config(Global())
    assert limits(bare, cpus=3).nbthread == 3
    assert limits(bare, cpus=100).nbthread == host.MOST_WORKERS
    assert limits(compiled(), cpus=100).nbthread == 2


def test_a_root_directory_must_exist(tmp_path):
    host.check_identity(Global(chroot=str(tmp_path)))
    with pytest.raises(ResourceError, match=r"Cannot chroot\(/nonexistent\)\."):
        host.check_identity(Global(chroot="/nonexistent"))


def test_a_service_manager_that_is_gone_is_no_error(monkeypatch, tmp_path):
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    host.sd_notify("READY=1")
    monkeypatch.delenv("NOTIFY_SOCKET")
    host.sd_notify("READY=1")


def test_a_service_manager_with_an_abstract_address_is_reached(monkeypatch):
    name = f"pasvport-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
        host.sd_notify("READY=1")
        assert manager.recv(100) == b"READY=1"


def test_a_dead_workers_present_is_forgotten_and_its_past_kept():
    config = compiled()
    tally = Tally(config, 2)
    layout = tally.layout
    try:
        for worker in (0, 1):
            column = tally.column(worker)
            for name, value in (("cur", 3), ("connections", 50), ("pipes_used", 2)):
                column[layout.process.slot(name)] = value
            column[layout.frontend[0].slot("scur")] = 3
            column[layout.server[1, 0].slot("qcur")] = 1
            column[layout.server[1, 0].slot("stot")] = 9
            column.release()
        assert tally.bury(0) == 3
        assert tally.total(layout.process, "cur") == 3
        assert tally.total(layout.process, "connections") == 100
        assert tally.total(layout.process, "pipes_used") == 2
        assert tally.total(layout.frontend[0], "scur") == 3
        assert tally.total(layout.server[1, 0], "qcur") == 1
        assert tally.total(layout.server[1, 0], "stot") == 18
        assert tally.bury(0) == 0
    finally:
        tally.close()
