"""`/health`, `/health/ready` and `/health/live`: what is fit, what is degraded, and why."""

from __future__ import annotations

import signal
from types import SimpleNamespace

import pytest

import web_rig
from compiling import compiled
from farm.waiting import until
from pasvport.control.web import wellbeing
from process_rig import kill
from web_rig import ask

TEXT = """
global
    nbthread 2
defaults
    mode tcp
    timeout connect 1s
    timeout client 1s
    timeout server 1s
frontend fe
    bind 127.0.0.1:1
    default_backend be
backend be
    server a 127.0.0.1:2
backend other
    server b 127.0.0.1:3
"""


def generation(*workers: str, usable: tuple[int, int] = (1, 1), paused: bool = False, absence: float = 0.0):
    """`workers` are r(eady), b(ooting) or s(uspect)."""
    views = {1: usable[0], 2: usable[1]}
    return SimpleNamespace(
        config=compiled(TEXT),
        is_paused=paused,
        crew=SimpleNamespace(
            members=[SimpleNamespace(is_ready=each != "b", is_suspect=each == "s") for each in workers],
            absence=absence,
        ),
        roster=SimpleNamespace(backend_view=lambda index: SimpleNamespace(active=views[index], backup=0)),
    )


@pytest.mark.parametrize(
    ("given", "ready", "live"),
    [
        (generation("r", "r"), (True, "ok"), (True, "ok")),
        (generation("r"), (True, "degraded"), (True, "degraded")),
        (generation("r", "b"), (True, "degraded"), (True, "degraded")),
        (generation("r", "s"), (True, "degraded"), (True, "degraded")),
        (generation("r", absence=9.9), (True, "degraded"), (True, "degraded")),
        (generation("r", absence=10.0), (False, "failing"), (True, "degraded")),
        (generation("s", "b"), (False, "failing"), (False, "failing")),
        (generation(), (False, "failing"), (False, "failing")),
        (generation("r", "r", usable=(1, 0)), (False, "failing"), (True, "ok")),
        (generation("r", "r", paused=True), (False, "failing"), (True, "ok")),
    ],
)
def test_what_is_fit(given, ready, live) -> None:
    fit, why = wellbeing.look(given)
    assert (fit, why["status"]) == ready
    alive, why = wellbeing.live(given)
    assert (alive, why["status"]) == live


def test_the_scope_of_the_page_bounds_the_backends() -> None:
    given = generation("r", "r", usable=(1, 0))
    assert wellbeing.look(given, ("fe", "be"))[0]
    assert wellbeing.look(given)[1]["backends_without_servers"] == ["other"]


def test_a_worker_that_hangs_degrades_it(tmp_path, alive) -> None:
    with web_rig.pasvport(tmp_path, alive) as (running, places):
        assert ask(places.metrics, "/health/live").json == {"status": "ok"}
        first, _ = running.workers()
        kill(first, signal.SIGSTOP)
        until(lambda: ask(places.metrics, "/health").json == {"status": "degraded"}, "the hang to be noticed")
        answer = ask(places.metrics, "/health/ready")
        assert (answer.status, answer.json) == (200, {"status": "degraded"})
        assert ask(places.metrics, "/health/live").status == 200
        kill(first, signal.SIGCONT)
        until(lambda: ask(places.metrics, "/health").json == {"status": "ok"}, "it to be forgotten")
