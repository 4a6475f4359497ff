"""Expressions from configurations: what PCRE finds is found, what it cannot be is said by name, and none takes long."""

from __future__ import annotations

import re
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pasvport.errors import ConfigError
from pasvport.health.script import prepare
from pasvport.model import CheckStep, ExpectMatch, MapFile, Origin, StepKind
from pasvport.regex import LARGEST_SUBJECT, LONGEST, Regex
from pasvport.sample.patterns import LOOKUPS

FOUND = (
    (rb"^220", b"220 ready", True),
    (rb"ready$", b"220 ready", True),
    (rb"ready$", b"220 ready\n", True),
    (rb"ready$", b"220 ready\n\n", False),
    (rb"ready$", b"220 ready\r\n", False),
    (rb"ready\r$", b"220 ready\r\n", True),
    (rb"(?m)^220 a$", b"x\n220 a\ny", True),
    (rb"^220 a$", b"x\n220 a\ny", False),
    (rb"a\Z", b"a\n", True),
    (rb"a\z", b"a\n", False),
    (rb"a\$", b"a$", True),
    (rb"a[$]", b"a$", True),
    (rb"a[^$]", b"a$", False),
    (rb"\Qa$b\E", b"a$b", True),
    (rb"a.b", b"a\nb", False),
    (rb"(?s)a.b", b"a\nb", True),
    (rb"(?i)READY", b"ready", True),
    (rb"a\sb", b"a\x0bb", True),
    (rb"a[\s]b", b"a\x0bb", True),
    (rb"a\Sb", b"a\x0bb", False),
    (rb"a\hb", b"a\tb", True),
    (rb"a[\h_]b", b"a\tb", True),
    (rb"a\Rb", b"a\r\nb", True),
    (rb"a\eb", b"a\x1bb", True),
    (rb"a\Nb", b"a\nb", False),
    (rb"[[:digit:]]{3}[[:space:]-][[:alpha:]]+", b"220-x", True),
    (rb"[[:^digit:]]", b"220", False),
    (rb"[]a]", b"]", True),
    (rb"[^]a]", b"]", False),
    (rb"\d+\w\b", b"12a", True),
    (rb"\x41\x{42}", b"AB", True),
    (rb"(?:a|b){2,3}?c", b"abc", True),
    (rb"(?<name>a)(?P<other>b)", b"ab", True),
    (rb"a{", b"a{", True),
    (b"\xff.", b"\xff\xfe", True),
    ("é+".encode(), "é".encode(), True),
    (rb"", b"", True),
    (rb"\.example\.(com|org)$", b"x.example.org", True),
)


@pytest.mark.parametrize(("source", "text", "found"), FOUND)
def test_what_is_found(source: bytes, text: bytes, found: bool) -> None:
    assert Regex(source).found_in(text) is found


REFUSED = (
    (rb"(?=a)b", "look-ahead is not supported"),
    (rb"(?!a)b", "look-ahead is not supported"),
    (rb"(?<=a)b", "look-behind is not supported"),
    (rb"(?<!a)b", "look-behind is not supported"),
    (rb"(?>a)b", "atomic groups are not supported"),
    (rb"(a)\1", "back-references are not supported"),
    (rb"(?P<n>a)(?P=n)", "back-references are not supported"),
    (rb"(a)\g1", "back-references are not supported"),
    (rb"a++b", "possessive quantifiers are not supported"),
    (rb"a{2}+b", "possessive quantifiers are not supported"),
    (rb"(?(1)a|b)", "conditions are not supported"),
    (rb"(?R)", "recursion is not supported"),
    (rb"(?1)", "recursion is not supported"),
    (rb"(?#a)b", "comments are not supported"),
    (rb"(?x) a", "the flag 'x' is not supported"),
    (rb"(*UTF8)a", "verbs are not supported"),
    (rb"(?|a|b)", "branch resets are not supported"),
    (rb"\Ka", r"'\K' is not supported"),
    (rb"\Ga", r"'\G' is not supported"),
    (rb"\Xa", r"'\X' is not supported"),
    (rb"a{1001}", "repetitions above 1000 are not supported: {1001}"),
    (rb"a(b", "missing ): a(b"),
    (rb"a)b", "unexpected ): a)b"),
    (rb"[a", "missing ]: [a"),
    (rb"*a", "no argument for repetition operator: *"),
    (b"a\\", "trailing \\"),
    (b"a" * (LONGEST + 1), "it is longer than 4096 bytes"),
)


@pytest.mark.parametrize(("source", "why"), REFUSED, ids=lambda each: str(each)[:20])
def test_what_is_refused(source: bytes, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Regex(source)
    assert why in str(caught.value)


# Each of them takes an engine that backtracks longer than anybody waits.
SLOW = (
    (rb"^(a+)+$", b"a" * 40 + b"!"),
    (rb"^(a|aa)+$", b"a" * 60 + b"!"),
    (rb"^(a|a)*$", b"a" * 60 + b"!"),
    (rb"(x+x+)+y", b"x" * LARGEST_SUBJECT),
    (rb"(.*a){20}$", b"ab" * 8000),
    (rb"^([a-zA-Z0-9]+\.?)+@$", b"a." * 30 + b"a!"),
    (rb"(a?){40}a{40}$", b"a" * 39),
    (rb"((a{0,30}){0,30}){0,1}b", b"a" * 16000),
)


@pytest.mark.parametrize(("source", "text"), SLOW, ids=lambda each: str(each[:20]))
def test_none_takes_long(source: bytes, text: bytes) -> None:
    assert not Regex(source).found_in(text)


@pytest.mark.parametrize(("source", "text"), SLOW, ids=lambda each: str(each[:20]))
def test_nor_as_the_key_of_a_map_or_in_a_check(source: bytes, text: bytes) -> None:
    """The user of 41 characters that hung a worker for minutes, and its kin."""
    assert LOOKUPS["map_reg"](((source, b"x"), (b"^a|^x", b"found")))(text) == b"found"
    step = CheckStep(Origin("t", 1), StepKind.EXPECT, match=ExpectMatch.RSTRING, data=source)
    assert not prepare((step,), scripted=True).steps[-1].looks_at(text)


def test_a_text_that_no_buffer_would_hold_is_not_found() -> None:
    assert Regex(rb"^a+$").found_in(b"a" * LARGEST_SUBJECT)
    assert not Regex(rb"^a+$").found_in(b"a" * (LARGEST_SUBJECT + 1))


def test_an_expression_takes_bounded_memory() -> None:
    refused: list[str] = []
    tracemalloc.start()
    try:
        for source in (rb"((a{30}){30}){30}", rb"(\pL{1,30}){1,30}" * 10, rb"[^a]" * 1000):
            try:
                Regex(source).found_in(b"b" * LARGEST_SUBJECT)
            except ConfigError as error:
                refused.append(str(error))
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
    # Compiled they would be larger than RE2 may make them.
    assert all("too large" in each or "repetition" in each for each in refused), refused


ATOM = st.sampled_from(
    [b"a", b"b", b".", b"$", b"^", rb"\d", rb"\s", rb"\w", rb"\n", b"[ab]", b"[^a]", b"(?:ab|b)", b"\n", b" ", b"1"]
)
SOURCES = st.lists(st.tuples(ATOM, st.sampled_from([b"", b"", b"*", b"+", b"?", b"{2}"])), max_size=6).map(
    lambda parts: b"".join(atom + (b"" if atom in (b"$", b"^") else often) for atom, often in parts)
)


@given(SOURCES, st.text("ab1 \n\r$", max_size=8).map(str.encode))
def test_the_common_part_of_both_languages(source: bytes, text: bytes) -> None:
    """Python's engine speaks the same here; what RE2 consumes for a `$` in the middle cannot be looked at again."""
    if b"$" in source.replace(rb"\$", b"")[:-1]:
        return
    assert Regex(source).found_in(text) is (re.search(source, text) is not None)


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_junk(source: bytes, text: bytes) -> None:
    try:
        Regex(source).found_in(text)
    except ConfigError as error:
        assert str(error)  # noqa: PT017


def test_a_map_of_expressions_finds_the_first() -> None:
    entries = MapFile("m", (("^b", "1"), ("c$", "2"), ("c", "3"))).entries
    lookup = LOOKUPS["map_reg"](tuple((key.encode(), value.encode()) for key, value in entries))
    assert [lookup(text) for text in (b"bc", b"abc", b"acb", b"x")] == [b"1", b"2", b"3", None]
