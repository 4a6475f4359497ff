"""Transfers: from the transfer command to its final reply, in step with the bytes.

The client sees a positive final reply only after every byte was given to the receiver; a stream that was cut ends in a
reset and in 4xx, whatever the server says.
"""

from __future__ import annotations

import re

from pasvport.ftp.actions import DialClientData, DropData, SendToClient, StartTransfer
from pasvport.ftp.data_path import DataPath
from pasvport.ftp.events import (
    ClientDataConflict,
    ClientDataConnected,
    ClientDataFailed,
    DataFinished,
    ServerDataConnected,
)
from pasvport.ftp.grammar import Command, Reply
from pasvport.ftp.ground import Expected, Purpose
from pasvport.ftp.opening import NOTHING_PREPARED, Opening
from pasvport.ftp.states import PathState, Step
from pasvport.ftp.verbs import VERBS
from pasvport.record import Culprit, DataEnding, Direction, Stage

_ANNOUNCED = re.compile(rb"\(([0-9]{1,18}) bytes?\)")
DONE = frozenset({226, 250})
"""What says that a transfer is over, wherever it is said (RFC 959 section 5.4)."""
_WAITING = (PathState.ASKED, PathState.GRANTED)
_CONFLICT = "Two data connections came from your address: neither is served."
_LOST = "The data connection was lost: the transfer is not complete."


def announced_size(text: bytes) -> int:
    """The bytes of a download as most servers name them in 150: `(1234 bytes)`; -1 where they do not."""
    found = _ANNOUNCED.search(text)
    return int(found[1]) if found is not None else -1


class Moving(Opening):
    """One transfer at a time, on the present path."""

    __slots__ = ()

    # --- what the client asks -------------------------------------------------------------------------------------

    def _transfer(self, command: Command) -> None:
        path, restart = self._path, self._restart
        self._restart = 0
        if path is None:
            self._say(425, self._no_data or NOTHING_PREPARED)
            self._no_data = ""
            return
        path.command, path.restart = command, restart
        path.direction = VERBS[command.verb].direction or Direction.DOWNLOAD
        if path.state is PathState.CONTESTED:
            # The server was not asked: an upload has not touched the file that it would replace.
            path.code = 425
            self._say(425, _CONFLICT)
            self._drop_path()
            return
        path.take(Step.ASKED)
        self._ask(command.line, Purpose.TRANSFER, command)

    def _abort(self, command: Command) -> None:
        """ABOR: to the server at once, and both data connections down; its replies tell the client."""
        self._ask(command.line, Purpose.ABORT, command)
        path = self._path
        if path is None:
            return
        if not path.is_transferring:
            self._drop_path()
            return
        path.aborted = True
        if path.is_started:
            self._cut(path)
        elif path.state in _WAITING:
            self._do(DropData(path.number))
            if path.final is not None:
                path.take(Step.FINAL)
                self._settle(path)

    # --- what the server says -------------------------------------------------------------------------------------

    def _transfer_reply(self, expected: Expected, reply: Reply) -> None:
        path = self._path
        if path is None:
            self._expected.remove(expected)
        elif reply.is_preliminary:
            self._granted(path, expected, reply)
        elif self._is_ahead(path, expected, reply):
            path.ahead = reply
            self._goes_on(path, reply)
        elif path.may_hear_more and 200 <= reply.code < 300:
            path.late = reply
            if path.awaits_word and self._has_gone_on:
                self._was_all()
        else:
            self._concluded(path, expected, reply)

    def _is_ahead(self, path: DataPath, expected: Expected, reply: Reply) -> bool:
        """Some servers say 200 before 150, or in its place: ftplib skips it, lftp and tnftp go on, curl with an upload.

        No client sends a byte before it was answered; a download may have come to its end without 1xx.
        """
        if expected.preliminary or expected.told or path.aborted or path.ahead is not None:
            return False
        return 200 <= reply.code < 300 and (path.direction is Direction.UPLOAD or reply.code not in DONE)

    def _granted(self, path: DataPath, expected: Expected, reply: Reply) -> None:
        again, expected.preliminary = expected.preliminary, True
        if again and reply.code in (125, 150):
            path.said_twice = expected
            if path.aborted or path.is_cut_short:
                self._aborted_with_150(path, expected)
            return
        if expected.told:
            return
        path.expected = announced_size(reply.text)
        self._goes_on(path, reply)

    def _goes_on(self, path: DataPath, reply: Reply) -> None:
        """The data connections may be used."""
        path.take(Step.GRANTED)
        if path.target is None or path.client_connected or path.aborted:
            self._relay(reply)
        else:
            # What an active client is told waits for our connection to it, so that a failure can still be 425.
            earlier = path.preliminary
            path.preliminary = reply if earlier is None else Reply(reply.code, earlier.raw + reply.raw)
            self._dial_client(path)
        self._start(path)

    def _aborted_with_150(self, path: DataPath, expected: Expected) -> None:
        """Pure-FTPd ends a transfer that was cut with a second 150 and says nothing more, to ABOR neither.

        The client is told what RFC 959 has for it; should 226 come after all, it is swallowed.
        """
        self._expected.remove(expected)
        path.told, path.code = True, 426
        self._say(426, "Transfer aborted.")
        for each in self._expected:
            if each.purpose is Purpose.ABORT and not each.told:
                each.told = each.doubtful = True
                self._say(226, "ABOR done.")
        path.take(Step.FINAL)
        if path.state is PathState.GONE:
            self._settle(path)

    def _dial_client(self, path: DataPath) -> None:
        if path.target is not None and not path.dialled_client and not path.aborted:
            path.dialled_client = True
            self._do(DialClientData(path.number, *path.target))

    def _concluded(self, path: DataPath, expected: Expected, reply: Reply) -> None:
        self._expected.remove(expected)
        self._doubt_abort(reply)
        path.server_code = reply.code
        if expected.told:
            self._concluded_late(path, reply)
        elif path.aborted:
            self._tell(path, reply)
            self._concluded_late(path, reply)
        elif 200 <= reply.code < 300:
            self._concluded_well(path, reply)
        else:
            self._concluded_badly(path, reply)

    def _concluded_late(self, path: DataPath, reply: Reply) -> None:
        """The client knows already: the server's word was only waited for."""
        path.final = reply
        path.take(Step.FINAL)
        if path.state is PathState.GONE:
            self._settle(path)

    def _concluded_well(self, path: DataPath, reply: Reply) -> None:
        path.final = reply
        if path.take(Step.GRANTED):
            # No 1xx came before: the server took the data connection for granted.
            path.granted_by_final = True
            self._dial_client(path)
            self._start(path)
        elif path.state is not PathState.GRANTED:
            path.take(Step.FINAL)
        if path.state is PathState.GONE:
            self._settle(path)

    def _concluded_badly(self, path: DataPath, reply: Reply) -> None:
        self._tell(path, reply)
        path.final = reply
        if path.state is PathState.MOVING:
            self._cut(path)
        elif path.state in _WAITING:
            self._do(DropData(path.number))
        path.take(Step.FINAL)
        if path.state is PathState.GONE:
            self._settle(path)

    def _was_all(self) -> None:
        """The server says nothing more after the data, or the client does not wait for more.

        lftp takes the first 2xx for the end and would take another for the answer to its next command, which ftplib
        and curl do not give before they have heard it.
        """
        path, expected = self._path, self._expected
        if path is None or not path.awaits_word or not expected or expected[0].purpose is not Purpose.TRANSFER:
            return
        last = path.late or path.ahead
        assert last is not None
        del expected[0]
        path.server_code = last.code
        if path.late is None or self._has_gone_on:
            path.told, path.code = True, last.code
        self._concluded_late(path, last)

    def _doubt_abort(self, reply: Reply) -> None:
        """After 226 for the transfer, some servers answer the ABOR behind it and some do not."""
        if reply.code in (225, 226):
            for expected in self._expected:
                expected.doubtful = expected.doubtful or expected.purpose is Purpose.ABORT

    # --- what the engine says -------------------------------------------------------------------------------------

    def _client_data_connected(self, event: ClientDataConnected) -> None:
        path = self._current(event.path)
        if path is None or path.client_connected:
            return
        path.client_connected = True
        if path.preliminary is not None:
            self._do(SendToClient(path.preliminary.raw))
            path.preliminary = None
        self._start(path)

    def _server_data_connected(self, event: ServerDataConnected) -> None:
        super()._server_data_connected(event)
        path = self._current(event.path)
        if path is not None:
            self._start(path)

    def _start(self, path: DataPath) -> None:
        ready = path.client_connected and path.server_connected and not path.aborted
        if not ready or not path.take(Step.STARTED):
            return
        # Some servers answer a list of nothing by 226 alone, and close the port on which they never accepted.
        is_done = path.final is not None and path.granted_by_final
        self._do(StartTransfer(path.number, path.direction, is_done and path.direction is Direction.DOWNLOAD))
        if path.final is not None:
            path.take(Step.FINAL)

    def _client_data_failed(self, event: ClientDataFailed) -> None:
        path = self._current(event.path)
        if path is not None and not path.client_connected:
            self._abandon(path, 425, "Your data port cannot be reached.", (Culprit.CLIENT_ABORT, Stage.CONNECT))

    def _client_data_conflict(self, event: ClientDataConflict) -> None:
        """Somebody with the client's address may be after its file, or bring another: nobody gets it."""
        path = self._current(event.path)
        if path is None or path.state is PathState.ENDED:
            return
        path.note_conflict()
        self._record.conflicts += 1
        if path.state is PathState.READY:
            path.question = None
            self._do(DropData(path.number))
            path.take(Step.CONTESTED)
        else:
            self._abandon(path, 425, _CONFLICT, (Culprit.PROXY, Stage.CONNECT))

    def _client_never_came(self) -> None:
        """`timeout ftp-data`: a lease nobody used is given back; a transfer that waits for it ends in 425."""
        path = self._path
        if path is None or path.client_connected:
            return
        text = "No data connection came in time."
        if path.state is PathState.READY:
            self._drop_path()
            self._no_data = text
        else:
            self._abandon(path, 425, text, (Culprit.CLIENT_TIMEOUT, Stage.CONNECT))

    def _stalled(self, culprit: Culprit) -> None:
        """`timeout ftp-transfer`: no byte moved."""
        path = self._path
        if path is not None and path.is_started:
            self._abandon(path, 426, "The transfer stalled.", (culprit, Stage.DATA))

    def _abandon(self, path: DataPath, code: int, text: str, blame: tuple[Culprit, Stage]) -> None:
        """Tell the client now; what the server will say about it is swallowed."""
        if not path.is_transferring or path.told or path.aborted:
            return
        path.blame = path.blame or blame
        path.told, path.code = True, code
        for expected in self._expected:
            expected.told = expected.told or expected.purpose is Purpose.TRANSFER
        self._say(code, text)
        if path.is_started:
            self._cut(path)
            return
        self._do(DropData(path.number))
        if path.final is not None or self._server_gone:
            path.take(Step.FINAL)
            self._settle(path)
        else:
            path.take(Step.ABANDONED)

    def _data_finished(self, event: DataFinished) -> None:
        path = self._current(event.path)
        if path is None or not path.is_started:
            return
        path.note_end(event.size, event.how)
        path.take(Step.DATA_ENDED)
        said_twice = next((each for each in self._expected if each is path.said_twice), None)
        if said_twice is not None and path.is_cut_short:
            self._aborted_with_150(path, said_twice)
            return
        if self._server_gone and path.take(Step.FINAL) and not path.told:
            # Whoever asked hears 421 next: no word of the server says that this was all.
            path.told, path.code = True, 421
        if path.state is PathState.GONE:
            self._settle(path)

    def _flow_on(self, reason: str) -> None:
        """The server has closed its control connection under a transfer, whose bytes may still come to their end."""
        self._server_gone = self._server_gone or reason
        self._expected.clear()

    # --- the end of a transfer ------------------------------------------------------------------------------------

    def _tell(self, path: DataPath, reply: Reply) -> None:
        path.told, path.code = True, reply.code
        self._do(SendToClient(reply.raw))

    def _settle(self, path: DataPath) -> None:
        """Both ends are known: the final reply, what waited behind it, and the record."""
        if not path.told:
            self._tell_outcome(path)
        if path.behind:
            self._do(SendToClient(path.behind))
        self._path = None
        self._record_transfer(path)

    @property
    def _has_gone_on(self) -> bool:
        """The client has said what is not said during a transfer: lftp, to which any 2xx is the end of one."""
        verb = VERBS.get(self._held[0].verb) if self._held else None
        return bool(self._held) and (verb is None or not verb.in_transfer)

    def _tell_outcome(self, path: DataPath) -> None:
        final = path.final
        if final is not None and path.ending is DataEnding.COMPLETE:
            self._tell(path, final)
        else:
            path.told, path.code = True, 426
            self._say(426, _LOST)
