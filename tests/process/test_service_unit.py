"""contrib/pasvport.service: valid to systemd, and its command line is one that pasvport takes."""

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from pasvport.command_line import parse

UNIT = Path(__file__).parents[2] / "contrib" / "pasvport.service"


def section():
    reader = configparser.RawConfigParser(strict=True)
    reader.optionxform = str
    reader.read(UNIT)
    return reader["Service"]


@pytest.mark.parametrize("name", ["ExecStartPre", "ExecStart"])
def test_the_commands_are_ours(name):
    program, *words = section()[name].split()
    assert program == "/usr/bin/pasvport"
    command = parse([word for word in words if word != "$EXTRAOPTS"])
    assert command.files == ["${CONFIG}"]
    assert command.check is (name == "ExecStartPre")
    assert command.notify is (name == "ExecStart")


def test_the_supervisor_alone_is_signalled_and_readiness_is_told():
    unit = section()
    assert (unit["Type"], unit["KillMode"]) == ("notify", "mixed")
    # What the supervisor does needs these: low ports, the workers' identity, the end of a worker of another user.
    needed = {"CAP_NET_BIND_SERVICE", "CAP_SETUID", "CAP_SETGID", "CAP_SYS_CHROOT", "CAP_KILL"}
    assert needed <= set(unit["CapabilityBoundingSet"].split())


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")
def test_systemd_finds_nothing_wrong(tmp_path):
    copy = tmp_path / "pasvport.service"
    copy.write_text(UNIT.read_text().replace("/usr/bin/pasvport", "/bin/true"))
    result = subprocess.run(["systemd-analyze", "verify", str(copy)], capture_output=True, text=True)
    complaints = [row for row in result.stderr.splitlines() if "pasvport.service" in row]
    assert (result.returncode, complaints) == (0, [])
