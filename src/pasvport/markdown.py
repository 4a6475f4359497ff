"""The generated pages: tables in Markdown, and where a page goes."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path


def table(head: tuple[str, ...], rows: Iterable[Iterable[str]]) -> str:
    """A table and the line end behind it. Cells are Markdown, but may hold any `|`."""
    return "\n".join([_line(head), f"|{'---|' * len(head)}", *map(_line, rows), ""])


def code(text: str) -> str:
    """A cell in the type of code; an empty one stays empty."""
    return f"`{text}`" if text else ""


def publish(page: str, arguments: Sequence[str]) -> None:
    """Write the page to the file that the first argument names, or to standard output."""
    if arguments:
        Path(arguments[0]).write_text(page, encoding="utf-8")
    else:
        sys.stdout.write(page)


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
