"""The shape of a configuration before any keyword is known: words, lines, sections."""

from __future__ import annotations

from dataclasses import dataclass

from pasvport.model import Origin


@dataclass(frozen=True, slots=True)
class Word:
    """One word after unquoting. `column` is the 1-based place of its first raw character, `width` its raw length."""

    text: str
    column: int
    width: int

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Line:
    """One statement: never empty; `source` is the raw line without its end.

    `unset` are the variables that have no value and were given none by `${NAME-value}`: each with its name as the text.
    """

    origin: Origin
    words: tuple[Word, ...]
    source: str
    unset: tuple[Word, ...] = ()

    @property
    def keyword(self) -> str:
        return self.words[0].text
