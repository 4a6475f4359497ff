"""Stick tables and stick rules at work in one worker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pasvport.model import Expression, StickAction, StickRule
from pasvport.model import StickTable as StickTableModel
from pasvport.stick.keys import Endpoints, is_source_bound
from pasvport.stick.table import Entry, StickTable

KeyOf = Callable[[Endpoints], bytes | None]


class LiveTable:
    """A stick table of this worker; `shared` when other workers may see the same keys."""

    __slots__ = ("_due", "name", "shared", "table")

    def __init__(self, table: StickTable, shared: bool) -> None:
        self.name = table.model.name
        self.table = table
        self.shared = shared
        self._due = 0.0

    def entries_to_repeat(self, now: float) -> list[Entry]:
        """Entries in use here that the other workers must hear of again before they expire there."""
        expire = self.table.model.expire / 1000
        if not self.shared or not expire or now < self._due:
            return []
        self._due = now + max(1.0, expire / 3)
        return [entry for entry in self.table if entry.users and entry.server_id]


@dataclass(frozen=True, slots=True)
class Rule:
    """A stick rule ready to use; `stick on` is one rule that matches and stores.

    `by_user`: its key is what a client says before it has logged in.
    """

    table: LiveTable
    key_of: KeyOf
    matches: bool
    stores: bool
    by_user: bool = False


def merged(rules: tuple[StickRule, ...]) -> list[tuple[StickRule, bool, bool]]:
    """(rule, matches, stores), with the two halves of a `stick on` made one again."""
    merged: list[tuple[StickRule, bool, bool]] = []
    for rule in rules:
        matches = rule.action is StickAction.MATCH
        last = merged[-1] if merged else None
        if last is not None and not matches and last[1] and not last[2] and _same(last[0], rule):
            merged[-1] = (last[0], True, True)
        else:
            merged.append((rule, matches, not matches))
    return merged


def _same(one: StickRule, other: StickRule) -> bool:
    return one.expression == other.expression and one.table == other.table and one.origin == other.origin


def is_shared(table: StickTableModel, expressions: list[Expression], workers: int) -> bool:
    """Whether a table's keys may turn up in more than one worker: some key is not bound to the source address."""
    return workers > 1 and not all(is_source_bound(expression, table) for expression in expressions)
