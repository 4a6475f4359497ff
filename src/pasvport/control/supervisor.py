"""The supervisor: holds the listening sockets and the truth about servers, keeps the workers going, obeys signals.

It never touches a client's bytes. Signal handlers only put a number into a queue; one task takes them out, one at a
time. Source: HAProxy management guide, section 4 (signals), observed on 2.6.12.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pasvport import slots, sockets
from pasvport.control import report, statement
from pasvport.control.console import Console
from pasvport.control.crew import Crew
from pasvport.control.journal import Journal
from pasvport.control.ports import Ports, capability
from pasvport.control.prober import Prober
from pasvport.control.roster import Roster
from pasvport.control.tally import Tally
from pasvport.control.workers import WORKER_MODULE, Worker, describe
from pasvport.model import Config, Proxy
from pasvport.wire import (
    CloseListeners,
    EntryLearnt,
    Message,
    Notice,
    ObservedErrors,
    PauseListeners,
    ServerChanged,
    ShareEntry,
    SoftStop,
    Start,
)

_ALERT, _ERROR, _WARNING, _NOTICE = 1, 3, 4, 5
_LOOKOUT = 0.25
"""Seconds between looks for a successor during a soft stop."""
_FAREWELL_AFTER_HARD_STOP = 1.0
_SIGNALS = (
    signal.SIGUSR1,
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGUSR2,
    signal.SIGTTOU,
    signal.SIGTTIN,
)


@dataclass(frozen=True, slots=True)
class Orders:
    """What the command line decided. `serving` is called once, when every worker accepts."""

    master_worker: bool = False
    serving: Callable[[], None] = lambda: None
    worker_module: str = WORKER_MODULE


class Supervisor:
    """One configuration, served. `config` has its limits filled in and no host names; `ports` are bound already.

    Create it inside the running loop. `run` closes everything, `ports` too.
    """

    def __init__(self, config: Config, ports: Ports, console: Console, orders: Orders) -> None:
        self._config = config
        self._settings = config.settings
        self._ports = ports
        self._console = console
        self._orders = orders
        self._loop = asyncio.get_running_loop()
        self._signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
        self._ending: asyncio.Future[int] = self._loop.create_future()
        self._soft_stop: asyncio.Task[None] | None = None
        self._is_paused = False
        self._tally = Tally(config, self._settings.nbthread)
        self._figures = report.Figures(self._tally)
        # A limit derived from descriptors needs no slots: each worker pauses by itself when it has none left.
        process_maxconn = 0 if self._settings.maxconn_derived else self._settings.maxconn
        self._slots = slots.create(config, process_maxconn=process_maxconn)
        self._journal = Journal(
            config,
            process_id=os.getpid(),
            warn=console.warn,
            dropped_elsewhere=lambda: self._figures.process("dropped_logs"),
        )
        self._roster = Roster(
            config,
            now=time.monotonic,
            on_change=self._server_changed,
            say=self._server_said,
            counts=self._figures.crowd,
        )
        self._prober = Prober(config, self._roster)
        self._crew = Crew(self._settings.nbthread, self._spawn, message=self._receive, ended=self._worker_ended)

    # --- life -----------------------------------------------------------------------------------------------------

    async def run(self) -> int:
        """Serve until told to stop; the exit status, negative for the signal to die by.

        Raises ResourceError when a worker cannot start.
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
            await _cancel(obeying, starting, self._soft_stop)
            await self._close()

    async def _start(self) -> None:
        for remark in self._ports.remarks:
            self._console.notice(remark)
        await self._crew.start()
        if self._orders.master_worker:
            for pid in self._crew.pids:
                self._console.notice(f"New worker ({pid}) forked")
            self._console.notice("Loading success.")
        self._prober.start()
        self._orders.serving()
        self._console.started()

    async def _close(self) -> None:
        for number in _SIGNALS:
            self._loop.remove_signal_handler(number)
        await self._prober.stop()
        await self._crew.end()
        await self._journal.close()
        self._ports.close()
        for descriptor in self._slots.values():
            os.close(descriptor)
        self._tally.close()

    def _went_wrong(self, _loop: asyncio.AbstractEventLoop, what: dict[str, Any]) -> None:
        """Something was raised where nobody waits for it: one event is lost, the rest goes on."""
        error = what.get("exception")
        self._alert(f"internal error: {what['message']}{'' if error is None else f' ({error!r})'}")

    # --- workers --------------------------------------------------------------------------------------------------

    def _spawn(
        self, number: int, received: Callable[[Worker, Message], None], left: Callable[[Worker, int], None]
    ) -> Worker:
        ours, theirs = sockets.log_channel()
        try:
            with theirs:
                start = self._briefing(number, theirs.fileno())
                descriptors = {listener.descriptor for listener in start.listeners}
                inherited = [*descriptors, start.counters, start.logs, *self._slots.values()]
                worker = Worker(
                    number,
                    inherited,
                    received=received,
                    left=left,
                    complained=self._complained,
                    module=self._orders.worker_module,
                )
        except OSError:
            ours.close()
            raise
        self._journal.attach(ours)
        worker.start(start)
        if self._is_paused:
            worker.send(PauseListeners(True))
        return worker

    def _briefing(self, number: int, logs: int) -> Start:
        settings = self._settings
        return Start(
            config=self._config,
            worker=number,
            workers=settings.nbthread,
            listeners=self._ports.listeners(number),
            counters=self._tally.descriptor,
            logs=logs,
            slots=tuple(self._slots.items()),
            states=self._roster.states(),
            process_id=os.getpid(),
            uid=settings.uid,
            gid=settings.gid,
            chroot=settings.chroot,
        )

    def _receive(self, worker: Worker, message: Message) -> None:
        self._console.trace(f"worker {worker.number}: {message}")
        if isinstance(message, ObservedErrors):
            self._roster.observed(message)
        elif isinstance(message, EntryLearnt):
            self._crew.tell(ShareEntry(message.table, message.key, message.server_id), besides=worker)
        elif isinstance(message, Notice):
            self._console.at_level(message.level, message.text)
            self._journal.say(message.level, message.text)

    def _complained(self, worker: Worker, line: str) -> None:
        text = f"worker {worker.number} ({worker.pid}): {line}"
        self._console.alert(text)
        self._journal.say(_ERROR, text)

    def _worker_ended(self, worker: Worker, status: int) -> None:
        held = slots.held(self._tally.column(worker.number), self._tally.layout, self._config)
        for key in held.keys() & self._slots.keys():
            slots.refund(self._slots[key], held[key])
        lost = self._tally.bury(worker.number)
        text = f"Current worker ({worker.pid}) exited with {describe(status)}"
        if self._crew.is_leaving and not status:
            if self._orders.master_worker:
                self._console.warn(text)
            return
        excuse = self._crew.excuse(worker)
        text += f"{excuse and f', {excuse}'}: {lost} session{'' if lost == 1 else 's'} lost."
        self._alert(text if self._crew.is_leaving else f"{text} Starting another.")

    def _alert(self, text: str) -> None:
        self._console.alert(text)
        self._journal.say(_ALERT, text)

    # --- servers --------------------------------------------------------------------------------------------------

    def _server_changed(self, change: ServerChanged) -> None:
        self._crew.tell(change)

    def _server_said(self, proxy: Proxy, level: int, text: str) -> None:
        label, shown = statement.on_console(proxy, level, text)
        if label == "ALERT":
            self._console.alert(shown)
        else:
            self._console.warn(shown)
        self._journal.say(level, text, proxy.logging.targets, tag=proxy.logging.tag)

    def _say_all(self, lines: Iterable[tuple[Proxy | None, str]]) -> None:
        """Warnings, each to stderr and to the logs of its proxy (None: those of the global section)."""
        for proxy, text in lines:
            self._console.warn(text)
            if proxy is None:
                self._journal.say(_WARNING, text)
            else:
                self._journal.say(_WARNING, text, proxy.logging.targets, tag=proxy.logging.tag)

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
                self._alert(f"internal error: {error!r}")

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
        self._say_all(report.dump(self._config, self._roster, self._figures))

    def _on_reload(self, number: signal.Signals) -> None:
        if self._orders.master_worker:
            text = f"{number.name} received: reloading is not supported yet, the configuration in force stays."
            self._console.warn(text)
            self._journal.say(_WARNING, text)

    def _on_pause(self, _number: signal.Signals) -> None:
        if self._is_paused or self._soft_stop is not None:
            return
        self._is_paused = True
        self._crew.tell(PauseListeners(True))
        self._ports.pause()
        self._say_all(report.paused(self._config, "Paused"))

    def _on_resume(self, _number: signal.Signals) -> None:
        if not self._is_paused or self._soft_stop is not None:
            return
        lost = self._ports.resume()
        if lost:
            # All or nothing, as HAProxy does it: half a service would be hard to notice.
            self._ports.pause()
            for group in lost:
                proxy = self._config.proxies[group.proxy]
                self._console.warn(f"Port {group.port} busy while trying to enable {capability(proxy)} {proxy.name}.")
            return
        self._is_paused = False
        self._crew.tell(PauseListeners(False))
        self._say_all(report.paused(self._config, "Resumed"))

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
        if self._settings.grace:
            await self._wait_for_grace(self._settings.grace)
        self._crew.dismiss()
        if self._is_paused:
            self._give_ports_up()
        self._yield_to_successor()
        self._crew.tell(SoftStop())
        self._say_all(report.stopped(self._config, self._figures))
        lookout = self._loop.create_task(self._watch_for_successor(), name="lookout")
        limit = self._settings.hard_stop_after
        try:
            async with asyncio.timeout(None if limit is None else limit / 1000):
                await self._crew.drained()
        except TimeoutError:
            await self._stop_hard()
        finally:
            await _cancel(lookout)

    async def _wait_for_grace(self, milliseconds: int) -> None:
        text = f"Scheduling a soft-stop in {milliseconds} ms."
        self._console.notice(text)
        self._journal.say(_WARNING, text)
        await asyncio.sleep(milliseconds / 1000)
        text = "Grace period expired, proceeding with soft-stop now."
        self._console.notice(text)
        self._journal.say(_NOTICE, text)

    async def _stop_hard(self) -> None:
        self._say_all([(None, "soft-stop running for too long, performing a hard-stop.")])
        self._say_all(report.hard_stopped(self._config, self._figures))
        if not await self._crew.end(_FAREWELL_AFTER_HARD_STOP):
            self._say_all([(None, "Some tasks resisted to hard-stop, exiting now.")])

    async def _watch_for_successor(self) -> None:
        while self._ports.groups:
            await asyncio.sleep(_LOOKOUT)
            self._yield_to_successor()

    def _yield_to_successor(self) -> None:
        if self._ports.served_elsewhere():
            self._give_ports_up()

    def _give_ports_up(self) -> None:
        # Ours first: who still connects meets a worker's socket, and the worker serves its queue before it closes.
        self._ports.close()
        self._crew.tell(CloseListeners())


async def _cancel(*tasks: asyncio.Task[None] | None) -> None:
    """End tasks whose outcome interests nobody any more."""
    given = [task for task in tasks if task is not None]
    for task in given:
        task.cancel()
    await asyncio.gather(*given, return_exceptions=True)
