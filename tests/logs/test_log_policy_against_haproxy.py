"""Which sessions are logged, and how urgently: HAProxy's frontends and ours, with the same options and sessions."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from log_rig import Greeter, LoggingHaproxy, configuration, port_of, record, udp_sink, udp_target, waiting_lines
from pasvport.engine.logger import Logger
from pasvport.model import LogFormat
from pasvport.record import Culprit, SessionRecord, Stage
from real_haproxy import needs_haproxy

pytestmark = needs_haproxy

# A line of the end: it comes a whole session later than those of the session before it.
SENTINEL = "sentinel %ts"
OPTIONS: dict[str, dict[str, Any]] = {
    "log-format '%U %ts %lc'": {"format": "%U %ts %lc"},
    "log-format '%f %s'": {"format": "%f %s"},
    "option dontlognull": {"dontlognull": True},
    "option dontlog-normal": {"dontlog_normal": True},
    "option log-separate-errors": {"separate_errors": True},
    "option logasap": {"logasap": True},
}
FORMAT, EARLY, *POLICIES = OPTIONS
COMBINATIONS = (
    (),
    *((FORMAT, policy) for policy in ("", *POLICIES)),
    *((EARLY, policy) for policy in ("", *POLICIES)),
    *((policy,) for policy in POLICIES),
    (FORMAT, *POLICIES),
)


@dataclass(frozen=True)
class Way:
    """One way to end a session: whether the server is there, whether the client says a word, and what we call it."""

    name: str
    alive: bool
    speaks: bool
    record: dict[str, Any]


WAYS = (
    Way("normal", True, True, {"bytes_in": 6}),
    Way("silent", True, False, {"bytes_in": 0}),
    Way("refused", False, False, {"bytes_in": 0, "culprit": Culprit.SERVER_ABORT, "stage": Stage.CONNECT}),
)


def play(haproxy: LoggingHaproxy, number: int, way: Way) -> None:
    with socket.create_connection(("127.0.0.1", haproxy.ports[number]), 5) as client, contextlib.suppress(OSError):
        client.recv(100)
        if way.speaks:
            client.sendall(b"QUIT\r\n")
            client.recv(100)


def ours(options: tuple[str, ...], entry: SessionRecord, alive: bool) -> list[bytes]:
    settings = {name: value for option in options if option for name, value in OPTIONS[option].items()}
    with udp_sink() as sink:
        config = configuration(udp_target(port_of(sink), format=LogFormat.PRIORITY), **settings)
        logger = Logger(config, process_id=7, log_channel=-1)
        with contextlib.closing(logger):
            proxy = logger.for_proxy(config.proxies[0])
            proxy.session_started(entry)
            if alive:
                proxy.session_connected(entry)
            proxy.session_ended(entry)
        return waiting_lines(sink)


def until_sentinel(sink: socket.socket) -> list[bytes]:
    lines: list[bytes] = []
    while not (line := sink.recv(65536)).startswith(b"<134>sentinel "):
        lines.append(line)
    return lines


def comparable(lines: list[bytes]) -> list[bytes]:
    # At connect, HAProxy may or may not have seen the client's bytes; ports differ from run to run.
    return [line.partition(b"Connect from ")[0] + b"Connect" if b"Connect from " in line else line for line in lines]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_policies(tmp_path: Path, way: Way) -> None:
    bodies = ["\n".join(f"  {option}" for option in options if option) for options in COMBINATIONS]
    greeter = Greeter()
    haproxy = LoggingHaproxy(
        tmp_path,
        [*bodies, f"  log-format '{SENTINEL}'"],
        "  nbthread 1",
        ["127.0.0.1:{sink} format priority local0"],
        server_port=greeter.port if way.alive else 1,
    )
    with contextlib.closing(greeter), udp_sink() as sink, haproxy.running(port_of(sink)):
        for number, options in enumerate(COMBINATIONS):
            play(haproxy, number, way)
            play(haproxy, len(COMBINATIONS), way)
            theirs = until_sentinel(sink)
            facts = way.record
            if "option logasap" in options and FORMAT in options and way.alive:
                facts = {**facts, "bytes_in": 0}  # said before the client has spoken
            entry = record(frontend=f"fe{number}", **facts)
            assert comparable(ours(options, entry, way.alive)) == comparable(theirs), options
