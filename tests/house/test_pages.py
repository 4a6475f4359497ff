"""What the pages say can be typed: configurations are valid, commands, options, metrics and log lines exist."""

from __future__ import annotations

import grp
import os
import pwd
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pasvport.command_line import parse
from pasvport.control.api.finding import find
from pasvport.control.api.table import COMMANDS

ROOT = Path(__file__).parents[2]
PAGES = sorted(path.name for path in (ROOT / "docs").glob("*.md"))
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
SOURCES = "".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))


def text_of(page: str) -> str:
    return (ROOT / "docs" / page).read_text()


def configurations() -> Iterator[tuple[str, str]]:
    """(page, block) of every configuration that is not marked as a part of one by a line of dots."""
    for page in PAGES:
        for block in re.findall(r"```haproxy\n(.*?)```", text_of(page), re.DOTALL):
            if not re.search(r"^\s*\.\.\.$", block, re.MULTILINE):
                yield page, block


def commands() -> Iterator[str]:
    """Every command line of the operators' page, from blocks and from the running text, comments left away."""
    shell = "".join(re.findall(r"^ *```sh\n(.*?)```", OPERATIONS, re.DOTALL | re.MULTILINE))
    prose = re.sub(r"```.*?```", "", OPERATIONS, flags=re.DOTALL)
    spans = (" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose))
    for line in (*shell.splitlines(), *spans):
        yield re.sub(r"\s+#.*", "", line).strip()


@pytest.mark.parametrize(("page", "block"), list(configurations()))
def test_configurations_are_valid(page: str, block: str, tmp_path: Path) -> None:
    mine = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name
    settings = tmp_path / f"{page}.cfg"
    # The account that the page tells to create.
    settings.write_text(block.replace("user pasvport", f"user {mine[0]}").replace("group pasvport", f"group {mine[1]}"))
    done = subprocess.run(
        [sys.executable, "-m", "pasvport", "-c", "-f", str(settings)],
        capture_output=True,
        text=True,
        env=os.environ | {"PROBE_PASSWORD": "x", "PROBE": "x", "STATS_PASSWORD": "x"},
        timeout=60,
    )
    # 2: nothing to listen on, a part of a configuration that is valid by itself.
    assert done.returncode == 0 or (done.returncode == 2 and "bind" not in block), done.stderr


def test_runtime_commands_exist() -> None:
    told = {line.partition("ctl ")[2] for line in commands() if re.match(r"(pasvport )?ctl ", line)}
    told = {re.sub(r"^-s \S+ ?", "", line) for line in told} - {""}
    assert len(told) > 12
    assert [line for line in sorted(told) if find(COMMANDS, tuple(line.split())) is None] == []


def test_command_lines_are_ours() -> None:
    mine = {re.sub(r"\$\(cat \S+\)", "1", line) for line in commands() if line.startswith("pasvport -")}
    assert len(mine) > 2
    for line in mine:
        parse(shlex.split(line)[1:])


@pytest.mark.parametrize("subcommand", ["ctl", "top", "doctor", "demo"])
def test_options_of_subcommands_exist(subcommand: str) -> None:
    told = {
        option
        for line in commands()
        if line.startswith(f"pasvport {subcommand} ")
        for option in re.findall(r"(?<= )--?[a-z-]+", line)
    }
    done = subprocess.run(
        [sys.executable, "-m", "pasvport", subcommand, "--help"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0
    assert told <= set(re.findall(r"--?[a-z-]+", done.stdout))


def test_metrics_exist() -> None:
    told = set(re.findall(r"\b(?:haproxy|pasvport)_[a-z_]+[a-z]\b", OPERATIONS))
    assert len(told) > 15
    assert told <= set(re.findall(r"^\| `(\w+)` \|", text_of("statistics.md"), re.MULTILINE))


def test_log_lines_are_written() -> None:
    table = OPERATIONS.partition("| log line has |")[2].partition("\n\n")[0]
    told = re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)
    assert len(told) > 5
    assert [part for part in told if part not in SOURCES] == []


def test_the_doctors_findings_exist() -> None:
    told = {
        span
        for passage in re.findall(r"`pasvport\s+doctor`\s+says\s+((?:`[a-z0-9-]+`(?:,\s+|\s+or\s+)?)+)", OPERATIONS)
        for span in re.findall(r"`([^`]+)`", passage)
    }
    assert len(told) > 12
    assert told <= set(re.findall(r"^\| `([a-z0-9-]+)` \|", text_of("doctor.md"), re.MULTILINE))


def test_every_pain_has_a_cure() -> None:
    pains = re.split(r"^### (?=\d+\. )", OPERATIONS.partition("## Troubleshooting")[2], flags=re.MULTILINE)[1:]
    assert [int(pain.partition(".")[0]) for pain in pains] == list(range(1, 17))
    assert [pain[:40] for pain in pains if "- **See.**" not in pain or "- **Cure.**" not in pain] == []


def anchors(text: str) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = re.sub(r"```.*?```", "", text_of(page), flags=re.DOTALL)
    lost = []
    for path, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", text):
        target = ROOT / "docs" / (path or page)
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            lost.append(f"{path}#{anchor}")
    assert lost == []
