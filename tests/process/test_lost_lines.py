"""Log lines that nobody takes are counted by `show info`, whichever process loses them, and said once."""

import re
import signal
import socket

import pytest

from farm.ports import free_ports
from farm.waiting import until
from process_rig import COMMAND, Running, Upstream, configuration, session

ON_A_FULL_DISK = ("sh", "-c", 'exec "$@" >/dev/full', "sh", *COMMAND)


@pytest.fixture
def upstream():
    with Upstream() as server:
        yield server


def asked(path, line):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(line.encode() + b"\n")
        return b"".join(iter(lambda: client.recv(65536), b"")).decode()


def said(balancer):
    """The numbers of lines that were said to be lost."""
    return [int(lines) for lines in re.findall(r"(\d+) log lines? dropped", balancer.messages())]


def test_lines_lost_by_workers_and_by_the_supervisor(tmp_path, upstream):
    """The worker finds no socket, the supervisor's stream is full: a session's two lines are lost, also by a reload."""
    port, api = free_ports(1)[0], tmp_path / "api"
    targets = "".join(f"    log {where} local0 info info\n" for where in (tmp_path / "nobody", "stdout"))
    text = configuration(
        port,
        upstream.port,
        settings=f"    stats socket {api} level admin\n",
        frontend=f"    option tcplog\n{targets}",
    )

    def lost():
        return int(re.search(r"^DroppedLogs: (\d+)$", asked(api, "show info"), re.MULTILINE)[1])

    def visited(times):
        for _ in range(times):
            with session(port, upstream):
                pass

    with Running(tmp_path, text, "-W", command=ON_A_FULL_DISK) as balancer:
        visited(3)
        until(lambda: lost() == 6, "six lines to be lost")
        balancer.signal(signal.SIGUSR2)
        # With them "Proxy fe stopped", twice.
        balancer.wait_for("8 log lines dropped")
        assert lost() == 8
        visited(1)
        until(lambda: lost() == 10, "two more to be lost")
        balancer.signal(signal.SIGTERM)
        balancer.ends()
        assert said(balancer) == [8, 2]
