"""Child process: TCP servers that say their name to whoever connects. argv[1] is JSON: [[name, host, [ports]], ...].

A client that sends FLOOD is answered with a megabyte, PING with PONG; everything else is read and thrown away.
"""

from __future__ import annotations

import asyncio
import json
import sys

FLOOD = bytes(1 << 20)


class Who(asyncio.Protocol):
    """Says its name, then listens until the client closes."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._name.encode() + b"\n")

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        if data.startswith(b"FLOOD"):
            self._transport.write(FLOOD)
        elif data.startswith(b"PING"):
            self._transport.write(b"PONG")


async def serve() -> None:
    loop = asyncio.get_running_loop()
    for name, host, ports in json.loads(sys.argv[1]):
        for port in ports:
            await loop.create_server(lambda name=name: Who(name), host, port, backlog=4096)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve())
