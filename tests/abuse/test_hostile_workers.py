"""A worker that was taken over: its supervisor, the other workers and their sessions go on, and somebody is told."""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from api_rig import ask
from farm.ports import free_ports
from farm.waiting import until
from hostile_frames import FRAMES
from process_rig import DEFAULTS, Running, Upstream, session, source_for, talk

TESTS = Path(__file__).parents[1]
COMMAND = [sys.executable, str(TESTS / "hostile_balancer.py")]
CONFIGURATION = """
global
    nbthread 2
    stats socket {folder}/api level admin
{defaults}
frontend fe
    bind 127.0.0.1:{port}
    maxconn 20
    default_backend be
backend be
    stick-table type ip size 100 expire 1h store conn_cnt
    stick on src
    server s 127.0.0.1:{upstream}
"""


class Stage(Running):
    """A balancer with two hostile workers, of which number 0 attacks; the other has a session all the time."""

    def __init__(self, folder: Path, upstream: Upstream) -> None:
        self.folder, self.upstream = folder, upstream
        self.port = free_ports(1)[0]
        text = CONFIGURATION.format(folder=folder, port=self.port, upstream=upstream.port, defaults=DEFAULTS)
        super().__init__(
            folder,
            text,
            command=COMMAND,
            HOSTILE=str(folder),
            PYTHONPATH=os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]),
        )

    def order(self, name: str, worker: int = 0) -> None:
        """Have it done."""
        (self.folder / "order").write_text(name)
        (self.folder / "order").rename(self.folder / f"attack{worker}")

    def attack(self, name: str, worker: int = 0) -> object:
        """Have it done by one who survives it; what came of it."""
        self.order(name, worker)
        done = self.folder / f"done{worker}"
        until(done.exists, f"{name} to be done", 20)
        outcome = ast.literal_eval(done.read_text())
        done.unlink()
        return outcome

    def fall(self, worker: int = 0) -> None:
        """Have a worker die by itself."""
        before = self.workers()
        self.order("die", worker)
        self.until_replaced(before)

    def until_replaced(self, before: list[int]) -> None:
        until(lambda: len(set(self.workers()) - set(before)) == 1, "another worker", 20)
        until(lambda: len(self.workers()) == 2, "two workers", 20)
        assert len(set(self.workers()) & set(before)) == 1

    def api(self, line: str) -> str:
        return ask(self.folder / "api", line)

    def serves(self) -> None:
        """Both workers, and the supervisor."""
        for worker in range(2):
            with session(self.port, self.upstream, source_for(worker)):
                pass
        assert "Uptime" in self.api("show info")
        assert self.api("show stat")
        assert "pasvport" in self.api("show info")
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", self.messages())


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        yield server


@pytest.fixture
def stage(tmp_path: Path, upstream: Upstream) -> Iterator[Stage]:
    with Stage(tmp_path, upstream) as running:
        yield running


# --- what it tells ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FRAMES)
def test_a_message_that_no_worker_sends(stage: Stage, name: str) -> None:
    """It is killed for it, another takes its place, and the reason is in the log."""
    before = stage.workers()
    with session(stage.port, stage.upstream, source_for(1)) as (client, server):
        stage.order(name)
        found = stage.wait_for(
            r"\[ALERT\] .*worker \((\d+)\) exited with .*killed for what it told the supervisor \((.*)\)"
        )
        assert int(found[1]) in before
        assert 5 < len(found[2]) < 250
        stage.until_replaced(before)
        talk(client, server)
        stage.serves()
    assert "forged" not in stage.messages()


def test_rows_in_the_name_of_another_worker(stage: Stage) -> None:
    before = stage.workers()
    stage.attack("lie_about_sessions")
    with session(stage.port, stage.upstream, source_for(1)) as pair, session(stage.port, stage.upstream, source_for(0)):
        shown = stage.api("show sess")
        assert "worker 0" in shown
        assert "fe=fe" in shown
        stage.wait_for("in the name of another worker")
        stage.until_replaced(before)
        talk(*pair)
    stage.serves()


@pytest.mark.parametrize("name", ["flood_with_entries", "flood_with_notices", "cry"])
def test_floods(stage: Stage, name: str) -> None:
    """They take their turn: nobody dies of them, and the operator reads some lines, not thousands."""
    before = stage.workers()
    with session(stage.port, stage.upstream, source_for(1)) as (client, server):
        stage.attack(name)
        for _ in range(5):
            talk(client, server)
            stage.serves()
        assert stage.workers() == before
        assert len(stage.messages().splitlines()) < 150
    if name == "cry":
        assert "\\x1b]0;owned\\x07" in stage.messages()


@pytest.mark.parametrize("name", ["leave_a_child_that_cries", "leave_a_child_that_tells"])
def test_a_child_that_says_its_last_words_for_ever(stage: Stage, name: str) -> None:
    before = stage.workers()
    stage.order(name)
    stage.until_replaced(before)
    stage.serves()


# --- what it shares -----------------------------------------------------------------------------------------------


def test_the_counters_cannot_be_made_shorter(stage: Stage) -> None:
    assert stage.attack("shorten") == ["OSError", "PermissionError"]
    stage.serves()


def test_a_worker_can_write_its_own_counters_alone(stage: Stage) -> None:
    written, _, writable = stage.attack("write_everywhere")  # type: ignore[misc]
    assert (written, writable) == (1, 1)
    stage.serves()


def test_counters_that_say_anything(stage: Stage) -> None:
    before = stage.workers()
    with session(stage.port, stage.upstream, source_for(1)) as (client, server):
        stage.attack("lie_in_counters")
        talk(client, server)
        with session(stage.port, stage.upstream, source_for(1)):
            assert "Uptime" in stage.api("show info")
            assert stage.api("show stat")
            assert stage.api("show activity")
        stage.fall()
        talk(client, server)
    stage.serves()
    assert len(set(stage.workers()) & set(before)) == 1
    assert "internal error" not in stage.messages()


def slots_free(stage: Stage) -> int:
    """As the kernel counts them for `maxconn` of the frontend, while nobody is connected."""
    counts = []
    for file in Path(f"/proc/{stage.pid}/fdinfo").iterdir():
        found = re.search(r"eventfd-count: +([0-9a-f]+)\neventfd-id.*\neventfd-semaphore: 1", file.read_text())
        counts += [int(found[1], 16)] if found else []
    return max(counts)


@pytest.mark.parametrize("name", ["give_slots", "take_slots", "lie_in_counters"])
def test_slots_that_were_not_its_own(stage: Stage, name: str) -> None:
    """What it did to them is undone when it dies."""
    stage.serves()
    until(lambda: slots_free(stage) == 20, "all slots to be free")
    stage.attack(name)
    stage.fall()
    until(lambda: slots_free(stage) == 20, "the limit to be what it was")
    stage.serves()
    until(lambda: slots_free(stage) == 20, "all slots to be free again")


@pytest.mark.parametrize("name", ["shut_down_sockets", "steer_everybody_here"])
def test_what_it_did_to_its_listening_sockets(stage: Stage, name: str) -> None:
    stage.attack(name)
    stage.fall()
    for source in range(2, 12):
        with session(stage.port, stage.upstream, f"127.0.0.{source}"):
            pass
    stage.serves()
    # Every client is where steering says.
    with session(stage.port, stage.upstream, source_for(0)), session(stage.port, stage.upstream, source_for(1)):
        shown = dict(re.findall(r"^(0x\S+): .*src=([0-9.]+):", stage.api("show sess"), re.MULTILINE))
        assert {int(key, 16) >> 40 & 3: host for key, host in shown.items()} == {1: source_for(0), 2: source_for(1)}
