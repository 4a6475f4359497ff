"""The parts of docs/logging.md on `mode ftp`, on JSON and on the xferlog. Examples are what the code writes."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from pasvport.logformat.dates import local_date, utc_date, xferlog_date
from pasvport.logformat.facts import FTP_FACTS, IDENTITY_FACTS, SESSION_FACTS, TRANSFER_FACTS, Fact, Sort
from pasvport.logformat.json_lines import Event, Fields, iso_moment, message_fields, session_fields, transfer_fields
from pasvport.logformat.renderer import FTP_TRANSFER_FORMAT, FTPLOG_FORMAT, compile_format
from pasvport.logformat.tables import table
from pasvport.logformat.xferlog import xferlog_line
from pasvport.record import DataEnding, DataMode, Direction, FtpSessionRecord, SessionRecord, TransferRecord

_FACTS = """## FTP

Of a session in `mode ftp` and, on its line, of a transfer. On lines that know nothing of it (a session in `mode tcp`,
a transfer's facts on the session's line) an item is `-`. All are known at the end only.

A session and one of its transfers, as `option ftplog` writes them:

```
%s
%s
```
"""

_JSON = """## JSON

`log ADDRESS format json ...` writes one object a message, on one line ended by LF, over every transport. A `log-format`
decides when it is written, not what it holds. Keys are always there; what is absent, unknown or not reached is
`null`. Times are milliseconds, dates ISO 8601 with milliseconds and zone. Only ASCII is written (`\\uXXXX`). Bytes that
a client sent (user, path ...) are text if they are UTF-8; if not, each byte is the character of its number, and a key
`NAME_encoding` with the value `latin-1` stands before it: `value.encode("latin-1")` gives the bytes back.

The longest object is `len` bytes, by default 8192 here. Of one that is longer, keys that do not fit are left out,
text is cut, and `"truncated":true` is its last key, so that every line parses. Passwords are in no record, hence in no
line.

Every object begins with `type` (`session`, `transfer` or `message`), `time`, `severity`, `facility`, `host`, `process`
(the `log-tag`) and `pid`. A `session` has an `event`: `accepted` (no format), `connected` (`option logasap`, or a
format without a figure of the end) or `ended`. A `message` of the process has its text as `message`. One of each, less
these first keys and spread over lines here:

```json
%s
%s
%s
```
"""

_XFERLOG = """## xferlog

`option ftp-xferlog FILE` appends one line for each file transferred or begun (`RETR` `STOR` `APPE` `STOU`; no
listings), as wu-ftpd, vsftpd and ProFTPD do:

```
%s
```

| field | here |
|---|---|
| current-time | end of the transfer, local, as ctime(3) writes it: five fields |
| transfer-time | whole seconds, 1 at least |
| remote-host | the client's address |
| file-size | bytes moved |
| filename | the command's argument (a server writes the absolute path); blanks and controls are `_`; none: `-` |
| transfer-type | `a` or `b` |
| special-action-flag | `_` |
| direction | `o` to the client, `i` from it (deleting, `d`, moves nothing and is not written) |
| access-mode | `a` for the users `anonymous` and `ftp`, else `r`; who is a guest (`g`) only the server knows |
| username | the user name, never a password; blanks and controls are `_`; none: `?` |
| service-name, authentication-method, authenticated-user-id | `ftp 0 *` |
| completion-status | `c` when the client was told of a complete transfer, else `i` (refused too, as in vsftpd) |

The supervisor writes it, so a worker's chroot and user do not matter. The file is created with mode 0640, opened to
append, and opened anew when another (or none) has taken its name: rotate by renaming, no signal is needed;
`copytruncate` works too. When it cannot be written, lines wait in a backlog of 1 MiB; what exceeds it is dropped and
counted. The beginning and the end of that are said once each, on stderr and to the global log targets.
"""

_TRANSFER = TransferRecord(
    2,
    "RETR",
    b"pub/M\xc3\xa4rz 2026.tar",
    Direction.DOWNLOAD,
    user=b"alice",
    server="ftp1",
    data_type="I",
    size=1048576,
    client_mode=DataMode.EPSV,
    server_mode=DataMode.PASV,
    port=50007,
    code=226,
    server_code=226,
    ending=DataEnding.COMPLETE,
    peer="192.0.2.7",
    started=1795404665.25,
    client_wait=3,
    connect_time=1,
    duration=843,
)
_FTP = FtpSessionRecord(
    b"alice", logged_in=True, server="ftp1", commands=12, transfers=2, bytes_out=1049210, reason="QUIT"
)
_SESSION = SessionRecord(
    accepted=1795404661.008,
    client_address="192.0.2.7",
    client_port="50312",
    frontend_address="198.51.100.1",
    frontend_port="21",
    frontend="ftp_fe",
    listener="ftp-control",
    backend="ftp_servers",
    server="ftp1",
    source_address="10.0.0.1",
    source_port="41022",
    server_address="10.0.0.11",
    server_port="21",
    queue_time=0,
    connect_time=1,
    data_time=9231,
    total_time=9232,
    bytes_in=131,
    bytes_out=1050112,
    process_connections=3,
    frontend_connections=3,
    backend_connections=2,
    server_connections=1,
    session_number=17,
    ftp=_FTP,
    transfer=_TRANSFER,
)


def render_facts() -> str:
    """The tables of FTP's aliases and fetches."""
    session, transfer = (compile_format(text)(_SESSION) for text in (FTPLOG_FORMAT, FTP_TRANSFER_FORMAT))
    head = ("alias", "fetch", "meaning", "value")
    parts = (
        _FACTS % (_anywhere(session), _anywhere(transfer)),
        table("FTP sessions", head, map(_row, FTP_FACTS), 3),
        table("Transfers", head, map(_row, TRANSFER_FACTS), 3),
    )
    return "\n".join(parts)


def render_json() -> str:
    """What a JSON line holds."""
    lines = (session_fields(_SESSION, Event.ENDED), transfer_fields(_SESSION), message_fields(b"Proxy ftp_fe started."))
    rows = (_key(fact, where) for facts, where in _WHERE for fact in facts)
    page = _JSON % tuple(_anywhere(_spread(fields)) for fields in lines)
    return page + "\n" + table("Keys", ("key", "value", "meaning", "type"), rows, 3)


def render_xferlog() -> str:
    """The xferlog's fields."""
    return _XFERLOG % _anywhere(xferlog_line(_SESSION, _SESSION.accepted).decode().rstrip())


def _row(fact: Fact) -> tuple[str, ...]:
    return f"`%{fact.alias}`", f"`%[{fact.fetch}]`", fact.meaning, str(fact.sort)


def _key(fact: Fact, where: str) -> tuple[str, ...]:
    return f"`{fact.key}`", _SORTS[fact.sort], fact.meaning, where


def _anywhere(text: str) -> str:
    """The page is the same in every time zone: local dates become those of UTC."""
    for moment in (_SESSION.accepted, _TRANSFER.started):
        second = int(moment)
        utc = datetime.fromtimestamp(second, UTC)
        text = text.replace(local_date(second), utc_date(second).split()[0])
        text = text.replace(
            iso_moment(moment), utc.strftime(f"%Y-%m-%dT%H:%M:%S.{int(moment * 1000) % 1000:03d}+00:00")
        )
        text = text.replace(xferlog_date(second), utc.ctime())
    return text


def _spread(fields: Fields) -> str:
    pieces = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in fields.items()]
    rows = (", ".join(pieces[place : place + 5]) for place in range(0, len(pieces), 5))
    return "{" + ",\n  ".join(rows) + "}"


_WHERE = (
    (IDENTITY_FACTS, "session, transfer"),
    (SESSION_FACTS, "session"),
    (FTP_FACTS, "session in `mode ftp`"),
    (TRANSFER_FACTS, "transfer"),
)
_SORTS = {
    Sort.TEXT: "string",
    Sort.FOREIGN: "string",
    Sort.NUMBER: "number",
    Sort.FLAG: "true or false",
    Sort.DATE: "date",
}
