"""docs/configuration.md, from the keyword tables: `python -m pasvport.config.reference docs/configuration.md`."""

from __future__ import annotations

import sys
from typing import TypeVar

from pasvport import markdown
from pasvport.config.compiler import LATER_SECTIONS
from pasvport.config.keywords import Keyword, Place, Status, Table
from pasvport.config.keywords_balance import BALANCE
from pasvport.config.keywords_bind import BIND
from pasvport.config.keywords_check import CONNECT, EXPECT, STEPS
from pasvport.config.keywords_global import GLOBAL
from pasvport.config.keywords_log import FACILITIES, LEVELS, LOG_OPTIONS
from pasvport.config.keywords_option import OPTIONS
from pasvport.config.keywords_proxy import PROXY
from pasvport.config.keywords_server import SERVER
from pasvport.config.keywords_source import SOURCE
from pasvport.config.keywords_stats import STATS
from pasvport.config.keywords_stats_socket import SOCKET
from pasvport.config.keywords_stick import STORED, TABLE
from pasvport.markdown import code, publish
from pasvport.sample.converters import CONVERTERS
from pasvport.sample.fetches import FETCHES, Fetch, Since

D = TypeVar("D")

_INTRODUCTION = """# Configuration reference

This page is generated from the tables in `src/pasvport/config`; `make docs` writes it anew, and a test says when it is
stale.

The language is HAProxy's, as version 2.6 has it: lexing, sections, units, addresses, `.if` blocks, defaults and
messages are the same. A keyword that HAProxy has and pasvport has not is an error that says so; nothing is accepted and
then forgotten. What only HTTP would obey is ignored with a warning, as HAProxy does in TCP mode. `mode ftp` is ours: it
obeys what `mode tcp` obeys, and the keywords marked with it, which other modes ignore with a warning.

Sections: `global`, `defaults [<name>] [from <defaults>]`, and `frontend`, `backend`, `listen`, each with `<name> [from
<defaults>]`. In the tables, D F B stand for defaults, frontend and backend; a `listen` section is both of the latter.
Times are milliseconds unless they have a unit (us, ms, s, m, h, d); sizes take k, m, g (powers of 1024).
`no option ...` switches an option off, `default option ...` back to its default.
"""

_LETTERS = ((Place.DEFAULTS, "D"), (Place.FRONTEND, "F"), (Place.BACKEND, "B"))


def render() -> str:
    """The whole page, in Markdown."""
    parts = [
        _INTRODUCTION,
        _section("Global section", GLOBAL),
        _section("Proxy sections", PROXY, places=True),
        _section("Options of proxy sections: `option <name>`", OPTIONS, places=True),
        _section("Algorithms: `balance <algorithm>`", BALANCE),
        _section("`bind` options", BIND),
        _section("`stats socket` options", SOCKET),
        _section("`server` and `default-server` options", SERVER),
        _section("`source`: words after the address", SOURCE),
        _section("`stick-table` options", TABLE),
        _section("`stick-table` types to store", STORED),
        _expressions(),
        _section("`tcp-check` steps", STEPS),
        _section("`tcp-check connect` options", CONNECT),
        _section("`tcp-check expect` options and matches", EXPECT),
        _section("`stats` options", STATS),
        _section("`log` options", LOG_OPTIONS),
        _logs(),
        _later_sections(),
    ]
    return "\n".join(parts)


def _section(title: str, table: Table[D], *, places: bool = False) -> str:
    rows = [row for row in table if row.priority]
    head = ("keyword", "arguments", *(("in",) if places else ()), "meaning", "default")
    supported = (_row(row, places) for row in rows if row.status is Status.SUPPORTED)
    lines = [f"## {title}", "", markdown.table(head, supported)]
    for status, words in (
        (Status.LATER, "Not supported yet (an error)"),
        (Status.HTTP, "HTTP only (ignored or refused as HAProxy does in TCP mode)"),
        (Status.REMOVED, "Removed from HAProxy (an error)"),
    ):
        names = [f"`{row.name}`" for row in rows if row.status is status]
        if names:
            lines += [f"{words}: {', '.join(names)}.", ""]
    return "\n".join(lines)


def _row(row: Keyword[D], places: bool) -> tuple[str, ...]:
    where = "".join(letter for place, letter in _LETTERS if row.places & place)
    return code(row.name), code(row.syntax), *((where,) if places else ()), row.doc, row.default


def _expressions() -> str:
    fetches = ((code(fetch.name + fetch.syntax), fetch.kind.value, _where(fetch)) for fetch in FETCHES.values())
    converters = ((code(item.name + item.syntax), item.gives.value, item.doc) for item in CONVERTERS.values())
    return "\n".join(
        [
            "## Expressions of `stick`, `balance hash`, `use_backend`, `use-server` and log formats",
            "",
            markdown.table(("fetch", "gives", "meaning"), fetches),
            markdown.table(("converter", "gives", "meaning"), converters),
        ]
    )


def _where(fetch: Fetch) -> str:
    return fetch.doc if fetch.since is Since.ACCEPT else f"{fetch.doc}; log formats only"


def _logs() -> str:
    facilities, levels = (", ".join(f"`{name}`" for name in names) for names in (FACILITIES, LEVELS))
    return (
        "Targets: `stdout`, `stderr`, `fd@<n>`, a UNIX path, `[udp@]<addr>[:<port>]` (port 514), "
        f"`tcp@<addr>[:<port>]`.\n\nFacilities: {facilities}.\n\nLevels: {levels}.\n"
    )


def _later_sections() -> str:
    names = ", ".join(f"`{name}`" for name in LATER_SECTIONS)
    return f"## Other sections\n\nNot supported yet (an error): {names}.\n"


if __name__ == "__main__":
    publish(render(), sys.argv[1:])
