"""Data paths and transfers of an FTP session, as the dialogue orders them."""

from __future__ import annotations

import os

from pasvport.engine.conversation import Conversation
from pasvport.engine.counters import BackendCells, FrontendCells
from pasvport.engine.data_connections import DataConnections
from pasvport.engine.data_ports import Pool
from pasvport.engine.dialer import dial_client, dial_data
from pasvport.engine.frontends import Doorway
from pasvport.ftp.actions import (
    AbortTransfer,
    DialClientData,
    DialServerData,
    DropData,
    LeaseDataPort,
    RecordTransfer,
    StartTransfer,
)
from pasvport.ftp.events import ClientDataConflict, ClientDataFailed, DataPortLeased, LeaseFailed, ServerDataFailed
from pasvport.ftp.states import PathState
from pasvport.record import Culprit, DataMode, Direction, Stage, TransferRecord
from pasvport.sight import TransferSight, session_id

_PASSIVE = frozenset({DataMode.PASV, DataMode.EPSV})
_LONGEST_DIAL = 30.0
"""Seconds, where `timeout connect` is longer or not said."""
_FIRST_PORT, _LAST_PORT = 3.5, 10.0
"""The same for a server's data port, while there is another way to ask for one and when there is none: enough for one
SYN that was lost, and for three."""


class Transfers(Conversation):
    """At most one path at a time, and on it one transfer."""

    __slots__ = ("counted_passive", "counted_running", "dialled", "pool")

    def __init__(self, doorway: Doorway, descriptor: int, host: str, port: int, number: int) -> None:
        Conversation.__init__(self, doorway, descriptor, host, port, number)
        self.dialled = ""
        """The address at our end of the client's connection."""
        self.pool: Pool | None = None
        self.counted_running = False
        """A transfer of this session is among those that run now (`ftp_xfer_cur`)."""
        self.counted_passive = False
        """And among those whose client came to a data port (`ftp_pasv_cur`)."""

    # --- data -----------------------------------------------------------------------------------------------------

    def _path(self, number: int) -> DataConnections:
        """The connections of the present path; there is at most one."""
        data = self.data
        if data is None or data.path != number:
            if data is not None:
                data.drop()
            data = self.data = DataConnections(self, number)
        return data

    def lease_port(self, action: LeaseDataPort) -> None:
        """A port of the pool, listening before the client is told."""
        data, pool, service = self._path(action.path), self.pool, self.service
        reason = "the pool of data ports is exhausted"
        try:
            lease = service.ports.lease(pool, self.dialled, self.host, data) if pool is not None else None
        except OSError as error:
            lease, reason = None, os.strerror(error.errno or 0)
        if lease is None:
            self._lease_failed(action.path, reason if pool is not None else "no data ports for this address")
            return
        data.lease = lease
        self.tell(DataPortLeased(action.path, lease.port))

    def _lease_failed(self, path: int, reason: str) -> None:
        self.plant.cells[self.service.cells.ftp_lease_fail] += 1
        self.service.say_exhausted(reason)
        self.tell(LeaseFailed(path, reason))

    def met_strangers(self, count: int) -> None:
        """So many came to the leased port who were not awaited; they were dropped."""
        self.dialogue.record.strangers += count

    def is_announced(self, path: int) -> bool:
        """Whether the client was told the port of `path`. Who comes before that is somebody else."""
        present = self.dialogue.path
        return present is not None and present.number == path and present.state is not PathState.OPENING

    def met_conflict(self, path: int, host: str) -> None:
        """Two connections came to the port of `path` for the client's one; both were reset."""
        self.plant.cells[self.service.cells.ftp_conflict] += 1
        self.tell(ClientDataConflict(path, host))

    def drop_data(self, action: DropData) -> None:
        """Give up a path whose transfer was not started."""
        if self.data is not None and self.data.path == action.path:
            self.data.drop()

    def dial_server_data(self, action: DialServerData) -> None:
        """Connect to the port that the server named."""
        data, server = self._path(action.path), self.pick
        assert server is not None
        try:
            descriptor = dial_data(self, server, action.host, action.port)
        except OSError as error:
            self.tell(ServerDataFailed(action.path, os.strerror(error.errno or 0)))
            return
        data.dialled_server(descriptor, min(self.patience.connect, _LAST_PORT if action.is_last else _FIRST_PORT))

    def dial_client_data(self, action: DialClientData) -> None:
        """Connect to an active client."""
        try:
            descriptor = dial_client(self, action.host, action.port)
        except OSError as error:
            self.tell(ClientDataFailed(action.path, os.strerror(error.errno or 0)))
            return
        self._path(action.path).client_dialled(descriptor, action.host, min(self.patience.connect, _LONGEST_DIAL))

    def start_transfer(self, action: StartTransfer) -> None:
        """Both data connections stand."""
        self._count_running(running=True)
        self._path(action.path).start(action.direction, may_be_empty=action.may_be_empty)

    def _count_running(self, *, running: bool) -> None:
        if running is not self.counted_running:
            self.counted_running = running
            for cells in self.owners_of_events():
                self.plant.cells[cells.ftp_xfer_cur] += 1 if running else -1
            path = self.dialogue.path
            is_passive = running and path is not None and path.client_mode in _PASSIVE
            if is_passive is not self.counted_passive:
                self.counted_passive = is_passive
                self.plant.cells[self.service.cells.ftp_pasv_cur] += 1 if is_passive else -1

    def over(self, culprit: Culprit, stage: Stage) -> None:
        """A session that ended by a fault of ours did not account for its transfer."""
        self._count_running(running=False)
        Conversation.over(self, culprit, stage)

    def abort_transfer(self, action: AbortTransfer) -> None:
        """Reset both data connections; before whatever else waits to be told, so is the end."""
        data = self.data
        if data is not None and not data.is_over:
            self._events.insert(0, data.cut())

    def record_transfer(self, action: RecordTransfer) -> None:
        """A transfer has ended: count it and write its line."""
        record, data = action.record, self.data
        # A client that transfers is not silent; its pause begins now.
        self.client_seen = self.plant.loop.now
        down, counts = record.direction is Direction.DOWNLOAD, self.plant.cells
        failed = not record.is_complete
        self._count_running(running=False)
        for cells in self.owners_of_events():
            counts[cells.ftp_xfer] += 1
            counts[cells.ftp_down if down else cells.ftp_up] += record.size
            if failed:
                counts[cells.ftp_xfer_fail] += 1
        if data is not None and data.path == record.number:
            self._add_times(record, data)
        logger = self.doorway.frontend.logger
        if logger is not None:
            session = self.record(Culprit.NONE, Stage.NONE)
            session.transfer = record
            logger.transfer_ended(session)
            session.transfer = None
        self.count_bytes()

    def _add_times(self, record: TransferRecord, data: DataConnections) -> None:
        now = self.plant.loop.now
        record.started = (data.started_at or data.opened_at) + self.plant.epoch_offset
        record.peer = data.peer
        record.client_wait = _milliseconds(data.opened_at, data.client_came)
        record.connect_time = _milliseconds(data.server_dialled, data.server_came)
        if data.started_at:
            record.duration = _milliseconds(data.started_at, data.finished_at or now)

    def owners_of_events(self) -> list[FrontendCells | BackendCells]:
        """Whose counters what happens in this session moves."""
        owners: list[FrontendCells | BackendCells] = [self.service.cells]
        if self.backend is not None:
            owners.append(self.backend.cells)
        if self.pick is not None:
            owners.append(self.pick.cells)
        return owners

    def transfer_summary(self) -> TransferSight | None:
        """The transfer that runs now, for whoever asks."""
        path, data = self.dialogue.path, self.data
        if path is None or data is None or not path.is_transferring:
            return None
        return TransferSight(
            session_id(self.plant.counters.worker, self.number),
            self.plant.counters.worker,
            self.dialogue.record.user,
            self.host,
            *self.names(),
            str(path.direction),
            path.command.verb,
            path.command.argument,
            data.arrived,
            path.expected,
            (data.started_at or data.opened_at) + self.plant.epoch_offset,
            str(path.client_mode),
            str(path.server_mode),
            path.port,
        )

    def moving(self, direction: Direction) -> int:
        """Bytes of the transfer that has not been recorded yet."""
        data = self.data
        if data is None or data.direction is not direction or not self.dialogue.is_transferring:
            return 0
        return data.size


def _milliseconds(start: float, end: float) -> int:
    return int((end - start) * 1000 + 0.5) if start and end else -1
