"""Which command a client means, and what it is told when there is none, or asks for help."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher

from pasvport.control.api.commands import Command
from pasvport.model import StatsLevel

_LAST = ("help", "prompt", "quit")
_MOST_SUGGESTIONS = 5
_ALIKE = 0.4
_COLUMN = 40
_MOST_WORDS = 8
_MOST_LETTERS = 80
"""Looked at of a line that is no command: comparing takes the square of its length."""


def find(commands: Iterable[Command], words: tuple[str, ...]) -> Command | None:
    """The command whose words these begin with; the longest of several."""
    return max((command for command in commands if command.fits(words)), key=lambda c: len(c.words), default=None)


def suggestions(commands: Sequence[Command], words: tuple[str, ...]) -> str:
    """What to say to a line that is no command: those that begin alike, else those that look alike, else all."""
    near = _near(commands, words)
    if near:
        return "Unknown command, but maybe one of the following ones is a better match:\n" + _listed(commands, near)
    return "Unknown command. Please enter one of the following commands only:\n" + _listed(commands, commands)


def help_text(commands: Sequence[Command], words: tuple[str, ...], allowed: Sequence[StatsLevel]) -> str:
    """The answer to `help [WORDS]`, without what the client may not use anyway."""
    usable = [command for command in commands if command.level in allowed]
    chosen = _near(usable, words) if words else usable
    return "The following commands are valid at this level:\n" + _listed(usable, chosen or usable)


def _near(commands: Sequence[Command], words: tuple[str, ...]) -> list[Command]:
    words = words[:_MOST_WORDS]
    for count in range(len(words), 0, -1):
        alike = [command for command in commands if command.words[:count] == words[:count] and not command.hidden]
        if alike:
            return alike
    text = " ".join(words)[:_MOST_LETTERS]
    likeness = [(SequenceMatcher(None, text, command.name).ratio(), command) for command in commands if words]
    likeness.sort(key=lambda pair: -pair[0])
    return [command for ratio, command in likeness[:_MOST_SUGGESTIONS] if ratio >= _ALIKE and not command.hidden]


def _listed(commands: Sequence[Command], chosen: Sequence[Command]) -> str:
    lines = sorted(_line(command) for command in chosen if command.name not in _LAST and not command.hidden)
    lines += [_line(command) for name in _LAST for command in commands if command.name == name]
    return "\n".join(lines)


def _line(command: Command) -> str:
    return f"  {command.syntax:<{_COLUMN}}: {command.doc}"
