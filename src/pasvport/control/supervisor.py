"""The supervisor: obeys signals, and has one generation serve and former ones finish.

It never touches a client's bytes. Signal handlers only put a number into a queue; one task takes them out, one at a
time. Source: HAProxy management guide, section 4 (signals), observed on 2.6.12.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pasvport.control import report
from pasvport.control.console import Console
from pasvport.control.generation import Generation, Manner, cancel
from pasvport.control.ports import Ports
from pasvport.control.workers import WORKER_MODULE
from pasvport.model import Config

_WARNING, _NOTICE = 4, 5
_SIGNALS = (
    signal.SIGUSR1,
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGUSR2,
    signal.SIGTTOU,
    signal.SIGTTIN,
)


class Service(Protocol):
    """Something the supervisor offers beside relaying: the stats sockets, the web pages."""

    async def start(self) -> None:
        """Begin, before the first worker accepts. Raises ResourceError, which ends the start."""

    async def reloaded(self) -> None:
        """`supervisor.generation` is another one now: open, close, change what its configuration says.

        Raises ResourceError for what could not be opened; what could is served.
        """

    async def close(self) -> None:
        """End, before the last worker does."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What the command line decided. `serving` is called once, when every worker accepts.

    `services` are made for the supervisor as it begins, and started in their order.
    """

    master_worker: bool = False
    serving: Callable[[], None] = lambda: None
    worker_module: str = WORKER_MODULE
    services: tuple[Callable[[Supervisor], Service], ...] = ()


class Supervisor:
    """Serves `config` on `ports`, which are bound already. Create it inside the running loop; `run` closes all."""

    def __init__(self, config: Config, ports: Ports, console: Console, orders: Orders) -> None:
        self._console = console
        self._orders = orders
        self._loop = asyncio.get_running_loop()
        self._signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
        self._ending: asyncio.Future[int] = self._loop.create_future()
        self._soft_stop: asyncio.Task[None] | None = None
        self.generation = Generation(config, ports, console, Manner(orders.master_worker, orders.worker_module))
        self.former: list[Generation] = []
        """Generations that serve no new client any more, oldest first."""
        self._services = [make(self) for make in orders.services]

    # --- life -----------------------------------------------------------------------------------------------------

    async def run(self) -> int:
        """Serve until told to stop; the exit status, negative for the signal to die by.

        Raises ResourceError when a worker or a service cannot start.
        """
        self._loop.set_exception_handler(self._went_wrong)
        self._listen_to_signals()
        obeying = self._loop.create_task(self._obey_signals(), name="signals")
        starting = self._loop.create_task(self._start(), name="start")
        try:
            either: list[asyncio.Future[Any]] = [starting, self._ending]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                await starting
            return await self._ending
        finally:
            await cancel(obeying, starting, self._soft_stop)
            await self._close()

    async def _start(self) -> None:
        for service in self._services:
            await service.start()
        await self.generation.start()
        self._orders.serving()
        self._console.started()

    async def _close(self) -> None:
        for number in _SIGNALS:
            self._loop.remove_signal_handler(number)
        for service in reversed(self._services):
            await service.close()
        for generation in (*self.former, self.generation):
            await generation.close()

    def _went_wrong(self, _loop: asyncio.AbstractEventLoop, what: dict[str, Any]) -> None:
        """Something was raised where nobody waits for it: one event is lost, the rest goes on."""
        error = what.get("exception")
        self.generation.alert(f"internal error: {what['message']}{'' if error is None else f' ({error!r})'}")

    async def reload(self) -> list[str]:
        """Read the configuration again and serve it. Returns the complaints; none: it is done."""
        text = "Reloading is not supported yet, the configuration in force stays."
        self._console.warn(text)
        self.generation.journal.say(_WARNING, text)
        return [text]

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
            self._console.trace(f"signal {number.name}")
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

    def _on_reload(self, number: signal.Signals) -> None:
        if self._orders.master_worker:
            text = f"{number.name} received: reloading is not supported yet, the configuration in force stays."
            self._console.warn(text)
            self.generation.journal.say(_WARNING, text)

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
        if grace:
            await self._wait_for_grace(grace)
        await self.generation.stop_softly()

    async def _wait_for_grace(self, milliseconds: int) -> None:
        journal = self.generation.journal
        text = f"Scheduling a soft-stop in {milliseconds} ms."
        self._console.notice(text)
        journal.say(_WARNING, text)
        await asyncio.sleep(milliseconds / 1000)
        text = "Grace period expired, proceeding with soft-stop now."
        self._console.notice(text)
        journal.say(_NOTICE, text)
