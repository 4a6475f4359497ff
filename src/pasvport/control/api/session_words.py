"""A session in the words of `show sess` (management guide, 9.3), as HAProxy 2.6.12 prints it.

What HAProxy knows of its inside and nobody counts here (calls, rate, CPU time and latency of a task, flags of streams
and endpoints) is 0, its pointers are (nil). The flags of a channel are HAProxy's bits for what is known here.
"""

from __future__ import annotations

from collections.abc import Iterator

from pasvport.logformat.dates import local_date
from pasvport.model import Config, Proxy
from pasvport.record import NO_BACKEND
from pasvport.sight import FlowSight, FtpSessionSight, SessionSight, TransferSight

_STATES = {"assigning": ("ASS", 4), "queued": ("QUE", 2), "retrying": ("TAR", 3), "connecting": ("CON", 5)}
_ESTABLISHED = ("EST", 8)

# Bits of a channel's flags, by what they mean.
_ENDED = 0x1 | 0x20
_PASSED = 0x2 | 0x200 | 0x40000
_SHUT = 0x2000
_AUTO_CLOSE = 0x8000
_SPLICED = 0x200000
_AUTO_CONNECT = 0x800000
_RESPONSE = 0x80000000

_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def human_time(seconds: float) -> str:
    """`1d3h`, `2m5s`, `0s`: the two largest units that a duration has, whole."""
    left, words = int(seconds), []
    for size, letter in _UNITS:
        if left >= size:
            words.append(f"{left // size}{letter}")
            left %= size
    return "".join(words[:2]) or "0s"


def _limit(seconds: float | None, never: str) -> str:
    return never if seconds is None else human_time(seconds)


def flows(session: SessionSight) -> tuple[FlowSight, FlowSight]:
    """(from the client, from the server)."""
    return session.upload, session.download


def _flags(flow: FlowSight, base: int) -> int:
    found = ((flow.ended, _ENDED), (flow.total, _PASSED), (flow.shut, _SHUT), (flow.spliced, _SPLICED))
    return base | sum(bits for is_so, bits in found if is_so)


def _request_flags(session: SessionSight) -> int:
    return _flags(flows(session)[0], _AUTO_CLOSE | _AUTO_CONNECT)


def _response_flags(session: SessionSight) -> int:
    return _flags(flows(session)[1], _AUTO_CLOSE | _RESPONSE)


# --- one line -----------------------------------------------------------------------------------------------------


def brief(session: SessionSight) -> str:
    """The line of `show sess`."""
    upload, download = flows(session)
    state = _STATES.get(session.phase, _ESTABLISHED)[1]
    return (
        f"{session.identity:#x}: proto={session.family} src={_source(session)} fe={session.frontend} "
        f"be={session.backend} srv={session.server} ts=00 epoch=0 age={human_time(session.age)} "
        f"calls=0 rate=0 cpu=0 lat=0 "
        f"rq[f={_request_flags(session):06x}h,{_channel(upload)}] "
        f"rp[f={_response_flags(session):06x}h,{_channel(download)}] "
        f"scf=[8,0h,fd={session.client_descriptor}] scb=[{state},1h,fd={session.server_descriptor}] "
        f"exp={_limit(session.expires, '')} rc={session.retries} c_exp={_limit(session.phase_expires, '')}"
    )


def _source(session: SessionSight) -> str:
    if session.family == "unix_stream":
        return f"unix:{session.listener_id}"
    return f"{session.client_host}:{session.client_port}"


def _channel(flow: FlowSight) -> str:
    return f"i={flow.held},an=00h,rx={_limit(flow.read_left, '')},wx={_limit(flow.write_left, '')},ax="


# --- all that is known --------------------------------------------------------------------------------------------


def full(session: SessionSight, config: Config) -> Iterator[str]:
    """The lines of `show sess ID`, and one of ours: what the session waits for and which stick entries it keeps."""
    yield from _ends(session, config)
    yield from _connections(session)
    upload, download = flows(session)
    yield from _buffer("req", upload, _request_flags(session))
    yield from _buffer("res", download, _response_flags(session))
    entries = " ".join(f"{table}:{key}" for table, key in session.entries) or "-"
    yield (
        f"  worker={session.worker} phase={session.phase} idle={human_time(session.client_idle)}/"
        f"{human_time(session.server_idle)} redispatched={int(session.redispatched)} "
        f"queues={session.queues[0]}/{session.queues[1]} entries={entries}"
    )


def _ends(session: SessionSight, config: Config) -> Iterator[str]:
    second = int(session.accepted)
    yield (
        f"{session.identity:#x}: [{local_date(second)}.{int((session.accepted - second) * 1e6):06d}] "
        f"id={session.number} proto={session.family} source={_source(session)}"
    )
    yield (
        f"  flags=0x0, conn_retries={session.retries}, conn_exp={_limit(session.phase_expires, '<NEVER>')} "
        f"conn_et=0x000 srv_conn=(nil), pend_pos=(nil) waiting={int(session.phase == 'queued')} epoch=0"
    )
    frontend = config.proxy(session.frontend)
    yield (
        f"  frontend={session.frontend} (id={frontend.id} mode={frontend.mode}), listener={session.listener} "
        f"(id={session.listener_id}){_address(session.local_address)}"
    )
    yield from _behind(session, config)


def _behind(session: SessionSight, config: Config) -> Iterator[str]:
    backend = _backend(session, config)
    if backend is None:
        yield "  backend=<NONE> (id=-1 mode=-)"
        yield "  server=<NONE> (id=-1)"
        return
    yield f"  backend={backend.name} (id={backend.id} mode={backend.mode}){_address(session.source_address)}"
    server = next((each for each in backend.servers if each.name == session.server), None)
    if server is None:
        yield "  server=<NONE> (id=-1)"
    else:
        yield f"  server={server.name} (id={server.id}){_address(session.server_address)}"


def _backend(session: SessionSight, config: Config) -> Proxy | None:
    return None if session.backend == NO_BACKEND else config.proxy(session.backend, backend=True)


def _address(text: str) -> str:
    return f" addr={text}" if text else ""


def _connections(session: SessionSight) -> Iterator[str]:
    state = _STATES.get(session.phase, _ESTABLISHED)[0]
    yield (
        f"  task=(nil) (state=0x00 nice=0 calls=0 rate=0 exp={_limit(session.expires, '<NEVER>')} "
        f"tmask={1 << session.worker:#x} age={human_time(session.age)})"
    )
    yield "  scf=(nil) flags=0x00000000 state=EST endp=CONN,(nil),0x00000000 sub=1"
    yield f"      co0=(nil) ctrl={session.family} xprt=RAW mux=PASS data=STRM target=LISTENER:(nil)"
    yield f"      flags=0x00000000 fd={session.client_descriptor}"
    yield f"  scb=(nil) flags=0x00000001 state={state} endp={_endpoint(session)},(nil),0x00000000 sub=1"
    if session.server_descriptor >= 0:
        yield "      co1=(nil) ctrl=tcpv4 xprt=RAW mux=PASS data=STRM target=SERVER:(nil)"
        yield f"      flags=0x00000000 fd={session.server_descriptor}"


def _endpoint(session: SessionSight) -> str:
    return "CONN" if session.server_descriptor >= 0 else "NONE"


def _buffer(name: str, flow: FlowSight, flags: int) -> Iterator[str]:
    yield f"  {name}=(nil) (f=0x{flags:06x} an=0x0 pipe={flow.held if flow.spliced else 0} tofwd=-1 total={flow.total})"
    yield f"      an_exp=<NEVER> rex={_limit(flow.read_left, '<NEVER>')} wex={_limit(flow.write_left, '<NEVER>')}"
    yield f"      buf=(nil) data=(nil) o={0 if flow.spliced else flow.held} p=0 i=0 size=0"


def ftp_lines(session: FtpSessionSight | None, transfers: list[TransferSight]) -> Iterator[str]:
    """What `mode ftp` adds to `show sess ID`."""
    if session is not None:
        yield (
            f"  ftp user={printable(session.user)} failed_user={printable(session.failed_user)} "
            f"phase={session.phase} doing={session.doing} commands={session.commands} "
            f"last={printable(session.last_command)} transfers={session.transfers} "
            f"bytes_in={session.bytes_in} bytes_out={session.bytes_out}"
        )
    for each in transfers:
        yield (
            f"  transfer {each.verb} {printable(each.path)} direction={each.direction} bytes={each.size} "
            f"modes={each.client_mode}/{each.server_mode} port={each.port}"
        )


def printable(data: bytes) -> str:
    """Bytes of a peer as one word that cannot break a line or a terminal; `-` for none."""
    return data.decode("utf-8", "replace").encode("unicode_escape").decode("ascii").replace(" ", "\\x20") or "-"
