"""What the machine gives and takes: limits, the pid file, the background, the service manager.

Identity: the workers `chroot` and drop to `user` and `group` before their first accept (`Start`). The supervisor keeps
its own, as HAProxy's master does, because it must be able to bind, and to start a worker in the place of a dead one;
it never reads a byte that a client sent.
Source: HAProxy configuration manual, section 3.1; management guide, sections 3 and 5; sd_notify(3).
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import socket
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from pasvport.config.fullconn import fill_fullconn
from pasvport.control.openings import openings
from pasvport.errors import ResourceError
from pasvport.model import Config, Global, Mode

MOST_WORKERS = 64
DEFAULT_MAXCONN = 100
"""HAProxy's floor: fewer connections are not worth a start, the descriptor limit must rise instead."""
_CEILING = 1048576
"""Of the limit that is derived when none is configured: containers often say a billion, which nobody means."""
_SPARE = 64
"""Descriptors of a process besides connections and listeners: wire, log targets, shared memory, the interpreter's."""
_CONTROL, _DATA, _PIPE = 2, 2, 2
"""Descriptors of a session: its two connections; in `mode ftp` two for data, and a pipe while a large file moves."""
_FEWEST_FTP = 10
"""Sessions of `mode ftp` below which a limit is not derived: with fewer descriptors the start tries to raise theirs."""
_CHECKS = 512
"""Descriptors set aside for checks in the supervisor."""
_SMALLEST_MEMORY = 192
"""Megabytes of address space under which an interpreter does not start reliably."""


# --- limits -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Limits:
    """What a configuration needs from this machine. `descriptors` is per process, and so is `full`: what as many
    sessions as there may be can have open at once, transfers included. `a_session` is what one may have.
    """

    maxconn: int
    nbthread: int
    descriptors: int
    derived: bool
    full: int = 0
    a_session: int = _CONTROL


def processors() -> int:
    """CPUs this process may use."""
    return len(os.sched_getaffinity(0))


def limits(config: Config, *, cpus: int, soft: int, hard: int) -> Limits:
    """Workers, connections and descriptors, HAProxy's way: what is configured stands, what is not follows from the
    descriptor limit, two for each connection; in `mode ftp` each leaves some for its data."""
    settings = config.settings
    workers = settings.nbthread or min(cpus, MOST_WORKERS)
    ports = sum(1 for _ in openings(config))
    allowed = settings.ulimit_n or _ceiling(settings, hard if hard > 0 else _CEILING)
    worker_base = ports + _slots(config) + _SPARE
    more, some = _for_data(config)
    maxconn = settings.maxconn or _derived(allowed - worker_base, more, some)
    full = _CONTROL * maxconn + more * min(maxconn, some) + worker_base
    # What was configured stands even where not all of its sessions can transfer at once.
    least = full if not settings.maxconn else max(_CONTROL * maxconn + worker_base, min(full, allowed))
    supervisor = ports * workers + workers * 6 + _slots(config) + _SPARE + _CHECKS
    needed = settings.ulimit_n or max(least, min(supervisor, allowed), soft)
    return Limits(maxconn, workers, needed, derived=not settings.maxconn, full=full, a_session=_CONTROL + more)


def _for_data(config: Config) -> tuple[int, int]:
    """(descriptors that a session of `mode ftp` may have for its data, how many such sessions there may be)."""
    found = [proxy for proxy in config.proxies if proxy.is_frontend and not proxy.disabled and proxy.mode is Mode.FTP]
    if not found:
        return 0, 0
    more = _DATA if config.settings.nosplice else _DATA + _PIPE
    return more, sum(proxy.maxconn for proxy in found) if all(proxy.maxconn for proxy in found) else _CEILING


def _derived(spare: int, more: int, some: int) -> int:
    """`maxconn` for so many descriptors, where `some` sessions at most may have `more` than two."""
    if not more:
        return max(DEFAULT_MAXCONN, spare // _CONTROL)
    beside = (spare - more * some) // _CONTROL
    return max(_FEWEST_FTP, beside if beside >= some else spare // (_CONTROL + more))


def remark(found: Limits, *, hard: int) -> str:
    """What an operator should know about `maxconn` and the descriptors of `mode ftp`; "" for nothing.

    `hard` is the limit that descriptors can be raised to.
    """
    if found.a_session == _CONTROL:
        return ""
    have = max(found.descriptors, hard) if hard > 0 else found.full
    if found.derived and found.maxconn < DEFAULT_MAXCONN:
        return (
            f"'maxconn' is {found.maxconn}: a session in mode ftp may need {found.a_session} descriptors with its "
            f"data, and the limit is {have}. Raise 'ulimit-n' for more sessions."
        )
    if not found.derived and found.full > have:
        return (
            f"'maxconn {found.maxconn}' may need {found.full} descriptors with the data of mode ftp, and the limit is "
            f"{have}: transfers beyond it are answered 425."
        )
    return ""


def _ceiling(settings: Global, hard: int) -> int:
    return min(hard, settings.fd_hard_limit) if settings.fd_hard_limit else min(hard, _CEILING)


def _slots(config: Config) -> int:
    limited = sum(bool(proxy.maxconn) for proxy in config.proxies)
    limited += sum(bool(bind.maxconn) for proxy in config.proxies for bind in proxy.binds)
    return 1 + limited + sum(bool(server.maxconn) for proxy in config.proxies for server in proxy.servers)


def with_limits(config: Config, found: Limits) -> Config:
    """The configuration with `maxconn`, `nbthread`, and the `fullconn` that follows from them, filled in."""
    # Without data to leave descriptors for, each worker pauses by itself when it has none left.
    unbounded = found.derived and found.a_session == _CONTROL
    settings = replace(config.settings, maxconn=found.maxconn, maxconn_derived=unbounded, nbthread=found.nbthread)
    return fill_fullconn(replace(config, settings=settings))


def raise_descriptors(found: Limits, *, strict: bool, warn: Callable[[str], None]) -> None:
    """Set RLIMIT_NOFILE for this process and its children. Raises ResourceError where `strict-limits` wants that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = found.descriptors
    if soft == wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard if _covers(hard, wanted) else wanted))
        return
    except (OSError, ValueError):
        text = f"Cannot raise FD limit to {wanted}, limit is {hard}."
    if strict:
        raise ResourceError(text)
    warn(text)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    warn(
        f"FD limit ({hard}) too low for maxconn={found.maxconn}. "
        f"Please raise 'ulimit-n' to {wanted} or more to avoid any trouble."
    )


def _covers(hard: int, wanted: int) -> bool:
    return hard == resource.RLIM_INFINITY or hard >= wanted


def limit_memory(megabytes: int) -> None:
    """`-m`: bound the address space of this process, and of each worker. Raises ResourceError."""
    if megabytes < _SMALLEST_MEMORY:
        raise ResourceError(f"Cannot fix MEM limit to {megabytes} megs: {_SMALLEST_MEMORY} is the least that works.")
    size = megabytes << 20
    try:
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
    except (OSError, ValueError) as error:
        raise ResourceError(f"Cannot fix MEM limit to {megabytes} megs.") from error


def check_identity(settings: Global) -> None:
    """Refuse what every worker would fail at, before anything is started. Raises ResourceError."""
    if settings.chroot and not Path(settings.chroot).is_dir():
        raise ResourceError(f"Cannot chroot({settings.chroot}).")


# --- the pid file -------------------------------------------------------------------------------------------------


class PidFile:
    """Opened before anything is started, so that a wrong path stops the start; written when everything serves.

    Until then the file keeps what another instance wrote, which goes on if this start fails. A symbolic link is not
    followed: whoever may write to the directory could have it lead to any file.
    Raises ResourceError in HAProxy's words.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._is_new = False
        flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            self._descriptor = self._opened(flags)
        except OSError as error:
            why = "it is a symbolic link" if error.errno == errno.ELOOP else error.strerror
            raise ResourceError(f"Cannot create pidfile {path} ({why})") from error
        if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            os.close(self._descriptor)
            raise ResourceError(f"Cannot create pidfile {path} (it is no regular file)")

    def _opened(self, flags: int) -> int:
        try:
            return os.open(self._path, flags)
        except FileNotFoundError:
            # O_EXCL: one that appeared meanwhile is somebody else's.
            descriptor = os.open(self._path, flags | os.O_CREAT | os.O_EXCL, 0o644)
            self._is_new = True
            return descriptor

    def write(self) -> None:
        """One line: the supervisor, whom signals are for."""
        os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, b"%d\n" % os.getpid())
        os.close(self._descriptor)

    def close(self) -> None:
        """Leave everything as it was found."""
        os.close(self._descriptor)
        if self._is_new:
            with contextlib.suppress(OSError):
                Path(self._path).unlink()


# --- the background -----------------------------------------------------------------------------------------------


class Background:
    """The way back to whoever typed the command: it gets the prompt when everything serves, or the exit status."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    def serving(self) -> None:
        """Let the terminal go: nothing is read from or written to it any more."""
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        os.close(null)
        self._end(0)

    def failed(self, status: int) -> None:
        """The start failed; say so to the parent, unless it is gone already."""
        if self._pipe >= 0:
            self._end(status)

    def _end(self, status: int) -> None:
        with contextlib.suppress(OSError):
            os.write(self._pipe, bytes([status]))
        os.close(self._pipe)
        self._pipe = -1


def daemonise() -> Background:
    """Go on in a grandchild with a session of its own; the caller's process waits and exits with the start's status.

    Call it before any thread or event loop exists.
    """
    reading, writing = os.pipe()
    if os.fork():
        os.close(writing)
        _wait_for_start(reading)
    os.close(reading)
    os.setsid()
    if os.fork():
        os._exit(0)
    return Background(writing)


def _wait_for_start(pipe: int) -> None:
    told = os.read(pipe, 1)
    os.wait()
    os._exit(told[0] if told else 1)


# --- the service manager ------------------------------------------------------------------------------------------


def sd_notify_reloading() -> None:
    """The state between two READY=1; systemd wants to know since when (`Type=notify-reload`)."""
    microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    sd_notify(f"RELOADING=1\nMONOTONIC_USEC={microseconds}\nSTATUS=Reloading Configuration.\n")


def sd_notify_failure(fault: str) -> None:
    """Why the start failed, for `systemctl status`."""
    sd_notify(f"STATUS=Start failed: {fault.partition(chr(10))[0]}\n")


def sd_notify(state: str) -> None:
    """Tell systemd (`Type=notify`), if it asked to be told."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    # A service manager that cannot be reached is no reason not to serve.
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.setblocking(False)
        channel.sendto(state.encode(), address)
