"""HAProxy's run-time messages about servers and backends, word for word.

Source: `reference/haproxy-tcp.md` section 1.6, checked against HAProxy 2.6.12. Levels are syslog's (0..7). On stderr
HAProxy says the same with its own label, and quotes the name of a backend without servers: `on_console` gives that.
"""

from __future__ import annotations

from dataclasses import dataclass

from pasvport.health.machine import Health
from pasvport.health.result import CheckResult, Outcome, reason
from pasvport.model import Proxy, Server

EMERGENCY, ALERT, WARNING, NOTICE = 0, 1, 4, 5


@dataclass(frozen=True, slots=True)
class Crowd:
    """Numbers that end a state message. `requeued` sessions move when the state changes, `waiting` ones stay."""

    active_servers: int
    backup_servers: int
    sessions: int
    requeued: int
    waiting: int

    @property
    def _servers(self) -> str:
        return f". {self.active_servers} active and {self.backup_servers} backup servers"

    @property
    def _fallback(self) -> str:
        return " Running on backup." if self.backup_servers and not self.active_servers else ""

    def left(self) -> str:
        """After a server stopped."""
        queue = f"{self.sessions} sessions active, {self.requeued} requeued, {self.waiting} remaining in queue."
        return f"{self._servers} left.{self._fallback} {queue}"

    def online(self) -> str:
        """After a server came up, or still runs."""
        queue = f"{self.requeued} sessions requeued, {self.waiting} total in queue."
        return f"{self._servers} online.{self._fallback} {queue}"


def named(proxy: Proxy, server: Server) -> str:
    """`[Backup ]Server B/S`."""
    return f"{'Backup ' if server.backup else ''}Server {proxy.name}/{server.name}"


def kind_of(proxy: Proxy) -> str:
    """What HAProxy calls it: a listen section is a `proxy`."""
    return "proxy" if proxy.is_frontend else "backend"


def none_left(proxy: Proxy) -> str:
    """The log's form."""
    return f"{kind_of(proxy)} {proxy.name} has no server available!"


def on_console(proxy: Proxy, level: int, text: str) -> tuple[str, str]:
    """What stderr shows for what the log says: (label, text)."""
    if level == EMERGENCY and text == none_left(proxy):
        return "ALERT", f"{kind_of(proxy)} '{proxy.name}' has no server available!"
    return ("ALERT" if level == EMERGENCY else "WARNING"), text


def check_report(proxy: Proxy, server: Server, result: CheckResult, health: Health, *, agent: bool, weight: int) -> str:
    """`option log-health-checks`: one line per result that moved the count or changed the status."""
    kind = "Agent" if agent else "Health"
    verb = "conditionally succeeded" if result.outcome is Outcome.CONDITIONAL else "failed"
    if result.outcome is Outcome.PASSED:
        verb = "succeeded"
    done, of = health.fraction()
    word = ("UP" if weight else "DRAIN") if health.is_up else "DOWN"
    name = f"{'backup ' if server.backup else ''}server {proxy.name}/{server.name}"
    return f"{kind} check for {name} {verb}{reason(result)}, status: {done}/{of} {word}."
