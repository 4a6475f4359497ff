"""FTP sessions without a pause, in one thread, for tests that change the balancer underneath: every fault is kept.

Two servers have the same ports on addresses of their own; each has files of its own, so that a data connection which
reaches another server than its control connection shows.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import threading

NAMES = {"a": "127.0.81.1", "b": "127.0.81.2"}
HOSTS = ("127.0.0.1", *NAMES.values())
"""Where a range of data ports must be free: before and behind the balancer."""
STICKY = """
    balance roundrobin
    stick-table type ip size 10k expire 30m
    stick on src
"""
_CHUNK = 1 << 16
_PATIENCE = 20.0


def content(server, size):
    """What `server` sends for a file of that many bytes."""
    block = hashlib.sha256(server.encode()).digest() * (_CHUNK // 32)
    return (block * (size // _CHUNK + 1))[:size]


def configuration(control, low, high, *, settings="", backend=STICKY, binds="", address="127.0.0.1", servers=NAMES):
    """The frontend on `control` and the range, in front of the servers."""
    lines = "".join(f"    server {name} {host}\n" for name, host in servers.items())
    return f"""
global
    nbthread 2
{settings}
defaults
    mode tcp
    timeout client 60s
    timeout server 60s
    timeout connect 5s
frontend fe
    bind {address}:{control}
    bind {address}:{low}-{high}
{binds}    default_backend be
backend be
{backend}{lines}"""


class _Server:
    """The least of an FTP server: PASV, RETR SIZE, QUIT. Each data connection comes on the next port of the range."""

    def __init__(self, name, ports):
        self.name = name
        self.waiting = {port: asyncio.Queue() for port in ports}
        self._next = itertools.cycle(ports)

    async def serve(self, control):
        host = NAMES[self.name]
        listening = [await asyncio.start_server(self._control, host, control, backlog=512)]
        for port in self.waiting:
            queue = self.waiting[port]
            listening.append(await asyncio.start_server(lambda r, w, queue=queue: queue.put((r, w)), host, port))
        return listening

    async def _control(self, reader, writer):
        try:
            await self._obey(reader, writer)
        except OSError:
            return
        finally:
            await _close(writer)

    async def _obey(self, reader, writer):
        writer.write(f"220 {self.name}\r\n".encode())
        port = 0
        while line := (await reader.readline()).decode().split():
            if line[0] == "PASV":
                port = next(self._next)
                writer.write(f"227 ok ({port})\r\n".encode())
            elif line[0] == "RETR":
                await self._send(port, int(line[1]))
                writer.write(b"226 done\r\n")
            else:
                writer.write(b"221 bye\r\n")
                return

    async def _send(self, port, size):
        _, data = await asyncio.wait_for(self.waiting[port].get(), 20)
        try:
            data.write(content(self.name, size))
            await data.drain()
        finally:
            await _close(data)


class FtpLoad:
    """`visitors` clients that have short sessions, and `holders` that stay and transfer again and again,
    `stay` times a session.

    `sessions`, `transfers` and `faults` (text) tell what happened. The balancer is at `address`, `control`.
    """

    def __init__(self, control, ports, *, visitors=4, holders=2, size=300_000, stay=1 << 30, address="127.0.0.1"):
        self.sessions = self.transfers = 0
        self.faults = []
        self.address = address
        self._control, self._ports, self._size = control, ports, size
        self._visitors, self._holders = visitors, holders
        self._stay = stay
        self._over = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def start_servers(self):
        """The servers answer from now on; clients come with `begin`."""
        self._begin = threading.Event()
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def begin(self):
        self._begin.set()

    def stop(self):
        """Every client ends its session; then the servers stop."""
        self._over.set()
        self._begin.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def __enter__(self):
        return self.start_servers()

    def __exit__(self, *exc):
        self.stop()

    async def _run(self):
        listening = []
        for name in NAMES:
            listening += await _Server(name, self._ports).serve(self._control)
        self._ready.set()
        while not self._begin.is_set():
            await asyncio.sleep(0.005)
        clients = [self._visit(f"127.0.82.{number + 1}", 1) for number in range(self._visitors)]
        clients += [self._visit(f"127.0.83.{number + 1}", self._stay) for number in range(self._holders)]
        await asyncio.gather(*clients)
        for server in listening:
            server.close()
            await server.wait_closed()

    async def _visit(self, source, most):
        while not self._over.is_set():
            try:
                await self._session(source, most)
                self.sessions += 1
            except (OSError, TimeoutError, ValueError, IndexError, asyncio.IncompleteReadError) as error:
                self.faults.append(f"{source}: {error!r}")
                await asyncio.sleep(0.05)

    async def _session(self, source, most):
        reader, writer = await _connect(self.address, self._control, source)
        try:
            name = await _reply(reader, "220")
            for _ in range(most):
                if self._over.is_set():
                    break
                await self._transfer(reader, writer, source, name)
                if most > 1:
                    await asyncio.sleep(0.02)
            writer.write(b"QUIT\r\n")
            await _reply(reader, "221")
            if await asyncio.wait_for(reader.read(1), _PATIENCE):
                raise ValueError("bytes after the end")
        finally:
            await _close(writer)

    async def _transfer(self, reader, writer, source, name):
        writer.write(b"PASV\r\n")
        port = int((await _reply(reader, "227")).split("(")[1].rstrip(")"))
        data, data_writer = await _connect(self.address, port, source)
        try:
            writer.write(f"RETR {self._size}\r\n".encode())
            received = await asyncio.wait_for(data.read(-1), _PATIENCE)
        finally:
            await _close(data_writer)
        if received != content(name, self._size):
            raise ValueError(f"{len(received)} bytes of another file, or not all")
        await _reply(reader, "226")
        self.transfers += 1


async def _connect(host, port, source):
    return await asyncio.wait_for(asyncio.open_connection(host, port, local_addr=(source, 0)), _PATIENCE)


async def _close(writer):
    writer.close()
    try:
        await writer.wait_closed()
    except OSError:
        return


async def _reply(reader, code):
    line = (await asyncio.wait_for(reader.readline(), _PATIENCE)).decode()
    if not line.startswith(code):
        raise ValueError(f"{line!r} instead of {code}")
    return line[4:].strip()
