"""What one client does: log in, LIST, upload, download, compare; and which server each connection reached."""

from __future__ import annotations

import ftplib
import hashlib
import io
import random
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pasvport.demo.ftp_server import WHOAMI

PATIENCE = 20.0
AT_ONCE = 4
"""The page's range has eleven ports, and a server lets a port rest after use."""


@dataclass(frozen=True)
class Door:
    """Where clients knock, and with which name and password."""

    host: str
    port: int
    user: str
    password: str


@dataclass(frozen=True)
class Visit:
    """One session. `control` named itself in its banner, `data` in the file that a data connection brought."""

    source: str
    control: str = ""
    data: str = ""
    listed: bool = False
    intact: bool = False
    size: int = 0
    error: str = ""

    @property
    def held(self) -> bool:
        """Control and data on one server, the listing right, and every byte back as it was sent."""
        return not self.error and self.control == self.data and self.listed and self.intact


class Session(ftplib.FTP):
    # ftplib distrusts the address of a 227 by default. Here the address is part of what is shown.
    trust_server_pasv_ipv4_address = True

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        # ftplib says QUIT on every way out, and what is answered to that would take the place of an interruption.
        if kind is not None and not issubclass(kind, Exception):
            self.close()
        else:
            self.quit_politely()

    def quit_politely(self) -> None:
        """Say QUIT and close, whatever is answered."""
        try:
            self.quit()
        except (ftplib.Error, OSError, EOFError):
            self.close()


def visit(door: Door, source: str, content: bytes) -> Visit:
    """One session from `source`; a failure is told in `error`, never raised."""
    try:
        with Session(timeout=PATIENCE) as session:
            session.connect(door.host, door.port, source_address=(source, 0))
            banner = session.getwelcome()
            session.login(door.user, door.password)
            return _transfer(session, source, banner.removeprefix("220 ").strip(), content)
    except (ftplib.Error, OSError, EOFError) as error:
        return Visit(source, error=str(error) or type(error).__name__)


def _transfer(session: ftplib.FTP, source: str, control: str, content: bytes) -> Visit:
    whoami, back = io.BytesIO(), io.BytesIO()
    name = f"from-{source}"
    listing: list[str] = []
    session.storbinary(f"STOR {name}", io.BytesIO(content))
    session.retrlines("LIST", listing.append)
    session.retrbinary(f"RETR {name}", back.write)
    session.retrbinary(f"RETR {WHOAMI}", whoami.write)
    same = hashlib.sha256(back.getvalue()).digest() == hashlib.sha256(content).digest()
    listed = any(line.endswith(name) for line in listing)
    return Visit(source, control, whoami.getvalue().decode(), listed, same, 2 * len(content))


def visit_all(door: Door, sources: Iterable[str], chance: random.Random) -> list[Visit]:
    """A session from every source, a few at a time, each with content of its own."""
    wanted = [(source, chance.randbytes(chance.randint(1, 200_000))) for source in sources]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda pair: visit(door, *pair), wanted))


def client_addresses(count: int, offset: int = 0) -> Sequence[str]:
    """Distinct loopback addresses that stand for clients: 127.50.x.y."""
    return [f"127.50.{number // 200}.{1 + number % 200}" for number in range(offset, offset + count)]
