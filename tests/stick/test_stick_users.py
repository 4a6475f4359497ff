"""Keys and names by FTP user: the fetches, the text converters, maps, and who has to wait for USER."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pasvport import model
from pasvport.errors import ConfigError
from pasvport.model import (
    Balance,
    Converter,
    Expression,
    KeyType,
    MapFile,
    Mode,
    Proxy,
    StickAction,
    StickRule,
    UseRule,
)
from pasvport.sample.patterns import LOOKUPS
from pasvport.stick.deferral import is_deferred, needs_user
from pasvport.stick.keys import compile_key, compile_name, compile_sample, is_source_bound

ORIGIN = model.Origin("test", 1)


@dataclass
class Ends:
    """A session of a user."""

    source: bytes = bytes([10, 1, 2, 3])
    source_port: int = 40000
    destination: bytes = bytes([127, 0, 0, 1])
    destination_port: int = 21
    user: bytes = b"Alice"
    virtual_host: bytes = b""
    listener: str = "ftp-control"

    def names(self) -> tuple[str, str, str]:
        return "fe", "be", ""


def expression(fetch: str, *converters: Sequence[str]) -> Expression:
    return Expression("", fetch, (), tuple(Converter(name, tuple(args)) for name, *args in converters))


def table(key_type: str, length: int = 0) -> model.StickTable:
    return model.StickTable(ORIGIN, "b", KeyType(key_type), 10, key_length=length)


# --- fetches and converters ---------------------------------------------------------------------------------------


def test_the_user_is_a_key() -> None:
    key = compile_key(expression("ftp.user"), table("string", 3))
    assert key(Ends()) == b"Ali"
    assert key(Ends(user=b"")) is None


def test_the_virtual_host_is_a_key() -> None:
    key = compile_key(expression("ftp.host", ["lower"]), table("string", 32))
    assert key(Ends(virtual_host=b"FTP.Example.COM")) == b"ftp.example.com"
    assert key(Ends()) is None


def test_the_user_can_be_hashed_and_named() -> None:
    assert compile_sample(expression("ftp.user"))(Ends()) == b"Alice"
    assert compile_name(expression("ftp.user", ["upper"]))(Ends()) == "ALICE"
    assert compile_name(expression("ftp.user"))(Ends(user=b"")) is None


def test_a_constant_is_a_name() -> None:
    assert compile_name(Expression("be", "str", ("be",)))(Ends()) == "be"


def test_bytes_that_are_no_text_survive() -> None:
    name = compile_name(expression("ftp.user"))(Ends(user=b"\xff\xfe"))
    assert name is not None
    assert name.encode("utf-8", "surrogateescape") == b"\xff\xfe"


def test_no_key_of_a_user_belongs_to_one_source() -> None:
    assert not is_source_bound(expression("ftp.user"))
    assert not is_source_bound(expression("ftp.host"), table("string", 64))
    assert not is_source_bound(expression("src", ["map", "m"]))


@pytest.mark.parametrize("converter", [["lower", "x"], ["map"], ["map", "a", "b", "c"], ["nosuch"], ["map", "missing"]])
def test_refused(converter: list[str]) -> None:
    with pytest.raises(ConfigError):
        compile_key(expression("ftp.user", converter), table("string", 32), (MapFile("a"),))


def test_a_wrong_regular_expression_is_refused() -> None:
    with pytest.raises(ConfigError):
        compile_name(expression("ftp.user", ["map_reg", "m"]), (MapFile("m", (("a(b", "x"),)),))


# --- maps ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "entries", "text", "value"),
    [
        ("map", [("abc", "1"), ("abc", "2")], "abc", "1"),
        ("map_str", [("abc", "1")], "ABC", None),
        ("map_str", [("ab", "1")], "abc", None),
        ("map_beg", [("a", "1"), ("abc", "2")], "abcd", "2"),
        ("map_beg", [("abc", "2"), ("a", "1")], "abx", "1"),
        ("map_beg", [("abcd", "2")], "abc", None),
        ("map_beg", [("", "all")], "abc", "all"),
        ("map_end", [("c", "1"), ("abc", "2")], "abc", "1"),
        ("map_end", [("b", "1")], "abc", None),
        ("map_sub", [("b", "1"), ("abc", "2")], "abc", "1"),
        ("map_sub", [("x", "1")], "abc", None),
        ("map_reg", [("^b", "1"), ("c$", "2")], "abc", "2"),
        ("map_reg", [("^a(.)c", "\\1")], "abc", "\\1"),
        ("map_reg", [("z", "1")], "abc", None),
    ],
)
def test_maps_find_what_haproxy_finds(
    method: str, entries: list[tuple[str, str]], text: str, value: str | None
) -> None:
    """The expectations were observed on HAProxy 2.6.12."""
    found = compile_name(expression("ftp.user", [method, "m"]), (MapFile("x"), MapFile("m", tuple(entries))))
    assert found(Ends(user=text.encode())) == value


def test_a_map_has_a_default() -> None:
    found = compile_name(expression("ftp.user", ["map", "m", "other"]), (MapFile("m", (("bob", "b1"),)),))
    assert found(Ends(user=b"bob")) == "b1"
    assert found(Ends()) == "other"
    assert found(Ends(user=b"")) is None


def test_an_address_or_number_is_mapped_as_text() -> None:
    maps = (MapFile("m", (("10.1.2.3", "a"), ("21", "p"), ("1", "yes"))),)
    assert compile_name(expression("src", ["map", "m"]), maps)(Ends()) == "a"
    assert compile_name(expression("dst_port", ["map", "m"]), maps)(Ends()) == "p"
    assert compile_name(expression("always_true", ["map", "m"]), maps)(Ends()) == "yes"
    assert compile_name(expression("src", ["lower"], ["map", "m"]), maps)(Ends(source=b"")) is None


def test_a_mapped_text_is_a_key_of_any_table_that_can_hold_it() -> None:
    maps = (MapFile("m", (("Alice", "192.0.2.7"),)),)
    assert compile_key(expression("ftp.user", ["map", "m"]), table("ip"), maps)(Ends()) == bytes([192, 0, 2, 7])


@given(st.lists(st.tuples(st.binary(max_size=4), st.binary(max_size=4)), max_size=8), st.binary(max_size=8))
def test_each_method_finds_a_value_of_a_key_that_fits(entries: list[tuple[bytes, bytes]], text: bytes) -> None:
    fits = {
        "map_str": text.__eq__,
        "map_beg": text.startswith,
        "map_end": text.endswith,
        "map_sub": text.__contains__,
    }
    for method, fit in fits.items():
        fitting = [value for key, value in entries if fit(key)]
        found = LOOKUPS[method](tuple(entries))(text)
        assert (found in fitting) if fitting else found is None


# --- deferral -----------------------------------------------------------------------------------------------------

FRONTEND = Proxy(ORIGIN, "f", 0, 2, is_frontend=True, is_backend=False, mode=Mode.FTP)
BACKEND = Proxy(ORIGIN, "b", 1, 3, is_frontend=False, is_backend=True, mode=Mode.FTP)
USER, SOURCE = expression("ftp.user", ["map", "m"]), expression("src")


def rule(by: Expression) -> StickRule:
    return StickRule(ORIGIN, StickAction.MATCH, by, "b")


def test_a_plain_farm_is_not_deferred() -> None:
    assert not needs_user(SOURCE)
    backend = replace(BACKEND, stick_rules=(rule(SOURCE),), balance=Balance(expression=SOURCE))
    assert not is_deferred(FRONTEND, backend)


@pytest.mark.parametrize(
    ("frontend", "backend"),
    [
        (replace(FRONTEND, use_backend=(UseRule(ORIGIN, SOURCE), UseRule(ORIGIN, USER))), BACKEND),
        (FRONTEND, replace(BACKEND, use_server=(UseRule(ORIGIN, USER),))),
        (FRONTEND, replace(BACKEND, stick_rules=(rule(SOURCE), rule(expression("ftp.host"))))),
        (FRONTEND, replace(BACKEND, balance=Balance(expression=USER))),
    ],
)
def test_any_rule_that_needs_the_user_defers(frontend: Proxy, backend: Proxy) -> None:
    assert is_deferred(frontend, backend)
    assert not is_deferred(replace(frontend, mode=Mode.TCP), backend)
