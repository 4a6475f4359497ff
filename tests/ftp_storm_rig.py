"""FTP servers and clients in one thread, for tests that change a balancer in `mode ftp` underneath them.

Clients log in, think for a moment now and then, fetch and store files whose content follows from their name, and keep
every fault: a refused or reset connection, a byte too few or too many, a 421 that was not due.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import random
import re
import threading
import time

PATIENCE = 30.0
DRAIN_IDLE, DRAIN_PATIENCE = 2.0, 30.0
_LEEWAY = 0.1
"""Seconds by which the balancer's clock and ours may differ about when something was said."""
_CHUNK = 1 << 15
_FAULTS = (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError)
_FAREWELL = 421
_SLOW = "slow"


def content(name, size):
    """What the file of that name holds."""
    block = hashlib.sha256(name.encode()).digest() * (_CHUNK // 32)
    return (block * (size // _CHUNK + 1))[:size]


def size_of(name):
    """The size that is in a file's name, as in `f7-3000`."""
    return int(name.rpartition("-")[2])


async def _pause(name, sent):
    """A slow file takes longer than the silence that a drain waits for. Its sender is slow: of a slow receiver the
    balancer knows no more than that the receiver's buffers have everything."""
    if name.startswith(_SLOW) and sent < 5 * _CHUNK:
        await asyncio.sleep(0.6)


class Cut(Exception):  # noqa: N818 (it may be in order)
    """The balancer said 421."""


class Server:
    """As much of an FTP server as the clients need; `stored` has the digest of each file it was given."""

    def __init__(self):
        self.stored = {}
        self.port = 0
        self._over = []

    async def __aenter__(self):
        self._listening = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=512)
        self.port = self._listening.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc):
        self._listening.close()

    async def _serve(self, reader, writer):
        data = _DataPort()
        with contextlib.suppress(*_FAULTS):
            writer.write(b"220 storm\r\n")
            while line := (await reader.readline()).decode().split():
                await self._obey(line[0].upper(), line[1:], writer, data)
                if line[0].upper() == "QUIT":
                    break
        data.close()
        await _close(writer)

    async def _obey(self, verb, words, writer, data):
        if verb in ("EPSV", "PASV"):
            port = await data.open()
            high, low = divmod(port, 256)
            said = f"229 ok (|||{port}|)" if verb == "EPSV" else f"227 ok (127,0,0,1,{high},{low})"
            writer.write(f"{said}\r\n".encode())
        elif verb in ("RETR", "STOR"):
            writer.write(b"150 go\r\n")
            await (self._send if verb == "RETR" else self._store)(words[0], data)
            writer.write(b"226 done\r\n")
        else:
            writer.write(_REPLIES.get(verb, b"502 no\r\n"))
        await writer.drain()

    async def _send(self, name, data):
        _, writer = await data.connection()
        whole = content(name, size_of(name))
        for start in range(0, len(whole), _CHUNK):
            writer.write(whole[start : start + _CHUNK])
            await writer.drain()
            await _pause(name, start)
        await _close(writer)

    async def _store(self, name, data):
        reader, writer = await data.connection()
        received = await asyncio.wait_for(reader.read(-1), PATIENCE)
        self.stored[name] = hashlib.sha256(received).hexdigest()
        await _close(writer)


_REPLIES = {
    "USER": b"331 password\r\n",
    "PASS": b"230 in\r\n",
    "QUIT": b"221 bye\r\n",
    "FEAT": b"211-Features:\r\n EPSV\r\n SIZE\r\n211 End\r\n",
    "TYPE": b"200 ok\r\n",
    "NOOP": b"200 ok\r\n",
    "PWD": b'257 "/"\r\n',
}


class _DataPort:
    """The listening socket of one session's next transfer."""

    def __init__(self):
        self._server = None
        self._arrived = asyncio.Queue()

    async def open(self):
        self.close()
        self._arrived = asyncio.Queue()
        arrived = self._arrived
        self._server = await asyncio.start_server(lambda r, w: arrived.put((r, w)), "127.0.0.1", 0)
        return self._server.sockets[0].getsockname()[1]

    async def connection(self):
        return await asyncio.wait_for(self._arrived.get(), PATIENCE)

    def close(self):
        if self._server is not None:
            self._server.close()
            self._server = None


class Client:
    """One session after another, from one address, until the storm is over."""

    def __init__(self, storm, source, *, idle=False):
        self.storm, self.source, self.idle = storm, source, idle
        self._random = random.Random(source)
        self._quiet_since = 0.0
        self._silence = 0.0
        """How long it had been silent when it spoke last."""
        self._began = 0.0
        self._said = ""

    async def run(self):
        while not self.storm.is_over:
            try:
                await self._session()
                self.storm.sessions += 1
            except Cut as cut:
                self._judge(cut)
            except _FAULTS as error:
                self.storm.faults.append(f"{self.source}: {error!r}")
                await asyncio.sleep(0.05)

    def _judge(self, cut):
        """421 is in order for who was silent for long enough, or is here for longer than a drain lasts.

        What we said last may have crossed it, so the silence before that counts, too.
        """
        now = time.monotonic()
        silence = max(now - self._quiet_since, self._silence)
        if silence < DRAIN_IDLE - _LEEWAY and now - self._began < DRAIN_PATIENCE - _LEEWAY:
            self.storm.faults.append(f"{self.source}: {cut} after {silence:.2f} s of silence, we said {self._said}")
        self.storm.cut += 1

    async def _session(self):
        self._silence, self._began = 0.0, time.monotonic()
        self._quiet_since = self._began
        self._reader, self._writer = await self._connect(self.storm.control)
        try:
            await self._expect(220)
            await self._ask("USER storm", 331)
            await self._ask("PASS storm", 230)
            await (self._idle() if self.idle else self._work())
            await self._ask("QUIT", 221)
            if await asyncio.wait_for(self._reader.read(1), PATIENCE):
                raise ValueError("bytes after the end")
        finally:
            await _close(self._writer)

    async def _idle(self):
        """Says nothing until it is told to go, or the storm is over."""
        while not self.storm.is_over:
            with contextlib.suppress(TimeoutError):
                await self._expect(999, patience=0.1)

    async def _work(self):
        for _ in range(self._random.randint(1, 4)):
            await self._think()
            await self._ask("TYPE I", 200)
            await self._transfer()
            if self.storm.is_over:
                return

    async def _think(self):
        await asyncio.sleep(self._random.choice((0.0, 0.01, 0.1, 1.0)))

    async def _transfer(self):
        kind = _SLOW if self._random.random() < 0.15 else "f"
        name = f"{kind}{next(self.storm.numbers)}-{self._random.choice((0, 1000, 300_000, 2_000_000))}"
        port = await self._passive()
        if self._random.random() < 0.2:
            await self._think()
        data, data_writer = await self._connect(port)
        try:
            await (self._fetch if self._random.random() < 0.5 else self._store)(name, data, data_writer)
        finally:
            await _close(data_writer)
        await self._expect(226)
        self._check_stored(name)
        self.storm.transfers += 1

    async def _passive(self):
        if self._random.random() < 0.5:
            said = await self._ask("EPSV", 229)
            return int(re.search(r"\|\|\|(\d+)\|", said)[1])
        said = await self._ask("PASV", 227)
        *_, high, low = re.findall(r"\d+", said)
        return int(high) * 256 + int(low)

    async def _fetch(self, name, data, _writer):
        await self._ask(f"RETR {name}", 150)
        received = await asyncio.wait_for(data.read(-1), PATIENCE)
        if received != content(name, size_of(name)):
            raise ValueError(f"{name}: {len(received)} bytes, not those of the file")
        self.storm.expected.pop(name, None)

    async def _store(self, name, _data, writer):
        await self._ask(f"STOR {name}", 150)
        whole = content(name, size_of(name))
        for start in range(0, len(whole), _CHUNK):
            writer.write(whole[start : start + _CHUNK])
            await asyncio.wait_for(writer.drain(), PATIENCE)
            await _pause(name, start)
        await _close(writer)
        self.storm.expected[name] = hashlib.sha256(whole).hexdigest()

    def _check_stored(self, name):
        wanted = self.storm.expected.pop(name, None)
        if wanted is not None and wanted not in [server.stored.get(name) for server in self.storm.servers]:
            raise ValueError(f"{name} was confirmed, and is not what was sent")

    # --- lines ----------------------------------------------------------------------------------------------------

    async def _connect(self, port):
        connecting = asyncio.open_connection("127.0.0.1", port, local_addr=(self.source, 0))
        return await asyncio.wait_for(connecting, PATIENCE)

    async def _ask(self, line, code):
        now = time.monotonic()
        self._silence, self._quiet_since, self._said = now - self._quiet_since, now, line
        self._writer.write(f"{line}\r\n".encode())
        return await self._expect(code)

    async def _expect(self, code, patience=PATIENCE):
        line = (await asyncio.wait_for(self._reader.readline(), patience)).decode()
        if line.startswith(str(_FAREWELL)):
            raise Cut(line.strip())
        if not line.startswith(str(code)):
            raise ValueError(f"{line!r} instead of {code}")
        if code == 226:
            self._quiet_since = time.monotonic()
        return line


class FtpStorm:
    """Two servers and the clients of a balancer at `control`; `ports` are the servers' once it is entered.

    `sessions`, `transfers`, `cut` count; `faults` are texts. `begin` sends the clients, `stop` waits for the last.
    """

    def __init__(self, control, *, workers=6, idlers=2):
        self.control = control
        self.sessions = self.transfers = self.cut = 0
        self.faults = []
        self.expected = {}
        self.numbers = itertools.count()
        self.servers = (Server(), Server())
        self._clients = [Client(self, f"127.0.84.{number + 1}") for number in range(workers)]
        self._clients += [Client(self, f"127.0.85.{number + 1}", idle=True) for number in range(idlers)]
        self._ready, self._begin, self._over = threading.Event(), threading.Event(), threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    @property
    def is_over(self):
        return self._over.is_set()

    @property
    def ports(self):
        return [server.port for server in self.servers]

    def begin(self):
        self._begin.set()

    def stop(self):
        """Every client ends its session; then the servers stop."""
        self._over.set()
        self._begin.set()
        self._thread.join(60)
        assert not self._thread.is_alive()

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *exc):
        self.stop()

    async def _run(self):
        async with self.servers[0], self.servers[1]:
            self._ready.set()
            while not self._begin.is_set():
                await asyncio.sleep(0.005)
            await asyncio.gather(*(client.run() for client in self._clients))


async def _close(writer):
    writer.close()
    with contextlib.suppress(OSError):
        await asyncio.wait_for(writer.wait_closed(), PATIENCE)
