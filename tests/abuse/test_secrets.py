"""One run with every kind of password in it, and everything that is ever said of it: no password is there."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from farm.balancers import BALANCERS, Pasvport
from farm.front import Front, Section
from farm.ports import free_port
from farm.scripted import Conversation, Scripted
from farm.servers import PASSWORD
from farm.waiting import until
from pasvport.control.api.table import COMMANDS

TYPED = ("wr0ng-w0rd", "acc0unt-w0rd", "spaced-w0rd", "early-w0rd", "cut-w0rd", "nul-w0rd", "high-w0rd")
"""What clients say behind PASS and ACCT, in all manners."""
PAGE, ALONE = "p4ge-w0rd", "al0ne-w0rd"
CHECK = "check-w0rd"
SECRETS = (PASSWORD, *TYPED, PAGE, ALONE, CHECK)
COMMAND = [sys.executable, "-m", "pasvport"]


class Debugged(Pasvport):
    """Says everything it can say (-d), and has passwords in its environment, under names that tell nothing."""

    def command(self) -> list[str]:
        variables = ["env", f"FARM={PASSWORD}", f"PAGE=ops:{PAGE}", f"ALONE={ALONE}"]
        return [*variables, *super().command(), "-d"]


def judge(talk: Conversation, argument: str) -> None:
    talk.say("230 Welcome" if argument == PASSWORD else "530 Wrong")


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    folder, web = tmp_path_factory.mktemp("secrets"), free_port()
    with Scripted(answers={"PASS": judge, "ACCT": "202 No need"}) as server, pytest.MonkeyPatch.context() as patch:
        patch.setitem(BALANCERS, "debugged", Debugged)
        line = f"timeout check 10s\nserver one {server.address} check inter 500ms"
        check = "option ftp-check user farmer password"
        sections = (
            Section("fe", f'option ftp-xferlog {folder}/xferlog\n{line}\n{check} "${{FARM}}" list'),
            Section("no", f"{check} {CHECK} passive\n{line}"),
        )
        front = Front(
            *sections,
            kind="debugged",
            settings="log stdout format json local0",
            defaults="option ftplog",
            extra=PAGES.format(web=web),
        )
        front.web, front.xferlog = web, folder / "xferlog"  # type: ignore[attr-defined]
        with front:
            yield front


PAGES = """
frontend pages
    mode http
    bind 127.0.0.1:{web}
    stats enable
    stats uri /
    stats auth "${{PAGE}}"
    stats auth "ops2:${{ALONE}}"
    http-request use-service prometheus-exporter if {{ path /metrics }}
"""


def log_in_in_all_manners(front: Front) -> None:
    """Right, wrong, out of order, malformed, and cut in the middle."""
    with front.client("fe") as client:
        client.log_in("farmer")
        client.ask("TYPE I", 200)
        assert client.receive("RETR pub/content")
        client.ask(f"ACCT {TYPED[1]}")
        client.quit()
    with front.client("fe") as client:
        client.ask(f"PASS {TYPED[3]}")
        client.ask("USER farmer", 331)
        client.ask(f"pAsS   {TYPED[0]}", 530)
        for line in (f" PASS {TYPED[2]}", f"PASS\t{TYPED[2]}", f"\tACCT {TYPED[2]}"):
            client.ask(line)
        client.ask(b"PASS \xff\xfe" + TYPED[6].encode())
        client.ask(b"PASS \0" + TYPED[5].encode())
    with front.client("fe") as client:
        client.ask("USER farmer", 331)
        client.write(f"PASS {TYPED[4]}".encode())


def everything_said(front: Front) -> Iterator[tuple[str, str]]:
    """(place, text) of all logs, answers and pages."""
    assert front.balancer.child is not None
    yield "log", "\n".join(front.sink.texts())
    yield "output", front.balancer.output()
    yield "xferlog", front.xferlog.read_text()  # type: ignore[attr-defined]
    shown = [command.name for command in COMMANDS if command.words[0] in ("show", "help", "get")]
    for command in [*shown, "show sess all", "show stat json", "show stat typed", "show table fe", "show env FARM"]:
        yield command, front.api(command)
    for path in ("", "dashboard", "dashboard/data", "metrics", "health", ";csv", ";json", ";typed"):
        yield f"page {path}", page(front, path)
    for words in (("-c",), ("-c", "-V"), ("-c", "-q")):
        yield f"check {words}", run(*words, "-f", str(front.balancer.settings))
    for words in ((), ("--json",)):
        told = ("doctor", "-f", str(front.balancer.settings), "--user", "farmer", "--password-env", "FARM", *words)
        yield f"doctor {words}", run(*told)


def page(front: Front, path: str) -> str:
    request = urllib.request.Request(f"http://127.0.0.1:{front.web}/{path}")  # type: ignore[attr-defined]
    request.add_header("Authorization", "Basic " + base64.b64encode(f"ops:{PAGE}".encode()).decode())
    try:
        answer = urllib.request.urlopen(request, timeout=20)
    except urllib.error.HTTPError as refused:
        # `no` has no server: /health says so, and why.
        assert path == "health"
        answer = refused
    with answer:
        return str(answer.read().decode())


def run(*words: str) -> str:
    done = subprocess.run(
        [*COMMAND, *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": "/usr/bin:/bin", "FARM": PASSWORD, "PAGE": f"ops:{PAGE}", "ALONE": ALONE},
    )
    return done.stdout + done.stderr


def test_no_password_is_ever_said(front: Front) -> None:
    log_in_in_all_manners(front)
    front.until_stat("fe", "scur", lambda count: count == 0)
    front.until_stat("no", "chkfail", lambda count: count > 0, "one")
    until(lambda: "PASS" in "\n".join(front.sink.texts()) or len(front.sink.texts()) >= 4, "the sessions' lines")
    places = dict(everything_said(front))
    assert "farmer" in places["log"], "nothing was logged"
    (row,) = re.findall(r"^no,one,.*$", places["show stat"], re.MULTILINE)
    assert "530 Wrong" in row, "the check said nothing"
    assert json.loads(places["doctor ('--json',)"])
    assert "FARM=*****" in places["show env"]
    said = [(place, secret) for place, text in places.items() for secret in SECRETS if secret in text]
    assert not said


BROKEN = """
listen check_user
    mode ftp
    option ftp-check user a password {0} extra
listen check_list
    mode ftp
    option ftp-check password {0}
listen check_retr
    mode tcp
    option ftp-check user password {0} nowhere
listen auth_and_more
    mode http
    stats auth ops:{0} extra
listen auth_and_mode
    mode tcp
    stats auth ops:{0}
    server a b:c
listen auth_alone
    stats auth {0}
listen auth_twice
    mode http
    stats auth ops:{0}
    stats auth ops:{0}
"""


def test_errors_of_lines_with_passwords(tmp_path: Path) -> None:
    """What is wrong is said without the words that are nobody's business."""
    file = tmp_path / "broken.cfg"
    file.write_text(BROKEN.format("s3cret-w0rd"))
    for words in (("-c",), ("doctor",)):
        said = run(*words, "-f", str(file))
        assert "ftp-check" in said
        assert "s3cret-w0rd" not in said


def test_a_refused_reload_says_no_password(front: Front) -> None:
    good = front.balancer.settings.read_text()
    front.balancer.settings.write_text(good + "listen x\n    option ftp-check user a password s3cret-w0rd nowhere\n")
    try:
        said = front.api("reload")
        assert "Success=0" in said
        assert "s3cret-w0rd" not in said + front.balancer.output()
    finally:
        front.balancer.settings.write_text(good)


def test_a_failed_login_is_seen_without_its_password(front: Front) -> None:
    with contextlib.closing(socket.create_connection(front.address("fe"), 20)) as sock, sock.makefile("rwb") as talk:
        talk.write(f"USER farmer\r\nPASS {TYPED[0]}\r\n".encode())
        talk.flush()
        while not (line := talk.readline()).startswith(b"530"):
            assert line
        assert TYPED[0] not in front.api("show ftp sessions") + page(front, "dashboard/data") + front.api(
            "show sess all"
        )
