"""A client of the runtime API: a question in, its answer out. Works with HAProxy's stats socket as well."""

from __future__ import annotations

import re
import select
import socket

from pasvport.address import Endpoint, Family
from pasvport.errors import PasvportError
from pasvport.sockets import sockaddr

PATIENCE = 15.0
"""Seconds without a byte of the answer after which it is not waited for any more."""
_LONGEST = 512 << 20
_ERROR = 3
"""Syslog level up to which a remark is an error."""
_MARK = re.compile(r"^\[([0-7])\]: ", re.MULTILINE)
_PROMPT = b"\n> "
_REFUSALS = ("Unknown command", "Success=0")
"""How answers begin that carry no level but say that nothing was done; the second is that of `reload`."""
_COMMANDS = re.compile(r"(?<!\\);+(?=\s*\S)")
"""Between the commands of a line: each answer has a prompt behind it."""


class ApiError(PasvportError):
    """The socket cannot be reached, or does not answer."""


class Answer(str):
    """What was said; `is_error` when it says why nothing was done."""

    is_error: bool = False


def connect(address: str, patience: float = PATIENCE) -> socket.socket:
    """Reach a stats socket: a path, `unix@PATH`, `HOST:PORT`, `ipv4@...` or `ipv6@...`. Raises ApiError."""
    try:
        return _connected(address, patience)
    except OSError as error:
        raise ApiError(f"cannot reach {address}: {_reason(error)}") from error
    except ValueError as error:
        raise ApiError(f"{address} is no address of a stats socket") from error


def _connected(address: str, patience: float) -> socket.socket:
    kind, at, rest = address.rpartition("@")
    if not at:
        kind = "unix" if "/" in address or ":" not in address else "tcp"
    if kind in ("unix", "abns"):
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.settimeout(patience)
            sock.connect(sockaddr(Endpoint(Family(kind), rest)))
        except OSError:
            sock.close()
            raise
        return sock
    host, _, port = rest.rpartition(":")
    return socket.create_connection((host.strip("[]") or "127.0.0.1", int(port)), patience)


def _reason(error: OSError) -> str:
    return "no answer in time" if isinstance(error, TimeoutError) else error.strerror or str(error)


def _was_closed(sock: socket.socket) -> bool:
    """Whether the other side hung up; nothing else makes a connection readable before a question."""
    readable, _, _ = select.select([sock], [], [], 0)
    return bool(readable)


def ask(address: str, command: str, *, patience: float = PATIENCE) -> Answer:
    """The whole answer to one line of commands, without the empty line that ends it. Raises ApiError.

    Remarks are asked for with their syslog level, which tells errors from successes; the level is not shown.
    """
    with connect(address, patience) as sock:
        try:
            sock.sendall(f"set severity-output number;{command.rstrip()}\n".encode("utf-8", "surrogateescape"))
            text = _all(sock)
        except OSError as error:
            raise ApiError(f"{address}: {_reason(error)}") from error
    return judged(text.removeprefix("\n").removesuffix("\n"))


def _all(sock: socket.socket) -> str:
    data = bytearray()
    while piece := sock.recv(1 << 16):
        data += piece
        if len(data) > _LONGEST:
            raise ApiError("the answer does not end")
    return data.decode("utf-8", "replace")


def judged(text: str) -> Answer:
    """An answer without its marks and fit for a terminal, knowing whether it is an error."""
    answer = Answer(_harmless(_MARK.sub("", text)))
    levels = [int(mark) for mark in _MARK.findall(text)]
    answer.is_error = any(level <= _ERROR for level in levels) or answer.startswith(_REFUSALS)
    return answer


def _harmless(text: str) -> str:
    """Control characters as `<XX>`: HAProxy shows raw what a server said, and a terminal would obey it."""
    if text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return "".join(each if each.isprintable() or each in "\n\t" else f"<{ord(each):02X}>" for each in text)


class Conversation:
    """A connection with a prompt, for commands that depend on the ones before. Raises ApiError from every method."""

    def __init__(self, address: str, patience: float = PATIENCE) -> None:
        self._address = address
        self._patience = patience
        self._socket: socket.socket | None = None

    def ask(self, line: str) -> Answer:
        """The answer to one line. A connection that was closed while nobody talked (`stats timeout`) is made anew."""
        if self._socket is not None and _was_closed(self._socket):
            self.close()
        if self._socket is None:
            self._socket = connect(self._address, self._patience)
            self._talk("prompt")
            self._talk("set severity-output number")
        return judged(self._talk(line).rstrip("\n") + "\n")

    def _talk(self, line: str) -> str:
        assert self._socket is not None
        data = bytearray()
        prompts = len(_COMMANDS.split(line))
        try:
            self._socket.sendall(f"{line}\n".encode("utf-8", "surrogateescape"))
            while not (data.endswith(_PROMPT) and data.count(_PROMPT) >= prompts):
                piece = self._socket.recv(1 << 16)
                if not piece:
                    self.close()
                    break
                data += piece
        except OSError as error:
            self.close()
            raise ApiError(f"{self._address}: {_reason(error)}") from error
        return data.replace(_PROMPT, b"").decode("utf-8", "replace")

    def close(self) -> None:
        """Hang up."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
