"""What HAProxy says about proxies as a whole: SIGHUP's dump, the end of a proxy, pauses. Words only, numbers passed in.

Source: HAProxy 2.6.12, observed; management guide, section 4 (signals).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pasvport.control.openings import capability
from pasvport.control.roster import Roster
from pasvport.control.tally import Tally
from pasvport.model import Config, Proxy
from pasvport.record import Block, Operation

Say = Callable[[Proxy, str], None]


class Figures:
    """Sums of the shared counters, by HAProxy's names for them; 0 for a side that a proxy does not have."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def process(self, name: str) -> int:
        return self._tally.total(self._tally.layout.process, name)

    def frontend(self, proxy: Proxy, name: str) -> int:
        return self._of(self._tally.layout.frontend.get(proxy.index), name)

    def backend(self, proxy: Proxy, name: str) -> int:
        return self._of(self._tally.layout.backend.get(proxy.index), name)

    def server(self, proxy: int, server: int, name: str) -> int:
        return self._of(self._tally.layout.server.get((proxy, server)), name)

    def crowd(self, proxy: int, server: int) -> tuple[int, int, int]:
        """(sessions on the server, waiting for it, waiting for any server of its backend): for Roster."""
        unassigned = self._of(self._tally.layout.backend.get(proxy), "qcur")
        return self.server(proxy, server, "scur"), self.server(proxy, server, "qcur"), unassigned

    def _of(self, block: Block | None, name: str) -> int:
        if block is None:
            return 0
        if name.endswith("max") or name == "lastsess":
            return self._tally.largest(block, name)
        return self._tally.total(block, name)

    def listener(self, proxy: int, bind: int, name: str) -> int:
        return self._of(self._tally.layout.listener.get((proxy, bind)), name)


def dump(config: Config, roster: Roster, figures: Figures) -> Iterator[tuple[Proxy | None, str]]:
    """SIGHUP: (the proxy whose logs get the line, the line)."""
    yield None, "SIGHUP received, dumping servers states."
    for proxy in _served(config):
        for number, server in enumerate(proxy.servers):
            sessions, waiting, _ = figures.crowd(proxy.index, number)
            is_stopped = roster.view(proxy.index, number).operation is Operation.STOPPED
            state = "DOWN" if is_stopped else "UP"
            total = figures.server(proxy.index, number, "stot")
            yield (
                proxy,
                f"SIGHUP: Server {proxy.name}/{server.name} is {state}. "
                f"Conn: {sessions} act, {waiting} pend, {total} tot.",
            )
        yield proxy, f"SIGHUP: Proxy {proxy.name} {_strength(proxy, roster)} {_connections(proxy, figures)}"


def _strength(proxy: Proxy, roster: Roster) -> str:
    if not proxy.servers:
        return "has no servers."
    backend = roster.backend_view(proxy.index)
    if not backend.active and not backend.backup:
        return "has no server available !"
    if not backend.active:
        return f"is running on {backend.backup} backup servers."
    return f"has {backend.active} active servers and {backend.backup} backup servers available."


def _connections(proxy: Proxy, figures: Figures) -> str:
    queued = sum(figures.server(proxy.index, number, "qcur") for number, _ in enumerate(proxy.servers))
    unassigned = figures.backend(proxy, "qcur")
    return (
        f"Conn: act(FE+BE): {figures.frontend(proxy, 'scur')}+{figures.backend(proxy, 'scur')}, "
        f"{queued + unassigned} pend ({unassigned} unass), "
        f"tot(FE+BE): {figures.frontend(proxy, 'conn_tot')}+{figures.backend(proxy, 'stot')}."
    )


def stopped(config: Config, figures: Figures) -> Iterator[tuple[Proxy, str]]:
    """The line of each proxy that a soft stop ends."""
    for proxy in _served(config):
        accepted, served = figures.frontend(proxy, "conn_tot"), figures.backend(proxy, "stot")
        yield proxy, f"Proxy {proxy.name} stopped (cumulated conns: FE: {accepted}, BE: {served})."


def hard_stopped(config: Config, figures: Figures) -> Iterator[tuple[Proxy, str]]:
    """The line of each frontend that has connections left when patience ends."""
    for proxy in _served(config):
        left = figures.frontend(proxy, "scur")
        if left:
            yield proxy, f"Proxy {proxy.name} hard-stopped ({left} remaining conns will be closed)."


def paused(config: Config, verb: str) -> Iterator[tuple[Proxy, str]]:
    """`Paused` or `Resumed` and the name of each proxy that listens."""
    for proxy in _served(config):
        if proxy.is_frontend and proxy.binds:
            yield proxy, f"{verb} {capability(proxy)} {proxy.name}."


def _served(config: Config) -> Iterator[Proxy]:
    return (proxy for proxy in config.proxies if not proxy.disabled)


def refused_reload(complaints: list[str]) -> Iterator[tuple[int, str]]:
    """(syslog level, message) for the logs: each complaint, and what became of the reload; nothing without any."""
    for complaint in complaints:
        yield 1, complaint
    if complaints:
        yield 4, "Reloading failed, the configuration in force stays."
