"""An FTP client without opinions: every line, every data connection and every moment is the test's choice."""

from __future__ import annotations

import contextlib
import socket
from typing import NamedTuple

from farm.servers import PASSWORD
from farm.waiting import PATIENCE
from pasvport.ftp.passive import parse_227, parse_229

IAC, IP, DM = b"\xff", b"\xf4", b"\xf2"


class Said(NamedTuple):
    """One reply: its code, and all its lines without their ends."""

    code: int
    lines: tuple[bytes, ...]

    @property
    def text(self) -> bytes:
        """What follows the code in the last line."""
        return self.lines[-1][4:]


class RawClient:
    """One control connection, from `source`. Use as a context manager; data connections it opened end with it.

    The greeting is in `banner` unless `greeting` is False. Every wait ends after `patience` seconds with an error.
    """

    def __init__(
        self, address: tuple[str, int], source: str = "", *, greeting: bool = True, patience: float = PATIENCE
    ) -> None:
        self._address = address
        self._source = source
        self._patience = patience
        self._stack = contextlib.ExitStack()
        self.control = self._open(address, source)
        self._received = bytearray()
        self.banner = b""
        if greeting:
            try:
                self.banner = self.expect(220).text
            except BaseException:
                self.close()
                raise

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close everything, without QUIT."""
        self._stack.close()

    def _open(self, address: tuple[str, int], source: str) -> socket.socket:
        mine = (source, 0) if source else None
        return self._stack.enter_context(socket.create_connection(address, self._patience, mine))

    # --- the control connection -----------------------------------------------------------------------------------

    def send(self, *lines: str | bytes) -> None:
        """Lines, in one segment."""
        self.write(b"".join(line.encode() + b"\r\n" if isinstance(line, str) else line + b"\r\n" for line in lines))

    def write(self, data: bytes) -> None:
        """Bytes as they are."""
        self.control.sendall(data)

    def reply(self) -> Said:
        """The next whole reply. ConnectionError when the connection ends first."""
        lines = [self._line()]
        code = lines[0][:3]
        if lines[0][3:4] == b"-":
            while not (lines[-1][:3] == code and lines[-1][3:4] in (b" ", b"")) or len(lines) == 1:
                lines.append(self._line())
        return Said(int(code), tuple(lines))

    def expect(self, *codes: int) -> Said:
        """The next reply, which must have one of these codes."""
        said = self.reply()
        assert said.code in codes, f"expected {codes}, got {said}"
        return said

    def ask(self, line: str | bytes, *codes: int) -> Said:
        """Send one line, expect one reply (with one of `codes`, if any are given)."""
        self.send(line)
        return self.expect(*codes) if codes else self.reply()

    def log_in(self, user: str, password: str = PASSWORD) -> None:
        if self.ask(f"USER {user}", 230, 331).code == 331:
            self.ask(f"PASS {password}", 230)

    def quit(self) -> None:
        """QUIT, 221, and the end of the connection."""
        self.ask("QUIT", 221)
        self.expect_end()

    def expect_end(self) -> None:
        """The other side closes, and says nothing more."""
        rest = bytes(self._received) + self._recv()
        assert not rest, f"expected the end, got {rest!r}"

    def rest(self) -> bytes:
        """What came behind the last line that was read, and is no line."""
        rest = bytes(self._received)
        self._received.clear()
        return rest

    def abort(self) -> None:
        """ABOR as RFC 959 section 4.1.3 wants it: Telnet IP, then DM as urgent data, then the command."""
        self.control.send(IAC + IP + IAC, socket.MSG_OOB)
        self.control.sendall(DM + b"ABOR\r\n")

    def _line(self) -> bytes:
        while (end := self._received.find(b"\n")) < 0:
            part = self._recv()
            if not part:
                raise ConnectionError(f"the control connection ended after {bytes(self._received)!r}")
            self._received += part
        line = bytes(self._received[:end]).removesuffix(b"\r")
        del self._received[: end + 1]
        return line

    def _recv(self) -> bytes:
        return self.control.recv(65536)

    # --- data connections -----------------------------------------------------------------------------------------

    def pasv(self) -> tuple[str, int]:
        """The address and port that 227 names."""
        target = parse_227(self.ask("PASV", 227).text)
        return target.host, target.port

    def epsv(self) -> int:
        """The port that 229 names."""
        return parse_229(self.ask("EPSV", 229).text)

    def dial(self, port: int, host: str = "", source: str = "") -> socket.socket:
        """A data connection to that port: of the address dialled for control and from its source, unless said
        otherwise."""
        return self._open((host or self._address[0], port), source or self._source)

    def knock(self, port: int, source: str = "") -> bytes:
        """What a connection brings that is turned away. The reset may come while it is still dialled."""
        found = bytearray()
        with contextlib.suppress(ConnectionResetError), self.dial(port, source=source) as data:
            while part := data.recv(1 << 16):
                found += part
        return bytes(found)

    def passive(self, *, extended: bool = True) -> socket.socket:
        """EPSV (or PASV) and the data connection to the port it named, at the host that control was dialled at."""
        return self.dial(self.epsv() if extended else self.pasv()[1])

    def receive(self, command: str | bytes, *, extended: bool = True) -> bytes:
        """A whole download or listing."""
        with self.passive(extended=extended) as data:
            self.ask(command, 125, 150)
            content = read_to_end(data)
        self.expect(226, 250)
        return content

    def store(self, command: str | bytes, content: bytes, *, extended: bool = True) -> None:
        """A whole upload."""
        with self.passive(extended=extended) as data:
            self.ask(command, 125, 150)
            data.sendall(content)
        self.expect(226, 250)


def read_to_end(data: socket.socket) -> bytes:
    """Everything until FIN."""
    parts = []
    while part := data.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)
