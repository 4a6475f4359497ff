"""Which log files matter right now: printed when a test fails."""

from __future__ import annotations

from pathlib import Path

_watched: dict[str, Path] = {}


def watch(name: str, path: Path) -> None:
    _watched[name] = path


def forget(name: str) -> None:
    _watched.pop(name, None)


def excerpts(limit: int = 3000) -> list[tuple[str, str]]:
    """(name, last characters) of every watched log that holds something."""
    texts = ((name, path.read_text(errors="replace")) for name, path in _watched.items() if path.exists())
    return [(name, text[-limit:]) for name, text in texts if text]
