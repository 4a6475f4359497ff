"""The workers as one body: started together, replaced one by one, told together, ended together."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterable

from pasvport.control.workers import Worker, describe
from pasvport.errors import ResourceError
from pasvport.wire import BootFailed, Drained, HardStop, Message, Ready, ShareEntry

BOOT = 30.0
"""Seconds a worker may take until it accepts."""
FAREWELL = 2.0
"""Seconds between HardStop and SIGKILL."""
_STEADY = 10.0
"""A worker that lived this long, in seconds, was no victim of a bad start."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 10.0

_LARGEST_BACKLOG = 4 << 20
"""Bytes that a worker may not have read before entries of others are kept from it."""

Spawn = Callable[[int, Callable[[Worker, Message], None], Callable[[Worker, int], None]], Worker]


class Crew:
    """`size` workers made by `spawn(number, received, left)`, numbered from 0.

    `message` gets what workers say, except what is only about their life; `ended` hears of each worker that ended after
    the start, with its status, and (if it was not asked to leave) before another takes its place.
    """

    def __init__(
        self,
        size: int,
        spawn: Spawn,
        *,
        message: Callable[[Worker, Message], None],
        ended: Callable[[Worker, int], None],
    ) -> None:
        self._size = size
        self._spawn = spawn
        self._message = message
        self._ended = ended
        self._workers: dict[int, Worker] = {}
        self._booting: dict[int, asyncio.Future[None]] = {}
        self._excuses: dict[int, str] = {}
        self._short_lives: dict[int, int] = {}
        self._pauses: dict[int, asyncio.TimerHandle] = {}
        self._absent: dict[int, float] = {}
        self._drained: set[int] = set()
        self._leaving = False
        self._one_by_one = False
        self._changed = asyncio.Event()

    # --- starting -------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start all; returns when all accept. Raises ResourceError with the first failure's own words."""
        loop = asyncio.get_running_loop()
        try:
            for number in range(self._size):
                self._workers[number] = self._spawn(number, self._receive, self._left)
                self._booting[number] = loop.create_future()
            async with asyncio.timeout(BOOT):
                await asyncio.gather(*self._booting.values())
        except TimeoutError:
            raise ResourceError(f"workers did not get ready within {BOOT:.0f} seconds") from None
        except OSError as error:
            raise ResourceError(f"cannot start a worker: {error.strerror}") from error
        finally:
            for future in self._booting.values():
                future.cancel()
            self._booting.clear()

    def _receive(self, worker: Worker, message: Message) -> None:
        if isinstance(message, Ready):
            self._ready(worker)
        elif isinstance(message, BootFailed):
            self._excuses[worker.number] = message.text
        elif isinstance(message, Drained):
            self._drained.add(worker.number)
            if self._one_by_one:
                worker.send(HardStop())
            self._changed.set()
        else:
            self._message(worker, message)

    def _ready(self, worker: Worker) -> None:
        self._absent.pop(worker.number, None)
        future = self._booting.get(worker.number)
        if future is not None and not future.done():
            future.set_result(None)

    def condemn(self, worker: Worker, why: str) -> None:
        """Kill a worker that cannot be helped; `why` is its excuse."""
        self._excuses[worker.number] = why
        worker.kill(signal.SIGKILL)

    # --- losing and replacing -------------------------------------------------------------------------------------

    def excuse(self, worker: Worker) -> str:
        """Why the worker had to be killed, or, in its own words, could not start; "" when neither is known."""
        if worker.fault:
            return f"killed for what it told the supervisor ({worker.fault})"
        return self._excuses.get(worker.number, "")

    def _left(self, worker: Worker, status: int) -> None:
        del self._workers[worker.number]
        future = self._booting.get(worker.number)
        if future is not None and not future.done():
            text = self.excuse(worker) or f"worker {worker.number} exited with {describe(status)} before it was ready"
            future.set_exception(ResourceError(text))
        elif not self._booting:
            self._ended(worker, status)
            if not self._leaving:
                self._replace(worker)
        self._excuses.pop(worker.number, None)
        self._changed.set()

    def _replace(self, worker: Worker) -> None:
        """At once the first time; after ever longer pauses for one that keeps dying young."""
        number = worker.number
        self._absent.setdefault(number, asyncio.get_running_loop().time())
        short = 0 if worker.age > _STEADY else self._short_lives.get(number, 0) + 1
        self._short_lives[number] = short
        pause = 0.0 if short <= 1 else min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (short - 2))
        self._pauses[number] = asyncio.get_running_loop().call_later(pause, self._restart, number)

    def _restart(self, number: int) -> None:
        self._pauses.pop(number, None)
        if self._leaving:
            return
        loop = asyncio.get_running_loop()
        try:
            worker = self._spawn(number, self._receive, self._left)
        except OSError:
            # Out of processes, memory or descriptors: others serve on, and this one's turn comes.
            self._pauses[number] = loop.call_later(_LONGEST_PAUSE, self._restart, number)
            raise
        self._workers[number] = worker
        loop.call_later(BOOT, self._check_boot, worker)

    def _check_boot(self, worker: Worker) -> None:
        if self._workers.get(worker.number) is worker and not worker.is_ready:
            worker.kill(signal.SIGKILL)

    # --- telling --------------------------------------------------------------------------------------------------

    @property
    def is_leaving(self) -> bool:
        """Whether workers end because they shall."""
        return self._leaving

    @property
    def absence(self) -> float:
        """Seconds since when a worker has been missing that is to be replaced, of the one longest gone; 0: none is."""
        return asyncio.get_running_loop().time() - min(self._absent.values()) if self._absent else 0.0

    @property
    def members(self) -> list[Worker]:
        """The workers that live."""
        return list(self._workers.values())

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that live."""
        return [worker.pid for worker in self._workers.values()]

    def tell(self, message: Message, *, besides: Worker | None = None) -> None:
        """Send a message to every worker, or to all `besides` one."""
        for worker in self._workers.values():
            if worker is not besides:
                worker.send(message)

    # --- ending ---------------------------------------------------------------------------------------------------

    def dismiss(self, *, one_by_one: bool = False) -> None:
        """Whoever leaves from now on is not replaced. `one_by_one`: each is to leave after its last session."""
        self._leaving = True
        self._one_by_one |= one_by_one
        for pause in self._pauses.values():
            pause.cancel()
        self._pauses.clear()
        self._changed.set()

    async def drained(self) -> None:
        """Wait until every worker that lives has said that its last session ended."""
        while self._workers.keys() - self._drained:
            await self._next_change()

    async def end(self, farewell: float = FAREWELL) -> bool:
        """Have all workers exit, by force after `farewell` seconds. False when force was needed."""
        self.dismiss()
        self.tell(HardStop())
        for worker in self._workers.values():
            if not worker.is_ready:
                worker.kill(signal.SIGKILL)
        try:
            async with asyncio.timeout(farewell):
                await self._all_gone()
        except TimeoutError:
            for worker in self._workers.values():
                worker.kill(signal.SIGKILL)
            await self._all_gone()
            return False
        return True

    async def _all_gone(self) -> None:
        while self._workers:
            await self._next_change()

    async def _next_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()


def share(workers: Iterable[Worker], entry: ShareEntry, *, besides: Worker | None = None) -> None:
    """Tell what one worker learnt to others. One that does not read as fast as it is told misses some: what another
    worker tells must not cost it its life, and an entry in use is told again."""
    for worker in workers:
        if worker is not besides and worker.backlog <= _LARGEST_BACKLOG:
            worker.send(entry)
