"""Sessions of real servers, replayed through the dialogue: whole, byte by byte, and cut at random."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from pathlib import Path

import pytest

from ftp_world import PaperEngine
from pasvport.ftp.events import ClientConnected
from pasvport.ftp.features import features_of, rendered_features
from pasvport.ftp.grammar import Reply
from pasvport.ftp.passive import KnownPassive
from pasvport.ftp.settings import Settings
from pasvport.ftp.states import Phase
from pasvport.record import DataMode

TRANSCRIPTS = sorted(Path(__file__).with_name("transcripts").glob("*.txt"))
Exchange = tuple[bytes, bytes]


def exchanges(path: Path) -> list[Exchange]:
    """(command, all that the server said to it); the first command is empty: the banner."""
    found: list[Exchange] = [(b"", b"")]
    for line in path.read_text("utf-8").splitlines():
        side, data = line[:3], line[3:].encode("latin-1")
        if side == "C: ":
            found.append((data, b""))
        else:
            found[-1] = (found[-1][0], found[-1][1] + data + b"\r\n")
    return found


class Replay:
    """What the server will say, what the client must see, and what the server must be asked."""

    def __init__(self, path: Path) -> None:
        self.mode = DataMode(path.stem.rpartition("-")[2].upper())
        self.commands: list[bytes] = []
        self.replies: dict[str, deque[bytes]] = {"BANNER": deque()}
        self.expected = b""
        self.asked: list[str] = []
        self.paths = 0
        self.logged_in = self.prepared = False
        banner, *rest = exchanges(path)
        self.replies["BANNER"].append(banner[1])
        self.expected += banner[1]
        for command, said in rest:
            self._add(command, said)

    def _add(self, command: bytes, said: bytes) -> None:
        verb = command.split(b" ")[0].decode()
        self.commands.append(b"\xff\xf4\xff\xf2ABOR" if verb == "ABOR" else command)
        if verb == "RETR" and not self.prepared:
            self.expected += b"425 Use PASV or EPSV first.\r\n"
            return
        self.asked.append(self.commands[-1].decode("latin-1"))
        self.replies.setdefault(verb, deque()).append(said)
        self.logged_in = self.logged_in or said.startswith(b"230")
        self.prepared = verb in ("PASV", "EPSV")
        self.expected += self._seen(verb, said)

    def _seen(self, verb: str, said: bytes) -> bytes:
        if verb in ("PASV", "EPSV"):
            self.paths += 1
            port = 50000 + self.paths
            if verb == "EPSV":
                return b"229 Entering Extended Passive Mode (|||%d|)\r\n" % port
            return b"227 Entering Passive Mode (203,0,113,1,%d,%d).\r\n" % (port >> 8, port & 255)
        if verb == "FEAT" and not said.startswith(b"530"):
            return rendered_features(Settings(), features_of(Reply(int(said[:3]), said)))
        if verb == "ABOR" and said.startswith(b"150"):
            return b"426 Transfer aborted.\r\n226 ABOR done.\r\n"
        return said

    def run(self, cut: Callable[[bytes], list[bytes]]) -> PaperEngine:
        replies = {verb: deque(said) for verb, said in self.replies.items()}
        engine = PaperEngine(replies, cut=cut)
        engine.passive = KnownPassive(self.mode)
        engine.happen(ClientConnected("192.0.2.7", "203.0.113.1"))
        for command in self.commands:
            engine.client_says(command + b"\r\n")
        return engine


def whole(data: bytes) -> list[bytes]:
    return [data]


def by_bytes(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def at_random(seed: int) -> Callable[[bytes], list[bytes]]:
    dice = random.Random(seed)

    def cut(data: bytes) -> list[bytes]:
        pieces = []
        while data:
            size = dice.randint(1, len(data))
            pieces.append(data[:size])
            data = data[size:]
        return pieces

    return cut


def joined(actions: list[str]) -> list[str]:
    """A reply that comes in pieces leaves in pieces: what is said to the client in one go is one thing."""
    found: list[str] = []
    for action in actions:
        said = action.removeprefix("SendToClient ")
        if said != action and found and found[-1].startswith("SendToClient "):
            found[-1] += " / " + said
        else:
            found.append(action)
    return found


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_a_real_servers_session_passes_however_it_is_cut(path: Path) -> None:
    replay = Replay(path)
    engine = replay.run(whole)
    assert engine.to_client.decode("latin-1").splitlines() == replay.expected.decode("latin-1").splitlines()
    assert engine.asked == replay.asked
    assert engine.phase is Phase.OVER
    assert engine.actions[-1] == "CloseSession -- QUIT"
    for cut in (by_bytes, at_random(1), at_random(2)):
        assert joined(replay.run(cut).actions) == joined(engine.actions)


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_a_client_that_sends_ahead_gets_the_same_replies_in_the_same_order(path: Path) -> None:
    replay = Replay(path)
    while replay.commands[-1] != b"\xff\xf4\xff\xf2ABOR":
        replay.commands.pop()
    # ABOR overtakes what waits, so the transfer it is for must be under way: everything before it is sent at once.
    abort = replay.commands.pop()
    ahead = b"".join(command + b"\r\n" for command in replay.commands)
    replay.commands = [ahead.removesuffix(b"\r\n"), abort, b"PWD", b"QUIT"]
    assert replay.run(whole).to_client == replay.expected


def test_there_are_transcripts_of_every_server() -> None:
    assert {path.stem.partition("-")[0] for path in TRANSCRIPTS} == {"vsftpd", "proftpd", "pureftpd", "pyftpdlib"}
