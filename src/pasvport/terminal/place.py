"""Where the runtime API is: said with `-s`, or found in a configuration: the one of `-f`, or the packaged one."""

from __future__ import annotations

import grp
import os
import pwd
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

from pasvport.address import Family
from pasvport.config.compiler import Outcome, load
from pasvport.config.world import World
from pasvport.errors import ConfigError
from pasvport.model import StatsLevel, StatsSocket
from pasvport.terminal.connection import ApiError

ReadFiles = Callable[[Sequence[str]], list[tuple[str, str]]]
"""(name, text) of configuration files and of the files in directories. Raises ConfigError."""
DEFAULT_FILE = "/etc/pasvport/pasvport.cfg"
"""Of the packaged service."""
_RANK = (StatsLevel.USER, StatsLevel.OPERATOR, StatsLevel.ADMIN)


def find(sockets: list[str], files: list[str], read_files: ReadFiles) -> str:
    """The address to talk to. Raises ApiError when there is none."""
    if sockets:
        return sockets[-1]
    if not files:
        files = [DEFAULT_FILE]
        if not Path(DEFAULT_FILE).exists():
            raise ApiError(f"there is no {DEFAULT_FILE}: name the runtime API with -s SOCKET, or -f CONFIGURATION")
    try:
        outcome = load(read_files(files), _world())
    except ConfigError as error:
        raise ApiError(str(error)) from error
    if not outcome.stats_sockets:
        raise ApiError(f"no 'stats socket' in {', '.join(files)}{_why_none(outcome, files[0])}")
    told = max(outcome.stats_sockets, key=lambda each: _RANK.index(each.level))
    for line in outcome.unset:
        if line.origin == told.origin:
            raise ApiError(f"{line.origin}: variable '{line.unset[0]}' is not set in the environment; {_WITHOUT}")
    return _address(told)


_WITHOUT = "-s SOCKET works without it"


def _why_none(outcome: Outcome, file: str) -> str:
    """What may have kept a line from being one: another line that is wrong does not matter here."""
    wrong = [line for line in outcome.unset if line.keyword == "stats"]
    if wrong:
        return f": at {wrong[0].origin} variable '{wrong[0].unset[0]}' is not set in the environment; {_WITHOUT}"
    if outcome.diagnostics.has_alerts:
        return f", which has errors (see pasvport -c -f {file}); {_WITHOUT}"
    return ""


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
