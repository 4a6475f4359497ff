"""The table of commands, help, and the page that is made of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pasvport.control.api.finding import find, help_text, suggestions
from pasvport.control.api.page import render
from pasvport.control.api.table import COMMANDS
from pasvport.model import StatsLevel

PAGE = Path(__file__).parents[2] / "docs" / "runtime-api.md"


def test_the_page_is_not_stale():
    assert PAGE.read_text(encoding="utf-8") == render(), "run `make docs`"


def test_names_are_unique_and_every_command_has_a_meaning():
    assert len({command.name for command in COMMANDS}) == len(COMMANDS)
    assert all(command.doc for command in COMMANDS)


def test_no_command_hides_another():
    """The longest name counts, so that each is found by its own words."""
    for command in COMMANDS:
        assert find(COMMANDS, command.words) is command
        assert find(COMMANDS, (*command.words, "x")) is command


def test_a_line_that_begins_like_commands_is_answered_with_those():
    text = suggestions(COMMANDS, ("show", "servers"))
    assert "show servers state" in text
    assert "show stat " not in text
    assert text.splitlines()[-1].startswith("  quit ")


def test_a_mistyped_command_is_answered_with_those_alike():
    assert "show stat" in suggestions(COMMANDS, ("shw", "stat"))


@pytest.mark.parametrize("words", [(), ("@#%",)])
def test_what_is_like_nothing_is_answered_with_everything(words):
    text = suggestions(COMMANDS, words)
    assert text.startswith("Unknown command. Please enter one of the following commands only:\n")
    assert all(command.syntax in text for command in COMMANDS if not command.hidden)


def test_help_leaves_out_what_is_not_allowed():
    text = help_text(COMMANDS, (), [StatsLevel.USER])
    assert "show stat" in text
    assert "set server" not in text
