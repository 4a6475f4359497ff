"""What every test obeys: no descriptor and no child outlives it; a failure shows the logs of whatever was running."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from farm import journal, ports
from farm.processes import describe, parents
from farm.waiting import until

PR_SET_CHILD_SUBREAPER = 36
# Opened once by a library and kept on purpose.
PERMANENT = ("/dev/null", "/dev/urandom", "/dev/random", "/dev/pts/", "/dev/tty")

settings.register_profile("fast", max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("deep", max_examples=5000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: more than five seconds; `-m 'not slow'` leaves it out")
    # Started in the background (nohup, some CI), we inherit "ignored", and so would every child that a test interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    # A daemon's grandchild whose parent has died becomes our child instead of init's, so it can be seen and named.
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    # A shell starts what it puts in the background with SIGINT ignored, and balancers keep it so; the tests of SIGINT
    # are about the ordinary case.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _open_descriptors() -> set[tuple[int, str]]:
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = str(entry.readlink())
        except OSError:
            continue  # the descriptor that reads this directory
        if not target.startswith((*PERMANENT, "/proc/")):
            found.add((int(entry.name), target))
    return found


def _children() -> set[int]:
    """Direct children, and orphans adopted from them; zombies that nobody waits for are collected on the way."""
    return {pid for pid, parent in parents().items() if parent == os.getpid()}


def _leaks(descriptors: set[tuple[int, str]], children: set[int]) -> tuple[set[tuple[int, str]], set[int]]:
    born = _children() - children
    for pid in born:
        # An adopted orphan that has ended is no leak. One that a forgotten Popen should have waited for is
        # caught by Popen's own ResourceWarning.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
    return _open_descriptors() - descriptors, _children() - children


@pytest.fixture(autouse=True)
def nothing_leaks() -> Iterator[None]:
    """Descriptors and children after each test are those of before. Session and module fixtures start earlier."""
    descriptors, children = _open_descriptors(), _children()
    yield
    left = _leaks(descriptors, children)
    if any(left):
        # Collecting turns a socket that only a cycle holds into a ResourceWarning, which is an error of its own.
        gc.collect()
        try:
            until(lambda: not any(_leaks(descriptors, children)), "everything to be closed", 2.0)
        except AssertionError:
            opened, born = _leaks(descriptors, children)
            names = [f"{pid} {describe(pid)}" for pid in born]
            pytest.fail(f"left open: {sorted(opened)}; left running: {names}")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Attach the logs of running servers and balancers to a failure."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.failed:
        report.sections.extend((f"log of {name}", text) for name, text in journal.excerpts())


@pytest.fixture
def free_port() -> int:
    """A TCP port of 127.0.0.1 that was free a moment ago."""
    return ports.free_port()
