"""Stick entries on their way from the workers of one generation to those of the next (a reload).

The giving side tells all entries in portions, as they are asked for, while it still accepts; then, when it accepts no
more, those used meanwhile. So clients wait only for the second part, whatever the size of the tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from pasvport.engine.tables import LiveTable
from pasvport.model import StoredType
from pasvport.stick.data import DATA_TYPES, Kind, Rate, Value
from pasvport.stick.table import Entry, StickTable
from pasvport.wire import PORTION, EntriesTold, EntryRow, Figure, TakeEntries, TellEntries

_FOREVER = float("inf")
_OF_THE_MOMENT = "conn_cur"
"""Counts live sessions, which stay behind."""


class Telling:
    """Answers TellEntries about `tables` by `tell`."""

    def __init__(self, tables: Mapping[str, LiveTable], tell: Callable[[EntriesTold], None]) -> None:
        self._tables = tables
        self._tell = tell
        self._began = 0.0
        self._rest: Iterator[tuple[LiveTable, Entry]] = iter(())

    def answer(self, question: TellEntries, now: float) -> None:
        """The next portion, or the first."""
        if question.begin and question.changed:
            self._rest = self._changed()
        elif question.begin:
            self._began = now
            self._rest = self._all()
        rows: dict[str, list[EntryRow]] = {}
        is_last = True
        size = 0
        for count, (table, entry) in enumerate(self._rest, 1):
            if entry.users or entry.expires > now:
                rows.setdefault(table.name, []).append(_row(table.table, entry, now))
                size += len(entry.key)
            if count >= question.count or size >= PORTION:
                is_last = False
                break
        parts = [TakeEntries(name, _labels(self._tables[name].table), tuple(found)) for name, found in rows.items()]
        self._tell(EntriesTold(tuple(parts), last=is_last))

    def _all(self) -> Iterator[tuple[LiveTable, Entry]]:
        # The lists are made at once, each when its table's turn comes: tables change while they are told.
        return ((table, entry) for table in self._tables.values() for entry in table.table.by_use())

    def _changed(self) -> Iterator[tuple[LiveTable, Entry]]:
        found = [(table, entry) for table in self._tables.values() for entry in table.table.used_since(self._began)]
        for table in self._tables.values():
            table.shared = True
        return iter(found)


def take(table: StickTable, message: TakeEntries, now: float) -> None:
    """Enter what another worker's table of the same name held; what is here already keeps its time.

    Several workers may tell of one key, each more than once: of what was counted the larger is kept.
    """
    places = _places(table, message.stores)
    for row in message.rows:
        known = table.lookup(row.key, now)
        before = known.expires if known is not None else 0.0
        entry = table.enter(row.key, now)
        table.touch(entry, now)
        if row.left is not None:
            entry.expires = max(before, min(entry.expires, now + row.left))
        entry.server_id, entry.server_key = row.server_id, row.server_key
        for place, found in places if row.data else ():
            entry.data[place] = _larger(entry.data[place], _thawed(table.stores[place], row.data[found]))


def _row(table: StickTable, entry: Entry, now: float) -> EntryRow:
    left = None if entry.expires == _FOREVER else entry.expires - now
    if entry.users and left is not None:
        left = table.model.expire / 1000
    data = tuple(_frozen(store, value) for store, value in zip(table.stores, entry.data, strict=True))
    return EntryRow(entry.key, entry.server_id, entry.server_key, left, data)


def _labels(table: StickTable) -> tuple[str, ...]:
    return tuple(f"{store.name}({store.period}){store.count}" for store in table.stores)


def _places(table: StickTable, labels: tuple[str, ...]) -> list[tuple[int, int]]:
    """(place here, place in a row) of what is stored there as here."""
    theirs = {label: place for place, label in enumerate(labels)}
    return [(place, theirs[label]) for place, label in enumerate(_labels(table)) if label in theirs]


def _frozen(store: StoredType, value: Value) -> Figure:
    if store.name == _OF_THE_MOMENT:
        return 0
    if isinstance(value, list):
        return tuple(_frozen_one(one) for one in value)
    return _frozen_one(value)


def _frozen_one(value: int | Rate) -> int | tuple[int, ...]:
    return (value.started, value.current, value.previous) if isinstance(value, Rate) else value


def _thawed(store: StoredType, value: object) -> Value:
    described = DATA_TYPES[store.name]
    if described.array:
        assert isinstance(value, tuple)
        return [_thawed_one(described.kind, one) for one in value]
    return _thawed_one(described.kind, value)


def _larger(here: Value, told: Value) -> Value:
    if isinstance(here, list) and isinstance(told, list):
        return [one if _amount(one) > _amount(other) else other for one, other in zip(here, told, strict=True)]
    assert not isinstance(here, list)
    assert not isinstance(told, list)
    return here if _amount(here) > _amount(told) else told


def _amount(value: int | Rate) -> tuple[int, int]:
    return (value.started, value.current) if isinstance(value, Rate) else (value, 0)


def _thawed_one(kind: Kind, value: object) -> int | Rate:
    if kind is not Kind.RATE:
        assert isinstance(value, int)
        return value
    assert isinstance(value, tuple)
    rate = Rate()
    rate.started, rate.current, rate.previous = value
    return rate
