"""Files behind the journal: appended to, rotated, full, missing and back again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import stat
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ftp_records import transfer_record
from log_rig import configuration, port_of, udp_sink, udp_target, waiting_lines
from pasvport.control.journal import Journal
from pasvport.control.log_files import AppendedFile
from pasvport.control.log_streams import Pace
from pasvport.engine.logger import Logger
from pasvport.model import Config, LogFormat
from pasvport.sockets import log_channel

QUICK = Pace(backlog=4096, first_pause=0.01, longest_pause=0.02, notice=0.05)


async def eventually(fact: Callable[[], object], what: str) -> None:
    """Give the loop its turns until `fact()` is true; fails at a deadline."""
    try:
        async with asyncio.timeout(10):
            while not fact():
                await asyncio.sleep(0.005)
    except TimeoutError:
        pytest.fail(f"waited in vain for {what}")


class Desk:
    """A journal, and a worker whose frontend writes an xferlog through it."""

    def __init__(self, config: Config) -> None:
        self.warnings: list[str] = []
        self.journal = Journal(config, process_id=7, warn=self.warnings.append, pace=QUICK)
        ours, self._channel = log_channel()
        self.journal.attach(ours)
        self._worker = Logger(config, process_id=8, log_channel=self._channel.fileno())
        self._frontend = self._worker.for_proxy(config.proxies[0])

    def transferred(self, *paths: str) -> None:
        for path in paths:
            self._frontend.transfer_ended(transfer_record(path=path.encode()))

    def complaints(self) -> list[str]:
        return [text for text in self.warnings if "log line" not in text]

    async def close(self) -> None:
        self._worker.close()
        self._channel.close()
        await self.journal.close(5)
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("log ")]


@contextlib.asynccontextmanager
async def desk(path: Path, *targets: Any) -> AsyncIterator[Desk]:
    made = Desk(configuration(*targets, xferlog=str(path)))
    try:
        yield made
    finally:
        await made.close()


def names(path: Path) -> list[str]:
    """The file names of an xferlog's whole lines; what the writer is at may be seen half done."""
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    whole = [line for line in lines if line.endswith("\n")]
    assert len(lines) - len(whole) <= 1
    assert all(line.endswith(" ftp 0 * c\n") and len(line.split()) == 18 for line in whole), whole
    return [line.split()[8] for line in whole]


def test_lines_of_workers_are_appended(tmp_path: Path) -> None:
    path = tmp_path / "xferlog"

    async def scenario() -> None:
        async with desk(path) as made:
            made.transferred("one", "two")
            await eventually(lambda: names(path)[-2:] == ["one", "two"], "two lines")
            made.transferred("three")

    asyncio.run(scenario())
    # What is under way when the journal closes is written.
    assert path.read_bytes().endswith(b"\n")
    assert names(path) == ["one", "two", "three"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o640 & ~_umask()
    asyncio.run(scenario())
    assert names(path) == ["one", "two", "three"] * 2


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def test_a_rotated_file_is_opened_anew(tmp_path: Path) -> None:
    path = tmp_path / "xferlog"

    async def scenario() -> None:
        async with desk(path) as made:
            made.transferred("one")
            await eventually(lambda: names(path) == ["one"], "the first line")
            path.rename(tmp_path / "xferlog.1")
            made.transferred("two")
            await eventually(lambda: names(path) == ["two"], "a new file")
            path.rename(tmp_path / "xferlog.2")
            path.touch(0o600)
            made.transferred("three")
            await eventually(lambda: names(path) == ["three"], "the file that logrotate made")
            os.truncate(path, 0)
            made.transferred("four")
            await eventually(lambda: names(path) == ["four"], "copytruncate")
            assert (made.complaints(), made.journal.dropped) == ([], 0)

    asyncio.run(scenario())
    assert [names(tmp_path / f"xferlog.{number}") for number in (1, 2)] == [["one"], ["two"]]


def test_a_file_that_cannot_be_written_is_told_before_there_is_a_line(tmp_path: Path) -> None:
    path = tmp_path / "later" / "xferlog"

    async def scenario() -> None:
        async with desk(path) as made:
            await eventually(made.complaints, "the complaint")
            wanted = f"cannot write to {path}: No such file or directory; its lines wait, then are dropped"
            assert made.complaints() == [wanted]

    asyncio.run(scenario())


def test_a_missing_folder_is_said_once_and_its_lines_wait(tmp_path: Path) -> None:
    path = tmp_path / "later" / "xferlog"

    async def scenario() -> None:
        with udp_sink() as sink:
            target = udp_target(port_of(sink), format=LogFormat.PRIORITY)
            async with desk(path, target) as made:
                made.transferred("one")
                await eventually(made.complaints, "the complaint")
                made.transferred("two")
                path.parent.mkdir()
                await eventually(lambda: names(path) == ["one", "two"], "the lines that waited")
                await eventually(lambda: len(made.complaints()) == 2, "the end of the episode")
                lost = f"cannot write to {path}: No such file or directory; its lines wait, then are dropped"
                back = f"{path} is written again, 0 lines dropped"
                assert made.complaints() == [lost, back]
                # The global log targets are told as well, at level warning.
                said = [line for line in waiting_lines(sink) if str(path).encode() in line]
                assert said == [f"<132>{text}\n".encode() for text in (lost, back)]

    asyncio.run(scenario())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_drops_what_does_not_fit_and_counts_it(tmp_path: Path) -> None:
    path = tmp_path / "xferlog"
    path.symlink_to("/dev/full")

    async def scenario() -> None:
        async with desk(path) as made:
            sent = 0
            while not made.journal.dropped:
                made.transferred(f"f{sent}")
                sent += 1
                await asyncio.sleep(0)
            await eventually(lambda: any("log line" in text for text in made.warnings), "the count of losses")
            [complaint] = made.complaints()
            assert "No space left on device" in complaint
            path.unlink()
            await eventually(lambda: len(names(path)) + made.journal.dropped == sent, "room")
            await eventually(lambda: len(made.complaints()) == 2, "the end of the episode")
            dropped = made.journal.dropped
            assert dropped > 0
            assert f" {dropped} line{'' if dropped == 1 else 's'} dropped" in made.complaints()[1]
            told = sum(int(text.split()[0]) for text in made.warnings if "log line" in text)
            assert told == dropped

    asyncio.run(scenario())


def test_closing_does_not_wait_for_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    async def scenario() -> int:
        async with desk(tmp_path) as made:
            made.transferred("one", "two", "three")
            await eventually(made.complaints, "the complaint")
            assert "Is a directory" in made.complaints()[0]
        return made.journal.dropped

    assert asyncio.run(scenario()) == 3


def test_a_pipe_that_nobody_reads_holds_nobody_up(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)

    async def scenario() -> None:
        async with desk(path) as made:
            made.transferred("one")
            await eventually(made.complaints, "the complaint")
            reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            with os.fdopen(reading, "rb", buffering=0) as reader:
                await eventually(lambda: b"one" in (reader.read(4096) or b""), "a line for the reader")

    asyncio.run(scenario())


# --- half lines ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """A disk that is full after `size` bytes: the kernel writes up to there, then refuses (EFBIG)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", range(1, 20))
def test_a_line_that_was_cut_is_finished_first(tmp_path: Path, size: int) -> None:
    path = tmp_path / "log"
    file = AppendedFile(str(path))
    file.open()
    lines = [b"first\n", b"second\n", b"third\n"]
    with largest_file(size):
        if size < 19:
            with pytest.raises(OSError, match="File too large"):
                file.write(lines)
            # Again without room: nothing is said twice.
            with pytest.raises(OSError, match="File too large"):
                file.write(lines)
        else:
            file.write(lines)
    assert path.read_bytes() == b"first\nsecond\nthird\n"[:size]
    assert file.owes == (size not in (6, 13, 19))
    file.write(lines)
    assert (lines, file.owes) == ([], False)
    assert path.read_bytes() == b"first\nsecond\nthird\n"
    assert file.close() == 0


def test_the_rest_of_a_line_does_not_go_into_another_file(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = AppendedFile(str(path))
    file.open()
    lines = [b"first\n", b"second\n"]
    with largest_file(3), pytest.raises(OSError, match="File too large"):
        file.write(lines)
    path.rename(tmp_path / "log.1")
    assert file.open() == 1
    file.write(lines)
    assert path.read_bytes() == b"second\n"
    assert file.close() == 0
