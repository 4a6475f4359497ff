"""Tables of the generated pages, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable


def table(title: str, head: tuple[str, ...], rows: Iterable[tuple[str, ...]], level: int = 2) -> str:
    """A titled table; the title's `level` is the number of its `#`."""
    lines = [f"{'#' * level} {title}", "", _row(head), _row(("---",) * len(head)), *map(_row, rows)]
    return "\n".join(lines) + "\n"


def names(words: Iterable[str], sign: str) -> str:
    """Words in order, each as code behind `sign`."""
    return " ".join(f"`{sign}{word}`" for word in sorted(words))


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"
