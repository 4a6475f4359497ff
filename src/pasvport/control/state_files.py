"""The states of servers from files that `show servers state` filled, HAProxy's or ours, applied at the start.

The text wins over the file: a weight counts only while the configured one is the same, `disabled` only while it was
said before and now alike. Source: configuration manual, `load-server-state-from-file`; HAProxy 2.6.12, observed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from pasvport.control.roster import Roster
from pasvport.control.standing import Standing
from pasvport.exposition.server_state import COLUMNS, NUMBER, VERSION, CheckFlag
from pasvport.health.result import CheckResult, Status
from pasvport.model import Config, Global, PortMap, Proxy, ServerPort
from pasvport.record import Admin, Operation

_NAMES = COLUMNS.split()
_FEWEST = _NAMES.index("srvrecord") + 1
"""Columns that every version of HAProxy wrote; those behind came later."""
_LARGEST_WEIGHT = 256
_LARGEST_PORT = 65535
_CHANGED = ", changed from server-state after a reload"
_LEFT_TO_OTHERS = Admin.INHERITED_MAINT | Admin.INHERITED_DRAIN | Admin.RESOLUTION_MAINT | 64
_ADMIN_STATES = {
    0,
    Admin.FORCED_MAINT,
    Admin.CONFIG_MAINT,
    Admin.CONFIG_MAINT | Admin.FORCED_MAINT,
    Admin.CONFIG_MAINT | Admin.FORCED_DRAIN,
    Admin.FORCED_DRAIN,
}
_FLAGS = CheckFlag.IN_PROGRESS | CheckFlag.CONFIGURED | CheckFlag.ENABLED | CheckFlag.PAUSED | CheckFlag.AGENT
_VALID: dict[str, Callable[[int], bool]] = {
    "srv_op_state": lambda value: value in set(Operation),
    "srv_admin_state": lambda value: value & ~_LEFT_TO_OTHERS in _ADMIN_STATES,
    "srv_uweight": lambda value: 0 <= value <= _LARGEST_WEIGHT,
    "srv_iweight": lambda value: 0 <= value <= _LARGEST_WEIGHT,
    "srv_time_since_last_change": lambda value: True,
    "srv_check_status": lambda value: 0 <= value <= max(Status),
    "srv_check_result": lambda value: 0 <= value <= 4,
    "srv_check_health": lambda value: True,
    "srv_check_state": lambda value: not value & ~_FLAGS,
    "srv_agent_state": lambda value: not value & ~_FLAGS,
    "bk_f_forced_id": lambda value: value in (0, 1),
    "srv_f_forced_id": lambda value: value in (0, 1),
    "srv_port": lambda value: 0 <= value <= _LARGEST_PORT,
}

Line = dict[str, str]
Warn = Callable[[Proxy | None, str], None]


def apply(config: Config, roster: Roster, warn: Warn) -> None:
    """Read what the configuration names, before any worker or check runs. What cannot be read is warned about."""
    name = config.settings.server_state_file
    common: dict[tuple[str, str], Line] = {}
    if name is not None:
        path = _path(config.settings, name)
        common = _read(path, f"global server state file '{path}'", lambda text: warn(None, f"config: {text}"))
    for proxy in config.proxies:
        if not proxy.is_backend or proxy.disabled or not proxy.servers or proxy.load_server_state is None:
            continue
        found = common if proxy.load_server_state == "global" else _local(config.settings, proxy, warn)
        if proxy.load_server_state == "global" and name is None:
            warn(
                proxy,
                f"backend '{proxy.name}' configured to load server state file from global section "
                "'server-state-file' directive. Unfortunately, 'server-state-file' is not set!",
            )
        _apply_to(proxy, found, roster, warn)


def _path(settings: Global, name: str) -> Path:
    return Path(settings.server_state_base or "", name)


def _local(settings: Global, proxy: Proxy, warn: Warn) -> dict[tuple[str, str], Line]:
    path = _path(settings, proxy.server_state_file_name or proxy.name)

    def say(text: str) -> None:
        warn(proxy, f"Proxy '{proxy.name}': {text}")

    found = _read(path, f"server state file '{path}'", say)
    mine = {}
    for (backend, server), line in found.items():
        renamed = line["be_id"] == str(proxy.id) and line["bk_f_forced_id"] != "0"
        if backend == proxy.name or renamed:
            mine[proxy.name, server] = line
            if all(server != each.name for each in proxy.servers):
                say(f"can't find server '{server}' in backend '{proxy.name}'")
    return mine


# --- reading ------------------------------------------------------------------------------------------------------


def _read(path: Path, called: str, warn: Callable[[str], None]) -> dict[tuple[str, str], Line]:
    """The servers of a file by (backend, server); none when there is anything wrong with it."""
    try:
        lines = path.read_text(errors="replace").split("\n")
    except OSError as error:
        warn(f"Can't open {called}: {error.strerror}")
        return {}
    if lines[0] != VERSION:
        warn(f"Can't get version of the {called}.")
        return {}
    found: dict[tuple[str, str], Line] = {}
    for number, text in enumerate(lines[1:], 1):
        words = text.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) < _FEWEST:
            warn(f"corrupted {called} at line {number}.")
            return {}
        line = dict(zip(_NAMES, words, strict=False))
        found.setdefault((line["be_name"], line["srv_name"]), line)
    return found


def _apply_to(proxy: Proxy, found: dict[tuple[str, str], Line], roster: Roster, warn: Warn) -> None:
    for standing in roster.standings():
        line = found.get((proxy.name, standing.server.name)) if standing.proxy is proxy else None
        if line is None:
            continue
        wrong = "".join(_complaints(line))
        if wrong:
            warn(proxy, f"server-state application failed for server '{standing.name}'{wrong}")
        else:
            _apply(standing, {name: int(line[name]) for name in _VALID}, roster)


def _complaints(line: Line) -> Iterator[str]:
    for name, is_valid in _VALID.items():
        word = line[name]
        if not (NUMBER.fullmatch(word) and is_valid(int(word))):
            yield f", invalid {name} value '{word}'"


# --- applying -----------------------------------------------------------------------------------------------------


def _apply(standing: Standing, told: dict[str, int], roster: Roster) -> None:
    _operate(standing, told, roster)
    _administer(standing, told, roster)
    standing.since = time.monotonic() - told["srv_time_since_last_change"]
    if standing.check is not None:
        if told["srv_check_status"] in set(Status):
            standing.check_result = CheckResult(Status(told["srv_check_status"]))
        standing.check_enabled = _is_enabled(told["srv_check_state"])
    if standing.agent is not None:
        standing.agent_enabled = _is_enabled(told["srv_agent_state"])
    if told["srv_iweight"] == standing.server.weight:
        standing.weight = told["srv_uweight"]
    port = standing.server.port
    if port.kind is PortMap.FIXED and told["srv_port"] and told["srv_port"] != port.value:
        # An address comes from the text alone, but a port that was ordered stays.
        standing.server = replace(standing.server, port=ServerPort(PortMap.FIXED, told["srv_port"]))
    roster.rearrange()


def _is_enabled(flags: int) -> bool:
    """All that a file can tell of a check is that an operator had stopped it."""
    return not flags & CheckFlag.CONFIGURED or bool(flags & CheckFlag.ENABLED)


def _operate(standing: Standing, told: dict[str, int], roster: Roster) -> None:
    operation, health = Operation(told["srv_op_state"]), standing.check
    if operation is Operation.STOPPING and health is not None and health.fall == 1:
        operation = Operation.STOPPED
    if health is not None:
        values = {
            Operation.STOPPED: 0,
            Operation.STARTING: health.top,
            Operation.RUNNING: health.top,
            Operation.STOPPING: min(max(told["srv_check_health"], health.rise), max(health.rise, health.top - 1)),
        }
        health.value = values[operation]
    if operation is Operation.STOPPED:
        roster.transitions.stop(standing, _CHANGED)
    elif operation is Operation.STOPPING:
        roster.transitions.fade(standing, _CHANGED)
    else:
        roster.transitions.run(standing, "")


def _administer(standing: Standing, told: dict[str, int], roster: Roster) -> None:
    place, admin = standing.position, told["srv_admin_state"]
    was_configured, is_configured = admin & Admin.CONFIG_MAINT, standing.admin & Admin.CONFIG_MAINT
    if was_configured != is_configured:
        roster.set_admin(*place, "maint" if is_configured else "ready")
    elif admin & Admin.FORCED_MAINT and not is_configured:
        roster.set_admin(*place, "maint")
    elif is_configured and not admin & Admin.FORCED_MAINT:
        roster.set_admin(*place, "ready")
    wanted = admin & Admin.FORCED_DRAIN and (told["srv_iweight"] or not standing.server.weight)
    if wanted and not standing.admin & Admin.FORCED_MAINT:
        roster.set_admin(*place, "drain")
