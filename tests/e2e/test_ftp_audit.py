"""Which user is in the logs: whoever is logged in, and in a field of its own whoever failed to."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from farm.front import Front, Section
from farm.raw_client import RawClient
from farm.scripted import Conversation, Scripted
from farm.waiting import until

SECRET = "s3cr3t-w0rd"
SESSION = 'log-format "session %Fu/%Ffu/%Flf"'
TRANSFER = 'log-format-transfer "transfer %Xu %Xv"'


def user(talk: Conversation, name: str) -> None:
    """As vsftpd: `nobody` else may follow `alice`; as pyftpdlib: everybody else is asked for a password."""
    talk.say("530 Cannot change to another user." if name == "nobody" else "331 Password?")


def password(talk: Conversation, word: str) -> None:
    talk.say("230 Welcome" if word == "right" else "530 Wrong")


@pytest.fixture(scope="module")
def server() -> Iterator[Scripted]:
    with Scripted("audited", answers={"USER": user, "PASS": password, "REIN": "220 Anew"}) as running:
        yield running


@pytest.fixture(scope="module")
def xferlog() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="xferlog-") as folder:
        yield Path(folder, "xferlog")


@pytest.fixture(scope="module")
def front(server: Scripted, xferlog: Path) -> Iterator[Front]:
    lines = f"{SESSION}\n{TRANSFER}\noption ftp-xferlog {xferlog}\nserver s {server.address}"
    with Front(Section("fe", lines), threads=1) as running:
        yield running


def written(front: Front, kind: str, count: int) -> list[str]:
    """The last lines of that kind, once there are so many."""
    found: list[str] = []

    def enough() -> bool:
        found[:] = [line.partition(f"{kind} ")[2].strip() for line in front.sink.texts() if f"{kind} " in line]
        return len(found) >= count

    until(enough, f"{count} lines of {kind}")
    return found


def shown(front: Front) -> dict[str, object]:
    (session,) = json.loads(front.api("show ftp sessions json"))
    return session  # type: ignore[no-any-return]


@pytest.mark.parametrize("other", ["nobody", "admin"])
def test_a_failed_user_signs_nothing(front: Front, xferlog: Path, other: str) -> None:
    before = len(written(front, "transfer", 0)), len(written(front, "session", 0))
    with front.client("fe") as client:
        client.ask("USER alice", 331)
        client.ask("PASS right", 230)
        if client.ask(f"USER {other}").code == 331:
            client.ask(f"PASS {SECRET}", 530)
        client.receive("RETR x")
        assert (shown(front)["user"], shown(front)["failed_user"]) == ("alice", other)
        number = shown(front)["id"]
        assert f"ftp user=alice failed_user={other} " in front.api(f"show sess {number}")
        client.quit()
    assert written(front, "transfer", before[0] + 1)[-1] == "alice RETR"
    assert written(front, "session", before[1] + 1)[-1] == f"alice/{other}/1"
    until(lambda: xferlog.exists() and xferlog.read_text().count("\n") > before[0], "the xferlog")
    assert all(" r alice ftp " in line for line in xferlog.read_text().splitlines())
    assert SECRET not in "".join((xferlog.read_text(), *front.sink.texts()))


def test_before_and_after(front: Front) -> None:
    before = len(written(front, "session", 0))

    def session(client: RawClient) -> tuple[object, object]:
        return shown(front)["user"], shown(front)["failed_user"]

    with front.client("fe") as client:
        client.ask("USER alice", 331)
        assert session(client) == ("", "")
        client.ask(f"PASS {SECRET}", 530)
        assert session(client) == ("", "alice")
        client.ask("USER bob", 331)
        client.ask("PASS right", 230)
        assert session(client) == ("bob", "alice")
        client.ask("REIN", 220)
        assert session(client) == ("", "alice")
        client.ask("USER carol", 331)
    assert written(front, "session", before + 1)[-1] == "-/carol/1"
