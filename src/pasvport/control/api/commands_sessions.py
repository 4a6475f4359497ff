"""`show sess`, `shutdown session`, `shutdown sessions server`, `show activity`, `show ftp` (management guide, 9.3).

Sessions of former generations, which finish after a reload, are listed and ended like those of the present one.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Sequence

from pasvport.control.api import ftp_words
from pasvport.control.api.activity_words import activity_lines
from pasvport.control.api.commands import Command, Refusal, Request, find_backend, find_server
from pasvport.control.api.session_words import brief, ftp_lines, full
from pasvport.control.generation import Generation
from pasvport.control.questions import Gathered, Inquiry
from pasvport.digits import is_number
from pasvport.model import Config, Mode, StatsLevel
from pasvport.sight import ActivitySight, FtpSessionSight, SessionSight, TransferSight

_HEXADECIMAL = re.compile(r"0[xX][0-9a-fA-F]{1,16}")
_MARK_BITS = 52
_MARKS = 1 << 11
"""Generations that live at the same time differ in this: their serial, modulo this number."""


def _generations(request: Request) -> list[Generation]:
    return [request.generation, *request.balancer.former]


def _mark(generation: Generation) -> int:
    """What the generation's sessions have in the upper bits of their number: each generation counts from 1."""
    return (generation.serial % _MARKS + 1) << _MARK_BITS


def _pointer(word: str) -> int:
    """A session's number, `0x` and hexadecimal as `show sess` prints it; 0 for anything else."""
    if _HEXADECIMAL.fullmatch(word):
        return int(word, 16)
    return int(word) if is_number(word) else 0


def _find_generation(request: Request, pointer: int) -> tuple[Generation, int] | None:
    """The generation that a session's number belongs to, and the number that its workers know."""
    for generation in _generations(request):
        mark = _mark(generation)
        if pointer >> _MARK_BITS == mark >> _MARK_BITS:
            return generation, pointer - mark
    return None


def remarks(missing: Sequence[int], errors: Sequence[str]) -> Iterator[str]:
    """What an answer lacks, as comments: they look like the headings that readers of dumps skip."""
    for worker in missing:
        yield f"# worker {worker} did not answer, its part is missing\n"
    for error in errors:
        yield f"# {error}\n"


def _lacking(request: Request, generation: Generation, answer: Inquiry | Gathered) -> Iterator[str]:
    """The same of one generation's answer. Workers of a former one leave when they are done: that is no lack."""
    return remarks(answer.missing if generation is request.generation else (), answer.errors)


# --- show sess ----------------------------------------------------------------------------------------------------


async def show(request: Request) -> AsyncIterator[str]:
    """`show sess [ID|all]`. As in HAProxy, what is no number lists all."""
    pointer = _pointer(request.argument(0))
    if request.argument(0) == "all":
        pieces = _everything(request)
    elif pointer:
        pieces = _one(request, pointer)
    else:
        pieces = _briefly(request)
    async for piece in pieces:
        yield piece


async def _briefly(request: Request) -> AsyncIterator[str]:
    for generation in _generations(request):
        async with generation.questions.ask("sessions") as inquiry:
            async for session in _seen(inquiry, _mark(generation)):
                yield f"{brief(session)}\n"
        for line in _lacking(request, generation, inquiry):
            yield line


async def _everything(request: Request) -> AsyncIterator[str]:
    for generation in _generations(request):
        async with generation.questions.ask("sessions detailed") as inquiry:
            async for session in _seen(inquiry, _mark(generation)):
                yield _full_text(session, generation.config)
        for line in _lacking(request, generation, inquiry):
            yield line


async def _seen(inquiry: Inquiry, mark: int) -> AsyncIterator[SessionSight]:
    async for _, row in inquiry:
        session = SessionSight._make(row)
        yield session._replace(identity=session.identity + mark)


def _full_text(session: SessionSight, config: Config) -> str:
    return "".join(f"{line}\n" for line in full(session, config))


async def _one(request: Request, pointer: int) -> AsyncIterator[str]:
    found = _find_generation(request, pointer)
    if found is None:
        raise Refusal("Session not found.")
    generation, identity = found
    answer = await generation.questions.gather("session", identity)
    for row in answer.plain():
        session = SessionSight._make(row)._replace(identity=pointer)
        yield _full_text(session, generation.config)
        async for line in _its_ftp(generation, identity, session.frontend):
            yield f"{line}\n"
    if not answer.rows:
        raise Refusal("Session not found.")


async def _its_ftp(generation: Generation, identity: int, frontend: str) -> AsyncIterator[str]:
    if generation.config.proxy(frontend).mode is not Mode.FTP:
        return
    controls = (await generation.questions.gather("ftp sessions")).plain()
    control = next((each for each in map(FtpSessionSight._make, controls) if each.identity == identity), None)
    transfers = (await generation.questions.gather("ftp transfers")).plain()
    mine = [each for each in map(TransferSight._make, transfers) if each.session == identity]
    for line in ftp_lines(control, mine):
        yield line


# --- shutdown -----------------------------------------------------------------------------------------------------


async def shut_down(request: Request) -> AsyncIterator[str]:
    """`shutdown session ID`."""
    pointer = _pointer(request.argument(0))
    if not pointer:
        raise Refusal("Session pointer expected (use 'show sess').")
    found = _find_generation(request, pointer)
    if found is None or not (await found[0].questions.gather("kill", found[1])).rows:
        raise Refusal("No such session (use 'show sess').")
    return
    yield


async def shut_down_of_server(request: Request) -> AsyncIterator[str]:
    """`shutdown sessions server BACKEND/SERVER`."""
    proxy, number = find_server(request, request.argument(0))
    async for line in _kill(request, proxy.name, proxy.servers[number].name):
        yield line


async def shut_down_of_backend(request: Request) -> AsyncIterator[str]:
    """`shutdown sessions backend NAME`, ours."""
    proxy = find_backend(request, request.argument(0), "No such backend.")
    async for line in _kill(request, proxy.name, ""):
        yield line


async def _kill(request: Request, backend: str, server: str) -> AsyncIterator[str]:
    """End the sessions of a server ("": of all) of a backend, in every generation that has it."""
    for generation in _generations(request):
        place = _place(generation.config, backend, server)
        if place is None:
            continue
        answer = await generation.questions.gather("kill of server", *place)
        for line in _lacking(request, generation, answer):
            yield line


def _place(config: Config, backend: str, server: str) -> tuple[int, int] | None:
    """(proxy index, server index, -1 for all) by names, which outlive a reload."""
    for proxy in config.proxies:
        if proxy.is_backend and proxy.name == backend:
            numbers = {"": -1} | {each.name: number for number, each in enumerate(proxy.servers)}
            return (proxy.index, numbers[server]) if server in numbers else None
    return None


# --- show activity, show ftp --------------------------------------------------------------------------------------


async def show_activity(request: Request) -> AsyncIterator[str]:
    """`show activity`: what the loops of the workers did."""
    answer = await request.generation.questions.gather("activity")
    workers = sorted(ActivitySight._make(row) for row in answer.plain())
    for line in activity_lines(workers):
        yield f"{line}\n"
    for line in remarks(answer.missing, answer.errors):
        yield line


async def show_ftp(request: Request) -> AsyncIterator[str]:
    """`show ftp sessions|transfers|leases|pools [json]`, ours."""
    listing = ftp_words.LISTINGS.get(request.argument(0))
    is_json = request.argument(1) == "json"
    if listing is None or request.argument(1) not in ("", "json"):
        raise Refusal(f"'show ftp' expects {', '.join(ftp_words.LISTINGS)}, and 'json' or nothing.")
    yield "[" if is_json else f"{ftp_words.heading(listing)}\n"
    is_first, lacking = True, list[str]()
    async for mark, row in _ftp_rows(request, listing, lacking):
        yield ftp_words.piece(listing, row, mark, is_json=is_json, is_first=is_first)
        is_first = False
    if is_json:
        yield "]\n"
    else:
        for line in lacking:
            yield line


async def _ftp_rows(
    request: Request, listing: ftp_words.Listing, lacking: list[str]
) -> AsyncIterator[tuple[int, tuple[object, ...]]]:
    """(what to add to sessions' numbers, row) of all generations; what is missing is added to `lacking`."""
    if not listing.question:
        for pool in _pools(request.generation):
            yield 0, pool
        return
    for generation in _generations(request):
        async with generation.questions.ask(listing.question) as inquiry:
            async for _, row in inquiry:
                yield _mark(generation), row
        lacking += _lacking(request, generation, inquiry)


def _pools(generation: Generation) -> Iterator[ftp_words.PoolSight]:
    figures = generation.figures
    for proxy in generation.config.proxies:
        if proxy.mode is Mode.FTP and proxy.is_frontend and not proxy.disabled:
            awaited = figures.frontend(proxy, "ftp_lease_cur")
            yield ftp_words.PoolSight(
                proxy.name,
                sum(len(bind.ports) for bind in proxy.binds if bind.data),
                awaited + figures.frontend(proxy, "ftp_pasv_cur"),
                figures.frontend(proxy, "ftp_lease"),
                figures.frontend(proxy, "ftp_lease_fail"),
                awaited,
                figures.frontend(proxy, "ftp_conflict"),
            )


SESSION_COMMANDS: tuple[Command, ...] = (
    Command(
        "show sess",
        "[id]",
        "report the list of current sessions or dump this exact session",
        show,
        StatsLevel.OPERATOR,
        detail="`all` dumps every session in full. A session's number takes the place of HAProxy's pointer: it is "
        "unique over workers and reloads, and never used again. Counts of calls, rates, CPU time and flags of the "
        "inside are 0; the stats client's own session is not listed. The full form ends with a line of ours: worker, "
        "phase, idle time of both sides, pinned stick entries; in `mode ftp`, the user, the last command and the "
        "transfers that run.",
    ),
    Command(
        "shutdown session",
        "<id>",
        "kill a specific session",
        shut_down,
        StatsLevel.ADMIN,
        detail="Both sides are reset; the log says `K`.",
    ),
    Command(
        "shutdown sessions server",
        "<bk>/<srv>",
        "kill sessions on a server",
        shut_down_of_server,
        StatsLevel.ADMIN,
    ),
    Command(
        "shutdown sessions backend",
        "<bk>",
        "kill the sessions on all servers of a backend",
        shut_down_of_backend,
        StatsLevel.ADMIN,
        detail="Not in HAProxy.",
    ),
    Command(
        "show activity",
        "",
        "show per-worker activity stats",
        show_activity,
        detail="The first number of a line is that of all workers, those in brackets of each. `loops` are turns of the "
        "event loop, `poll_io` events, `avg_loop_us` and `longest_loop_us` the time that a turn took; `deferred` "
        "are further turns of large transfers and dumps.",
    ),
    Command(
        "show ftp",
        "{sessions|transfers|leases|pools} [json]",
        "list FTP sessions, running transfers, data ports in use, or how full their pools are",
        show_ftp,
        StatsLevel.OPERATOR,
        detail="Not in HAProxy. Columns are separated by blanks and named in the first line; blanks and unprintable "
        "bytes in names are escaped. `json` gives an array of objects. A session's `doing` is `download`, `upload`, "
        "`list`, `command`, `idle`, `login`, `connecting`, `penalty`, `tls` or `leaving`; its `transfers` include the "
        "one that runs. A pool's `used` ports have a transfer, or their client is `awaited`, as those of `leases` are. "
        "A transfer's `bytes` are those that the receiver's machine has acknowledged.",
    ),
)
