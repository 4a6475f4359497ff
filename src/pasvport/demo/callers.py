"""Clients of the second act: an office behind one address, a slow download, a stranger at the door."""

from __future__ import annotations

import ftplib
import hashlib
import io
import random
import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from pasvport.demo.ftp_server import FILM, WHOAMI
from pasvport.demo.visits import AT_ONCE, PATIENCE, Door, Session

OFFICE = "127.60.0.1"
STRANGER = "127.66.6.6"
_PIECE = 1 << 18


@dataclass(frozen=True)
class Member:
    """Somebody's session. `files` are the names that downloads brought: which server each came from."""

    user: str
    server: str = ""
    files: tuple[str, ...] = ()
    error: str = ""

    @property
    def held(self) -> bool:
        """Each download came from the server that the session is with."""
        return not self.error and bool(self.files) and set(self.files) == {self.server}


@dataclass(frozen=True)
class Download:
    """One slow download: what came, what the server said, and what the world did in between."""

    server: str
    digest: bytes
    reply: str
    farewell: str = ""


@contextmanager
def opened(door: Door, source: str, user: str) -> Iterator[Session]:
    """A session that is logged in."""
    with Session(timeout=PATIENCE) as session:
        session.connect(door.host, door.port, source_address=(source, 0))
        session.login(user, door.password)
        yield session


def server_of(session: ftplib.FTP) -> str:
    """The name in the banner."""
    return session.getwelcome().removeprefix("220 ").strip()


def who_answers(session: ftplib.FTP) -> str:
    """Which server a data connection reaches."""
    content = io.BytesIO()
    session.retrbinary(f"RETR {WHOAMI}", content.write)
    return content.getvalue().decode()


def office(door: Door, users: Sequence[str], downloads: int) -> list[Member]:
    """All log in from one address and stay; then all download. Failures are told in `error`, never raised."""
    with ExitStack() as stack:
        sessions: list[tuple[Member, Session | None]] = []
        for user in users:
            try:
                session = stack.enter_context(opened(door, OFFICE, user))
                sessions.append((Member(user, server_of(session)), session))
            except (ftplib.Error, OSError, EOFError) as error:
                sessions.append((Member(user, error=str(error) or type(error).__name__), None))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(lambda pair: _downloads(pair[0], pair[1], downloads), sessions))


def _downloads(member: Member, session: Session | None, count: int) -> Member:
    if session is None:
        return member
    try:
        return replace(member, files=tuple(who_answers(session) for _ in range(count)))
    except (ftplib.Error, OSError, EOFError) as error:
        return replace(member, error=str(error) or type(error).__name__)


def slow_download(door: Door, source: str, between: Callable[[str], None], *, farewell: bool = False) -> Download:
    """Begin to read the film, call `between` with the server's name, read on. Raises what ftplib and sockets raise.

    With `farewell`, the client then says nothing and hears how the session ends.
    """
    with opened(door, source, door.user) as session:
        server, digest = server_of(session), hashlib.sha256()
        session.voidcmd("TYPE I")
        with session.transfercmd(f"RETR {FILM}") as data:
            digest.update(data.recv(_PIECE))
            between(server)
            while piece := data.recv(_PIECE):
                digest.update(piece)
        reply = session.voidresp()
        return Download(server, digest.digest(), reply, _last_words(session) if farewell else "")


def _last_words(session: ftplib.FTP) -> str:
    try:
        return session.getresp()
    except (ftplib.Error, OSError, EOFError) as error:
        return str(error)


@dataclass(frozen=True)
class Intrusion:
    """What became of a stranger's connection to a leased port, and of the transfer it was meant to steal."""

    port: int
    fate: str
    stolen: int
    delivered: str
    server: str


def intrude(door: Door) -> Intrusion:
    """Somebody says EPSV and RETR; a stranger is at the port first."""
    with opened(door, OFFICE, door.user) as session:
        _, port = ftplib.parse229(session.sendcmd("EPSV"), (door.host, door.port))
        session.putcmd(f"RETR {WHOAMI}")
        fate, stolen = _knock(door.host, port)
        with socket.create_connection((door.host, port), PATIENCE, source_address=(OFFICE, 0)) as data:
            content = b"".join(iter(lambda: data.recv(4096), b""))
        session.getresp()
        session.voidresp()
        return Intrusion(port, fate, stolen, content.decode(), server_of(session))


def _knock(host: str, port: int) -> tuple[str, int]:
    """How a stranger's connection ends, and how many bytes it got."""
    got = 0
    try:
        with socket.create_connection((host, port), PATIENCE, source_address=(STRANGER, 0)) as sock:
            while piece := sock.recv(4096):
                got += len(piece)
    except OSError as error:
        return error.strerror or str(error), got
    return "closed", got


def passive_reply(host: str, port: int, user: str, password: str) -> str:
    """What is answered to PASV."""
    with ftplib.FTP(timeout=PATIENCE) as session:
        session.connect(host, port)
        session.login(user, password)
        return session.sendcmd("PASV")


def over_ipv6(port: int, door: Door, chance: random.Random) -> tuple[str, bool]:
    """A session to ::1: the reply to EPSV, and whether what was uploaded came back and control and data agree."""
    content = chance.randbytes(200_000)
    back = io.BytesIO()
    with Session(timeout=PATIENCE) as session:
        session.connect("::1", port)
        session.login(door.user, door.password)
        reply = session.sendcmd("EPSV")
        session.storbinary("STOR ipv6", io.BytesIO(content))
        session.retrbinary("RETR ipv6", back.write)
        return reply, back.getvalue() == content and who_answers(session) == server_of(session)


def ask(path: str, command: str) -> str:
    """The runtime API's answer to one line."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(PATIENCE)
        sock.connect(path)
        sock.sendall(f"{command}\n".encode())
        return b"".join(iter(lambda: sock.recv(1 << 16), b"")).decode().strip()
