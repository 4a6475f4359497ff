"""A steady trickle of sessions for whoever watches: slow downloads, uploads, listings, now and then a mishap."""

from __future__ import annotations

import ftplib
import random
import threading
from collections.abc import Callable, Iterator
from types import TracebackType

from pasvport.demo.callers import OFFICE, STRANGER, opened
from pasvport.demo.ftp_server import FILM, WHOAMI
from pasvport.demo.site import USERS
from pasvport.demo.visits import Door, client_addresses

CALLERS = 6
_PIECE = 1 << 16
_HOUSE = (OFFICE, OFFICE, *client_addresses(6))
"""Half the office, half the street."""


class Trickle:
    """Use as a context manager: the callers come while the block runs."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(number,), daemon=True) for number in range(CALLERS)]

    def __enter__(self) -> Trickle:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, _kind: type[BaseException] | None, _value: object, _trace: TracebackType | None) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(5)

    def _call(self, number: int) -> None:
        chance = random.Random(number)
        if not number:
            # Whoever looks at the failed logins at once shall find one.
            self._try(self._mishap, chance)
        while not self._over.wait(chance.uniform(0.2, 2.0)):
            self._try(self._session, chance)

    def _try(self, what: Callable[[random.Random], None], chance: random.Random) -> None:
        try:
            what(chance)
        except (ftplib.Error, OSError, EOFError):
            # Whoever watches may drain servers or stop them; a caller then tries again.
            self._over.wait(1.0)

    def _session(self, chance: random.Random) -> None:
        if chance.random() < 0.1:
            return self._mishap(chance)
        with opened(self._door, chance.choice(_HOUSE), chance.choice(USERS)) as session:
            for _ in range(chance.randint(1, 4)):
                chance.choice((self._download, self._download, self._upload, self._list))(session, chance)
                if self._over.wait(chance.uniform(0.5, 3.0)):
                    break
        return None

    def _mishap(self, chance: random.Random) -> None:
        """A login that is refused, or a file that does not exist."""
        with ftplib.FTP(timeout=10) as session:
            session.connect(self._door.host, self._door.port, source_address=(STRANGER, 0))
            session.login(chance.choice(("root", "admin", "test")), "letmein")

    def _download(self, session: ftplib.FTP, chance: random.Random) -> None:
        """At a few megabytes a second, so that there is something to see."""
        session.voidcmd("TYPE I")
        session.size(FILM)
        pause = chance.uniform(0.01, 0.06)
        with session.transfercmd(f"RETR {FILM}") as data:
            while data.recv(_PIECE) and not self._over.wait(pause):
                pass
        if not self._over.is_set():
            session.voidresp()

    def _upload(self, session: ftplib.FTP, chance: random.Random) -> None:
        session.storbinary(f"STOR report-{chance.randint(1, 9)}.csv", _Pieces(self._pieces(chance)))

    def _pieces(self, chance: random.Random) -> Iterator[bytes]:
        for _ in range(chance.randint(10, 60)):
            if self._over.wait(0.05):
                return
            yield chance.randbytes(_PIECE)

    def _list(self, session: ftplib.FTP, _chance: random.Random) -> None:
        session.retrlines("LIST", lambda _: None)
        session.retrbinary(f"RETR {WHOAMI}", lambda _: None)


class _Pieces:
    """What ftplib takes for a file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    def read(self, _size: int = -1) -> bytes:
        return next(self._pieces, b"")
