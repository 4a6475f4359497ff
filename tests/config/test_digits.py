"""Digits that are none: of other scripts, raised, and thousands of them. Nothing takes them for a number, or raises."""

import contextlib

import pytest
from agreement import WORLD, corpus
from hypothesis import given
from hypothesis import strategies as st

from pasvport.address import Family, parse_port
from pasvport.config.compiler import load
from pasvport.control.set_words import leading_number
from pasvport.digits import is_number, whole_number
from pasvport.errors import AddressError
from pasvport.ftp.passive import ArgumentError, Target, parse_eprt, wants_epsv_all
from pasvport.model import KeyType
from pasvport.sample.casts import CASTS, Kind

ODD = ("¹", "²³", "١٢", "１", "½", "௧", "1_0", " 1", "1 ", "1\n", "+1", "-1", "", "9" * 21, "9" * 5000, "0" * 5000)


@pytest.mark.parametrize("text", ODD)
def test_what_is_no_number(text):
    assert not is_number(text)
    assert whole_number(text, 1 << 70) is None
    with pytest.raises(AddressError):
        parse_port(text)


@given(st.text() | st.from_regex(r"\A\d{1,25}\Z"))
def test_what_is_a_number_is_a_number_to_all(text):
    if is_number(text):
        assert text.encode("ascii").isdigit()
        assert whole_number(text, int(text)) == int(text)


def test_bounds():
    assert whole_number("65535", 65535) == whole_number(b"065535", 65535) == 65535
    assert whole_number("65536", 65535) is None
    assert whole_number("0", 0) == 0


@pytest.mark.parametrize("digits", [text.encode("utf-8") for text in ODD] + [b"\xb9", b"\xb2\xb3", b"0", b"65536"])
def test_a_client_s_eprt(digits):
    with pytest.raises(ArgumentError):
        parse_eprt(b"|1|127.0.0.1|" + digits + b"|", Family.IPV4)
    with contextlib.suppress(ArgumentError):
        assert parse_eprt(b"|1|" + digits + b"|21|", Family.IPV4) == Target("127.0.0.1", 21)
    if digits.strip() not in (b"", b"1"):
        with pytest.raises(ArgumentError):
            wants_epsv_all(digits, Family.IPV4)


@pytest.mark.parametrize("text", ODD)
def test_an_operator_s_weight(text):
    value, _ = leading_number(text)
    assert value is None or abs(value) < 10**20


@pytest.mark.parametrize("text", [*ODD, "4294967297" * 600])
def test_a_name_as_a_number(text):
    cast = CASTS[KeyType.INTEGER][Kind.STRING]
    digits = text.lstrip("+-")
    wanted = int(digits[-32:]) if digits.isascii() and digits.isdigit() else None
    word = cast(text.encode("utf-8"))
    assert word is not None
    if wanted is not None and not text.startswith("-"):
        assert int.from_bytes(word, "big") == wanted % 2**32


@pytest.mark.parametrize("odd", ["¹", "١", "１", "9" * 2000, "\xb9\udcb9"])
def test_a_configuration_whose_digits_are_none_is_read_to_its_end(odd):
    for path in corpus():
        text = path.read_bytes().decode("utf-8", "surrogateescape")
        load([(path.name, "".join(odd if letter in "0123456789" else letter for letter in text))], WORLD)
