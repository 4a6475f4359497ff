"""docs/runtime-api.md, from the table of commands: `python -m pasvport.control.api.page docs/runtime-api.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from pasvport.control.api.commands import Command
from pasvport.control.api.lines import MOST_BYTES
from pasvport.control.api.table import COMMANDS
from pasvport.exposition.fields import Field
from pasvport.exposition.info_fields import INFO_FIELDS
from pasvport.exposition.stat_fields import MODULE_FIELDS, STATIC_FIELDS
from pasvport.markdown import code, publish, table

_INTRODUCTION = f"""# Runtime API

This page is generated from the tables in `src/pasvport/control/api` and `src/pasvport/exposition` by `make docs`.

`stats socket` in the global section opens a socket on which a running pasvport is looked at and changed, with HAProxy's
commands, columns and texts:

```haproxy
global
    stats socket /run/pasvport/admin.sock mode 660 level admin
    stats socket ipv4@127.0.0.1:9999 level user
    stats timeout 30s
```

```sh
pasvport ctl -s /run/pasvport/admin.sock show stat
```

`pasvport ctl` waits for the whole answer, and tells refusals by its status ([command-line.md](command-line.md)); with
the configuration at `/etc/pasvport/pasvport.cfg` it needs no `-s`. Whoever uses `socat` needs its `-t`: it leaves half
a second after its input has ended, whether or not the answer was whole.

## Talking to it

- One line is a request; `;` separates commands in it, `\\` takes the meaning from the character after it.
- Every answer ends with an empty line. Orders that are followed are answered with nothing else.
- After the answers to what was sent the connection is closed, unless `prompt` was among it: then `> ` asks for more.
- A line that ends in ` <<` is followed by a payload, up to an empty line. Line and payload are {MOST_BYTES // 1024} KiB
  at most.
- A client that neither writes nor reads for `stats timeout` is closed. `stats maxconn` of them are served at a time,
  the others wait. What one does is nothing to the others, nor to the sessions that are relayed.
- A client that begins with a request of HTTP is told so and closed: a page of any site can make a browser send a form
  to a TCP socket, whose body would be commands.
- `level` of the socket decides what its clients may do: `user` may look at what is no secret, `operator` at all and
  change tables and sessions, `admin` change everything. A client may lower its own level.
- Servers, backends and frontends are named, or given as `#` and their number.
- A reload keeps servers' states, weights and `maxconn`; other orders last until then ([reload.md](reload.md)).

## Where HAProxy's answers differ

- `Name` of `show info` is HAProxy's, because clients ask for it before they go on; `Version` is that of the HAProxy
  whose interface this is, followed by pasvport's own.
- Messages of HAProxy 2.6 that lack the line feed at their end have it.
- `help` leaves out what the level does not allow. The commands next to an unknown one are chosen by another measure.
- A range of ports is one listener in `show stat`. Bytes count when a session ends, or with `option contstats` every
  five seconds. Averages are over the last 512 sessions of each worker and survive `clear counters`.
- After the separator `-` come the columns of `mode ftp`, where HAProxy has those of TLS and HTTP.
- A port that is too large is refused, where HAProxy takes its last sixteen bits.
- `set maxconn` is refused where the configuration has no limit of that kind: then nothing counts those connections.
- `add server` and `del server` take as long as a reload: workers of a new generation start
  ([reload.md](reload.md#servers-at-run-time)). A host name is looked up at once, and one that is unknown is refused.
  While a server is in maintenance its checks pause, also those of an added one.
- There are no commands about event sinks, maps, ACLs, certificates, resolvers, peers, nor about HAProxy's own inside.
"""


def render(commands: Iterable[Command] = COMMANDS) -> str:
    """The whole page."""
    listed = sorted((command for command in commands if not command.hidden), key=lambda command: command.name)
    parts = [
        _INTRODUCTION,
        "## Commands\n",
        table(("command", "level", "what it does"), map(_row, listed)),
        "### Details\n",
        *(f"**`{command.syntax}`**: {command.detail}\n" for command in listed if command.detail),
        _fields("Columns of `show stat`", STATIC_FIELDS),
        "After the separator `-`, in `mode ftp`:\n",
        _fields("", MODULE_FIELDS),
        _fields("Fields of `show info`", INFO_FIELDS),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _row(command: Command) -> tuple[str, ...]:
    return code(command.syntax), command.level, command.doc


def _fields(title: str, fields: Iterable[Field]) -> str:
    rows = ((str(field.position), code(field.name), field.tags, field.kind, field.doc) for field in fields)
    heading = f"\n## {title}\n\n" if title else ""
    return heading + table(("number", "field", "tags", "type", "meaning"), rows)


if __name__ == "__main__":
    publish(render(), sys.argv[1:])
