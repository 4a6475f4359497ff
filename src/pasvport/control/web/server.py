"""The web server: opens a door for every `mode http` socket, answers, looks around, and survives a reload.

Sockets belong to the generation's Ports, as all listening sockets do. What a reload leaves open keeps its door, with
the connections in it; the next request is answered with what the new configuration says.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus

from aiohttp import web

from pasvport.control.web import watch
from pasvport.control.web.door import Door, identity
from pasvport.control.web.guard import HEADERS
from pasvport.control.web.history import STEP
from pasvport.control.web.metrics import WebFigures
from pasvport.control.web.served import Serving, Supervising
from pasvport.control.web.site import Memory, Site
from pasvport.model import Proxy

_LOOK = 1.0
"""Seconds between looks at servers, counters and connections."""
_MOST = 128
"""Connections at a time where the proxy has no lower `maxconn`."""
_PATIENCE = 30.0
"""Seconds for a request and its answer, and between two, where `timeout client` is not shorter."""
_LONGEST_LINE = 8190
_COMPLAINT_EVERY = 60.0

_QUIET = logging.getLogger("pasvport.web")
_QUIET.addHandler(logging.NullHandler())
_QUIET.propagate = False
_QUIET.setLevel(logging.CRITICAL)


class _Conversation(web.RequestHandler):
    """One connection. What is no HTTP gets an answer that names neither the library nor any version."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if request.writer.output_size > 0:
            raise ConnectionError("cut in the middle of an answer")
        response = web.Response(status=status, text=f"{HTTPStatus(status).phrase}\n", headers=dict(HEADERS))
        response.force_close()
        return response


class WebServer:
    """A Service of the supervisor. Does nothing where no proxy is in `mode http`."""

    def __init__(self, supervisor: Supervising) -> None:
        self._supervisor = supervisor
        self._memory = Memory()
        self._doors: dict[int, Door] = {}
        self._proxies: dict[int, Proxy] = {}
        self._looking: asyncio.Task[None] | None = None
        self._refused = 0
        self._complained = -_COMPLAINT_EVERY

    # --- life -----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the doors."""
        await self._reconcile()
        self._looking = asyncio.get_running_loop().create_task(self._look_around(), name="web")

    async def reloaded(self) -> None:
        """Open and close what the new configuration opens and closes."""
        await self._reconcile()

    async def close(self) -> None:
        """Close all doors and end every connection."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        for door in self._doors.values():
            await door.close()
        self._doors.clear()

    async def _reconcile(self) -> None:
        generation = self._supervisor.generation
        wanted = {
            identity(group.members[0]): (group.members[0], generation.config.proxies[group.proxy])
            for group in generation.ports.groups
            if group.is_web
        }
        for key in self._doors.keys() - wanted.keys():
            self._refused += self._doors[key].refused
            await self._doors.pop(key).close()
        self._proxies = {key: proxy for key, (_, proxy) in wanted.items()}
        for key, (listener, proxy) in wanted.items():
            most, patience = _limits(proxy)
            door = self._doors.get(key)
            if door is None:
                door = self._doors[key] = Door(listener, self._protocol(key), most, patience)
                door.open()
            # The same socket under another object, after a reload; and its new limits.
            door.listener, door.most, door.patience = listener, most, patience

    # --- requests -------------------------------------------------------------------------------------------------

    def _protocol(self, key: int) -> Callable[[], asyncio.BaseProtocol]:
        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            return await self._answer(key, request)

        server = web.Server(answer)
        return lambda: _Conversation(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type] # which it takes for none
            logger=_QUIET,
            keepalive_timeout=_PATIENCE,
            lingering_time=1.0,
            max_line_size=_LONGEST_LINE,
            max_field_size=_LONGEST_LINE,
        )

    async def _answer(self, key: int, request: web.BaseRequest) -> web.StreamResponse:
        door, proxy = self._doors.get(key), self._proxies.get(key)
        if door is None or proxy is None or proxy.stats is None:
            return web.Response(status=503, headers=dict(HEADERS))
        door.requested(request.transport)
        generation = self._supervisor.generation
        site = Site(generation, proxy.name, proxy.stats, self._memory, self._figures, door.patience)
        try:
            async with asyncio.timeout(door.patience):
                response = await site.answer(request)
        except (TimeoutError, ConnectionError):
            response = web.Response(status=503, headers=dict(HEADERS))
        except Exception as error:
            self._complain(f"internal error of the web pages: {error!r}")
            response = web.Response(status=500, text="Internal error\n", headers=dict(HEADERS))
        self._memory.responses[response.status] += 1
        return response

    def _complain(self, text: str) -> None:
        """At most once a minute: a client that found a bug shall not fill the log."""
        now = time.monotonic()
        if now - self._complained >= _COMPLAINT_EVERY:
            self._complained = now
            self._supervisor.generation.alert(text)

    def _figures(self) -> WebFigures:
        return WebFigures(
            connections=sum(len(door.guests) for door in self._doors.values()),
            refused=self._refused + sum(door.refused for door in self._doors.values()),
            responses=tuple(sorted(self._memory.responses.items())),
            login_failures=self._memory.attempts.total,
            draining=len(self._supervisor.former),
        )

    # --- looking --------------------------------------------------------------------------------------------------

    async def _look_around(self) -> None:
        sampled = -STEP
        while True:
            for door in self._doors.values():
                door.look()
            if not all(door.is_served for door in self._doors.values()):
                # Given up to a successor, or replaced by a reload that is not told of yet.
                await self._reconcile()
            if self._doors:
                try:
                    sampled = self._look(sampled)
                except Exception as error:
                    self._complain(f"internal error of the statistics' history: {error!r}")
            await asyncio.sleep(_LOOK)

    def _look(self, sampled: float) -> float:
        """One look, and a sample when it is time; when the last sample was taken."""
        generation, memory = self._supervisor.generation, self._memory
        memory.watch.look(generation, time.time())
        memory.tell_failures(generation)
        now = time.monotonic()
        if now - sampled < STEP - _LOOK / 2:
            return sampled
        held = watch.held(self._generations(), generation)
        # Former generations are in these: their growth of their own would be counted twice.
        memory.history.take(time.time(), held, watch.totals(self._supervisor.generation))
        return now

    def _generations(self) -> Iterator[Serving]:
        yield from self._supervisor.former
        yield self._supervisor.generation


def _limits(proxy: Proxy) -> tuple[int, float]:
    """(connections at a time, seconds of patience)."""
    most = min(proxy.maxconn or _MOST, _MOST)
    patience = (proxy.timeouts.client or _PATIENCE * 1000) / 1000
    return most, min(patience, _PATIENCE)
