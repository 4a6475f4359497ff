"""The second act: one word of the page changed, in front of servers as installed."""

from __future__ import annotations

import ftplib
import hashlib
import random
import time
from collections.abc import Callable

from pasvport.demo import callers, tables
from pasvport.demo.pages import changes, one_word_changed
from pasvport.demo.site import USERS, WRONG_ADDRESS, FtpSite
from pasvport.demo.stage import Stage
from pasvport.demo.visits import client_addresses, visit_all

_DOWNLOADS = 3
_TROUBLE = (ftplib.Error, OSError, EOFError)


class WordAct:
    """Wrong passive settings, a reload in mid-transfer, an office, a stranger, a drain, IPv6."""

    def __init__(self, site: FtpSite, stage: Stage, clients: int) -> None:
        self._site = site
        self._stage = stage
        self._clients = client_addresses(clients)
        self._names = [server.name for server in site.servers]
        self._chance = random.Random(21)
        self._digest = hashlib.sha256(site.film).digest()

    def play(self) -> None:
        """All of it; what held is told to the stage."""
        self._change_the_word()
        for scene in (self._as_installed, self._reload, self._office, self._stranger, self._drain, self._ipv6):
            try:
                scene()
            except _TROUBLE as error:
                self._stage.promise(f"the scene '{scene.__name__.strip('_')}' went through", fact=False)
                self._stage.quote(f"{type(error).__name__}: {error}", "bold red")

    def _change_the_word(self) -> None:
        stage, site = self._stage, self._site
        stage.say("The same page, one word changed, and the log lines that go with it:")
        stage.show(tables.difference(changes(site.page, one_word_changed(site.page))))
        stage.say("Added for you: look at it in another window while this runs.")
        stage.show(tables.windows(site.windows))

    def _as_installed(self) -> None:
        stage, site = self._stage, self._site
        stage.say("The servers are as installed: behind NAT, each tells its clients nonsense.")
        door, server = site.door, site.servers[0].wish
        direct = callers.passive_reply(server.host, server.port, door.user, door.password)
        ours = callers.passive_reply(door.host, door.port, door.user, door.password)
        stage.show(tables.said((("ftp-server1 says", direct), ("the client hears", ours))))
        visits = visit_all(door, self._clients, self._chance)
        stage.show(tables.by_server(f"{len(self._clients)} clients", self._names, visits))
        # That it is nonsense is part of the experiment: servers that said the right thing would prove nothing.
        nonsense = WRONG_ADDRESS.replace(".", ",") in direct and door.host.replace(".", ",") in ours
        stage.promise("servers told nonsense, clients the right address", nonsense)
        stage.promise("every session worked, every byte came back", all(each.held for each in visits))
        stage.promise("every download came from its session's server", all(v.control == v.data for v in visits))

    def _reload(self) -> None:
        stage, site = self._stage, self._site
        stage.say("Nobody has to stick to a server any more. Two lines less, by a reload")
        stage.show("  (SIGUSR2), while somebody downloads 48 MiB:")
        text = site.without_stickiness()
        stage.show(tables.difference(changes(site.text, text)))
        began = time.monotonic()
        spent = 0.0

        def exchange(_server: str) -> None:
            nonlocal spent
            began = time.monotonic()
            site.reload(text)
            spent = time.monotonic() - began

        got = callers.slow_download(site.door, self._clients[0], exchange)
        total = time.monotonic() - began
        stage.quote(f"the new text serves after {spent:.1f} s; the download ends after {total:.1f} s: {got.reply}")
        stage.promise("a download went on across a reload, whole", got.digest == self._digest)

    def _office(self) -> None:
        stage, site = self._stage, self._site
        users = [USERS[number % len(USERS)] for number in range(max(12, 2 * len(self._names)))]
        stage.say(f"An office behind one address: {len(users)} sessions at once, {_DOWNLOADS} downloads each.")
        members = callers.office(site.door, users, _DOWNLOADS)
        stage.show(tables.office("Everybody comes from " + callers.OFFICE, self._names, members))
        stage.promise("one address, spread over every server", {each.server for each in members} == set(self._names))
        stage.promise("each download from its own session's server", all(each.held for each in members))

    def _stranger(self) -> None:
        stage = self._stage
        stage.say("Somebody asks for a data port. A stranger connects to it first.")
        found = callers.intrude(self._site.door)
        rows = (
            (f"the stranger, port {found.port}", f"{found.fate}, {found.stolen} bytes"),
            (f"then the owner, port {found.port}", f"the file of {found.delivered}, from {found.server}"),
        )
        stage.show(tables.said(rows))
        stage.promise("a stranger at a leased port got nothing", found.stolen == 0)
        stage.promise("and its owner got the file all the same", found.delivered == found.server)

    def _drain(self) -> None:
        stage, site, asked = self._stage, self._site, self._ask
        stage.say("A server is drained while a download runs from it.")
        running = ""

        def drain(server: str) -> None:
            nonlocal running
            running = asked("show ftp transfers")
            stage.quote(f"$ pasvport ctl -s SOCKET set server ftp_servers/{server} state drain", "cyan")
            asked(f"set server ftp_servers/{server} state drain")
            newcomers = callers.office(site.door, USERS, 1)
            stage.promise("a drained server got nobody new", all(m.held and m.server != server for m in newcomers))

        site.journal.forget()
        got = callers.slow_download(site.door, self._clients[0], drain, farewell=True)
        stage.show(tables.said((("the download", got.reply), ("then the session", got.farewell))))
        self._log_lines()
        asked(f"set server ftp_servers/{got.server} state ready")
        stage.promise("its download finished, whole", got.digest == self._digest and "film.bin" in running)
        stage.promise("and its session was dismissed with 421", got.farewell.startswith("421"))

    def _log_lines(self) -> None:
        self._stage.say("Both log lines of that session: the transfer, the session.")
        lines = [self._site.journal.line(part) for part in ('"film.bin"', f'"{self._site.door.user}" 1/0')]
        for line in lines:
            self._stage.show(tables.log_line(line))
        self._stage.promise("a log line a transfer, one a session", "RETR" in lines[0] and "complete" in lines[0])

    def _ipv6(self) -> None:
        stage, port = self._stage, self._site.windows.ipv6
        if not port:
            stage.say("There is no IPv6 loopback here; otherwise an IPv6 client would come to the IPv4 servers now.")
            return
        stage.say("An IPv6 client, IPv4 servers:")
        reply, held = callers.over_ipv6(port, self._site.door, self._chance)
        stage.show(tables.said((("ftp://[::1]/", reply),)))
        stage.promise("an IPv6 client worked with IPv4 servers", held)

    @property
    def _ask(self) -> Callable[[str], str]:
        return lambda command: callers.ask(self._site.windows.socket, command)
