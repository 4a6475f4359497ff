"""Stick entries between two generations: which table, which server, which worker they belong to over there.

A table lives on under its name if its key type is the same. Servers are found again by the name of their backend and
their own: the number that an entry holds may be another's by now. An entry whose server is gone keeps its counters.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pasvport.model import Config, Proxy, StickTable
from pasvport.stick.keys import is_source_bound
from pasvport.wire import EntryLearnt, EntryRow, ShareEntry, TakeEntries

Message = TakeEntries | ShareEntry


@dataclass(frozen=True, slots=True)
class _Route:
    """What becomes of the entries of one table. `servers` maps ids; `home`: worker N's entries are worker N's again."""

    servers: dict[int, int]
    home: bool


class Entries:
    """The way of stick entries from the configuration `old` to `new`."""

    def __init__(self, old: Config, new: Config) -> None:
        tables = {proxy.stick_table.name: proxy.stick_table for proxy in new.proxies if proxy.stick_table is not None}
        self._routes = {
            proxy.stick_table.name: _route(proxy.stick_table.name, old, new)
            for proxy in old.proxies
            if proxy.stick_table is not None and _is_same(proxy.stick_table, tables.get(proxy.stick_table.name))
        }

    def carried(self, part: TakeEntries) -> TakeEntries | None:
        """The entries as the new configuration means them; None when it has no such table."""
        route = self._routes.get(part.table)
        if route is None:
            return None
        return replace(part, rows=tuple(_carried(row, route.servers) for row in part.rows))

    def learnt(self, message: EntryLearnt) -> ShareEntry | None:
        """What a session of the old configuration learnt."""
        route = self._routes.get(message.table)
        server = route.servers.get(message.server_id) if route is not None else None
        return None if server is None else ShareEntry(message.table, message.key, server)

    def stays_home(self, table: str) -> bool:
        """Whether the worker of the same number, and no other, will be asked for a worker's entries."""
        return self._routes[table].home


def _carried(row: EntryRow, servers: dict[int, int]) -> EntryRow:
    server = servers.get(row.server_id, 0)
    if server == row.server_id:
        return row
    return replace(row, server_id=server, server_key=row.server_key if server else "")


def _is_same(table: StickTable, other: StickTable | None) -> bool:
    return other is not None and (table.key_type, table.key_length) == (other.key_type, other.key_length)


def _route(table: str, old: Config, new: Config) -> _Route:
    ids = dict(_servers(new, table))
    servers: dict[int, int] = {}
    for name, number in _servers(old, table):
        if name in ids:
            servers.setdefault(number, ids[name])
    workers = old.settings.nbthread
    home = workers == new.settings.nbthread and (workers == 1 or (_is_bound(old, table) and _is_bound(new, table)))
    return _Route(servers, home)


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
    tables = [proxy.stick_table for proxy in config.proxies if proxy.stick_table is not None]
    return all(is_source_bound(rule.expression, table) for rule in rules for table in tables if table.name == name)
