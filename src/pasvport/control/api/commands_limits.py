"""Commands about frontends, limits of the process, and the counters."""

from __future__ import annotations

import re
from collections.abc import Callable

from pasvport.control.allowances import UNLIMITED
from pasvport.control.api.commands import Command, Refusal, Request, find_frontend, remarking
from pasvport.control.generation import Generation
from pasvport.control.openings import capability
from pasvport.model import Mode, Proxy, StatsLevel
from pasvport.slots import PROCESS, frontend_key
from pasvport.wire import FrontendClosed, RatesLimited

_ADMIN = StatsLevel.ADMIN
_RATES = """'set rate-limit' only supports :
   - 'connections global' to set the per-process maximum connection rate
   - 'sessions global' to set the per-process maximum session rate"""


# --- frontends ----------------------------------------------------------------------------------------------------


def _frontend(request: Request) -> Proxy:
    proxy = find_frontend(request, request.argument(0))
    if proxy.mode is Mode.HTTP:
        raise Refusal("This frontend serves the statistics, it cannot be closed.")
    return proxy


def _disable(request: Request) -> str:
    proxy, generation = _frontend(request), request.generation
    if proxy.index in generation.doors.shut_down:
        raise Refusal("Frontend was previously shut down, cannot disable.")
    if proxy.index in generation.doors.disabled:
        raise Refusal("All sockets are already disabled.")
    generation.doors.disabled.add(proxy.index)
    _close(generation, proxy)
    generation.say_all([(proxy, f"Paused {capability(proxy)} {proxy.name}.")])
    return ""


def _enable(request: Request) -> str:
    proxy, generation = _frontend(request), request.generation
    if proxy.index in generation.doors.shut_down:
        raise Refusal("Frontend was previously shut down, cannot enable.")
    if proxy.index not in generation.doors.disabled:
        raise Refusal("All sockets are already enabled.")
    if generation.ports.resume(proxy.index):
        generation.ports.pause(proxy.index)
        raise Refusal("Failed to resume frontend, check logs for precise cause (port conflict?).")
    generation.doors.disabled.discard(proxy.index)
    generation.order(("frontend", proxy.index), FrontendClosed(proxy.index, False))
    generation.say_all([(proxy, f"Resumed {capability(proxy)} {proxy.name}.")])
    return ""


def _shut_down(request: Request) -> str:
    proxy, generation = _frontend(request), request.generation
    if proxy.index in generation.doors.shut_down:
        raise Refusal("Frontend was already shut down.")
    generation.doors.shut_down.add(proxy.index)
    _close(generation, proxy)
    accepted, served = generation.figures.frontend(proxy, "conn_tot"), generation.figures.backend(proxy, "stot")
    text = f"Proxy {proxy.name} stopped (cumulated conns: FE: {accepted}, BE: {served})."
    generation.say_all([(proxy, text)])
    return ""


def _close(generation: Generation, proxy: Proxy) -> None:
    """The workers first: a connection that one of them has in hand is served."""
    generation.order(("frontend", proxy.index), FrontendClosed(proxy.index, True))
    generation.ports.pause(proxy.index)


# --- limits -------------------------------------------------------------------------------------------------------


def _whole(text: str, complaint: str = "Integer value expected.") -> int:
    """The number that a text begins with, as C's atoi reads it. Raises Refusal when there is no text."""
    if not text:
        raise Refusal(complaint)
    found = re.match(r"\s*([+-]?[0-9]+)", text, re.ASCII)
    return int(found[1][:20]) if found else 0


def _set_frontend_maxconn(request: Request) -> str:
    proxy = find_frontend(request, request.argument(0))
    value = _whole(request.argument(1))
    if value < 0:
        raise Refusal("Value out of range.")
    generation, key = request.generation, frontend_key(proxy.index)
    if key not in generation.allowances:
        raise Refusal("This frontend has no maxconn in the configuration, so that the process's is its limit.")
    generation.allowances.resize(key, value or UNLIMITED)
    generation.doors.set_maxconn_of(proxy, value)
    return ""


def _set_maxconn(request: Request) -> str:
    value, generation = _whole(request.argument(0), "Expects an integer value."), request.generation
    doors = generation.doors
    if not 0 <= value <= doors.hard_maxconn:
        raise Refusal("Value out of range.")
    if PROCESS not in generation.allowances:
        raise Refusal("There is no maxconn in the global section: connections are limited by descriptors alone.")
    doors.maxconn = value or doors.hard_maxconn
    generation.allowances.resize(PROCESS, doors.maxconn)
    return ""


def _set_rate(request: Request) -> str:
    what, scope, text = request.argument(0), request.argument(1), request.argument(2)
    action = _RATE_SETTERS.get(what)
    if action is None or scope != "global":
        raise Refusal(_RATES)
    value = _whole(text, "Expects an integer value.")
    if value < 0:
        raise Refusal("Value out of range.")
    action(request.generation, value)
    return ""


def _connections(generation: Generation, value: int) -> None:
    generation.doors.connection_rate = value
    _tell_rates(generation)


def _sessions(generation: Generation, value: int) -> None:
    generation.doors.session_rate = value
    _tell_rates(generation)


def _tell_rates(generation: Generation) -> None:
    doors = generation.doors
    generation.order("rates", RatesLimited(doors.connection_rate, doors.session_rate))


_RATE_SETTERS: dict[str, Callable[[Generation, int], None]] = {"connections": _connections, "sessions": _sessions}


# --- counters -----------------------------------------------------------------------------------------------------


def _clear_counters(request: Request) -> str:
    everything = request.argument(0) == "all"
    if everything and not request.client.may(_ADMIN):
        raise Refusal("Permission denied")
    generation = request.generation
    generation.tally.clear(everything=everything)
    generation.rates.clear()
    if everything:
        generation.roster.clear_counters()
    return ""


LIMIT_COMMANDS = (
    Command(
        "disable frontend",
        "<frontend>",
        "temporarily disable specific frontend",
        remarking(_disable),
        _ADMIN,
        detail="Its ports refuse connections until `enable frontend`; sessions go on.",
    ),
    Command("enable frontend", "<frontend>", "re-enable specific frontend", remarking(_enable), _ADMIN),
    Command(
        "shutdown frontend",
        "<frontend>",
        "stop a specific frontend",
        remarking(_shut_down),
        _ADMIN,
        detail="As `disable`, but for good. The ports are refused, yet kept until the next reload or restart.",
    ),
    Command(
        "set maxconn frontend",
        "<frontend> <value>",
        "change a frontend's maxconn setting",
        remarking(_set_frontend_maxconn),
        _ADMIN,
        detail="Only where the frontend has a maxconn. 0 lifts the limit.",
    ),
    Command(
        "set maxconn global",
        "<value>",
        "change the per-process maxconn setting",
        remarking(_set_maxconn),
        _ADMIN,
        detail="At most what the global section says, which is what 0 goes back to; refused where that says nothing.",
    ),
    Command(
        "set rate-limit",
        "<setting> <value>",
        "change a rate limiting value",
        remarking(_set_rate),
        _ADMIN,
        detail="`connections global N`, `sessions global N`, over all workers; 0 lifts the limit. There is neither TLS "
        "nor compression to limit.",
    ),
    Command(
        "clear counters",
        "[all]",
        "clear max statistics counters (or all counters)",
        remarking(_clear_counters),
        StatsLevel.OPERATOR,
        detail="`all` needs level admin.",
    ),
)
