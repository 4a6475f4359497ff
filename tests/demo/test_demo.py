"""The demonstration: holds, says so in its status, and leaves nothing behind however it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from farm.waiting import until
from pasvport.demo.callers import Member, ask
from pasvport.demo.pages import Windows, changes, configuration, one_word_changed, with_windows, without_stickiness
from pasvport.demo.visits import Visit, client_addresses


class Demo:
    """`pasvport demo` as a child, with a temporary directory of its own."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self.output = folder / "output"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-u", "-m", "pasvport", "demo", *words],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | {"TMPDIR": str(self.temporary)},
            )

    def said(self) -> str:
        return self.output.read_text()

    def until_said(self, part: str) -> None:
        until(lambda: part in self.said() or self.process.poll() is not None, f"{part!r} from the demonstration", 60)
        assert part in self.said(), self.said()

    def end(self) -> int:
        status = self.process.wait(60)
        assert list(self.temporary.iterdir()) == []
        return status


@pytest.mark.slow
def test_ends_by_itself(tmp_path: Path) -> None:
    demo = Demo(tmp_path, "--clients", "2", "--servers", "2")
    assert demo.end() == 0, demo.said()
    last = demo.said().partition("> What next:\n")[2]
    assert "  pasvport demo --keep " in last
    assert max(map(len, last.splitlines())) <= 80


@pytest.mark.slow
def test_every_promise_holds_and_the_farm_stays(tmp_path: Path) -> None:
    demo = Demo(tmp_path, "--keep", "--clients", "9")
    demo.until_said("Ctrl-C ends it.")
    assert "What next" not in demo.said()
    assert "NO" not in demo.said()
    assert "returned server takes new clients" in demo.said()
    assert "one address, spread over every server" in demo.said()
    shown = [line for line in demo.said().splitlines() if "curl" not in line and "pasvport " not in line]
    assert max(map(len, shown)) <= 80
    path = re.search(r"-s (\S+admin\.sock)", demo.said())
    page = re.search(r"(http://\S+/)\n", demo.said())
    assert path
    assert page
    # Whoever opens the dashboard now must have something to see.
    until(lambda: "film.bin" in ask(path[1], "show ftp transfers"), "a transfer of the trickle", 30)
    with urllib.request.urlopen(page[1], timeout=20) as answer:
        assert b"ftp-server1" in answer.read()
    demo.process.send_signal(signal.SIGINT)
    assert demo.end() == 0, demo.said()


@pytest.mark.parametrize(
    ("moment", "which"),
    [("configuration moved", signal.SIGTERM), ("An office behind one address", signal.SIGINT)],
)
def test_interrupted_on_the_way(tmp_path: Path, moment: str, which: signal.Signals) -> None:
    demo = Demo(tmp_path, "--clients", "2", "--servers", "2")
    demo.until_said(moment)
    demo.process.send_signal(which)
    assert demo.end() == 130, demo.said()


def test_unusable_arguments(tmp_path: Path) -> None:
    demo = Demo(tmp_path, "--servers", "1")
    assert demo.end() == 2
    assert "expected 2 to 20" in demo.said()


@pytest.mark.parametrize(
    "visit",
    [
        Visit("127.0.0.1", "a", "b", listed=True, intact=True),
        Visit("127.0.0.1", "a", "a", listed=False, intact=True),
        Visit("127.0.0.1", "a", "a", listed=True, intact=False),
        Visit("127.0.0.1", "a", "a", listed=True, intact=True, error="421"),
    ],
)
def test_one_flaw_is_enough(visit: Visit) -> None:
    assert not visit.held


def test_client_addresses_differ() -> None:
    some = [*client_addresses(500), *client_addresses(500, offset=500)]
    assert len(set(some)) == 1000


def test_the_configuration_is_the_pages() -> None:
    text = configuration("192.168.0.100", 21, [("ftp-server1", "192.168.1.10")], "127.0.0.1:514")
    page = """\
frontend ftp_fe
    mode tcp
    option tcplog
    log global
    bind 192.168.0.100:21 name ftp-control
    bind 192.168.0.100:50000-50010 name ftp-data
    default_backend ftp_servers

backend ftp_servers
    mode tcp
    balance leastconn
    stick-table type ip size 100k expire 1h
    stick on src
    server ftp-server1 192.168.1.10 check port 21"""
    assert page in text


@pytest.mark.parametrize(
    "member",
    [
        Member("alice", "a", ()),
        Member("alice", "a", ("a", "b", "a")),
        Member("alice", "a", ("a", "a"), error="425"),
    ],
)
def test_one_foreign_file_is_enough(member: Member) -> None:
    assert not member.held


def test_one_word_and_its_log_lines_change() -> None:
    page = configuration("192.168.0.100", 21, [("ftp-server1", "192.168.1.10")], "127.0.0.1:514")
    assert list(changes(page, one_word_changed(page))) == [
        "-    mode tcp",
        "-    option tcplog",
        "+    mode ftp",
        "+    option ftplog",
        "-    mode tcp",
        "+    mode ftp",
    ]
    assert "stick" not in without_stickiness(page)


@pytest.mark.parametrize("ipv6", [0, 51320])
def test_the_second_act_has_windows(tmp_path: Path, ipv6: int) -> None:
    servers = [("ftp-server1", "192.168.1.10")]
    page = one_word_changed(configuration("192.168.0.100", 21, servers, "127.0.0.1:514"))
    text = with_windows(page, Windows("/run/admin.sock", "127.0.0.1:8404", ipv6), servers, 21)
    settings = tmp_path / "act.cfg"
    settings.write_text(text)
    words = [sys.executable, "-m", "pasvport", "-c", "-f", str(settings)]
    checked = subprocess.run(words, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    assert ("[::1]" in text) is bool(ipv6)
