"""`show servers state` and server-state files: version 1 of HAProxy's format, as it is written.

`control.state_files` reads it.
Source: HAProxy management guide, section 9.3 (`show servers state`); configuration manual, `server-state-file`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields

VERSION = "1"
NUMBER = re.compile("-?[0-9]{1,18}")
"""What a numeric column may hold."""
_NONE = "-"
COLUMNS = (
    "be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight "
    "srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state "
    "bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr "
    "srv_agent_addr srv_agent_port"
)


class CheckFlag:
    """Bits of `srv_check_state` and `srv_agent_state`."""

    IN_PROGRESS = 1
    CONFIGURED = 2
    ENABLED = 4
    PAUSED = 8
    AGENT = 16


@dataclass(frozen=True, slots=True)
class ServerLine:
    """One server, with the columns of a line in their order. Empty text is written as `-`.

    `since` are seconds since the last change of state; `op_state`, `admin_state` and the check's numbers are those of
    `record.Operation`, `record.Admin` and `health.result`.
    """

    backend_id: int
    backend: str
    server_id: int
    server: str
    address: str
    op_state: int
    admin_state: int
    user_weight: int
    initial_weight: int
    since: int
    check_status: int = 1
    check_result: int = 0
    check_health: int = 0
    check_state: int = 0
    agent_state: int = 0
    backend_id_forced: int = 0
    server_id_forced: int = 0
    fqdn: str = ""
    port: int = 0
    srv_record: str = ""
    use_ssl: int = 0
    check_port: int = 0
    check_address: str = ""
    agent_address: str = ""
    agent_port: int = 0


_NAMES = tuple(field.name for field in fields(ServerLine))


def write(rows: Iterable[ServerLine]) -> str:
    """The version, the names of the columns, and a line for each server."""
    lines = [VERSION, f"# {COLUMNS}"]
    lines.extend(" ".join(str(getattr(row, name)) or _NONE for name in _NAMES) for row in rows)
    return "".join(f"{line}\n" for line in lines)
