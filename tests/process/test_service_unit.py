"""contrib/pasvport.service: valid to systemd, and its command line is one that pasvport takes."""

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from farm.ports import free_ports
from farm.waiting import until
from pasvport.command_line import parse
from process_rig import COMMAND, DEADLINE, Running, Upstream, configuration

UNIT = Path(__file__).parents[2] / "contrib" / "pasvport.service"


def settings(name):
    """Every value of the setting; some may be said more than once."""
    return [line.partition("=")[2] for line in UNIT.read_text().splitlines() if line.startswith(f"{name}=")]


def test_the_start_is_a_command_of_ours():
    (line,) = settings("ExecStart")
    program, *words = line.split()
    assert program == "/usr/bin/pasvport"
    command = parse([word for word in words if word != "$EXTRAOPTS"])
    assert command.files == ["${CONFIG}"]
    assert command.notify
    assert not command.quiet


def test_a_reload_asks_the_socket_beside_the_pid_file():
    (start,), (reload,) = settings("ExecStart"), settings("ExecReload")
    pidfile = start.split()[start.split().index("-p") + 1]
    assert reload == f"/usr/bin/pasvport ctl -s {pidfile}.sock reload"


def test_the_supervisor_alone_is_signalled_and_readiness_is_told():
    assert (settings("Type"), settings("KillMode")) == (["notify"], ["mixed"])
    # What the supervisor does needs these: low ports, the workers' identity, the end of a worker of another user.
    needed = {"CAP_NET_BIND_SERVICE", "CAP_SETUID", "CAP_SETGID", "CAP_SYS_CHROOT", "CAP_KILL"}
    assert needed <= set(settings("CapabilityBoundingSet")[0].split())


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")
def test_systemd_finds_nothing_wrong(tmp_path):
    copy = tmp_path / "pasvport.service"
    copy.write_text(UNIT.read_text().replace("/usr/bin/pasvport", "/bin/true"))
    result = subprocess.run(["systemd-analyze", "verify", str(copy)], capture_output=True, text=True)
    complaints = [row for row in result.stderr.splitlines() if "pasvport.service" in row]
    assert (result.returncode, complaints) == (0, [])


# --- as the unit runs it ------------------------------------------------------------------------------------------


class Manager:
    """What systemd is to a service: a notify socket, and a journal."""

    def __init__(self, folder):
        self.address = folder / "notify"
        self.channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.channel.bind(str(self.address))
        self.channel.settimeout(DEADLINE)
        self.told = {}

    def until(self, name, value):
        """Wait until the service has said `name=value...`; all it has said by then."""
        while not self.told.get(name, "").startswith(value):
            for line in self.channel.recv(65536).decode().splitlines():
                key, _, said = line.partition("=")
                self.told[key] = said
        return self.told


@pytest.fixture
def manager(tmp_path):
    found = Manager(tmp_path)
    yield found
    found.channel.close()


def ctl(balancer, *words):
    command = [*COMMAND, "ctl", "-s", f"{balancer.pidfile}.sock", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_a_reload_returns_when_it_is_done_and_fails_with_the_reasons(tmp_path, manager):
    with Upstream() as upstream:
        text = configuration(free_ports(1)[0], upstream.port)
        with Running(tmp_path, text, "-Ws", NOTIFY_SOCKET=str(manager.address)) as balancer:
            assert manager.until("READY", "1")["MAINPID"] == str(balancer.pid)
            assert Path(f"{balancer.pidfile}.sock").stat().st_mode & 0o777 == 0o600
            before = balancer.workers()
            done = ctl(balancer, "reload")
            assert (done.returncode, done.stderr) == (0, "")
            until(lambda: not set(before) & set(balancer.workers()), "the former workers to leave")
            balancer.file.write_text(text + "    server\n    nonsense\n")
            failed = ctl(balancer, "reload")
            assert failed.returncode == 1
            assert "unknown keyword 'nonsense'" in failed.stderr
            assert "'server' expects <name> and <addr>" in failed.stderr
            said = manager.until("STATUS", "Reload failed")
            assert "one.cfg:" in said["STATUS"]
            balancer.file.write_text(text)
            assert ctl(balancer, "reload").returncode == 0
            manager.until("STATUS", "Ready.")


@pytest.mark.parametrize("flags", [["-Ws"], ["-Ws", "-q"]])
def test_a_start_that_fails_leaves_its_reason(tmp_path, manager, flags):
    """In the journal, also of a quiet one, and in the status line."""
    file = tmp_path / "wrong.cfg"
    file.write_text("frontend fe\n    bind 127.0.0.1:1\n    nonsense\n")
    journal = tmp_path / "journal"
    with journal.open("wb") as stream:
        found = os.fstat(stream.fileno())
        surroundings = {"NOTIFY_SOCKET": str(manager.address), "JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
        command = [*COMMAND, *flags, "-f", str(file)]
        result = subprocess.run(command, stderr=stream, env={**os.environ, **surroundings}, timeout=60)
    assert result.returncode == 1
    assert "unknown keyword 'nonsense'" in journal.read_text()
    assert "unknown keyword 'nonsense'" in manager.until("STATUS", "Start failed: ")["STATUS"]


def test_a_quiet_one_says_nothing_elsewhere(tmp_path):
    file = tmp_path / "wrong.cfg"
    file.write_text("nonsense\n")
    result = subprocess.run([*COMMAND, "-q", "-f", str(file)], capture_output=True, timeout=60)
    assert (result.returncode, result.stdout, result.stderr) == (1, b"", b"")
