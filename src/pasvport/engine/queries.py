"""A worker answers the supervisor's questions (wire.Ask) without keeping a session waiting.

An answer is made in turns of the loop: some rows, or a moment's work, then the sessions have their turn. The asker
grants credit, one for each part of an answer, and more as it reads: what is on the wire is bounded by the questions
that are open, and an asker that reads no more costs nothing but the memory of where its answer stands. One that
neither reads nor cancels is forgotten after a while.

Questions are the functions of two tables: `session_rows.QUESTIONS` and `table_rows.QUESTIONS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from pasvport.bounds import visible
from pasvport.engine import session_rows, table_rows
from pasvport.engine.loop import Loop
from pasvport.engine.sights import Rows, Sight
from pasvport.engine.uplink import Uplink
from pasvport.wire import PORTION, Answered, Ask, encode_rows

QUESTIONS: Final[Mapping[str, Callable[..., Rows]]] = {**session_rows.QUESTIONS, **table_rows.QUESTIONS}

CREDIT: Final = 4
"""Parts of an answer that may be on their way unread."""
PART: Final = 200
"""Rows of a part."""
MOMENT: Final = 0.002
"""Seconds of work in one turn of the loop."""
_LOOK: Final = 16
"""Rows between two looks at the clock."""
_FULL: Final = 512 * 1024
"""Bytes that wait for the supervisor; with more, nothing is added."""
_BREATH: Final = 0.01
"""Seconds until another look whether the supervisor has read."""
_FORGET: Final = 60.0
"""Seconds without credit after which the asker is taken to be gone."""
_MOST: Final = 64
"""Questions that may be open at once."""


class Queries:
    """The open questions of one worker."""

    def __init__(self, sight: Sight, loop: Loop, uplink: Uplink, report: Callable[[Exception], None]) -> None:
        self.sight = sight
        self.loop = loop
        self.uplink = uplink
        self.report = report
        self.open: dict[int, Inquiry] = {}
        self.asked = 0

    def ask(self, message: Ask) -> None:
        """A new question, or a word on an open one: `more` (number) grants credit, `cancel` (number) ends it."""
        if message.what in ("more", "cancel"):
            inquiry = self.open.get(_whole(message.arguments[0]))
            if inquiry is not None:
                (inquiry.grant if message.what == "more" else inquiry.close)()
            return
        self.asked += 1
        question = QUESTIONS.get(message.what)
        if question is None:
            self.refuse(message.number, f"no question is called '{message.what}'")
        elif len(self.open) >= _MOST:
            self.refuse(message.number, "too many questions at once")
        else:
            self._begin(message, question)

    def _begin(self, message: Ask, question: Callable[..., Rows]) -> None:
        try:
            rows = question(self.sight, *message.arguments)
        except TypeError as error:
            self.refuse(message.number, f"internal error: {error}")
            return
        inquiry = self.open[message.number] = Inquiry(self, message.number, rows)
        inquiry.proceed()

    def refuse(self, number: int, why: str) -> None:
        """End an answer with what went wrong."""
        self.uplink.tell(Answered(number, b"", True, visible(why)))


class Inquiry:
    """One open question: `rows` gives a row, or None after a piece of work that found nothing to tell."""

    __slots__ = ("_credit", "_queries", "_queued", "_rows", "bucket", "number")

    def __init__(self, queries: Queries, number: int, rows: Iterator[tuple[object, ...] | None]) -> None:
        self._queries = queries
        self._rows = rows
        self._credit = CREDIT
        self._queued = False
        self.number = number
        self.bucket: int | None = None

    @property
    def is_open(self) -> bool:
        return self._queries.open.get(self.number) is self

    def grant(self) -> None:
        """The asker has read a part."""
        self._credit = min(CREDIT, self._credit + 1)
        self.proceed()

    def close(self) -> None:
        """Nobody wants the rest."""
        self._queries.loop.timers.cancel(self)
        self._queries.open.pop(self.number, None)

    def proceed(self) -> None:
        """Take a turn when the loop has one."""
        if self.is_open and not self._queued:
            self._queries.loop.timers.cancel(self)
            self._queued = True
            self._queries.loop.defer(self)

    def resume(self) -> None:
        """One turn."""
        self._queued = False
        if not self.is_open:
            return
        if not self._credit:
            self._sleep(_FORGET)
        elif self._queries.uplink.waiting > _FULL:
            self._sleep(_BREATH)
        else:
            self._work()

    def _work(self) -> None:
        rows, is_last = self._next_rows()
        if rows or is_last:
            self._credit -= 1
            self._queries.uplink.tell(Answered(self.number, encode_rows(rows), is_last))
        if is_last:
            self.close()
        else:
            self.proceed()

    def _next_rows(self) -> tuple[list[tuple[object, ...]], bool]:
        clock = self._queries.loop.clock
        enough = clock() + MOMENT
        rows: list[tuple[object, ...]] = []
        size = 0
        for count, row in enumerate(self._rows, 1):
            if row is not None:
                rows.append(row)
                size += sum(len(value) for value in row if isinstance(value, bytes | tuple))
            if len(rows) >= PART or size >= PORTION or (not count % _LOOK and clock() >= enough):
                return rows, False
        return rows, True

    def _sleep(self, seconds: float) -> None:
        loop = self._queries.loop
        loop.timers.file(self, loop.now + seconds, loop.now)

    def time_is_up(self, now: float) -> None:
        """The supervisor may have read by now; or nobody gave credit for so long that nobody is there."""
        if self._credit:
            self.proceed()
        else:
            self.close()

    def failed(self, error: Exception) -> None:
        """A bug in a question costs this answer."""
        self.close()
        self._queries.refuse(self.number, f"internal error: {error!r}")
        self._queries.report(error)


def _whole(value: object) -> int:
    return value if isinstance(value, int) else -1
