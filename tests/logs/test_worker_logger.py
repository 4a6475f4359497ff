"""The worker's side: which sessions are logged, at which level, where lines go, and what happens when they cannot."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

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
from pasvport.engine.logger import TARGET_NUMBER, Logger, ProxyLogger
from pasvport.logformat import TCPLOG_FORMAT
from pasvport.model import Config, Global, LogFormat, LogTarget, LogTransport
from pasvport.record import Culprit, SessionRecord, Stage
from pasvport.sockets import log_channel


class Worker:
    """A logger as a worker has it, with the journal's end of its channel in our hand."""

    def __init__(self, config: Config) -> None:
        self.journal, self._channel = log_channel()
        self.dropped = 0
        self.logger = Logger(config, process_id=7, log_channel=self._channel.fileno(), dropped=self._drop)
        self.www: ProxyLogger = self.logger.for_proxy(config.proxies[0])

    def _drop(self) -> None:
        self.dropped += 1

    def close(self) -> None:
        self.logger.close()
        self.journal.close()
        # Still ours: the logger only borrowed it.
        self._channel.close()


@contextlib.contextmanager
def worker(config: Config) -> Iterator[Worker]:
    with contextlib.closing(Worker(config)) as made:
        yield made


def raw(sink: socket.socket, **options: Any) -> LogTarget:
    return udp_target(port_of(sink), format=LogFormat.PRIORITY, **options)


def lines_of(*records: SessionRecord, **logging: Any) -> list[bytes]:
    """What a frontend with these settings writes about sessions that begin, connect and end."""
    with udp_sink() as sink, worker(configuration(raw(sink), **logging)) as made:
        for entry in records:
            made.www.session_started(entry)
            made.www.session_connected(entry)
            made.www.session_ended(entry)
        return waiting_lines(sink)


def failed() -> SessionRecord:
    return record(culprit=Culprit.SERVER_ABORT, stage=Stage.CONNECT)


def test_without_a_format_the_accept_is_said() -> None:
    assert lines_of(record()) == [b"<134>Connect from 10.0.1.2:33312 to 10.0.3.31:8012 (www/TCP)\n"]
    unix = record(client_address="unix", client_port="3", frontend_address="unix", frontend_port="3")
    assert lines_of(unix) == [b"<134>Connect to unix:3 (www/TCP)\n"]


def test_with_a_format_the_end_is_said(utc: None) -> None:
    assert lines_of(record(), format=TCPLOG_FORMAT) == [
        b"<134>10.0.1.2:33312 [23/Nov/2026:03:09:11.476] www be/s1 1/2/33 11 -- 1/1/0/0/0 0/0\n"
    ]


def test_a_format_that_says_nothing_of_the_end_is_written_when_connected() -> None:
    with udp_sink() as sink, worker(configuration(raw(sink), format="%ci %s")) as made:
        entry = record()
        assert made.www.at_connect
        made.www.session_connected(entry)
        assert waiting_lines(sink) == [b"<134>10.0.1.2 s1\n"]
        made.www.session_ended(entry)
        # A server that was never reached: said at the end after all.
        made.www.session_ended(failed())
        assert waiting_lines(sink) == [b"<134>10.0.1.2 s1\n"]


def test_logasap_marks_figures_even_when_written_at_the_end() -> None:
    assert lines_of(record(), format="%Tt %B", logasap=True) == [b"<134>+33 +11\n"]
    with udp_sink() as sink, worker(configuration(raw(sink), format="%Tt", logasap=True)) as made:
        made.www.session_ended(record())
        assert waiting_lines(sink) == [b"<134>+33\n"]


def test_dontlognull_asks_what_the_client_sent() -> None:
    silent, talking = record(bytes_in=0, bytes_out=999), record(bytes_in=1, bytes_out=0)
    assert lines_of(silent, talking, format="%U %B", dontlognull=True) == [b"<134>1 0\n"]
    assert len(lines_of(silent, format=TCPLOG_FORMAT)) == 1


@pytest.mark.parametrize(
    ("changes", "normal"),
    [
        ({}, True),
        ({"culprit": Culprit.LOCAL, "retries": 1}, True),
        ({"retries": 1}, False),
        ({"redispatched": True, "culprit": Culprit.LOCAL}, False),
        ({"culprit": Culprit.CLIENT_ABORT, "stage": Stage.DATA}, False),
    ],
)
def test_normal_sessions(changes: dict[str, Any], normal: bool) -> None:
    assert lines_of(record(**changes), format="%ts %B", dontlog_normal=True) == ([] if normal else lines_of(
        record(**changes), format="%ts %B"
    ))  # fmt: skip
    [line] = lines_of(record(**changes), format="%ts %B", separate_errors=True)
    assert line.startswith(b"<134>" if normal else b"<131>")


def test_lines_are_counted() -> None:
    assert lines_of(record(), record(), format="%lc %B") == [b"<134>0 11\n", b"<134>1 11\n"]


def test_levels_and_samples_per_target() -> None:
    with udp_sink() as sink:
        targets = (raw(sink, level=3), raw(sink, facility=17, sample_ranges=((2, 2),), sample_size=2))
        with worker(configuration(*targets, format="%rt %B", separate_errors=True)) as made:
            for number in range(4):
                made.www.session_ended(record(session_number=number, retries=number % 2))
            assert waiting_lines(sink) == [b"<131>1 11\n", b"<139>1 11\n", b"<131>3 11\n", b"<139>3 11\n"]


def test_structured_data_tag_and_host() -> None:
    with udp_sink() as sink:
        target = udp_target(port_of(sink), format=LogFormat.RFC5424)
        config = configuration(
            target, settings=Global(log_send_hostname="bal"), format="%ci %B", structured_data='[x@1 b="%B"]', tag="ftp"
        )
        with worker(config) as made:
            made.www.session_ended(record())
            assert waiting_lines(sink)[0].endswith(b' bal ftp 7 - [x@1 b="11"] 10.0.1.2 11\n')
            made.logger.say(4, "proxy\x00 said")
            assert waiting_lines(sink)[0].endswith(b" bal pasvport 7 - - proxy#00 said\n")


def test_needs_are_those_of_every_format_in_use() -> None:
    with (
        udp_sink() as sink,
        worker(
            configuration(raw(sink), format="%ci", transfer_format="%fi", error_format="%b", structured_data="%bi")
        ) as made,
    ):
        assert made.www.needs == {"client_address", "frontend_address"}
        assert not made.www.at_accept
    with worker(configuration(format=TCPLOG_FORMAT)) as made:
        assert made.www.needs == frozenset()
        made.www.session_ended(record())


def test_unique_ids_are_made_when_a_line_says_them() -> None:
    with udp_sink() as sink:
        config = with_unique_id(configuration(raw(sink), format="%ID %[unique-id] %B"), "%{+X}o%ci:%cp_%rt%sslv")
        with worker(config) as made:
            assert "session_number" in made.www.needs
            made.www.session_ended(record(session_number=5))
            assert waiting_lines(sink) == [b"<134>0A000102:8220_0005 0A000102:8220_0005 11\n"]
        with worker(with_unique_id(configuration(raw(sink), format="%ci"), "%rt")) as made:
            assert made.www.needs == {"client_address"}


def with_unique_id(config: Config, text: str) -> Config:
    return replace(config, proxies=(replace(config.proxies[0], unique_id_format=text),))


def test_ipv6_datagrams() -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sink:
        sink.bind(("::1", 0))
        endpoint = Endpoint(Family.IPV6, "::1", port_of(sink))
        with worker(configuration(LogTarget(ORIGIN, LogTransport.UDP, endpoint, format=LogFormat.RAW))) as made:
            made.logger.say(6, "hello")
            assert waiting_lines(sink) == [b"hello\n"]


def test_unix_datagrams(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with worker(configuration(unix_target(path, format=LogFormat.RAW), format="%ci %B")) as made:
        # Nobody is there yet: it is left to the supervisor, and the next line is tried again.
        made.www.session_ended(record())
        assert made.journal.recv(1000) == TARGET_NUMBER.pack(0) + b"10.0.1.2 11\n"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sink:
            sink.bind(str(path))
            made.www.session_ended(record())
            assert waiting_lines(sink) == [b"10.0.1.2 11\n"]
            assert made.dropped == 0


def test_a_full_unix_datagram_socket_drops(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sink:
        sink.bind(str(path))
        with worker(configuration(unix_target(path), format="%ci %B")) as made:
            sent = 0
            while not made.dropped:
                made.www.session_ended(record())
                sent += 1
            assert len(waiting_lines(sink)) == sent - 1


def test_streams_go_through_the_channel() -> None:
    targets = (
        fd_target(1, format=LogFormat.RAW),
        tcp_target(514, format=LogFormat.SHORT),
        fd_target(1, format=LogFormat.PRIORITY),
    )
    with worker(configuration(*targets, format="%ci %B")) as made:
        made.www.session_ended(record())
        assert waiting_lines(made.journal) == [
            TARGET_NUMBER.pack(0) + b"10.0.1.2 11\n",
            TARGET_NUMBER.pack(1) + b"<6>10.0.1.2 11\n",
            TARGET_NUMBER.pack(0) + b"<134>10.0.1.2 11\n",
        ]


def test_a_full_channel_drops() -> None:
    with worker(configuration(fd_target(1), format="%ci %B")) as made:
        sent = 0
        while not made.dropped:
            made.www.session_ended(record())
            sent += 1
        assert len(waiting_lines(made.journal)) == sent - 1
        made.www.session_ended(record())
        assert made.dropped == 1


def test_one_dead_target_does_not_harm_another(tmp_path: Path) -> None:
    with udp_sink() as sink:
        targets = (unix_target(tmp_path / "nobody"), raw(sink))
        with worker(configuration(*targets, format="%ci %B")) as made:
            made.www.session_ended(record())
            assert waiting_lines(sink) == [b"<134>10.0.1.2 11\n"]
            assert made.journal.recv(1000).startswith(TARGET_NUMBER.pack(0))


def test_refused_datagrams_are_counted_to_the_last() -> None:
    with udp_sink() as gone:
        target = raw(gone)
    with worker(configuration(target)) as made:
        for _ in range(5):
            made.logger.say(6, "lost")
        made.logger.look()
        assert made.dropped == 5
        made.logger.look()
        assert made.dropped == 5


def test_a_receiver_that_comes_back_gets_the_next_line() -> None:
    with udp_sink() as sink:
        target, place = raw(sink), sink.getsockname()
    with worker(configuration(target)) as made:
        made.logger.say(6, "lost")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
            again.bind(place)
            made.logger.say(6, "heard")
            assert waiting_lines(again) == [b"<134>heard\n"]
        assert made.dropped == 1


def test_what_no_path_leads_to_goes_through_the_channel(tmp_path: Path) -> None:
    with worker(configuration(unix_target(tmp_path / "outside", format=LogFormat.RAW))) as made:
        made.logger.say(6, "from a jail")
        assert made.journal.recv(1000) == TARGET_NUMBER.pack(0) + b"from a jail\n"
        assert made.dropped == 0
