"""Commands about the connection itself: help, prompt, level, timeout."""

from __future__ import annotations

from pasvport.address import Family
from pasvport.config.scalars import ScalarError, parse_time
from pasvport.control.api.commands import Command, Refusal, Request, Severity, answering, remarking
from pasvport.control.api.finding import help_text
from pasvport.model import StatsLevel, StatsSocket


def _help(request: Request) -> str:
    allowed = [level for level in StatsLevel if request.client.may(level)]
    return help_text(request.commands, request.arguments, allowed)


def _prompt(request: Request) -> str:
    request.client.interactive = not request.client.interactive
    return ""


def _quit(request: Request) -> str:
    request.client.leaving = True
    return ""


def _lower(level: StatsLevel) -> Command:
    def action(request: Request) -> str:
        if not request.client.may(level):
            raise Refusal("Permission denied")
        request.client.level = level
        return ""

    return Command(
        level.value, "", f"lower the level of the current CLI session to {level}", remarking(action), StatsLevel.USER
    )


def _set_timeout(request: Request) -> str:
    if request.argument(0) != "cli":
        raise Refusal("'set timeout' only supports 'cli'.")
    if not request.argument(1):
        raise Refusal("Expects an integer value.")
    try:
        milliseconds = parse_time(request.argument(1), unit="s")
    except ScalarError:
        milliseconds = 0
    if milliseconds < 1:
        raise Refusal("Invalid timeout value.")
    request.client.timeout = milliseconds / 1000
    return ""


def _set_severity(request: Request) -> str:
    try:
        request.client.severity = Severity(request.argument(0))
    except ValueError:
        raise Refusal("one of 'none', 'number', 'string' is a required argument") from None
    return ""


def _show_level(request: Request) -> str:
    return f"{request.client.level}\n"


def _show_sockets(request: Request) -> str:
    rows = (f"{_address(told)} {told.level} all\n" for told in request.generation.settings.stats_sockets)
    return "# socket lvl processes\n" + "".join(rows)


def _address(told: StatsSocket) -> str:
    endpoint = told.endpoint
    if endpoint.family is Family.UNIX:
        return f"unix@{endpoint.host}"
    if endpoint.family is Family.IPV6:
        return f"ipv6@[{endpoint.host}]:{endpoint.port}"
    return f"ipv4@{endpoint}" if endpoint.family is Family.IPV4 else str(endpoint)


CLI_COMMANDS = (
    Command("help", "[<command>]", "list matching or all commands", remarking(_help)),
    Command(
        "prompt",
        "",
        "toggle interactive mode with prompt",
        answering(_prompt),
        detail="The connection stays open and a `> ` comes after every answer, until `quit`, `prompt` or the timeout.",
    ),
    Command("quit", "", "disconnect", answering(_quit)),
    _lower(StatsLevel.OPERATOR),
    _lower(StatsLevel.USER),
    Command(
        "set timeout",
        "[cli] <delay>",
        "change a timeout setting",
        remarking(_set_timeout),
        detail="For this connection only; in seconds, or with a unit (`500ms`, `5m`).",
    ),
    Command(
        "set severity-output",
        "[none|number|string]",
        "set presence of severity level in feedback information",
        remarking(_set_severity),
    ),
    Command("show cli level", "", "display the level of the current CLI session", answering(_show_level)),
    Command("show cli sockets", "", "dump list of cli sockets", answering(_show_sockets), StatsLevel.OPERATOR),
)
