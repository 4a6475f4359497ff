"""The command `pasvport`, and `python -m pasvport`: what only talks to a running one does not load the rest."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence


def main() -> int:
    """The command; its exit status."""
    words = sys.argv[1:]
    if words[:1] == ["help"] and words[1:]:
        # A flag has its line in the usage; what is no command is then found out as it would be without `help`.
        words = ["--help"] if words[1].startswith("-") or words[1] == "help" else [words[1], "--help"]
    talk = _TALKS.get(words[0]) if words else None
    if talk is not None:
        return talk(words[1:])
    from pasvport.cli import main as serve

    return serve(words)


def _ctl(words: Sequence[str]) -> int:
    from pasvport.command_line import read_files
    from pasvport.terminal.ctl import main as ctl

    return ctl(words, read_files)


def _top(words: Sequence[str]) -> int:
    from pasvport.command_line import read_files
    from pasvport.terminal.top import main as top

    return top(words, read_files)


_TALKS: dict[str, Callable[[Sequence[str]], int]] = {"ctl": _ctl, "top": _top}

if __name__ == "__main__":
    sys.exit(main())
