"""A session: one client connection from accept to its log line. Here is its end: counting, releasing, recording."""

from __future__ import annotations

from pasvport.engine.backends import ANY_ADDRESS
from pasvport.engine.connected import local_address
from pasvport.engine.connector import Connector
from pasvport.engine.counters import BackendCells, FrontendCells, ListenerCells
from pasvport.engine.dialer import server_port
from pasvport.engine.frontends import Doorway
from pasvport.engine.seeker import ESTABLISHED, OVER
from pasvport.record import NO_SERVER, TIME_SAMPLES, Culprit, SessionRecord, Stage


class Session(Connector):
    """See `Seeker` and `Connector` for how it begins and `Relay` for what it does in between."""

    __slots__ = ("counted", "logged", "number")

    def __init__(self, doorway: Doorway, descriptor: int, host: str, port: int, number: int) -> None:
        Connector.__init__(self, doorway, descriptor, host, port)
        self.counted = _NOTHING
        self.logged = False
        self.number = number
        self.guarded = doorway.carries_data

    # --- the end --------------------------------------------------------------------------------------------------

    def kill(self, culprit: Culprit) -> None:
        """End at once because somebody outside decided so (DOWN, UP, KILLED), which names no stage."""
        self._stop(culprit, Stage.NONE)

    def failed(self, error: Exception) -> None:
        """A bug met while this session was served."""
        if self.phase is not OVER:
            super().failed(error)
        else:
            self.plant.report(error)

    def close_both(self, *, reset_client: bool, reset_server: bool) -> None:
        """As every relay, and by `option nolinger` always with a reset."""
        backend = self.backend
        Connector.close_both(
            self,
            reset_client=reset_client or self.doorway.frontend.proxy.nolinger_client,
            reset_server=reset_server or (backend is not None and backend.proxy.nolinger_server),
        )

    def over(self, culprit: Culprit, stage: Stage) -> None:
        """Both descriptors are given up: release everything else, count, and write the log line."""
        frontend = self.doorway.frontend
        established = self.phase is ESTABLISHED
        self.leave()
        self.phase = OVER
        if self.entries is not None:
            self.release_entries(self.bytes_in, self.bytes_out)
        self.count_bytes()
        if culprit is not Culprit.NONE:
            self._count_abort(culprit, established)
        if self.connected_at:
            self._count_times()
        logger = frontend.logger
        try:
            if logger is not None and not self.logged:
                logger.session_ended(self.record(culprit, stage))
        finally:
            # A line that cannot be written must not cost a slot for good.
            frontend.session_over(self)

    # --- counting -------------------------------------------------------------------------------------------------

    @property
    def bytes_in(self) -> int:
        """Bytes the client sent."""
        return self.upload.taken if self.upload is not None else 0

    @property
    def bytes_out(self) -> int:
        """Bytes the server sent."""
        return self.download.taken if self.download is not None else 0

    def count_bytes(self) -> None:
        """Add what has passed since the last time (`option contstats` calls this while the session runs)."""
        upload, download = self.upload, self.download
        if upload is None or download is None:
            return
        cells, process = self.plant.cells, self.plant.process
        inward, outward = upload.taken - self.counted[0], download.taken - self.counted[1]
        spliced = upload.spliced + download.spliced
        # Most data connections move bytes one way only.
        if inward:
            for owner in self._owners():
                cells[owner.bin] += inward
        if outward:
            for owner in self._owners():
                cells[owner.bout] += outward
            cells[process.bytes_out] += outward
        if spliced:
            cells[process.spliced_bytes_out] += spliced - self.counted[2]
        self.counted = (upload.taken, download.taken, spliced)

    def _owners(self) -> tuple[FrontendCells | ListenerCells | BackendCells, ...]:
        """Whose bytes a session's bytes are."""
        doorway, backend, server = self.doorway, self.backend, self.pick
        if backend is None:
            return doorway.frontend.cells, doorway.cells
        if server is None:
            return doorway.frontend.cells, doorway.cells, backend.cells
        return doorway.frontend.cells, doorway.cells, backend.cells, server.cells

    def _behind(self) -> list[BackendCells]:
        if self.backend is None:
            return []
        if self.pick is None:
            return [self.backend.cells]
        return [self.backend.cells, self.pick.cells]

    def _count_abort(self, culprit: Culprit, established: bool) -> None:
        cells, front = self.plant.cells, self.doorway.frontend.cells
        if culprit is Culprit.CLIENT_ABORT:
            cells[front.cli_abrt] += 1
            for behind in self._behind():
                cells[behind.cli_abrt] += 1
        elif culprit is Culprit.SERVER_ABORT and established:
            cells[front.srv_abrt] += 1
            for behind in self._behind():
                cells[behind.srv_abrt] += 1

    def _count_times(self) -> None:
        """Queue, connect and total times of a session that reached its server, for the averages of the statistics."""
        plant = self.plant
        cells, today = plant.cells, int(plant.loop.now + plant.epoch_offset)
        waited = _milliseconds(self.accepted_at, self.taken_at)
        connecting = _milliseconds(self.taken_at, self.connected_at)
        total = _milliseconds(self.accepted_at, plant.loop.now)
        for owner in self._behind():
            if cells[owner.lastsess] != today:
                cells[owner.lastsess] = today
            is_sliding = cells[owner.stot] > TIME_SAMPLES
            if waited or cells[owner.queue_time]:
                self._add_time(owner.queue_time, owner.queue_time_max, waited, is_sliding)
            if connecting or cells[owner.connect_time]:
                self._add_time(owner.connect_time, owner.connect_time_max, connecting, is_sliding)
            if total or cells[owner.total_time]:
                self._add_time(owner.total_time, owner.total_time_max, total, is_sliding)

    def _add_time(self, sum_cell: int, maximum_cell: int, milliseconds: int, is_sliding: bool) -> None:
        """The sum is that of the last TIME_SAMPLES sessions: each one more takes an average one away."""
        cells = self.plant.cells
        before = cells[sum_cell]
        cells[sum_cell] = before + milliseconds + (-before // TIME_SAMPLES if is_sliding else 0)
        if milliseconds > cells[maximum_cell]:
            cells[maximum_cell] = milliseconds

    # --- the record -----------------------------------------------------------------------------------------------

    def reached(self) -> None:
        """`option logasap`, or a format that says nothing of the end: the line is written now."""
        logger = self.doorway.frontend.logger
        if logger is not None and logger.at_connect:
            self.logged = True
            logger.session_connected(self.record(Culprit.NONE, Stage.NONE))

    def record(self, culprit: Culprit, stage: Stage) -> SessionRecord:
        """What the log may say about the session now. Its descriptors must still be open.

        There is one record for all sessions of a frontend: who asked for it reads it before anybody else asks.
        """
        plant, doorway, backend, server = self.plant, self.doorway, self.backend, self.pick
        frontend, now, total = doorway.frontend, plant.loop.now, plant.counters.total
        accepted, taken, connected = self.accepted_at, self.taken_at, self.connected_at
        record = frontend.record
        record.accepted = accepted + plant.epoch_offset
        record.client_address = self.host
        record.client_port = str(self.port)
        record.frontend_port, record.listener = doorway.port_text, doorway.label
        record.unique_id = ""
        record.logged = record.in_progress = False
        record.queue_time = int((taken - accepted) * 1000 + 0.5) if taken else -1
        if connected:
            record.connect_time = int((connected - taken) * 1000 + 0.5)
            record.data_time = int((now - connected) * 1000 + 0.5)
        else:
            record.connect_time = record.data_time = -1
        record.total_time = int((now - accepted) * 1000 + 0.5)
        record.bytes_in, record.bytes_out = self.bytes_in, self.bytes_out
        record.culprit, record.stage = culprit, stage
        record.process_connections = total(plant.process.cur)
        record.frontend_connections = total(frontend.cells.scur)
        record.backend_connections = total(backend.cells.scur) if backend is not None else 0
        if server is not None:
            record.server = server.model.name
            record.server_connections = total(server.cells.scur)
        else:
            record.server, record.server_connections = NO_SERVER, 0
        record.retries, record.redispatched = self.failures, self.redispatched
        record.server_queue, record.backend_queue = self.queues
        record.session_number = self.number
        if frontend.log_needs:
            self._add_addresses(record)
        return record

    def _add_addresses(self, record: SessionRecord) -> None:
        """Addresses that cost a system call, only when a log format asks for them."""
        needs, server = self.doorway.frontend.log_needs, self.pick
        record.frontend_address = record.server_address = record.server_port = "-"
        record.source_address = record.source_port = "-"
        if "frontend_address" in needs:
            record.frontend_address = self.doorway.address or local_address(self.client)[0]
        if "frontend_port" in needs and not self.doorway.port:
            record.frontend_port = str(self.destination_port)
        if server is not None and not isinstance(server.address, str | bytes):
            host = server.address[0]
            record.server_address = local_address(self.client)[0] if host in ANY_ADDRESS else host
            record.server_port = str(server_port(self, server))
        if self.server >= 0 and needs & {"source_address", "source_port"}:
            host, port = local_address(self.server)
            record.source_address, record.source_port = host, str(port)


_NOTHING = (0, 0, 0)


def _milliseconds(start: float, end: float) -> int:
    return int((end - start) * 1000 + 0.5)
