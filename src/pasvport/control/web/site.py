"""One proxy's statistics: what a request gets, once it is known which proxy it came to."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from aiohttp import web

from pasvport.control.background import in_thread
from pasvport.control.statistics import Selection, stat_rows
from pasvport.control.web import admin, guard, live, metrics, page, wellbeing
from pasvport.control.web.attempts import LINE_EVERY, LONGEST_DELAY, Attempts, source_of
from pasvport.control.web.history import History
from pasvport.control.web.served import Serving
from pasvport.control.web.target import Page, Target, parse, sample_after
from pasvport.control.web.watch import Watch
from pasvport.exposition import schema, stat
from pasvport.model import Stats

Written = TypeVar("Written", str, bytes)
_WARNING, _NOTICE = 4, 5
_MANY_ROWS = 200
"""Rows from which on a text is written in a thread, one at a time."""
_BODY_PATIENCE = 5.0
"""Seconds for a form to arrive."""
_TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
_FILES = ("dashboard.css", "dashboard.js", "charts.js", "icon.svg")
_PLAIN, _JSON, _HTML = "text/plain; charset=utf-8", "application/json", "text/html; charset=utf-8"


@dataclass(slots=True)
class Memory:
    """What the web server remembers, whichever generation serves."""

    watch: Watch = field(default_factory=Watch)
    history: History = field(default_factory=History)
    moment: live.Moment = field(default_factory=live.Moment)
    responses: Counter[int] = field(default_factory=Counter)
    press: asyncio.Lock = field(default_factory=asyncio.Lock)
    attempts: Attempts = field(default_factory=Attempts)
    foreign_told: float = float("-inf")

    def tell_failures(self, generation: Serving) -> None:
        """Say in the log which logins failed, as often as it is due."""
        for line in self.attempts.lines(time.monotonic()):
            generation.journal.say(_WARNING, line)

    def tell_foreign(self, generation: Serving, host: str) -> None:
        """Say that an order came under a foreign name; now and then, for a script may try for ever."""
        now = time.monotonic()
        if now - self.foreign_told >= LINE_EVERY:
            self.foreign_told = now
            why = "it is none of this machine's, and the page has no 'stats auth'"
            generation.journal.say(_WARNING, f"Statistics page: order under the name {host[:255]!r} refused: {why}.")


@dataclass(frozen=True, slots=True)
class Site:
    """`generation` serves now; `stats` is what the proxy says; `figures` are the web server's own.

    `patience` is the seconds that an answer may take.
    """

    generation: Serving
    proxy: str
    stats: Stats
    memory: Memory
    figures: Callable[[], metrics.WebFigures]
    patience: float

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """The answer to any request. Raises nothing that is the client's fault."""
        target = parse(request.raw_path, self.stats)
        allowed = {"GET", "HEAD"} | ({"POST"} if target.page is Page.HTML else set())
        if request.method not in allowed:
            return _text(405, "Method not allowed\n", {"Allow": ", ".join(sorted(allowed))})
        known = await self._is_known(request)
        if known is None:
            return _text(429, "Too many failed logins.\n", {"Retry-After": str(int(LONGEST_DELAY))})
        if not known and not self._is_open(target):
            return _text(401, "You need a valid user and password to access this content.\n", self._challenge())
        if target.page in (Page.HEALTH, Page.ALIVE):
            return self._health(target, known)
        if request.method == "POST":
            return await self._order(request)
        return await _PAGES[target.page](self, target)

    # --- who may --------------------------------------------------------------------------------------------------

    async def _is_known(self, request: web.BaseRequest) -> bool | None:
        """Whether it is a user; a wrong password is found out late. None: the source may not try now."""
        given = request.headers.get("Authorization", "")
        if not (self.stats.users and given):
            return not self.stats.users
        attempts, source, mark = self.memory.attempts, source_of(request.remote), guard.mark_of(given)
        if not attempts.may_try(source, mark):
            return None
        if guard.is_known(given, self.stats.users):
            attempts.succeeded(source, mark)
            return True
        delay = attempts.failed(source, guard.user_of(given), time.monotonic())
        self.memory.watch.failed_login(self.proxy, time.time())
        self.memory.tell_failures(self.generation)
        try:
            await asyncio.sleep(min(delay, self.patience / 2))
        finally:
            attempts.answered(source)
        return False

    def _is_open(self, target: Target) -> bool:
        return target.page in (Page.HEALTH, Page.ALIVE) or (target.page is Page.METRICS and self.stats.metrics)

    def _challenge(self) -> Mapping[str, str]:
        return {"WWW-Authenticate": guard.challenge(self.stats.realm)}

    # --- pages ----------------------------------------------------------------------------------------------------

    async def _print(self, size: int, write: Callable[[], Written]) -> Written:
        """What `write` makes of `size` rows. The text of a large farm takes a second that checks and workers need."""
        if size < _MANY_ROWS:
            return write()
        async with self.memory.press:
            return await in_thread(write)

    async def _html(self, target: Target) -> web.StreamResponse:
        material = page.gather(self.generation, self.stats, target, self._rows(target), self.memory.watch)
        return _text(200, await self._print(len(material.rows), lambda: page.render(material)), type_=_HTML)

    def _rows(self, target: Target) -> Iterator[stat.Row]:
        selection = Selection(
            up_only=target.up_only,
            no_maintenance=target.no_maintenance,
            legends=self.stats.show_legends,
            scope=self.stats.scope,
        )
        return (row for row in stat_rows(self.generation, selection) if target.scope in str(row.values["pxname"]))

    async def _csv(self, target: Target) -> web.StreamResponse:
        return await self._dump(target, stat.csv, _PLAIN)

    async def _json(self, target: Target) -> web.StreamResponse:
        return await self._dump(target, stat.as_json, _JSON)

    async def _typed(self, target: Target) -> web.StreamResponse:
        return await self._dump(target, stat.typed, _PLAIN)

    async def _dump(
        self, target: Target, write: Callable[[Iterable[stat.Row]], Iterable[str]], type_: str
    ) -> web.StreamResponse:
        rows = tuple(self._rows(target))
        return _text(200, await self._print(len(rows), lambda: "".join(write(rows))), type_=type_)

    async def _schema(self, _target: Target) -> web.StreamResponse:
        return _text(200, schema.schema(), type_=_JSON)

    async def _live(self, target: Target) -> web.StreamResponse:
        now = await self.memory.moment.look(self.generation)
        memory, after = self.memory, sample_after(target.query)
        shown = live.snapshot(self.generation, self.stats, memory.watch, memory.history, now, after)
        size = sum(len(proxy.servers) for proxy in self.generation.config.proxies)
        text = await self._print(size, partial(json.dumps, shown))
        return _text(200, text, type_=_JSON)

    async def _metrics(self, target: Target) -> web.StreamResponse:
        what = metrics.wanted(target.query)
        if what is None:
            return _text(400, "Unknown scope\n")
        entries = await metrics.tables_used(self.generation) if "sticktable" in what.scopes else {}
        material = metrics.gather(self.generation, what, entries, self.figures(), self.stats.scope)
        body = await self._print(len(material.rows), lambda: metrics.exposition(material))
        return web.Response(body=body, headers={**guard.HEADERS, "Content-Type": metrics.CONTENT_TYPE})

    def _health(self, target: Target, known: bool) -> web.StreamResponse:
        if target.page is Page.ALIVE:
            healthy, found = wellbeing.live(self.generation)
        else:
            healthy, found = wellbeing.look(self.generation, self.stats.scope)
        shown = found if known and self.stats.enabled else {"status": found["status"]}
        return web.json_response(shown, status=200 if healthy else 503, headers=dict(guard.HEADERS))

    async def _file(self, target: Target) -> web.StreamResponse:
        if target.name not in _FILES:
            return await self._nothing(target)
        body = (page.STATIC / target.name).read_bytes()
        headers = {**guard.HEADERS, "Cache-Control": "no-cache", "Content-Type": _TYPES[target.name.rpartition(".")[2]]}
        return web.Response(body=body, headers=headers)

    async def _root(self, _target: Target) -> web.StreamResponse:
        return _text(302, "", {"Location": self.stats.uri})

    async def _nothing(self, _target: Target) -> web.StreamResponse:
        return _text(404, "There is nothing here.\n")

    # --- orders ---------------------------------------------------------------------------------------------------

    async def _order(self, request: web.BaseRequest) -> web.StreamResponse:
        word = await self._obey(request)
        return _text(303, "", {"Location": f"{self.stats.uri};st={word}"})

    async def _obey(self, request: web.BaseRequest) -> str:
        if not self.stats.admin or not guard.is_own_page(request.headers) or self._is_foreign(request):
            return "DENY"
        form = await _form(request)
        if form is None:
            return "EXCD"
        order = admin.read(form, self.generation, self.stats.scope)
        if isinstance(order, str):
            return order
        word = await admin.obey(order, self.generation)
        user = guard.user_of(request.headers.get("Authorization", "")) if self.stats.users else ""
        who = f"{user or 'somebody'} from {request.remote or 'a UNIX socket'}"
        self.generation.journal.say(_NOTICE, f"Statistics page: {order.told(self.generation)} ordered by {who}.")
        return word

    def _is_foreign(self, request: web.BaseRequest) -> bool:
        """Whether a page without a password is called by a name that is not this machine's."""
        host = request.headers.get("Host")
        names = (socket.gethostname(), self.generation.config.settings.node or "")
        if self.stats.users or guard.is_own_name(host, names):
            return False
        self.memory.tell_foreign(self.generation, host or "")
        return True


_PAGES: Mapping[Page, Callable[[Site, Target], Awaitable[web.StreamResponse]]] = {
    Page.HTML: Site._html,
    Page.CSV: Site._csv,
    Page.JSON: Site._json,
    Page.TYPED: Site._typed,
    Page.SCHEMA: Site._schema,
    Page.LIVE: Site._live,
    Page.METRICS: Site._metrics,
    Page.FILE: Site._file,
    Page.ROOT: Site._root,
    Page.NOTHING: Site._nothing,
}


def _text(
    status: int, text: str, headers: Mapping[str, str] | None = None, *, type_: str = _PLAIN
) -> web.StreamResponse:
    """An answer with a body, and the headers of every answer."""
    return web.Response(
        status=status,
        body=text.encode("utf-8", "surrogateescape"),
        headers={**guard.HEADERS, "Content-Type": type_, **(headers or {})},
    )


async def _form(request: web.BaseRequest) -> bytes | None:
    """The body of a request, None when it is too large or too slow."""
    if (request.content_length or 0) > admin.LARGEST_FORM:
        return None
    try:
        async with asyncio.timeout(_BODY_PATIENCE):
            return await _body(request)
    except TimeoutError:
        return None


async def _body(request: web.BaseRequest) -> bytes | None:
    body = bytearray()
    async for part in request.content.iter_any():
        body += part
        if len(body) > admin.LARGEST_FORM:
            return None
    return bytes(body)
