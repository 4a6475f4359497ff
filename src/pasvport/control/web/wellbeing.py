"""`/health`: whether this balancer can serve, for whoever stands before it."""

from __future__ import annotations

from pasvport.control.web.metrics import workers_alive
from pasvport.control.web.served import Serving


def look(generation: Serving, scope: tuple[str, ...] = ()) -> tuple[bool, dict[str, object]]:
    """(fit, why): fit while at least one worker serves, it is not paused, and no backend is without a usable server."""
    backends = []
    for proxy in generation.config.proxies:
        if proxy.is_backend and proxy.servers and not proxy.disabled and (not scope or proxy.name in scope):
            view = generation.roster.backend_view(proxy.index)
            usable = view.active + view.backup
            backends.append({"name": proxy.name, "usable": usable, "servers": len(proxy.servers)})
    alive = workers_alive(generation)
    empty = [str(backend["name"]) for backend in backends if not backend["usable"]]
    healthy = bool(alive) and not empty and not generation.is_paused
    return healthy, {
        "status": "ok" if healthy else "failing",
        "workers": generation.config.settings.nbthread,
        "workers_alive": alive,
        "paused": generation.is_paused,
        "backends": backends,
        "backends_without_servers": empty,
    }
