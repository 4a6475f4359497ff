"""How the servers of `mode ftp` open data ports, as sessions found out: told to the other workers, and to later ones.

A server whose EPSV is silent costs a session some seconds, and one that hangs up at EPSV costs the session: no worker
shall pay for what another knows already, nor one that starts after a reload.
"""

from __future__ import annotations

from pasvport.model import Config, FtpPassive, Proxy, Server
from pasvport.wire import PassiveKnown, PassiveLearnt

_NOTHING = ("-", "-")


class PassiveWays:
    """Of one configuration's servers. Where the configuration fixes the way, nothing is learnt."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._known: dict[tuple[int, int], tuple[str, str]] = {}

    def learnt(self, message: PassiveLearnt) -> PassiveKnown:
        """A worker's news. What the others must hear."""
        self._note(message.proxy, message.server, (message.works, message.closes))
        return PassiveKnown(message.proxy, message.server, message.works, message.closes)

    def known(self) -> tuple[PassiveKnown, ...]:
        """What a worker that starts must hear."""
        return tuple(PassiveKnown(*position, *ways) for position, ways in self._known.items())

    def forget(self, proxy: int, server: int) -> None:
        """There is another server at that place."""
        self._known.pop((proxy, server), None)

    def inherit(self, former: PassiveWays) -> tuple[PassiveKnown, ...]:
        """What was known of servers with the same names at the same addresses. What workers must hear of it."""
        before = {}
        for (place, number), ways in former._known.items():
            old = former._config.proxies[place]
            before[old.name, old.servers[number].name] = (old.servers[number], ways)
        for proxy, number, server in self._open():
            found = before.get((proxy.name, server.name))
            if found is not None and (found[0].endpoint, found[0].port) == (server.endpoint, server.port):
                self._note(proxy.index, number, found[1])
        return self.known()

    def _open(self) -> list[tuple[Proxy, int, Server]]:
        """Servers of which something may be learnt."""
        return [
            (proxy, number, server)
            for proxy in self._config.proxies
            for number, server in enumerate(proxy.servers)
            if proxy.passive_of(server) is FtpPassive.AUTO
        ]

    def _note(self, proxy: int, server: int, ways: tuple[str, str]) -> None:
        if ways == _NOTHING:
            self._known.pop((proxy, server), None)
        else:
            self._known[proxy, server] = ways
