"""What a supervisor asks of what it offers beside relaying."""

from __future__ import annotations

from typing import Protocol


class Service(Protocol):
    """Something the supervisor offers beside relaying: the stats sockets, the web pages."""

    async def start(self) -> None:
        """Begin, before the first worker accepts. Raises ResourceError, which ends the start."""

    async def reloaded(self) -> None:
        """`supervisor.generation` is another one now: open, close, change what its configuration says.

        Raises ResourceError for what could not be opened; what could is served.
        """

    async def close(self) -> None:
        """End, before the last worker does."""
