"""How a mistyped word of the command line is answered: one line, with what was probably meant."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Iterable, Sequence
from typing import NoReturn

USAGE = 2
"""Exit status of wrong usage, argparse's own."""
_MISSING = "the following arguments are required"
_LIKENESS = 0.66
"""Below, two words have too little in common: `tpo` is `top`, `--check` is not `--help`."""


def meant(word: str, known: Iterable[str]) -> str:
    """The known word that is most like a mistyped one; empty when none is like it."""
    known = list(known)
    same = (each for each in known if each.lower() == word.lower())
    return next(same, "") or next(iter(difflib.get_close_matches(word, known, n=1, cutoff=_LIKENESS)), "")


class Parser(argparse.ArgumentParser):
    """argparse for one subcommand: help goes to the standard output with status 0, an error is one short line."""

    status = USAGE
    _given: Sequence[str] = ()

    def parse_args(self, args: Sequence[str], namespace: None = None) -> argparse.Namespace:  # type: ignore[override]
        """The options. Leaves the program (SystemExit) after `--help`, and with `status` for wrong usage."""
        self._given = args
        given, others = self.parse_known_args(args, namespace)
        if others:
            self.error(_unknown(others[0], self._option_string_actions))
        return given

    def error(self, message: str) -> NoReturn:
        """One line on the standard error."""
        known = self._option_string_actions
        others = [word for word in self._given if word.startswith("--") and word.partition("=")[0] not in known]
        if message.startswith(_MISSING) and others:
            # What seems to be missing may well be there, mistyped.
            message = _unknown(others[0], known)
        self.exit(self.status, f"{self.prog}: {message} ({self.prog} --help shows the usage)\n")


def _unknown(word: str, known: Iterable[str]) -> str:
    found = meant(word.partition("=")[0], known)
    return f"'{word}' is no option" + (f"; did you mean '{found}'?" if found else "")
