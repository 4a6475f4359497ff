"""An external check: a program judges the server by its exit status.

Source: HAProxy manual, `option external-check`, `external-check command`, `external-check path`. Arguments and
environment are HAProxy's; the child is watched through a pidfd, so no thread and no SIGCHLD is needed.
"""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from pasvport.address import Family
from pasvport.health.result import CheckResult, Status
from pasvport.model import Config, Global, PortMap, Proxy, Server

_UNUSED = "NOT_USED"
_GRACE = 1.0
"""Seconds between SIGTERM and SIGKILL for a program that outlived its time."""
_LISTENABLE = (Family.IPV4, Family.IPV6, Family.UNIX)


class Program:
    """The command of one backend, about one server; `sessions` is how many the server has now."""

    def __init__(self, config: Config, proxy: Proxy, server: Server, sessions: int) -> None:
        self._settings = config.settings
        self._proxy = proxy
        self._server = server
        self._sessions = sessions

    def spawn(self) -> subprocess.Popen[bytes]:
        """The running child, in a session of its own, as the configured user when we are root. Raises OSError."""
        identity = _identity(self._settings)
        silent = self._settings.quiet or self._settings.daemon
        return subprocess.Popen(
            self.arguments(),
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if silent else None,
            stderr=subprocess.DEVNULL if silent else None,
            start_new_session=True,
            user=identity.user,
            group=identity.group,
            extra_groups=identity.groups,
        )

    def arguments(self) -> list[str]:
        """<command> <proxy_address> <proxy_port> <server_address> <server_port>."""
        return [self._proxy.check_command or "", *self._listener(), *self._place()]

    def environment(self) -> dict[str, str]:
        """Nothing of ours leaks into it."""
        address, port = (text if text != _UNUSED else "" for text in self._listener())
        server_address, server_port = self._place()
        return {
            "PATH": self._proxy.check_path or "",
            "HAPROXY_PROXY_NAME": self._proxy.name,
            "HAPROXY_PROXY_ID": str(self._proxy.id),
            "HAPROXY_PROXY_ADDR": address,
            "HAPROXY_PROXY_PORT": port,
            "HAPROXY_SERVER_NAME": self._server.name,
            "HAPROXY_SERVER_ID": str(self._server.id),
            "HAPROXY_SERVER_ADDR": server_address,
            "HAPROXY_SERVER_PORT": server_port,
            "HAPROXY_SERVER_MAXCONN": str(self._server.maxconn),
            "HAPROXY_SERVER_CURCONN": str(self._sessions),
            "HAPROXY_SERVER_SSL": "0",
            "HAPROXY_SERVER_PROTO": "tcp",
        }

    def _listener(self) -> tuple[str, str]:
        for bind in self._proxy.binds:
            if bind.endpoint.family is Family.UNIX:
                return bind.endpoint.host, _UNUSED
            if bind.endpoint.family in _LISTENABLE:
                return "0.0.0.0" if bind.endpoint.host in ("*", "") else bind.endpoint.host, str(bind.ports.low)
        return _UNUSED, _UNUSED

    def _place(self) -> tuple[str, str]:
        endpoint = self._server.endpoint
        if endpoint.family not in (Family.IPV4, Family.IPV6):
            return endpoint.host, ""
        return endpoint.host, str(self._server.port.value if self._server.port.kind is not PortMap.SAME else 0)


class _Identity(NamedTuple):
    """Popen's `user`, `group` and `extra_groups`; None leaves ours."""

    user: int | None = None
    group: int | None = None
    groups: list[str | int] | None = None


def _identity(settings: Global) -> _Identity:
    """Ours, unless we are root and told to be somebody else. Raises KeyError for an unknown name."""
    if os.geteuid() != 0:
        return _Identity()
    uid = pwd.getpwnam(settings.user).pw_uid if settings.user else settings.uid
    gid = grp.getgrnam(settings.group).gr_gid if settings.group else settings.gid
    if uid is None and gid is None:
        return _Identity()
    return _Identity(uid, gid, [])


class ExternalProbe:
    """One run of the program, with `patience` ms to finish. Same use as SocketProbe; `reaped()` waits for its end."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, program: Program, patience: int, done: Callable[[CheckResult], None]
    ) -> None:
        self._loop = loop
        self._program = program
        self._patience = patience
        self._done = done
        self._child: subprocess.Popen[bytes] | None = None
        self._pidfd = -1
        self._timer: asyncio.TimerHandle | None = None
        self._verdict: CheckResult | None = None
        self._gone = loop.create_future()
        self._started = loop.time()

    def start(self) -> None:
        """Start the program; one that cannot be started has failed."""
        try:
            self._child = self._program.spawn()
            self._pidfd = os.pidfd_open(self._child.pid)
        except (OSError, KeyError, ValueError, subprocess.SubprocessError) as error:
            self._fail_to_start(error)
            return
        self._loop.add_reader(self._pidfd, self._exited)
        self._timer = self._loop.call_later(self._patience / 1000, self._expired)

    def abort(self) -> None:
        """Kill the program, report nothing; `reaped()` tells when it is gone."""
        self._done = _nobody
        if self._child is not None and not self._gone.done():
            self._signal(signal.SIGKILL)

    async def reaped(self) -> None:
        """Return once the child has been waited for."""
        if self._child is not None:
            await self._gone

    def _fail_to_start(self, error: Exception) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.wait()
        # A program that cannot be executed is, to HAProxy, one that exited with status 255.
        missing = isinstance(error, OSError)
        result = CheckResult(Status.PROCERR, code=255) if missing else CheckResult(Status.SOCKERR, str(error))
        self._finish(self._timed(result))

    def _expired(self) -> None:
        self._verdict = self._timed(CheckResult(Status.PROCTOUT))
        self._signal(signal.SIGTERM)
        self._timer = self._loop.call_later(_GRACE, self._signal, signal.SIGKILL)

    def _signal(self, number: int) -> None:
        # The whole session: a shell's children would otherwise outlive it.
        if self._child is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._child.pid, number)

    def _exited(self) -> None:
        if self._child is None or self._child.poll() is None:
            return
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        code = self._child.returncode
        result = CheckResult(Status.PROCOK) if code == 0 else CheckResult(Status.PROCERR, code=max(code, -1))
        self._finish(self._verdict or self._timed(result))

    def _timed(self, result: CheckResult) -> CheckResult:
        return result.lasting(round((self._loop.time() - self._started) * 1000))

    def _finish(self, result: CheckResult) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self._gone.done():
            self._gone.set_result(None)
        done, self._done = self._done, _nobody
        done(result)


def _nobody(_: CheckResult) -> None:
    """The report of a check that was called off."""
