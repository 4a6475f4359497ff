"""One language in log formats, `stick` and `balance`: the same expressions, the same values, the same refusals."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from log_rig import record
from pasvport.config.compiler import load
from pasvport.config.world import World
from pasvport.errors import ConfigError
from pasvport.logformat import check_format, compile_format
from pasvport.logformat.fetches import READINGS
from pasvport.model import MapFile
from pasvport.sample.converters import CONVERTERS
from pasvport.sample.expressions import parse_expression
from pasvport.sample.fetches import FETCHES, FIXED, Since
from pasvport.sample.scan import Call, SampleError, scan
from pasvport.stick.keys import compile_name, compile_sample
from pasvport.stick.samples import READERS


@dataclass
class Ends:
    """The connection that `SESSION` is the record of."""

    source: bytes = bytes([10, 0, 1, 2])
    source_port: int = 33312
    destination: bytes = bytes([10, 0, 3, 31])
    destination_port: int = 8012
    user: bytes = b""
    virtual_host: bytes = b""
    listener: str = "ctl"

    def names(self) -> tuple[str, str, str]:
        return "www", "be", ""


SESSION = record(
    client_address="10.0.1.2",
    client_port="33312",
    frontend_address="10.0.3.31",
    frontend_port="8012",
    frontend="www",
    backend="be",
    listener="ctl",
)
MAP = MapFile("m", (("10.0.1.2", "one"), ("33312", "two"), ("^w+$", "three")))

SAME = {
    "src": "10.0.1.2",
    "src_port": "33312",
    "dst": "10.0.3.31",
    "fc_dst_port": "8012",
    "fe_name": "www",
    "be_name": "be",
    "so_name": "ctl",
    "fc_err": "0",
    "fc_err_str": "Success",
    "always_false": "0",
    "bool(TRUE)": "1",
    "int(010)": "10",
    "int(99999999999999999999)": str(2**63 - 1),
    "int(-99999999999999999999)": str(-(2**63)),
    "str( a b )": " a b ",
    "str('a,b)')": "a,b)",
    'str("it\'s")': "it's",
    "str(a\\ b)": "a b",
    "bin(610062)": "a",
    "ipv4(1.2.3.4)": "1.2.3.4",
    "ipv6(::1)": "::1",
    "src,ipmask(8)": "10.0.0.0",
    "src,ipmask(255.0.255.0)": "10.0.1.0",
    "ipv6(2001:db8:1::1),ipmask(8,32)": "2001:db8::",
    "str(1.2.3.4),ipmask(8)": "1.0.0.0",
    "int(16909060),ipmask(8)": "1.0.0.0",
    "fe_name,upper": "WWW",
    "src,upper,lower": "10.0.1.2",
    "bool(1),upper": "1",
    "src,map(m)": "one",
    "src_port,map(m)": "two",
    "fe_name,map_reg(m)": "three",
    "be_name,map(m,none)": "none",
}
NOTHING = ("str()", "str", "str(x),ipmask(8)", "ipv6(::1),ipmask(8)", "be_name,map(m)", "bin(00)")
WRONG = (
    "",
    "bool(yes)",
    "bool(on)",
    "bool()",
    "bool",
    "int()",
    "int(0x10)",
    "int(1,2)",
    "int(\u0661)",
    "bin()",
    "bin(616)",
    "ipv4(::1)",
    "ipv4(\u0661.2.3.4)",
    "ipv6(fe80::1%eth0)",
    "src(1)",
    "src,ipmask(33)",
    "src,ipmask(\u00b9)",
    "src,ipmask(8,8,8)",
    "src,lower(x)",
    "bin(01020304),ipmask(8)",
    "str(a\\,b)",
    "nosuch",
    "src,nosuch",
    "src,map",
    "src,map(a,b,c)",
    ",src",
    "nbsrv(be)",
    "src,hex",
    "str(a",
    "str('a)",
)


def in_log(text: str) -> str:
    return compile_format(f"%[{text}]", mandatory=False, maps=(MAP,))(SESSION)


def in_stick(text: str) -> str | None:
    return compile_name(parse_expression(text), (MAP,))(Ends())


@pytest.mark.parametrize(("text", "value"), SAME.items())
def test_values_are_the_same(text: str, value: str) -> None:
    assert in_log(text) == in_stick(text) == value
    assert compile_sample(parse_expression(text), (MAP,))(Ends()) is not None


@pytest.mark.parametrize("text", NOTHING)
def test_no_value_is_the_same(text: str) -> None:
    assert in_log(text) == (in_stick(text) or "") == ""


@pytest.mark.parametrize("text", WRONG)
def test_refusals_are_the_same(text: str) -> None:
    with pytest.raises(SampleError) as stick:
        in_stick(text)
    with pytest.raises(ConfigError) as log:
        in_log(text)
    if "missing after" not in str(log.value):
        assert str(log.value).split("'")[0] == str(stick.value).split("'")[0]


def test_every_fetch_is_read_wherever_it_is_known() -> None:
    for fetch in FETCHES.values():
        if fetch.constant is not None or fetch.name in FIXED:
            continue
        assert fetch.name in READINGS, fetch.name
        assert (fetch.name in READERS) == (fetch.since is Since.ACCEPT), fetch.name


def test_calls_are_cut_at_the_end_that_is_asked_for() -> None:
    calls, end = scan("xx[src,ipmask(8,'a]')]yy", 3, "]")
    assert calls == (Call("src"), Call("ipmask", ("8", "a]")))
    assert end == 21


_words = st.sampled_from([*FETCHES, *CONVERTERS, "(", ")", ",", "1", "8", "'", '"', "\\", "]", " ", "a", "\u0661"])


@given(st.text(max_size=30) | st.lists(_words, max_size=8).map("".join))
def test_any_text_is_an_expression_or_refused(text: str) -> None:
    try:
        expression = parse_expression(text)
    except SampleError:
        return
    if any(converter.name.startswith("map") for converter in expression.converters):
        return
    compiled = compile_format(f"%[{text}]") if "]" not in text else None
    assert compiled is None or isinstance(compiled(SESSION), str)


# --- maps ---------------------------------------------------------------------------------------------------------

LOGGED = """defaults
    timeout client 1s
    timeout server 1s
    timeout connect 1s
frontend fe
    bind 127.0.0.1:21
    log 127.0.0.1:514 local0
    log-format "%ci {} %[src,map(groups)]"
    default_backend be
backend be
    server s 127.0.0.1:2121
"""


def loaded(files: dict[str, str], text: str = ""):
    def read_file(path: str) -> str:
        name = path.removeprefix("/")
        if name not in files:
            raise ConfigError("No such file or directory")
        return files[name]

    return load([("a.cfg", LOGGED.format(text))], World(read_file=read_file, check_log_format=check_format))


def test_a_map_of_a_log_format_is_read() -> None:
    found = loaded({"groups": "10.0.0.1 scanners\n"})
    assert found.config is not None
    assert found.config.maps == (MapFile("groups", (("10.0.0.1", "scanners"),)),)


@pytest.mark.parametrize(
    ("files", "text", "reason"),
    [
        ({}, "", "failed to open pattern file <groups>: No such file or directory"),
        ({"groups": "a b\n", "r": "(\n"}, "%[src,map_reg(r)]", "regex '(' is invalid"),
        ({"groups": "a b\n"}, "%[src,map]", "failed to open pattern file <>"),
        ({"groups": "a b\n"}, "%[bool(yes)]", "expects 'true', 'false', '0' or '1'"),
    ],
)
def test_a_map_of_a_log_format_that_cannot_be_used(files: dict[str, str], text: str, reason: str) -> None:
    found = loaded(files, text)
    assert found.config is None
    assert any(reason in entry.text for entry in found.diagnostics.found)
