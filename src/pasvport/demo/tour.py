"""`pasvport demo`: the guided demonstration. Nothing of it leaves loopback, and nothing stays behind."""

from __future__ import annotations

import argparse
import random
import signal
from collections.abc import Sequence

from rich.console import Console
from rich.syntax import Syntax

from pasvport.demo import tables
from pasvport.demo.child import ChildError
from pasvport.demo.journal import SilenceError
from pasvport.demo.site import Site
from pasvport.demo.visits import Visit, client_addresses, visit_all
from pasvport.errors import ResourceError

SESSIONS_EACH = 2


def main(arguments: Sequence[str]) -> int:
    """Exit status: 0 when everything held, 1 when something did not, 130 when interrupted before the end."""
    wanted = _parse(arguments)
    console = Console(highlight=False, width=None if Console().is_terminal else 80)
    # `kill` must clean up as Ctrl-C does.
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    try:
        with Site(wanted.servers) as site:
            held = Tour(site, console, wanted.clients).walk()
            if not wanted.once:
                _stay(site, console)
    except (ChildError, SilenceError, ResourceError) as error:
        console.print(f"[bold red]The demonstration could not go on:[/] {error}", markup=True)
        return 1
    except KeyboardInterrupt:
        console.print("\nInterrupted; everything is stopped and removed.")
        return 130
    return 0 if held else 1


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="pasvport demo", description="Three FTP servers behind HAProxy's passive-FTP page, on loopback."
    )
    parser.add_argument("--once", action="store_true", help="end after the tour; the status tells whether all held")
    parser.add_argument("--servers", type=_between(2, 20), default=3, metavar="N", help="FTP servers, 2-20 (3)")
    parser.add_argument("--clients", type=_between(1, 2000), default=24, metavar="N", help="client addresses (24)")
    return parser.parse_args(list(arguments))


class _between:  # noqa: N801 - reads as a word where it is used
    """An argparse type: an integer in a closed interval."""

    def __init__(self, low: int, high: int) -> None:
        self._low, self._high = low, high

    def __call__(self, text: str) -> int:
        if not text.isdecimal() or not self._low <= int(text) <= self._high:
            raise argparse.ArgumentTypeError(f"expected {self._low} to {self._high}, not '{text}'")
        return int(text)


class Tour:
    """The story, told while it happens."""

    def __init__(self, site: Site, console: Console, clients: int) -> None:
        self._site = site
        self._console = console
        self._clients = client_addresses(clients)
        self._names = [server.name for server in site.servers]
        self._chance = random.Random(21)
        self._facts: list[tuple[str, bool]] = []

    def walk(self) -> bool:
        """All of it. True when every promise held."""
        self._show_configuration()
        before = self._many_clients()
        self._a_server_stops(before)
        self._it_returns()
        self._console.print(tables.verdicts(self._facts))
        return all(fact for _, fact in self._facts)

    def _say(self, text: str) -> None:
        self._console.print(f"\n[bold magenta]>[/] {text}")

    def _promise(self, text: str, fact: bool) -> None:
        self._facts.append((text, fact))

    def _sessions(self, sources: Sequence[str]) -> list[Visit]:
        return visit_all(self._site.door, sources, self._chance)

    def _show_configuration(self) -> None:
        self._say(f"{len(self._names)} FTP servers, and the page's configuration moved to loopback:")
        self._console.print(Syntax(self._site.text.strip(), "ini", theme="ansi_dark", background_color="default"))

    def _many_clients(self) -> list[Visit]:
        count = len(self._clients)
        self._say(f"{count} client addresses, {SESSIONS_EACH} sessions each: log in, upload, LIST, download, compare.")
        visits: list[Visit] = []
        for _ in range(SESSIONS_EACH):
            # In the same order leastconn would deal the same cards again, and hide a lost table.
            visits += self._sessions(self._chance.sample(self._clients, count))
        self._console.print(tables.by_client("Some of the sessions", visits))
        self._console.print(tables.by_server("Who landed where", self._names, visits))
        homes = {(each.source, each.control) for each in visits}
        self._promise("every session worked, every byte came back", all(each.held for each in visits))
        self._promise("control and data connections reached one server", all(v.control == v.data for v in visits))
        self._promise("each client returned to its own server", len(homes) == count)
        if count >= 8 * len(self._names):
            # Each worker deals its own clients out; of a few, all may meet in one place.
            self._promise("every server was used", {each.control for each in visits} == set(self._names))
        return visits[:count]

    def _a_server_stops(self, before: list[Visit]) -> None:
        leaver = self._site.servers[-1]
        self._say(f"{leaver.name} is stopped. pasvport's checks notice:")
        self._site.journal.forget()
        leaver.stop()
        self._console.print(f"  [yellow]{self._site.journal.until(f'Server ftp_servers/{leaver.name} is DOWN')}[/]")
        after = self._sessions([each.source for each in before])
        self._console.print(tables.moves("The same clients again", before, after))
        home = {each.source: each.control for each in before}
        stayed = all(each.control == home[each.source] for each in after if home[each.source] != leaver.name)
        self._promise("clients of the stopped server were served elsewhere", all(each.held for each in after))
        self._promise("clients of the other servers noticed nothing", stayed)
        self._promise("nobody reached the stopped server", all(each.control != leaver.name for each in after))

    def _it_returns(self) -> None:
        returner = self._site.servers[-1]
        self._say(f"{returner.name} returns:")
        returner.start()
        self._console.print(f"  [green]{self._site.journal.until(f'Server ftp_servers/{returner.name} is UP')}[/]")
        newcomers = client_addresses(4 * len(self._names), offset=len(self._clients))
        visits = self._sessions(newcomers)
        self._console.print(tables.by_server("New clients", self._names, visits))
        back = any(each.control == returner.name for each in visits)
        self._promise("the returned server takes new clients", back and all(each.held for each in visits))


def _stay(site: Site, console: Console) -> None:
    door = site.door
    console.print(f"\nStill running. Try:  curl ftp://{door.user}:{door.password}@{door.host}:{door.port}/whoami.txt")
    console.print("and with  --interface 127.50.9.9  as another client. Ctrl-C ends it.", soft_wrap=True)
    try:
        signal.pause()
    except KeyboardInterrupt:
        console.print("\nStopped; nothing is left behind.")
