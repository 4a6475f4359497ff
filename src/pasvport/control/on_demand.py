"""Services whose modules are read when a configuration first asks for them.

The web pages and the runtime API stand on more code than all the rest of the supervisor, and most of it comes from
libraries; without their lines in the configuration neither start-up nor memory shall pay for it.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from pasvport.control.service import Service
from pasvport.control.supervisor import Supervisor


class OnDemand:
    """Stands for a service until `is_wanted` by a configuration; from then on it is that service."""

    def __init__(self, supervisor: Supervisor, is_wanted: Callable[[Supervisor], bool], module: str, name: str) -> None:
        self._supervisor = supervisor
        self._is_wanted = is_wanted
        self._place = module, name
        self._service: Service | None = None

    async def start(self) -> None:
        """As the service. Raises ResourceError."""
        if self._is_wanted(self._supervisor):
            await self._made().start()

    async def reloaded(self) -> None:
        """As the service, which begins here if this configuration is the first that asks. Raises ResourceError."""
        if self._service is not None:
            await self._service.reloaded()
        elif self._is_wanted(self._supervisor):
            await self._made().start()

    async def close(self) -> None:
        """As the service."""
        if self._service is not None:
            await self._service.close()

    def _made(self) -> Service:
        module, name = self._place
        service: Service = getattr(import_module(module), name)(self._supervisor)
        self._service = service
        return service


def web_pages(supervisor: Supervisor) -> OnDemand:
    """Statistics over HTTP, for proxies in `mode http`."""
    return OnDemand(supervisor, _has_web, "pasvport.control.web.server", "WebServer")


def runtime_api(supervisor: Supervisor) -> OnDemand:
    """The runtime API, for `stats socket`."""
    return OnDemand(supervisor, _has_stats_socket, "pasvport.control.api.server", "RuntimeApi")


def _has_web(supervisor: Supervisor) -> bool:
    return any(group.is_web for group in supervisor.generation.ports.groups)


def _has_stats_socket(supervisor: Supervisor) -> bool:
    return bool(supervisor.generation.settings.stats_sockets)
