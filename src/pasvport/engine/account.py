"""What a session leaves behind: counters at its end, and the record that a log line is made of."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pasvport.engine.counters import BackendCells
from pasvport.engine.dialer import local_address, server_port
from pasvport.record import NO_SERVER, Culprit, SessionRecord, Stage

if TYPE_CHECKING:
    from pasvport.engine.session import Session


def count_bytes(session: Session) -> None:
    """Add what has passed since the last time (`option contstats` calls this while a session runs)."""
    cells = session.plant.cells
    inward, outward = session.bytes_in - session.counted[0], session.bytes_out - session.counted[1]
    session.counted = (session.bytes_in, session.bytes_out)
    for owner in (session.frontend.cells, session.listener.cells):
        cells[owner.bin] += inward
        cells[owner.bout] += outward
    for behind in _behind(session):
        cells[behind.bin] += inward
        cells[behind.bout] += outward
    cells[session.plant.process.bytes_out] += outward


def _behind(session: Session) -> list[BackendCells]:
    if session.backend is None:
        return []
    if session.pick is None:
        return [session.backend.cells]
    return [session.backend.cells, session.pick.cells]


def count_end(session: Session, culprit: Culprit, *, established: bool) -> None:
    """Add the session's last bytes, and whoever aborted it, to everything it passed through."""
    count_bytes(session)
    cells = session.plant.cells
    if session.upload is not None and session.download is not None:
        cells[session.plant.process.spliced_bytes_out] += session.upload.spliced + session.download.spliced
    if culprit is Culprit.CLIENT_ABORT:
        cells[session.frontend.cells.cli_abrt] += 1
        for behind in _behind(session):
            cells[behind.cli_abrt] += 1
    elif culprit is Culprit.SERVER_ABORT and established:
        cells[session.frontend.cells.srv_abrt] += 1
        for behind in _behind(session):
            cells[behind.srv_abrt] += 1


def count_times(session: Session) -> None:
    """Queue, connect and total times of a session that reached its server, for the averages of the statistics."""
    server, backend = session.pick, session.backend
    if server is None or backend is None or not session.connected_at:
        return
    plant = session.plant
    cells, counters = plant.cells, plant.counters
    total = _milliseconds(session.accepted_at, plant.loop.now)
    waited = _milliseconds(session.accepted_at, session.taken_at)
    connecting = _milliseconds(session.taken_at, session.connected_at)
    for owner in (backend.cells, server.cells):
        cells[owner.lastsess] = int(time.time())
        for sum_cell, most_cell, value in (
            (owner.queue_time, owner.queue_time_max, waited),
            (owner.connect_time, owner.connect_time_max, connecting),
            (owner.total_time, owner.total_time_max, total),
        ):
            cells[sum_cell] += value
            counters.raise_maximum(most_cell, value)


def record_of(session: Session, culprit: Culprit, stage: Stage) -> SessionRecord:
    """What the log may say about a session now. Its descriptors must still be open."""
    plant, frontend, backend, server = session.plant, session.frontend, session.backend, session.pick
    now, total = plant.loop.now, plant.counters.total
    accepted, taken, connected = session.accepted_at, session.taken_at, session.connected_at
    record = SessionRecord(
        accepted=time.time() - (now - accepted),
        client_address=session.host,
        client_port=str(session.port),
        frontend_address="-",
        frontend_port=str(session.listener.port),
        frontend=frontend.proxy.name,
        listener=session.listener.label,
        backend=backend.proxy.name if backend is not None else frontend.proxy.name,
        server=server.model.name if server is not None else NO_SERVER,
        culprit=culprit,
        stage=stage,
        queue_time=_milliseconds(accepted, taken) if taken else -1,
        connect_time=_milliseconds(taken, connected) if connected else -1,
        data_time=_milliseconds(connected, now) if connected else -1,
        total_time=_milliseconds(accepted, now),
        bytes_in=session.bytes_in,
        bytes_out=session.bytes_out,
        process_connections=total(plant.process.cur),
        frontend_connections=total(frontend.cells.scur),
        backend_connections=total(backend.cells.scur) if backend is not None else 0,
        server_connections=total(server.cells.scur) if server is not None else 0,
        retries=session.failures,
        redispatched=session.redispatched,
        server_queue=session.queues[0],
        backend_queue=session.queues[1],
        session_number=session.number,
    )
    if frontend.log_needs:
        _add_addresses(record, session)
    return record


def _milliseconds(start: float, end: float) -> int:
    return round((end - start) * 1000)


def _add_addresses(record: SessionRecord, session: Session) -> None:
    """Addresses that cost a system call, only when a log format asks for them."""
    needs, server = session.frontend.log_needs, session.pick
    if "frontend_address" in needs:
        record.frontend_address = session.listener.address or local_address(session.client)[0]
    if server is not None and not isinstance(server.address, str | bytes):
        record.server_address = server.address[0]
        record.server_port = str(server_port(session, server))
    if session.server >= 0 and needs & {"source_address", "source_port"}:
        host, port = local_address(session.server)
        record.source_address, record.source_port = host, str(port)
