"""The supervisor's side: streams and descriptors that work, that are slow, that are gone and that come back."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import socket
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.waiting import until
from log_rig import (
    ORIGIN,
    configuration,
    fd_target,
    port_of,
    record,
    tcp_target,
    udp_sink,
    udp_target,
    unix_target,
    waiting_lines,
)
from pasvport.address import Endpoint, Family
from pasvport.control.journal import TARGET_NUMBER, Journal
from pasvport.control.log_streams import BATCH, Backlog, Pace
from pasvport.engine.logger import Logger
from pasvport.model import Config, LogFormat, LogTarget, LogTransport
from pasvport.sockets import log_channel

QUICK = Pace(backlog=64 * 1024, connect=5, write=0.2, first_pause=0.01, longest_pause=0.02, notice=0.05)
RAW = {"format": LogFormat.RAW}


async def eventually(fact: Callable[[], object], what: str) -> None:
    """Give the loop its turns until `fact()` is true; fails at a deadline."""
    try:
        async with asyncio.timeout(10):
            while not fact():
                await asyncio.sleep(0.005)
    except TimeoutError:
        pytest.fail(f"waited in vain for {what}")


@contextlib.asynccontextmanager
async def journal(config: Config, **options: Any) -> AsyncIterator[Journal]:
    made = Journal(config, process_id=7, **{"pace": QUICK, **options})
    try:
        yield made
    finally:
        await made.close(0.2)


class LogServer:
    """A syslog server over a stream: keeps what it is sent, unless told not to read."""

    def __init__(self, *, reads: bool = True) -> None:
        self.data = b""
        self.connections = 0
        self._reads = reads
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self, port: int = 0, path: Path | None = None) -> int:
        if path is not None:
            self._server = await asyncio.start_unix_server(self._serve, path)
            return 0
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, limit=1024)
        return port_of(self._server.sockets[0])  # type: ignore[arg-type]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        while self._reads and (data := await reader.read(65536)):
            self.data += data

    async def stop(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0)

    def lines(self) -> list[bytes]:
        return self.data.splitlines()


# --- the backlog --------------------------------------------------------------------------------------------------


@given(st.lists(st.binary(min_size=1, max_size=60), max_size=40), st.integers(1, 500))
def test_a_backlog_is_bounded_and_keeps_order(lines: list[bytes], limit: int) -> None:
    backlog = Backlog(limit)
    kept = [line for line in lines if backlog.put(line)]
    assert len(backlog) == sum(map(len, kept)) <= limit
    assert backlog.dropped == backlog.claim_lost() == len(lines) - len(kept)
    assert backlog.claim_lost() == 0
    assert backlog.take() == kept
    backlog.give_back(kept)
    assert backlog.take() == kept
    assert len(backlog) == 0


def test_batches_are_bounded() -> None:
    backlog = Backlog(10 * BATCH)
    backlog.put(b"x" * 2 * BATCH)
    backlog.put(b"y" * (BATCH - 1))
    backlog.put(b"zz")
    assert [len(backlog.take()) for _ in range(4)] == [1, 1, 1, 0]


# --- descriptors --------------------------------------------------------------------------------------------------


def test_workers_lines_reach_a_descriptor() -> None:
    async def scenario(config: Config) -> None:
        async with journal(config) as made:
            ours, workers = log_channel()
            made.attach(ours)
            logger = Logger(config, process_id=8, log_channel=workers.fileno())
            logger.for_proxy(config.proxies[0]).session_ended(record())
            logger.close()
            workers.close()
            # Lines sent before the worker's end are delivered although the worker is gone.
            await eventually(lambda: ours.fileno() == -1, "the channel to end")
            made.say(5, "Proxy www\nstarted.")

    reading, writing = os.pipe()
    try:
        asyncio.run(scenario(configuration(fd_target(writing, **RAW), format="%ci %B")))
        assert os.read(reading, 4096) == b"10.0.1.2 11\nProxy www#0Astarted.\n"
    finally:
        os.close(reading)
        os.close(writing)


def test_a_blocked_pipe_holds_nobody_up() -> None:
    warnings: list[str] = []

    async def scenario(config: Config) -> int:
        async with journal(config, warn=warnings.append) as made:
            while not made.dropped:
                made.say(6, "x" * 900)
            await eventually(lambda: warnings, "a warning about drops")
        return made.dropped

    reading, writing = os.pipe()
    try:
        dropped = asyncio.run(scenario(configuration(fd_target(writing, **RAW))))
        assert os.get_blocking(writing)
        assert sum(int(text.split()[0]) for text in warnings) == dropped
        assert warnings[0].endswith("dropped")
    finally:
        os.close(reading)  # lets the thread that the pipe held go
        until(
            lambda: not any(thread.name.startswith("log fd@") for thread in threading.enumerate()), "the thread's end"
        )
        os.close(writing)


def test_losses_are_said_when_a_pipe_works_again() -> None:
    async def scenario(config: Config, reading: int) -> bytes:
        async with journal(config) as made:
            while not made.dropped:
                made.say(6, "x" * 900)
            dropped, taken = made.dropped, b""
            os.set_blocking(reading, False)

            def drained() -> bool:
                nonlocal taken
                with contextlib.suppress(BlockingIOError):
                    taken += os.read(reading, 65536)
                made.say(6, "again") if len(taken) > 65536 else None
                return f"{dropped} log line".encode() in taken

            await eventually(drained, "the losses to be said")
            return taken

    reading, writing = os.pipe()
    try:
        assert b"x" * 900 in asyncio.run(scenario(configuration(fd_target(writing, **RAW)), reading))
    finally:
        os.close(reading)
        until(
            lambda: not any(thread.name.startswith("log fd@") for thread in threading.enumerate()), "the thread's end"
        )
        os.close(writing)


def test_a_closed_pipe_counts() -> None:
    async def scenario(config: Config) -> int:
        async with journal(config) as made:
            made.say(6, "nobody reads this")
            await eventually(lambda: made.dropped, "the loss to be counted")
            return made.dropped

    reading, writing = os.pipe()
    os.close(reading)
    try:
        assert asyncio.run(scenario(configuration(fd_target(writing)))) == 1
    finally:
        os.close(writing)


# --- network streams ----------------------------------------------------------------------------------------------


def test_a_tcp_server_gets_lines() -> None:
    async def scenario() -> None:
        server = LogServer()
        port = await server.start()
        async with journal(configuration(tcp_target(port, **RAW))) as made:
            for number in range(100):
                made.say(6, f"line {number}")
            await eventually(lambda: len(server.lines()) == 100, "100 lines")
            assert server.lines() == [f"line {number}".encode() for number in range(100)]
            assert server.connections == 1
        await server.stop()
        assert made.dropped == 0

    asyncio.run(scenario())


def test_a_unix_stream_gets_lines(tmp_path: Path) -> None:
    async def scenario() -> None:
        server = LogServer()
        await server.start(path=tmp_path / "log")
        target = LogTarget(ORIGIN, LogTransport.UNIX_STREAM, Endpoint(Family.UNIX, str(tmp_path / "log")), **RAW)
        async with journal(configuration(target)) as made:
            made.say(6, "hello")
            await eventually(lambda: server.data == b"hello\n", "the line")
        await server.stop()

    asyncio.run(scenario())


def test_lines_wait_for_a_server_that_is_not_there_yet() -> None:
    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = port_of(probe)
        server = LogServer()
        async with journal(configuration(tcp_target(port, **RAW))) as made:
            made.say(6, "early")
            await asyncio.sleep(0)
            await server.start(port)
            await eventually(lambda: server.data == b"early\n", "the line said before")
        await server.stop()

    asyncio.run(scenario())


def test_a_server_that_restarts_is_dialled_again() -> None:
    async def scenario() -> None:
        first, second = LogServer(), LogServer()
        port = await first.start()
        async with journal(configuration(tcp_target(port, **RAW))) as made:
            made.say(6, "one")
            await eventually(lambda: first.data == b"one\n", "the first line")
            await first.stop()
            await second.start(port)
            # A line that was on its way when the first server went is lost, as with any syslog over TCP.
            await eventually(lambda: made.say(6, "two") or second.data, "a line at the second server")
            assert set(second.lines()) == {b"two"}
        await second.stop()

    asyncio.run(scenario())


def test_a_server_that_never_reads_costs_its_own_lines_only() -> None:
    warnings: list[str] = []

    async def scenario() -> None:
        deaf, good = LogServer(reads=False), LogServer()
        ports = await deaf.start(), await good.start()
        config = configuration(*(tcp_target(port, **RAW) for port in ports))
        async with journal(config, warn=warnings.append) as made:
            sent = 0
            while not made.dropped:
                for _ in range(50):
                    made.say(6, "y" * 1000)
                sent += 50
                await eventually(lambda expected=sent: len(good.lines()) >= expected, "the good server to have it all")
            await eventually(lambda: warnings, "a warning")
            # Dialled anew when it took nothing for `Pace.write`.
            await eventually(lambda: deaf.connections > 1, "another attempt")
        await deaf.stop()
        await good.stop()

    asyncio.run(scenario())


def test_what_waits_at_the_end_is_counted() -> None:
    async def scenario() -> int:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = port_of(probe)
        async with journal(configuration(tcp_target(port))) as made:
            made.say(6, "never delivered")
        return made.dropped

    assert asyncio.run(scenario()) == 1


# --- datagrams and notices ----------------------------------------------------------------------------------------


def test_own_messages_go_to_datagram_targets(tmp_path: Path) -> None:
    async def scenario(config: Config, other: LogTarget) -> int:
        async with journal(config) as made:
            made.say(1, "Server be/s1 is DOWN.")
            made.say(7, "too chatty for the global section")
            made.say(5, "Server be/s1 is UP.", (other,), tag="ftp")
            return made.dropped

    with udp_sink() as sink, udp_sink() as second:
        target = udp_target(port_of(sink), format=LogFormat.PRIORITY, level=5)
        other = udp_target(port_of(second), format=LogFormat.RFC5424)
        config = configuration(target, unix_target(tmp_path / "nobody", level=5))
        assert asyncio.run(scenario(config, other)) == 1
        # The drop at the absent socket is told to the target that works.
        assert waiting_lines(sink) == [b"<129>Server be/s1 is DOWN.\n", b"<132>1 log line dropped\n"]
        [line] = waiting_lines(second)
        assert line.endswith(b" - ftp 7 - - Server be/s1 is UP.\n")


def test_a_target_that_comes_back_is_told_what_it_missed(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "log"
        async with journal(configuration(unix_target(path, **RAW))) as made:
            made.say(6, "missed")
            made.say(6, "missed too")
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sink:
                sink.bind(str(path))
                lines: list[bytes] = []
                await eventually(lambda: lines.extend(waiting_lines(sink)) or lines, "the notice")
                assert lines == [b"2 log lines dropped\n"]
            # Failing to tell is no further loss.
            assert made.dropped == 2

    asyncio.run(scenario())


def test_the_target_that_cannot_be_reached_is_named(tmp_path: Path) -> None:
    warnings: list[str] = []

    async def scenario() -> None:
        config = configuration(unix_target(tmp_path / "nobody"))
        async with journal(config, warn=warnings.append) as made:
            made.say(1, "missed")
            await eventually(lambda: warnings, "the warning")

    asyncio.run(scenario())
    assert warnings == [f"1 log line dropped ({tmp_path / 'nobody'}: No such file or directory)"]


def test_what_workers_dropped_is_said_too() -> None:
    warnings: list[str] = []
    dropped = 5

    async def scenario() -> None:
        nonlocal dropped
        async with journal(configuration(), warn=warnings.append, dropped_elsewhere=lambda: dropped) as made:
            made.say(6, "to nobody")
            dropped = 6
            await eventually(lambda: warnings, "the warning")

    asyncio.run(scenario())
    assert warnings == ["1 log line dropped"]


def test_frames_that_are_none_are_counted() -> None:
    async def scenario(config: Config) -> None:
        async with journal(config) as made:
            ours, workers = log_channel()
            made.attach(ours)
            for frame in (b"x", TARGET_NUMBER.pack(9) + b"no such target\n"):
                workers.send(frame)
            await eventually(lambda: made.dropped == 2, "both to be counted")
            workers.close()

    reading, writing = os.pipe()
    try:
        asyncio.run(scenario(configuration(fd_target(writing))))
    finally:
        os.close(reading)
        os.close(writing)


def test_a_worker_that_does_not_escape_steers_no_terminal() -> None:
    async def scenario(config: Config) -> None:
        async with journal(config) as made:
            ours, workers = log_channel()
            made.attach(ours)
            workers.send(TARGET_NUMBER.pack(0) + b"a\x1b[2J\x07\x00\x7f\tb\xc3\xa9\n")
            workers.close()
            await eventually(lambda: ours.fileno() == -1, "the channel to end")

    reading, writing = os.pipe()
    try:
        asyncio.run(scenario(configuration(fd_target(writing, **RAW), format="%ci")))
        assert os.read(reading, 4096) == b"a#1B[2J#07#00#7F\tb\xc3\xa9\n"
    finally:
        os.close(reading)
        os.close(writing)


def test_json_over_every_transport(tmp_path: Path) -> None:
    async def scenario(writing: int) -> list[bytes]:
        servers = [LogServer(), LogServer()]
        port = await servers[0].start()
        await servers[1].start(path=tmp_path / "stream")
        stream = LogTarget(
            ORIGIN, LogTransport.UNIX_STREAM, Endpoint(Family.UNIX, str(tmp_path / "stream")), format=LogFormat.JSON
        )
        with udp_sink() as sink, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as local:
            local.bind(str(tmp_path / "log"))
            as_json = {"format": LogFormat.JSON}
            datagrams = (udp_target(port_of(sink), **as_json), unix_target(tmp_path / "log", **as_json))
            config = configuration(*datagrams, tcp_target(port, **as_json), stream, fd_target(writing, **as_json))
            async with journal(config) as made:
                made.say(4, 'Server "be/s1"\nis DOWN.')
                await eventually(lambda: all(server.data.endswith(b"\n") for server in servers), "two streams")
            lines = [*waiting_lines(sink), *waiting_lines(local), *(server.data for server in servers)]
        for server in servers:
            await server.stop()
        return lines

    reading, writing = os.pipe()
    try:
        lines = asyncio.run(scenario(writing))
        lines.append(os.read(reading, 4096))
    finally:
        os.close(reading)
        os.close(writing)
    assert [line.count(b"\n") for line in lines] == [1] * 5
    for line in lines:
        found = json.loads(line)
        assert (found["type"], found["severity"], found["pid"]) == ("message", "warning", 7)
        assert found["message"] == 'Server "be/s1"#0Ais DOWN.'
        assert found["host"] == socket.gethostname()


def test_targets_that_nobody_listens_at_are_told_at_the_start(tmp_path: Path) -> None:
    warnings: list[str] = []

    async def scenario() -> None:
        with udp_sink() as sink, socket.create_server(("127.0.0.1", 0)) as taken:
            with udp_sink() as gone:
                nobody = port_of(gone)
            absent = tcp_target(taken.getsockname()[1])
            taken.close()
            dead = [udp_target(nobody), unix_target(tmp_path / "nobody"), absent]
            config = configuration(udp_target(port_of(sink)), *dead)
            async with journal(config, warn=warnings.append) as made:
                made.look()
                await eventually(
                    lambda: sum("nobody" in text for text in warnings) >= len(dead), "every one to be told"
                )
                # The one that works hears of the others.
                assert sorted(b"nobody takes lines there" in line for line in waiting_lines(sink)) == [True] * 3

    asyncio.run(scenario())
    assert sorted(text.rpartition(" (")[2] for text in warnings if "nobody takes lines there" in text) == [
        "Connection refused)",
        "Connection refused)",
        "No such file or directory)",
    ]


def test_every_refused_datagram_is_counted() -> None:
    warnings: list[str] = []

    async def scenario() -> None:
        with udp_sink() as gone:
            port = port_of(gone)
        async with journal(configuration(udp_target(port)), warn=warnings.append) as made:
            for _ in range(3):
                made.say(6, "lost")
            await eventually(lambda: made.dropped == 3, "all of them to be counted")
            await eventually(lambda: warnings, "the warning")

    asyncio.run(scenario())
    assert re.fullmatch(r"\d log lines? dropped \(127\.0\.0\.1:\d+: Connection refused\)", warnings[0])


def test_a_path_that_a_worker_cannot_reach_is_sent_to_for_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "log"
        config = configuration(unix_target(path), tcp_target(9))
        async with journal(config) as made:
            ours, workers = log_channel()
            made.attach(ours)
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sink:
                sink.bind(str(path))
                workers.send(TARGET_NUMBER.pack(1) + b"from a jail\n")
                lines: list[bytes] = []
                await eventually(lambda: lines.extend(waiting_lines(sink)) or lines, "the line")
                assert lines == [b"from a jail\n"]
            path.unlink()
            workers.send(TARGET_NUMBER.pack(1) + b"to nobody\n")
            await eventually(lambda: made.dropped == 1, "it to be counted")
            workers.close()

    asyncio.run(scenario())
