"""What of a configuration a worker needs: it talks to the outside, and what it does not know nobody can learn from it.

Checks, agents, pages, stats sockets and the environment are the supervisor's business. What is left out keeps its place
and its default, so that indices and counters are the same in both.
"""

from __future__ import annotations

from dataclasses import replace

from pasvport.model import Agent, Check, CheckKind, Config, Global, Proxy, Server, Stats

_NO_CHECK = Check()


def needed(config: Config) -> Config:
    """The same configuration without what only the supervisor uses, every password among it."""
    return replace(config, settings=_settings(config.settings), proxies=tuple(map(_proxy, config.proxies)), files=())


def needed_server(server: Server) -> Server:
    """The same server without its checks; `observe` stays, which is of connections that workers make."""
    check = server.check
    kept = replace(_NO_CHECK, observe=check.observe, error_limit=check.error_limit, on_error=check.on_error)
    return replace(server, check=replace(kept, enabled=check.enabled), agent=Agent(), init_addr=())


def _settings(settings: Global) -> Global:
    return replace(settings, environment=(), stats_sockets=(), server_state_base=None, server_state_file=None)


def _proxy(proxy: Proxy) -> Proxy:
    return replace(
        proxy,
        servers=tuple(map(needed_server, proxy.servers)),
        stats=None if proxy.stats is None else Stats(),
        check_kind=CheckKind.TCP,
        check_steps=(),
        check_command=None,
        check_path=None,
        ftp_check=None,
        server_state_file_name=None,
    )
