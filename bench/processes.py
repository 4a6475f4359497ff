"""Starting the load tools, and what /proc says about a process with all of its descendants. Linux only."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from bench.layout import BUILD, HERE

TICK = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """A tool or a balancer did not do its part; the text says which and why."""


def build_tools(out: Path = BUILD) -> None:
    """Compile the load tools (cc, make). Raises BenchError with the compiler's words."""
    done = subprocess.run(
        ["make", "-s", "-C", str(HERE), f"OUT={out.resolve()}"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BenchError(f"the load tools do not compile:\n{done.stdout}{done.stderr}")


# --- tools ----------------------------------------------------------------------------------------------------------


def load(tool: str, *arguments: object, patience: float = 300.0, folder: Path = BUILD) -> dict[str, float]:
    """Run a client to its end; the numbers it reports."""
    command = [str(folder / tool), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=patience, check=False)
    if done.returncode:
        raise BenchError(f"{' '.join(command)}: {done.stderr.strip()}")
    return _numbers(done.stdout)


def _numbers(text: str) -> dict[str, float]:
    found: dict[str, float] = json.loads(text[text.index("{") :])
    return found


class Tool:
    """A tool that runs beside the measurement: a server, a sink, connections that are held open."""

    def __init__(self, tool: str, *arguments: object, patience: float = 90.0, folder: Path = BUILD) -> None:
        self._command = [str(folder / tool), *map(str, arguments)]
        self._patience = patience
        self.ready: dict[str, float] = {}
        self.final: dict[str, float] = {}

    def __enter__(self) -> Tool:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        try:
            self._await_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def _await_ready(self) -> None:
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], self._patience)[0]:
            raise BenchError(f"{' '.join(self._command)}: not ready after {self._patience:.0f} s")
        line = self._process.stdout.readline()
        if not line.startswith("ready"):
            raise BenchError(f"{' '.join(self._command)}: {line.strip() or 'ended at once'}")
        if "{" in line:
            self.ready = _numbers(line)

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End it and keep what it reports in `final`."""
        self._process.send_signal(signal.SIGTERM)
        try:
            text, _ = self._process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            text, _ = self._process.communicate()
        if "{" in (text or ""):
            self.final = _numbers(text)


class Background:
    """A client under way while something else is measured; stopped early, its numbers are those up to then."""

    def __init__(self, tool: str, *arguments: object, folder: Path = BUILD) -> None:
        self._command = [str(folder / tool), *map(str, arguments)]
        self.final: dict[str, float] = {}

    def __enter__(self) -> Background:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        text = self._process.communicate(timeout=30)[0]
        self.final = _numbers(text)


# --- /proc ----------------------------------------------------------------------------------------------------------


def _parents() -> Iterator[tuple[int, int]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                yield int(entry.name), int((entry / "stat").read_text().rpartition(")")[2].split()[1])


def family(root: int) -> list[int]:
    """That process and all of its descendants."""
    table = list(_parents())
    found, wave = [root], {root}
    while wave := {child for child, parent in table if parent in wave}:
        found += sorted(wave)
    return found


def cpu_seconds(pids: list[int]) -> float:
    """User and system time of these processes so far, ended children that were waited for included."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
    return ticks / TICK


def pss_kilobytes(pids: list[int]) -> float:
    """Proportional set size: a page that n processes share counts 1/n in each."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return float(total)


def descriptors(pids: list[int]) -> list[int]:
    """Open descriptors of each."""
    return [len(list(folder.iterdir())) for pid in pids if (folder := Path(f"/proc/{pid}/fd")).exists()]


def end_family(process: subprocess.Popen[bytes], patience: float = 8.0) -> None:
    """SIGTERM to the process, SIGKILL to whatever of its family is left when patience ends."""
    pids = family(process.pid)
    process.terminate()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    deadline = time.monotonic() + 2.0
    while any(_alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.01)
    for pid in pids:
        if _alive(pid):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
