"""What the tests of the FTP dialogue stand on: playbooks with diffs, and an engine made of nothing.

A playbook is a text, one step a line:

    > ClientSent USER joe          an event, and
    < SendToServer USER joe        what must come of it, all of it, in this order

Byte arguments get CRLF added to every line; several lines are separated by ` / `. Fields may be named: `path=1`.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections import deque
from typing import Any

from pasvport.errors import Side
from pasvport.ftp import actions as acts
from pasvport.ftp import events as evts
from pasvport.ftp.dialogue import Dialogue
from pasvport.ftp.events import Timer
from pasvport.ftp.grammar import PIECE
from pasvport.ftp.passive import KnownPassive
from pasvport.ftp.settings import Settings
from pasvport.ftp.states import ALLOWED, Phase
from pasvport.record import Culprit, DataEnding, DataMode, Direction

BYTES = {"ClientSent", "ServerSent", "SendToClient", "SendToServer"}
WORDS: dict[str, Any] = {
    **{each.value: each for each in DataMode},
    **{each.value: each for each in DataEnding},
    **{each.value: each for each in Direction},
    **{each.value: each for each in Timer},
    **{each.value: each for each in Side},
    "True": True,
    "False": False,
}
# `client` is a timer and a side; a field's place says which.
WORDS["client"] = Timer.CLIENT
WORDS["server"] = Timer.SERVER


def described(value: object) -> str:
    """An action or event as a playbook writes it."""
    name = type(value).__name__
    if name in BYTES:
        data: bytes = value.data  # type: ignore[attr-defined]
        assert data, name
        text = data.removesuffix(b"\r\n").decode("latin-1").replace("\r\n", " / ")
        urgent = getattr(value, "urgent", -1)
        return f"{name} {text}" + (f" [urgent={urgent}]" if urgent >= 0 else "")
    if isinstance(value, acts.CloseSession):
        return f"CloseSession {value.culprit}{value.stage} {value.record.reason}"
    if isinstance(value, acts.RecordTransfer):
        record = value.record
        path = record.path.decode("latin-1")
        return " ".join(
            f"RecordTransfer {record.verb} {path} {record.code} {record.size} {record.ending} "
            f"{record.termination_state}".split()
        )
    return " ".join([name, *_fields(value)]).rstrip()


def _fields(value: object) -> list[str]:
    words = []
    for field in dataclasses.fields(value):  # type: ignore[arg-type]
        item = getattr(value, field.name)
        if item != field.default:
            words.append(_word(item))
    return words


def _word(item: object) -> str:
    if isinstance(item, bytes):
        return item.decode("latin-1")
    if isinstance(item, tuple):
        return ",".join(_word(each) for each in item)
    return str(item)


def event_from(text: str) -> evts.Event:
    """`ClientSent USER joe`, `DataPortLeased 1 50000`, `TimedOut server` ..."""
    name, _, rest = text.partition(" ")
    kind = getattr(evts, name)
    if name in BYTES:
        return kind(("\r\n".join(rest.split(" / ")) + "\r\n").encode("latin-1"))
    if name in ("NoServer", "LeaseFailed", "ServerDataFailed", "ClientDataFailed", "ServerLeft", "DrainRequested"):
        return kind(*_with_reason(name, rest))
    if name == "ServerAssigned":
        server, host, *way = rest.split()
        return evts.ServerAssigned(server, host, KnownPassive(DataMode(way[0])) if way else None)
    return kind(*[_argument(word) for word in rest.split()])


def _with_reason(name: str, rest: str) -> list[Any]:
    if name in ("NoServer", "ServerLeft", "DrainRequested"):
        return [rest] if rest else []
    path, _, reason = rest.partition(" ")
    return [int(path), reason]


def _argument(word: str) -> Any:
    if word in WORDS:
        return WORDS[word]
    return int(word) if word.isdigit() else word.strip('"')


class Watched:
    """A dialogue whose every step is checked against the tables, and which must always be waiting for something."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.dialogue = Dialogue(settings or Settings())
        self.closed = 0
        self.started: set[int] = set()
        self.ended: set[int] = set()

    def receive(self, event: evts.Event) -> list[acts.Action]:
        dialogue, before = self.dialogue, self.dialogue.phase
        done = dialogue.receive(event)
        after = dialogue.phase
        row = ALLOWED.get((before, type(event)))
        assert row is not None or not done, (before, event)
        assert before is after or (row is not None and after in row.targets), (before, event, after)
        self._check_order(done)
        return done

    def _check_order(self, done: list[acts.Action]) -> None:
        for action in done:
            assert not self.closed, f"{action} after CloseSession"
            if isinstance(action, acts.StartTransfer):
                assert action.path not in self.started
                self.started.add(action.path)
            elif isinstance(action, acts.AbortTransfer):
                assert action.path in self.started - self.ended
                self.ended.add(action.path)
            elif isinstance(action, acts.DropData):
                assert action.path not in self.started | self.ended
                self.ended.add(action.path)
            elif isinstance(action, acts.CloseSession):
                self.closed += 1
            elif isinstance(action, acts.SendToClient | acts.SendToServer):
                ends_as_lines_do = action.data.endswith(b"\n") or len(action.data) > PIECE
                assert ends_as_lines_do or action.data[0] in (0x16, *range(0x80, 0x90))


def play(text: str, settings: Settings | None = None) -> Dialogue:
    """Run a playbook; the difference between what it says and what came is the failure's message."""
    watched = Watched(settings)
    wanted = [line.strip() for line in text.strip().splitlines() if line.strip() and not line.strip().startswith("#")]
    got: list[str] = []
    for line in wanted:
        if line.startswith(">"):
            got.append(line)
            got += [f"< {described(action)}" for action in watched.receive(event_from(line[2:]))]
    if got != wanted:
        raise AssertionError("\n" + "\n".join(difflib.unified_diff(wanted, got, "the playbook", "what came", n=30)))
    return watched.dialogue


def split_reply(said: bytes) -> tuple[bytes, bytes]:
    """The first whole reply, and the rest."""
    at = 0
    while True:
        end = said.index(b"\r\n", at) + 2
        if said[at : at + 4] == said[:3] + b" ":
            return said[:end], said[end:]
        at = end


# --- an engine made of nothing ------------------------------------------------------------------------------------


class PaperEngine:
    """Answers every action at once and well. `replies` maps a verb to what the server says to it, in pieces.

    What comes after a transfer's 1xx is said once the transfer is over, as servers do. `cut` cuts what peers send.
    """

    def __init__(self, replies: dict[str, deque[bytes]], *, cut: Any = None, **settings: Any) -> None:
        self.watched = Watched(Settings(**settings))
        self.replies = replies
        self.cut = cut or (lambda data: [data])
        self.actions: list[str] = []
        self.to_client = b""
        self.asked: list[str] = []
        self.after_data = b""
        self.passive: KnownPassive | None = None
        self.queue: deque[evts.Event] = deque()

    def happen(self, event: evts.Event) -> None:
        self.queue.append(event)
        while self.queue:
            for action in self.watched.receive(self.queue.popleft()):
                self.actions.append(described(action))
                name = re.sub(r"([A-Z])", r"_\1", type(action).__name__).lower()
                getattr(self, name, lambda _: None)(action)

    def client_says(self, data: bytes) -> None:
        for piece in self.cut(data):
            self.happen(evts.ClientSent(piece))

    def server_says(self, data: bytes) -> None:
        self.queue.extend(evts.ServerSent(piece) for piece in self.cut(data))

    def _send_to_client(self, action: acts.SendToClient) -> None:
        self.to_client += action.data

    def _send_to_server(self, action: acts.SendToServer) -> None:
        for line in action.data.splitlines():
            verb = re.sub(rb"[^A-Za-z ]", b"", line).split(b" ")[0].decode().upper()
            self.asked.append(line.decode("latin-1"))
            waiting = self.replies.get(verb)
            if waiting:
                said = waiting.popleft()
                if said[:1] == b"1" and verb != "ABOR":
                    said, self.after_data = split_reply(said)
                self.server_says(said)

    def _choose_server(self, action: acts.ChooseServer) -> None:
        self.queue.append(evts.ServerAssigned("s1", "10.0.0.1", self.passive))
        self.queue.append(evts.ServerConnected())
        if self.replies.get("BANNER"):
            self.server_says(self.replies["BANNER"].popleft())

    def _lease_data_port(self, action: acts.LeaseDataPort) -> None:
        self.queue.append(evts.DataPortLeased(action.path, 50000 + action.path))

    def _dial_server_data(self, action: acts.DialServerData) -> None:
        self.queue.append(evts.ServerDataConnected(action.path))
        self.queue.append(evts.ClientDataConnected(action.path, "192.0.2.7"))

    def _start_transfer(self, action: acts.StartTransfer) -> None:
        if not self.after_data:
            # A transfer that the transcript never ends is there to be aborted.
            return
        self.queue.append(evts.DataFinished(action.path, 5, DataEnding.COMPLETE))
        self.server_says(self.after_data)
        self.after_data = b""

    def _abort_transfer(self, action: acts.AbortTransfer) -> None:
        self.queue.appendleft(evts.DataFinished(action.path, 5, DataEnding.CUT))

    @property
    def phase(self) -> Phase:
        return self.watched.dialogue.phase


__all__ = ["Culprit", "PaperEngine", "Watched", "described", "event_from", "play"]
