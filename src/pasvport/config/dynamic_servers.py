"""`add server` and `del server` of the runtime API: a compiled configuration with one server more, or one less.

The words are those of a `server` line, understood by the same tables, but nothing is taken from `default-server`.
Source: HAProxy management guide, section 9.3; its answers as 2.6.12 gives them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count

from pasvport.config.build import server_of
from pasvport.config.cursor import Cursor, LineError
from pasvport.config.diagnostics import Diagnostics, Severity
from pasvport.config.draft import ProxyDraft, ServerDraft
from pasvport.config.keywords import Place
from pasvport.config.references import portless, tracked_name
from pasvport.config.server_lines import read_dynamic_server
from pasvport.config.syntax import Line, Word
from pasvport.config.world import World
from pasvport.errors import ConfigError
from pasvport.model import Algorithm, Balance, CheckKind, Config, HashMethod, Origin, Proxy, Server

_ORIGIN = Origin("CLI", 0)
_STATIC = "Backend must use a dynamic load balancing to support dynamic servers."
_POINTED_AT = "This server cannot be removed at runtime due to other configuration elements pointing to it."


def backend_of(config: Config, name: str) -> Proxy:
    """The backend of that name, or `#id`. Raises ConfigError."""
    for proxy in config.proxies:
        if proxy.is_backend and not proxy.disabled and name in (proxy.name, f"#{proxy.id}"):
            return proxy
    raise ConfigError("No such backend.")


def with_server(config: Config, backend: str, name: str, words: Sequence[str]) -> Config:
    """The configuration with one more server at the end of `backend`; `words` are its address and options.

    The server has the lowest id that is free. Raises ConfigError with HAProxy's answer.
    """
    proxy = backend_of(config, backend)
    if _is_static(proxy.balance):
        raise ConfigError(_STATIC)
    draft = _read(proxy, name, words)
    _check(config, proxy, draft)
    number = draft.id.value if draft.id is not None else _free_id(proxy)
    server = server_of(draft, number, _stand_in(proxy, draft.line))
    server = replace(server, dynamic=True, dormant=draft.disabled is None)
    return _with_servers(config, proxy, (*proxy.servers, server))


def without_server(config: Config, backend: str, name: str) -> Config:
    """The configuration without that server. Raises ConfigError when there is none, or another server tracks it."""
    proxy = backend_of(config, backend)
    server = server_named(proxy, name)
    tracked = f"{proxy.name}/{server.name}"
    if any(other.track == tracked for each in config.proxies for other in each.servers):
        raise ConfigError(_POINTED_AT)
    return _with_servers(config, proxy, tuple(other for other in proxy.servers if other is not server))


def server_named(proxy: Proxy, name: str) -> Server:
    """The server of that name, or `#id`. Raises ConfigError."""
    for server in proxy.servers:
        if name in (server.name, f"#{server.id}"):
            return server
    raise ConfigError("No such server.")


def _with_servers(config: Config, proxy: Proxy, servers: tuple[Server, ...]) -> Config:
    changed = replace(proxy, servers=servers)
    return replace(config, proxies=tuple(changed if other is proxy else other for other in config.proxies))


def _is_static(balance: Balance) -> bool:
    hashed = balance.algorithm in (Algorithm.SOURCE, Algorithm.HASH)
    return balance.algorithm is Algorithm.STATIC_RR or (hashed and balance.hash_method is HashMethod.MAP_BASED)


def _free_id(proxy: Proxy) -> int:
    taken = {server.id for server in proxy.servers}
    return next(number for number in count(1) if number not in taken)


# --- reading ------------------------------------------------------------------------------------------------------


def _read(proxy: Proxy, name: str, words: Sequence[str]) -> ServerDraft:
    texts = ("server", name, *words)
    line = Line(_ORIGIN, tuple(Word(text, 1, len(text)) for text in texts), " ".join(texts))
    found = Diagnostics()
    cursor = Cursor(line, line.words, found, World())
    draft = _stand_in(proxy, line)
    try:
        read_dynamic_server(cursor, draft)
    except LineError as error:
        raise ConfigError(_worded(error)) from None
    for entry in found.found:
        if entry.severity is Severity.ALERT:
            raise ConfigError(entry.text.removeprefix(cursor.about))
    return draft.servers[0]


def _stand_in(proxy: Proxy, line: Line | None) -> ProxyDraft:
    """As much of a draft of the backend as one more server line needs."""
    assert line is not None  # whoever reads a line has it
    draft = ProxyDraft(line, "backend", proxy.name, Place.BACKEND)
    for server in proxy.servers:
        draft.server_ids[server.id] = ServerDraft(line=Line(server.origin, (), ""), name=server.name)
    return draft


def _worded(error: LineError) -> str:
    if not error.suggestion:
        return error.text
    return f"{error.text.removesuffix('.')}; did you mean '{error.suggestion}' maybe ?"


# --- judging ------------------------------------------------------------------------------------------------------


def _check(config: Config, proxy: Proxy, draft: ServerDraft) -> None:
    problem = portless(draft, proxy.check_steps if proxy.check_kind is CheckKind.TCP_SCRIPT else ())
    if problem:
        raise ConfigError(f"config: backend '{proxy.name}': {problem}")
    if draft.track is not None:
        _check_tracked(config, proxy, draft.track.value)
    if any(server.name == draft.name for server in proxy.servers):
        raise ConfigError("Already exists a server with the same name in backend.")


def _check_tracked(config: Config, proxy: Proxy, track: str) -> None:
    backend, name = tracked_name(_stand_in(proxy, Line(_ORIGIN, (), "")), track)
    others = [other for other in config.proxies if other.is_backend and other.name == backend]
    if not others:
        raise ConfigError(f"unable to find required proxy '{backend}' for tracking.")
    found = [server for server in others[0].servers if server.name == name]
    if not found:
        raise ConfigError(f"unable to find required server '{name}' for tracking.")
    problem = _no_example(found[0])
    if problem:
        raise ConfigError(f"unable to use {backend}/{name} for tracking as it {problem}.")


def _no_example(server: Server) -> str:
    """Why a server cannot be tracked, "" where it can."""
    if server.dynamic:
        return "is a dynamic server"
    if not (server.check.enabled or server.agent.enabled or server.track is not None):
        return "does not have any check nor agent enabled"
    return ""
