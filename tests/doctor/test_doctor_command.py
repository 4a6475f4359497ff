"""The command as a person and a pipeline use it: options, exit status, text, JSON, and no password anywhere."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from doctor_rig import PAGE, farm_text, line_of, spoilt
from farm.servers import PASSWORD, Farm
from pasvport import cli

SICK = spoilt("    stick on src\n", "")
WEAK = spoilt("size 100k", "size 10")

FINDING = {"id", "severity", "file", "line", "subject", "finding", "why", "fix"}
REPORT = {"version", "files", "summary", "findings", "servers", "unseen"}


@pytest.fixture
def write(tmp_path: Path):
    def put(text: str, name: str = "site.cfg") -> str:
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return put


def doctor(*words: str) -> int:
    return cli.main(["doctor", *words])


@pytest.mark.parametrize(
    ("text", "strict", "status"),
    [(PAGE, False, 0), (PAGE, True, 0), (WEAK, False, 0), (WEAK, True, 1), (SICK, False, 1), (SICK, True, 1)],
)
def test_exit_status(write, text: str, strict: bool, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor("-f", write(text), "--no-network", *(["--strict"] if strict else [])) == status
    assert capsys.readouterr().err == ""


def test_the_text_names_place_reason_and_fix(write, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(SICK)
    doctor("-f", path, "--no-network")
    said = capsys.readouterr().out
    assert said.startswith(f"{path}:{line_of(SICK, 'backend')}: error [no-stickiness] backend ftp_servers\n")
    assert "    Why: " in said
    assert "    Fix: " in said
    assert said.endswith("1 error, 1 note.\n")
    assert all(line == line.rstrip() for line in said.splitlines())


def test_json_is_whole(write, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(SICK)
    assert doctor("-f", path, "--no-network", "--json") == 1
    report = json.loads(capsys.readouterr().out)
    assert set(report) == REPORT
    assert report["version"] == 1
    assert report["files"] == [path]
    assert report["summary"] == {"errors": 1, "warnings": 0, "notes": 1}
    assert all(set(finding) == FINDING for finding in report["findings"])
    assert report["findings"][0]["id"] == "no-stickiness"
    assert report["findings"][0]["line"] == line_of(SICK, "backend")
    assert report["servers"] == []


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("-f",),
        ("-f", "/no/such/file.cfg"),
        ("-f", "{}", "--timeout", "0"),
        ("-f", "{}", "--timeout", "nan"),
        ("-f", "{}", "--bogus"),
        ("-f", "{}", "--password-env", "X"),
        ("-f", "{}", "--user", "joe", "--password-env", "PASVPORT_NO_SUCH_VARIABLE"),
        ("-f", "{}", "--user", "joe"),
    ],
)
def test_wrong_usage(write, words: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    path = write(PAGE)
    assert doctor(*(word.format(path) for word in words)) == 64
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1


def test_help_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor("--help") == 0
    assert "Exit status" in capsys.readouterr().out


def test_a_farm_from_the_command_line(write, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setenv("FARM_SECRET", PASSWORD)
    with Farm(("pyftpdlib-1", "pyftpdlib-2")) as farm:
        path = write(farm_text(farm))
        login = ("--user", farm.servers[0].user, "--password-env", "FARM_SECRET")
        assert doctor("-f", path, *login, "--strict") == 0
        text = capsys.readouterr()
        assert doctor("-f", path, *login, "--strict", "--json") == 0
        machine = capsys.readouterr()
        assert doctor("-f", path, "--strict") == 0
        unseen = capsys.readouterr()
        monkeypatch.setenv("FARM_SECRET", "not-the-password")
        assert doctor("-f", path, *login) == 1
        refused = capsys.readouterr()
    for said in (text, machine, unseen, refused):
        assert PASSWORD not in said.out + said.err
        assert "not-the-password" not in said.out + said.err
    servers = json.loads(machine.out)["servers"]
    assert [server["logged_in"] for server in servers] == [True, True]
    assert all(server["passive_ports"] for server in servers)
    assert all(50000 <= port <= 50049 for server in servers for port in server["passive_ports"])
    assert [server["passive_addresses"] for server in servers] == [[farm.balancer]] * 2
    assert "not seen: without --user" in unseen.out
    assert "[login-refused]" in refused.out


def test_plain_start_up_knows_nothing_of_the_doctor() -> None:
    script = "import sys, pasvport.cli; print(any('pasvport.doctor' in name for name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "False\n"
