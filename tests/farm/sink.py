"""A syslog receiver on a UDP port of loopback, and the reader of HAProxy's tcplog line."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass

from farm.waiting import PATIENCE

_HEADER = re.compile(r"^<(?P<priority>\d+)>(?:[A-Z][a-z]{2} [ \d]\d [\d:]{8} )?(?P<tag>[^\s\[]+)\[\d+\]: ")
_TCPLOG = re.compile(
    r"^(?P<client>\S+):(?P<port>\d+) \[(?P<date>[^\]]+)\] (?P<frontend>\S+) (?P<backend>[^/ ]+)/(?P<server>\S+) "
    r"(?P<tw>-?\d+)/(?P<tc>-?\d+)/(?P<tt>\+?\d+) (?P<bytes>\+?\d+) (?P<state>\S\S) "
    r"(?P<ac>\d+)/(?P<fc>\d+)/(?P<bc>\d+)/(?P<sc>\d+)/(?P<rc>\+?\d+) (?P<sq>\d+)/(?P<bq>\d+)$"
)


@dataclass(frozen=True)
class Line:
    """One tcplog line: what two balancers must agree on. Times are reduced to whether they were measured at all."""

    client: str
    frontend: str
    backend: str
    server: str
    waited: bool
    connected: bool
    size: str
    state: str
    counters: str
    """ac/fc/bc/sc/rc"""
    queues: str
    early: bool = False
    """logasap: the line was written before the end."""


def parse(text: str) -> Line | None:
    """The fields of a tcplog line, or None for any other text."""
    found = _TCPLOG.match(text)
    if found is None:
        return None
    part = found.groupdict()
    return Line(
        client=part["client"],
        frontend=part["frontend"],
        backend=part["backend"],
        server=part["server"],
        waited=part["tw"] != "-1",
        connected=part["tc"] != "-1",
        size=part["bytes"],
        state=part["state"],
        counters="/".join(part[name] for name in ("ac", "fc", "bc", "sc", "rc")),
        queues=f"{part['sq']}/{part['bq']}",
        early=part["tt"].startswith("+"),
    )


class LogSink:
    """Collects datagrams in a thread until closed. `address` is what a `log` line names."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 20)
        self._socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._changed = threading.Condition()
        self._texts: list[str] = []
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()

    def __enter__(self) -> LogSink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        # An empty datagram to itself ends the thread: no timeout, no race with close().
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()

    def _receive(self) -> None:
        while packet := self._socket.recv(65536):
            text = _HEADER.sub("", packet.decode("utf-8", "replace").rstrip("\n"))
            with self._changed:
                self._texts.append(text)
                self._changed.notify_all()

    def texts(self) -> list[str]:
        with self._changed:
            return list(self._texts)

    def until(self, fact: Callable[[list[str]], bool], what: str, patience: float = PATIENCE) -> list[str]:
        """Every text so far, once `fact(texts)` holds; AssertionError with what was received otherwise."""
        with self._changed:
            held = self._changed.wait_for(lambda: fact(self._texts), patience)
            received = "\n".join(self._texts[-30:])
            assert held, f"waited {patience:.0f} s for {what}; the last lines received:\n{received}"
            return list(self._texts)

    def until_text(self, part: str, count: int = 1, patience: float = PATIENCE) -> list[str]:
        """The texts that contain `part`, once there are `count` of them."""
        self.until(lambda texts: sum(part in text for text in texts) >= count, f"{count} x {part!r}", patience)
        return [text for text in self.texts() if part in text]

    def until_lines(self, frontend: str, count: int, patience: float = PATIENCE) -> list[Line]:
        """The tcplog lines of a frontend, once there are `count` of them."""

        def enough(texts: list[str]) -> bool:
            return sum(line.frontend == frontend for text in texts if (line := parse(text))) >= count

        self.until(enough, f"{count} lines of {frontend}", patience)
        return self.lines(frontend)

    def lines(self, frontend: str | None = None) -> list[Line]:
        """Every tcplog line received, or those of one frontend."""
        found = [line for text in self.texts() if (line := parse(text))]
        return [line for line in found if frontend in (None, line.frontend)]

    def clear(self) -> None:
        with self._changed:
            self._texts.clear()
