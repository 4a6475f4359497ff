"""The demonstration's own syslog receiver: waits for what the balancer says, instead of sleeping."""

from __future__ import annotations

import socket
import time

_PATIENCE = 30.0


class SilenceError(Exception):
    """What was waited for was not said in time."""


class Journal:
    """A UDP socket on loopback; `address` goes into the `log` line of the configuration."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        host, port = self._socket.getsockname()
        self.address = f"{host}:{port}"

    def close(self) -> None:
        self._socket.close()

    def until(self, part: str) -> str:
        """Read on to the next line that contains `part`; the words from there. Raises SilenceError after 30 s."""
        line = self.line(part)
        return line[line.index(part) :]

    def line(self, part: str) -> str:
        """The next line that contains `part`, as it came, less its frame. Raises SilenceError after 30 s."""
        deadline = time.monotonic() + _PATIENCE
        while (left := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                line = self._socket.recv(65536).decode("utf-8", "replace").rstrip("\n")
            except TimeoutError:
                break
            if part in line:
                return line.split("]: ", 1)[-1]
        raise SilenceError(f"the balancer did not say {part!r} within {_PATIENCE:.0f} s")

    def forget(self) -> None:
        """Throw away what has arrived so far."""
        self._socket.setblocking(False)
        try:
            while True:
                self._socket.recv(65536)
        except BlockingIOError:
            pass
