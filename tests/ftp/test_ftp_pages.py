from __future__ import annotations

import re
from pathlib import Path

from pasvport.ftp.diagram import render
from pasvport.ftp.states import PATH, SESSION
from pasvport.ftp.verbs import VERBS

ROOT = Path(__file__).parents[2]
DIALOGUE = ROOT / "docs" / "ftp-dialogue.md"
POINTS = ROOT / "docs" / "ftp-points.md"


def test_the_page_of_the_dialogue_is_not_stale() -> None:
    assert DIALOGUE.read_text("utf-8") == render(), "run `make docs`"


def test_everything_is_on_the_page() -> None:
    page = render()
    assert [name for name in VERBS if f"| `{name}` |" not in page] == []
    assert [row for row in SESSION if f"| {row.source} | {row.event.__name__} |" not in page] == []
    assert [key for key, target in PATH.items() if f"{key[0]} --> {target}: {key[1]}" not in page] == []


def test_all_points_are_answered_once_and_every_test_named_exists() -> None:
    text = POINTS.read_text("utf-8")
    numbers = [int(number) for number in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)]
    assert numbers == list(range(1, 46))
    rooms = [path for room in ("ftp", "e2e") for path in (ROOT / "tests" / room).glob("test_*.py")]
    tests = "\n".join(path.read_text("utf-8") for path in rooms)
    named = re.findall(r"`(test_\w+|Test\w+)`", text)
    assert [name for name in named if f"def {name}(" not in tests and f"class {name}(" not in tests] == []
    modules = re.findall(r"`ftp/(\w+)\.py`", text)
    assert [name for name in modules if not (ROOT / "src/pasvport/ftp" / f"{name}.py").exists()] == []
