"""Sockets: bind, listen, dial; the only home of setsockopt.

Options set on a listening socket are inherited by what it accepts (Linux), so nothing is set per connection.
"""

from __future__ import annotations

import _socket
import contextlib
import errno
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from pasvport.address import Endpoint, Family, unmapped
from pasvport.digits import whole_number
from pasvport.errors import ResourceError
from pasvport.model import Bind, Global, Proxy, SocketOptions, UnixPermissions

_IP_TRANSPARENT = 19
_IPV6_TRANSPARENT = 75
_IP_BIND_ADDRESS_NO_PORT = 24
_TCP_FASTOPEN_CONNECT = 30
_HIGHEST_INTERFACE = 0x7FFFFFFF
_MAX_BACKLOG = 0x7FFFFFFF
_DEFAULT_BACKLOG = 1024
_DOOR_BACKLOG = 4096
"""In a flood of strangers whoever is awaited still finds room: a SYN without it comes again after a second."""
_LOG_CHANNEL_BUFFER = 1024 * 1024

_FAMILIES = {
    Family.IPV4: socket.AF_INET,
    Family.IPV6: socket.AF_INET6,
    Family.UNIX: socket.AF_UNIX,
    Family.ABNS: socket.AF_UNIX,
}


def sockaddr(endpoint: Endpoint, port: int | None = None) -> tuple[str, int] | bytes | str:
    """What bind() and connect() take for an endpoint (a `*` or empty host is any address)."""
    if endpoint.family is Family.UNIX:
        return endpoint.host
    if endpoint.family is Family.ABNS:
        # HAProxy pads abstract names with zeros to the full length of sun_path; both ends must agree.
        return b"\0" + endpoint.host.encode().ljust(107, b"\0")
    host = "" if endpoint.host == "*" else endpoint.host
    return host, endpoint.port if port is None else port


def scoped(address: tuple[str, int] | bytes | str) -> tuple[str, int] | tuple[str, int, int, int] | bytes | str:
    """The same for bind() and connect(), which know no zone (RFC 4007 section 11) but the number of an interface.

    Python resolves `fe80::1%eth0` and then forgets the interface, unless it is said again. Raises OSError where there
    is no such interface.
    """
    if isinstance(address, bytes | str) or "%" not in address[0]:
        return address
    host, _, zone = address[0].partition("%")
    number = whole_number(zone, _HIGHEST_INTERFACE)
    if number is None:
        try:
            number = socket.if_nametoindex(zone)
        except OSError:
            # Python's own has neither number nor text.
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV)) from None
    return host, address[1], 0, number


def zoned(name: tuple[str, int, int, int]) -> str:
    """The literal address in what getsockname() says of an IPv6 socket, IPv4-mapped ones as IPv4.

    A link-local one has its interface (`fe80::1%eth0`), unless that has gone.
    """
    host, _, _, number = name
    if number:
        with contextlib.suppress(OSError):
            return f"{host}%{socket.if_indextoname(number)}"
    return unmapped(host)


def address_family(endpoint: Endpoint) -> int:
    """AF_INET, AF_INET6 or AF_UNIX. Raises ResourceError for an endpoint that start-up did not resolve."""
    try:
        return _FAMILIES[endpoint.family]
    except KeyError:
        raise ResourceError(f"{endpoint} has no address family") from None


class Settable(Protocol):
    """A socket, or what stands for one, as far as integer options go."""

    def setsockopt(self, level: int, name: int, value: int, /) -> None: ...


# --- listening ----------------------------------------------------------------------------------------------------


def listen(bind: Bind, port: int, proxy: Proxy, settings: Global, *, reuse: bool) -> socket.socket:
    """A non-blocking socket that listens on one port of `bind`, with every option of the line set.

    `reuse` joins (or founds) a SO_REUSEPORT group. Raises ResourceError whose text is the operating system's.
    """
    sock = reserve(bind, port, proxy, settings, reuse=reuse)
    try:
        begin(sock, bind, proxy, settings)
    except ResourceError:
        sock.close()
        raise
    return sock


def reserve(bind: Bind, port: int, proxy: Proxy, settings: Global, *, reuse: bool) -> socket.socket:
    """The same, but nobody can connect before `begin`; a UNIX socket listens at once, it replaces one of its name."""
    if bind.endpoint.family is Family.FD:
        return _adopt(int(bind.endpoint.host))
    sock = socket.socket(address_family(bind.endpoint), socket.SOCK_STREAM)
    try:
        if sock.family == socket.AF_UNIX:
            _bind_unix(sock, bind)
            sock.listen(_backlog(bind, proxy, settings))
        else:
            _prepare(sock, bind, proxy, settings, reuse=reuse)
            sock.bind(scoped(sockaddr(bind.endpoint, port)))
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise ResourceError(f"cannot bind socket ({error.strerror})") from error
    return sock


def begin(sock: socket.socket, bind: Bind, proxy: Proxy, settings: Global) -> None:
    """Let connections come to a socket of `reserve`; of one that listens, set the backlog. Raises ResourceError."""
    if bind.endpoint.family is Family.FD:
        return
    try:
        sock.listen(_backlog(bind, proxy, settings))
    except OSError as error:
        raise ResourceError(f"cannot bind socket ({error.strerror})") from error


def refit(sock: socket.socket, bind: Bind, proxy: Proxy, settings: Global) -> None:
    """Give a socket that listens already the options of another line, as far as the kernel lets them be changed."""
    if sock.family == socket.AF_UNIX:
        if bind.endpoint.family is Family.UNIX:
            _permit(Path(bind.endpoint.host), bind.permissions)
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 0)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 0)
    _set_options(sock, bind, proxy, settings)


def options_of(bind: Bind, proxy: Proxy, settings: Global) -> object:
    """Equal for two lines that set up their sockets alike, their addresses aside."""
    buffers = settings.client_receive_buffer, settings.client_send_buffer
    backlog = _backlog(bind, proxy, settings)
    return bind.options, bind.defer_accept, bind.permissions, proxy.client_options, buffers, backlog


def try_bind(bind: Bind, port: int, proxy: Proxy, settings: Global) -> None:
    """Bind a port as `listen` would and let it go again. Raises ResourceError when somebody else has it."""
    with socket.socket(address_family(bind.endpoint), socket.SOCK_STREAM) as sock:
        try:
            _prepare(sock, bind, proxy, settings, reuse=True)
            sock.bind(scoped(sockaddr(bind.endpoint, port)))
        except OSError as error:
            raise ResourceError(f"cannot bind socket ({error.strerror})") from error


def open_door(bind: Bind, host: str, port: int, proxy: Proxy, settings: Global) -> _socket.socket:
    """A non-blocking socket that listens on a data port leased from the pool `bind`. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = _socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if bind.transparent:
            _set_transparent(sock)
        if bind.interface:
            bind_interface(sock, bind.interface)
        _set_stream_options(sock, proxy.client_options)
        _set_bind_options(sock, bind.options)
        _set_buffers(sock, settings.client_receive_buffer, settings.client_send_buffer)
        sock.bind(scoped((host, port)))
        sock.listen(_DOOR_BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _backlog(bind: Bind, proxy: Proxy, settings: Global) -> int:
    # HAProxy's order: the bind's own, else the larger of the limits; the kernel clips to net.core.somaxconn.
    chosen = bind.backlog or proxy.maxconn or bind.maxconn or settings.maxconn or _DEFAULT_BACKLOG
    return min(max(chosen, _DEFAULT_BACKLOG if not bind.backlog else 1), _MAX_BACKLOG)


def _adopt(descriptor: int) -> socket.socket:
    try:
        sock = socket.socket(fileno=os.dup(descriptor))
    except OSError as error:
        raise ResourceError(f"cannot use inherited descriptor {descriptor} ({error.strerror})") from error
    sock.setblocking(False)
    return sock


def _prepare(sock: socket.socket, bind: Bind, proxy: Proxy, settings: Global, *, reuse: bool) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if reuse and not settings.noreuseport:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if sock.family == socket.AF_INET6 and (bind.v6only or bind.v4v6):
        # Said by neither word, net.ipv6.bindv6only decides, as it does for HAProxy.
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1 if bind.v6only else 0)
    if bind.transparent:
        _set_transparent(sock)
    if bind.interface:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, bind.interface.encode() + b"\0")
    _set_options(sock, bind, proxy, settings)


def _set_options(sock: socket.socket, bind: Bind, proxy: Proxy, settings: Global) -> None:
    _set_stream_options(sock, proxy.client_options)
    # FTP's ABOR comes with an urgent byte; without this it would be cut out of the stream and lost in the relay.
    # Servers send none: the option costs a system call per connection there.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    _set_bind_options(sock, bind.options)
    _set_buffers(sock, settings.client_receive_buffer, settings.client_send_buffer)
    if bind.defer_accept:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 1)
    if bind.options.fast_open:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, _backlog(bind, proxy, settings))


def _set_transparent(sock: _socket.socket) -> None:
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_TRANSPARENT, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, _IP_TRANSPARENT, 1)


def _set_stream_options(sock: Settable, options: SocketOptions) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not options.keepalive:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        (socket.TCP_KEEPCNT, options.keepalive_count),
        (socket.TCP_KEEPIDLE, options.keepalive_idle),
        (socket.TCP_KEEPINTVL, options.keepalive_interval),
    ):
        if value:
            sock.setsockopt(socket.IPPROTO_TCP, name, value)


def _set_bind_options(sock: Settable, options: SocketOptions) -> None:
    if options.mss:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, abs(options.mss))
    if options.user_timeout:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, options.user_timeout)


def _set_buffers(sock: Settable, receive: int, send: int) -> None:
    if receive:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
    if send:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send)


def _bind_unix(sock: socket.socket, bind: Bind) -> None:
    if bind.endpoint.family is Family.ABNS:
        sock.bind(sockaddr(bind.endpoint))
        return
    # Bound under another name and renamed, so that clients never meet a socket with the wrong permissions, nor none.
    path = Path(bind.endpoint.host)
    temporary = Path(f"{path}.{os.getpid()}.tmp")
    unlink_stale(temporary)
    sock.bind(str(temporary))
    _permit(temporary, bind.permissions)
    temporary.rename(path)


def _permit(path: Path, permissions: UnixPermissions) -> None:
    if permissions.mode is not None:
        path.chmod(permissions.mode)
    if permissions.uid is not None or permissions.gid is not None:
        uid = -1 if permissions.uid is None else permissions.uid
        os.chown(path, uid, -1 if permissions.gid is None else permissions.gid)


def unlink_stale(path: Path | str) -> None:
    """Remove a left-over UNIX socket; anything that is not a socket, or not there, is left alone."""
    try:
        if stat.S_ISSOCK(Path(path).stat().st_mode):
            Path(path).unlink()
    except FileNotFoundError:
        return


# --- dialling -----------------------------------------------------------------------------------------------------


def outgoing(family: int) -> _socket.socket:
    """A non-blocking stream socket towards a server.

    The C type, not its Python subclass: the data plane opens one per connection and needs none of the extras.
    """
    return _socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0)


class _Options:
    """Takes setsockopt calls and remembers them."""

    def __init__(self) -> None:
        self.found: list[tuple[int, int, int]] = []

    def setsockopt(self, level: int, name: int, value: int, /) -> None:
        self.found.append((level, name, value))


def outgoing_options(
    family: int, proxy: SocketOptions, server: SocketOptions, settings: Global
) -> tuple[tuple[int, int, int], ...]:
    """What `prepare_outgoing` sets, as arguments of setsockopt, for those who prepare many sockets alike."""
    options = _Options()
    prepare_outgoing(options, family, proxy, server, settings)
    return tuple(options.found)


def prepare_outgoing(
    sock: Settable, family: int, proxy: SocketOptions, server: SocketOptions, settings: Global
) -> None:
    """Options of the server side: the backend's keepalive, the server's own, and always NODELAY."""
    if family == socket.AF_UNIX:
        return
    _set_stream_options(sock, proxy)
    _set_bind_options(sock, server)
    if server.fast_open:
        sock.setsockopt(socket.IPPROTO_TCP, _TCP_FASTOPEN_CONNECT, 1)
    _set_buffers(sock, settings.server_receive_buffer, settings.server_send_buffer)


def bind_source(sock: _socket.socket, address: tuple[str, int], *, transparent: bool) -> None:
    """Bind the local address (port 0: chosen at connect, so that the ephemeral range counts per destination).

    `transparent` allows an address that is not ours (`usesrc`); that needs CAP_NET_ADMIN. Raises OSError.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    ipv6 = sock.family == socket.AF_INET6
    if transparent:
        if ipv6:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_TRANSPARENT, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_TRANSPARENT, 1)
    if not address[1]:
        sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
    sock.bind(scoped(address))


def bind_interface(sock: _socket.socket, interface: str) -> None:
    """SO_BINDTODEVICE. Raises OSError."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode() + b"\0")


def reset_on_close(sock: _socket.socket) -> None:
    """Make close() send RST and forget unsent data (`option nolinger`, aborted sessions)."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def finish_on_close(sock: _socket.socket) -> None:
    """Take `reset_on_close` back: close() sends what is unsent, and FIN."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\0\0\0\0\0\0\0\0")


def keep_urgent_inline(sock: _socket.socket) -> None:
    """Leave urgent data in its place in the stream, where a read stops in front of it (tcp(7), SO_OOBINLINE)."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)


def withhold_ack(sock: _socket.socket) -> None:
    """Leave the handshake's last ACK unsent for now: a connection that is reset at once never reaches the peer's
    accept(), so that a server's log is not filled by checks."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)


def borrow(descriptor: int) -> _socket.socket:
    """A socket object over a descriptor that somebody else owns: detach() it when done, never close it."""
    return _socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, descriptor)


# --- logs ---------------------------------------------------------------------------------------------------------


class Datagrams:
    """Sends datagrams, never waiting: to paths through one unconnected socket, to each internet address through one of
    its own, connected, for only such a socket is told of a refusal (ICMP)."""

    def __init__(self) -> None:
        self._unconnected: socket.socket | None = None
        self._connected: dict[Endpoint, _Connected] = {}

    def towards(self, endpoint: Endpoint) -> Callable[[bytes], int]:
        """A function that sends one datagram to `endpoint`, or raises OSError (full, nobody there) at once.

        ConnectionRefusedError of an internet address is about a datagram before; this one was sent.
        """
        if address_family(endpoint) == socket.AF_UNIX:
            if self._unconnected is None:
                self._unconnected = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            sendto, address = self._unconnected.sendto, sockaddr(endpoint)
            return lambda line: sendto(line, address)
        if endpoint not in self._connected:
            self._connected[endpoint] = _Connected(endpoint)
        return self._connected[endpoint].send

    def refused(self) -> list[tuple[Endpoint, OSError]]:
        """Which addresses refused a datagram since it was asked, or sent to, last."""
        found = ((endpoint, each.error()) for endpoint, each in self._connected.items())
        return [(endpoint, error) for endpoint, error in found if error is not None]

    def close(self) -> None:
        """Close the sockets; functions given out raise OSError from now on."""
        if self._unconnected is not None:
            self._unconnected.close()
        for each in self._connected.values():
            each.close()


class _Connected:
    """A UDP socket that is connected, as soon as there is a way."""

    __slots__ = ("_address", "_closed", "_family", "_socket")

    def __init__(self, endpoint: Endpoint) -> None:
        self._family, self._address = address_family(endpoint), sockaddr(endpoint)
        self._closed = False
        self._socket = self._dialled()

    def _dialled(self) -> socket.socket:
        made = socket.socket(self._family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        with contextlib.suppress(OSError):
            made.connect(scoped(self._address))
        return made

    def send(self, line: bytes) -> int:
        try:
            return self._socket.send(line)
        except BlockingIOError:
            raise
        except ConnectionRefusedError:
            with contextlib.suppress(OSError):
                self._socket.send(line)
            raise
        except OSError:
            if self._closed:
                raise
        # The network was not there, or has changed: a connected socket keeps its source address and its way.
        self._socket.close()
        self._socket = self._dialled()
        return self._socket.send(line)

    def error(self) -> OSError | None:
        """What the kernel has heard since; it forgets it."""
        number = 0 if self._closed else self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return OSError(number, os.strerror(number)) if number else None

    def close(self) -> None:
        self._closed = True
        self._socket.close()


def missing_receiver(endpoint: Endpoint) -> OSError | None:
    """Why nobody would receive a datagram to a path, or to an address of this machine; None: somebody, or not known.

    Nothing is sent: the path is connected to, and of an address the kernel's list of sockets is read.
    """
    if address_family(endpoint) == socket.AF_UNIX:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as probe:
            try:
                probe.connect(sockaddr(endpoint))
            except OSError as error:
                return error
        return None
    with socket.socket(address_family(endpoint), socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(scoped(sockaddr(endpoint, 0)))
        except OSError:
            return None
    try:
        rows = [row for table in _UDP_TABLES if table.exists() for row in table.read_text().splitlines()[1:]]
    except OSError:
        return None
    if endpoint.port in {int(row.split()[1].rpartition(":")[2], 16) for row in rows}:
        return None
    return OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))


_UDP_TABLES = (Path("/proc/net/udp"), Path("/proc/net/udp6"))


def log_channel() -> tuple[socket.socket, socket.socket]:
    """(journal's end, worker's end) of a non-blocking pair that keeps lines apart and tells when a worker is gone."""
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in pair:
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LOG_CHANNEL_BUFFER)
    return pair
