"""From a compiled configuration to a serving process: limits, background, sockets, then the supervisor.

Everything here happens before an event loop exists, in the order in which HAProxy complains.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial

from pasvport.config.diagnostics import Diagnostics
from pasvport.control import handover, host, places
from pasvport.control.console import Console
from pasvport.control.launcher import WORKER_MODULE
from pasvport.control.on_demand import runtime_api, web_pages
from pasvport.control.openings import settle_port_range
from pasvport.control.ports import Ports
from pasvport.control.second_start import refuse_second_start
from pasvport.control.supervisor import Orders, Reread, Supervisor
from pasvport.control.upgrade import Invocation, Predecessor
from pasvport.errors import ResourceError
from pasvport.model import Config

_BIND_TRIES = 100
_BIND_PAUSE = 0.01


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start. `finish` (`-sf`) and `terminate` (`-st`) are processes to replace; `memory` is `-m`, in MB."""

    background: bool = False
    master_worker: bool = False
    pidfile: str | None = None
    finish: tuple[int, ...] = ()
    terminate: tuple[int, ...] = ()
    memory: int = 0
    verbose: bool = False
    old_sockets: str = ""
    """`-x`: the stats socket of the process whose listening sockets are taken over."""
    worker_module: str = WORKER_MODULE
    predecessor: Predecessor | None = None
    """The release that was running and started this one as its successor."""
    invocation: Invocation | None = None
    """How to start the installed release the same way."""
    reread: Reread | None = None
    """The files again, with host names looked up: for a reload."""

    @property
    def predecessors(self) -> tuple[int, ...]:
        return self.finish + self.terminate


def serve(config: Config, launch: Launch, console: Console) -> int:
    """Start and serve until the end; the exit status. Dies by the signal that ended it, as HAProxy does."""
    try:
        config = _prepare(config, launch, console)
        _look_for_another(config, launch, console)
        pidfile = host.PidFile(launch.pidfile) if launch.pidfile else None
    except ResourceError as error:
        console.alert(f"{console.main} {error}")
        return 1
    background = host.daemonise() if launch.background else None
    status = 1
    try:
        status = _serve_here(config, launch, console, _Announcement(launch, console, pidfile, background))
    finally:
        if background is not None:
            background.failed(1)
    if status < 0:
        _die_by(signal.Signals(-status))
    return status


def _look_for_another(config: Config, launch: Launch, console: Console) -> None:
    """Raises ResourceError when this service runs already and nobody said that it shall be replaced."""
    if launch.predecessors or launch.old_sockets or launch.predecessor is not None:
        return
    if text := refuse_second_start(config, launch.pidfile):
        console.warn(text)


def _prepare(config: Config, launch: Launch, console: Console) -> Config:
    """Limits found and set. Raises ResourceError."""
    config = settle_port_range(config, console.notice)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = host.limits(config, cpus=host.processors(), soft=soft, hard=hard)
    if launch.verbose:
        if found.derived:
            console.note(f"Note: setting global.maxconn to {found.maxconn}.")
        console.remark("Using epoll() as the polling mechanism.")
    if text := host.remark(found, hard=config.settings.ulimit_n or hard):
        console.notice(text)
    host.check_identity(config.settings)
    host.raise_descriptors(
        found, strict=config.settings.strict_limits, warn=lambda text: console.warn(f"{console.main} {text}")
    )
    if launch.memory:
        host.limit_memory(launch.memory)
    return host.with_limits(config, found)


@dataclass(slots=True)
class _Announcement:
    """Who is told, in which order, when everything serves."""

    launch: Launch
    console: Console
    pidfile: host.PidFile | None
    background: host.Background | None

    def make(self) -> None:
        """The pid file first: whoever waits for us may read it at once. Predecessors last: until now they served."""
        if self.launch.predecessor is not None:
            self.launch.predecessor.serving()
        if self.pidfile is not None:
            self.pidfile.write()
            self.pidfile = None
        host.sd_notify(f"READY=1\nMAINPID={os.getpid()}\nSTATUS=Ready.\n")
        _signal(self.launch.finish, signal.SIGUSR1)
        _signal(self.launch.terminate, signal.SIGTERM)
        if self.background is not None:
            self.console.silence()
            self.background.serving()
            self.background = None

    def fail(self) -> None:
        """Nothing to announce."""
        if self.pidfile is not None:
            self.pidfile.close()
            self.pidfile = None


def _serve_here(config: Config, launch: Launch, console: Console, announcement: _Announcement) -> int:
    ports = _bind(config, launch, console)
    if ports is None:
        announcement.fail()
        return 1
    reread = partial(_reread, launch.reread, launch, console) if launch.reread is not None else None
    services = (runtime_api, web_pages)
    orders = Orders(launch.master_worker, announcement.make, launch.worker_module, services, reread, launch.invocation)
    try:
        return asyncio.run(_supervise(config, ports, console, orders))
    except ResourceError as error:
        console.alert(f"{console.main} {error}")
        return 1
    finally:
        announcement.fail()
        host.sd_notify("STOPPING=1\n")


def _reread(reread: Reread, launch: Launch, console: Console) -> tuple[Config | None, Diagnostics]:
    config, found = reread()
    return (None if config is None else _prepare(config, replace(launch, memory=0), console)), found


async def _supervise(config: Config, ports: Ports, console: Console, orders: Orders) -> int:
    status = await Supervisor(config, ports, console, orders).run()
    if orders.master_worker:
        console.warn(f"All workers exited. Exiting... ({max(0, status)})")
    return status


def _bind(config: Config, launch: Launch, console: Console) -> Ports | None:
    """Bind everything, or say what could not be and give all up. Predecessors that are in the way are paused."""
    workers = config.settings.nbthread
    if launch.old_sockets or launch.predecessor is not None:
        return _bind_beside_taken(config, launch, console)
    ports = Ports.bind(config, workers)
    ports.open(config)
    if ports.complaints and launch.predecessors:
        ports = _bind_after_pause(config, workers, launch.predecessors, ports)
    if not ports.complaints:
        return ports
    _complain(ports, console)
    ports.close()
    return None


def _complain(ports: Ports, console: Console) -> None:
    for complaint in ports.complaints:
        console.alert(complaint)
    console.alert(f"{console.main} Some protocols failed to start their listeners! Exiting.")


def _bind_beside_taken(config: Config, launch: Launch, console: Console) -> Ports | None:
    """Use what an old process has, bind the rest; nobody is steered away from it before our workers are ready."""
    try:
        if launch.predecessor is not None:
            held = places.received(launch.predecessor.take())
        else:
            held = places.received(handover.take(launch.old_sockets))
    except ResourceError as error:
        console.alert(str(error))
        return None
    ports = Ports.bind(config, config.settings.nbthread, held)
    for sock in held.rest():
        sock.close()
    if not ports.complaints:
        return ports
    _complain(ports, console)
    ports.abandon()
    return None


def _bind_after_pause(config: Config, workers: int, predecessors: Iterable[int], ports: Ports) -> Ports:
    _signal(predecessors, signal.SIGTTOU)
    for _ in range(_BIND_TRIES):
        ports.close()
        ports = Ports.bind(config, workers)
        ports.open(config)
        if not ports.complaints:
            return ports
        time.sleep(_BIND_PAUSE)
    _signal(predecessors, signal.SIGTTIN)
    return ports


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        # Gone already, or never there: nothing to replace.
        with contextlib.suppress(OSError):
            os.kill(pid, number)


def _die_by(number: signal.Signals) -> None:
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
