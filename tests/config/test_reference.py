"""docs/configuration.md is what the keyword tables say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pasvport.config.keywords import Status
from pasvport.config.keywords_proxy import PROXY
from pasvport.config.reference import render

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_page_is_not_stale():
    assert PAGE.read_text(encoding="utf-8") == render(), "run `make docs`"


def test_every_proxy_keyword_is_on_the_page():
    page = render()
    assert [row.name for row in PROXY if row.priority and f"`{row.name}`" not in page] == []


def test_every_supported_keyword_has_a_meaning_and_a_reader():
    for row in PROXY:
        if row.status is Status.SUPPORTED:
            assert row.doc
            assert row.read is not None


def test_it_is_written_to_a_file_or_to_standard_output(tmp_path):
    target = tmp_path / "page.md"
    subprocess.run([sys.executable, "-m", "pasvport.config.reference", str(target)], check=True, timeout=60)
    printed = subprocess.run(
        [sys.executable, "-m", "pasvport.config.reference"], check=True, timeout=60, capture_output=True, text=True
    ).stdout
    assert target.read_text(encoding="utf-8") == printed == render()
