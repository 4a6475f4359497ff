"""A generation: one configuration being served, with the workers, the truth about servers and the counters it has.

The supervisor has one that accepts and, after reloads, former ones that still finish their sessions. Nothing is shared
between two of them but the listening sockets that both name.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Callable, Iterable
from typing import Any

from pasvport import slots, sockets
from pasvport.bounds import visible
from pasvport.control import report, statement
from pasvport.control.allowances import Allowances
from pasvport.control.console import Console
from pasvport.control.crew import Crew, share
from pasvport.control.doors import Doors
from pasvport.control.features import Features
from pasvport.control.idleness import Idleness
from pasvport.control.journal import Journal
from pasvport.control.login_limits import LoginLimits
from pasvport.control.manner import Manner, Successor
from pasvport.control.needed import needed
from pasvport.control.openings import capability
from pasvport.control.passive_ways import PassiveWays
from pasvport.control.ports import Ports
from pasvport.control.prober import Prober
from pasvport.control.questions import Questions
from pasvport.control.rates import Rates
from pasvport.control.remarks import Remarks
from pasvport.control.roster import Position, Roster
from pasvport.control.tally import Tally
from pasvport.control.validation import Validator
from pasvport.control.workers import Worker, describe
from pasvport.errors import ResourceError
from pasvport.model import Config, Proxy
from pasvport.wire import (
    Answered,
    CloseListeners,
    EntriesTold,
    EntryLearnt,
    FeaturesKnown,
    FeaturesLearnt,
    LoginAsked,
    LoginCounted,
    LoginFailed,
    LoginFinished,
    Message,
    Notice,
    ObservedErrors,
    PassiveLearnt,
    PauseListeners,
    ServerChanged,
    ShareEntry,
    SoftStop,
    Start,
    TellEntries,
    encode,
)

_ALERT, _ERROR, _WARNING = 1, 3, 4
_LOOKOUT = 0.25
"""Seconds between looks for a successor during a soft stop."""
_FAREWELL_AFTER_HARD_STOP = 1.0
_HANDSHAKES = 0.2
"""Seconds between steering clients away from a socket and closing it."""
_serials = itertools.count(1)


class Generation:
    """`config` has its limits filled in and no host names; `ports` are bound already, and closed by `close`.

    Create it inside the running loop.
    """

    def __init__(self, config: Config, ports: Ports, console: Console, manner: Manner) -> None:
        self.config = config
        self.settings = config.settings
        self.ports = ports
        self.started = time.time()
        """Seconds since the epoch."""
        self.serial = next(_serials)
        """Which one it is; several may begin in one second, and an amendment keeps `started`."""
        self.is_paused = False
        self.orders: dict[object, Message] = {}
        self.is_held = True
        """Workers that start now are not to accept yet."""
        self.successor: Successor | None = None
        """Who serves new clients instead, once this is a former generation."""
        self.followers: list[Callable[[ServerChanged], None]] = []
        """Hear, after the workers, of every change of a server."""
        self._console = console
        self.manner = manner
        self._loop = asyncio.get_running_loop()
        self.tally = Tally(config, self.settings.nbthread)
        self.figures = report.Figures(self.tally)
        self.rates = Rates(self.tally, time.monotonic)
        self.doors = Doors(config)
        # Such a limit needs no slots: each worker pauses by itself when it has no descriptor left.
        process_maxconn = 0 if self.settings.maxconn_derived else self.settings.maxconn
        self.slots = slots.create(config, process_maxconn=process_maxconn)
        self.allowances = Allowances(self.slots, slots.limits(config, process_maxconn=process_maxconn))
        self.journal = self._open_journal()
        changed, said, crowd = self._server_changed, self._server_said, self.figures.crowd
        self.roster = Roster(config, now=time.monotonic, on_change=changed, say=said, counts=crowd)
        self.features = Features(config)
        self.passive = PassiveWays(config)
        self.prober = Prober(config, self.roster, on_features=self._features_checked)
        self.crew = Crew(self.settings.nbthread, self._spawn, message=self._receive, ended=self._worker_ended)
        self._for_workers = needed(config)
        self._validator = Validator(config)
        self.logins = LoginLimits(config, self._loop.time)
        self.questions = Questions(lambda: self.crew.members, self._validator.rows)
        self._remarks = Remarks(self._loop.time, self._say_remark)
        self._told: dict[int, asyncio.Future[EntriesTold]] = {}
        self.idleness = Idleness(lambda: self.crew.pids)

    def _open_journal(self) -> Journal:
        return Journal(
            self.config,
            process_id=os.getpid(),
            warn=self._console.warn,
            # Not the figure shown, which goes on from the generation before, whose journal has said that part.
            dropped_elsewhere=lambda: self.tally.total_at(self.tally.layout.process.slot("dropped_logs")),
        )

    # --- life -----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Returns when every worker is ready; they accept once told by `open`. Raises ResourceError when one fails."""
        self.journal.look()
        await self.crew.start()
        if self.manner.master_worker:
            for pid in self.crew.pids:
                self._console.notice(f"New worker ({pid}) forked")
            self._console.notice("Loading success.")

    def open(self) -> None:
        """Accept, and check servers. Raises ResourceError when a port cannot be listened on; nothing accepts then."""
        self.ports.open(self.config)
        if self.ports.complaints:
            raise ResourceError("\n".join(self.ports.complaints))
        for remark in self.ports.remarks:
            self._console.notice(remark)
        self.is_held = False
        self.crew.tell(PauseListeners(False))
        self.rates.start()
        self.prober.start()

    async def close(self) -> None:
        """End what still runs, and give everything back."""
        self.rates.close()
        self.allowances.close()
        await self.prober.stop()
        await self.crew.end()
        await self.journal.close()
        self.ports.close()
        for descriptor in self.slots.values():
            os.close(descriptor)
        self.slots.clear()
        self.tally.close()

    # --- workers --------------------------------------------------------------------------------------------------

    def _spawn(
        self, number: int, received: Callable[[Worker, Message], None], left: Callable[[Worker, int], None]
    ) -> Worker:
        ours, theirs = sockets.log_channel()
        try:
            with theirs:
                start = self._briefing(number, theirs.fileno())
                descriptors = {listener.descriptor for listener in start.listeners}
                inherited = [*descriptors, *start.counters, start.logs, *self.slots.values()]
                worker = Worker(
                    number,
                    inherited,
                    received=received,
                    left=left,
                    complained=self._complained,
                    launcher=self.manner.launcher,
                )
        except OSError:
            ours.close()
            raise
        self.journal.attach(ours)
        worker.start(start)
        for known in self.features.known():
            worker.send(known)
        for ways in self.passive.known():
            worker.send(ways)
        for failed in self.logins.known():
            worker.send(failed)
        if self.is_paused:
            worker.send(PauseListeners(True))
        return worker

    def _briefing(self, number: int, logs: int) -> Start:
        settings = self.settings
        return Start(
            config=self._for_workers,
            worker=number,
            workers=settings.nbthread,
            listeners=self.ports.listeners(number),
            counters=self.tally.shown_to(number),
            logs=logs,
            slots=tuple(self.slots.items()),
            states=self.roster.states(),
            process_id=os.getpid(),
            uid=settings.uid,
            gid=settings.gid,
            chroot=settings.chroot,
            hold=self.is_held,
            mixed=self.manner.mixed,
            orders=tuple(map(encode, self.orders.values())),
        )

    def _receive(self, worker: Worker, message: Message) -> None:
        if isinstance(message, Answered):
            self.questions.answered(worker, message)
            return
        self._validator.check(message)
        self._console.trace(_worded, worker.number, message)
        if isinstance(message, ObservedErrors):
            self.roster.observed(message)
        elif isinstance(message, EntryLearnt):
            self._share(worker, message)
        elif isinstance(message, EntriesTold):
            self._hear_entries(worker, message)
        elif isinstance(message, PassiveLearnt):
            self.crew.tell(self.passive.learnt(message), besides=worker)
        elif isinstance(message, FeaturesLearnt):
            self._tell_features(self.features.learnt(message))
        elif isinstance(message, LoginAsked | LoginFailed | LoginFinished | LoginCounted):
            failed = self.logins.receive(worker, message)
            if failed and self.successor is not None and isinstance(message, LoginCounted | LoginFailed):
                self.successor.learn_failure(message)
        elif isinstance(message, Notice):
            self._remarks.say(worker.number, message.level, message.text)

    def _share(self, worker: Worker, message: EntryLearnt) -> None:
        if self.successor is None:
            share(self.crew.members, ShareEntry(message.table, message.key, message.server_id), besides=worker)
        else:
            self.successor.learn(worker, message)

    async def entries(self, worker: Worker, question: TellEntries) -> EntriesTold:
        """Ask one worker for stick entries. One that died has none left."""
        future: asyncio.Future[EntriesTold] = self._loop.create_future()
        self._told[worker.pid] = future
        worker.send(question)
        try:
            return await future
        finally:
            del self._told[worker.pid]

    def _hear_entries(self, worker: Worker, message: EntriesTold) -> None:
        future = self._told.get(worker.pid)
        if future is not None and not future.done():
            future.set_result(message)

    def _complained(self, worker: Worker, line: str) -> None:
        self._remarks.say(worker.number, _ERROR, f"worker {worker.number} ({worker.pid}): {line}")

    def _say_remark(self, level: int, text: str) -> None:
        self._console.at_level(level, text)
        self.journal.say(level, text)

    def _worker_ended(self, worker: Worker, status: int) -> None:
        self.questions.ended(worker)
        self.logins.ended(worker)
        self._hear_entries(worker, EntriesTold((), last=True))
        lost = self._bury(worker)
        text = (
            f"{'Current' if self.successor is None else 'Former'} worker ({worker.pid}) exited with {describe(status)}"
        )
        if self.crew.is_leaving and not status:
            if self.manner.master_worker:
                self._console.warn(text)
            return
        excuse = self.crew.excuse(worker)
        text += f"{excuse and f', {excuse}'}: {lost} session{'' if lost == 1 else 's'} lost."
        self.alert(text if self.crew.is_leaving else f"{text} Starting another.")

    @property
    def watched(self) -> list[Worker]:
        """Workers that have begun to accept."""
        return [worker for worker in self.crew.members if worker.is_ready]

    def heartbeat(self, worker: Worker) -> int:
        """How many seconds its event loop has counted."""
        return self.tally.at(worker.number, self.tally.layout.process, "heartbeat")

    def condemn(self, worker: Worker, why: str) -> None:
        """Kill a worker that cannot be helped; `why` is told with its end."""
        self.crew.condemn(worker, why)

    def _bury(self, worker: Worker) -> int:
        """Take back what a dead worker had; how many sessions that was. Its own word for it is not believed too far."""
        held = slots.held(self.tally.column(worker.number), self.tally.layout, self.config)
        lost = self.tally.bury(worker.number)
        in_use = slots.held(self.tally.sums(), self.tally.layout, self.config)
        for key in self.slots:
            if not self.allowances.bury(key, held.get(key, 0), in_use.get(key, 0)):
                self.alert(f"The limit '{key}' is void: a worker gave more slots than there are. A reload restores it.")
        if not self.is_paused and self.successor is None:
            self.ports.revive()
        return lost

    # --- words ----------------------------------------------------------------------------------------------------

    def alert(self, text: str) -> None:
        """Something that takes service away: to stderr and the global logs."""
        self._console.alert(text)
        self.journal.say(_ALERT, text)

    def say_all(self, lines: Iterable[tuple[Proxy | None, str]]) -> None:
        """Warnings, each to stderr and to the logs of its proxy (None: those of the global section)."""
        for proxy, text in lines:
            self._console.warn(text)
            if proxy is None:
                self.journal.say(_WARNING, text)
            else:
                self.journal.say(_WARNING, text, proxy.logging.targets, tag=proxy.logging.tag)

    def order(self, about: object, message: Message) -> None:
        """Tell every worker, and those that start later; what was ordered `about` the same before counts no more."""
        self.orders[about] = message
        self.crew.tell(message)

    # --- servers --------------------------------------------------------------------------------------------------

    def _server_changed(self, change: ServerChanged) -> None:
        self.crew.tell(change)
        for follower in self.followers:
            follower(change)

    def _features_checked(self, position: Position, features: tuple[bytes, ...] | None) -> None:
        self._tell_features(self.features.listed(position, features))

    def _tell_features(self, news: FeaturesKnown | None) -> None:
        if news is not None:
            self.crew.tell(news)

    def _server_said(self, proxy: Proxy, level: int, text: str) -> None:
        label, shown = statement.on_console(proxy, level, text)
        if label == "ALERT":
            self._console.alert(shown)
        else:
            self._console.warn(shown)
        self.journal.say(level, text, proxy.logging.targets, tag=proxy.logging.tag)

    # --- pausing --------------------------------------------------------------------------------------------------

    def pause(self) -> None:
        """SIGTTOU: refuse connections and let others bind the ports, until resume()."""
        self.is_paused = True
        self.crew.tell(PauseListeners(True))
        self.ports.pause()
        self.say_all(report.paused(self.config, "Paused"))

    def resume(self) -> None:
        """SIGTTIN: listen again; where a port is somebody else's by now, stay paused."""
        lost = self.ports.resume()
        if lost:
            # All or nothing, as HAProxy does it: half a service would be hard to notice.
            self.ports.pause()
            for group in lost:
                proxy = self.config.proxies[group.proxy]
                self._console.warn(f"Port {group.port} busy while trying to enable {capability(proxy)} {proxy.name}.")
            return
        self.is_paused = False
        self.crew.tell(PauseListeners(False))
        self.say_all(report.paused(self.config, "Resumed"))

    # --- the end --------------------------------------------------------------------------------------------------

    def step_down(self, successor: Successor, *, quietly: bool = False) -> None:
        """The successor accepts: accept no more. What listens where it does not is served to the end of its queue.

        `quietly`: nobody needs to know.
        """
        self.successor = successor
        self.crew.dismiss(one_by_one=True)
        self.crew.tell(CloseListeners(self.ports.cede(successor.ports)))
        self.crew.tell(SoftStop(reload=True))
        if not quietly:
            self.say_all(report.stopped(self.config, self.figures))

    async def retire(self) -> None:
        """After `step_down`: returns when the last session ended, or `hard-stop-after` is over."""
        self.rates.close()
        await self.prober.stop()
        await self._drain()

    async def stop_softly(self) -> None:
        """No new client; returns when the last session ended, or `hard-stop-after` is over.

        A client with a session here may still bring connections, until another process serves the ports.
        """
        self.crew.dismiss()
        is_taken = self.ports.is_taken
        if self.is_paused:
            self._give_ports_up()
        elif is_taken:
            if self.ports.narrow():
                # Handshakes that are under way end at sockets which nobody will have soon.
                await asyncio.sleep(_HANDSHAKES)
            self._give_ports_up()
        self._yield_to_successor()
        # Where another process serves, sessions are in nobody's way.
        self.crew.tell(SoftStop(reload=is_taken))
        self.say_all(report.stopped(self.config, self.figures))
        lookout = self._loop.create_task(self._watch_for_successor(), name="lookout")
        try:
            await self._drain()
        finally:
            await cancel(lookout)

    async def _drain(self) -> None:
        limit = self.settings.hard_stop_after
        try:
            async with asyncio.timeout(None if limit is None else limit / 1000):
                await self.crew.drained()
        except TimeoutError:
            await self._stop_hard()

    async def _stop_hard(self) -> None:
        self.say_all([(None, "soft-stop running for too long, performing a hard-stop.")])
        self.say_all(report.hard_stopped(self.config, self.figures))
        if not await self.crew.end(_FAREWELL_AFTER_HARD_STOP):
            self.say_all([(None, "Some tasks resisted to hard-stop, exiting now.")])

    async def _watch_for_successor(self) -> None:
        while self.ports.groups:
            await asyncio.sleep(_LOOKOUT)
            self._yield_to_successor()

    def _yield_to_successor(self) -> None:
        if self.ports.served_elsewhere():
            self._give_ports_up()

    def _give_ports_up(self) -> None:
        # Ours first: who still connects meets a worker's socket, and the worker serves its queue before it closes.
        self.ports.close()
        self.crew.tell(CloseListeners())


def _worded(worker: int, message: Message) -> str:
    return f"worker {worker}: {visible(str(message))}"


async def cancel(*tasks: asyncio.Task[Any] | None) -> None:
    """End tasks whose outcome interests nobody any more."""
    given = [task for task in tasks if task is not None]
    for task in given:
        task.cancel()
    await asyncio.gather(*given, return_exceptions=True)
