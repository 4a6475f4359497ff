"""Times, sizes, integers and addresses, in HAProxy's forms and with its words for what is wrong."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pasvport.address import Endpoint, Family, PortRange
from pasvport.config.addresses import (
    PREFIXES,
    bind_addresses,
    log_address,
    plain_address,
    server_address,
    source_address,
)
from pasvport.config.scalars import (
    MAX_SIZE,
    MAX_TIME,
    Mistake,
    ScalarError,
    lenient_int,
    parse_size,
    parse_time,
    strict_int,
    time_error,
    time_remainder_warning,
)
from pasvport.errors import AddressError
from pasvport.model import LogTransport, PortMap, ServerPort
from real_haproxy import HAPROXY, needs_haproxy

V4, V6, UNIX, ABNS, FD, NAME = (Family.IPV4, Family.IPV6, Family.UNIX, Family.ABNS, Family.FD, Family.NAME)


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("0", 0),
        ("5", 5),
        ("5ms", 5),
        ("3s", 3000),
        ("2m", 120_000),
        ("1h", 3_600_000),
        ("24d", 24 * 86_400_000),
        ("1us", 1),
        ("1000us", 1),
        ("1001us", 2),
        ("0us", 0),
        ("1ss", 1000),
        (str(MAX_TIME), MAX_TIME),
    ],
)
def test_times(text: str, milliseconds: int) -> None:
    assert parse_time(text) == milliseconds


def test_default_unit() -> None:
    assert parse_time("10", unit="s") == 10_000
    assert parse_time("10ms", unit="s") == 10


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1x", "unexpected character 'x' in 'timeout client'"),
        ("1.5s", "unexpected character '.' in 'timeout client'"),
        ("-1", "unexpected character '-' in 'timeout client'"),
        ("s", "unexpected character 's' in 'timeout client'"),
        ("1S", "unexpected character 'S' in 'timeout client'"),
        ("1u", "unexpected character 'u' in 'timeout client'"),
        ("1 s", "unexpected character ' ' in 'timeout client'"),
        (
            "25d",
            "timer overflow in argument '25d' to 'timeout client' (maximum value is 2147483647 ms or ~24.8 days)",
        ),
        (
            "9" * 5000,
            f"timer overflow in argument '{'9' * 5000}' to 'timeout client' "
            "(maximum value is 2147483647 ms or ~24.8 days)",
        ),
    ],
)
def test_wrong_times(text: str, said: str) -> None:
    with pytest.raises(ScalarError) as caught:
        parse_time(text)
    assert time_error(caught.value, "timeout client") == said


def test_what_follows_a_unit_is_worth_a_warning() -> None:
    assert time_remainder_warning("1s") == ""
    assert time_remainder_warning("1sx").startswith("unexpected character 'x' after the timer value '1sx', only (us=")


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("100", 100), ("1k", 1024), ("1K", 1024), ("2m", 2 << 20), ("3G", 3 << 30)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "character"),
    [("", ""), ("k", "k"), ("-1", "-"), ("1x", "x"), ("1kk", "k"), ("10G", "G"), ("4294967296", "6"), ("9" * 30, "9")],
)
def test_wrong_sizes(text: str, character: str) -> None:
    with pytest.raises(ScalarError) as caught:
        parse_size(text)
    assert (caught.value.mistake, caught.value.character) == (Mistake.CHARACTER, character)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("10", 10),
        ("-1", -1),
        ("+3", 3),
        (" 4", 4),
        ("1k", 1),
        ("x", 0),
        ("", 0),
        ("99999999999", 2**31 - 1),
        ("1" * 9999, 2**31 - 1),
    ],
)
def test_integers_like_atol(text: str, value: int) -> None:
    assert lenient_int(text) == value


def test_strict_integers() -> None:
    assert (strict_int("12"), strict_int("-3"), strict_int("1k"), strict_int("")) == (12, -3, None, None)


# --- addresses ----------------------------------------------------------------------------------------------------

BINDS = {
    "1.2.3.4:21": [(Endpoint(V4, "1.2.3.4", 21), PortRange(21, 21))],
    ":21": [(Endpoint(V4, "0.0.0.0", 21), PortRange(21, 21))],
    "*:21": [(Endpoint(V4, "0.0.0.0", 21), PortRange(21, 21))],
    ":::21": [(Endpoint(V6, "::", 21), PortRange(21, 21))],
    "127.1:21": [(Endpoint(V4, "127.0.0.1", 21), PortRange(21, 21))],
    "0x7f000001:21": [(Endpoint(V4, "127.0.0.1", 21), PortRange(21, 21))],
    "127.0.0.010:21": [(Endpoint(V4, "127.0.0.8", 21), PortRange(21, 21))],
    "0:21": [(Endpoint(V4, "0.0.0.0", 21), PortRange(21, 21))],
    "[::1]:21": [(Endpoint(V6, "::1", 21), PortRange(21, 21))],
    "::1:21": [(Endpoint(V6, "::1", 21), PortRange(21, 21))],
    "ipv6@:21": [(Endpoint(V6, "::", 21), PortRange(21, 21))],
    "ipv4@ftp.example:21": [(Endpoint(NAME, "ftp.example", 21, V4), PortRange(21, 21))],
    "tcp6@::1:21": [(Endpoint(V6, "::1", 21), PortRange(21, 21))],
    "stream+1.2.3.4:21": [(Endpoint(V4, "1.2.3.4", 21), PortRange(21, 21))],
    "1.2.3.4:50000-50010": [(Endpoint(V4, "1.2.3.4", 50000), PortRange(50000, 50010))],
    "1.2.3.4:21x": [(Endpoint(V4, "1.2.3.4", 21), PortRange(21, 21))],
    "1.2.3.4:21,:22-23,": [
        (Endpoint(V4, "1.2.3.4", 21), PortRange(21, 21)),
        (Endpoint(V4, "0.0.0.0", 22), PortRange(22, 23)),
    ],
    "/run/x.sock": [(Endpoint(UNIX, "/run/x.sock"), PortRange(0, 0))],
    "unix@x.sock": [(Endpoint(UNIX, "x.sock"), PortRange(0, 0))],
    "abns@name": [(Endpoint(ABNS, "name"), PortRange(0, 0))],
    "fd@7": [(Endpoint(FD, "7"), PortRange(0, 0))],
    "$HOST:21": [(Endpoint(V4, "5.6.7.8", 21), PortRange(21, 21))],
    "${HOST}:21": [(Endpoint(V4, "5.6.7.8", 21), PortRange(21, 21))],
    "$UNSET:21": [(Endpoint(V4, "0.0.0.0", 21), PortRange(21, 21))],
}


@pytest.mark.parametrize("text", BINDS)
def test_bind_addresses(text: str) -> None:
    assert bind_addresses(text, {"HOST": "5.6.7.8"}) == BINDS[text]


WRONG_BINDS = {
    "1.1.1.1": "missing port specification in '1.1.1.1'",
    "1.1.1.1:": "missing port specification in '1.1.1.1:'",
    "[::1]": "missing port specification in '[::1]'",
    "1.1.1.1:0": "invalid port '0'",
    "1.1.1.1:65536": "invalid port '65536'",
    "1.1.1.1:99999999999": "invalid port '99999999999'",
    "1.1.1.1:1-": "invalid port ''",
    "1.1.1.1:1--3": "invalid port '-3'",
    "1.1.1.1:3000-2999": "invalid port range '3000-2999'",
    "1.1.1.1:1-70000": "invalid port '70000'",
    "1.1.1.1:-1": "port offset not permitted here in '1.1.1.1:-1'",
    "1.1.1.1:+1": "port offset not permitted here in '1.1.1.1:+1'",
    "1.1.1.1:x": "invalid character 'x' in port number 'x' in '1.1.1.1:x'",
    "1.1.1.1:10,,:20": "'' resolves to an empty address (environment variable missing?)",
    "$UNSET": "'$UNSET' resolves to an empty address (environment variable missing?)",
    "bad/host:1": "invalid address: 'bad/host' in 'bad/host:1'",
    "127..0.1:1": "invalid address: '127..0.1' in '127..0.1:1'",
    "ipv4@::1:10": "invalid address: '::1' in 'ipv4@::1:10'",
    "ipv6@1.1.1.1:10": "invalid address: '1.1.1.1' in 'ipv6@1.1.1.1:10'",
    "1.1.1.1/24:10": "invalid address: '1.1.1.1/24' in '1.1.1.1/24:10'",
    "udp@1.1.1.1:10": "dgram-type address not acceptable in 'udp@1.1.1.1:10'",
    "uxdg@/tmp/x": "dgram-type address not acceptable in 'uxdg@/tmp/x'",
    "fd@x": "file descriptor 'x' is not a valid integer in 'fd@x'",
    "fd@-1": "file descriptor '-1' is not a valid integer in 'fd@-1'",
    "fd@": "file descriptor '' is not a valid integer in 'fd@'",
    "/tmp/" + "a" * 100: f"socket path '/tmp/{'a' * 100}' too long (max 97)",
    "abns@" + "a" * 108: f"socket path 'abns@{'a' * 108}' too long (max 107)",
}


@pytest.mark.parametrize("text", WRONG_BINDS)
def test_wrong_bind_addresses(text: str) -> None:
    with pytest.raises(AddressError) as caught:
        bind_addresses(text)
    assert str(caught.value) == WRONG_BINDS[text]


@pytest.mark.parametrize(
    ("text", "endpoint", "port"),
    [
        ("1.2.3.4", Endpoint(V4, "1.2.3.4"), ServerPort(PortMap.SAME)),
        ("1.2.3.4:", Endpoint(V4, "1.2.3.4"), ServerPort(PortMap.SAME)),
        ("1.2.3.4:0", Endpoint(V4, "1.2.3.4"), ServerPort(PortMap.SAME)),
        ("1.2.3.4:21", Endpoint(V4, "1.2.3.4", 21), ServerPort(PortMap.FIXED, 21)),
        ("1.2.3.4:+1000", Endpoint(V4, "1.2.3.4"), ServerPort(PortMap.OFFSET, 1000)),
        ("1.2.3.4:-1000", Endpoint(V4, "1.2.3.4"), ServerPort(PortMap.OFFSET, -1000)),
        ("1.2.3.4:+", Endpoint(V4, "1.2.3.4"), ServerPort(PortMap.SAME)),
        ("*", Endpoint(V4, "0.0.0.0"), ServerPort(PortMap.SAME)),
        ("[2001:db8::1]", Endpoint(V6, "2001:db8::1"), ServerPort(PortMap.SAME)),
        ("2001:db8::1:21", Endpoint(V6, "2001:db8::1", 21), ServerPort(PortMap.FIXED, 21)),
        ("ftp.example", Endpoint(NAME, "ftp.example"), ServerPort(PortMap.SAME)),
        ("/run/x", Endpoint(UNIX, "/run/x"), ServerPort(PortMap.SAME)),
    ],
)
def test_server_addresses(text: str, endpoint: Endpoint, port: ServerPort) -> None:
    assert server_address(text) == (endpoint, port)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1.1.1.1:1-2", "port range not permitted here in '1.1.1.1:1-2'"),
        ("fd@3", "a file descriptor is not acceptable here in 'fd@3'"),
        ("udp@1.1.1.1:53", "dgram-type address not acceptable in 'udp@1.1.1.1:53'"),
        ("192.168.1.300", "invalid address: '192.168.1.300' in '192.168.1.300'"),
        ("1.2.3.4.5:21", "invalid address: '1.2.3.4.5' in '1.2.3.4.5:21'"),
        ("-x", "invalid address: '-x' in '-x'"),
        ("127.0.0.", "invalid address: '127.0.0.' in '127.0.0.'"),
        ("[::1", "invalid address: '[:' in '[::1'"),
    ],
)
def test_wrong_server_addresses(text: str, said: str) -> None:
    with pytest.raises(AddressError) as caught:
        server_address(text)
    assert str(caught.value) == said


def test_source_addresses() -> None:
    assert source_address("1.1.1.1:10-20", ranges=True) == (Endpoint(V4, "1.1.1.1", 10), PortRange(10, 20))
    assert source_address("1.1.1.1") == (Endpoint(V4, "1.1.1.1"), None)
    assert source_address("1.1.1.1:10") == (Endpoint(V4, "1.1.1.1", 10), PortRange(10, 10))
    assert plain_address("::1:10") == Endpoint(V6, "::1", 10)
    with pytest.raises(AddressError, match="port range not permitted here"):
        source_address("1.1.1.1:10-20")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1", (LogTransport.UDP, Endpoint(V4, "127.0.0.1", 514), -1)),
        ("[::1]:5", (LogTransport.UDP, Endpoint(V6, "::1", 5), -1)),
        ("tcp@1.1.1.1:6", (LogTransport.TCP, Endpoint(V4, "1.1.1.1", 6), -1)),
        ("/dev/log", (LogTransport.UNIX_DATAGRAM, Endpoint(UNIX, "/dev/log"), -1)),
        ("uxst@/dev/log", (LogTransport.UNIX_STREAM, Endpoint(UNIX, "/dev/log"), -1)),
        ("stdout", (LogTransport.DESCRIPTOR, None, 1)),
        ("stderr", (LogTransport.DESCRIPTOR, None, 2)),
        ("fd@5", (LogTransport.DESCRIPTOR, None, 5)),
    ],
)
def test_log_addresses(text: str, expected: tuple[LogTransport, Endpoint | None, int]) -> None:
    assert log_address(text) == expected


_ADDRESS = st.builds(
    "".join,
    st.lists(
        st.sampled_from([*(f"{name}@" for name in PREFIXES), *"0123456789.:-+,[]*/$x", "::1", "1.2.3.4", "65536"]),
        max_size=8,
    ),
)


@given(_ADDRESS, st.sampled_from([bind_addresses, server_address, plain_address, log_address, source_address]))
@settings(max_examples=500)
def test_any_address_is_understood_or_refused(text: str, parse: Callable[[str], object]) -> None:
    said = "understood"
    try:
        parse(text)
    except AddressError as error:
        said = str(error)
    assert said


@given(st.integers(0, MAX_SIZE >> 30), st.sampled_from(["", "k", "K", "m", "M", "g", "G"]))
def test_sizes_are_powers_of_1024(number: int, unit: str) -> None:
    assert parse_size(f"{number}{unit}") == number * 1024 ** " kmg".index(unit.lower() or " ")


@needs_haproxy
def test_haproxy_says_the_same_of_bind_addresses(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("scalars") / "x.cfg"
    texts = [text for text in WRONG_BINDS if "$" not in text]
    path.write_text("frontend f\n" + "".join(f"bind {text}\n" for text in texts))
    done = subprocess.run([HAPROXY, "-c", "-f", str(path)], capture_output=True, text=True, check=False)
    theirs = [line.partition(" : 'bind' : ")[2] for line in done.stderr.splitlines() if " : 'bind' : " in line]
    assert theirs == [WRONG_BINDS[text] for text in texts]


@needs_haproxy
def test_haproxy_accepts_the_same_bind_addresses(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("scalars") / "x.cfg"
    texts = [text for text in BINDS if "example" not in text and not text.startswith("fd@")]
    path.write_text("frontend f\n timeout client 1s\n" + "".join(f" bind {text}\n" for text in texts))
    command = [HAPROXY, "-c", "-f", str(path)]
    done = subprocess.run(command, env={"HOST": "5.6.7.8"}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
