"""`show table`, `set table`, `clear table` (management guide, 9.3): the stick tables of all workers as one.

A table whose key is the source address has each entry in one worker; any other has the same keys in several. Both are
read in the same way: part of the keys at a time from all workers, merged and put in order of keys, so that memory is
bounded by a part whatever the size of the table.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence

from pasvport.control.api.commands import Command, Refusal, Request
from pasvport.control.api.commands_sessions import remarks
from pasvport.control.api.table_words import Verb, filters, key, settings
from pasvport.control.generation import Generation
from pasvport.control.questions import Gathered
from pasvport.model import StatsLevel, StickTable
from pasvport.sight import TableSight
from pasvport.stick.orders import Filter, merged, passes
from pasvport.stick.show import Row, heading, text

_PART = 10_000
"""Entries that one part of a table should have."""
_BATCH = 500
"""Keys that are forgotten at once."""
_NOT_DUMPED = "# contents not dumped due to insufficient privileges"


async def show(request: Request) -> AsyncIterator[str]:
    """`show table [NAME [data.X OPERATOR V]... | NAME key K]`."""
    served, words = request.generation, request.arguments
    if not words:
        listing = _all(served)
    else:
        table, rest = _table(served, words[0]), words[1:]
        if rest[:1] == ("key",):
            if not request.client.may(StatsLevel.OPERATOR):
                raise Refusal("Permission denied")
            listing = _by_key(served, table, key(Verb.SHOW, table, rest))
        else:
            listing = _content(served, table, _wanted(Verb.SHOW, table, rest), request.client.may(StatsLevel.OPERATOR))
    async for line in listing:
        yield line


async def set_entry(request: Request) -> AsyncIterator[str]:
    """`set table NAME key K [data.X V]...`."""
    table, rest = _named(request, Verb.SET)
    if not rest:
        return
    if rest[0].startswith("data."):
        raise Refusal('content-based lookup is only supported with the "show" and "clear" actions')
    if rest[0] != "key":
        raise Refusal(Verb.SET.usage)
    named = key(Verb.SET, table, rest)
    answer = await request.generation.questions.gather("set", table.name, named, settings(table, rest[2:]))
    if (False,) in answer.plain():
        raise Refusal("Unable to allocate a new entry")
    if not answer.rows:
        raise Refusal("The worker that would hold the entry did not answer")
    for line in _remarks(answer):
        yield line


async def clear(request: Request) -> AsyncIterator[str]:
    """`clear table NAME [data.X OPERATOR V]... | NAME key K`: entries that sessions use stay."""
    served = request.generation
    table, rest = _named(request, Verb.CLEAR)
    if rest[:1] == ("key",):
        answer = await served.questions.gather("forget", table.name, (key(Verb.CLEAR, table, rest),))
        if answer.rows:
            raise Refusal("Entry currently in use, cannot remove")
    else:
        answer = await _clear(served, table, _wanted(Verb.CLEAR, table, rest))
    for line in _remarks(answer):
        yield line


TABLE_COMMANDS: tuple[Command, ...] = (
    Command(
        "show table",
        "<table> [<filter>]*",
        "report table usage stats or dump this table's contents",
        show,
        detail="Without a name, each table with its size and how many entries it holds. With one, its entries: all, "
        "those whose `data.<type> {eq|ne|le|ge|lt|gt} <value>` holds (up to four), or that of `key <key>`. The "
        "entries of all workers are one list, in the order of keys; of a large table, parts are listed one after "
        "the other, each in order. Where several workers hold a key, their counters are added. Contents need "
        "operator's rights. `use` counts the live sessions that the entry serves: such an entry does not expire.",
    ),
    Command(
        "set table",
        "<table> key <k> [data.* <v>]*",
        "update or create a table entry's data",
        set_entry,
        StatsLevel.OPERATOR,
        detail="Types that are not named keep their value. A rate set so holds for one period and then fades. "
        "Nothing is changed when a word is not understood, and a malformed IPv4 address is refused.",
    ),
    Command(
        "clear table",
        "<table> [<filter>]*",
        "remove an entry from a table (filter: data/key)",
        clear,
        StatsLevel.OPERATOR,
        detail="All entries, those that match `data.<type> <operator> <value>`, or that of `key <key>`. An entry that "
        "a live session uses stays; by key, that is an error. (HAProxy 2.6 lets users without operator's rights "
        "give this command in vain.)",
    ),
)


# --- inside -------------------------------------------------------------------------------------------------------


def _named(request: Request, verb: Verb) -> tuple[StickTable, Sequence[str]]:
    """The table that must be named, and the words after its name."""
    if not request.arguments:
        raise Refusal(verb.usage)
    return _table(request.generation, request.arguments[0]), request.arguments[1:]


def _table(served: Generation, name: str) -> StickTable:
    for proxy in served.config.proxies:
        if proxy.stick_table is not None and proxy.stick_table.name == name:
            return proxy.stick_table
    raise Refusal("No such table")


def _wanted(verb: Verb, table: StickTable, rest: Sequence[str]) -> tuple[Filter, ...]:
    if not rest:
        return ()
    if not rest[0].startswith("data."):
        raise Refusal(verb.usage)
    return filters(table, rest)


async def _all(served: Generation) -> AsyncIterator[str]:
    """Every table, the last of the configuration first, as HAProxy lists them."""
    answer = await served.questions.gather("tables")
    seen = [TableSight._make(row) for row in answer.plain()]
    for proxy in reversed(served.config.proxies):
        if proxy.stick_table is not None:
            yield f"{heading(proxy.stick_table, _sum(seen, proxy.stick_table))}\n"
    for line in _remarks(answer):
        yield line


def _sum(seen: list[TableSight], table: StickTable) -> int:
    """Entries over all workers. How many keys of a shared table are the same only a dump could tell: the largest."""
    mine = [each for each in seen if each.name == table.name]
    counts = [each.used for each in mine]
    return max(counts, default=0) if any(each.shared for each in mine) else sum(counts)


async def _used(served: Generation, table: StickTable) -> int:
    answer = await served.questions.gather("tables")
    return _sum([TableSight._make(row) for row in answer.plain()], table)


async def _content(
    served: Generation, table: StickTable, wanted: tuple[Filter, ...], may_see: bool
) -> AsyncIterator[str]:
    yield f"{heading(table, await _used(served, table))}\n"
    if not may_see:
        yield f"{_NOT_DUMPED}\n"
        return
    missing: set[int] = set()
    async for row in _rows(served, table, wanted, missing):
        yield f"{text(table, row)}\n"
    for line in remarks(sorted(missing), ()):
        yield line


async def _by_key(served: Generation, table: StickTable, wanted: bytes) -> AsyncIterator[str]:
    answer = await served.questions.gather("entry", table.name, wanted)
    if answer.rows:
        yield f"{heading(table, await _used(served, table))}\n"
        row = merged([Row._make(row) for row in answer.plain()])
        yield f"{text(table, row)}\n"
    for line in _remarks(answer):
        yield line


async def _rows(
    served: Generation, table: StickTable, wanted: tuple[Filter, ...], missing: set[int]
) -> AsyncIterator[Row]:
    """Entries that the filters want, merged; workers that did not answer are added to `missing`."""
    answer = await served.questions.gather("tables")
    held = sum(each.used for each in map(TableSight._make, answer.plain()) if each.name == table.name)
    parts = 1 + held // _PART
    for part in range(parts):
        by_key: dict[bytes, list[Row]] = {}
        found = await served.questions.gather("entries", table.name, tuple(map(tuple, wanted)), part, parts)
        missing.update(found.missing)
        for row in map(Row._make, found.plain()):
            by_key.setdefault(row.key, []).append(row)
        for _, rows in sorted(by_key.items()):
            row = merged(rows)
            if passes(table, wanted, row):
                yield row


async def _clear(served: Generation, table: StickTable, wanted: tuple[Filter, ...]) -> Gathered:
    if not wanted or not await _is_shared(served, table):
        return await served.questions.gather("clear", table.name, tuple(map(tuple, wanted)))
    # Each worker knows its own part of the sums that the filters are about.
    missing: set[int] = set()
    keys = [row.key async for row in _rows(served, table, wanted, missing)]
    answers = [
        await served.questions.gather("forget", table.name, tuple(keys[place : place + _BATCH]))
        for place in range(0, len(keys), _BATCH)
    ]
    missing.update(worker for answer in answers for worker in answer.missing)
    return Gathered([], tuple(sorted(missing)), tuple(error for answer in answers for error in answer.errors))


async def _is_shared(served: Generation, table: StickTable) -> bool:
    answer = await served.questions.gather("tables")
    return any(each.shared for each in map(TableSight._make, answer.plain()) if each.name == table.name)


def _remarks(answer: Gathered) -> Iterator[str]:
    return remarks(answer.missing, answer.errors)
