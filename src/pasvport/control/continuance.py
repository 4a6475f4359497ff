"""What a generation keeps when it serves the configuration of the one before with a server more or less.

A reload forgets what operators ordered about frontends, the process and the addresses of servers, as HAProxy's does;
`add server` must not: to HAProxy it is no reload. The proxies are the same ones, under the same indices.
"""

from __future__ import annotations

from pasvport.control.generation import Generation
from pasvport.control.replacement import replace_server
from pasvport.slots import server_key
from pasvport.wire import ServerReplaced


def keep_orders(new: Generation, old: Generation) -> None:
    """Have in `new` what was ordered in `old`. May be repeated: what is the same already is left alone."""
    new.started = old.started
    new.doors.adopt(old.doors)
    _keep_allowances(new, old)
    for about, message in old.orders.items():
        if not isinstance(message, ServerReplaced) and new.orders.get(about) != message:
            new.order(about, message)
    _keep_servers(new, old)


def close_frontends(new: Generation) -> None:
    """Frontends that were closed are closed again, once `new` accepts."""
    for index in sorted(new.doors.disabled | new.doors.shut_down):
        new.ports.pause(index)


def _keep_allowances(new: Generation, old: Generation) -> None:
    of_servers = {server_key(*standing.position) for standing in old.roster.standings()}
    for key in old.slots.keys() - of_servers:
        if key in new.allowances and new.allowances.size(key) != old.allowances.size(key):
            new.allowances.resize(key, old.allowances.size(key))


def _keep_servers(new: Generation, old: Generation) -> None:
    """Addresses and checks that were ordered."""
    changed = {
        standing.name: standing.server
        for standing in old.roster.standings()
        if standing.server is not standing.proxy.servers[standing.position[1]]
    }
    for standing in new.roster.standings():
        server = changed.get(standing.name)
        if server is not None and standing.server != server:
            replace_server(new, standing.proxy, standing.position[1], server)
