"""Commands about the process: another configuration, and the listening sockets for the next process."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import AsyncIterator

from pasvport.control import handover
from pasvport.control.api.commands import Command, Request
from pasvport.model import StatsLevel

_CREDENTIALS = struct.Struct("=3i")


async def _give_sockets(request: Request) -> AsyncIterator[str]:
    """Nothing but sockets goes over the connection; whoever may not have them sees it closed, as with HAProxy."""
    client, ports = request.client, request.generation.ports
    client.leaving = True
    channel = client.connection
    if channel is not None and channel.family == socket.AF_UNIX and client.socket.expose_listeners:
        # A taker that goes away is one that takes nothing.
        with contextlib.suppress(OSError, TimeoutError):
            ports.taker_keeps_all = await handover.give(channel, ports.exposed())
            credentials = channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            ports.taker = _CREDENTIALS.unpack(credentials)[0]
    return
    yield ""


async def _reload(request: Request) -> AsyncIterator[str]:
    complaints = await request.balancer.reload()
    yield f"Success={0 if complaints else 1}\n"
    if complaints:
        yield "--\n" + "".join(f"{complaint}\n" for complaint in complaints)


PROCESS_COMMANDS = (
    Command(
        "reload",
        "",
        "read the configuration again and serve it",
        _reload,
        StatsLevel.ADMIN,
        detail="`Success=1`; or `Success=0`, `--` and what is wrong, and the configuration in force stays. HAProxy has "
        "it on its master's socket. See [reload.md](reload.md).",
    ),
    Command(
        "_getsocks",
        "",
        "Hand the listening sockets over to another process (`-x`); needs `expose-fd listeners`.",
        _give_sockets,
        detail="HAProxy's own dialogue, in both directions: a HAProxy can take over from pasvport.",
        hidden=True,
    ),
)
