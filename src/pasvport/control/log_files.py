"""A log file behind a backlog: appended to by a thread of its own, since a disk may take its time or be full.

The file is tried at once, so that a wrong path is told at the start; it is opened when there is something to write,
and anew when another one stands in its place (logrotate). What cannot be written waits in the backlog and is tried
again; what does not fit there is lost and counted. A disk that fills in the middle of a line leaves no half line
behind: its rest is what is written next.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path

from pasvport.control.log_streams import Backlog, Pace

_MODE = 0o640
# Not blocking, so that opening a pipe that nobody reads is an error instead of an end.
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK


class FileStream:
    """Lines of one file. `say` gets, in the thread, one message when it cannot be written and one when it can again."""

    def __init__(self, path: str, pace: Pace, say: Callable[[str], None]) -> None:
        self.backlog = Backlog(pace.backlog)
        self._file = AppendedFile(path)
        self._pace = pace
        self._say = say
        self._failing = False
        self._pause = pace.first_pause
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def put(self, line: bytes) -> None:
        """Queue a line, or lose it; never waits."""
        if self.backlog.put(line) and self._thread is None:
            self._thread = threading.Thread(target=self._run, name=f"log {self._file.path}", daemon=True)
            self._thread.start()

    def look(self) -> None:
        """Say now, and not with the first line, when the file cannot be written."""
        threading.Thread(target=self._look, name=f"look at {self._file.path}", daemon=True).start()

    def _look(self) -> None:
        path = Path(self._file.path)
        try:
            # Who reads a pipe would see its end, so only files are tried.
            if path.is_file() or not path.exists():
                os.close(os.open(path, _FLAGS, _MODE))
        except OSError as error:
            self._failed(error)

    async def close(self, deadline: float) -> None:
        """Write what waits until `deadline` (loop time). A thread that the disk holds is left behind."""
        if self._thread is None:
            return
        self._stop.set()
        seconds = max(0.0, deadline - asyncio.get_running_loop().time())
        await asyncio.get_running_loop().run_in_executor(None, self._thread.join, seconds)
        self.backlog.lose_all()

    def _run(self) -> None:
        try:
            while self._work():
                pass
        finally:
            self.backlog.lose(self._file.close())

    def _work(self) -> bool:
        """Write what there is, or wait; False when the work is over."""
        batch = self.backlog.take()
        if batch or self._file.owes:
            return self._append(batch) or self._rested()
        if self._stop.is_set():
            return False
        self.backlog.wait(0.2)
        return True

    def _rested(self) -> bool:
        """Wait before the next attempt; False when there shall be none."""
        pause, self._pause = self._pause, min(self._pause * 2, self._pace.longest_pause)
        return not self._stop.wait(pause)

    def _append(self, batch: list[bytes]) -> bool:
        """Write a batch; False when not all of it was, and the rest went back."""
        try:
            self.backlog.lose(self._file.open())
            self._file.write(batch)
        except OSError as error:
            self.backlog.give_back(batch)
            self._failed(error)
            return False
        self._worked()
        return True

    def _failed(self, error: OSError) -> None:
        if not self._failing:
            self._failing = True
            self._say(f"cannot write to {self._file.path}: {error.strerror}; its lines wait, then are dropped")

    def _worked(self) -> None:
        self._pause = self._pace.first_pause
        if self._failing:
            self._failing = False
            lost = self.backlog.claim_lost()
            self._say(f"{self._file.path} is written again, {lost} line{'' if lost == 1 else 's'} dropped")


class AppendedFile:
    """The file itself: which one it is, and the rest of a line that it has not taken yet."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._descriptor = -1
        self._rest = b""

    @property
    def owes(self) -> bool:
        """Half a line stands at its end."""
        return bool(self._rest)

    def open(self) -> int:
        """Have the file open that has the name now. How many lines were lost (the rest of one). Raises OSError."""
        if self._descriptor >= 0 and self._is_current():
            return 0
        opened = os.open(self.path, _FLAGS, _MODE)
        lost = self.close()
        self._descriptor = opened
        return lost

    def write(self, lines: list[bytes]) -> None:
        """Append `lines`; those that were written are taken out of the list, also when OSError is raised."""
        data = memoryview(b"".join([self._rest, *lines]))
        written = 0
        try:
            while written < len(data):
                written += os.write(self._descriptor, data[written:])
        finally:
            self._account(lines, written)

    def close(self) -> int:
        """Let go of the file. How many lines were lost: one if only a part of it was written."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        lost, self._rest = len(self._rest) > 0, b""
        return int(lost)

    def _is_current(self) -> bool:
        try:
            there = Path(self.path).stat()
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(self._descriptor))

    def _account(self, lines: list[bytes], written: int) -> None:
        if written < len(self._rest):
            self._rest = self._rest[written:]
            return
        written -= len(self._rest)
        self._rest = b""
        while lines and written >= len(lines[0]):
            written -= len(lines.pop(0))
        if written:
            self._rest = lines.pop(0)[written:]
