"""Changes of the configuration in force that operators order (`add server`, `del server`), waiting to be served.

Each needs another generation, as a reload does. So those that come while one is made wait, and are served by the next
one together, unless two are about the same server: who is deleted and added again inherits nothing.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pasvport.config.diagnostics import Diagnostics
from pasvport.control.background import in_thread
from pasvport.control.resolve import has_names, resolve
from pasvport.errors import ConfigError, PasvportError
from pasvport.model import Config

_SERVER = re.compile(r"^'server [^']*' : ")
"""Which server it is about is known to whoever asked."""


@dataclass(frozen=True, slots=True)
class Amendment:
    """One change. `change` raises ConfigError with the reason where it cannot be made; `about` names its object."""

    about: tuple[str, str]
    change: Callable[[Config], Config]


@dataclass(frozen=True, slots=True)
class Petition:
    """An amendment, and what tells whoever asked for it that it is in force, or why not."""

    amendment: Amendment
    outcome: asyncio.Future[None]

    def grant(self) -> None:
        """It is in force."""
        if not self.outcome.done():
            self.outcome.set_result(None)

    def refuse(self, error: PasvportError) -> None:
        """It is not, and will not be."""
        if not self.outcome.done():
            self.outcome.set_exception(error)


class Amendments:
    """Those that wait, oldest first."""

    def __init__(self) -> None:
        self._waiting: list[Petition] = []

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def submit(self, amendment: Amendment) -> asyncio.Future[None]:
        """Wait for a turn; the future has no result until the change is in force."""
        outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(Petition(amendment, outcome))
        return outcome

    def take(self) -> list[Petition]:
        """As many of the oldest as one generation can serve; nobody waits for the answer to those left out."""
        taken: dict[tuple[str, str], Petition] = {}
        while self._waiting and self._waiting[0].amendment.about not in taken:
            petition = self._waiting.pop(0)
            if not petition.outcome.done():
                taken[petition.amendment.about] = petition
        return list(taken.values())


def refuse(petitions: Iterable[Petition], error: PasvportError) -> None:
    """Refuse those that have no answer yet."""
    for petition in petitions:
        petition.refuse(error)


async def amended(config: Config, petitions: list[Petition]) -> tuple[Config, list[Petition]]:
    """The configuration with all changes that can be made, and whose they are; the others are refused."""
    made = []
    for petition in petitions:
        try:
            config = await _resolved(petition.amendment.change(config))
        except ConfigError as error:
            petition.refuse(error)
        else:
            made.append(petition)
    return config, made


async def _resolved(config: Config) -> Config:
    if not has_names(config):
        return config
    found = Diagnostics()
    resolved = await in_thread(lambda: resolve(config, found))
    if found.has_alerts:
        raise ConfigError(_SERVER.sub("", found.found[0].text))
    return resolved
