"""Tables of the generated pages, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable


def table(head: tuple[str, ...], rows: Iterable[Iterable[str]]) -> str:
    """A table and the line end behind it. Cells are Markdown, but may hold any `|`."""
    return "\n".join([_line(head), f"|{'---|' * len(head)}", *map(_line, rows), ""])


def code(text: str) -> str:
    """A cell in the type of code; an empty one stays empty."""
    return f"`{text}`" if text else ""


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
