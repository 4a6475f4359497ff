"""A small FTP client for looking at servers: every wait has an end, every buffer a bound, nothing is believed.

It speaks on blocking sockets, one server a thread. What goes wrong is a ProbeError with words for people.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
import warnings
from types import TracebackType

from pasvport.address import Family, family_of
from pasvport.errors import PasvportError, ProtocolError
from pasvport.ftp.grammar import CRLF, Reply, ReplyReader

_REPLY_LIMIT = 65536
_PIECE = 65536
_LULL = 0.5
"""Seconds after which a reply that some clients would take for ended has ended."""
_CIPHERS_OF_OLD = "ALL:@SECLEVEL=0"


class ProbeError(PasvportError):
    """A server could not be talked to, or broke off; `silent` when it just said nothing in time."""

    def __init__(self, message: str, *, silent: bool = False, protocol: bool = False) -> None:
        super().__init__(message)
        self.silent = silent
        self.protocol = protocol


class Patience:
    """`step` seconds for one answer, `whole` seconds for everything."""

    def __init__(self, step: float, whole: float) -> None:
        self.step = step
        self._end = time.monotonic() + whole

    def begin(self) -> float:
        """When the step that begins now must be over (monotonic seconds)."""
        return min(time.monotonic() + self.step, self._end)


def left(deadline: float) -> float:
    """Seconds until then. Raises ProbeError when there are none."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise ProbeError("no answer in time", silent=True)
    return seconds


class _translated:  # noqa: N801 - reads as a word where it is used
    """Whatever sockets and TLS raise, as ProbeError."""

    def __init__(self, doing: str) -> None:
        self._doing = doing

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if isinstance(error, TimeoutError):
            raise ProbeError(f"{self._doing}: no answer in time", silent=True) from error
        if isinstance(error, ssl.SSLError):
            raise ProbeError(f"{self._doing}: {error.reason or error.strerror or 'TLS failed'}") from error
        if isinstance(error, OSError):
            raise ProbeError(f"{self._doing}: {error.strerror or error}") from error
        if isinstance(error, ProtocolError):
            raise ProbeError(f"{self._doing}: {error}", protocol=True) from error


# --- TLS ----------------------------------------------------------------------------------------------------------


def any_tls() -> ssl.SSLContext:
    """Takes every certificate: it is read, not trusted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def tls_of_old() -> ssl.SSLContext:
    """Speaks TLS 1.0 and 1.1 only. Raises ProbeError where the TLS library has forgotten them."""
    context = any_tls()
    with _translated("TLS 1.1"), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.set_ciphers(_CIPHERS_OF_OLD)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


# --- connections --------------------------------------------------------------------------------------------------


def dial(host: str, port: int, patience: Patience) -> socket.socket:
    """A TCP connection to a literal address. Raises ProbeError."""
    family = socket.AF_INET6 if family_of(host) is Family.IPV6 else socket.AF_INET
    connection = socket.socket(family)
    try:
        with _translated(f"connecting to {host}:{port}"):
            connection.settimeout(left(patience.begin()))
            connection.connect((host, port))
    except BaseException:
        connection.close()
        raise
    return connection


def protect(
    connection: socket.socket, context: ssl.SSLContext, patience: Patience, session: ssl.SSLSession | None = None
) -> ssl.SSLSocket:
    """TLS on a connection, which is taken over. Raises ProbeError."""
    try:
        with _translated("TLS handshake"):
            connection.settimeout(left(patience.begin()))
            return context.wrap_socket(connection, session=session)
    except BaseException:
        connection.close()
        raise


def read_all(connection: socket.socket, patience: Patience, limit: int) -> bytes:
    """Everything until the end, at most `limit` bytes. Raises ProbeError."""
    deadline = patience.begin()
    data = bytearray()
    with _translated("data connection"):
        while len(data) < limit:
            connection.settimeout(left(deadline))
            piece = connection.recv(min(_PIECE, limit - len(data)))
            if not piece:
                break
            data += piece
    return bytes(data)


class Control:
    """A control connection. Use as a context manager; every method raises ProbeError."""

    def __init__(self, connection: socket.socket, patience: Patience) -> None:
        self._connection = connection
        self._patience = patience
        self._replies = ReplyReader(_REPLY_LIMIT)
        self._said_text = False

    def __enter__(self) -> Control:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def ask(self, verb: str, argument: str = "") -> Reply:
        """Send a command; its next reply, which may be preliminary."""
        words = f"{verb} {argument}" if argument else verb
        data = words.encode("utf-8", "surrogateescape")
        if b"\r" in data or b"\n" in data or b"\0" in data:
            raise ProbeError(f"{verb}: the argument has a line end in it")
        with _translated(verb):
            self._connection.settimeout(left(self._patience.begin()))
            self._connection.sendall(data + CRLF)
        return self.reply(verb)

    def reply(self, awaiting: str = "reply") -> Reply:
        """The next whole reply."""
        deadline = self._patience.begin()
        kept = b""
        with _translated(awaiting):
            while True:
                found = self._next(deadline)
                if found.code:
                    kept += found.raw
                else:
                    # Skipped, as clients skip it.
                    self._said_text = True
                if found.complete:
                    self._said_text = False
                    return Reply(found.code, kept)

    def _next(self, deadline: float) -> Reply:
        replies = self._replies
        while (found := replies.pull() or replies.rest()) is None:
            if not self._fill(deadline):
                return replies.settle()
        return found

    def _fill(self, deadline: float) -> bool:
        """False: the reply may be over by the rules of some clients, and nothing more came for a moment."""
        seconds = left(deadline)
        doubtful = self._replies.doubt > 0
        self._connection.settimeout(min(seconds, _LULL) if doubtful else seconds)
        try:
            data = self._connection.recv(_PIECE)
        except TimeoutError:
            if doubtful:
                return False
            raise
        if not data:
            if self._said_text:
                raise ProbeError("what the server said before it closed the connection is no reply", protocol=True)
            raise ProbeError("the server closed the connection")
        self._replies.push(data)
        return True

    def protect(self, context: ssl.SSLContext) -> ssl.SSLSocket:
        """TLS from here on."""
        if not self._replies.is_empty:
            raise ProbeError("bytes in clear text after the answer to AUTH", protocol=True)
        protected = protect(self._connection, context, self._patience)
        self._connection = protected
        return protected

    @property
    def session(self) -> ssl.SSLSession | None:
        """The TLS session as it is now: in TLS 1.3 there is none before the first reply."""
        return self._connection.session if isinstance(self._connection, ssl.SSLSocket) else None

    def quit(self) -> None:
        """Leave politely; it does not matter whether the server hears it."""
        with contextlib.suppress(ProbeError):
            self.ask("QUIT")
