"""What the web pages need of the supervisor and of its generations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pasvport.control.information import Process
from pasvport.control.questions import Questions


class Serving(Process, Protocol):
    """A generation, as the pages see it."""

    @property
    def questions(self) -> Questions: ...
    @property
    def is_paused(self) -> bool: ...

    def alert(self, text: str) -> None: ...


class Supervising(Protocol):
    """The supervisor, as the pages see it: the generation that serves, and those that only finish."""

    @property
    def generation(self) -> Serving: ...
    @property
    def former(self) -> Sequence[Serving]: ...
