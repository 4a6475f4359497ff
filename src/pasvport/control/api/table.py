"""Every command there is. docs/runtime-api.md is generated from this table."""

from __future__ import annotations

from pasvport.control.api.commands import Command
from pasvport.control.api.commands_cli import CLI_COMMANDS
from pasvport.control.api.commands_dynamic import DYNAMIC_COMMANDS
from pasvport.control.api.commands_limits import LIMIT_COMMANDS
from pasvport.control.api.commands_process import PROCESS_COMMANDS
from pasvport.control.api.commands_server import SERVER_COMMANDS
from pasvport.control.api.commands_sessions import SESSION_COMMANDS
from pasvport.control.api.commands_show import SHOW_COMMANDS
from pasvport.control.api.commands_tables import TABLE_COMMANDS

COMMANDS: tuple[Command, ...] = (
    CLI_COMMANDS
    + PROCESS_COMMANDS
    + SHOW_COMMANDS
    + SERVER_COMMANDS
    + DYNAMIC_COMMANDS
    + LIMIT_COMMANDS
    + SESSION_COMMANDS
    + TABLE_COMMANDS
)
