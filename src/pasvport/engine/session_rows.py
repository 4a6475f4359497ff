"""Questions about sessions, transfers, leases and the loop itself; and the order to end sessions."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from pasvport.bounds import visible
from pasvport.engine.connected import local_address
from pasvport.engine.dialer import server_port
from pasvport.engine.pump import CLOGGED, Pump
from pasvport.engine.seeker import ESTABLISHED, OVER
from pasvport.engine.session import Session
from pasvport.engine.sights import Rows, Sight, SpeaksFtp
from pasvport.engine.timers import NEVER
from pasvport.record import NO_BACKEND, Culprit
from pasvport.sight import ActivitySight, FlowSight, SessionSight, session_id
from pasvport.stick.show import key_text

_NO_SERVER = "<none>"
_UNIX_CLIENT = "unix"


def _sessions(sight: Sight) -> Rows:
    """Every session (SessionSight), without what costs system calls."""
    for session in sight.sessions():
        yield None if session.phase is OVER else tuple(_seen(sight, session))


def _detailed(sight: Sight) -> Rows:
    """Every session with its addresses."""
    for session in sight.sessions():
        yield None if session.phase is OVER else tuple(_with_addresses(sight, session))


def _session(sight: Sight, identity: int) -> Rows:
    """One session, by what `show sess` calls it."""
    for session in sight.sessions():
        if session_id(sight.number, session.number) == identity:
            yield tuple(_with_addresses(sight, session))


def _seen(sight: Sight, session: Session) -> SessionSight:
    plant, doorway, backend, pick = sight.plant, session.doorway, session.backend, session.pick
    now = plant.loop.now
    waits = session.phase is not ESTABLISHED
    return SessionSight(
        identity=session_id(sight.number, session.number),
        worker=sight.number,
        number=session.number,
        accepted=session.accepted_at + plant.epoch_offset,
        age=now - session.accepted_at,
        client_idle=now - session.client_seen,
        server_idle=now - session.server_seen,
        family=_family(session),
        client_host=session.host,
        client_port=session.port,
        frontend=doorway.frontend.proxy.name,
        listener=visible(doorway.bind.name or "?"),
        listener_id=doorway.bind.first_id + max(0, doorway.port - doorway.bind.ports.low),
        backend=backend.proxy.name if backend is not None else NO_BACKEND,
        server=pick.model.name if pick is not None else _NO_SERVER,
        phase=session.phase.name.lower(),
        client_descriptor=session.client,
        server_descriptor=session.server,
        upload=_flow(session, session.upload, session.bytes_in, now),
        download=_flow(session, session.download, session.bytes_out, now),
        expires=_left(session.due, now),
        phase_expires=_left(session.deadline, now) if waits else None,
        retries=session.failures,
        redispatched=session.redispatched,
        queues=session.queues,
        entries=tuple((table.name, key_text(table.table.model, entry.key)) for table, entry in session.entries or ()),
    )


def _family(session: Session) -> str:
    if not session.host or session.host == _UNIX_CLIENT:
        return "unix_stream"
    return "tcpv6" if ":" in session.host else "tcpv4"


def _left(moment: float, now: float) -> float | None:
    return None if moment == NEVER else max(0.0, moment - now)


def _flow(session: Session, pump: Pump | None, total: int, now: float) -> FlowSight:
    if pump is None:
        return FlowSight(total)
    limits, seen = session.limits(), (session.client_seen, session.server_seen)
    source, sink = (0, 1) if pump is session.upload else (1, 0)
    clogged = pump.state is CLOGGED
    return FlowSight(
        total,
        pump.ended,
        pump.shut,
        clogged,
        pump.pipe is not None,
        pump.held if isinstance(pump.held, int) else len(pump.held),
        None if clogged or pump.ended else _left(seen[source] + limits[source], now),
        _left(seen[sink] + limits[sink], now) if clogged else None,
    )


def _with_addresses(sight: Sight, session: Session) -> SessionSight:
    """Only while its descriptors are open."""
    seen = _seen(sight, session)
    pick = session.pick
    server_address = ""
    if pick is not None and not isinstance(pick.address, str | bytes):
        server_address = f"{pick.address[0]}:{server_port(session, pick)}"
    return seen._replace(
        local_address=_own_address(session.client),
        source_address=_own_address(session.server),
        server_address=server_address,
    )


def _own_address(descriptor: int) -> str:
    if descriptor < 0:
        return ""
    try:
        host, port = local_address(descriptor)
    except (OSError, ValueError):
        return ""
    return f"{host}:{port}"


# --- ending them --------------------------------------------------------------------------------------------------


def _kill(sight: Sight, identity: int) -> Rows:
    """End one session: a row, its number, if it was there."""
    for session in sight.sessions():
        if session_id(sight.number, session.number) == identity and session.phase is not OVER:
            session.kill(Culprit.KILLED)
            yield (identity,)


def _kill_of_server(sight: Sight, proxy: int, server: int) -> Rows:
    """End the sessions that a server serves (`server` -1: any of the backend): one row, how many."""
    backend, killed = sight.backends.get(proxy), 0
    for session in sight.sessions():
        picked = session.pick
        is_meant = session.backend is backend and picked is not None and server in (-1, picked.index)
        if is_meant and session.served and session.phase is not OVER:
            session.kill(Culprit.KILLED)
            killed += 1
        yield None
    yield (killed,)


# --- FTP ----------------------------------------------------------------------------------------------------------


def _ftp_sessions(sight: Sight) -> Rows:
    """Every control connection of `mode ftp` (FtpSessionSight)."""
    for session in sight.sessions():
        speaks = isinstance(session, SpeaksFtp) and session.phase is not OVER
        yield tuple(session.ftp_summary()) if speaks and isinstance(session, SpeaksFtp) else None


def _ftp_transfers(sight: Sight) -> Rows:
    """Every transfer that runs (TransferSight)."""
    for session in sight.sessions():
        transfer = session.transfer_summary() if isinstance(session, SpeaksFtp) else None
        yield tuple(transfer) if transfer is not None and session.phase is not OVER else None


def _ftp_leases(sight: Sight) -> Rows:
    """Every data port in use (LeaseSight)."""
    for lessor in sight.lessors:
        for lease in list(lessor.leases()):
            yield tuple(lease)


def _ftp_login_failures(sight: Sight) -> Rows:
    """Logins that failed lately (LoginFailureSight), a few dozen at most."""
    for failure in list(sight.plant.login_failures):
        yield tuple(failure)


# --- the loop -----------------------------------------------------------------------------------------------------


def _activity(sight: Sight) -> Rows:
    """One row (ActivitySight)."""
    plant = sight.plant
    loop, cells, process = plant.loop, plant.cells, plant.process
    dropped, asked = sight.activity()
    yield tuple(
        ActivitySight(
            worker=sight.number,
            process_id=os.getpid(),
            epoch=loop.now + plant.epoch_offset,
            turns=loop.turns,
            events=loop.events,
            longest_turn_us=int(loop.longest * 1e6),
            busy_us=int(loop.busy * 1e6),
            deferred=loop.resumed,
            sessions=cells[process.cur],
            accepted=cells[process.connections],
            pipes_used=cells[process.pipes_used],
            pipes_free=cells[process.pipes_free],
            descriptors=plant.descriptors.count(),
            dropped_messages=dropped,
            questions=asked,
        )
    )


QUESTIONS: Mapping[str, Callable[..., Rows]] = {
    "sessions": _sessions,
    "sessions detailed": _detailed,
    "session": _session,
    "kill": _kill,
    "kill of server": _kill_of_server,
    "ftp sessions": _ftp_sessions,
    "ftp transfers": _ftp_transfers,
    "ftp leases": _ftp_leases,
    "ftp login failures": _ftp_login_failures,
    "activity": _activity,
}
