"""The configurations of the demonstration: HAProxy's passive-FTP page moved to loopback, and what becomes of it."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

DATA_PORTS = (50000, 50010)
STICKINESS = ("    stick-table type ip size 100k expire 1h\n", "    stick on src\n")


@dataclass(frozen=True)
class Windows:
    """Where the second act can be looked at: the runtime API's socket, the web page, and IPv6 where there is any.

    `ipv6` is the control port on ::1, 0 for none; its data ports are the eleven after it.
    """

    socket: str
    web: str
    ipv6: int


def configuration(frontend: str, port: int, servers: Sequence[tuple[str, str]], log: str) -> str:
    """HAProxy's passive-FTP page with other addresses; new are `global`, `defaults` and the quicker check."""
    lines = "\n".join(f"    server {name} {host} check port {port} inter 500ms" for name, host in servers)
    low, high = DATA_PORTS
    return f"""\
global
    log {log} local0

defaults
    log global
    timeout connect 5s
    timeout client 1m
    timeout server 1m

frontend ftp_fe
    mode tcp
    option tcplog
    log global
    bind {frontend}:{port} name ftp-control
    bind {frontend}:{low}-{high} name ftp-data
    default_backend ftp_servers

backend ftp_servers
    mode tcp
    balance leastconn
    stick-table type ip size 100k expire 1h
    stick on src
{lines}
"""


def one_word_changed(page: str) -> str:
    """`mode ftp`, and the log lines that belong to it."""
    return page.replace("mode tcp", "mode ftp").replace("option tcplog", "option ftplog")


def without_stickiness(page: str) -> str:
    """`mode ftp` knows which connection belongs to which session, so nobody has to be kept on one server."""
    for line in STICKINESS:
        page = page.replace(line, "")
    return page


def with_windows(page: str, windows: Windows, servers: Sequence[tuple[str, str]], port: int) -> str:
    """The page with a runtime API, statistics on the web, and a door for IPv6 clients to the same servers."""
    page = page.replace("global\n", f"global\n    stats socket {windows.socket} mode 600 level admin\n", 1)
    page += f"\nfrontend statistics\n    mode http\n    bind {windows.web}\n    stats enable\n    stats uri /\n"
    if not windows.ipv6:
        return page
    low = windows.ipv6 + 1
    lines = "\n".join(f"    server {name} {host}:{port} check inter 500ms" for name, host in servers)
    return f"""\
{page}
listen ftp_ipv6
    mode ftp
    option ftplog
    bind [::1]:{windows.ipv6} name ftp-control
    bind [::1]:{low}-{low + DATA_PORTS[1] - DATA_PORTS[0]} name ftp-data
    balance leastconn
{lines}
"""


def changes(before: str, after: str) -> Iterator[str]:
    """The lines that differ, with `-` and `+` in front."""
    for line in difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm=""):
        if line[:1] in "+-" and line[:3] not in ("+++", "---") and line[1:].strip():
            yield line
