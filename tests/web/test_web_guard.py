"""Passwords, and orders that other sites would like to give."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pasvport.control.web.guard import challenge, is_known, is_own_page

USERS = (("ops", "se:cret"), ("guest", ""))


def basic(text, scheme="Basic"):
    return f"{scheme} {base64.b64encode(text.encode()).decode()}"


@pytest.mark.parametrize(
    ("header", "known"),
    [
        (basic("ops:se:cret"), True),
        (basic("ops:se:cret", "basic"), True),
        (basic("guest:"), True),
        (basic("ops:se"), False),
        (basic("guest:x"), False),
        (basic("ops"), False),
        (basic(":"), False),
        ("", False),
        ("Basic", False),
        ("Basic ???", False),
        ("Bearer abc", False),
        (basic("x" * 5000), False),
    ],
)
def test_credentials(header, known) -> None:
    assert is_known(header, USERS) is known


def test_names_are_not_only_ascii() -> None:
    assert is_known(basic("jörg:pässwort"), (("jörg", "pässwort"),))


@given(st.text())
def test_any_header_is_refused_quietly(header) -> None:
    assert not is_known(header, USERS) or header.lower().startswith("basic")


def test_the_realm_is_quoted() -> None:
    assert challenge('The "farm"') == 'Basic realm="The \\"farm\\"", charset="UTF-8"'


@pytest.mark.parametrize(
    ("headers", "own"),
    [
        ({}, True),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://h:1", "Host": "h:1"}, False),
        ({"Origin": "http://h:1", "Host": "h:1"}, True),
        ({"Origin": "http://evil", "Host": "h:1"}, False),
        ({"Origin": "null", "Host": "h:1"}, False),
        ({"Origin": "http://[", "Host": "h:1"}, False),
        ({"Referer": "http://h:1/page", "Host": "h:1"}, True),
        ({"Referer": "http://evil/http://h:1/", "Host": "h:1"}, False),
        ({"Origin": "", "Referer": "", "Host": "h:1"}, True),
    ],
)
def test_orders_come_from_our_own_page(headers, own) -> None:
    assert is_own_page(headers) is own
