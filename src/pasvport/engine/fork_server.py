"""The fork server: `python -m pasvport.engine.fork_server DESCRIPTOR RELEASE [MODULE]` makes workers by forking itself.

It reads all the code of a worker once, at the start of the service, and does nothing else: no thread, no loop, no
client. So a worker can be started long after another release was installed over this one, starts in milliseconds, and
shares the memory of its code with the others.

Requests come as packets with descriptors: the first two are the worker's standard error and its wire, the others get
the numbers that they have in the supervisor. The answer is the worker's process id, or why there is none.
The worker is not our child but the supervisor's, which is its nearest subreaper (prctl(2)) while it asks.
"""

from __future__ import annotations

import array
import contextlib
import gc
import os
import signal
import socket
import struct
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from pasvport import __version__

Main = Callable[[int, str], int]
"""A worker's: told its wire and the supervisor's release, it returns the exit status."""

NUMBER = struct.Struct("=i")
MOST_AT_ONCE = 250
"""Descriptors of a packet (SCM_MAX_FD is 253)."""
LARGEST_PACKET = NUMBER.size * (1 + MOST_AT_ONCE)
LARGEST_ANSWER = 4096
WORKER = "pasvport.engine.worker"
_SERVER = b"pasvport.engine.fork_server"
_STDERR = 2
_ARG_START = 45
"""Counted behind the name."""


def main(control: int, release: str, module: str = WORKER) -> int:
    """Fork workers until the supervisor is gone; returns the exit status, in a worker the worker's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel = socket.socket(fileno=control)
    worker: Main | None = None
    fault = ""
    if release != __version__:
        fault = f"pasvport {__version__} is installed but {release} is running"
    else:
        try:
            worker = import_module(module).main
        except Exception as error:
            fault = f"{type(error).__name__}: {error}"
    gc.collect()
    gc.freeze()
    while (request := _receive(channel)) is not None:
        numbers, descriptors = request
        if worker is None:
            _close(descriptors)
            _answer(channel, 0, fault)
            continue
        pid, why = _fork()
        if pid == 0:
            channel.close()
            return worker(_furnish(numbers, descriptors), release)
        _close(descriptors)
        _answer(channel, pid, why)
    return 0


def _receive(channel: socket.socket) -> tuple[list[int], list[int]] | None:
    """(numbers, descriptors) of a request, which is as many packets as it takes; None at the end."""
    numbers: list[int] = []
    descriptors: list[int] = []
    more = 1
    while more:
        body, ancillary, _, _ = channel.recvmsg(LARGEST_PACKET, socket.CMSG_SPACE(MOST_AT_ONCE * NUMBER.size))
        if not body:
            return None
        more, *some = (number for (number,) in NUMBER.iter_unpack(body))
        numbers += some
        for _level, _kind, data in ancillary:
            found = array.array("i")
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
            descriptors += found
    return numbers, descriptors


def _answer(channel: socket.socket, pid: int, why: str) -> None:
    channel.send(NUMBER.pack(pid) + why.encode("utf-8", "replace")[: LARGEST_ANSWER - NUMBER.size])


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _fork() -> tuple[int, str]:
    """(0, "") in the worker; here its process id, or a negative number and why there is none."""
    reading, writing = os.pipe()
    try:
        between = os.fork()
    except OSError as error:
        _close([reading, writing])
        return -1, error.strerror or str(error)
    if between == 0:
        _fork_again(writing)
        _close([reading, writing])
        return 0, ""
    os.close(writing)
    told = os.read(reading, NUMBER.size)
    os.close(reading)
    # Once this one is gone the worker is the supervisor's child.
    os.waitpid(between, 0)
    return (NUMBER.unpack(told)[0], "") if told else (-1, "no process is free")


def _fork_again(writing: int) -> None:
    """Returns in the worker only."""
    try:
        pid = os.fork()
    except OSError:
        os._exit(1)
    if pid:
        os.write(writing, NUMBER.pack(pid))
        os._exit(0)


def _furnish(numbers: list[int], descriptors: list[int]) -> int:
    """Give the descriptors their numbers, and the process a worker's name; returns the wire."""
    # Ctrl-C is for the supervisor, who then says what to do.
    os.setpgid(0, 0)
    wanted = set(numbers)
    for place, descriptor in enumerate(descriptors):
        free = descriptor
        while free in wanted:
            # What it leaves behind keeps the number taken until its owner comes.
            free = os.dup(free)
        descriptors[place] = free
    for number, descriptor in zip(numbers, descriptors, strict=True):
        os.dup2(descriptor, number, inheritable=number == _STDERR)
        os.close(descriptor)
    with contextlib.suppress(OSError, ValueError):
        _rename(numbers[1])
    return numbers[1]


def _rename(wire: int) -> None:
    """Show in `ps` what this process is, in the place where the kernel keeps its arguments (proc(5), arg_start)."""
    shown = Path("/proc/self/cmdline").read_bytes()
    words = shown.split(b"\0")
    place = words.index(_SERVER)
    words = [*words[:place], WORKER.encode(), str(wire).encode(), __version__.encode()]
    start = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[_ARG_START])
    with Path("/proc/self/mem").open("r+b", buffering=0) as memory:
        memory.seek(start)
        memory.write(b"\0".join(words)[: len(shown) - 1].ljust(len(shown), b"\0"))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), *sys.argv[2:]))
