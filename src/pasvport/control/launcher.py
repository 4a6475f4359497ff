"""Starts worker processes, by a fork server that has read their code once (`engine.fork_server`).

A worker is never a fork of this process, which knows secrets and holds what no worker needs: the fork server is a
fresh interpreter that inherits nothing, and a worker gets the descriptors named for it and nothing else.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pasvport
from pasvport.bounds import visible
from pasvport.control import release

WORKER_MODULE = "pasvport.engine.worker"
_SERVER_MODULE = "pasvport.engine.fork_server"
_NUMBER = struct.Struct("=i")
_MOST_AT_ONCE = 250
_LARGEST_ANSWER = 4096
_STDERR = 2
_PATIENCE = 30.0
"""Seconds for a fork server to read the code of a worker, and to fork: on a machine that is busy both may take."""
_FAREWELL = 2.0
_PASSED_ON = frozenset({"PATH", "LANG", "LANGUAGE", "TZ", "TZDIR", "LD_LIBRARY_PATH", "LD_PRELOAD", "MALLOC_ARENA_MAX"})
_SET_CHILD_SUBREAPER = 36
_GONE = (BrokenPipeError, ConnectionResetError, EOFError, TimeoutError)
"""What a fork server that ended, or stands still, looks like from here."""
_libc = ctypes.CDLL(None, use_errno=True)


class Launcher:
    """Makes workers of `module`, which has `main(wire, release)`. `begin` starts the fork server, or the first need.

    When the fork server is gone (killed, out of memory) another one is started, if this release is still installed.
    """

    def __init__(self, module: str = WORKER_MODULE) -> None:
        self._module = module
        self._channel: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        """Start the fork server. Raises OSError."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, contextlib.ExitStack() as undo:
            undo.enter_context(ours)
            ours.settimeout(_PATIENCE)
            # -P: the current directory, which may be anybody's, is no place to import from.
            self._process = subprocess.Popen(
                self._command(theirs.fileno()),
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                process_group=0,
                env=_environment(),
            )
            undo.pop_all()
        self._channel = ours

    def _command(self, channel: int) -> list[str]:
        command = [sys.executable, "-P", "-m", _SERVER_MODULE, str(channel), pasvport.__version__]
        return command if self._module == WORKER_MODULE else [*command, self._module]

    def launch(self, wire: int, stderr: int, descriptors: Sequence[int]) -> tuple[int, int]:
        """(process id, pidfd) of a new worker, which is our child; descriptors keep their numbers.

        Raises OSError when there is none, with the reason.
        """
        request = [(_STDERR, stderr), *((number, number) for number in dict.fromkeys((wire, *descriptors)))]
        if self._channel is not None:
            try:
                return self._ask(self._channel, request)
            except _GONE:
                self.end()
        self.begin()
        assert self._channel is not None
        try:
            return self._ask(self._channel, request)
        except _GONE:
            self.end()
            raise OSError(0, release.difference() or "the fork server ended") from None

    def _ask(self, channel: socket.socket, request: list[tuple[int, int]]) -> tuple[int, int]:
        self._share_limits()
        with _subreaper():
            for start in range(0, len(request), _MOST_AT_ONCE):
                part = request[start : start + _MOST_AT_ONCE]
                more = start + _MOST_AT_ONCE < len(request)
                body = b"".join(map(_NUMBER.pack, (more, *(number for number, _ in part))))
                socket.send_fds(channel, [body], [descriptor for _, descriptor in part])
            answer = channel.recv(_LARGEST_ANSWER)
            if not answer:
                raise EOFError
            (pid,) = _NUMBER.unpack_from(answer)
            if pid <= 0:
                raise OSError(0, visible(answer[_NUMBER.size :].decode("utf-8", "replace")))
            return pid, os.pidfd_open(pid)

    def _share_limits(self) -> None:
        """A reload may have raised what descriptors there may be."""
        assert self._process is not None
        with contextlib.suppress(OSError, ValueError):
            resource.prlimit(self._process.pid, resource.RLIMIT_NOFILE, resource.getrlimit(resource.RLIMIT_NOFILE))

    def end(self) -> None:
        """The fork server leaves; workers stay."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._process is not None:
            try:
                self._process.wait(_FAREWELL)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None


@contextlib.contextmanager
def _subreaper() -> Iterator[None]:
    """Whose parent ends meanwhile becomes our child. Not for longer: orphans of external checks are not ours."""
    if _libc.prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    try:
        yield
    finally:
        _libc.prctl(_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def reap(pidfd: int) -> int:
    """The exit status of a child that ended, negative for a signal; 0 where it is somebody else's child by now."""
    try:
        found = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    except ChildProcessError:
        return 0
    assert found is not None
    return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status


def _environment() -> dict[str, str]:
    """What an interpreter needs of ours, with this very package found first. Everything else may be a secret."""
    environment = {
        name: value for name, value in os.environ.items() if name in _PASSED_ON or name.startswith(("PYTHON", "LC_"))
    }
    home = str(Path(pasvport.__file__).resolve().parent.parent)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (home, environment.get("PYTHONPATH", ""))))
    return environment
