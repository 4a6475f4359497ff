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

    A session can only take away. Checks say what holds now: their news overrule what sessions learnt before.
    """

    def __init__(self, config: Config) -> None:
        backends = [proxy.index for proxy in config.proxies if proxy.is_backend and proxy.mode is Mode.FTP]
        self._checked = {index: frozenset(FEATURES) for index in backends}
        self._learnt = {index: frozenset(FEATURES) for index in backends}

    def learnt(self, message: FeaturesLearnt) -> FeaturesKnown | None:
        """A worker met a server that lists only these. What all workers must hear, if anything is new to them."""
        if message.proxy not in self._learnt:
            return None
        before = self._of(message.proxy)
        self._learnt[message.proxy] &= frozenset(message.features)
        return self._news(message.proxy, before)

    def checked(self, proxy: int, features: tuple[bytes, ...]) -> FeaturesKnown | None:
        """The checks of a backend's servers agree on these. What all workers must hear, if anything is new."""
        if proxy not in self._checked:
            return None
        before = self._of(proxy)
        self._checked[proxy] = frozenset(features)
        self._learnt[proxy] = frozenset(FEATURES)
        return self._news(proxy, before)

    def known(self) -> tuple[FeaturesKnown, ...]:
        """What a worker that starts must hear: the backends that cannot do everything."""
        return tuple(self._message(proxy) for proxy in self._checked if len(self._of(proxy)) < len(FEATURES))

    def _of(self, proxy: int) -> frozenset[bytes]:
        return self._checked[proxy] & self._learnt[proxy]

    def _news(self, proxy: int, before: frozenset[bytes]) -> FeaturesKnown | None:
        return self._message(proxy) if self._of(proxy) != before else None

    def _message(self, proxy: int) -> FeaturesKnown:
        return FeaturesKnown(proxy, tuple(sorted(self._of(proxy))))
