"""The crew alone, with workers that misbehave on command."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from pasvport.control import crew as crew_module
from pasvport.control import launcher
from pasvport.control.crew import Crew
from pasvport.control.launcher import Launcher
from pasvport.control.workers import Worker, describe
from pasvport.errors import ResourceError
from pasvport.wire import CloseListeners, HardStop, Notice, SoftStop

DEADLINE = 20.0


@pytest.fixture
def role(monkeypatch, tmp_path):
    """Choose what the workers will do that start from now on."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent))
    environment = launcher._environment
    monkeypatch.setattr(launcher, "_environment", lambda: environment() | {"FAKE_WORKER": str(tmp_path / "role")})
    return (tmp_path / "role").write_text


class Stage:
    """A crew and all that it reported."""

    def __init__(self, size):
        self.told = []
        self.ended = []
        self.complaints = []
        self.pids = []
        self.happened = asyncio.Event()
        self.launcher = Launcher("fake_worker")
        self.crew = Crew(size, self.spawn, message=self.message, ended=self.end)

    def spawn(self, number, received, left):
        worker = Worker(number, [], received=received, left=left, complained=self.complain, launcher=self.launcher)
        self.pids.append(worker.pid)
        self.happened.set()
        return worker

    def complain(self, worker, line):
        self.complaints.append((worker.number, line))
        self.happened.set()

    def message(self, worker, message):
        self.told.append((worker.number, message))
        self.happened.set()

    def end(self, worker, status):
        self.ended.append((worker.number, status))
        self.happened.set()

    async def until(self, fact):
        async with asyncio.timeout(DEADLINE):
            while not fact():
                self.happened.clear()
                await self.happened.wait()


def play(scene, size=2):
    """Run a scene, and end the crew whatever comes."""

    async def run():
        stage = Stage(size)
        try:
            async with asyncio.timeout(DEADLINE):
                await scene(stage)
        finally:
            await stage.crew.end(0.5)
            stage.launcher.end()

    asyncio.run(run())


def test_a_message_that_finds_a_bug_of_ours_costs_the_worker(role, monkeypatch):
    """It is killed, reaped and replaced; the bug is told, and the reason is known."""
    role("ready")
    reported = []

    async def scene(stage):
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context["exception"]))
        await stage.crew.start()
        faults = []
        monkeypatch.setattr(stage.crew, "_message", lambda worker, message: 1 // 0)
        monkeypatch.setattr(stage.crew, "_ended", lambda worker, status: faults.append(stage.crew.excuse(worker)))
        stage.crew.members[0].send(CloseListeners())
        async with asyncio.timeout(DEADLINE):
            while not faults or len(stage.crew.members) < 2:
                await asyncio.sleep(0.01)
        assert "ZeroDivisionError" in faults[0]

    play(scene)
    assert [type(error) for error in reported] == [ZeroDivisionError]


def test_start_returns_when_all_are_ready_and_end_when_all_are_gone(role):
    role("ready")

    async def scene(stage):
        await stage.crew.start()
        assert stage.crew.pids == stage.pids
        assert await stage.crew.end()
        assert stage.crew.pids == []
        assert sorted(stage.ended) == [(0, 0), (1, 0)]

    play(scene)


def test_a_worker_that_refuses_stops_the_start_with_its_own_words(role):
    role("refuses")

    async def scene(stage):
        with pytest.raises(ResourceError, match="no such thing"):
            await stage.crew.start()

    play(scene)


def test_a_worker_that_dies_stops_the_start(role):
    role("dies")

    async def scene(stage):
        with pytest.raises(ResourceError, match=r"exited with code 7 \(Exit\) before it was ready"):
            await stage.crew.start()
        assert len(stage.pids) == 2

    play(scene)


def test_a_worker_that_never_gets_ready_stops_the_start(role, monkeypatch):
    role("mute")
    monkeypatch.setattr(crew_module, "BOOT", 0.2)

    async def scene(stage):
        with pytest.raises(ResourceError, match="did not get ready"):
            await stage.crew.start()

    play(scene)


def test_a_worker_that_hangs_on_its_restart_is_killed_and_tried_again(role, monkeypatch):
    role("ready")

    async def scene(stage):
        await stage.crew.start()
        monkeypatch.setattr(crew_module, "BOOT", 0.1)
        role("mute")
        os.kill(stage.pids[0], signal.SIGKILL)
        await stage.until(lambda: stage.ended.count((0, -signal.SIGKILL)) >= 2)

    play(scene)


def test_a_worker_that_keeps_dying_young_is_tried_after_longer_and_longer_pauses(role, monkeypatch):
    role("ready")
    pauses = []

    async def scene(stage):
        await stage.crew.start()
        loop = asyncio.get_running_loop()
        call_later = loop.call_later

        def shortened(delay, callback, *args):
            if getattr(callback, "__name__", "") == "_restart":
                pauses.append(delay)
                delay = 0
            return call_later(delay, callback, *args)

        monkeypatch.setattr(loop, "call_later", shortened)
        role("dies")
        os.kill(stage.pids[0], signal.SIGKILL)
        await stage.until(lambda: len(stage.ended) >= 6)

    play(scene)
    assert pauses[:5] == [0.0, 0.1, 0.2, 0.4, 0.8]
    assert crew_module._LONGEST_PAUSE == 10.0


def test_what_cannot_be_started_again_now_is_started_later(role, monkeypatch):
    role("ready")
    monkeypatch.setattr(crew_module, "_LONGEST_PAUSE", 0.01)
    refusals = []

    async def scene(stage):
        await stage.crew.start()
        asyncio.get_running_loop().set_exception_handler(lambda loop, what: refusals.append(what["exception"]))
        spawn = stage.crew._spawn

        def fails_once(*arguments):
            if not refusals:
                stage.crew._spawn = spawn
                raise BlockingIOError("no process free")
            return spawn(*arguments)

        stage.crew._spawn = fails_once
        os.kill(stage.pids[0], signal.SIGKILL)
        await stage.until(lambda: len(stage.pids) == 3)

    play(scene)
    assert len(refusals) == 1


def test_messages_reach_all_or_all_but_one_and_a_new_worker_only_when_it_is_ready(role):
    role("ready")

    async def scene(stage):
        await stage.crew.start()
        first = stage.crew._workers[0]
        stage.crew.tell(CloseListeners(), besides=first)
        await stage.until(lambda: (1, Notice(5, "CloseListeners")) in stage.told)
        os.kill(first.pid, signal.SIGKILL)
        await stage.until(lambda: len(stage.pids) == 3)
        stage.crew.tell(CloseListeners())
        await stage.until(lambda: (0, Notice(5, "CloseListeners")) in stage.told)

    play(scene)


def test_drained_waits_for_all_and_a_dead_worker_has_no_sessions(role):
    role("ready")

    async def scene(stage):
        await stage.crew.start()
        stage.crew.dismiss()
        os.kill(stage.pids[0], signal.SIGKILL)
        stage.crew.tell(SoftStop())
        await stage.crew.drained()
        assert len(stage.pids) == 2

    play(scene)


def test_a_worker_that_does_not_leave_is_made_to(role):
    role("stubborn")

    async def scene(stage):
        await stage.crew.start()
        assert not await stage.crew.end(0.1)
        assert sorted(stage.ended) == [(0, -signal.SIGKILL), (1, -signal.SIGKILL)]

    play(scene)


def test_a_worker_that_does_not_read_is_given_up_before_memory_is(role, monkeypatch):
    role("stubborn")
    monkeypatch.setattr("pasvport.control.workers._LARGEST_BACKLOG", 1 << 20)

    async def scene(stage):
        await stage.crew.start()
        victim = stage.crew._workers[0]
        while not victim._outgoing or len(victim._outgoing) <= 1 << 20:
            victim.send(HardStop())
        await stage.until(lambda: (0, -signal.SIGKILL) in stage.ended)

    play(scene)


def test_what_a_worker_writes_to_stderr_is_passed_on_line_by_line(role):
    role("talks")

    async def scene(stage):
        with pytest.raises(ResourceError, match="code 1"):
            await stage.crew.start()
        assert [line for number, line in stage.complaints if number == 0] == ["one", "two", "three"]

    play(scene, size=1)


def test_exits_are_described_as_haproxys_master_does():
    assert describe(0) == "code 0 (Exit)"
    assert describe(3) == "code 3 (Exit)"
    assert describe(-9) == "code 137 (Killed)"
    assert describe(-15) == "code 143 (Terminated)"
