"""The stats sockets: listening, clients, and one answer after the other.

A client costs a task and a buffer of its own, and no more: what it is sent is written piece by piece and waits for it,
what it sends is read when the answer before is out. One that does neither for `stats timeout` is closed. At most
`stats maxconn` are served at a time; the others wait in the kernel's queue.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from functools import partial

from pasvport import sockets
from pasvport.address import PortRange
from pasvport.control.api.commands import ERROR, INFO, Balancer, Client, Command, Refusal, Request, Severity
from pasvport.control.api.finding import find, suggestions
from pasvport.control.api.lines import Lines, TooLong, Typed
from pasvport.control.api.table import COMMANDS
from pasvport.errors import PasvportError, ResourceError
from pasvport.model import Bind, Global, Mode, Proxy, StatsSocket

_CHUNK = 16384
_PROMPT = "\n> "
_NO_HTTP = (
    "HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
    "This is a stats socket: it takes commands of the runtime API, and none in a request of HTTP.\n"
)
"""For a browser. A page of any site can make one send a form here, whose body would be commands."""
_RETRY = 0.1
"""Seconds until accepting is tried again when descriptors have run out."""


@dataclass(slots=True)
class Door:
    """A stats socket that is open, and those who came in by it."""

    told: StatsSocket
    listener: socket.socket
    room: asyncio.Semaphore
    accepting: asyncio.Task[None] | None = None

    async def shut(self) -> None:
        """Stop accepting, and close."""
        if self.accepting is not None:
            self.accepting.cancel()
            await asyncio.gather(self.accepting, return_exceptions=True)
        self.listener.close()


class RuntimeApi:
    """All stats sockets of the configuration in force. A service of the supervisor."""

    def __init__(self, balancer: Balancer) -> None:
        self._balancer = balancer
        self._doors: list[Door] = []
        self._clients: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(balancer.generation.settings.stats_maxconn)

    async def start(self) -> None:
        """Open what the configuration names. Raises ResourceError."""
        for told in self._settings.stats_sockets:
            self._open(told)

    async def reloaded(self) -> None:
        """Open what is new, close what is gone, keep the rest. Raises ResourceError for what cannot be opened."""
        self._room = asyncio.Semaphore(self._settings.stats_maxconn)
        wanted = {told.endpoint: told for told in self._settings.stats_sockets}
        for door in list(self._doors):
            told = wanted.pop(door.told.endpoint, None)
            if told is None:
                self._doors.remove(door)
                await door.shut()
            else:
                door.told = told
        failures = []
        for told in wanted.values():
            try:
                self._open(told)
            except ResourceError as error:
                failures.append(str(error))
        if failures:
            raise ResourceError("; ".join(failures))

    async def close(self) -> None:
        """Close every socket and every client."""
        for door in self._doors:
            await door.shut()
        self._doors.clear()
        for task in self._clients:
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    @property
    def _settings(self) -> Global:
        return self._balancer.generation.settings

    # --- doors ----------------------------------------------------------------------------------------------------

    def _open(self, told: StatsSocket) -> None:
        try:
            listener = _listen(told, self._settings)
        except ResourceError as error:
            raise ResourceError(f"Binding [{told.origin}] for frontend GLOBAL: {error} [{told.endpoint}]") from error
        door = Door(told, listener, asyncio.Semaphore(told.maxconn or self._settings.stats_maxconn))
        door.accepting = asyncio.get_running_loop().create_task(self._accept(door), name=f"stats {told.endpoint}")
        self._doors.append(door)

    async def _accept(self, door: Door) -> None:
        loop = asyncio.get_running_loop()
        while True:
            room = self._room
            async with contextlib.AsyncExitStack() as held:
                await held.enter_async_context(room)
                await held.enter_async_context(door.room)
                try:
                    connection, _ = await loop.sock_accept(door.listener)
                except OSError:
                    await asyncio.sleep(_RETRY)
                    continue
                task = loop.create_task(self._serve(door, connection, held.pop_all()), name="stats client")
                self._clients.add(task)
                task.add_done_callback(self._clients.discard)
                # A task that is called off before its first step runs no code of its own.
                task.add_done_callback(partial(_let_go, connection))

    async def _serve(self, door: Door, connection: socket.socket, held: contextlib.AsyncExitStack) -> None:
        async with held:
            with connection:
                connection.setblocking(False)
                patience = self._settings.stats_timeout / 1000
                client = Client(door.told, door.told.level, patience, connection=connection)
                client.severity = Severity(door.told.severity_output)
                with contextlib.suppress(OSError, TimeoutError, TooLong):
                    await Conversation(self._balancer, client, connection).run()


def _let_go(connection: socket.socket, _task: asyncio.Task[None]) -> None:
    connection.close()


def _listen(told: StatsSocket, settings: Global) -> socket.socket:
    """Opened as the port of a frontend would be."""
    port = told.endpoint.port
    bind = Bind(told.origin, told.endpoint, PortRange(port, port), permissions=told.permissions)
    proxy = Proxy(told.origin, "GLOBAL", -1, 1, is_frontend=True, is_backend=False, mode=Mode.TCP)
    return sockets.listen(bind, port, proxy, settings, reuse=True)


class Conversation:
    """One client from its first line to its last answer."""

    def __init__(self, balancer: Balancer, client: Client, connection: socket.socket) -> None:
        self._balancer = balancer
        self._client = client
        self._connection = connection
        self._lines = Lines()
        self._loop = asyncio.get_running_loop()

    async def run(self) -> None:
        """Until the client leaves, or has its answer and did not ask for a prompt.

        Raises OSError, TimeoutError and TooLong, all of which mean that the client is done with.
        """
        is_first = True
        while not self._client.leaving:
            if is_first and self._lines.is_http:
                await self._send(_NO_HTTP)
                break
            line = self._lines.take()
            if line is None:
                if not await self._read():
                    break
                continue
            is_first = False
            if self._lines.in_payload:
                await self._send("+ " if self._client.interactive else "")
            for typed in line:
                await self._answer(typed)
            if line and not self._client.interactive and not self._lines.has_line:
                return

    async def _read(self) -> bool:
        """False at the client's end."""
        async with asyncio.timeout(self._client.timeout):
            data = await self._loop.sock_recv(self._connection, _CHUNK)
        self._lines.feed(data)
        return bool(data)

    async def _send(self, text: str) -> None:
        data = memoryview(text.encode("utf-8", "surrogateescape"))
        for start in range(0, len(data), _CHUNK):
            async with asyncio.timeout(self._client.timeout):
                await self._loop.sock_sendall(self._connection, data[start : start + _CHUNK])
            # A client that reads as fast as we write must not keep the loop from everybody else.
            await asyncio.sleep(0)

    async def _answer(self, typed: Typed) -> None:
        if self._client.leaving:
            return
        async with contextlib.aclosing(self._pieces(typed)) as pieces:
            async for piece in pieces:
                await self._send(piece)
        if not self._client.leaving:
            await self._send(_PROMPT if self._client.interactive else "\n")

    async def _pieces(self, typed: Typed) -> AsyncGenerator[str, None]:
        client, command = self._client, find(COMMANDS, typed.words)
        if command is None:
            yield client.remark(INFO, suggestions(COMMANDS, typed.words))
            return
        if not client.may(command.level):
            yield client.remark(ERROR, "Permission denied")
            return
        try:
            async with contextlib.aclosing(_together(command, self._request(command, typed))) as pieces:
                async for piece in pieces:
                    yield piece
        except Refusal as refusal:
            yield client.remark(refusal.level, refusal.text)
        except PasvportError as error:
            yield client.remark(ERROR, str(error))
        except (OSError, TimeoutError):
            raise
        except Exception as error:
            # One command is lost, and its client reads why; nobody else is harmed.
            self._balancer.generation.alert(f"internal error: {command.name}: {error!r}")
            yield client.remark(ERROR, f"internal error: {error!r}")

    def _request(self, command: Command, typed: Typed) -> Request:
        arguments = typed.words[len(command.words) :]
        return Request(self._balancer, self._client, typed.words, arguments, typed.payload, COMMANDS)


async def _together(command: Command, request: Request) -> AsyncGenerator[str, None]:
    """Small pieces put together, so that an answer of many lines is not as many system calls."""
    waiting: list[str] = []
    size = 0
    async for piece in command.run(request):
        waiting.append(piece)
        size += len(piece)
        if size >= _CHUNK:
            yield "".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield "".join(waiting)
