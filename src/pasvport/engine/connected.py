"""What can be asked of a connected descriptor, and the last that is done with one.

The loop knows descriptors by their numbers; a socket object is borrowed for the moment of a call.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import struct
import termios
from typing import Final

from pasvport import sockets
from pasvport.address import unmapped

_borrow: Final = sockets.borrow
_SHUT_WR: Final[int] = socket.SHUT_WR
_SIP = 16 * 1024
_MOST_SIPS = 16
_SIOCATMARK = 0x8905
_ZERO = b"\0\0\0\0"
ORDERLY = -1
"""The peer has finished, as it should; see `peer_gone`."""


def shut_writing(descriptor: int) -> None:
    """Pass an end of stream on. A peer that is gone already needs none."""
    borrowed = _borrow(descriptor)
    try:
        borrowed.shutdown(_SHUT_WR)
    except OSError:
        pass
    finally:
        borrowed.detach()


def reset_on_close(descriptor: int) -> None:
    """Make the coming close() of a TCP connection send RST (no effect on UNIX sockets).

    The kernel closes in the same way for a process that dies.
    """
    borrowed = _borrow(descriptor)
    with contextlib.suppress(OSError):
        sockets.reset_on_close(borrowed)
    borrowed.detach()


def finish_on_close(descriptor: int) -> None:
    """Take `reset_on_close` back: what is unsent is sent, and FIN behind it."""
    borrowed = _borrow(descriptor)
    with contextlib.suppress(OSError):
        sockets.finish_on_close(borrowed)
    borrowed.detach()


def keep_urgent_inline(descriptor: int) -> None:
    """Leave urgent data in its place in the stream (no effect where there is none)."""
    borrowed = _borrow(descriptor)
    with contextlib.suppress(OSError):
        sockets.keep_urgent_inline(borrowed)
    borrowed.detach()


def at_mark(descriptor: int) -> bool:
    """Whether the next byte to be read is urgent data (sockatmark(3))."""
    try:
        return fcntl.ioctl(descriptor, _SIOCATMARK, _ZERO) != _ZERO
    except OSError:
        return False


def met_a_server(descriptor: int) -> bool:
    """Whether a connection that reports an error has brought bytes: then it was connected, and was reset later."""
    borrowed = _borrow(descriptor)
    try:
        return bool(borrowed.recv(1, socket.MSG_PEEK))
    except OSError:
        return False
    finally:
        borrowed.detach()


def withdrawn(descriptor: int) -> bool:
    """Whether the peer has ended a connection on which it had not said a word, or has reset it."""
    borrowed = _borrow(descriptor)
    try:
        return not borrowed.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        borrowed.detach()


def connect_error(descriptor: int) -> int:
    """Why a connection attempt failed, 0 when it did not."""
    borrowed = _borrow(descriptor)
    try:
        return borrowed.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    finally:
        borrowed.detach()


def local_address(descriptor: int) -> tuple[str, int]:
    """Address and port at this end of a connection ("", 0 for a UNIX socket)."""
    borrowed = socket.socket(fileno=descriptor)
    try:
        name = borrowed.getsockname()
    except OSError:
        return "", 0
    finally:
        borrowed.detach()
    return (unmapped(name[0]), name[1]) if isinstance(name, tuple) else ("", 0)


def dialled_address(descriptor: int) -> str:
    """The address at this end of a connection as sockets can be bound there: a link-local one with its interface."""
    borrowed = socket.socket(fileno=descriptor)
    try:
        name = borrowed.getsockname()
    except OSError:
        return ""
    finally:
        borrowed.detach()
    if not isinstance(name, tuple):
        return ""
    return sockets.zoned(name) if len(name) > 2 else str(name[0])


def peer_gone(descriptor: int) -> int:
    """0 while the peer is there, `ORDERLY` after its FIN, else the error that ended it.

    What a client says on a connection that brings it a file is thrown away: closing over it would send a reset, which
    may cost the client the last bytes.
    """
    try:
        for _ in range(_MOST_SIPS):
            if not os.read(descriptor, _SIP):
                return ORDERLY
    except BlockingIOError:
        pass
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def unacknowledged(descriptor: int) -> int:
    """Bytes (and FIN) that the peer's kernel has not acknowledged (tcp(7), SIOCOUTQ)."""
    try:
        return int(struct.unpack("i", fcntl.ioctl(descriptor, termios.TIOCOUTQ, b"\0\0\0\0"))[0])
    except OSError:
        return 0
