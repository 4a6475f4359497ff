"""Both control connections of an FTP session: what the peers say and when, told to the dialogue as events.

Reading stops at the dialogue's word, and while the other peer does not take what is meant for it; every buffer here is
bounded by that. `ControlChannel` carries out what the dialogue answers.
"""

from __future__ import annotations

import os
import select
import socket
from typing import Final

from pasvport import sockets
from pasvport.engine.frontends import Doorway
from pasvport.engine.ftp_deadlines import Deadlines
from pasvport.engine.loop import EDGE, READABLE
from pasvport.engine.seeker import CONNECTING, ESTABLISHED, OVER
from pasvport.engine.session import Session
from pasvport.ftp.actions import Action, SendToClient, SendToServer
from pasvport.ftp.events import ClientLeft, ClientSent, Event, ServerLeft, ServerSent

_GONE: Final[int] = select.EPOLLHUP | select.EPOLLERR
_MORE_BEHIND: Final[int] = _GONE | select.EPOLLRDHUP | select.EPOLLPRI
_CHUNK: Final = 4 * 1024
_GULPS: Final = 2
"""Chunks read of one peer in a turn of the loop: whoever sends without end takes turns with the others."""
_HIGH_WATER: Final = 16 * 1024
"""Bytes that may wait for a peer that does not read; beyond, the other one is not read either."""
_read: Final = os.read
_write: Final = os.write
_ROOM: Final[int] = select.EPOLLOUT


class Conversation(Deadlines):
    """A session whose two connections are not relayed: the dialogue is in between, until it goes blind."""

    __slots__ = (
        "_events",
        "_is_telling",
        "client_held",
        "client_silent",
        "counted_held",
        "heard",
        "server_held",
        "speaks_later",
        "spoken",
        "to_client",
        "to_server",
    )

    def __init__(self, doorway: Doorway, descriptor: int, host: str, port: int, number: int) -> None:
        Deadlines.__init__(self, doorway, descriptor, host, port, number)
        self._events: list[Event] = []
        self._is_telling = False
        self.to_client = bytearray()
        self.to_server = bytearray()
        self.client_held = self.server_held = False
        """Bytes may be waiting that are not read for now."""
        self.client_silent = False
        """The client has said its last word."""
        self.speaks_later = False
        """The loop will let it speak before this turn ends."""
        self.counted_held = 0
        """Bytes of this session in `Plant.ftp_held`."""
        self.heard = self.spoken = 0
        """Bytes read from the client and from the server."""

    # --- telling --------------------------------------------------------------------------------------------------

    def tell(self, event: Event) -> None:
        """Something happened; told at once, or after the consequences of what is just being told."""
        self._events.append(event)
        if not self._is_telling and self.phase is not OVER:
            self._tell_all()

    def _tell_all(self) -> None:
        self._is_telling = True
        events = self._events
        try:
            while events:
                self._obey(self.dialogue.receive(events.pop(0)))
        except Exception as error:
            # Whoever told it (a door, an operator's order for many sessions) shall not pay for this one.
            self.failed(error)
            return
        finally:
            self._is_telling = False
        if self.phase is not OVER and not self.blind:
            self._look_around()

    def _obey(self, actions: list[Action]) -> None:
        # Most are one of these two; the others are looked up by their kind.
        for action in actions:
            if isinstance(action, SendToClient):
                self.say_to_client(action.data)
            elif isinstance(action, SendToServer):
                self.say_to_server(action.data, action.urgent)
            else:
                self.carry_out(action)

    def _look_around(self) -> None:
        """After every event: which deadlines run, who may be read again."""
        timers = self.dialogue.timers
        if timers is not self.timers:
            self.change_timers(timers)
        if self.client_held and self._hears_client():
            self.client_held = False
            self._read_later()
        if self.server_held and self._hears_server():
            self.server_held = False
            self._read_later()
        held = self.dialogue.held_bytes
        if held or self.counted_held:
            self._count_held(held)

    def _count_held(self, held: int) -> None:
        held += len(self.to_client) + len(self.to_server)
        self.plant.ftp_held += held - self.counted_held
        self.counted_held = held

    def forget_held(self) -> None:
        """Nothing is held any more."""
        self.plant.ftp_held -= self.counted_held
        self.counted_held = 0

    def _read_later(self) -> None:
        if not self.turn_pending:
            self.turn_pending = True
            self.plant.loop.defer(self)

    def resume(self) -> None:
        """Read on where reading was put off."""
        if self.blind:
            Session.resume(self)
            return
        self.turn_pending = False
        if self.phase is not OVER:
            self._read_client(_MORE_BEHIND)
            if self.phase is ESTABLISHED and not self.blind:
                self._read_server(_MORE_BEHIND)

    def carry_out(self, action: Action) -> None:
        """Do what the dialogue wants, beyond speaking."""
        raise NotImplementedError

    # --- reading --------------------------------------------------------------------------------------------------

    def ready(self, descriptor: int, events: int) -> None:
        """Either control connection has something to say."""
        if self.blind:
            Session.ready(self, descriptor, events)
        elif descriptor == self.client:
            self._client_ready(events)
        elif self.phase is CONNECTING:
            self._connecting_events(events)
        elif self.phase is ESTABLISHED:
            self.relay_events(descriptor, events)

    def relay_events(self, descriptor: int, events: int) -> None:
        """The server's side, while the dialogue is in between."""
        if self.blind:
            Session.relay_events(self, descriptor, events)
            return
        if events & _ROOM and self.to_server:
            self._flush_server()
        if events & READABLE:
            self._read_server(events & _MORE_BEHIND)

    def _client_ready(self, events: int) -> None:
        if events & _ROOM and self.to_client:
            self._flush_client()
        if self.farewell is not None or self.client_silent:
            if events & _GONE:
                self._client_lost()
        elif events & READABLE:
            self._read_client(events & _MORE_BEHIND)
            if events & _GONE and self.client_held and self.phase is not OVER:
                self._client_lost()

    def _client_lost(self) -> None:
        """Reset, or closed both ways."""
        if self.farewell is not None:
            self.end(*self.farewell)
        else:
            self.client_silent = True
            self.tell(ClientLeft(reset=True))

    # A short read has emptied the socket, unless an end or an urgent byte stopped it (epoll(7), question 9).

    def _hears_client(self) -> bool:
        """Some commands are answered without the server: a client that reads no answers may not ask on either.

        Where all sessions together hold too much, one is read on when it has got rid of what it holds; half a line is
        no such thing, since only its rest makes it go.
        """
        dialogue = self.dialogue
        if self.plant.ftp_held > self.plant.most_ftp_held:
            return not (self.to_server or self.to_client or dialogue.holds_commands) and dialogue.reads_client
        room = len(self.to_server) < _HIGH_WATER and len(self.to_client) < _HIGH_WATER
        return room and dialogue.reads_client

    def _hears_server(self) -> bool:
        """As long as the client takes what is said."""
        if self.plant.ftp_held > self.plant.most_ftp_held:
            return not (self.to_client or self.dialogue.bytes_behind)
        return len(self.to_client) < _HIGH_WATER and self.dialogue.bytes_behind < _HIGH_WATER

    def _read_client(self, more: int) -> None:
        for _ in range(_GULPS):
            if self.client_silent or self.farewell is not None or self.phase is OVER or self.blind:
                return
            if not self._hears_client():
                self.client_held = True
                return
            try:
                data = _read(self.client, _CHUNK)
            except BlockingIOError:
                return
            except OSError:
                self._client_lost()
                return
            if not data:
                self.client_silent = True
                self.tell(ClientLeft())
                return
            self.heard += len(data)
            record = self.dialogue.record
            before = record.commands
            self.tell(ClientSent(data))
            if record.commands != before:
                # A line a byte a second says nothing; who sends one is silent until it is whole.
                self.client_seen = self.plant.loop.now
            if not more and len(data) < _CHUNK:
                return
        self._read_later()

    def _read_server(self, more: int) -> None:
        for _ in range(_GULPS):
            if self.phase is not ESTABLISHED or self.farewell is not None or self.server < 0 or self.blind:
                return
            if not self._hears_server():
                self.server_held = True
                return
            try:
                data = _read(self.server, _CHUNK)
            except BlockingIOError:
                return
            except OSError as error:
                self._server_gone(os.strerror(error.errno or 0))
                return
            self.server_seen = self.plant.loop.now
            if not data:
                self._server_gone("connection closed")
                return
            self.spoken += len(data)
            self.tell(ServerSent(data))
            if not more and len(data) < _CHUNK:
                return
        self._read_later()

    def _server_gone(self, reason: str) -> None:
        """Nothing more will come; the descriptor has said so, and an edge would not say it again."""
        self.plant.loop.close(self.server)
        self.server = -1
        self.tell(ServerLeft(reason))

    # --- writing --------------------------------------------------------------------------------------------------

    def say_to_client(self, data: bytes) -> None:
        """Whole lines, at the end of this turn of the loop; what finds no room then, as soon as there is some."""
        self.to_client += data
        self._speak_later()

    def say_to_server(self, data: bytes, urgent: int) -> None:
        """The same. `urgent` is the offset of the byte that is urgent data, or -1; such a line leaves at once."""
        if self.server < 0:
            return
        if urgent >= 0:
            self.speak()
            if not self.to_server:
                data = data[self._write_urgent(data, urgent) :]
        self.to_server += data
        self._speak_later()

    def _speak_later(self) -> None:
        if not self.speaks_later:
            self.speaks_later = True
            self.plant.loop.speak_later(self)

    def speak(self) -> None:
        """Send what waits for either peer."""
        self.speaks_later = False
        if self.phase is OVER or self.blind:
            return
        if self.to_server:
            del self.to_server[: self._write(self.server, self.to_server)]
        if self.to_client:
            del self.to_client[: self._write(self.client, self.to_client)]
            if self.to_client:
                self._watch_client_room()
            elif self.farewell is not None:
                self.end(*self.farewell)
                return
        if self.to_client or self.to_server or self.counted_held:
            self._count_held(self.dialogue.held_bytes)
        if (self.client_held or self.server_held) and not self._is_telling:
            self._look_around()

    def _watch_client_room(self) -> None:
        if not self.watches_room:
            self.watches_room = True
            self.plant.loop.modify(self.client, EDGE)

    def _write(self, descriptor: int, data: bytes | bytearray) -> int:
        """How much the kernel took. A broken connection takes everything: reading will tell of it."""
        try:
            return _write(descriptor, data)
        except BlockingIOError:
            return 0
        except OSError:
            return len(data)

    def _write_urgent(self, data: bytes, place: int) -> int:
        """The byte at `place` leaves as urgent data (RFC 854); behind what still waits there would be no urgency."""
        borrowed = sockets.borrow(self.server)
        try:
            count = borrowed.send(data[: place + 1], socket.MSG_OOB)
        except BlockingIOError:
            return 0
        except OSError:
            return len(data)
        finally:
            borrowed.detach()
        return count if count <= place else count + self._write(self.server, data[count:])

    def _flush_client(self) -> None:
        del self.to_client[: self._write(self.client, self.to_client)]
        if self.to_client:
            return
        if self.farewell is not None:
            self.end(*self.farewell)
        elif not self._is_telling:
            self._look_around()

    def _flush_server(self) -> None:
        del self.to_server[: self._write(self.server, self.to_server)]
        if not self.to_server and not self._is_telling:
            self._look_around()
