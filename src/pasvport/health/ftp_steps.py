"""The steps of `option ftp-check`, as a table: what is sent, what is accepted, and what each failure's text means.

The table gives the dialogue its numbers and names, and is where docs/ftp-check.md comes from.
Sources: RFC 959 sections 4.2 and 5.4, RFC 2428 (EPSV), RFC 2389 (FEAT).
"""

from __future__ import annotations

import sys
from enum import IntEnum
from typing import NamedTuple

from pasvport.markdown import publish

MOST_DATA = 4 << 20
"""Bytes of a transfer after which it counts as good and is ended with ABOR."""
MOST_CONTROL = 256 << 10
"""Bytes of replies in one check."""
MOST_REPLY = 64 << 10
STEP_WAIT = 3000
"""Milliseconds, and a quarter of the check's time at most, for the answer to PASV or EPSV, and for its port to open,
while the other command is left to try."""
LULL = 500
"""Milliseconds of silence after which a reply has ended that some clients would take for ended."""
MOST_LULLS = 8
"""In one check: each begins the deadline anew."""
LAST_WORD = 1000
"""Milliseconds that 221 may take; a check is not failed by a lost one."""


class FtpStep(IntEnum):
    """Where a check is. The number is the one that its texts name."""

    CONNECT = 0
    BANNER = 1
    USER = 2
    PASS = 3
    FEAT = 4
    TYPE = 5
    PASSIVE = 6
    DATA = 7
    BEGIN = 8
    TRANSFER = 9
    QUIT = 10


class Row(NamedTuple):
    """One step: its `name` in texts, what we send, the codes that pass, and what its failures tell the operator."""

    name: str
    sends: str
    passes: str
    meaning: str


STEPS = {
    FtpStep.CONNECT: Row(
        "connect",
        "",
        "",
        "Nobody accepts at the checked address and port (`L4CON`: refused or unreachable, `L4TOUT`: no answer).",
    ),
    FtpStep.BANNER: Row(
        "banner",
        "",
        "2xx, 3xx",
        "The server is reachable but does not serve: 421 (too many users, shutting down), and 120 (ready in some "
        "minutes) with no greeting behind it, count as not ready, silence as a timeout.",
    ),
    FtpStep.USER: Row("USER", "USER", "2xx, 3xx but 332", "The probe's user is refused, or its host is."),
    FtpStep.PASS: Row(
        "PASS",
        "PASS, after 3xx",
        "2xx",
        "The password is wrong, or the server's own source of users is away. 332 (an account is wanted) cannot be "
        "served.",
    ),
    FtpStep.FEAT: Row(
        "FEAT",
        "FEAT",
        "any but 421",
        "The server hangs or hangs up here. A refusal means that it has no feature to list, and passes.",
    ),
    FtpStep.TYPE: Row(
        "TYPE",
        "TYPE A to list, TYPE I to retrieve",
        "2xx; any but 421 where neither `list` nor `retr` was said",
        "Rare: a server that knows no types.",
    ),
    FtpStep.PASSIVE: Row(
        "PASV or EPSV",
        "PASV or EPSV",
        "227, 229, or another 2xx with a port",
        "The server cannot open a data port, whichever way it is asked: its range is used up (425), or neither command "
        "is supported.",
    ),
    FtpStep.DATA: Row(
        "data connection",
        "",
        "",
        "The data port that the reply named cannot be reached (`L4CON`, `L4TOUT`): a firewall between balancer and "
        "server, or a server behind an address translation that names ports which are not forwarded. So it is after "
        "either command.",
    ),
    FtpStep.BEGIN: Row(
        "LIST or RETR",
        "LIST or RETR",
        "1xx; 2xx at once; where neither `list` nor `retr` was said also 4xx and 5xx other than 421, 425, "
        "426, 530, 532: the data connection stood",
        "The file is missing or may not be read (550), or the server does not see the data connection (425).",
    ),
    FtpStep.TRANSFER: Row(
        "transfer",
        "",
        "2xx",
        "The transfer stalled or broke (426, 451), or the server never closed its data connection, or never said how "
        "the transfer ended.",
    ),
    FtpStep.QUIT: Row("QUIT", "QUIT", "any", "Nothing fails here: the result is known, we are polite."),
}

_TEXTS = (
    ("`not ready`", "`L7STS`", "421 at any step, or 120 and no greeting behind it"),
    ("`refused`", "`L7STS`", "a 4xx or 5xx reply"),
    ("`unexpected reply`", "`L7STS`", "a reply that does not belong there"),
    ("`no connection`", "`L4TOUT`", "time was up before a connection was established (steps 0 and 7)"),
    ("`Connection refused` and the like", "`L4CON`", "the operating system's words (steps 0 and 7)"),
    ("`no answer`", "`L7TOUT`", "time was up before the reply came"),
    ("`no end of data`", "`L7TOUT`", "time was up, the reply had come, the data connection was still open"),
    ("`connection closed`", "`L7RSP`", "the server hung up without 421"),
    ("`Connection reset by peer` and the like", "`SOCKERR`", "a connection broke after it was established"),
    ("`not a reply`, `reply too long`, `too many replies`, `no address in the reply to PASV`, "
     "`no port in the reply to EPSV`", "`L7RSP`", "the server does not speak FTP, or not well enough"),
)  # fmt: skip

_HEAD = f"""\
# option ftp-check: what its results mean

`option ftp-check [user U password P] [passive|epsv] [list|retr PATH]`

Without a user, a check connects, waits for the banner and leaves with QUIT. With one it logs in; with `passive`,
`epsv`, `list` or `retr` it also opens a data connection and transfers something: the listing of the directory it
finds itself in, or what `list PATH` or `retr PATH` name. With all but `epsv`, a server is up if a client in `mode
ftp` can get a data connection: it is asked with PASV, and with EPSV where PASV is refused, answered oddly, not
answered, answered with the end of the control connection (the check then logs in again), or names a port that does
not open. `epsv` tests EPSV alone. `option ftp-passive` (or `ftp-passive` of a server) fixes the way for `passive`,
`list` and `retr` as it does for clients. Servers at IPv6 addresses are asked with EPSV only.

- The data connection goes to the address that is checked, whatever address the server's reply names: that is what
  `mode ftp` does too. In `mode tcp`, clients follow the reply; its address is not tested.
- What is transferred is read to its end and thrown away. After {MOST_DATA >> 20} MiB the transfer counts as good and is
  ended with ABOR; still, give the probe a small file or an empty directory.
- Time: `inter` covers everything, or with `timeout check`, that much from the established control connection on,
  data connection and transfer included. Waiting for 221 may take one second more.
- While the other command is left to try, the answer to the first, and its port, may each take
  {STEP_WAIT // 1000} s or a quarter of that time, whichever is less. A late answer is told from the later one.
- Replies are read as `mode ftp` reads them: what curl, wget, lftp or ftplib can read passes, bare text and odd line
  ends included.
- The code of the last reply is the check's code (`code: 530` in messages, `check_code` in statistics).
- The password never appears in a text, not even where a server's reply repeats it.
- FEAT is asked so that the balancer learns what all servers of a backend can do; see `mode ftp`.

## Steps

A text reads `ftp-check: WHAT at step N (NAME)`, followed by `: ` and the reply's last line where there was a reply:
`ftp-check: refused at step 3 (PASS): 530 Login incorrect.`

| N | name | we send | passes | what a failure here means |
|---|---|---|---|---|
"""


def rendered_page() -> str:
    """docs/ftp-check.md."""
    steps = [f"| {step} | {' | '.join(STEPS[step])} |" for step in FtpStep]
    texts = [f"| {' | '.join(row)} |" for row in _TEXTS]
    lines = (
        *steps,
        "",
        "## Texts",
        "",
        "| WHAT | status | when |",
        "|---|---|---|",
        *texts,
    )
    return _HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    publish(rendered_page(), sys.argv[1:])
