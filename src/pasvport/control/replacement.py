"""Another model of a server, while it is served."""

from __future__ import annotations

from pasvport.control.generation import Generation
from pasvport.control.needed import needed_server
from pasvport.model import Proxy, Server
from pasvport.wire import ServerReplaced


def replace_server(generation: Generation, proxy: Proxy, number: int, server: Server) -> None:
    """From now on the server is this one, for checks, statistics, workers, and workers that start later."""
    generation.roster.replace_server(proxy.index, number, server)
    generation.prober.replace(proxy.index, number, server)
    generation.passive.forget(proxy.index, number)
    generation.order(("server", proxy.index, number), ServerReplaced(proxy.index, number, needed_server(server)))
