"""The prompt of `pasvport ctl`: one connection, history over sessions, completion from the API's own `help`."""

from __future__ import annotations

import contextlib
import os
import re
import readline
from collections.abc import Callable
from pathlib import Path

from pasvport.terminal.connection import Answer, ApiError, Conversation

_PROMPT = "pasvport> "
_REMEMBERED = 1000
_LEAVE = ("quit", "exit")


def converse(address: str) -> int:
    """Until `quit` or the end of input; the status of the last command."""
    conversation = Conversation(address)
    status = 0
    _prepare(conversation)
    try:
        while (line := _line()) is not None and line not in _LEAVE:
            status = _give(conversation, line)
    finally:
        conversation.close()
        _remember()
    return status


def _give(conversation: Conversation, line: str) -> int:
    if not line:
        return 0
    try:
        answer = conversation.ask(line)
    except ApiError as error:
        print(error)
        return 2
    print(answer.rstrip("\n"), end="\n" if answer.strip() else "")
    return int(answer.is_error)


def _line() -> str | None:
    try:
        return input(_PROMPT).strip()
    except EOFError:
        print()
        return None
    except KeyboardInterrupt:
        print()
        return ""


# --- history and completion ---------------------------------------------------------------------------------------


def _history() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "pasvport" / "ctl-history"


def _prepare(conversation: Conversation) -> None:
    with contextlib.suppress(OSError):
        readline.read_history_file(_history())
    readline.set_history_length(_REMEMBERED)
    readline.set_completer_delims("")
    readline.set_completer(completer(commands(conversation.ask("help"))))
    readline.parse_and_bind("tab: complete")


def _remember() -> None:
    with contextlib.suppress(OSError):
        _history().parent.mkdir(parents=True, exist_ok=True)
        readline.write_history_file(_history())


def commands(help_text: Answer | str) -> list[str]:
    """The fixed words of every command that `help` lists."""
    found = []
    for line in help_text.splitlines():
        if line.startswith("  "):
            fixed = re.split(r"[<\[{]", line.partition(":")[0])[0]
            found.append(" ".join(fixed.split()))
    return sorted(set(found))


def completer(known: list[str]) -> Callable[[str, int], str | None]:
    """For readline: the known commands that begin with what was typed, a word further at a time."""

    def complete(typed: str, number: int) -> str | None:
        place = typed.count(" ") + 1
        ahead = sorted({" ".join(each.split()[:place]) + " " for each in known if each.startswith(typed.lstrip())})
        return ahead[number] if number < len(ahead) else None

    return complete
