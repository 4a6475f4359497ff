"""The examples in contrib do what they say, and name what docs/operations.md names."""

from __future__ import annotations

import http.server
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONTRIB = ROOT / "contrib"
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
CHECK = CONTRIB / "keepalived" / "check-pasvport"


class Health(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(params=[200, 503])
def health(request: pytest.FixtureRequest) -> Iterator[tuple[int, str]]:
    """(status, address) of a page of health."""
    page = type("Page", (Health,), {"status": request.param})
    with http.server.HTTPServer(("127.0.0.1", 0), page) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield request.param, f"http://127.0.0.1:{server.server_port}/health"
        server.shutdown()
        thread.join()


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
def test_the_check_tells_health(health: tuple[int, str]) -> None:
    status, address = health
    done = subprocess.run([CHECK, address], capture_output=True, timeout=20)
    assert (done.returncode == 0) is (status == 200)


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
def test_nobody_there_is_no_health() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert subprocess.run([CHECK, f"http://127.0.0.1:{port}/health"], capture_output=True, timeout=20).returncode != 0


def test_the_check_asks_where_the_page_listens() -> None:
    address = re.search(r"http://([\d.:]+)/health", CHECK.read_text())
    assert address
    assert f"bind {address[1]}" in OPERATIONS
    assert f'"/usr/local/bin/{CHECK.name}"' in (CONTRIB / "keepalived" / "keepalived.conf").read_text()


def test_the_rotated_file_is_the_one_that_is_written() -> None:
    rotated = re.search(r"^(/\S+) {$", (CONTRIB / "logrotate" / "pasvport").read_text(), re.MULTILINE)
    assert rotated
    assert f"option ftp-xferlog {rotated[1]}\n" in OPERATIONS


def test_the_reserved_ports_are_the_pool() -> None:
    reserved = re.search(r"ip_local_reserved_ports = (\S+)", (CONTRIB / "sysctl" / "60-pasvport.conf").read_text())
    assert reserved
    assert f":{reserved[1]} name ftp-data" in OPERATIONS


@pytest.mark.skipif(shutil.which("logrotate") is None, reason="no logrotate")
def test_logrotate_understands_it() -> None:
    done = subprocess.run(
        ["logrotate", "--debug", CONTRIB / "logrotate" / "pasvport"], capture_output=True, text=True, timeout=20
    )
    assert "error" not in done.stderr.replace("errors", "")


EXAMPLE = (CONTRIB / "pasvport.cfg").read_text()


def checked(**environment: str) -> subprocess.CompletedProcess[str]:
    """`-c` of the example, with nothing else in the environment."""
    return subprocess.run(
        [sys.executable, "-m", "pasvport", "-c", "-f", str(CONTRIB / "pasvport.cfg")],
        capture_output=True,
        text=True,
        timeout=20,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", ""), **environment},
    )


def test_the_example_is_the_one_that_is_explained() -> None:
    assert "".join(line for line in EXAMPLE.splitlines(keepends=True) if not line.startswith("#")) in OPERATIONS


def test_the_example_is_valid_with_its_environment_file_and_says_what_lacks_without() -> None:
    rows = (CONTRIB / "default" / "pasvport").read_text().splitlines()
    environment = dict(row.split("=", 1) for row in rows if row and not row.startswith("#"))
    assert set(re.findall(r"\$\{(\w+)\}", EXAMPLE)) == set(environment)
    done = checked(**environment)
    assert "not set" not in done.stderr
    # The user `pasvport` is made by the installation.
    wrong = re.findall(r"ALERT.*parsing.*", done.stderr)
    assert all(re.search(r"cannot find (user|group) id for 'pasvport'$", each) for each in wrong), wrong
    assert "variable 'PROBE_PASSWORD' is not set" in checked().stderr


def test_the_example_logs_where_every_debian_listens() -> None:
    assert re.findall(r"^ +log (\S+) ", EXAMPLE, re.MULTILINE) == ["/dev/log"]


def test_rsyslog_opens_its_socket_in_the_chroot_and_its_file_is_rotated() -> None:
    text = (CONTRIB / "rsyslog" / "49-pasvport.conf").read_text()
    chroot = re.search(r"chroot (\S+)", EXAMPLE)
    assert chroot
    assert f"$AddUnixListenSocket {chroot[1]}/dev/log\n" in text
    file = re.search(r"^  (/\S+)$", text, re.MULTILINE)
    assert file
    assert f"\n{file[1]} {{\n" in (CONTRIB / "logrotate" / "pasvport").read_text()
