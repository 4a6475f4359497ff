"""What every server of a backend can do (FEAT), as far as checks and sessions found out.

A client that asks FEAT must not be promised what the server it ends up on cannot do. RFC 2389 section 3.2.
"""

from __future__ import annotations

from collections import Counter

from pasvport.control.roster import Position
from pasvport.ftp.settings import FEATURES
from pasvport.model import Config, Mode
from pasvport.wire import FeaturesKnown, FeaturesLearnt


class Census:
    """The features that all counted servers of one backend have in common; one change costs the same for any number
    of servers."""

    def __init__(self) -> None:
        self._listed: dict[Position, frozenset[bytes]] = {}
        self._holders: Counter[bytes] = Counter()

    def note(self, position: Position, features: tuple[bytes, ...] | None) -> None:
        """What the server there lists; None: it does not count any more."""
        self._holders.subtract(self._listed.pop(position, frozenset()))
        if features is not None:
            self._listed[position] = frozenset(features)
            self._holders.update(self._listed[position])

    @property
    def common(self) -> tuple[bytes, ...]:
        """Sorted; all that the balancer can carry where no server is counted."""
        return tuple(name for name in FEATURES if self._holders[name] == len(self._listed))


class Features:
    """The known features of every backend in `mode ftp`, for the workers.

    Checks and sessions are told what a server lists; the latest good answer of each counts. A server that refuses FEAT,
    or lists nothing, says nothing of itself and takes nothing from the others.
    """

    def __init__(self, config: Config) -> None:
        backends = [proxy.index for proxy in config.proxies if proxy.is_backend and proxy.mode is Mode.FTP]
        self._censuses = {index: Census() for index in backends}

    def listed(self, position: Position, features: tuple[bytes, ...] | None) -> FeaturesKnown | None:
        """What the server there lists now; None: it does not count any more. What all workers must hear, if anything
        is new to them."""
        census = self._censuses.get(position[0])
        if census is None:
            return None
        before = census.common
        census.note(position, features)
        return self._message(position[0]) if census.common != before else None

    def learnt(self, message: FeaturesLearnt) -> FeaturesKnown | None:
        """The same, from a session of a worker."""
        return self.listed((message.proxy, message.server), message.features)

    def known(self) -> tuple[FeaturesKnown, ...]:
        """What a worker that starts must hear: the backends that cannot do everything."""
        return tuple(
            self._message(proxy) for proxy, census in self._censuses.items() if len(census.common) < len(FEATURES)
        )

    def _message(self, proxy: int) -> FeaturesKnown:
        return FeaturesKnown(proxy, tuple(sorted(self._censuses[proxy].common)))
