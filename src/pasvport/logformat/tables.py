"""Tables of the generated pages, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable

from pasvport import markdown


def table(title: str, head: tuple[str, ...], rows: Iterable[tuple[str, ...]], level: int = 2) -> str:
    """A titled table; the title's `level` is the number of its `#`."""
    return f"{'#' * level} {title}\n\n{markdown.table(head, rows)}"


def names(words: Iterable[str], sign: str) -> str:
    """Words in order, each as code behind `sign`."""
    return " ".join(f"`{sign}{word}`" for word in sorted(words))
