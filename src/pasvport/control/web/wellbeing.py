"""`/health`: whether this balancer can serve, for whoever stands before it; `/health/live` and `/health/ready` apart.

Live: the supervisor answers, and at least one worker turns its loop; where it is not, only a restart helps.
Ready: new clients are served: some worker is alive, the service is not paused, every backend has a usable server. A
worker that is missing is replaced within a moment, and meanwhile its clients wait; where it stays away they would wait
in vain, each of them always for the same one.
"""

from __future__ import annotations

from pasvport.control.web.metrics import workers_alive
from pasvport.control.web.served import Serving

LONGEST_ABSENCE = 10.0
"""Seconds that a worker may be missing before new clients are better served elsewhere."""
OK, DEGRADED, FAILING = "ok", "degraded", "failing"


def live(generation: Serving) -> tuple[bool, dict[str, object]]:
    """(alive, why)."""
    alive, workers = workers_alive(generation), generation.config.settings.nbthread
    return bool(alive), {
        "status": _status(bool(alive), alive < workers),
        "workers": workers,
        "workers_alive": alive,
    }


def look(generation: Serving, scope: tuple[str, ...] = ()) -> tuple[bool, dict[str, object]]:
    """(ready, why). Degraded is ready: some worker is missing, and has not been for long."""
    backends = []
    for proxy in generation.config.proxies:
        if proxy.is_backend and proxy.servers and not proxy.disabled and (not scope or proxy.name in scope):
            view = generation.roster.backend_view(proxy.index)
            usable = view.active + view.backup
            backends.append({"name": proxy.name, "usable": usable, "servers": len(proxy.servers)})
    is_live, found = live(generation)
    empty = [str(backend["name"]) for backend in backends if not backend["usable"]]
    absence = generation.crew.absence
    ready = is_live and not empty and not generation.is_paused and absence < LONGEST_ABSENCE
    return ready, {
        **found,
        "status": _status(ready, found["status"] != OK),
        "worker_missing_seconds": round(absence, 1),
        "paused": generation.is_paused,
        "backends": backends,
        "backends_without_servers": empty,
    }


def _status(fit: bool, degraded: bool) -> str:
    if not fit:
        return FAILING
    return DEGRADED if degraded else OK
