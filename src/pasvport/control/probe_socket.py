"""One check over one connection: drives a dialogue of `health` with a non-blocking socket of its own.

Callbacks of the event loop, no task: a check costs one socket, one timer and a few calls, so thousands may run.
"""

from __future__ import annotations

import _socket
import asyncio
import errno
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from pasvport import sockets
from pasvport.address import Endpoint, Family
from pasvport.control.probe_data import DataConnection
from pasvport.errors import ResourceError
from pasvport.health.event import (
    Action,
    Broken,
    BytesReceived,
    CloseData,
    Connect,
    ConnectData,
    Connected,
    DataSent,
    Event,
    Finish,
    PeerClosed,
    Send,
    StepTimedOut,
    TimedOut,
    WaitBriefly,
    WaitUntil,
)
from pasvport.health.result import CheckResult, Status
from pasvport.model import Global, PortMap, Proxy, Server, Source, SourceUse

_CHUNK = 16384
_PENDING = (errno.EINPROGRESS, errno.EALREADY)


class Dialogue(Protocol):
    """What ScriptDialogue, AgentDialogue and FtpDialogue have in common."""

    @property
    def room(self) -> int: ...

    def start(self) -> list[Action]: ...

    def receive(self, event: Event) -> list[Action]: ...


class Target:
    """Where the connections of one server's check (or agent) go, and from where.

    `endpoint` and `port` are what the server line said for it (`addr`, `port`, `agent-addr`, `agent-port`).
    """

    def __init__(self, proxy: Proxy, server: Server, endpoint: Endpoint | None, port: int, settings: Global) -> None:
        self._proxy = proxy
        self._server = server
        self._endpoint = endpoint
        self._port = port
        self._settings = settings

    def endpoint(self, step: Connect) -> Endpoint:
        """HAProxy's order: the step's, the check's, the server's own; the same for the port."""
        chosen = step.endpoint or self._endpoint or self._server.endpoint
        if chosen.family not in (Family.IPV4, Family.IPV6):
            return chosen
        own = self._server.port.value if self._server.port.kind is PortMap.FIXED else 0
        said = (
            step.port,
            step.endpoint.port if step.endpoint else 0,
            self._port,
            self._endpoint.port if self._endpoint else 0,
        )
        return chosen.with_port(next((port for port in said if port), own))

    def dial(self, step: Connect) -> tuple[_socket.socket, int]:
        """A socket on its way, and what connect() said (0: already there). Raises OSError, ResourceError."""
        endpoint = self.endpoint(step)
        family = sockets.address_family(endpoint)
        sock = sockets.outgoing(family)
        try:
            options = self._proxy.server_options, self._server.options
            sockets.prepare_outgoing(sock, family, *options, self._settings)
            if family != socket.AF_UNIX:
                self._prepare(sock, step)
            return sock, sock.connect_ex(sockets.scoped(sockets.sockaddr(endpoint)))
        except BaseException:
            sock.close()
            raise

    def _prepare(self, sock: _socket.socket, step: Connect) -> None:
        if step.quiet:
            sockets.withhold_ack(sock)
        source = self._server.source or self._proxy.source
        if source is not None:
            _bind(sock, source)


def _bind(sock: _socket.socket, source: Source) -> None:
    if source.interface:
        sockets.bind_interface(sock, source.interface)
    # A check has no client: of usesrc only a fixed address can be honoured.
    pretended = source.use_endpoint if source.use is SourceUse.ADDRESS else None
    endpoint = pretended or source.endpoint
    if endpoint is None or sockets.address_family(endpoint) != sock.family:
        return
    try:
        port = 0 if source.ports else endpoint.port
        sockets.bind_source(sock, (endpoint.host, port), transparent=pretended is not None)
    except OSError as error:
        raise ResourceError(f"Can't bind to source address ({error.strerror})") from error


class SocketProbe:
    """Runs one dialogue to its Finish, then calls `done` once with the result. `abort()` ends it without a word."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, dialogue: Dialogue, target: Target, done: Callable[[CheckResult], None]
    ) -> None:
        self._loop = loop
        self._dialogue = dialogue
        self._target = target
        self._done = done
        self._sock: _socket.socket | None = None
        self._linger = False
        self._timer: asyncio.TimerHandle | None = None
        self._step_timer: asyncio.TimerHandle | None = None
        self._events: deque[Event] = deque()
        self._busy = False
        self._unsent = memoryview(b"")
        self._data = DataConnection(loop, target, self._deliver)
        self._started = loop.time()

    def start(self) -> None:
        """Begin. A check that fails at once calls `done` from within."""
        self._busy = True
        self._guarded(lambda: self._obey(self._dialogue.start()))
        self._busy = False
        self._drain_events()

    def abort(self) -> None:
        """Close everything, report nothing."""
        self._done = _nobody
        self._end(None)

    # --- the dialogue ---------------------------------------------------------------------------------------------

    def _deliver(self, event: Event) -> None:
        self._events.append(event)
        self._drain_events()

    def _drain_events(self) -> None:
        if self._busy:
            return
        self._busy = True
        while self._events:
            event = self._events.popleft()
            self._guarded(lambda event=event: self._obey(self._dialogue.receive(event)))  # type: ignore[misc]
        self._busy = False

    def _guarded(self, work: Callable[[], None]) -> None:
        # One check that goes wrong in an unforeseen way is one failed check, nothing more.
        try:
            work()
        except Exception as error:
            self._end(CheckResult(Status.SOCKERR, str(error)))

    def _obey(self, actions: list[Action]) -> None:
        for action in actions:
            _ORDERS[type(action)](self, action)

    def _finish(self, action: Finish) -> None:
        self._end(action.result.lasting(round((self._loop.time() - self._started) * 1000)))

    def _end(self, result: CheckResult | None) -> None:
        self._events.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._wait_briefly(WaitBriefly(0))
        self._close()
        self._data.close()
        done, self._done = self._done, _nobody
        if result is not None:
            done(result)

    def _wait(self, action: WaitUntil) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(action.milliseconds / 1000, self._deliver, TimedOut())

    def _wait_briefly(self, action: WaitBriefly) -> None:
        if self._step_timer is not None:
            self._step_timer.cancel()
            self._step_timer = None
        if action.milliseconds:
            self._step_timer = self._loop.call_later(action.milliseconds / 1000, self._deliver, StepTimedOut())

    def _connect_data(self, action: ConnectData) -> None:
        self._data.open(action.port)

    def _close_data(self, _: CloseData) -> None:
        self._data.close()

    # --- the connection -------------------------------------------------------------------------------------------

    def _connect(self, step: Connect) -> None:
        self._close()
        self._linger = step.linger
        try:
            self._sock, code = self._target.dial(step)
        except ResourceError as error:
            self._deliver(Broken(str(error)))
            return
        except OSError as error:
            self._deliver(Broken(error.strerror or str(error)))
            return
        if code in _PENDING:
            self._loop.add_writer(self._sock.fileno(), self._established)
        else:
            self._arrived(code)

    def _established(self) -> None:
        if self._sock is None:
            return
        self._loop.remove_writer(self._sock.fileno())
        self._arrived(self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

    def _arrived(self, code: int) -> None:
        if code or self._sock is None:
            self._deliver(Broken(os.strerror(code)))
            return
        self._loop.add_reader(self._sock.fileno(), self._readable)
        self._deliver(Connected())

    def _readable(self) -> None:
        if self._sock is None:
            return
        try:
            data = self._sock.recv(min(_CHUNK, self._dialogue.room))
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._loop.remove_reader(self._sock.fileno())
            self._deliver(Broken(error.strerror or str(error)))
            return
        # Without room nothing can be read; at the end nothing will come: either way the loop would spin.
        if not data or len(data) == self._dialogue.room:
            self._loop.remove_reader(self._sock.fileno())
        self._deliver(BytesReceived(data) if data else PeerClosed())

    def _send(self, action: Send) -> None:
        self._unsent = memoryview(bytes(self._unsent) + action.data)
        if self._sock is not None:
            # A send empties the dialogue's buffer: whoever stopped reading for want of room goes on.
            self._loop.add_reader(self._sock.fileno(), self._readable)
        self._writable()

    def _writable(self) -> None:
        if self._sock is None:
            return
        try:
            self._unsent = self._unsent[self._sock.send(self._unsent) :]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            self._loop.remove_writer(self._sock.fileno())
            self._deliver(Broken(error.strerror or str(error)))
            return
        if self._unsent:
            self._loop.add_writer(self._sock.fileno(), self._writable)
        else:
            self._loop.remove_writer(self._sock.fileno())
            self._deliver(DataSent())

    def _close(self) -> None:
        sock, self._sock = self._sock, None
        self._unsent = memoryview(b"")
        if sock is None:
            return
        self._loop.remove_reader(sock.fileno())
        self._loop.remove_writer(sock.fileno())
        if not self._linger and sock.family != socket.AF_UNIX and not _peer_closed(sock):
            sockets.reset_on_close(sock)
        sock.close()


_ORDERS: dict[type, Callable[[SocketProbe, Any], None]] = {
    Connect: SocketProbe._connect,
    Send: SocketProbe._send,
    WaitUntil: SocketProbe._wait,
    WaitBriefly: SocketProbe._wait_briefly,
    ConnectData: SocketProbe._connect_data,
    CloseData: SocketProbe._close_data,
    Finish: SocketProbe._finish,
}


def _peer_closed(sock: _socket.socket) -> bool:
    """Whether the peer ended its side; takes what is still unread out of the way."""
    try:
        for _ in range(16):
            if not sock.recv(_CHUNK):
                return True
    except OSError:
        return False
    return False


def _nobody(_: CheckResult) -> None:
    """The report of a check that was called off."""
