"""Child processes that leave nothing behind: one object each, stopped with all of their descendants."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path

from farm.waiting import until


def parents() -> dict[int, int]:
    """Process id -> parent's id, of every process (zombies too)."""
    table = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                stat = (entry / "stat").read_text()
                table[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    return table


def descendants(pid: int) -> set[int]:
    """Children, their children, and so on."""
    table = parents()
    found: set[int] = set()
    wave = {pid}
    while wave := {child for child, parent in table.items() if parent in wave} - found:
        found |= wave
    return found


def command_line(pid: int) -> bytes:
    """The arguments of a process, each with a NUL behind it; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def is_running(pid: int) -> bool:
    """False for a process that is gone or a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def descriptors(pid: int) -> tuple[int, int]:
    """How many descriptors that process holds: those that are no pipes, and pipe ends."""
    others = pipes = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            is_pipe = str(entry.readlink()).startswith("pipe:")
            pipes += is_pipe
            others += not is_pipe
    return others, pipes


def describe(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
    return "gone"


class Child:
    """A running command whose stdout and stderr go to one log file.

    `stop()` ends it and every descendant; descendants that outlive a SIGTERM of their parent are killed and
    reported in `survivors`, which is how a test sees a daemon that leaks children.
    """

    def __init__(
        self,
        command: list[str],
        log: Path,
        *,
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
        inherited: tuple[int, ...] = (),
    ):
        self.command = command
        self.log = log
        self.survivors: list[str] = []
        with log.open("a+b") as output:
            # vsftpd, made for inetd, writes its complaints to descriptor 0.
            self.process = subprocess.Popen(
                command,
                stdin=output,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=cwd,
                start_new_session=True,
                pass_fds=inherited,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def check_alive(self) -> None:
        """Raise with the log when the child has ended."""
        status = self.process.poll()
        assert status is None, f"{self.command[0]} ended with {status}:\n{self.output()}"

    def output(self, limit: int = 8000) -> str:
        return self.log.read_text(errors="replace")[-limit:]

    def family(self) -> set[int]:
        """The child and its descendants that still run."""
        return {pid for pid in {self.pid} | descendants(self.pid) if is_running(pid)}

    def stop(self, how: signal.Signals = signal.SIGTERM, patience: float = 10.0) -> int:
        """End the child and whatever it started. Its exit status."""
        family = descendants(self.pid)
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            status = self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        self._reap(family)
        return status

    def _reap(self, family: set[int]) -> None:
        with contextlib.suppress(AssertionError):
            until(lambda: not any(map(is_running, family)), "descendants to end", 2.0)
        for pid in filter(is_running, family):
            self.survivors.append(f"{pid} {describe(pid)}")
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
