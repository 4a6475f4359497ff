"""Where both acts are told: a console of 80 columns, and the promises that are kept or not."""

from __future__ import annotations

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.syntax import Syntax
from rich.text import Text

from pasvport.demo import tables


class Stage:
    """Says what happens, and remembers what was promised."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._act = ""
        self._facts: list[tuple[str, str, bool]] = []

    def raise_curtain(self, act: str, subject: str) -> None:
        """A new act."""
        self._act = act
        self.console.print()
        self.console.rule(f"[bold]{act}[/]  {subject}", style="magenta")

    def say(self, text: str) -> None:
        """What happens next."""
        self.console.print(f"\n[bold magenta]>[/] {text}")

    def show(self, thing: RenderableType) -> None:
        """A table, or other lines."""
        self.console.print(thing)

    def quote(self, text: str, style: str = "yellow") -> None:
        """What somebody else said, indented, word by word."""
        self.console.print(Padding(Text(text, style=style), (0, 0, 0, 2)))

    def show_configuration(self, text: str) -> None:
        """In colours."""
        self.console.print(Syntax(text.strip(), "ini", theme="ansi_dark", background_color="default"))

    def promise(self, text: str, fact: bool) -> None:
        """For the verdict at the end."""
        self._facts.append((self._act, text, fact))

    def verdict(self) -> bool:
        """Every promise with yes or no. True when all held."""
        self.console.print()
        self.console.print(tables.verdicts(self._facts))
        return all(fact for _, _, fact in self._facts)
