"""Stick entries between two generations: which table, which server, which worker they belong to over there.

A table lives on under its name if its key type is the same. Servers are found again by the name of their backend and
their own: the number that an entry holds may be another's by now. An entry whose server is gone keeps its counters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from pasvport.address import packed, unmapped
from pasvport.model import Config, KeyType, Proxy, StickTable
from pasvport.steering import worker_of
from pasvport.stick.keys import is_source_bound
from pasvport.wire import EntryLearnt, EntryRow, ShareEntry, TakeEntries

_MAPPED = b"\0" * 10 + b"\xff\xff"


@dataclass(frozen=True, slots=True)
class _Route:
    """What becomes of the entries of one table. `servers` maps ids; `kind` is what keys are, None unless each belongs
    to the worker of one source address; of these there are `workers` now, and `before` there were so many.
    `everywhere`: any of them may be asked for any key, though most likely that one."""

    servers: dict[int, int]
    kind: KeyType | None
    before: int
    workers: int
    everywhere: bool

    def home(self, key: bytes, giver: int) -> int | None:
        """The one worker that will be asked for a key that worker `giver` had; None: any."""
        if self.workers == 1:
            return 0
        if self.kind is None:
            return None
        if self.before == self.workers and not self.everywhere:
            return giver
        address = _address(self.kind, key)
        return None if address is None else worker_of(address, self.workers)


class Entries:
    """The way of stick entries from the configuration `old` to `new`.

    `mixed`: a client may be met in several of the new workers (`Manner.mixed`), so all of them get every entry.
    """

    def __init__(self, old: Config, new: Config, *, mixed: bool = False) -> None:
        tables = {table.name: table for table in _tables(new)}
        self._routes = {
            table.name: _route(table.name, old, new, mixed=mixed)
            for table in _tables(old)
            if _is_same(table, tables.get(table.name))
        }

    def carried(self, part: TakeEntries, giver: int) -> Iterator[tuple[int, TakeEntries]]:
        """(worker, what it gets) of entries that worker `giver` had, as the new configuration means them."""
        route = self._routes.get(part.table)
        if route is None:
            return
        rows: dict[int, list[EntryRow]] = {}
        for row in part.rows:
            carried = _carried(row, route.servers)
            home = route.home(row.key, giver)
            # What is counted must be counted once over all workers.
            counter = giver % route.workers if home is None else home
            for worker in range(route.workers) if home is None or route.everywhere else (home,):
                rows.setdefault(worker, []).append(carried if worker == counter else replace(carried, data=()))
        for worker, found in rows.items():
            yield worker, replace(part, rows=tuple(found))

    def learnt(self, message: EntryLearnt, giver: int) -> tuple[int | None, ShareEntry] | None:
        """(worker, None for all of them; what it gets) of what a session of the old configuration learnt."""
        route = self._routes.get(message.table)
        server = route.servers.get(message.server_id) if route is not None else None
        if route is None or server is None:
            return None
        home = None if route.everywhere else route.home(message.key, giver)
        return home, ShareEntry(message.table, message.key, server)


def _carried(row: EntryRow, servers: dict[int, int]) -> EntryRow:
    server = servers.get(row.server_id, 0)
    if server == row.server_id:
        return row
    return replace(row, server_id=server, server_key=row.server_key if server else "")


def _is_same(table: StickTable, other: StickTable | None) -> bool:
    return other is not None and (table.key_type, table.key_length) == (other.key_type, other.key_length)


def _route(table: str, old: Config, new: Config, *, mixed: bool) -> _Route:
    ids = dict(_servers(new, table))
    servers: dict[int, int] = {}
    for name, number in _servers(old, table):
        if name in ids:
            servers.setdefault(number, ids[name])
    kind = next(found.key_type for found in _tables(new) if found.name == table)
    bound = _is_bound(old, table) and _is_bound(new, table)
    return _Route(servers, kind if bound else None, old.settings.nbthread, new.settings.nbthread, mixed)


def _address(kind: KeyType, key: bytes) -> bytes | None:
    """The packed source address that a key is; None where that cannot be told."""
    if kind is KeyType.STRING:
        try:
            return packed(unmapped(key.decode()))
        except ValueError:
            return None
    if kind is KeyType.IPV6 and key.startswith(_MAPPED):
        return key[len(_MAPPED) :]
    return key if kind is not KeyType.BINARY and len(key) in (4, 16) else None


def _tables(config: Config) -> list[StickTable]:
    return [proxy.stick_table for proxy in config.proxies if proxy.stick_table is not None]


def _users(config: Config, table: str) -> list[Proxy]:
    return [proxy for proxy in config.proxies if any(rule.table == table for rule in proxy.stick_rules)]


def _servers(config: Config, table: str) -> list[tuple[tuple[str, str], int]]:
    """((backend, server), id) of every server that the table may name."""
    return [((proxy.name, server.name), server.id) for proxy in _users(config, table) for server in proxy.servers]


def _is_bound(config: Config, name: str) -> bool:
    """Whether each key turns up in one worker only."""
    if config.settings.noreuseport:
        return False
    rules = [rule for proxy in config.proxies for rule in proxy.stick_rules if rule.table == name]
    tables = [table for table in _tables(config) if table.name == name]
    return all(is_source_bound(rule.expression, table) for rule in rules for table in tables)
