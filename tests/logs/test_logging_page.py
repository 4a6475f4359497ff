"""docs/logging.md says what the tables say."""

from __future__ import annotations

from pathlib import Path

from pasvport.logformat.aliases import ALIASES
from pasvport.logformat.reference import render_reference

PAGE = Path(__file__).parents[2] / "docs" / "logging.md"


def test_page_is_fresh() -> None:
    assert PAGE.read_text() == render_reference(), "write render_reference() to docs/logging.md"


def test_every_alias_is_documented() -> None:
    page = render_reference()
    assert all(f"| `%{name}` |" in page for name in ALIASES)
