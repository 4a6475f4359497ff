"""The load tools, compiled and run against one another without a balancer: what they count is what happened."""

import os
import socket
from pathlib import Path

import pytest
from bench.processes import Background, BenchError, Tool, build_tools, load

# An address of this process alone, so that fixed ports never collide with another run.
HERE = f"127.{88 + os.getpid() % 100}.{os.getpid() // 100 % 250}.1"
CLIENTS = "127.87.0.1+20"
FTP, TCP = 2121, 2500


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tools")
    build_tools(folder)
    return folder


def ftp_server(tools: Path, *more: object, ports: str = "50000-50019") -> Tool:
    return Tool("ftpserver", "-l", HERE, "-p", FTP, "-r", ports, *more, folder=tools)


def ftp_load(tools: Path, *more: object) -> dict[str, float]:
    return load("ftpclient", "-d", f"{HERE}:{FTP}", "-s", CLIENTS, *more, folder=tools)


def test_connections_are_counted_on_both_sides(tools: Path) -> None:
    with Tool("tcpserver", "-l", HERE, "-p", TCP, folder=tools) as server:
        found = load("tcpclient", "-d", f"{HERE}:{TCP}", "-s", CLIENTS, "-c", 10, "-n", 500, folder=tools)
    assert (found["done"], found["errors"]) == (500, 0)
    assert server.final["served"] == 500
    assert 0 < found["p50_us"] <= found["p99_us"]


def test_a_timed_load_ends(tools: Path) -> None:
    with Tool("tcpserver", "-l", HERE, "-p", TCP, folder=tools):
        found = load("tcpclient", "-d", f"{HERE}:{TCP}", "-s", CLIENTS, "-c", 5, "-t", 0.2, folder=tools)
    # That it came back at all is the point: no number of connections was given.
    assert found["done"] > 0


def test_a_short_answer_is_an_error(tools: Path) -> None:
    with Tool("tcpserver", "-l", HERE, "-p", TCP, "-b", 10, folder=tools):
        found = load("tcpclient", "-d", f"{HERE}:{TCP}", "-s", CLIENTS, "-c", 2, "-n", 20, folder=tools)
    assert (found["done"], found["short"], found["errors"]) == (0, 20, 20)


def test_nobody_there_is_an_error(tools: Path) -> None:
    found = load("tcpclient", "-d", f"{HERE}:1", "-s", CLIENTS, "-c", 2, "-n", 20, folder=tools)
    assert (found["done"], found["errors"]) == (0, 20)


@pytest.mark.parametrize("options", [(), ("-e",), ("-u",), ("-i",), ("-k", 3)])
def test_sessions_move_every_byte(tools: Path, options: tuple[object, ...]) -> None:
    each = 3 if "-k" in options else 1
    with ftp_server(tools) as server:
        found = ftp_load(tools, "-c", 10, "-n", 100, "-f", "5k", *options)
    assert (found["done"], found["errors"], found["transfers"]) == (100, 0, 100 * each)
    assert found["bytes"] == 100 * each * 5 * 1024
    assert server.final == {"sessions": 100, "transfers": 100 * each, "strays": 0}


@pytest.mark.parametrize("direction", [(), ("-u",)])
def test_large_transfers_arrive_whole(tools: Path, direction: tuple[str, ...]) -> None:
    with ftp_server(tools):
        found = ftp_load(tools, "-c", 4, "-n", 4, "-f", "16m", *direction)
    assert (found["done"], found["errors"], found["bytes"]) == (4, 0, 4 * 16 * 1024 * 1024)


def test_an_advertised_address_is_obeyed_unless_ignored(tools: Path) -> None:
    with ftp_server(tools, "-a", "127.87.9.9"):
        assert ftp_load(tools, "-c", 2, "-n", 4)["errors"] == 4
        assert ftp_load(tools, "-c", 2, "-n", 4, "-i")["errors"] == 0


def test_a_server_without_ports_left_says_so(tools: Path) -> None:
    with ftp_server(tools, ports="50000-50000"):
        found = ftp_load(tools, "-c", 1, "-n", 20)
        assert (found["done"], found["errors"]) == (20, 0)
        with socket.create_connection((HERE, FTP)) as first, socket.create_connection((HERE, FTP)) as second:
            assert [ask(control, "PASV") for control in (first, second)] == [227, 425]
            first.sendall(b"QUIT\r\n")
            assert read_line(first).startswith("221")
            assert ask_again(second, "PASV") == 227


def ask(control: socket.socket, command: str) -> int:
    """After the greeting of a new connection: the code that answers a command."""
    assert read_line(control).startswith("220")
    return ask_again(control, command)


def ask_again(control: socket.socket, command: str) -> int:
    control.sendall(f"{command}\r\n".encode())
    return int(read_line(control)[:3])


def read_line(control: socket.socket) -> str:
    text = b""
    while not text.endswith(b"\n"):
        text += control.recv(1)
    return text.decode()


def test_what_a_server_says_to_every_command(tools: Path) -> None:
    wanted = {"USER x": 331, "PASS x": 230, "TYPE I": 200, "CWD /": 250, "SIZE 2k": 213, "SIZE x": 550, "RETR x": 550}
    wanted |= {"RETR 1k": 425, "BOGUS": 500, "noop": 200, "QUIT": 221}
    with ftp_server(tools), socket.create_connection((HERE, FTP)) as control:
        assert read_line(control).startswith("220")
        for command, code in wanted.items():
            control.sendall(f"{command}\r\n".encode())
            assert (command, int(read_line(control)[:3])) == (command, code)
        assert control.recv(1) == b""


def test_a_listing_comes_over_the_data_connection(tools: Path) -> None:
    with ftp_server(tools), socket.create_connection((HERE, FTP)) as control:
        read_line(control)
        control.sendall(b"EPSV\r\n")
        port = int(read_line(control).split("|")[3])
        control.sendall(b"LIST\r\n")
        with socket.create_connection((HERE, port)) as data:
            assert data.recv(512).endswith(b" 1k\r\n")
            assert data.recv(1) == b""
        assert [read_line(control)[:3] for _ in range(2)] == ["150", "226"]


def test_idle_connections_are_held(tools: Path) -> None:
    with ftp_server(tools) as server:
        with Tool("idle", "-d", f"{HERE}:{FTP}", "-s", CLIENTS, "-n", 300, folder=tools) as held:
            assert held.ready["open"] == 300
        assert held.final == {"still_open": 300}
    assert server.final["sessions"] == 300


def test_idle_connections_that_nobody_answers_are_lost(tools: Path) -> None:
    with Tool("idle", "-d", f"{HERE}:1", "-s", CLIENTS, "-n", 5, folder=tools) as held:
        assert (held.ready["open"], held.ready["lost"]) == (0, 5)


def test_the_sink_counts_datagrams(tools: Path) -> None:
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with Tool("logsink", "-l", HERE, "-p", 5514, folder=tools) as sink, sender:
        for _ in range(1000):
            sender.sendto(b"0123456789", (HERE, 5514))
    assert sink.final == {"datagrams": 1000, "bytes": 10_000, "lost": 0}


def test_a_load_in_the_background_reports_when_it_is_stopped(tools: Path) -> None:
    with ftp_server(tools):
        with Background("ftpclient", "-d", f"{HERE}:{FTP}", "-s", CLIENTS, "-c", 2, "-t", 60, folder=tools) as load_:
            # The second client's sessions end one by one; meanwhile the first one runs.
            ftp_load(tools, "-c", 2, "-n", 200)
        assert load_.final["done"] > 0
        assert load_.final["seconds"] < 60


@pytest.mark.parametrize("tool", ["ftpserver", "ftpclient", "tcpserver", "tcpclient", "idle", "logsink"])
def test_a_tool_without_its_arguments_says_how(tools: Path, tool: str) -> None:
    with pytest.raises(BenchError, match="usage"):
        load(tool, folder=tools)
