"""All drafts of a configuration, and where the checks that need them all complain."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pasvport.config.diagnostics import Diagnostics, Form, Severity
from pasvport.config.draft import GlobalDraft, ProxyDraft
from pasvport.config.maps import Map
from pasvport.config.syntax import Line, Word
from pasvport.config.world import World


@dataclass(slots=True)
class Judged:
    """All drafts, the map files they name by path as written, and where to complain."""

    settings: GlobalDraft
    proxies: list[ProxyDraft]
    diagnostics: Diagnostics
    world: World
    frontends: dict[str, ProxyDraft] = field(default_factory=dict)
    backends: dict[str, ProxyDraft] = field(default_factory=dict)
    maps: dict[str, Map] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for proxy in self.proxies:
            if proxy.is_frontend:
                self.frontends.setdefault(proxy.name, proxy)
            if proxy.is_backend:
                self.backends.setdefault(proxy.name, proxy)

    @property
    def started(self) -> Iterable[ProxyDraft]:
        """The proxies that are not disabled."""
        return (proxy for proxy in self.proxies if not proxy.disabled)

    def alert(self, line: Line, text: str, word: Word | None = None, suggestion: str = "") -> None:
        """An error in the form that names no line; the line is shown all the same."""
        self.diagnostics.add(Severity.ALERT, line, text, word=word, suggestion=suggestion, form=Form.PLAIN)

    def warn(self, line: Line, text: str, word: Word | None = None) -> None:
        """A warning in the form that names no line."""
        self.diagnostics.add(Severity.WARNING, line, text, word=word, form=Form.PLAIN)


def titled(proxy: ProxyDraft) -> str:
    """`frontend 'f'`, `backend 'b'`, `proxy 'l'`."""
    return f"{proxy.title} '{proxy.name}'"
