"""Questions about stick tables: how full, which entries, set, forget.

A table that is shared holds the same keys in several workers, and each counts its own sessions: filters on content are
then the asker's business, who sees the sums.
"""

from __future__ import annotations

import ipaddress
import zlib
from collections.abc import Callable, Mapping

from pasvport.engine.sights import Rows, Sight
from pasvport.engine.tables import LiveTable
from pasvport.model import KeyType, StickTable
from pasvport.sight import TableSight
from pasvport.steering import worker_of
from pasvport.stick.orders import Filter, Setting, apply, passes
from pasvport.stick.show import row
from pasvport.stick.table import Entry

_MAPPED = bytes(10) + b"\xff\xff"


def _tables(sight: Sight) -> Rows:
    """Every stick table (TableSight)."""
    for table in sight.tables.values():
        yield tuple(TableSight(table.name, len(table.table), table.shared))


def _entries(sight: Sight, name: str, filters: tuple[tuple[str, str, int], ...], part: int, parts: int) -> Rows:
    """Entries of a table (stick.show.Row) whose keys fall into one of `parts` parts of all keys."""
    table = sight.tables.get(name)
    if table is None:
        return
    wanted = [] if table.shared else [Filter(*each) for each in filters]
    # All that is done at once is a copy of references: a million entries are looked at in many turns.
    for entry in table.table:
        now = sight.plant.loop.now
        if (parts > 1 and zlib.crc32(entry.key) % parts != part) or not _lives(entry, now):
            yield None
            continue
        shown = row(table.table, entry, now)
        yield tuple(shown) if passes(table.table.model, wanted, shown) else None


def _lives(entry: Entry, now: float) -> bool:
    return entry.expires > now or entry.users > 0


def _entry(sight: Sight, name: str, key: bytes) -> Rows:
    """The entry of one key, if there is one."""
    table = sight.tables.get(name)
    entry = None if table is None else table.table.lookup(key, sight.plant.loop.now)
    if table is not None and entry is not None:
        yield tuple(row(table.table, entry, sight.plant.loop.now))


def _set(sight: Sight, name: str, key: bytes, settings: tuple[Setting, ...]) -> Rows:
    """Make or change an entry: one row, whether there was room for it; none when the key belongs to another worker."""
    table = sight.tables.get(name)
    if table is None or not _belongs_here(sight, table, key):
        return
    now, entries = sight.plant.loop.now, table.table
    entry = entries.enter(key, now)
    if not entry.users and len(entries) > entries.model.size:
        entries.forget(key)
        yield (False,)
        return
    # Sums over all workers are what is seen of a shared table: one worker holds what was set.
    is_holder = not table.shared or sight.number == 0
    apply(
        entries.model,
        entry,
        [(what, value if is_holder or what == "server_id" else 0) for what, value in settings],
        now,
    )
    entries.touch(entry, now)
    yield (True,)


def _belongs_here(sight: Sight, table: LiveTable, key: bytes) -> bool:
    return table.shared or _owner(table.table.model, key, sight.workers) == sight.number


def _owner(table: StickTable, key: bytes, workers: int) -> int:
    """The worker to which steering brings the client with that key; worker 0 for what is no address."""
    source = _OWNERS.get(table.key_type, bytes)(key)
    return worker_of(source, workers) if len(source) in (4, 16) else 0


def _unmapped(key: bytes) -> bytes:
    return key[12:] if key[:12] == _MAPPED else key


def _parsed(key: bytes) -> bytes:
    try:
        return _unmapped(ipaddress.ip_address(key.decode("latin-1")).packed)
    except ValueError:
        return b""


_OWNERS: Mapping[KeyType, Callable[[bytes], bytes]] = {KeyType.IPV6: _unmapped, KeyType.STRING: _parsed}


def _forget(sight: Sight, name: str, keys: tuple[bytes, ...]) -> Rows:
    """Remove entries by key: a row for each that sessions use, which stays."""
    table = sight.tables.get(name)
    if table is None:
        return
    for key in keys:
        entry = table.table.lookup(key, sight.plant.loop.now)
        is_used = entry is not None and not table.table.forget(key)
        yield (key,) if is_used else None


def _clear(sight: Sight, name: str, filters: tuple[tuple[str, str, int], ...]) -> Rows:
    """Remove every entry that the filters want and no session uses: one row, how many."""
    table = sight.tables.get(name)
    if table is None:
        return
    wanted, removed = [Filter(*each) for each in filters], 0
    for entry in table.table:
        if not wanted or passes(table.table.model, wanted, row(table.table, entry, sight.plant.loop.now)):
            removed += table.table.forget(entry.key)
        yield None
    yield (removed,)


QUESTIONS: Mapping[str, Callable[..., Rows]] = {
    "tables": _tables,
    "entries": _entries,
    "entry": _entry,
    "set": _set,
    "forget": _forget,
    "clear": _clear,
}
