"""The same sessions, worded by HAProxy and by us: every byte agrees.

Each format is preceded by the plain value of every alias, so that our record can be filled from HAProxy's own line;
what is compared is then the whole line, flags and all.
"""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from farm.waiting import until
from log_rig import Greeter, LoggingHaproxy, port_of, record, tcp_target, udp_sink, udp_target
from pasvport.errors import ConfigError
from pasvport.logformat import compile_format
from pasvport.logformat.syslog import ERR, INFO, Framing, Sender
from pasvport.model import LogFormat
from pasvport.record import Culprit, SessionRecord, Stage
from real_haproxy import HAPROXY, needs_haproxy

pytestmark = needs_haproxy

_PLAIN = """
    Ts ms ci cp fi fp f b s bi bp si sp Tw Tc Td Tt Th B U ts ac fc bc sc rc sq bq pid lc rt ID sslv
    sslc H
"""
PLAIN = _PLAIN.split()
PREFIX = " ".join(f"{name}=%{name};" for name in PLAIN)
ALL = " ".join(f"%{name}" for name in [*PLAIN, "t", "T", "Tl", "Tu", "ft", "tsc", "ST"])
_FETCHES = """
    src src_port dst dst_port fc_src fc_src_port fc_dst fc_dst_port bc_src bc_src_port bc_dst
    bc_dst_port fe_name be_name srv_name so_name unique-id fc_err fc_err_str int(5) bool(true) always_true
    always_false
"""
FETCHES = _FETCHES.split()
SAMPLES = " ".join(f"%[{name}]" for name in FETCHES)

FORMATS = (
    ALL,
    f"%{{+Q}}o {ALL}",
    f"%{{+E}}o {ALL}",
    f"%{{+Q,+E}}o {ALL}",
    "%{+X,+Q}ms %{+X}Ts %{+X}cp %{+X}pid %{+X}lc %{+X}rt %{+X}Tt %{+X}B %{+X}f %{+X}t",
    "%{+Q}o %{+X}o %cp %{-X,-Q}f %f %{X}s %{+Z}b %{}b",
    SAMPLES,
    f"%{{+Q}}o {SAMPLES}",
    f"%{{+X}}o {SAMPLES}",
    "a   b%%c  %_x%-y (%(nm)ci)   %hr %hs  %s%hrl %hsl end  ",
    "%[src,ipmask(8)] %[src,ipmask(24,64)] %[str(aB),upper] %[str(aB),lower] %{+Q,+E}[str(a]b)]",
    "%{+Q}s%{+Q}[srv_name]%ts%%",
    "%[bin(610062)] %[ipv4(1.2.3.4)] %[ipv6(::1)] %[src,ipmask(255.0.255.0)] %[int(16909060),ipmask(8)]",
    "%[fe_name,upper] %[str(1.2.3.4),ipmask(8)] %[bool(1),upper] %[int(99999999999999999999)] %[int(010)]",
    "[%[str( a b )]]",
    "<%[str()]> <%[bin(00)]>",
    "\u00fcber %ci",
)
THEIR_FRAMES = [form for form in LogFormat if form is not LogFormat.JSON]
HEXADECIMAL_ADDRESSES = "%{+X}ci %{+X}fi %{+X}bi %{+X}si"


def filled(line: str) -> SessionRecord:
    """Our record of the session that HAProxy wrote `line` about."""
    value = dict(re.findall(r"(\w+)=([^;]*);", line))
    dash = {"ID": "unique_id", "sslv": "tls_version", "sslc": "tls_cipher"}
    numbers = {
        "Tw": "queue_time", "Tc": "connect_time", "Td": "data_time", "Tt": "total_time", "Th": "handshake_time",
        "B": "bytes_out", "U": "bytes_in", "ac": "process_connections", "fc": "frontend_connections",
        "bc": "backend_connections", "sc": "server_connections", "rc": "retries", "sq": "server_queue",
        "bq": "backend_queue", "rt": "session_number", "lc": "log_number",
    }  # fmt: skip
    texts = {
        "ci": "client_address", "cp": "client_port", "fi": "frontend_address", "fp": "frontend_port", "f": "frontend",
        "b": "backend", "s": "server", "bi": "source_address", "bp": "source_port", "si": "server_address",
        "sp": "server_port",
    }  # fmt: skip
    return record(
        # Half a millisecond, so that no rounding of a float decides the third digit.
        accepted=int(value["Ts"]) + (int(value["ms"]) + 0.5) / 1000,
        culprit=Culprit(value["ts"][0]),
        stage=Stage(value["ts"][1]),
        listener=("local" if value["ci"] == "unix" else "ctl") + value["f"].removeprefix("fe"),
        **{name: value[key].replace("-", "") for key, name in dash.items()},
        **{name: int(value[key].lstrip("+")) for key, name in numbers.items()},
        **{name: value[key] for key, name in texts.items()},
        in_progress=value["Tt"].startswith("+"),
    )


def ours(text: str, line: str) -> str:
    value = dict(re.findall(r"(\w+)=([^;]*);", line))
    return compile_format(text, hostname=value["H"], process_id=int(value["pid"]))(filled(line))


def dial_tcp(haproxy: LoggingHaproxy, number: int) -> None:
    haproxy.dial(number)


def dial_unix(haproxy: LoggingHaproxy, number: int) -> None:
    haproxy.dial_unix(number)


@pytest.mark.parametrize(
    ("dial", "alive", "extra"),
    [
        pytest.param(dial_tcp, True, "", id="tcp"),
        pytest.param(dial_unix, True, "", id="unix"),
        pytest.param(dial_tcp, False, "", id="refused"),
        pytest.param(dial_tcp, True, "  option logasap", id="logasap"),
        pytest.param(dial_tcp, False, "  option logasap", id="logasap-refused"),
    ],
)
@pytest.mark.parametrize("zone_name", ["UTC0", "IST-5:30"])
def test_lines(
    tmp_path: Path,
    zone: Callable[[str], None],
    zone_name: str,
    dial: Callable[[LoggingHaproxy, int], None],
    alive: bool,
    extra: str,
) -> None:
    # Hexadecimal addresses of a UNIX client make HAProxy drop the whole line, so those are for TCP only.
    formats = [*FORMATS, HEXADECIMAL_ADDRESSES] if dial is dial_tcp else FORMATS
    texts = [f"{PREFIX} | {text}" for text in formats]
    greeter = Greeter()
    haproxy = LoggingHaproxy(
        tmp_path,
        [f"{extra}\n  log-format '{text}'" for text in texts],
        server_port=greeter.port if alive else 1,
        environment={"TZ": zone_name},
    )
    zone(zone_name)
    with contextlib.closing(greeter), udp_sink() as sink, haproxy.running(port_of(sink)):
        for number, text in enumerate(texts):
            dial(haproxy, number)
            line = sink.recv(65536).decode().removesuffix("\n")
            assert ours(text, line) == line


BAD = (
    "%xx", "%", "%%%", "a % b", "a %1", "%{+Q", "%{+Q}", "%{+Q} ci", "%{+Q}%", "%{+Q}-ci", "%[src", "%[nope]",
    "%[src,nope]", "%[]", "%ciX", "%r", "%Ta", "%CC", "%trl", "%c", "%[req.hdr(x)]", "%[src,]", "%ci%", "%[src ]",
    "%[ src]", "%[int(x)]", "%[src,ipmask(99)]", "%[str(a]", "%[src(1)]", "%[bool(maybe)]", "%[res.len]", "%TT",
    "%[src,ipmask()]",
)  # fmt: skip
GOOD = (
    "%ci", "%%", "%{+Z}ci", "%{Q}ci", "%[src]", "%o", "%{+Q}o", "%{}ci", "%ST", "%hr", "%tsc", "%(a)ci", "%_", "%-",
    "%{+Q}[src]x", "%{+Q,+E}o %ci", "%[str(a]b)]", "%ci%cp", "%{+Q}ci%cp", "\u00fc", "%\u00fc", "%[src,ipmask(24)]",
    "%[always_true]", "%[src,ipmask(255.255.0.0)]", "a{b}[c]", "%{+Q,,-Q}ci", "%%%",
)  # fmt: skip


def test_verdicts(tmp_path: Path) -> None:
    texts = (*BAD, *GOOD)
    haproxy = LoggingHaproxy(tmp_path, [f"  log-format '{text}'" for text in texts])
    text, _ = haproxy._with_ports(haproxy.text(514))
    file = tmp_path / "haproxy.cfg"
    file.write_text(text)
    result = subprocess.run([HAPROXY, "-c", "-f", str(file)], capture_output=True, text=True, check=False)
    blamed = {int(number) for number in re.findall(r"arsing \[[^]]*:(\d+)\]", result.stderr)}
    places = [number for number, line in enumerate(text.splitlines(), 1) if line.startswith("  log-format ")]
    assert {text for text, place in zip(texts, places, strict=True) if place in blamed} == {
        text for text in texts if not compiles(text)
    }


def compiles(text: str) -> bool:
    try:
        compile_format(text)
    except ConfigError:
        return False
    return True


@pytest.mark.parametrize(
    ("settings", "extra", "told"),
    [
        pytest.param("", "", Sender("haproxy"), id="plain"),
        pytest.param(
            "  log-send-hostname balancer",
            "  log-tag mytag\n  log-format-sd '[x@1 id=\"%ci\"]'",
            Sender("mytag", 0, "balancer"),
            id="host, tag, structured data",
        ),
    ],
)
@pytest.mark.parametrize("length", [1024, 80])
@pytest.mark.parametrize("zone_name", ["UTC0", "IST-5:30"])
def test_frames(
    tmp_path: Path, zone: Callable[[str], None], zone_name: str, settings: str, extra: str, told: Sender, length: int
) -> None:
    message = "hello %ci " + "x" * 50
    haproxy = LoggingHaproxy(
        tmp_path,
        [f"{extra}\n  option log-separate-errors\n  log-format '{message} %B'"],
        settings,
        [f"127.0.0.1:{{sink}} len {length} format {form} daemon info notice" for form in THEIR_FRAMES],
        environment={"TZ": zone_name},
    )
    zone(zone_name)
    with udp_sink() as sink, haproxy.running(port_of(sink)) as process:
        haproxy.dial(0)
        lines = [sink.recv(65536) for _ in THEIR_FRAMES]
    sender = Sender(told.tag, process.pid, told.hostname)
    for form, line in zip(THEIR_FRAMES, lines, strict=True):
        if form is LogFormat.RFC5424 and told.hostname and length == 80:
            continue  # HAProxy leaves out the message with structured data that do not fit; we keep it
        target = udp_target(1, format=form, length=length, facility=3, minimum_level=5)
        structured = b'[x@1 id="127.0.0.1"]' if told.hostname else b"-"
        body = compile_format(message + " %B")(record(client_address="127.0.0.1", bytes_out=0)).encode()
        assert Framing(target, sender).frame(ERR, body, moment(line), structured) == line


def moment(line: bytes) -> float:
    """The time a line says it was written at."""
    text = line.decode()
    if found := re.search(r"\d{4}-\d\d-\d\dT\S+", text):
        # Half a microsecond, for the rounding of floats.
        return datetime.fromisoformat(found[0]).timestamp() + 0.5e-6
    if found := re.search(r">(\w{3} [ \d]\d \d\d:\d\d:\d\d) ", text):
        return datetime.strptime(f"{datetime.now().year} {found[1]}", "%Y %b %d %H:%M:%S").timestamp()
    return 0.0


def test_tcp_lines_end_with_a_newline(tmp_path: Path, utc: None) -> None:
    with udp_sink() as udp, contextlib.closing(_Collector()) as tcp:
        haproxy = LoggingHaproxy(
            tmp_path,
            ["  log-format 'one %ci'", "  log-format 'two %ci'"],
            logs=["tcp@127.0.0.1:{tcp} local0", "127.0.0.1:{sink} local0"],
            extra={"tcp": tcp.port},
            environment={"TZ": "UTC0"},
        )
        with haproxy.running(port_of(udp)) as process:
            haproxy.dial(0)
            haproxy.dial(1)
            data = tcp.lines(2)
    sender = Sender("haproxy", process.pid)
    framed = b"".join(
        Framing(tcp_target(1), sender).frame(INFO, body, moment(line))
        for body, line in zip((b"one 127.0.0.1", b"two 127.0.0.1"), data.splitlines(keepends=True), strict=True)
    )
    assert framed == data


class _Collector:
    """A TCP log server."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self.port = port_of(self._socket)
        self._connection: socket.socket | None = None
        self._data = b""

    def lines(self, count: int) -> bytes:
        until(lambda: self._read() and self._data.count(b"\n") >= count, f"{count} lines over TCP")
        return self._data

    def _read(self) -> bool:
        with contextlib.suppress(BlockingIOError):
            if self._connection is None:
                self._connection, _ = self._socket.accept()
                self._connection.setblocking(False)
            self._data += self._connection.recv(65536)
        return True

    def close(self) -> None:
        self._socket.close()
        if self._connection is not None:
            self._connection.close()
