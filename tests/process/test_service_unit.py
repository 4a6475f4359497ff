"""contrib/pasvport.service: valid to systemd, and its command line is one that pasvport takes."""

import shutil
import subprocess
from pathlib import Path

import pytest

from pasvport.command_line import parse

UNIT = Path(__file__).parents[2] / "contrib" / "pasvport.service"


def settings(name):
    """Every value of the setting; some may be said more than once."""
    return [line.partition("=")[2] for line in UNIT.read_text().splitlines() if line.startswith(f"{name}=")]


def commands(name):
    """What pasvport makes of the setting's commands."""
    found = []
    for line in settings(name):
        program, *words = line.split()
        if program == "/usr/bin/pasvport":
            found.append(parse([word for word in words if word != "$EXTRAOPTS"]))
    return found


def test_the_commands_are_ours():
    for name in ("ExecStartPre", "ExecStart", "ExecReload"):
        (command,) = commands(name)
        assert command.files == ["${CONFIG}"]
        assert command.check is (name != "ExecStart")
        assert command.notify is (name == "ExecStart")


def test_a_reload_is_checked_and_then_told_to_the_supervisor():
    _, order = settings("ExecReload")
    assert order == "/bin/kill -USR2 $MAINPID"


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
