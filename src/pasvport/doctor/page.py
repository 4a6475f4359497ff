"""docs/doctor.md, written from the tables of rules: `python -m pasvport.doctor.page docs/doctor.md`."""

from __future__ import annotations

import sys
from typing import Any

from pasvport.doctor.diagnosis_data import DATA
from pasvport.doctor.diagnosis_door import DOOR
from pasvport.doctor.diagnosis_farm import FARM
from pasvport.doctor.reading import READABILITY
from pasvport.doctor.reading_conduct import CONDUCT
from pasvport.doctor.reading_persistence import PERSISTENCE
from pasvport.doctor.reading_ports import PORTS
from pasvport.doctor.rules import Rule
from pasvport.markdown import code, publish, table

_HEAD = """\
# Doctor

Generated from the tables of rules in `src/pasvport/doctor/` by `make docs`; do not edit.

`pasvport doctor` reads a configuration, HAProxy's recipes for FTP in `mode tcp` as well as `mode ftp`, visits the FTP
servers behind it, and says in plain words what is wrong or will be: the line, the reason, the fix.

```
pasvport doctor -f /etc/haproxy/haproxy.cfg
pasvport doctor -f site.cfg --user probe --password-env FTP_PASSWORD --public 203.0.113.7
pasvport doctor -f site.cfg --no-network --strict --json
```

| option | meaning |
|---|---|
| `-f FILE` | configuration file or directory; may be said again |
| `--user NAME` | log in to every server: only then are passive replies, data ports, \
listings and TLS session resumption seen |
| `--password-env NAME` | the environment variable with the password; without it a person at a terminal is \
asked. It is never shown |
| `--public ADDRESS` | an address by which clients reach the balancer, where NAT stands before it; may be said again |
| `--json` | one JSON object instead of text |
| `--strict` | warnings fail, too |
| `--no-network` | the text alone: no name is looked up, no server asked, nothing of this machine compared |
| `--timeout SECONDS` | for each answer (5); a session with a server is given up after ten times that |

Without `--user`, the user of `option ftp-check` is taken where there is one. Run it where the balancer runs, or will
run: what it can reach and which limits it sees are then the balancer's. It writes nothing on a server. Each server is
visited up to four times for a moment: in clear text, with AUTH TLS, with TLS 1.1 (to see whether it is still spoken),
and as the health check's user. It looks at servers directly, not through the balancer, which need not be running.

What HAProxy knows and pasvport does not is left out of the examination, and named (`unsupported`).

## Exit status

| status | meaning |
|---|---|
| 0 | no error; with `--strict`, no warning either |
| 1 | at least one error; with `--strict`, at least one error or warning |
| 64 | wrong usage, or a file that cannot be read |

An *error* makes sessions or transfers fail, or lets bytes reach the wrong client. A *warning* does so on some days: a
full table, a long transfer, a server that comes back. A *note* is worth knowing and never fails.

## In continuous integration

The text alone, before a change is merged (GitLab's words):

```yaml
doctor:
  script: pasvport doctor -f haproxy.cfg --no-network --strict
```

The whole farm, every night, from the balancer:

```sh
FTP_PASSWORD=... pasvport doctor -f /etc/haproxy/haproxy.cfg --user probe --password-env FTP_PASSWORD \\
    --json >doctor.json || {
    jq -r '.findings[] | select(.severity == "error") | "\\(.file):\\(.line): \\(.finding)"' doctor.json
    exit 1
}
```

## JSON

`version` (1), `files`, `summary` (`errors`, `warnings`, `notes`), `findings`, `servers` (what each visit saw), `unseen`
(what could not be examined, and why). A finding has `id`, `severity`, `file` and `line` (null where it is about none),
`subject`, `finding`, `why`, `fix`. Fields may be added; the ids below stay.
"""

_PARTS: tuple[tuple[str, tuple[Rule[Any], ...]], ...] = (
    ("Reading", READABILITY),
    ("Ports", PORTS),
    ("Which server a data connection reaches (`mode tcp`)", PERSISTENCE),
    ("Timeouts, checks, addresses, TLS in the text", CONDUCT),
    ("Servers: connecting, greeting, login", DOOR),
    ("Servers: passive replies and data connections", DATA),
    ("Servers: TLS, and what should be alike", FARM),
)


def render() -> str:
    """The whole page."""
    parts = [_HEAD, "## Findings\n"]
    for title, rules in _PARTS:
        parts += [f"### {title}\n", table(("id", "severity", "meaning", "why it breaks", "fix"), map(_row, rules))]
    return "\n".join(parts)


def _row(rule: Rule[Any]) -> tuple[str, ...]:
    return code(rule.id), rule.severity, rule.meaning, rule.why, rule.fix


if __name__ == "__main__":
    publish(render(), sys.argv[1:])
