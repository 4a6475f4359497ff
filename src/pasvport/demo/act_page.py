"""The first act: HAProxy's page as it is, in `mode tcp`."""

from __future__ import annotations

import random
from collections.abc import Sequence

from pasvport.demo import tables
from pasvport.demo.site import Site
from pasvport.demo.stage import Stage
from pasvport.demo.visits import Visit, client_addresses, visit_all

SESSIONS_EACH = 2


class PageAct:
    """Many clients, a server that stops, its return."""

    def __init__(self, site: Site, stage: Stage, clients: int) -> None:
        self._site = site
        self._stage = stage
        self._clients = client_addresses(clients)
        self._names = [server.name for server in site.servers]
        self._chance = random.Random(21)

    def play(self) -> None:
        """All of it; what held is told to the stage."""
        self._stage.say(f"{len(self._names)} FTP servers, and the page's configuration moved to loopback:")
        self._stage.show_configuration(self._site.text)
        before = self._many_clients()
        self._a_server_stops(before)
        self._it_returns()

    def _sessions(self, sources: Sequence[str]) -> list[Visit]:
        return visit_all(self._site.door, sources, self._chance)

    def _many_clients(self) -> list[Visit]:
        stage, count = self._stage, len(self._clients)
        stage.say(f"{count} client addresses, {SESSIONS_EACH} sessions each: log in, upload, LIST, download, compare.")
        visits: list[Visit] = []
        for _ in range(SESSIONS_EACH):
            # In the same order leastconn would deal the same cards again, and hide a lost table.
            visits += self._sessions(self._chance.sample(self._clients, count))
        stage.show(tables.by_client("Some of the sessions", visits, 3))
        stage.show(tables.by_server("Who landed where", self._names, visits))
        homes = {(each.source, each.control) for each in visits}
        stage.promise("every session worked, every byte came back", all(each.held for each in visits))
        stage.promise("control and data connections reached one server", all(v.control == v.data for v in visits))
        stage.promise("each client returned to its own server", len(homes) == count)
        if count >= 8 * len(self._names):
            # Each worker deals its own clients out; of a few, all may meet in one place.
            stage.promise("every server was used", {each.control for each in visits} == set(self._names))
        return visits[:count]

    def _a_server_stops(self, before: list[Visit]) -> None:
        stage, leaver = self._stage, self._site.servers[-1]
        stage.say(f"{leaver.name} is stopped. pasvport's checks notice:")
        self._site.journal.forget()
        leaver.stop()
        stage.quote(self._site.journal.until(f"Server ftp_servers/{leaver.name} is DOWN"), "yellow")
        after = self._sessions([each.source for each in before])
        stage.show(tables.moves("The same clients again", before, after))
        home = {each.source: each.control for each in before}
        stayed = all(each.control == home[each.source] for each in after if home[each.source] != leaver.name)
        stage.promise("clients of the stopped server were served elsewhere", all(each.held for each in after))
        stage.promise("clients of the other servers noticed nothing", stayed)
        stage.promise("nobody reached the stopped server", all(each.control != leaver.name for each in after))

    def _it_returns(self) -> None:
        stage, returner = self._stage, self._site.servers[-1]
        stage.say(f"{returner.name} returns:")
        returner.start()
        stage.quote(self._site.journal.until(f"Server ftp_servers/{returner.name} is UP"), "green")
        newcomers = client_addresses(4 * len(self._names), offset=len(self._clients))
        visits = self._sessions(newcomers)
        stage.show(tables.by_server("New clients", self._names, visits))
        back = any(each.control == returner.name for each in visits)
        stage.promise("the returned server takes new clients", back and all(each.held for each in visits))
