"""What a request asks for: HAProxy's `URI;option;option`, and our own paths beside it. Pure.

Source: HAProxy 2.6, observed: whatever begins with `stats uri` is the page; options follow it, separated by `;`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import parse_qs, unquote_plus, urlsplit

from pasvport.digits import is_number
from pasvport.model import Stats

DASHBOARD = "/dashboard"
METRICS = "/metrics"
HEALTH = "/health"
ALIVE, READY = f"{HEALTH}/live", f"{HEALTH}/ready"


class Page(StrEnum):
    """The things that can be asked for."""

    HTML = "html"
    CSV = "csv"
    JSON = "json"
    TYPED = "typed"
    SCHEMA = "json-schema"
    LIVE = "live"
    FILE = "file"
    METRICS = "metrics"
    HEALTH = "health"
    ALIVE = "alive"
    ROOT = "root"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Target:
    """A page and its options. `name` belongs to FILE; `scope` is a part of a proxy's name; `status` is `st`.

    `query` is what follows a question mark, for pages of our own.
    """

    page: Page
    name: str = ""
    refresh: bool = True
    up_only: bool = False
    no_maintenance: bool = False
    scope: str = ""
    status: str = ""
    query: str = ""


_FORMS = {str(page): page for page in (Page.CSV, Page.JSON, Page.TYPED, Page.SCHEMA)}


def parse(raw: str, stats: Stats) -> Target:
    """The target of a request line (origin form, or absolute form as proxies send it)."""
    path = _origin_form(raw)
    own = _own(path)
    if own is not None:
        return own if stats.enabled or own.page in (Page.METRICS, Page.HEALTH, Page.ALIVE) else Target(Page.NOTHING)
    if not stats.enabled:
        return Target(Page.NOTHING)
    if path.startswith(stats.uri):
        return _options(path[len(stats.uri) :])
    return Target(Page.ROOT if path == "/" else Page.NOTHING)


def _origin_form(raw: str) -> str:
    if raw.startswith("/"):
        return raw
    try:
        parts = urlsplit(raw)
    except ValueError:
        return raw
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def sample_after(query: str) -> int:
    """The number in `after=N`; 0, which means everything, where there is none that makes sense."""
    try:
        text = parse_qs(query, max_num_fields=8).get("after", ["0"])[0]
    except ValueError:
        return 0
    return int(text) if is_number(text) and len(text) < 16 else 0


def _own(path: str) -> Target | None:
    bare, _, query = path.partition("?")
    if bare == METRICS:
        return Target(Page.METRICS, query=query)
    if bare in (HEALTH, READY):
        return Target(Page.HEALTH)
    if bare == ALIVE:
        return Target(Page.ALIVE)
    if bare.startswith(HEALTH):
        # A mistyped `/healthz` or `/health/redy` is no page, least of all a 200 where `stats uri` is `/`.
        return Target(Page.NOTHING)
    if bare in (DASHBOARD, f"{DASHBOARD}/"):
        return Target(Page.HTML)
    if bare == f"{DASHBOARD}/data":
        return Target(Page.LIVE, query=query)
    if bare.startswith(f"{DASHBOARD}/"):
        return Target(Page.FILE, name=bare[len(DASHBOARD) + 1 :])
    return None


def _options(text: str) -> Target:
    values: dict[str, str] = {}
    for option in text.split(";")[1:]:
        name, _, value = option.partition("=")
        values.setdefault(name, unquote_plus(value))
    page = next((_FORMS[name] for name in values if name in _FORMS), Page.HTML)
    return Target(
        page,
        refresh="norefresh" not in values,
        up_only="up" in values,
        no_maintenance="no-maint" in values,
        scope=values.get("scope", ""),
        status=values.get("st", ""),
    )
