"""Where the runtime API is: said with `-s`, or found in a configuration."""

from __future__ import annotations

import grp
import os
import pwd
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

from pasvport.address import Family
from pasvport.config.compiler import load
from pasvport.config.world import World
from pasvport.errors import ConfigError
from pasvport.model import StatsLevel, StatsSocket
from pasvport.terminal.connection import ApiError

ReadFiles = Callable[[Sequence[str]], list[tuple[str, str]]]
"""(name, text) of configuration files and of the files in directories. Raises ConfigError."""
_RANK = (StatsLevel.USER, StatsLevel.OPERATOR, StatsLevel.ADMIN)


def find(sockets: list[str], files: list[str], read_files: ReadFiles) -> str:
    """The address to talk to. Raises ApiError when there is none."""
    if sockets:
        return sockets[-1]
    if not files:
        raise ApiError("no runtime API named: give -s SOCKET, or -f CONFIGURATION with a 'stats socket' line")
    told = _told(files, read_files)
    if not told:
        raise ApiError(f"no 'stats socket' in {', '.join(files)}")
    return _address(max(told, key=lambda each: _RANK.index(each.level)))


def _told(files: list[str], read_files: ReadFiles) -> tuple[StatsSocket, ...]:
    try:
        outcome = load(read_files(files), _world())
    except ConfigError as error:
        raise ApiError(str(error)) from error
    if outcome.config is None:
        raise ApiError(f"the configuration has errors (see pasvport -c -f {files[0]}); -s SOCKET works without it")
    return outcome.config.settings.stats_sockets


def _world() -> World:
    return World(
        environment=dict(os.environ),
        user_id=lambda name: _number(lambda: pwd.getpwnam(name).pw_uid),
        group_id=lambda name: _number(lambda: grp.getgrnam(name).gr_gid),
        read_file=_text_of,
        hostname=socket.gethostname(),
        directory=str(Path.cwd()),
    )


def _number(look_up: Callable[[], int]) -> int | None:
    try:
        return look_up()
    except KeyError:
        return None


def _text_of(path: str) -> str:
    try:
        return Path(path).read_bytes().decode("utf-8", "surrogateescape")
    except OSError as error:
        raise ConfigError(error.strerror or str(error)) from error


def _address(told: StatsSocket) -> str:
    endpoint = told.endpoint
    if endpoint.family in (Family.UNIX, Family.ABNS):
        return f"{endpoint.family}@{endpoint.host}"
    host = {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(endpoint.host, endpoint.host)
    return f"ipv6@[{host}]:{endpoint.port}" if ":" in host else f"ipv4@{host}:{endpoint.port}"
