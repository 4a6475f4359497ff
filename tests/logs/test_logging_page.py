"""docs/logging.md says what the tables say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pasvport.logformat.aliases import ALIASES
from pasvport.logformat.facts import FTP_FACTS, IDENTITY_FACTS, SESSION_FACTS, TRANSFER_FACTS
from pasvport.logformat.fetches import FETCHES
from pasvport.logformat.reference import render_reference

PAGE = Path(__file__).parents[2] / "docs" / "logging.md"


def test_page_is_fresh() -> None:
    assert PAGE.read_text() == render_reference(), "write render_reference() to docs/logging.md"


def test_every_alias_is_documented() -> None:
    page = render_reference()
    assert all(f"| `%{name}` |" in page for name in ALIASES)


def test_every_fetch_and_every_key_is_documented() -> None:
    page = render_reference()
    assert all(f"`{name}`" in page or f"`{name}(" in page or f"`%[{name}]`" in page for name in FETCHES)
    assert all(f"| `{fact.key}` |" in page for fact in (*IDENTITY_FACTS, *SESSION_FACTS, *FTP_FACTS, *TRANSFER_FACTS))


def test_the_page_is_the_same_in_every_time_zone(zone: Callable[[str], None]) -> None:
    zone("UTC0")
    page = render_reference()
    zone("IST-5:30")
    assert render_reference() == page
