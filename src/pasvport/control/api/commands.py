"""What a command of the runtime API is, and what it gets: the shape of the table's rows.

A command is an asynchronous generator of pieces of text, so that an answer is never larger in memory than a piece.
Source: HAProxy management guide, section 9.3.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from socket import socket as Connection  # noqa: N812 (a name that says what it is here)
from typing import Protocol

from pasvport.control.amendments import Amendment
from pasvport.control.generation import Generation
from pasvport.errors import PasvportError
from pasvport.model import Proxy, StatsLevel, StatsSocket

ERROR, WARNING, NOTICE, INFO = 3, 4, 5, 6
"""Syslog levels of what a command says about itself (`set severity-output`)."""
_WORDS = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
_RANK = (StatsLevel.USER, StatsLevel.OPERATOR, StatsLevel.ADMIN)


class Severity(StrEnum):
    """`set severity-output`: how a remark shows how grave it is."""

    NONE = "none"
    NUMBER = "number"
    STRING = "string"


class Refusal(PasvportError):  # noqa: N818 (it is an answer, not a fault)
    """A command says why it did nothing. The text ends up in the answer, at syslog level `level`."""

    def __init__(self, text: str, level: int = ERROR) -> None:
        super().__init__(text)
        self.text = text
        self.level = level


class Balancer(Protocol):
    """What the commands act upon: the supervisor."""

    @property
    def generation(self) -> Generation: ...

    @property
    def former(self) -> Sequence[Generation]: ...

    @property
    def startup_logs(self) -> str: ...

    async def reload(self) -> list[str]: ...

    async def amend(self, amendment: Amendment) -> None: ...


@dataclass(slots=True)
class Client:
    """One connection to a stats socket, as far as commands may look at it or change it. `timeout` in seconds."""

    socket: StatsSocket
    level: StatsLevel
    timeout: float
    interactive: bool = False
    severity: Severity = Severity.NONE
    leaving: bool = False
    connection: Connection | None = None
    """For what cannot be said in text."""

    def may(self, level: StatsLevel) -> bool:
        """Whether a command that needs `level` is allowed."""
        return _RANK.index(self.level) >= _RANK.index(level)

    def remark(self, level: int, text: str) -> str:
        """What a command says about itself, marked as the client wants it."""
        marks = {Severity.NUMBER: f"[{level}]: ", Severity.STRING: f"[{_WORDS[level]}]: "}
        return f"{marks.get(self.severity, '')}{text}\n"


@dataclass(slots=True)
class Request:
    """One command given. `arguments` are the words after the command's own; `payload` is what followed `<<`."""

    balancer: Balancer
    client: Client
    words: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    payload: str = ""
    commands: tuple[Command, ...] = ()
    """The whole table."""

    @property
    def generation(self) -> Generation:
        """The one that serves new clients."""
        return self.balancer.generation

    def argument(self, number: int) -> str:
        """An argument by its position, "" where there is none."""
        return self.arguments[number] if number < len(self.arguments) else ""


Run = Callable[[Request], AsyncIterator[str]]


@dataclass(frozen=True, slots=True)
class Command:
    """A row. `name` are its first words; `usage` what follows them; `level` the least that may give it.

    `detail` explains more in docs/runtime-api.md. `hidden` commands are not listed by `help`.
    """

    name: str
    usage: str
    doc: str
    run: Run
    level: StatsLevel = StatsLevel.USER
    detail: str = ""
    hidden: bool = False
    words: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "words", tuple(self.name.split()))

    @property
    def syntax(self) -> str:
        return f"{self.name} {self.usage}".rstrip()

    def fits(self, words: tuple[str, ...]) -> bool:
        """Whether `words` begin with this command's."""
        return words[: len(self.words)] == self.words


def answering(action: Callable[[Request], str]) -> Run:
    """A command whose whole answer is one short text."""

    async def run(request: Request) -> AsyncIterator[str]:
        text = action(request)
        if text:
            yield text

    return run


def remarking(action: Callable[[Request], str], level: int = INFO) -> Run:
    """A command that does something; what it returns, if anything, is a remark."""

    async def run(request: Request) -> AsyncIterator[str]:
        text = action(request)
        if text:
            yield request.client.remark(level, text)

    return run


# --- what arguments name ------------------------------------------------------------------------------------------


def find_server(request: Request, text: str) -> tuple[Proxy, int]:
    """The backend and the server's index of `backend/server`, each by name or by `#id`. Raises Refusal."""
    backend, slash, name = text.partition("/")
    if not slash or not backend or not name:
        raise Refusal("Require 'backend/server'.")
    proxy = find_backend(request, backend, "No such backend.")
    for number, server in enumerate(proxy.servers):
        if name in (server.name, f"#{server.id}"):
            return proxy, number
    raise Refusal("No such server.")


def find_backend(request: Request, name: str, complaint: str) -> Proxy:
    """The backend of that name or `#id`. Raises Refusal with `complaint`."""
    for proxy in request.generation.config.proxies:
        if proxy.is_backend and not proxy.disabled and name in (proxy.name, f"#{proxy.id}"):
            return proxy
    raise Refusal(complaint)


def find_frontend(request: Request, name: str) -> Proxy:
    """The frontend of that name or `#id`. Raises Refusal."""
    if not name:
        raise Refusal("A frontend name is expected.")
    for proxy in request.generation.config.proxies:
        if proxy.is_frontend and not proxy.disabled and name in (proxy.name, f"#{proxy.id}"):
            return proxy
    raise Refusal("No such frontend.")


def find_proxy(request: Request, text: str, complaint: str = "No such proxy.") -> Proxy:
    """The proxy of that name, or of that number. Raises Refusal with `complaint`."""
    for proxy in request.generation.config.proxies:
        if not proxy.disabled and text in (proxy.name, str(proxy.id), f"#{proxy.id}"):
            return proxy
    raise Refusal(complaint)
