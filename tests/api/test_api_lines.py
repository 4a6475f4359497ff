"""Bytes of clients, cut into commands: whole, byte by byte, and junk."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pasvport.control.api.lines import MOST_BYTES, Lines, TooLong, Typed


def taken(data, step=0):
    """Every order of every complete line."""
    lines, found = Lines(), []
    pieces = [data[i : i + step] for i in range(0, len(data), step)] if step else [data]
    for piece in pieces:
        lines.feed(piece)
        while (orders := lines.take()) is not None:
            found.extend(orders)
    return found


@pytest.mark.parametrize("step", [0, 1, 3])
@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"show stat\n", [("show", "stat")]),
        (b"  show   stat \t\r\n", [("show", "stat")]),
        (b"show info;show stat\n", [("show", "info"), ("show", "stat")]),
        (b"show info;\n", [("show", "info")]),
        (b"\n", [()]),
        (b";show info\n", [(), ("show", "info")]),
        (rb"set x a\;b c\ d \\" + b"\n", [("set", "x", "a;b", "c d", "\\")]),
        (b"no line feed", []),
        (b"a\nb\n", [("a",), ("b",)]),
    ],
)
def test_lines(data, wanted, step):
    assert taken(data, step) == [Typed(words) for words in wanted]


@pytest.mark.parametrize("step", [0, 1])
def test_payload(step):
    assert taken(b"set a;set b <<\none\ntwo; three\n\nshow\n", step) == [
        Typed(("set", "a"), "one\ntwo; three\n"),
        Typed(("set", "b"), "one\ntwo; three\n"),
        Typed(("show",)),
    ]


def test_where_a_payload_is():
    lines = Lines()
    lines.feed(b"x <<\nabc\n")
    assert lines.take() == []
    assert lines.in_payload
    assert lines.take() == []
    assert lines.take() is None
    lines.feed(b"\n")
    assert lines.take() == [Typed(("x",), "abc\n")]
    assert not lines.in_payload


@pytest.mark.parametrize("piece", [b"x" * 1000, b"y" * 999 + b"\n"])
def test_what_does_not_end_is_refused(piece):
    lines = Lines()
    lines.feed(b"x <<\n")
    lines.take()

    def flood():
        for _ in range(MOST_BYTES):
            lines.feed(piece)
            while lines.take() is not None:
                pass

    with pytest.raises(TooLong):
        flood()


@given(st.binary(max_size=300), st.integers(1, 7))
def test_cuts_make_no_difference(data, step):
    assert taken(data, step) == taken(data)
