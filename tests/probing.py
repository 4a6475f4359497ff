"""A prober at work on loopback, and an FTP server whose every reply a test may choose."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable

from health_world import Witness
from pasvport import model
from pasvport.control.prober import Prober
from pasvport.health.result import CheckResult, Status

PATIENCE = 20.0
STALL = b""
"""As a reply: none, ever."""
HANG_UP = b"hang up"
"""As a reply: the end of the connection."""
LISTING = b"-rw-r--r-- 1 0 0 5 Jan  1 00:00 hello\r\n"


async def until(fact: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not fact():
        assert time.monotonic() < deadline, f"waited for {what}"
        await asyncio.sleep(0.002)


def probe(conf: model.Config, story: Callable[[Witness, Prober], Awaitable[None]], **more: object) -> Witness:
    """Run `story` while the prober of `conf` runs; everything must be gone afterwards."""
    witness = Witness(conf)

    async def main() -> None:
        prober = Prober(conf, witness.roster, **more)  # type: ignore[arg-type]
        prober.start()
        try:
            await story(witness, prober)
        finally:
            await prober.stop()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())
    return witness


def result_of(conf: model.Config) -> CheckResult:
    """The first result of the first server's check."""
    seen: list[CheckResult] = []

    async def story(witness: Witness, _: Prober) -> None:
        await until(lambda: witness.roster.view(0, 0).check.result.status is not Status.INI, "a result")
        seen.append(witness.roster.view(0, 0).check.result)

    probe(conf, story)
    return seen[0]


class MiniFtp:
    """A Behaviour for `peer`. `answers` maps a verb ("BANNER" and "END" too) to its reply, or to STALL or HANG_UP.

    PASV names 10.9.9.9 and a port that is real, unless `dead` says that nobody shall listen there. LIST and RETR send
    `content`. `lines` is what clients sent, `stalled` is set when a STALL was reached.
    """

    def __init__(self, content: bytes = LISTING, *, host: str = "127.0.0.1", dead: bool = False, **answers: bytes):
        self.lines: list[bytes] = []
        self.data_peers: list[str] = []
        self.stalled = threading.Event()
        self._content = content
        self._host = host
        self._dead = dead
        self._answers = answers

    def __call__(self, connection: socket.socket, over: threading.Event) -> None:
        with (
            socket.create_server((self._host, 0), family=connection.family) as data,
            connection.makefile("rb") as asked,
        ):
            data.settimeout(PATIENCE)
            if self._dead:
                port = data.getsockname()[1]
                data.close()
            else:
                port = data.getsockname()[1]
            self._talk(connection, asked, data, port)

    def _talk(self, connection, asked, data, port) -> None:
        defaults = {
            "USER": b"331 password\r\n",
            "PASS": b"230 in\r\n",
            "FEAT": b"211-Features\r\n EPSV\r\n SIZE\r\n211 End\r\n",
            "TYPE": b"200 type\r\n",
            "PASV": b"227 Entering (10,9,9,9,%d,%d)\r\n" % (port >> 8, port & 255),
            "EPSV": b"229 Entering (|||%d|)\r\n" % port,
            "LIST": b"150 coming\r\n",
            "RETR": b"150 coming\r\n",
            "ABOR": b"226 aborted\r\n",
            "QUIT": b"221 bye\r\n",
        }
        if not self._reply(connection, self._answers.get("BANNER", b"220 ready\r\n")):
            return
        for line in asked:
            self.lines.append(line.strip())
            verb = line[:4].decode()
            reply = self._answers.get(verb, defaults[verb])
            if not self._reply(connection, reply) or verb == "QUIT":
                return
            if verb in ("LIST", "RETR") and reply[:1] == b"1" and not self._transfer(connection, data):
                return

    def _reply(self, connection: socket.socket, reply: bytes) -> bool:
        if reply == HANG_UP:
            return False
        if reply == STALL:
            self.stalled.set()
            while connection.recv(1000):
                pass
            return False
        connection.sendall(reply)
        return True

    def _transfer(self, connection: socket.socket, data: socket.socket) -> bool:
        channel, peer = data.accept()
        self.data_peers.append(peer[0])
        reply = self._answers.get("END", b"226 done\r\n")
        with channel:
            try:
                channel.sendall(self._content)
            except OSError:
                reply = b"426 cut\r\n"
            if self._answers.get("DATA") == STALL:
                return self._reply(connection, STALL)
        return self._reply(connection, reply)


def ftp_check(action: str = "list", mode: str = "", path: str = "", user: str = "probe") -> model.FtpCheck:
    return model.FtpCheck(user, "plough" if user else "", model.FtpCheckMode(mode), model.FtpCheckAction(action), path)
