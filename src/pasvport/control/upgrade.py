"""Another release takes over from the running one, as another process takes over from it with `-x` and `-sf`.

The running supervisor starts the installed release with its own command line and one end of a channel. There it gives
its listening sockets away (`handover`), and hears that the new one serves, or why it does not; then it goes on as if
nothing had been. The new process is nobody's child but the service manager's, which is told that it is the main one.

HAProxy's master executes itself in place and keeps its process id; were the new release not to start then, nobody would
be left to serve. Source: HAProxy management guide, section 4 (SIGUSR2); sd_notify(3), MAINPID.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from pasvport.bounds import LONGEST_TEXT, visible
from pasvport.control import handover, release
from pasvport.control.background import in_thread
from pasvport.control.ports import Ports
from pasvport.digits import is_number
from pasvport.errors import ResourceError

CHANNEL = "PASVPORT_UPGRADE"
"""The environment variable that names the channel's descriptor to the new release."""
_ASK = b"_getsocks\n"
_READY = "ready "
_LARGEST = 4096
_CREDENTIALS = struct.Struct("3i")
_PATIENCE = 90.0
"""Seconds for the new release: host names are looked up, and its workers get ready."""
_DETACH = "import os, sys\nif os.fork() == 0: os.execv(sys.argv[1], sys.argv[1:])\n"
"""A program whose child is an orphan at once."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """How this process was started: what to execute, in which directory, and the file that name led to."""

    command: tuple[str, ...]
    directory: str
    file: Path

    @classmethod
    def current(cls) -> Invocation:
        """Call it before the directory is changed."""
        words = sys.argv[1:]
        script = shutil.which(sys.argv[0]) or sys.argv[0]
        path = Path(script).absolute()
        if path.name == "__main__.py" or not os.access(path, os.X_OK):
            start = [sys.executable, *sys.orig_argv[1 : len(sys.orig_argv) - len(words)]]
        else:
            # By its name, not by what that leads to: which is how a release is replaced by another one beside it.
            start = [str(path)]
        return cls((*start, *words), str(Path.cwd()), path.resolve())

    @property
    def is_outdated(self) -> bool:
        """Whether the same command would start another release now."""
        path = Path(self.command[0])
        return bool(release.difference()) or (path.name == self.file.name and path.resolve() != self.file)


async def hand_over(invocation: Invocation, ports: Ports) -> int:
    """Start the installed release and let it serve; its process id. Raises ResourceError with its reason; then the
    ports are ours as before."""
    ours, theirs = socket.socketpair()
    with ours:
        ours.setblocking(False)
        with theirs:
            await _start(invocation, theirs.fileno())
        try:
            async with asyncio.timeout(_PATIENCE):
                return await _converse(ours, ports)
        except (OSError, TimeoutError) as error:
            reason = " in time" if isinstance(error, TimeoutError) else f": {error}"
            raise ResourceError(f"the installed release did not start{reason}") from error


async def _start(invocation: Invocation, channel: int) -> None:
    command = [sys.executable, "-S", "-E", "-c", _DETACH, *invocation.command]
    try:
        process = subprocess.Popen(
            command,
            cwd=invocation.directory,
            pass_fds=(channel,),
            env={**os.environ, CHANNEL: str(channel)},
            start_new_session=True,
        )
        await in_thread(process.wait)
    except OSError as error:
        raise ResourceError(f"the installed release cannot be started: {error.strerror}") from error


async def _converse(channel: socket.socket, ports: Ports) -> int:
    loop = asyncio.get_running_loop()
    said = await loop.sock_recv(channel, len(_ASK))
    if said == _ASK:
        ports.taker_keeps_all = await handover.give(channel, ports.exposed())
        said = b""
    # The other end closes the channel behind its last word.
    while len(said) < _LARGEST and (more := await loop.sock_recv(channel, _LARGEST)):
        said += more
    text = said.decode("utf-8", "replace")
    pid = text.removeprefix(_READY)
    if pid != text and is_number(pid):
        ports.taker = int(pid)
        return ports.taker
    raise ResourceError(visible(text, LONGEST_TEXT) or "the installed release did not start, and gave no reason")


class Predecessor:
    """The running release, as the new one sees it: the other end of the channel, closed by whoever speaks last."""

    def __init__(self, channel: int) -> None:
        self._channel = socket.socket(fileno=channel)
        self._channel.set_inheritable(False)

    def take(self) -> handover.Found:
        """All its listening sockets. Raises ResourceError."""
        return handover.take_from(self._channel)

    def serving(self) -> None:
        """It may leave: we serve. Raises ResourceError when it did not wait for us: there cannot be two."""
        pid, _, _ = _CREDENTIALS.unpack(
            self._channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        )
        if not self._say(f"{_READY}{os.getpid()}") and _is_alive(pid):
            raise ResourceError("the running release has not waited for this one, and serves on")

    def failed(self, fault: str) -> None:
        """It stays, and tells whoever asked for us."""
        self._say(fault or "it gave no reason")

    def _say(self, text: str) -> bool:
        """Its last word; whether it was heard, which it is once."""
        try:
            self._channel.settimeout(1.0)
            self._channel.sendall(text.encode("utf-8", "replace")[:_LARGEST])
        except OSError:
            return False
        finally:
            self._channel.close()
        return True


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def predecessor() -> Predecessor | None:
    """Who started this process as its successor; None mostly. Asked once: workers and checks must not inherit it."""
    channel = os.environ.pop(CHANNEL, "")
    return Predecessor(int(channel)) if is_number(channel) else None
