"""The data connection of one `option ftp-check`: dialled, read to its end, counted, thrown away."""

from __future__ import annotations

import _socket
import asyncio
import errno
import os
import socket
from collections.abc import Callable
from typing import Protocol

from pasvport.address import Endpoint, Family
from pasvport.errors import ResourceError
from pasvport.health.event import Connect, DataBroken, DataClosed, DataConnected, DataReceived, Event

_CHUNK = 65536
_PENDING = (errno.EINPROGRESS, errno.EALREADY)


class CheckedServer(Protocol):
    """A server that is checked: where its connections go, and a socket on its way there."""

    def endpoint(self, step: Connect) -> Endpoint: ...

    def dial(self, step: Connect) -> tuple[_socket.socket, int]: ...


class DataConnection:
    """At most one at a time; `deliver` gets its events, none after `close()`. Needs no deadline of its own: the check
    has one."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, server: CheckedServer, deliver: Callable[[Event], None]
    ) -> None:
        self._loop = loop
        self._server = server
        self._deliver = deliver
        self._sock: _socket.socket | None = None

    def open(self, port: int) -> None:
        """Dial that port of the checked address, from the same source address as the control connection."""
        self.close()
        step = Connect(port=port, linger=True)
        if self._server.endpoint(step).family not in (Family.IPV4, Family.IPV6):
            self._deliver(DataBroken("a server that has no IP address has no data ports"))
            return
        try:
            self._sock, code = self._server.dial(step)
        except ResourceError as error:
            self._deliver(DataBroken(str(error)))
        except OSError as error:
            self._deliver(DataBroken(error.strerror or str(error)))
        else:
            self._await(self._sock, code)

    def close(self) -> None:
        """Close it, if there is one."""
        sock, self._sock = self._sock, None
        if sock is not None:
            self._loop.remove_reader(sock.fileno())
            self._loop.remove_writer(sock.fileno())
            sock.close()

    def _await(self, sock: _socket.socket, code: int) -> None:
        if code in _PENDING:
            self._loop.add_writer(sock.fileno(), self._established)
        else:
            self._arrived(sock, code)

    def _established(self) -> None:
        if self._sock is not None:
            self._loop.remove_writer(self._sock.fileno())
            self._arrived(self._sock, self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

    def _arrived(self, sock: _socket.socket, code: int) -> None:
        if code:
            self._end(DataBroken(os.strerror(code)))
            return
        self._loop.add_reader(sock.fileno(), self._readable)
        self._deliver(DataConnected())

    def _readable(self) -> None:
        if self._sock is None:
            return
        try:
            size = len(self._sock.recv(_CHUNK))
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._end(DataBroken(error.strerror or str(error)))
            return
        if size:
            self._deliver(DataReceived(size))
        else:
            self._end(DataClosed())

    def _end(self, event: Event) -> None:
        self.close()
        self._deliver(event)
