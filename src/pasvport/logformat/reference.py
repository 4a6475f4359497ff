"""docs/logging.md, written from the tables: what a log format may say, and how a line is framed."""

from __future__ import annotations

from pasvport.logformat import ftp_reference
from pasvport.logformat.aliases import ALIASES, EMPTY_ALIASES, HTTP_ALIASES, Alias
from pasvport.logformat.facts import FTP_FACTS, TRANSFER_FACTS
from pasvport.logformat.fetches import FETCHES
from pasvport.logformat.items import Kind
from pasvport.logformat.renderer import (
    CONNECT_FORMAT,
    FTP_TRANSFER_FORMAT,
    FTPLOG_FORMAT,
    TCPLOG_FORMAT,
)
from pasvport.logformat.syslog import FACILITIES, LEVELS
from pasvport.logformat.tables import names, table
from pasvport.sample.converters import CONVERTERS

_INTRODUCTION = f"""# Logging

This page is generated from the tables in `src/pasvport/logformat`; `python -m pytest tests/logs` says when it is stale.

## When a line is written

| frontend has | line | when |
|---|---|---|
| no format | `{CONNECT_FORMAT}` | at accept |
| `option tcplog` | `{TCPLOG_FORMAT}` | when the session ends |
| `option ftplog` (`mode ftp`) | `{FTPLOG_FORMAT}` | when the session ends |
| | `{FTP_TRANSFER_FORMAT}` | when a transfer ends |
| `log-format-transfer` (`mode ftp`) | that format | when a transfer ends |
| `log-format` with a figure of the end | that format | when the session ends |
| `log-format` without one, or `option logasap` | that format; growing figures get a `+` | once connected |

`option dontlognull` leaves out sessions whose **client** sent nothing, as HAProxy does: a passive-FTP download's data
connection is such a session. `option dontlog-normal` leaves out, and `option log-separate-errors` raises to level
`err` all but, sessions whose termination state begins with `-` (without retries) or `L`, not redispatched. Of transfers
the normal ones are those that are complete, whose client was told so; `option dontlognull` leaves none out, since
somebody asked for them. A session in `mode ftp` that ends before its login, or is blind, has its line as any other.

`error-log-format` is read and checked, and writes nothing: in HAProxy it is the line of a connection whose TLS
handshake or PROXY header failed before there was a session, and pasvport has neither yet.

A target that is slow or gone never slows a session: what cannot be sent at once, or exceeds a stream's backlog of
1 MiB, is dropped, counted, and said (`N log lines dropped`, and why where that is known) on stderr and to the
target when it works again.

## Log formats

An item is `%FLAGSalias` or `%FLAGS[fetch(args),converter(args)]`, where FLAGS is nothing or
`{{+Q,-E,...}}`; `%%` is a percent sign. Runs of blanks become one. Flags: `Q` quotes, `E` puts a backslash before
`"`, `\\` and `]`, `X` writes addresses, ports and some numbers in hexadecimal; `%{{+Q}}o` changes them for all that
follows. An empty value is `-`, or `""` when quoted. Control characters and non-ASCII bytes of a
value are written `#XX`. In `mode ftp`, where values are a client's own words, so are `"` and `#` in the aliases and
fetches of FTP: a quoted field ends at the next quote.
"""

_FRAMES = """## Frames

| `format` | before the message |
|---|---|
| `local` (default) | `<134>Nov 23 01:22:41 TAG[PID]: ` |
| `rfc3164` (default with `log-send-hostname`) | `<134>Nov 23 01:22:41 HOST TAG[PID]: ` |
| `rfc5424` | `<134>1 2026-11-23T01:22:41.701826+00:00 HOST TAG PID - SD ` |
| `priority` | `<134>` |
| `short` | `<6>` |
| `timed` | `<6>2026-11-23T01:22:41.701834+00:00 ` |
| `iso` | `2026-11-23T01:22:41.701834+00:00 ` |
| `raw` | nothing |
| `json` (not in HAProxy) | an object instead of the message, see below |

Every line, frame included, is cut to the target's `len` and ended by LF, over UDP and over TCP (where HAProxy 2.6
does not cut). Structured data
(`log-format-sd`) that would not fit is left out as a whole (`-`), so that the message remains valid; HAProxy leaves out
the message too.
"""


def render_reference() -> str:
    """The whole page, in Markdown."""
    fetches = ((f"`{fetch.name}{fetch.syntax}`", fetch.doc) for fetch in FETCHES.values() if fetch.name not in _OF_FTP)
    parts = (
        _INTRODUCTION,
        table("Aliases", ("alias", "meaning", "flags", "known"), map(_alias_row, _sorted_aliases())),
        f"Printed as nothing (captures): {names(EMPTY_ALIASES, '%')}.",
        f"Refused, of HTTP: {names(HTTP_ALIASES, '%')}.\n",
        table("Fetches", ("fetch", "meaning"), fetches),
        f"Converters: {names(CONVERTERS, '')}.\n",
        ftp_reference.render_facts(),
        _FRAMES,
        f"Facilities, 0 to 23: {' '.join(f'`{name}`' for name in FACILITIES)}.\n",
        f"Levels, 0 to 7: {' '.join(f'`{name}`' for name in LEVELS)}.\n",
        ftp_reference.render_json(),
        ftp_reference.render_xferlog(),
    )
    return "\n".join(parts)


def _sorted_aliases() -> list[Alias]:
    shown = (alias for alias in ALIASES.values() if alias.name not in _OF_FTP)
    return sorted(shown, key=lambda alias: (alias.name.lower(), alias.name))


def _alias_row(alias: Alias) -> tuple[str, ...]:
    return f"`%{alias.name}`", alias.meaning, _FLAGS[alias.kind], "at the end" if alias.final else "once connected"


_OF_FTP = {name for fact in (*FTP_FACTS, *TRANSFER_FACTS) for name in (fact.alias, fact.fetch)}
_FLAGS = {
    Kind.TEXT: "Q E",
    Kind.ADDRESS: "Q E X",
    Kind.PORT: "X",
    Kind.CLIENT_PORT: "X",
    Kind.NUMBER: "",
    Kind.HEX2: "X",
    Kind.HEX4: "X",
    Kind.VERBATIM: "",
}
