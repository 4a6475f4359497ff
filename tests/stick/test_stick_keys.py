"""Keys from expressions: conversions, refusals, and the same keys as HAProxy's `show table`."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.ports import free_ports
from pasvport import model
from pasvport.errors import ConfigError
from pasvport.model import Converter, Expression, KeyType
from pasvport.stick.keys import address_text, compile_key, compile_sample, is_source_bound
from pasvport.stick.show import key_text

ORIGIN = model.Origin("test", 1)
HAPROXY = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
DEADLINE = 10.0


@dataclass
class Ends:
    """A connection's two ends."""

    source: bytes = bytes([127, 1, 2, 3])
    source_port: int = 40000
    destination: bytes = bytes([127, 0, 0, 1])
    destination_port: int = 21
    user: bytes = b""
    virtual_host: bytes = b""
    listener: str = "ftp-control"

    def names(self) -> tuple[str, str, str]:
        return "fe", "be", ""


V6 = Ends(source=bytes.fromhex("20010db8000000000000000000000001"))
MAPPED = Ends(source=bytes.fromhex("00000000000000000000ffff0a000001"))
UNIX = Ends(source=b"", destination=b"")


def expression(text: str) -> Expression:
    """`fetch(args),converter(args)`; enough of the language for these tests."""
    fetch, *rest = text.replace("),", ")|").split("|") if "(" in text.split(",")[0] else text.split(",", 1)
    name, args = call(fetch)
    converters = tuple(Converter(*call(part)) for part in rest)
    return Expression(text, name, args, converters)


def call(text: str) -> tuple[str, tuple[str, ...]]:
    name, _, inner = text.rstrip(")").partition("(")
    return name, tuple(inner.split(",")) if inner else ()


def table_of(key_type: str, length: int = 0) -> model.StickTable:
    return model.StickTable(ORIGIN, "b", KeyType(key_type), 10, key_length=length)


def shown(text: str, key_type: str, ends: Ends, length: int = 31) -> str | None:
    table = table_of(key_type, length)
    key = compile_key(expression(text), table)(ends)
    return None if key is None else key_text(table, key)


@pytest.mark.parametrize(
    ("ends", "key_type", "expected"),
    [
        (Ends(), "ip", "127.1.2.3"),
        (Ends(), "ipv6", "::ffff:127.1.2.3"),
        (Ends(), "integer", "2130772483"),
        (Ends(), "string", "127.1.2.3"),
        (V6, "ip", None),
        (V6, "ipv6", "2001:db8::1"),
        (V6, "integer", None),
        (V6, "string", "2001:db8::1"),
        (MAPPED, "ip", "10.0.0.1"),
        (MAPPED, "ipv6", "::ffff:10.0.0.1"),
        (UNIX, "ip", None),
        (UNIX, "ipv6", None),
        (UNIX, "string", None),
    ],
)
def test_source_keys(ends: Ends, key_type: str, expected: str | None):
    assert shown("src", key_type, ends) == expected
    assert shown("fc_src", key_type, ends) == expected


def test_plain_source_is_taken_as_it_is():
    ends = Ends()
    assert compile_key(expression("src"), table_of("ip"))(ends) is ends.source


def test_masks_apply_to_their_family():
    both, v4_only = expression("src,ipmask(24,64)"), expression("src,ipmask(255.255.0.0)")
    wide = table_of("ipv6")
    assert compile_key(both, wide)(V6) == V6.source[:8] + bytes(8)
    assert compile_key(v4_only, table_of("ip"))(Ends()) == bytes([127, 1, 0, 0])
    assert compile_key(v4_only, wide)(V6) is None


@pytest.mark.parametrize(
    "text", ["nonsense", "req.len", "src(1)", "int(x)", "ipv4(::1)", "bool(yes)", "bin(0)", "bin", "bc_src"]
)
def test_fetches_that_cannot_be_used_are_refused(text: str):
    with pytest.raises(ConfigError):
        compile_key(expression(text), table_of("string", 20))


@pytest.mark.parametrize(
    "text", ["src,ipmask(33)", "src,ipmask", "src,ipmask(8,8,8)", "src,frob", "bin(01020304),ipmask(8)"]
)
def test_converters_that_cannot_be_used_are_refused(text: str):
    with pytest.raises(ConfigError):
        compile_sample(expression(text))


@pytest.mark.parametrize(
    ("text", "key_type"),
    [
        ("bin(00)", "ip"),
        ("bool(true)", "ipv6"),
        ("always_true", "ip"),
        ("bin(00)", "integer"),
        ("ipv6(::1)", "integer"),
    ],
)
def test_types_that_never_fit_are_refused(text: str, key_type: str):
    with pytest.raises(ConfigError, match="type of fetch not usable with type of stick-table 'b'"):
        compile_key(expression(text), table_of(key_type))


def test_samples_for_hashing_are_plain_bytes():
    assert compile_sample(expression("src"))(Ends()) == bytes([127, 1, 2, 3])
    assert compile_sample(expression("dst_port"))(Ends()) == (21).to_bytes(8, "big")
    assert compile_sample(expression("str(abc)"))(Ends()) == b"abc"
    assert compile_sample(expression("dst"))(UNIX) is None
    assert compile_sample(expression("src_port"))(UNIX) is None


@pytest.mark.parametrize(
    ("text", "table", "bound"),
    [
        ("src", None, True),
        ("fc_src", table_of("ip"), True),
        ("src,ipmask(24)", None, False),
        ("dst", None, False),
        ("src_port", None, False),
        ("str(same)", None, False),
        ("src", table_of("string", 31), False),
        ("src", table_of("string", 45), True),
        ("src", table_of("binary", 4), False),
        ("src", table_of("binary", 16), True),
    ],
)
def test_only_lossless_source_keys_are_bound_to_a_worker(text: str, table: model.StickTable | None, bound: bool):
    assert is_source_bound(expression(text), table) is bound


@given(st.one_of(st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16)))
def test_addresses_are_written_as_the_system_writes_them(packed: bytes):
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    assert address_text(packed) == socket.inet_ntop(family, packed)


@given(st.integers(0, 5), st.binary(min_size=4, max_size=4))
def test_embedded_addresses_too(kind: int, tail: bytes):
    head = [bytes(12), bytes(10) + b"\xff\xff", bytes(11) + b"\x01", b"\x20" + bytes(11), bytes(8) + b"\0\1\0\0"]
    packed = (head[kind % 5] + tail)[:16]
    assert address_text(packed) == socket.inet_ntop(socket.AF_INET6, packed)


# --- the real one -------------------------------------------------------------------------------------------------

TYPES = ("ip", "ipv6", "integer", "string", "string len 5", "string len 31", "binary", "binary len 2", "binary len 20")
SAMPLES = (
    "src", "fc_src", "dst", "dst_port", "fc_dst_port", "src,ipmask(24)", "src,ipmask(24,64)", "src,ipmask(255.255.0.0)",
    "str(1.2.3.4)", "str(::1)", "str(abc)", "str(-5)", "str(12ab)", "bin(48656c6c6f)", "bin(480065)", "bool(true)",
    "ipv4(1.2.3.4)", "ipv6(::1)", "ipv6(::ffff:1.2.3.4)", "int(-1)", "int(4294967297)", "always_true", "always_false",
    "str(a=b%c)", "str(abcdefghijklmnopqrstuvwxyz0123456789)",
)  # fmt: skip
LENGTHS = {"string": 31, "binary": 32}


def kind_and_length(declared: str) -> tuple[str, int]:
    words = declared.split()
    return words[0], int(words[2]) if len(words) == 3 else LENGTHS.get(words[0], 0)


def ours(sample: str, declared: str, port: int) -> str | None:
    key_type, length = kind_and_length(declared)
    try:
        return shown(sample, key_type, Ends(destination_port=port), length)
    except ConfigError:
        return "refused"


class Sink:
    """Accepts and closes; a client waits for the end of its connection to know that a server was learnt."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                self.listener.accept()[0].close()

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()


def backend_lines(number: int, declared: str, sample: str, port: int) -> str:
    return (
        f"backend b{number}\n stick-table type {declared} size 10 expire 1h\n stick on {sample}\n"
        f" server s1 127.0.0.1:{port}\n"
    )


@pytest.fixture
def sink() -> Iterator[Sink]:
    made = Sink()
    yield made
    made.close()


def ask(control: Path, command: str) -> str:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(DEADLINE)
        connection.connect(str(control))
        connection.sendall(command.encode() + b"\n")
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode()


def start(configuration: str, folder: Path, held: ExitStack) -> None:
    text = folder / "haproxy.cfg"
    text.write_text(configuration)
    process = subprocess.Popen([str(HAPROXY), "-db", "-f", str(text)], stderr=subprocess.PIPE)
    held.callback(process.communicate, timeout=DEADLINE)
    held.callback(process.terminate)
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        with suppress(OSError):
            ask(folder / "control", "show info")
            return
        if process.poll() is not None:
            pytest.fail(process.stderr.read().decode())
        time.sleep(0.005)
    pytest.fail("haproxy did not start")


def refused(declared: str, sample: str, folder: Path) -> bool:
    text = folder / "one.cfg"
    text.write_text("defaults\n mode tcp\nlisten l\n bind 127.0.0.1:1\n" + backend_lines(0, declared, sample, 1))
    return subprocess.run([str(HAPROXY), "-c", "-f", str(text)], capture_output=True, check=False).returncode == 1


def stored_key(control: Path, number: int, port: int) -> str | None:
    """What one connection leaves in the table of backend `number`."""
    with socket.create_connection(("127.0.0.1", port), DEADLINE, ("127.1.2.3", 0)) as client:
        client.recv(1)
    answer = ask(control, f"show table b{number}")
    entry = answer.partition(" key=")[2]
    return entry.partition(" use=")[0] if entry else None


@pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed")
@pytest.mark.parametrize("declared", TYPES)
def test_keys_are_haproxys(declared: str, sink: Sink, tmp_path: Path):
    ports = free_ports(len(SAMPLES))
    usable = [(n, sample) for n, sample in enumerate(SAMPLES) if ours(sample, declared, ports[n]) != "refused"]
    doubtful = [sample for sample in SAMPLES if ours(sample, declared, 1) == "refused"]
    assert [sample for sample in doubtful if not refused(declared, sample, tmp_path)] == []
    text = f"global\n stats socket {tmp_path}/control\n nbthread 1\ndefaults\n mode tcp\n"
    text += "".join(f" timeout {kind} 20s\n" for kind in ("connect", "client", "server"))
    for n, sample in usable:
        text += f"frontend f{n}\n bind 127.0.0.1:{ports[n]}\n default_backend b{n}\n"
        text += backend_lines(n, declared, sample, sink.port)
    with ExitStack() as held:
        start(text, tmp_path, held)
        theirs = {sample: stored_key(tmp_path / "control", n, ports[n]) for n, sample in usable}
    assert theirs == {sample: ours(sample, declared, ports[n]) for n, sample in usable}
