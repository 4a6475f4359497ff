"""A child process of the demonstration: says when it is ready, is always stopped."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

START_PATIENCE = 15.0
STOP_PATIENCE = 10.0
_NOT_YET = "is not ready yet"


class ChildError(Exception):
    """A child ended, or was not ready in time; the message holds the end of its log."""


class Child:
    """A command whose output goes to `log`, and which says READY=1 as a systemd service does (sd_notify(3))."""

    def __init__(self, name: str, words: Sequence[str], log: Path) -> None:
        self.name = name
        self._log = log
        self._notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        # The abstract name leaves no file behind; the kernel makes one up that is free.
        self._notices.bind("")
        address = self._notices.getsockname()
        assert isinstance(address, bytes)
        with log.open("ab") as output:
            # A session of its own: Ctrl-C reaches the demonstration alone, which then stops its children in order.
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | {"NOTIFY_SOCKET": "@" + os.fsdecode(address[1:])},
                start_new_session=True,
                cwd=tempfile.gettempdir(),
            )

    def until_ready(self) -> None:
        """Wait for READY=1. Raises ChildError when the child ends first, or takes too long."""
        deadline = time.monotonic() + START_PATIENCE
        exited = os.pidfd_open(self._process.pid)
        try:
            while why := self._why_not_ready(exited, deadline - time.monotonic()):
                if why != _NOT_YET:
                    self.stop()
                    raise ChildError(f"{self.name} {why}:\n{self.said()}")
        finally:
            os.close(exited)

    def _why_not_ready(self, exited: int, patience: float) -> str:
        """Empty once READY=1 has come; other notices (STATUS=, STOPPING=1) may come before, or instead."""
        readable, _, _ = select.select([self._notices.fileno(), exited], [], [], max(0.0, patience))
        if self._notices.fileno() in readable:
            return "" if b"READY=1" in self._notices.recv(4096) else _NOT_YET
        return f"ended with status {self._process.wait()}" if readable else "was not ready in time"

    def said(self, limit: int = 2000) -> str:
        """The end of its output."""
        return self._log.read_text(errors="replace")[-limit:].strip()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal. What it says of its state afterwards is waited for with `until_ready`."""
        self._process.send_signal(number)

    def stop(self) -> None:
        """SIGTERM, then SIGKILL when that was not enough."""
        self._notices.close()
        self._process.terminate()
        try:
            self._process.wait(STOP_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
