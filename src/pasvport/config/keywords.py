"""What a row of the keyword tables is, and how a word finds its row.

The rows themselves stand in the modules whose names begin with `keywords_`: keyword, where it may stand, syntax,
default, priority, status, its meaning in one line, and the function that reads it. docs/configuration.md is generated
from them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Flag, StrEnum, auto
from typing import Generic, TypeVar

from pasvport.config.cursor import Cursor
from pasvport.config.diagnostics import nearest

D = TypeVar("D")


class Place(Flag):
    """Where a keyword may stand. A listen section is both FRONTEND and BACKEND."""

    GLOBAL = auto()
    DEFAULTS = auto()
    FRONTEND = auto()
    BACKEND = auto()
    NAMED_DEFAULTS = auto()
    EITHER = FRONTEND | BACKEND
    ANY_PROXY = DEFAULTS | FRONTEND | BACKEND
    ON_FRONTEND = DEFAULTS | FRONTEND
    ON_BACKEND = DEFAULTS | BACKEND
    WITHIN = 0


class Status(StrEnum):
    """What pasvport makes of a keyword."""

    SUPPORTED = "supported"
    LATER = "not yet"
    HTTP = "HTTP only"
    REMOVED = "removed"


class Misplaced(StrEnum):
    """What HAProxy says of a keyword in a proxy that lacks the side it is about."""

    WARN = "warning"
    SKIP = "warning, line not read further"
    LATE = "warning, once the line proved right"
    ALERT = "error"
    OWN = "said by the keyword itself"


@dataclass(frozen=True, slots=True)
class Keyword(Generic[D]):
    """One row. `most` arguments at the most (None: its reader counts them); `advice` follows a misplacement warning."""

    name: str
    syntax: str
    doc: str
    read: Callable[[Cursor, D], None] | None = None
    places: Place = Place.WITHIN
    priority: str = "P1"
    default: str = ""
    status: Status = Status.SUPPORTED
    misplaced: Misplaced = Misplaced.WARN
    negatable: bool = False
    most: int | None = None
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Table(Generic[D]):
    """Rows by name. Names of two words (`timeout client`) are found by both, before a row with the first word alone."""

    rows: tuple[Keyword[D], ...]
    _index: dict[str, Keyword[D]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        index = {row.name: row for row in self.rows}
        if len(index) != len(self.rows):
            names = [row.name for row in self.rows]
            raise ValueError(f"keyword twice in a table: {[name for name in index if names.count(name) > 1]}")
        object.__setattr__(self, "_index", index)

    def __iter__(self) -> Iterator[Keyword[D]]:
        return iter(self.rows)

    def find(self, first: str, second: str = "") -> Keyword[D] | None:
        """The row of these words, None when there is none."""
        return (self._index.get(f"{first} {second}") if second else None) or self._index.get(first)

    def names(self) -> Iterable[str]:
        """All names."""
        return self._index.keys()

    def suggestion(self, word: str) -> str:
        """The name nearest to a mistyped word, "" when none is near."""
        return nearest(word, self.names()) or ""


def words(text: str) -> tuple[str, ...]:
    """The blank-separated words of a text, for tables of bare names."""
    return tuple(text.split())


def not_supported(what: str) -> str:
    """The text for a keyword HAProxy has and pasvport has not (yet)."""
    return f"'{what}' is not supported yet."


def later(
    names: str,
    doc: str,
    *,
    places: Place = Place.WITHIN,
    priority: str = "P2",
    syntax: str = "...",
    misplaced: Misplaced = Misplaced.WARN,
) -> tuple[Keyword[D], ...]:
    """Rows of keywords that are refused with `not supported yet`; `names` are separated by blanks."""
    return tuple(
        Keyword(
            name,
            syntax,
            doc,
            places=places,
            priority=priority,
            status=Status.LATER,
            misplaced=misplaced,
        )
        for name in words(names)
    )
