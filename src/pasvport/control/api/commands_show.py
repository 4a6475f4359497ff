"""Commands that show what is: process, statistics, servers. Those about sessions and tables are elsewhere."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Iterator

from pasvport.control.api.commands import Command, Refusal, Request, answering, find_backend, find_proxy
from pasvport.control.information import info, version
from pasvport.control.server_listings import connection_lines, state_lines
from pasvport.control.statistics import ANY, Selection, stat_rows
from pasvport.digits import is_number
from pasvport.exposition import server_state, stat
from pasvport.exposition.info import InfoStyle, write
from pasvport.exposition.schema import schema
from pasvport.logformat.dates import local_date
from pasvport.model import Config, Proxy, StatsLevel


async def _show_info(request: Request) -> AsyncIterator[str]:
    words = set(request.arguments)
    style = InfoStyle(typed="typed" in words, json="json" in words, desc="desc" in words, float="float" in words)
    stopping = request.generation.crew.is_leaving
    for piece in write(info(request.generation, stopping=stopping), style):
        yield piece
    if style.json:
        yield "\n"


# --- show stat ----------------------------------------------------------------------------------------------------


async def _show_stat(request: Request) -> AsyncIterator[str]:
    selection, words = _selection(request)
    rows = stat_rows(request.generation, selection)
    for piece in _in_form(rows, words):
        yield piece


def _in_form(rows: Iterator[stat.Row], words: list[str]) -> Iterator[str]:
    # Of several forms HAProxy takes the last.
    forms = [word for word in words if word in ("typed", "json")]
    if forms and forms[-1] == "typed":
        yield from stat.typed(rows, desc="desc" in words)
    elif forms:
        yield from stat.as_json(rows)
        yield "\n"
    else:
        yield from stat.csv(rows)


def _selection(request: Request) -> tuple[Selection, list[str]]:
    """`[domain proxy] [{IID|NAME} TYPE SID] [word]...`."""
    words = list(request.arguments)
    if words[:1] == ["domain"]:
        if words[1:2] != ["proxy"]:
            raise Refusal("Invalid statistics domain.")
        del words[:2]
    proxy, kinds, identity = ANY, ANY, ANY
    if len(words) >= 3 or (len(words) == 2 and _number(words[1]) is not None):
        proxy, kinds, identity = _bound(request, words)
        del words[:3]
    # By the socket's level, also for a client that lowered its own.
    legends = request.client.socket.level is not StatsLevel.USER
    is_up, is_available = "up" in words, "no-maint" in words
    return Selection(proxy, kinds, identity, is_up, is_available, legends=legends), words


def _bound(request: Request, words: list[str]) -> tuple[int, int, int]:
    number = _number(words[0])
    if number is None:
        number = find_proxy(request, words[0]).id
    kinds, identity = (_number(word) for word in [*words[1:], "-1", "-1"][:2])
    return number, kinds or 0, ANY if identity is None else identity


def _number(word: str) -> int | None:
    return int(word) if is_number(word.removeprefix("-")) else None


# --- servers ------------------------------------------------------------------------------------------------------


def _servers_of(request: Request) -> list[Proxy]:
    """The backend that was named, or all."""
    if request.argument(0):
        return [find_backend(request, request.argument(0), "Can't find backend.")]
    return backends(request.generation.config)


def backends(config: Config) -> list[Proxy]:
    """Every proxy that has servers and is not disabled."""
    return [proxy for proxy in config.proxies if proxy.is_backend and not proxy.disabled]


def _show_servers_state(request: Request) -> str:
    return server_state.write(state_lines(request.generation, _servers_of(request)))


async def _show_servers_conn(request: Request) -> AsyncIterator[str]:
    for line in connection_lines(request.generation, _servers_of(request)):
        yield line


def _show_backend(request: Request) -> str:
    return "# name\n" + "".join(f"{proxy.name}\n" for proxy in backends(request.generation.config))


# --- the rest -----------------------------------------------------------------------------------------------------


def _show_version(_request: Request) -> str:
    return f"{version()}\n"


def _show_startup_logs(request: Request) -> str:
    return f"{request.balancer.startup_logs}\n"


def _show_schema(_request: Request) -> str:
    return schema() + "\n"


_MASK = "*****"


async def _show_env(request: Request) -> AsyncIterator[str]:
    environment = dict(request.generation.settings.environment) or dict(os.environ)
    wanted = request.argument(0)
    if wanted and wanted not in environment:
        raise Refusal("Variable not found")
    secrets = _secrets(request.generation.config)
    for name, value in environment.items():
        if wanted in ("", name):
            yield f"{name}={_MASK if value in secrets else value}\n"


def _secrets(config: Config) -> set[str]:
    """What a variable must not be shown as: the passwords of the configuration, alone or behind their user."""
    users = [pair for proxy in config.proxies if proxy.stats is not None for pair in proxy.stats.users]
    users += [(check.user, check.password) for proxy in config.proxies if (check := proxy.ftp_check) is not None]
    known = {password for _, password in users} | {f"{user}:{password}" for user, password in users}
    return known - {"", ":"}


def _show_errors(request: Request) -> str:
    if request.argument(0):
        find_proxy(request, request.argument(0))
    now = time.time()
    moment = local_date(int(now)).replace(":", " ", 0)
    return f"Total events captured on [{moment}.{int(now * 1000) % 1000:03d}] : 0\n"


SHOW_COMMANDS = (
    Command(
        "show info",
        "[desc|json|typed|float]*",
        "report information about the running process",
        _show_info,
        detail="Supervisor and workers together. TLS, compression and peers do not exist here: their fields are 0.",
    ),
    Command(
        "show stat",
        "[desc|json|no-maint|typed|up]*",
        "report counters for each proxy and server",
        _show_stat,
        detail="`show stat [domain proxy] [{<iid>|<proxy>} <type> <sid>] [words]`: type is a sum of 1 (frontends), "
        "2 (backends), 4 (servers), 8 (listeners), or -1; sid -1 means all. Words come after the selector.",
    ),
    Command(
        "show startup-logs",
        "",
        "report logs emitted during the start",
        answering(_show_startup_logs),
        detail="Of the start of the process. What a reload complains of is on stderr, in the logs, and in the answer "
        "of `reload`.",
    ),
    Command("show schema json", "", "report schema used for stats", answering(_show_schema)),
    Command(
        "show servers state",
        "[<backend>]",
        "dump volatile server information (all or for a single backend)",
        answering(_show_servers_state),
        detail="The format of `server-state-file`, version 1.",
    ),
    Command(
        "show servers conn",
        "[<backend>]",
        "dump server connections status (all or for a single backend)",
        _show_servers_conn,
    ),
    Command("show backend", "", "list backends in the current running config", answering(_show_backend)),
    Command("show version", "", "show version of the current process", answering(_show_version)),
    Command(
        "show env",
        "[var]",
        "dump environment variables known to the process",
        _show_env,
        StatsLevel.OPERATOR,
        detail=f"A value that is a password of `stats auth` or `option ftp-check` is shown as `{_MASK}`.",
    ),
    Command(
        "show errors",
        "[<px>] [request|response]",
        "report last request and/or response errors for each proxy",
        answering(_show_errors),
        StatsLevel.OPERATOR,
        detail="There are none to capture in TCP mode; the count is there for those who look at it.",
    ),
)
