"""Asks the workers of a generation and makes one answer of theirs.

A worker sends some parts ahead and then waits for credit, which is given as the rows are used: nothing piles up here
when the asker is slow, and a dump costs no more memory than a few parts a worker. A worker that dies or is silent for
too long is reported as missing; the others' rows are there all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from types import TracebackType
from typing import NamedTuple, Protocol

from pasvport.errors import ResourceError, WireError
from pasvport.wire import Answered, Ask, Message

PATIENCE = 5.0
"""Seconds without a word from any worker after which those that still owe a part are given up."""
_MOST_AHEAD = 8
"""Parts that a worker may have sent unread. It is granted fewer; one that sends more is no sound worker."""
_MOST_HELD = 64 << 20
"""Bytes of parts that may wait here for those who asked, of all workers; what comes on top of it is not kept."""
_MOST_ROWS = 500_000
"""Rows that `gather` keeps."""

Row = tuple[object, ...]
Read = Callable[[int, str, tuple[object, ...], bytes], list[Row]]
"""(worker, question, its arguments, rows as they came) -> the rows. Raises WireError."""


class Asked(Protocol):
    """A worker, as far as asking goes."""

    @property
    def number(self) -> int: ...

    def send(self, message: Message) -> None: ...


class Part(NamedTuple):
    """What came of an answer at once. `size` is in bytes."""

    rows: Sequence[Row]
    last: bool
    error: str
    size: int


class Gathered(NamedTuple):
    """A whole answer: (worker, row) as they came, workers that owe theirs, what went wrong."""

    rows: list[tuple[int, Row]]
    missing: tuple[int, ...] = ()
    errors: tuple[str, ...] = ()

    def plain(self) -> list[Row]:
        """The rows alone."""
        return [row for _, row in self.rows]


class Questions:
    """`workers` gives those that live, `read` the rows of what they answer. Pass every Answered to `answered`, every
    worker that ended to `ended`."""

    def __init__(self, workers: Callable[[], Iterable[Asked]], read: Read) -> None:
        self._workers = workers
        self._read = read
        self._number = 0
        self.held = 0
        """Bytes of parts that nobody has taken yet."""
        self._open: dict[int, tuple[Inquiry, Asked]] = {}

    def __len__(self) -> int:
        """Parts of answers that are still owed."""
        return len(self._open)

    def ask(self, what: str, *arguments: object, worker: int | None = None, patience: float = PATIENCE) -> Inquiry:
        """Ask all workers, or one. Use the result in `async with`, which asks, and cancels what was not read.

        `what` is a question of engine.queries. A worker that still starts answers when it is ready, or is missing.
        """
        chosen = [each for each in self._workers() if worker in (None, each.number)]
        return Inquiry(self, what, arguments, chosen, patience)

    async def gather(
        self, what: str, *arguments: object, worker: int | None = None, patience: float = PATIENCE
    ) -> Gathered:
        """The whole answer. Raises ResourceError when it is larger than anybody should hold at once."""
        rows: list[tuple[int, Row]] = []
        async with self.ask(what, *arguments, worker=worker, patience=patience) as inquiry:
            async for row in inquiry:
                rows.append(row)
                if len(rows) > _MOST_ROWS:
                    raise ResourceError(f"more than {_MOST_ROWS} rows")
        return Gathered(rows, inquiry.missing, inquiry.errors)

    # --- for inquiries --------------------------------------------------------------------------------------------

    def begin(self, inquiry: Inquiry, worker: Asked, what: str, arguments: tuple[object, ...]) -> int:
        """Send the question to one worker; its number there."""
        self._number += 1
        self._open[self._number] = inquiry, worker
        worker.send(Ask(self._number, what, arguments))
        return self._number

    def close(self, number: int) -> Asked | None:
        """Expect nothing more of that number; the worker that would have sent it."""
        found = self._open.pop(number, None)
        return None if found is None else found[1]

    # --- from the workers -----------------------------------------------------------------------------------------

    def answered(self, worker: Asked, message: Answered) -> None:
        """A part has come; one that nobody expects any more is forgotten. Raises WireError for what no worker says."""
        inquiry, asked = self._open.get(message.number, (None, None))
        if inquiry is None or asked is not worker:
            return
        rows = self._read(worker.number, *inquiry.question, message.rows)
        if self.held > _MOST_HELD:
            inquiry.arrived(message.number, None)
        elif not inquiry.arrived(message.number, Part(rows, message.last, message.error, len(message.rows))):
            raise WireError(f"more than {_MOST_AHEAD} parts of an answer unasked")

    def ended(self, worker: Asked) -> None:
        """The worker is gone, and what it owes with it."""
        for number, (inquiry, asked) in list(self._open.items()):
            if asked is worker:
                inquiry.arrived(number, None)


class Inquiry:
    """One question and its answer: `async for worker, row in inquiry` within `async with inquiry`."""

    def __init__(
        self,
        questions: Questions,
        what: str,
        arguments: tuple[object, ...],
        workers: Sequence[Asked],
        patience: float,
    ) -> None:
        self._questions = questions
        self.question = what, arguments
        self._workers = workers
        self._patience = patience
        self._owed: dict[int, Asked] = {}
        self._ahead: dict[int, int] = {}
        self._parts: asyncio.Queue[tuple[int, Part | None]] = asyncio.Queue()
        self._missing: list[int] = []
        self._errors: list[str] = []

    @property
    def missing(self) -> tuple[int, ...]:
        """Workers whose part did not come whole; complete once the iteration is over."""
        return tuple(sorted(self._missing))

    @property
    def errors(self) -> tuple[str, ...]:
        """What workers said instead of an answer."""
        return tuple(self._errors)

    async def __aenter__(self) -> Inquiry:
        what, arguments = self.question
        for worker in self._workers:
            self._owed[self._questions.begin(self, worker, what, arguments)] = worker
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_up()
        while not self._parts.empty():
            self._let_go(self._parts.get_nowait()[1])

    def arrived(self, number: int, part: Part | None) -> bool:
        """For Questions: a part of the answer, or None: that worker tells no more. False when it is one too many."""
        self._ahead[number] = self._ahead.get(number, 0) + 1
        is_asked = self._ahead[number] <= _MOST_AHEAD
        if not is_asked:
            self._questions.close(number)
            part = None
        self._questions.held += part.size if part is not None else 0
        self._parts.put_nowait((number, part))
        return is_asked

    def _let_go(self, part: Part | None) -> None:
        self._questions.held -= part.size if part is not None else 0

    async def __aiter__(self) -> AsyncIterator[tuple[int, Row]]:
        while self._owed:
            try:
                async with asyncio.timeout(self._patience):
                    number, part = await self._parts.get()
            except TimeoutError:
                self._give_up()
                return
            self._let_go(part)
            worker = self._owed.get(number)
            if worker is None:
                continue
            for row in self._taken(number, worker, part):
                yield worker.number, row

    def _taken(self, number: int, worker: Asked, part: Part | None) -> Iterable[Row]:
        if part is None:
            self._finish(number)
            self._missing.append(worker.number)
            return ()
        self._ahead[number] -= 1
        if part.error:
            self._errors.append(f"worker {worker.number}: {part.error}")
        if part.last:
            self._finish(number)
        else:
            worker.send(Ask(0, "more", (number,)))
        return part.rows

    def _finish(self, number: int) -> None:
        self._owed.pop(number, None)
        self._questions.close(number)

    def _give_up(self) -> None:
        """Expect no more: whoever still owes something is told, and is missing."""
        for number, worker in list(self._owed.items()):
            self._finish(number)
            self._missing.append(worker.number)
            worker.send(Ask(0, "cancel", (number,)))
