"""What the README says can be typed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "CHANGELOG.md")


def test_the_configuration_is_valid(tmp_path: Path) -> None:
    blocks = re.findall(r"```haproxy\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        settings = tmp_path / "readme.cfg"
        settings.write_text(block)
        done = subprocess.run(
            [sys.executable, "-m", "pasvport", "-c", "-f", str(settings)], capture_output=True, text=True
        )
        assert (done.returncode, done.stdout) == (0, "Configuration file is valid\n"), done.stderr


def test_the_commands_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = "".join((ROOT / page).read_text() for page in PAGES)
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE)) <= targets


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text())
    assert [link for link in links if not (ROOT / link).exists()] == []
