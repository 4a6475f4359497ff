"""Directives of the configuration language: conditional blocks (`.if` to `.endif`) and messages.

Source: HAProxy configuration manual, section 2.4 (conditional blocks), as 2.6 has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from pasvport.config.conditions import LANGUAGE_VERSION, Build, ConditionError, evaluate, evaluate_argument
from pasvport.config.diagnostics import Diagnostic, Diagnostics, Form, Severity, excerpt
from pasvport.config.lexer import Lexed, Lexer
from pasvport.config.syntax import Line

__all__ = ["LANGUAGE_VERSION", "MAX_NESTED_BLOCKS", "Build", "Directives", "evaluate_argument"]

MAX_NESTED_BLOCKS = 1024


class _Block(Enum):
    """State of one `.if`: TAKING its lines, WAITING for a branch that holds, DONE with the one that did."""

    TAKING = 0
    WAITING = 1
    DONE = 2


@dataclass(slots=True)
class _Nest:
    """One open `.if`; `final` after its `.else`."""

    block: _Block
    final: bool = False


_MESSAGES = {
    ".alert": Severity.ALERT,
    ".warning": Severity.WARNING,
    ".notice": Severity.NOTICE,
    ".diag": Severity.WARNING,
}


class Directives:
    """Iterator over the lines of a Lexer that are in effect; obeys and removes the lines that begin with a dot.

    Errors in the structure of blocks, and `.alert`, set `diagnostics.aborted` and end the iteration. `.diag` speaks
    only when `diagnostic_mode` (`-dD`) is on.
    """

    def __init__(
        self,
        lexer: Lexer,
        environment: Mapping[str, str],
        build: Build,
        diagnostics: Diagnostics,
        *,
        diagnostic_mode: bool = False,
    ) -> None:
        self._lexer = lexer
        self._environment = environment
        self._build = build
        self._diagnostics = diagnostics
        self._diagnostic_mode = diagnostic_mode
        self._nests: list[_Nest] = []
        self._stopped = False

    def __iter__(self) -> Iterator[Line]:
        for lexed in self._lexer:
            if lexed.line.keyword in _STRUCTURE:
                _STRUCTURE[lexed.line.keyword](self, lexed)
            elif self._in_effect() and lexed.line.keyword.startswith("."):
                self._message(lexed)
            elif self._in_effect():
                yield lexed.line
            if self._diagnostics.aborted:
                return
            if self._stopped:
                break
        if self._nests:
            self._abort("non-terminated '.if' block.")

    def _in_effect(self) -> bool:
        return not self._nests or self._nests[-1].block is _Block.TAKING

    def _abort(self, text: str) -> None:
        self._alert(text)
        self._diagnostics.aborted = True

    def _alert(self, text: str) -> None:
        self._diagnostics.record(Diagnostic(Severity.ALERT, text, Form.LEXER, self._lexer.origin))

    def _open(self, lexed: Lexed) -> None:
        if len(self._nests) + 1 >= MAX_NESTED_BLOCKS:
            self._abort(f"too many nested '.if', max is {MAX_NESTED_BLOCKS}.")
        elif not self._in_effect():
            self._nests.append(_Nest(_Block.DONE))
        else:
            self._nests.append(_Nest(_Block.TAKING if self._holds(lexed) else _Block.WAITING))

    def _elif(self, lexed: Lexed) -> None:
        nest = self._innermost(lexed.line)
        if nest is None:
            return
        if nest.block is _Block.WAITING:
            nest.block = _Block.TAKING if self._holds(lexed) else _Block.WAITING
        else:
            nest.block = _Block.DONE

    def _else(self, lexed: Lexed) -> None:
        nest = self._innermost(lexed.line) if self._bare(lexed.line) else None
        if nest is not None:
            nest.block = _Block.TAKING if nest.block is _Block.WAITING else _Block.DONE
            nest.final = True

    def _endif(self, lexed: Lexed) -> None:
        if not self._bare(lexed.line):
            return
        if self._nests:
            self._nests.pop()
        else:
            self._abort("lone '.endif' with no matching '.if'.")

    def _bare(self, line: Line) -> bool:
        if len(line.words) > 1:
            self._abort(f"Unexpected argument '{line.words[1]}' for '{line.keyword}'.")
        return len(line.words) == 1

    def _innermost(self, line: Line) -> _Nest | None:
        if not self._nests:
            self._abort(f"lone '{line.keyword}' with no matching '.if'.")
            return None
        if self._nests[-1].final:
            self._abort(f"'{line.keyword}' after '.else' is not permitted.")
            return None
        return self._nests[-1]

    def _holds(self, lexed: Lexed) -> bool:
        try:
            return evaluate(_joined(lexed), self._environment, self._build)
        except ConditionError as error:
            self._bad_condition(lexed, error)
            return False

    def _bad_condition(self, lexed: Lexed, error: ConditionError) -> None:
        keyword = lexed.line.keyword
        shown, column = excerpt(_joined(lexed), error.position)
        text = f"{error} in '{keyword}' at position {error.position + 1}:"
        column += len(keyword) + 2
        source = f"{keyword} {shown}"
        self._diagnostics.record(Diagnostic(Severity.ALERT, text, Form.LEXER, lexed.line.origin, source, column, 1))
        self._diagnostics.aborted = True

    def _message(self, lexed: Lexed) -> None:
        keyword, *said = (word.text for word in lexed.words)
        severity = _MESSAGES.get(keyword)
        if severity is None:
            self._alert(f"unknown directive '{keyword}'.")
            # HAProxy reads no further in such a file.
            self._stopped = True
        elif len(said) > 1 and said[1]:
            hint = "Use quotes if the message should contain spaces."
            self._alert(f"Unexpected argument '{said[1]}' for '{keyword}'. {hint}")
        elif keyword != ".diag" or self._diagnostic_mode:
            self._diagnostics.record(Diagnostic(severity, f"'{''.join(said[:1])}'.", Form.LEXER, lexed.line.origin))
            self._diagnostics.aborted |= severity is Severity.ALERT


def _joined(lexed: Lexed) -> str:
    """What follows the keyword, unquoted, with one space between the words: empty ones count."""
    return " ".join(word.text for word in lexed.words[1:])


_STRUCTURE: dict[str, Callable[[Directives, Lexed], None]] = {
    ".if": Directives._open,
    ".elif": Directives._elif,
    ".else": Directives._else,
    ".endif": Directives._endif,
}
