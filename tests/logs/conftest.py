"""Time zones: local time is part of a log line."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from pasvport.logformat import json_lines, syslog, xferlog


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Sets this process's time zone (POSIX form, so that no zone files are needed) for one test."""

    def choose(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        _forget()

    yield choose
    monkeypatch.undo()
    _forget()


@pytest.fixture
def utc(zone: Callable[[str], None]) -> None:
    zone("UTC0")


def _forget() -> None:
    time.tzset()
    syslog._syslog_date.cache_clear()
    syslog._iso_date.cache_clear()
    json_lines._iso_date.cache_clear()
    xferlog._date.cache_clear()
