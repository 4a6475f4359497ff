"""One connection attempt to a server: a socket with its options, its source address, its destination."""

from __future__ import annotations

import _socket
import errno
import socket
from dataclasses import replace
from typing import Final, Protocol

from pasvport import sockets
from pasvport.address import unmapped
from pasvport.engine.backends import ANY_ADDRESS, LiveBackend, LiveServer
from pasvport.engine.connected import dialled_address
from pasvport.engine.plant import Plant
from pasvport.model import PortMap, Source, SourceUse

_IN_PROGRESS: Final[int] = errno.EINPROGRESS
_AF_INET: Final[int] = socket.AF_INET
_AF_INET6: Final[int] = socket.AF_INET6
_outgoing: Final = sockets.outgoing
_scoped: Final = sockets.scoped
OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
OURS = (errno.EADDRNOTAVAIL, errno.EAGAIN, errno.EADDRINUSE, errno.EPERM, errno.EACCES, errno.ENODEV)
"""Errors of connect() that are not the server's fault: no local port, no permission, no such interface."""


class Caller(Protocol):
    """A session, as far as dialling needs it."""

    plant: Plant
    client: int
    backend: LiveBackend | None
    host: str
    port: int
    source_port_used: int

    @property
    def destination_port(self) -> int: ...


def dial(session: Caller, server: LiveServer) -> int:
    """A descriptor that is connecting to `server`. Raises OSError when the attempt ended before it began."""
    sock = _outgoing(server.family)
    try:
        for level, name, value in server.options:
            sock.setsockopt(level, name, value)
        if server.source is not None:
            _set_out_from(sock, session, server, server.source)
        code = sock.connect_ex(server.target or _scoped(_target(session, server)))
    except OSError:
        sock.close()
        raise
    if code != _IN_PROGRESS and code:
        sock.close()
        raise OSError(code, "connect")
    return sock.detach()


def dial_data(session: Caller, server: LiveServer, host: str, port: int) -> int:
    """A descriptor that is connecting to a data port of `server`, from where its control connection comes from.

    FTP servers compare the two. Raises OSError when the attempt ended before it began.
    """
    sock = _outgoing(_family(host))
    try:
        for level, name, value in server.options:
            sock.setsockopt(level, name, value)
        source = server.source
        if source is not None:
            if source.use is SourceUse.CLIENT:
                source = replace(source, use=SourceUse.CLIENT_IP)
            if source.use is SourceUse.LOCAL and source.endpoint is not None:
                sockets.bind_source(sock, (source.endpoint.host, 0), transparent=False)
            else:
                _set_out_from(sock, session, server, source)
        _connect(sock, host, port)
    except OSError:
        sock.close()
        raise
    return sock.detach()


def dial_client(session: Caller, host: str, port: int) -> int:
    """A descriptor that is connecting to an active client, from the address that it dialled. Raises OSError."""
    sock = _outgoing(_family(host))
    try:
        dialled = dialled_address(session.client)
        sockets.bind_source(sock, (dialled, 0), transparent=False)
        _connect(sock, _on_the_link_of(dialled, host), port)
    except OSError:
        sock.close()
        raise
    return sock.detach()


def _on_the_link_of(dialled: str, host: str) -> str:
    """A zone is a name for a link on one machine: what a client calls its own (RFC 4007) is another here."""
    _, mark, zone = dialled.partition("%")
    return host.partition("%")[0] + mark + zone


def _family(host: str) -> int:
    return _AF_INET6 if ":" in host else _AF_INET


def _connect(sock: _socket.socket, host: str, port: int) -> None:
    code = sock.connect_ex(_scoped((host, port)))
    if code and code != _IN_PROGRESS:
        raise OSError(code, "connect")


def literal_address(session: Caller, server: LiveServer) -> str:
    """The server's own address, as a data connection needs it (loopback for one on a UNIX socket)."""
    address = server.address
    if isinstance(address, str | bytes):
        return "127.0.0.1"
    return dialled_address(session.client) if address[0] in ANY_ADDRESS else address[0]


def _set_out_from(sock: _socket.socket, session: Caller, server: LiveServer, source: Source) -> None:
    if source.interface:
        sockets.bind_interface(sock, source.interface)
    if source.use in (SourceUse.CLIENT, SourceUse.CLIENT_IP):
        port = session.port if source.use is SourceUse.CLIENT else 0
        sockets.bind_source(sock, (unmapped(session.host), port), transparent=True)
    elif source.use is SourceUse.ADDRESS and source.use_endpoint is not None:
        sockets.bind_source(sock, (source.use_endpoint.host, source.use_endpoint.port), transparent=True)
    elif server.ports is not None and source.endpoint is not None:
        _bind_port_of_range(sock, source.endpoint.host, session, server)
    elif source.endpoint is not None:
        sockets.bind_source(sock, (source.endpoint.host, source.endpoint.port), transparent=False)


def _bind_port_of_range(sock: _socket.socket, host: str, session: Caller, server: LiveServer) -> None:
    assert server.ports is not None
    for _ in range(len(server.ports)):
        port = server.ports.popleft()
        try:
            sockets.bind_source(sock, (host, port), transparent=False)
        except OSError:
            server.ports.append(port)
            continue
        session.source_port_used = port
        return
    raise OSError(errno.EADDRNOTAVAIL, "no free source port")


def _target(session: Caller, server: LiveServer) -> tuple[str, int] | bytes | str:
    address = server.address
    if isinstance(address, str | bytes):
        return address
    host = address[0]
    if host in ANY_ADDRESS:
        host = dialled_address(session.client)
    return host, server_port(session, server)


def server_port(session: Caller, server: LiveServer) -> int:
    """The port that this session's connection to `server` goes to; offsets wrap like HAProxy's 16-bit ports."""
    port = server.model.port
    return port.value if port.kind is PortMap.FIXED else port.towards(session.destination_port) & 0xFFFF
