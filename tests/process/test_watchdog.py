"""The watchdog: who hangs is found, asked, and replaced; who had no chance is left alone."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from farm.ports import free_ports
from farm.processes import is_running
from farm.waiting import until
from pasvport.control.idleness import Activity, activity
from pasvport.control.watchdog import Watchdog
from process_rig import Running, Upstream, configuration, is_cut, kill, session, source_for, talk

HANGING = str(Path(__file__).parent.parent / "hanging_balancer.py")


class Worker:
    """As much of a worker as the watchdog sees."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.pid = 1000 + number
        self.is_suspect = False
        self.beats = 0
        self.signals: list[int] = []
        self.doing = Activity("S", 0.0)

    def kill(self, number: int) -> None:
        self.signals.append(number)


class Machine:
    """A generation of workers, a clock, and a watchdog that looks when it is told."""

    def __init__(self, size: int = 1) -> None:
        self.watched = [Worker(number) for number in range(size)]
        self.said: list[str] = []
        self.condemned: list[tuple[int, str]] = []
        self.clock = 100.0
        self.watchdog = Watchdog(lambda: [self], now=lambda: self.clock, inspect=self.inspect)  # type: ignore[list-item]

    def inspect(self, pid: int) -> Activity:
        return next(worker.doing for worker in self.watched if worker.pid == pid)

    def heartbeat(self, worker: Worker) -> int:
        return worker.beats

    def alert(self, text: str) -> None:
        self.said.append(text)

    def condemn(self, worker: Worker, why: str) -> None:
        self.condemned.append((worker.number, why))
        self.watched.remove(worker)

    def pass_seconds(self, count: int, *, beating: bool = False, used: float = 0.0, step: float = 1.0) -> None:
        for _ in range(count):
            self.clock += step
            for worker in self.watched:
                worker.beats += beating
                worker.doing = worker.doing._replace(seconds=worker.doing.seconds + used)
            self.watchdog.look()


def test_who_beats_is_never_inspected():
    machine = Machine(4)
    machine.inspect = None  # type: ignore[assignment,method-assign]
    machine.pass_seconds(100, beating=True)
    assert not machine.said


@pytest.mark.parametrize("state", ["S", "T"])
def test_who_sleeps_or_is_stopped_past_his_timer_hangs(state):
    machine = Machine()
    (worker,) = machine.watched
    worker.doing = Activity(state, 0.0)
    machine.pass_seconds(3)
    assert worker.is_suspect
    assert not machine.said
    machine.pass_seconds(1)
    assert machine.said == ["Worker 0 (1000) has not turned its event loop for 3 seconds."]
    assert worker.signals == [signal.SIGQUIT]
    machine.pass_seconds(2)
    assert machine.condemned == [(0, "it hung for 5 seconds")]


def test_who_runs_hangs_once_he_has_had_the_processor_for_long_enough():
    machine = Machine()
    machine.watched[0].doing = Activity("R", 7.0)
    machine.pass_seconds(8, used=1.0)
    assert machine.condemned == [(0, "it hung for 6 seconds")]


@pytest.mark.parametrize("state", ["R", "D"])
def test_who_gets_no_processor_or_waits_for_a_page_is_left_alone(state):
    machine = Machine(2)
    for worker in machine.watched:
        worker.doing = Activity(state, 7.0)
    machine.pass_seconds(12, used=0.02)
    assert not machine.condemned
    assert not machine.said


def test_who_waits_for_a_disk_for_half_a_minute_hangs():
    machine = Machine()
    machine.watched[0].doing = Activity("D", 7.0)
    machine.pass_seconds(40)
    assert machine.condemned == [(0, "it hung for 30 seconds")]


def test_who_is_debugged_is_left_alone():
    machine = Machine()
    machine.watched[0].doing = Activity("T", 0.0, traced=True)
    machine.pass_seconds(60)
    assert not machine.said


def test_after_everything_stood_still_nobody_is_killed():
    """Suspended, stopped, or so busy that the watchdog itself comes late: what happened before counts no more."""
    machine = Machine(8)
    for _ in range(20):
        machine.pass_seconds(2)
        machine.pass_seconds(1, step=3.0)
    assert not machine.said
    machine.pass_seconds(1, step=90_000.0)
    machine.pass_seconds(1, beating=True)
    assert not any(worker.is_suspect for worker in machine.watched)


def test_who_turns_again_is_forgiven():
    machine = Machine()
    machine.pass_seconds(4)
    machine.pass_seconds(1, beating=True)
    assert machine.said[1:] == ["Worker 0 (1000) turns its event loop again."]
    machine.pass_seconds(1)
    assert not machine.watched[0].is_suspect
    assert not machine.condemned


def test_one_at_a_time():
    machine = Machine(3)
    machine.pass_seconds(6)
    assert len(machine.condemned) == 1
    machine.pass_seconds(2)
    assert len(machine.condemned) == 3


def test_what_a_process_does_is_read():
    mine = activity(os.getpid())
    assert mine is not None
    assert mine.state == "R"
    assert mine.seconds > 0
    assert not mine.traced
    assert activity(2**22 + 1) is None


# --- whole processes ----------------------------------------------------------------------------------------------


@pytest.fixture
def upstream():
    with Upstream() as server:
        yield server


@pytest.mark.slow
def test_a_stopped_worker_is_replaced_and_its_clients_are_freed(tmp_path, upstream):
    port = free_ports(1)[0]
    with Running(tmp_path, configuration(port, upstream.port)) as balancer:
        first, _ = balancer.workers()
        with session(port, upstream, source_for(0)) as (lost, _), session(port, upstream, source_for(1)) as (a, b):
            kill(first, signal.SIGSTOP)
            balancer.wait_for(rf"Worker 0 \({first}\) has not turned its event loop for \d+ seconds\.")
            balancer.wait_for(
                rf"worker \({first}\) exited with code 137 \(Killed\), it hung for \d+ seconds: 1 session lost\."
            )
            assert is_cut(lost)
            talk(a, b)
            until(lambda: len(balancer.workers()) == 2, "another worker")
            with session(port, upstream, source_for(0)):
                pass
        assert not is_running(first)


@pytest.mark.slow
def test_a_worker_that_hangs_says_where_and_for_whom(tmp_path, upstream):
    port = free_ports(1)[0]
    text = configuration(port, upstream.port)
    with (
        Running(tmp_path, text, command=[sys.executable, HANGING], PYTHONPATH=str(Path(HANGING).parent)) as balancer,
        session(port, upstream) as (client, _),
    ):
        client.sendall(b"hang")
        balancer.wait_for(r"worker \d \(\d+\): +File .*hanging_worker.py")
        host, number = client.getsockname()
        balancer.wait_for(rf"It serves the session of {host}:{number} on frontend fe with server be/s\.")
        balancer.wait_for(r"it hung for \d+ seconds: 1 session lost\. Starting another\.")
        assert is_cut(client)
