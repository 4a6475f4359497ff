"""`add server` and `del server`: the configuration in force with a server more, or less.

Source: HAProxy management guide, section 9.3. Both take as long as a reload does, and lose as little.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from pasvport.config.dynamic_servers import backend_of, server_named, with_server, without_server
from pasvport.control.amendments import Amendment
from pasvport.control.api.commands import INFO, Command, Refusal, Request
from pasvport.control.generation import Generation
from pasvport.control.standing import Standing
from pasvport.errors import ConfigError, ResourceError
from pasvport.model import Config, StatsLevel

_BUSY = "Server still has connections attached to it, cannot remove it."
_SERVED = "Only servers in maintenance mode can be deleted."


async def _add(request: Request) -> AsyncIterator[str]:
    backend, name = _names(request)
    words = request.arguments[1:]

    def change(config: Config) -> Config:
        return with_server(config, backend, name, words)

    yield await _amend(request, Amendment((backend, name), change), "New server registered.")


async def _delete(request: Request) -> AsyncIterator[str]:
    backend, name = _names(request)

    def change(config: Config) -> Config:
        changed = without_server(config, backend, name)
        _require_rest(request, config, backend, name)
        return changed

    yield await _amend(request, Amendment((backend, name), change), "Server deleted.")


def _names(request: Request) -> tuple[str, str]:
    backend, _, name = request.argument(0).partition("/")
    if not backend or not name:
        raise Refusal("Require 'backend/server'.")
    return backend, name


async def _amend(request: Request, amendment: Amendment, done: str) -> str:
    try:
        await request.balancer.amend(amendment)
    except (ConfigError, ResourceError) as error:
        raise Refusal(str(error)) from None
    return request.client.remark(INFO, done)


# --- what may be deleted ------------------------------------------------------------------------------------------


def _require_rest(request: Request, config: Config, backend: str, name: str) -> None:
    """Raises ConfigError for a server that is not in maintenance, or that has sessions, whatever generation's."""
    proxy = backend_of(config, backend)
    wanted = f"{proxy.name}/{server_named(proxy, name).name}"
    current = _standing(request.generation, wanted)
    if current is None or not current.in_maintenance:
        raise ConfigError(_SERVED)
    if any(_is_busy(generation, wanted) for generation in (request.generation, *request.balancer.former)):
        raise ConfigError(_BUSY)


def _is_busy(generation: Generation, wanted: str) -> bool:
    standing = _standing(generation, wanted)
    return standing is not None and any(generation.figures.crowd(*standing.position)[:2])


def _standing(generation: Generation, wanted: str) -> Standing | None:
    return next((standing for standing in generation.roster.standings() if standing.name == wanted), None)


DYNAMIC_COMMANDS = (
    Command(
        "add server",
        "<bk>/<srv>",
        "create a new server",
        _add,
        StatsLevel.ADMIN,
        detail="`add server B/S ADDRESS[:PORT] [option]...`, with the options of a `server` line but those that "
        "HAProxy refuses here; nothing is taken from `default-server`. The server begins in maintenance (`enable "
        "server`) and "
        "with its checks disabled (`enable health`, `enable agent`). The backend's balancing must be dynamic. It is "
        "gone with the next reload, unless the files have it by then. See [reload.md](reload.md#servers-at-run-time).",
    ),
    Command(
        "del server",
        "<bk>/<srv>",
        "remove a dynamically added server",
        _delete,
        StatsLevel.ADMIN,
        detail="Any server that is in maintenance, has no session left, not even one of a former generation, and is "
        "not tracked by another.",
    ),
)
