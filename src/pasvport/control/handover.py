"""Listening sockets from one process to another, in HAProxy's words: `-x` asks, `_getsocks` on a stats socket answers.

The dialogue: `_getsocks` and a newline; the number of sockets (a native int); then messages with at most 252
descriptors each (SCM_RIGHTS), whose bytes say for each socket: the length of its network namespace's name, the name,
the length of its interface's name, the name, four bytes that mean nothing any more. Each message is acknowledged with
four bytes, whatever they are. Source: HAProxy 2.6.12, observed; management guide, section 3 (`-x`).

Of several sockets of one address HAProxy keeps the one it was given last, so the first one of a group goes last; the
four bytes say its place in the group (in bits that no HAProxy ever looked at), since steering counts in that order.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter

from pasvport.errors import ResourceError

Found = list[tuple[socket.socket, str]]
"""(socket, interface)."""

_INT = struct.Struct("=i")
_MOST_AT_ONCE = 252
_LARGEST_BODY = _MOST_AT_ONCE * (1 + 255 + 1 + 255 + 4)
_MOST_SOCKETS = 1 << 20
_PLACE = struct.Struct("=I")
_PLACE_SHIFT = 24
_MOST_PLACES = 255
_PATIENCE = 1.0
"""Seconds that either side waits for the other (HAProxy's number)."""
_GREETING = 0x70617376
"""What we acknowledge with: whoever gives sockets knows that a pasvport keeps all of them."""


def described(interface: str, place: int = 0) -> bytes:
    """What a message says of one socket; `place` counts from 1 within its group, 0 says nothing."""
    name = interface.encode()[:255]
    return b"\0" + bytes([len(name)]) + name + _PLACE.pack(min(place, _MOST_PLACES) << _PLACE_SHIFT)


def descriptions(body: bytes, count: int) -> Iterator[tuple[str, int]]:
    """(interface, place) of each socket that a message of that many carries. Raises ResourceError."""
    at = 0
    for _ in range(count):
        try:
            at += 1 + body[at]
            end = at + 1 + body[at]
            (word,) = _PLACE.unpack_from(body, end)
        except (IndexError, struct.error):
            raise ResourceError("the old process says too little about its sockets") from None
        yield body[at + 1 : end].decode("utf-8", "replace"), word >> _PLACE_SHIFT
        at = end + _PLACE.size


# --- taking -------------------------------------------------------------------------------------------------------


def take(path: str) -> Found:
    """All sockets of the process that answers at `path`. Raises ResourceError; nothing is left open then."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        channel.settimeout(_PATIENCE)
        try:
            _connect(channel, path)
        except OSError as error:
            raise _failure(path, error) from error
        return take_from(channel, path)


def take_from(channel: socket.socket, path: str = "it") -> Found:
    """The same over a connection that is there already, and stays open."""
    found: list[tuple[socket.socket, str, int]] = []
    channel.settimeout(_PATIENCE)
    try:
        channel.sendall(b"_getsocks\n")
        _take_all(channel, found)
    except (OSError, ResourceError) as error:
        for sock, _, _ in found:
            sock.close()
        raise _failure(path, error) from error
    found.sort(key=itemgetter(2))
    return [(sock, interface) for sock, interface, _ in found]


def _failure(path: str, error: OSError | ResourceError) -> ResourceError:
    reason = error if isinstance(error, ResourceError) else error.strerror or "it does not answer"
    return ResourceError(f"Failed to get the sockets from the old process! ('{path}': {reason})")


def _connect(channel: socket.socket, path: str) -> None:
    abstract = path.removeprefix("abns@")
    channel.connect(b"\0" + abstract.encode().ljust(107, b"\0") if abstract != path else path.removeprefix("unix@"))


def _take_all(channel: socket.socket, found: list[tuple[socket.socket, str, int]]) -> None:
    head = channel.recv(_INT.size, socket.MSG_WAITALL)
    if len(head) < _INT.size:
        raise ResourceError("it does not give any; its stats socket needs 'expose-fd listeners'")
    (count,) = _INT.unpack(head)
    if not 0 <= count <= _MOST_SOCKETS:
        raise ResourceError("its answer makes no sense")
    while len(found) < count:
        body, descriptors, is_cut = _receive(channel)
        sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
        # At once among what is found, so that nothing is lost whatever the body says.
        before = len(found)
        found += [(sock, "", 0) for sock in sockets]
        if is_cut:
            raise ResourceError("too many for 'ulimit -n'")
        if not sockets:
            raise ResourceError("it gave fewer than it promised")
        for number, (interface, place) in enumerate(descriptions(body, len(sockets)), before):
            found[number] = found[number][0], interface, place
        # HAProxy does not wait for the last one.
        with contextlib.suppress(BrokenPipeError):
            channel.sendall(_INT.pack(_GREETING))


def _receive(channel: socket.socket) -> tuple[bytes, list[int], bool]:
    """(what is said, descriptors, whether the kernel had to leave some out)."""
    size = socket.CMSG_SPACE(_MOST_AT_ONCE * array.array("i").itemsize)
    body, ancillary, flags, _ = channel.recvmsg(_LARGEST_BODY, size)
    descriptors = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    return body, list(descriptors), bool(flags & socket.MSG_CTRUNC)


# --- giving -------------------------------------------------------------------------------------------------------


async def give(channel: socket.socket, groups: Iterable[tuple[Sequence[socket.socket], str]]) -> bool:
    """Hand groups of sockets, each with its interface, over to the process at the other end of a UNIX socket that does
    not block.

    True if that is a pasvport, which keeps all of them. Raises OSError and TimeoutError.
    """
    loop = asyncio.get_running_loop()
    answer = b""
    sockets = [
        (sock, described(interface, place))
        for members, interface in groups
        for place, sock in reversed(list(enumerate(members, 1)))
    ]
    async with asyncio.timeout(_PATIENCE):
        await loop.sock_sendall(channel, _INT.pack(len(sockets)))
    for start in range(0, len(sockets), _MOST_AT_ONCE):
        portion = sockets[start : start + _MOST_AT_ONCE]
        body = b"".join(text for _, text in portion)
        async with asyncio.timeout(_PATIENCE):
            await _send(channel, body, [sock.fileno() for sock, _ in portion])
            answer = await _acknowledged(channel)
    return answer == _INT.pack(_GREETING)


async def _send(channel: socket.socket, body: bytes, descriptors: list[int]) -> None:
    """The descriptors go with the first byte that is taken."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            sent = socket.send_fds(channel, [body], descriptors)
            break
        except BlockingIOError:
            await _writable(channel)
    if sent < len(body):
        await loop.sock_sendall(channel, body[sent:])


async def _writable(channel: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_writer(channel, ready.set_result, None)
    try:
        await ready
    finally:
        loop.remove_writer(channel)


async def _acknowledged(channel: socket.socket) -> bytes:
    loop = asyncio.get_running_loop()
    answer = b""
    while len(answer) < _INT.size:
        data = await loop.sock_recv(channel, _INT.size - len(answer))
        if not data:
            break
        answer += data
    return answer
