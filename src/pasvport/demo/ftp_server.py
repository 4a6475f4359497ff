"""One embedded FTP server: `python -m pasvport.demo.ftp_server JSON` is the child, `FtpServer` its owner."""

from __future__ import annotations

import json
import os
import socket
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pasvport.demo.child import Child

WHOAMI = "whoami.txt"
FILM = "film.bin"
"""A file too large for all the buffers on its way: while it is read slowly, its transfer goes on."""
FILM_SIZE = 48 << 20


@dataclass(frozen=True)
class Wish:
    """What a server is to be. `advertise` is the address its 227 replies name; `low` 0 means any passive port."""

    name: str
    host: str
    port: int
    advertise: str
    low: int
    high: int
    home: str
    users: tuple[str, ...]
    password: str


class FtpServer:
    """A pyftpdlib server in a process of its own, with a home that holds `whoami.txt`."""

    def __init__(self, wish: Wish, log: Path) -> None:
        self.wish = wish
        self._log = log
        self._child: Child | None = None
        self.home = Path(wish.home)
        self.home.mkdir(parents=True)
        (self.home / WHOAMI).write_text(wish.name)

    @property
    def name(self) -> str:
        return self.wish.name

    def start(self) -> None:
        """Run it and return once it listens. Raises ChildError with its log when it cannot."""
        words = [sys.executable, "-m", "pasvport.demo.ftp_server", json.dumps(asdict(self.wish))]
        self._child = Child(self.name, words, self._log)
        self._child.until_ready()

    def stop(self) -> None:
        if self._child is not None:
            self._child.stop()
            self._child = None


def serve(wish: Wish) -> None:
    """The child: tell the owner once the port is open, and serve until killed."""
    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.handlers import FTPHandler
    from pyftpdlib.servers import FTPServer

    authorizer = DummyAuthorizer()
    for user in wish.users:
        authorizer.add_user(user, wish.password, wish.home, perm="elradfmwMT")
    settings: dict[str, Any] = {"authorizer": authorizer, "banner": wish.name, "masquerade_address": wish.advertise}
    settings |= _size_told(FTPHandler)
    if wish.low:
        settings["passive_ports"] = range(wish.low, wish.high + 1)
    server = FTPServer((wish.host, wish.port), type("DemoHandler", (FTPHandler,), settings))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as owner:
        owner.sendto(b"READY=1", "\0" + os.environ["NOTIFY_SOCKET"][1:])
    server.serve_forever()


def _size_told(parent: Any) -> dict[str, Any]:  # noqa: ANN401 - pyftpdlib has no types
    """What makes a handler tell a file's size in 125 and 150, as most servers do: whoever watches sees progress."""

    def push_dtp_data(self: Any, data: Any, isproducer: bool = False, file: Any = None, cmd: Any = None) -> None:  # noqa: ANN401
        self.announced = os.fstat(file.fileno()).st_size if file is not None and cmd == "RETR" else None
        parent.push_dtp_data(self, data, isproducer=isproducer, file=file, cmd=cmd)

    def respond(self: Any, resp: str, **more: Any) -> None:  # noqa: ANN401
        if resp[:3] in ("125", "150") and self.announced is not None:
            resp = f"{resp[:3]} Opening data connection ({self.announced} bytes)."
            self.announced = None
        parent.respond(self, resp, **more)

    return {"announced": None, "push_dtp_data": push_dtp_data, "respond": respond}


if __name__ == "__main__":
    serve(Wish(**json.loads(sys.argv[1])))
