"""Orders from the page: HAProxy's form fields (`s`, `b`, `action`), and its answers.

Source: HAProxy 2.6, observed: 303 to `URI;st=WORD`. DONE: every server obeyed; PART: some did; ERRP: none, or the order
makes no sense; NONE: nothing was ordered; DENY: this page takes no orders; EXCD: the form is too large.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs

from pasvport.control.roster import Roster
from pasvport.control.web.served import Serving
from pasvport.model import Proxy

LARGEST_FORM = 16384
"""Bytes; HAProxy's limit is its buffer, of the same size."""
_MOST_FIELDS = 2000
MEANINGS = {
    "DONE": "Done.",
    "PART": "Done in part: some servers are unknown.",
    "NONE": "Nothing was ordered: choose a server and an action.",
    "ERRP": "Nothing was done: the action or the server is unknown.",
    "EXCD": "Nothing was done: too much was ordered at once.",
    "DENY": "Nothing was done: this page takes no orders ('stats admin'), or they came from another site or, without "
    "'stats auth', under a foreign name.",
    "UNKN": "Something unexpected happened.",
}

Act = Callable[[Roster, int, int], None]


def _admin(mode: str) -> Act:
    return lambda roster, proxy, server: roster.set_admin(proxy, server, mode)


def _health(mode: str) -> Act:
    return lambda roster, proxy, server: roster.set_health(proxy, server, mode)


def _checking(*, agent: bool, enabled: bool) -> Act:
    return lambda roster, proxy, server: roster.set_checking(proxy, server, agent=agent, enabled=enabled)


ACTIONS: Mapping[str, tuple[Act, str]] = {
    "ready": (_admin("ready"), "Serve (ready)"),
    "drain": (_admin("drain"), "No new sessions (drain)"),
    "maint": (_admin("maint"), "Maintenance"),
    "dhlth": (_checking(agent=False, enabled=False), "Disable checks"),
    "ehlth": (_checking(agent=False, enabled=True), "Enable checks"),
    "hrunn": (_health("up"), "Say it is up"),
    "hnolb": (_health("stopping"), "Say it is stopping"),
    "hdown": (_health("down"), "Say it is down"),
    "dagent": (_checking(agent=True, enabled=False), "Disable agent"),
    "eagent": (_checking(agent=True, enabled=True), "Enable agent"),
    # Names from before HAProxy 1.5, which still work.
    "enable": (_admin("ready"), ""),
    "disable": (_admin("maint"), ""),
    "start": (_admin("ready"), ""),
    "stop": (_admin("drain"), ""),
}
"""What each value of `action` does, and what the page calls it ("": not offered)."""
SHUTDOWN = "shutdown"


@dataclass(frozen=True, slots=True)
class Order:
    """A form that makes sense: which servers (index of the proxy, of the server), and how many were named."""

    action: str
    targets: tuple[tuple[int, int], ...]
    named: int

    def told(self, generation: Serving) -> str:
        """`drain of mills/mill1, mills/mill2`, for the log."""
        proxies = generation.config.proxies
        names = (f"{proxies[proxy].name}/{proxies[proxy].servers[server].name}" for proxy, server in self.targets)
        return f"{self.action} of {', '.join(names)}"


def read(form: bytes, generation: Serving, scope: tuple[str, ...]) -> Order | str:
    """The order a form gives, or the word to answer with."""
    try:
        said = parse_qs(form.decode("utf-8", "replace"), max_num_fields=_MOST_FIELDS)
    except ValueError:
        return "EXCD"
    names, action, backend = said.get("s", []), said.get("action", [""])[-1], said.get("b", [""])[-1]
    if not names:
        return "NONE"
    proxy = _backend(generation, backend, scope)
    if proxy is None or action not in (*ACTIONS, SHUTDOWN):
        return "ERRP"
    known = {server.name: number for number, server in enumerate(proxy.servers)}
    found = tuple((proxy.index, known[name]) for name in names if name in known)
    return Order(action, found, len(names)) if found else "ERRP"


def _backend(generation: Serving, name: str, scope: tuple[str, ...]) -> Proxy | None:
    for proxy in generation.config.proxies:
        is_meant = proxy.name == name or f"#{proxy.id}" == name
        if proxy.is_backend and not proxy.disabled and is_meant and (not scope or proxy.name in scope):
            return proxy
    return None


async def obey(order: Order, generation: Serving) -> str:
    """Do it; the word to answer with."""
    for position in order.targets:
        if order.action == SHUTDOWN:
            await generation.questions.gather("kill of server", *position)
        else:
            ACTIONS[order.action][0](generation.roster, *position)
    return "DONE" if len(order.targets) == order.named else "PART"
