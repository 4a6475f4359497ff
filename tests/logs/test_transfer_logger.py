"""What a worker writes about sessions and transfers in mode ftp, as text, as JSON and for the xferlog."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from ftp_records import ftp_record, transfer_record
from log_rig import configuration, fd_target, port_of, record, udp_sink, udp_target, waiting_lines
from pasvport.engine.logger import TARGET_NUMBER, Logger, ProxyLogger
from pasvport.logformat import FTP_TRANSFER_FORMAT, FTPLOG_FORMAT, compile_format
from pasvport.logformat.json_lines import needed
from pasvport.model import Config, LogFormat, LogTarget
from pasvport.record import Culprit, DataEnding, FtpSessionRecord, SessionRecord, Stage
from pasvport.sockets import log_channel

pytestmark = pytest.mark.usefixtures("utc")

NOW = 1795403400.0
LINE = b"Mon Nov 23 03:10:00 2026 2 10.0.1.2 500000 /pub/file_one b _ o r bob ftp 0 * %b\n"


@contextlib.contextmanager
def proxy_logger(config: Config, drops: list[None] | None = None) -> Iterator[tuple[ProxyLogger, socket.socket]]:
    """The frontend's logger and the journal's end of the channel."""
    lost = drops if drops is not None else []
    journal, ours = log_channel()
    with journal, ours:
        logger = Logger(
            config, process_id=7, log_channel=ours.fileno(), dropped=lambda: lost.append(None), clock=lambda: NOW
        )
        try:
            yield logger.for_proxy(config.proxies[0]), journal
        finally:
            logger.close()


def raw(sink: socket.socket, **options: Any) -> LogTarget:
    return udp_target(port_of(sink), format=LogFormat.PRIORITY, **options)


def lines_of(*entries: SessionRecord, **logging: Any) -> list[bytes]:
    """What is said about these transfers, one after the other."""
    with udp_sink() as sink, proxy_logger(configuration(raw(sink), **logging)) as (logger, _):
        for entry in entries:
            logger.transfer_ended(entry)
        return waiting_lines(sink)


def failed() -> SessionRecord:
    return transfer_record(ending=DataEnding.CUT, code=426)


def test_both_default_lines() -> None:
    formats: dict[str, Any] = {"format": FTPLOG_FORMAT, "transfer_format": FTP_TRANSFER_FORMAT}
    with udp_sink() as sink, proxy_logger(configuration(raw(sink), **formats)) as (logger, _):
        logger.session_started(ftp_record())
        logger.session_connected(ftp_record())
        logger.transfer_ended(transfer_record())
        logger.session_ended(ftp_record())
        transfer, session = waiting_lines(sink)
    assert transfer == b"<134>" + compile_format(FTP_TRANSFER_FORMAT)(transfer_record()).encode() + b"\n"
    assert session == b"<134>" + compile_format(FTPLOG_FORMAT)(ftp_record()).encode() + b"\n"


def test_nothing_without_a_format() -> None:
    assert lines_of(transfer_record(), failed(), format="%ci %B") == []


def test_normal_transfers_are_those_that_are_complete() -> None:
    both = (transfer_record(), failed())
    assert lines_of(*both, transfer_format="%Xe", dontlog_normal=True) == [b"<134>cut\n"]
    assert lines_of(*both, transfer_format="%Xe", separate_errors=True) == [b"<134>complete\n", b"<131>cut\n"]
    refused = transfer_record(code=451)
    assert lines_of(refused, transfer_format="%Xe %Xc", dontlog_normal=True) == [b"<134>complete 451\n"]


def test_the_session_does_not_make_a_transfer_abnormal() -> None:
    entry = transfer_record()
    entry.culprit, entry.stage, entry.retries = Culprit.SERVER_ABORT, Stage.DATA, 2
    assert lines_of(entry, transfer_format="%Xe", dontlog_normal=True) == []


def test_a_transfer_is_never_null() -> None:
    entry = transfer_record(size=0)
    entry.bytes_in = 0
    assert lines_of(entry, transfer_format="%XB", dontlognull=True) == [b"<134>0\n"]


def test_lines_are_counted_together() -> None:
    with udp_sink() as sink, proxy_logger(configuration(raw(sink), format="%lc %B", transfer_format="%lc")) as (log, _):
        log.transfer_ended(transfer_record())
        log.transfer_ended(transfer_record())
        log.session_ended(ftp_record())
        assert waiting_lines(sink) == [b"<134>0\n", b"<134>1\n", b"<134>2 11\n"]


@pytest.mark.parametrize("ftp", [FtpSessionRecord(reason="the client left"), FtpSessionRecord(blind=True)])
def test_sessions_without_a_login_are_logged(ftp: FtpSessionRecord) -> None:
    with udp_sink() as sink, proxy_logger(configuration(raw(sink), format="%Fu %Fl %Fb", dontlognull=True)) as (log, _):
        log.session_ended(record(ftp=ftp))
        log.session_ended(record(ftp=ftp, bytes_in=0))
        assert waiting_lines(sink) == [b"<134>- 0 %d\n" % ftp.blind]


def test_needs() -> None:
    with udp_sink() as sink:
        config = configuration(raw(sink), format="%Fu", transfer_format="%Xp %si")
        with proxy_logger(config) as (logger, _):
            assert logger.needs == {"ftp", "transfer", "server_address"}
        config = configuration(udp_target(port_of(sink), format=LogFormat.JSON), format="%Fu")
        with proxy_logger(config) as (logger, _):
            assert logger.needs == needed()
        with proxy_logger(configuration(raw(sink), format="%Fu %s")) as (logger, _):
            assert logger.needs == {"ftp", "server"}


# --- JSON ---------------------------------------------------------------------------------------------------------


def test_text_and_json_side_by_side() -> None:
    with udp_sink() as sink, udp_sink() as objects:
        targets = (raw(sink), udp_target(port_of(objects), format=LogFormat.JSON, length=8192, level=3))
        config = configuration(*targets, transfer_format="%Xp", separate_errors=True)
        with proxy_logger(config) as (logger, _):
            logger.transfer_ended(transfer_record())
            logger.transfer_ended(failed())
        assert waiting_lines(sink) == [b"<134>/pub/file one\n", b"<131>/pub/file one\n"]
        [line] = waiting_lines(objects)
    found = json.loads(line)
    assert (found["type"], found["severity"], found["pid"]) == ("transfer", "err", 7)
    assert found["time"] == "2026-11-23T03:10:00.000+00:00"
    assert found["host"] == socket.gethostname()


def events(**logging: Any) -> list[str]:
    with udp_sink() as sink:
        target = udp_target(port_of(sink), format=LogFormat.JSON, length=8192)
        with proxy_logger(configuration(target, **logging)) as (logger, _):
            logger.session_started(record())
            entry = record()
            logger.session_connected(entry)
            logger.session_ended(entry)
        return [json.loads(line)["event"] for line in waiting_lines(sink)]


def test_events_of_sessions() -> None:
    assert events() == ["accepted"]
    assert events(format="%ci") == ["connected"]
    assert events(format="%B") == ["ended"]
    assert events(format="%B", logasap=True, error_format="%ci") == ["connected"]


def test_json_goes_through_the_channel_too() -> None:
    config = configuration(fd_target(1, format=LogFormat.JSON, length=8192), transfer_format="%Xp")
    with proxy_logger(config) as (logger, journal):
        logger.transfer_ended(transfer_record())
        [frame] = waiting_lines(journal)
    assert frame.startswith(TARGET_NUMBER.pack(0))
    assert json.loads(frame[TARGET_NUMBER.size :])["transfer_path"] == "/pub/file one"


# --- the xferlog --------------------------------------------------------------------------------------------------


def test_the_xferlog_goes_to_the_journal() -> None:
    config = configuration(fd_target(1, format=LogFormat.RAW), xferlog="/x", transfer_format="%Xe", dontlog_normal=True)
    with proxy_logger(config) as (logger, journal):
        logger.transfer_ended(transfer_record())
        logger.transfer_ended(failed())
        logger.transfer_ended(transfer_record(verb="MLSD"))
        assert waiting_lines(journal) == [
            TARGET_NUMBER.pack(1) + LINE % b"c",
            TARGET_NUMBER.pack(1) + LINE % b"i",
            TARGET_NUMBER.pack(0) + b"cut\n",
        ]


def test_an_xferlog_alone() -> None:
    with proxy_logger(configuration(xferlog="/x", transfer_format="%Xe")) as (logger, journal):
        logger.session_started(ftp_record())
        logger.transfer_ended(transfer_record())
        logger.session_ended(ftp_record())
        assert waiting_lines(journal) == [TARGET_NUMBER.pack(0) + LINE % b"c"]
        assert logger.needs == frozenset()


def test_lines_that_the_channel_does_not_take_are_counted() -> None:
    drops: list[None] = []
    with proxy_logger(configuration(xferlog="/x"), drops) as (logger, journal):
        sent = 0
        while not drops:
            logger.transfer_ended(transfer_record())
            sent += 1
        assert len(waiting_lines(journal)) == sent - 1
