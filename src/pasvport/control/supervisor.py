"""The supervisor: obeys signals, and has one generation serve and former ones finish.

It never touches a client's bytes. Signal handlers only put a number into a queue; one task takes them out, one at a
time. Source: HAProxy management guide, section 4 (signals), observed on 2.6.12.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pasvport.config.diagnostics import Diagnostics, Severity, message
from pasvport.control import host, release, report, state_files
from pasvport.control.amendments import Amendment, Amendments, Petition, amended, refuse
from pasvport.control.background import in_thread
from pasvport.control.console import Console
from pasvport.control.continuance import close_frontends, keep_orders
from pasvport.control.generation import Generation, cancel
from pasvport.control.launcher import WORKER_MODULE, Launcher
from pasvport.control.manner import Manner
from pasvport.control.ports import Ports
from pasvport.control.service import Service
from pasvport.control.succession import Legacy, hand_over
from pasvport.control.upgrade import Invocation
from pasvport.control.upgrade import hand_over as hand_over_to
from pasvport.control.watchdog import Watchdog
from pasvport.errors import ConfigError, PasvportError, ResourceError
from pasvport.model import Config
from pasvport.wire import SoftStop

_WARNING, _NOTICE = 4, 5
_TOO_LATE = "The process is about to end: nothing is reloaded."
_MOST_RELOADS = 2
"""One at work and one that waits."""
_COUNT_EVERY, _COUNT_SHARE = 1.0, 20.0
"""Seconds between two looks at the counters of former generations, and how much longer that is than a look."""
_SIGNALS = (
    signal.SIGUSR1,
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGUSR2,
    signal.SIGTTOU,
    signal.SIGTTIN,
)


Reread = Callable[[], tuple[Config | None, Diagnostics]]
"""A configuration with its limits filled in and no host names, or None, and what was found in its text."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What the command line decided. `serving` is called once, when every worker accepts.

    `reread` reads the configuration's files again, in a thread of its own; it may raise ResourceError.
    `services` are made for the supervisor as it begins, and started in their order.
    """

    master_worker: bool = False
    serving: Callable[[], None] = lambda: None
    worker_module: str = WORKER_MODULE
    services: tuple[Callable[[Supervisor], Service], ...] = ()
    reread: Reread | None = None
    invocation: Invocation | None = None


class Supervisor:
    """Serves `config` on `ports`, which are bound already. Create it inside the running loop; `run` closes all."""

    def __init__(self, config: Config, ports: Ports, console: Console, orders: Orders) -> None:
        self._console = console
        self._orders = orders
        self._loop = asyncio.get_running_loop()
        self._signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
        self._ending: asyncio.Future[int] = self._loop.create_future()
        self._soft_stop: asyncio.Task[None] | None = None
        self._launcher = Launcher(orders.worker_module)
        self._manner = Manner(self._launcher, orders.master_worker)
        self.generation = Generation(config, ports, console, self._manner)
        state_files.apply(config, self.generation.roster, lambda proxy, text: self.generation.say_all([(proxy, text)]))
        self.former: list[Generation] = []
        """Generations that serve no new client any more, oldest first."""
        self._retiring: dict[Generation, asyncio.Task[None]] = {}
        self._legacies: dict[Generation, Legacy] = {}
        self._counting: asyncio.Task[None] | None = None
        self._reloading = asyncio.Lock()
        self._reload_tasks: set[asyncio.Task[list[str]]] = set()
        self._amendments = Amendments()
        self._amending: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._watchdog = Watchdog(lambda: (*self.former, self.generation))
        self._services = [make(self) for make in orders.services]

    @property
    def startup_logs(self) -> str:
        """What was said while the process started."""
        return self._console.startup_logs

    # --- life -----------------------------------------------------------------------------------------------------

    async def run(self) -> int:
        """Serve until told to stop; the exit status, negative for the signal to die by.

        Raises ResourceError when a worker or a service cannot start.
        """
        self._loop.set_exception_handler(self._went_wrong)
        self._listen_to_signals()
        obeying = self._loop.create_task(self._obey_signals(), name="signals")
        starting = self._loop.create_task(self._start(), name="start")
        watching = self._loop.create_task(self._watchdog.run(), name="watchdog")
        try:
            either: list[asyncio.Future[Any]] = [starting, self._ending]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                await starting
            return await self._ending
        finally:
            await cancel(
                obeying, starting, watching, self._soft_stop, self._counting, self._amending, *self._reload_tasks
            )
            await cancel(*self._retiring.values())
            await self._close()

    async def _start(self) -> None:
        try:
            # It reads the workers' code while services start.
            self._launcher.begin()
        except OSError as error:
            raise ResourceError(f"cannot start workers: {error.strerror}") from error
        for service in self._services:
            await service.start()
        await self.generation.start()
        self.generation.open()
        self._orders.serving()
        self._console.started()

    async def _close(self) -> None:
        for number in _SIGNALS:
            self._loop.remove_signal_handler(number)
        for service in reversed(self._services):
            await service.close()
        everything = (*self.former, self.generation)
        await asyncio.gather(*(generation.close() for generation in everything), *self._closing)
        self._launcher.end()

    def _went_wrong(self, _loop: asyncio.AbstractEventLoop, what: dict[str, Any]) -> None:
        """Something was raised where nobody waits for it: one event is lost, the rest goes on."""
        error = what.get("exception")
        self.generation.alert(f"internal error: {what['message']}{'' if error is None else f' ({error!r})'}")

    # --- reload ---------------------------------------------------------------------------------------------------

    async def reload(self) -> list[str]:
        """Read the configuration again and serve it. Returns the complaints; none: it is done.

        With complaints the generation in force serves on as if nothing had been. Reloads wait for each other.
        """
        if self._is_leaving:
            return [_TOO_LATE]
        async with self._reloading:
            if self._is_leaving:
                return [_TOO_LATE]
            self._console.notice(f"Reloading {self._console.program}")
            host.sd_notify_reloading()
            status = "Ready."
            try:
                complaints = await self._try_to_reload()
                if complaints:
                    status = f"Reload failed, the configuration in force stays: {complaints[0]}"
            finally:
                host.sd_notify(f"READY=1\nSTATUS={status}\n")
            if complaints:
                self._console.warn("Loading failure!")
            elif not self._orders.master_worker:  # else it was said with the new workers
                self._console.notice("Loading success.")
            for level, text in report.refused_reload(complaints):
                self.generation.journal.say(level, text)
            return complaints

    @property
    def _is_leaving(self) -> bool:
        return self._soft_stop is not None or self._ending.done()

    async def _try_to_reload(self) -> list[str]:
        if self._orders.reread is None:
            return ["There is no configuration file to read again."]
        try:
            if self._orders.invocation is not None and self._orders.invocation.is_outdated:
                await self._upgrade(self._orders.invocation)
                return []
            config, found = await in_thread(self._orders.reread)
            self._console.show(found)
            if config is None:
                return [message(entry) for entry in found.found if entry.severity is Severity.ALERT]
            await self._succeed(config)
        except (ResourceError, ConfigError) as error:
            self._console.alert(f"{self._console.main} {error}")
            return str(error).split("\n")
        return await self._tell_services()

    async def _upgrade(self, invocation: Invocation) -> None:
        """Another release is installed: it reads the configuration, and serves it. Raises ResourceError; nothing has
        changed then."""
        self._console.notice(f"Another release is installed: {release.difference() or invocation.command[0]}")
        if self.generation.is_paused:
            self.generation.resume()
        successor = await hand_over_to(invocation, self.generation.ports)
        host.sd_notify(f"MAINPID={successor}\nREADY=1\nSTATUS=Ready.\n")
        # From now on it is the successor whom the service manager hears.
        os.environ.pop("NOTIFY_SOCKET", None)
        self._console.notice(f"Process {successor} serves. This one leaves with its last session.")
        self._on_soft_stop(signal.SIGUSR1)

    async def _succeed(self, config: Config, *, amends: bool = False) -> None:
        """Have a new generation take over. Raises ResourceError, and nothing has changed then.

        One that `amends` keeps what was ordered, and takes over without a word.
        """
        old = self.generation
        if old.is_paused:
            old.resume()
        ports = Ports.bind(config, config.settings.nbthread, old.ports.held())
        if ports.complaints:
            ports.abandon(old.ports)
            raise ResourceError("\n".join(ports.complaints))
        mixed = old.manner.mixed or config.settings.nbthread != old.settings.nbthread
        manner = replace(self._manner, master_worker=self._manner.master_worker and not amends, mixed=mixed)
        new = Generation(config, ports, self._console, manner)
        legacy = Legacy(old, new)
        try:
            await (hand_over(legacy, keep_orders) if amends else hand_over(legacy))
        except BaseException:
            ports.abandon(old.ports)
            await new.close()
            raise
        self._change_generation(legacy, quietly=amends)

    def _change_generation(self, legacy: Legacy, *, quietly: bool) -> None:
        old, new = legacy.old, legacy.new
        self.generation = new
        self.former.append(old)
        self._legacies[old] = legacy
        for former in self.former:
            self._legacies[former] = former.successor = self._legacies[former].passed_on(new)
        self._follow()
        old.step_down(self._legacies[old], quietly=quietly)
        self._retiring[old] = self._loop.create_task(self._retire(old), name="retire")
        if self._counting is None or self._counting.done():
            self._counting = self._loop.create_task(self._count(), name="count")

    def _follow(self) -> None:
        self.generation.followers[:] = [self._legacies[former].change for former in self.former]

    async def _retire(self, old: Generation) -> None:
        """Let a former generation finish, and forget it."""
        await old.retire()
        await old.crew.end()
        self._legacies[old].count()
        self.former.remove(old)
        del self._legacies[old], self._retiring[old]
        self._follow()
        closing = self._loop.create_task(old.close(), name="close")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def _count(self) -> None:
        """What former generations count belongs to the statistics while they live, too."""
        while self.former:
            began = self._loop.time()
            for legacy in self._legacies.values():
                legacy.count()
            await asyncio.sleep(max(_COUNT_EVERY, _COUNT_SHARE * (self._loop.time() - began)))

    # --- amendments -----------------------------------------------------------------------------------------------

    async def amend(self, amendment: Amendment) -> None:
        """Serve the configuration in force with one change in it, which a reload forgets.

        Raises ConfigError where the change cannot be made, ResourceError where the result cannot be served.
        """
        outcome = self._amendments.submit(amendment)
        if self._amending is None or self._amending.done():
            self._amending = self._loop.create_task(self._amend(), name="amend")
        await outcome

    async def _amend(self) -> None:
        while self._amendments:
            async with self._reloading:
                petitions = self._amendments.take()
                try:
                    await self._serve_amended(petitions)
                except PasvportError as error:
                    refuse(petitions, error)
                except Exception as error:
                    self.generation.alert(f"internal error: {error!r}")
                    refuse(petitions, ConfigError("Internal error."))
                finally:
                    refuse(petitions, ConfigError(_TOO_LATE))

    async def _serve_amended(self, petitions: list[Petition]) -> None:
        if self._is_leaving:
            return
        config, made = await amended(self.generation.config, petitions)
        if not made:
            return
        is_paused = self.generation.is_paused
        await self._succeed(config, amends=True)
        close_frontends(self.generation)
        if is_paused:
            self.generation.pause()
        await self._tell_services()
        for petition in made:
            petition.grant()

    async def _tell_services(self) -> list[str]:
        complaints = []
        for service in self._services:
            try:
                await service.reloaded()
            except ResourceError as error:
                self.generation.alert(str(error))
                complaints.append(str(error))
        return complaints

    # --- signals --------------------------------------------------------------------------------------------------

    def _listen_to_signals(self) -> None:
        signal.signal(signal.SIGQUIT, signal.SIG_IGN)
        for number in _SIGNALS:
            # A disposition inherited as ignored stays so: that is how a shell protects its background jobs.
            if number is signal.SIGINT and signal.getsignal(number) is signal.SIG_IGN:
                continue
            self._loop.add_signal_handler(number, self._signals.put_nowait, number)

    async def _obey_signals(self) -> None:
        while True:
            number = await self._signals.get()
            self._console.trace("signal {}".format, number.name)
            try:
                self._ORDERS[number](self, number)
            except Exception as error:
                # A supervisor that obeys no signal any more could only be killed.
                self.generation.alert(f"internal error: {error!r}")

    def _on_soft_stop(self, _number: signal.Signals) -> None:
        if self._orders.master_worker and self._soft_stop is None:
            self._console.warn("Exiting Master process...")
        if self._soft_stop is None:
            self._soft_stop = self._loop.create_task(self._stop_softly(), name="soft stop")
            self._soft_stop.add_done_callback(self._softly_stopped)

    def _softly_stopped(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and not self._ending.done():
            error = task.exception()
            if error is None:
                self._ending.set_result(0)
            else:
                self._ending.set_exception(error)

    def _on_stop(self, number: signal.Signals) -> None:
        if self._ending.done():
            return
        status = -number
        if self._orders.master_worker:
            self._console.warn("Exiting Master process...")
            # HAProxy's master: an ordered end is a success, an interrupted one is not.
            status = 0 if number is signal.SIGTERM else 128 + number
        self._ending.set_result(status)

    def _on_hangup(self, number: signal.Signals) -> None:
        if self._orders.master_worker:
            self._on_reload(number)
            return
        generation = self.generation
        generation.say_all(report.dump(generation.config, generation.roster, generation.figures))

    def _on_reload(self, _number: signal.Signals) -> None:
        # One that waits will read what is in the files then: more need not wait.
        if len(self._reload_tasks) < _MOST_RELOADS:
            task = self._loop.create_task(self.reload(), name="reload")
            self._reload_tasks.add(task)
            task.add_done_callback(self._reload_tasks.discard)

    def _on_pause(self, _number: signal.Signals) -> None:
        if not self.generation.is_paused and self._soft_stop is None:
            self.generation.pause()

    def _on_resume(self, _number: signal.Signals) -> None:
        if self.generation.is_paused and self._soft_stop is None:
            self.generation.resume()

    _ORDERS: Mapping[signal.Signals, Callable[[Supervisor, signal.Signals], None]] = {
        signal.SIGUSR1: _on_soft_stop,
        signal.SIGTERM: _on_stop,
        signal.SIGINT: _on_stop,
        signal.SIGHUP: _on_hangup,
        signal.SIGUSR2: _on_reload,
        signal.SIGTTOU: _on_pause,
        signal.SIGTTIN: _on_resume,
    }

    # --- soft stop ------------------------------------------------------------------------------------------------

    async def _stop_softly(self) -> None:
        """No new client; out when the last session ends, or when `hard-stop-after` is over."""
        grace = self.generation.settings.grace
        if grace and not self.generation.ports.is_taken:
            await self._wait_for_grace(grace)
        for task in (*self._reload_tasks, *([self._amending] if self._amending is not None else [])):
            task.cancel()
        async with self._reloading:
            for former in self.former:
                former.crew.tell(SoftStop(reload=self.generation.ports.is_taken))
            await asyncio.gather(self.generation.stop_softly(), *self._retiring.values())

    async def _wait_for_grace(self, milliseconds: int) -> None:
        self._note(_WARNING, f"Scheduling a soft-stop in {milliseconds} ms.")
        await asyncio.sleep(milliseconds / 1000)
        self._note(_NOTICE, "Grace period expired, proceeding with soft-stop now.")

    def _note(self, level: int, text: str) -> None:
        self._console.notice(text)
        self.generation.journal.say(level, text)
