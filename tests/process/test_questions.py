"""Asking all workers: one answer, however many of them die, sleep or talk too much, and whether or not it is read."""

import asyncio
from dataclasses import dataclass, field

import pytest

from pasvport.control.questions import Questions
from pasvport.errors import WireError
from pasvport.wire import Answered, Ask, encode_rows, read_rows


@dataclass(eq=False)
class Deaf:
    """A worker that only notes what it is told; the test answers for it."""

    number: int
    heard: list = field(default_factory=list)

    def send(self, message):
        self.heard.append(message)

    def question(self):
        return next(each for each in self.heard if each.number)

    def words(self, what):
        return [each.arguments[0] for each in self.heard if each.what == what]


def crew(count=2):
    workers = [Deaf(number) for number in range(count)]
    return workers, Questions(
        lambda: workers, lambda _worker, _what, _arguments, rows: list(map(tuple, read_rows(rows, list)))
    )


async def collect(inquiry):
    async with inquiry:
        return [row async for row in inquiry]


async def asked(workers):
    while not all(worker.heard for worker in workers):
        await asyncio.sleep(0)


def test_rows_of_all_workers_come_with_whose_they_are():
    async def scene():
        workers, questions = crew()
        task = asyncio.create_task(questions.gather("sessions", 1, "x"))
        await asked(workers)
        for worker in workers:
            number = worker.question().number
            assert worker.question() == Ask(number, "sessions", (1, "x"))
            questions.answered(worker, Answered(number, encode_rows(((worker.number, "a"),)), False))
            questions.answered(worker, Answered(number, encode_rows(((worker.number, "b"),)), True))
        answer = await task
        assert sorted(answer.rows) == [(0, (0, "a")), (0, (0, "b")), (1, (1, "a")), (1, (1, "b"))]
        assert (answer.missing, answer.errors, len(questions)) == ((), (), 0)
        # Credit for the part that was not the last, and nothing more.
        assert [len(worker.words("more")) for worker in workers] == [1, 1]

    asyncio.run(scene())


def test_one_worker_alone_can_be_asked():
    async def scene():
        workers, questions = crew()
        task = asyncio.create_task(questions.gather("activity", worker=1))
        await asked(workers[1:2])
        assert not workers[0].heard
        questions.answered(workers[1], Answered(workers[1].question().number, encode_rows(((5,),)), True))
        assert (await task).plain() == [(5,)]
        assert (await questions.gather("activity", worker=2)).plain() == []

    asyncio.run(scene())


def test_a_worker_that_dies_while_it_answers_is_missing():
    async def scene():
        workers, questions = crew()
        task = asyncio.create_task(questions.gather("sessions"))
        await asked(workers)
        questions.answered(workers[0], Answered(workers[0].question().number, encode_rows(((1,),)), False))
        questions.ended(workers[0])
        questions.answered(workers[1], Answered(workers[1].question().number, encode_rows(((2,),)), True))
        answer = await task
        assert (answer.plain(), answer.missing, len(questions)) == ([(1,), (2,)], (0,), 0)

    asyncio.run(scene())


def test_a_worker_that_is_stuck_is_not_waited_for():
    async def scene():
        workers, questions = crew()
        task = asyncio.create_task(questions.gather("sessions", patience=0.05))
        await asked(workers)
        questions.answered(workers[1], Answered(workers[1].question().number, encode_rows(((2,),)), True))
        answer = await task
        assert (answer.plain(), answer.missing, len(questions)) == ([(2,)], (0,), 0)
        assert workers[0].words("cancel") == [workers[0].question().number]
        # What it says when it wakes up interests nobody any more.
        questions.answered(workers[0], Answered(workers[0].question().number, encode_rows(((1,),)), True))

    asyncio.run(scene())


def test_an_asker_that_goes_away_cancels():
    async def scene():
        workers, questions = crew()
        async with questions.ask("sessions") as inquiry:
            questions.answered(workers[0], Answered(workers[0].question().number, encode_rows(((1,),)), False))
            async for worker, row in inquiry:
                assert (worker, row) == (0, (1,))
                break
        assert [worker.words("cancel") for worker in workers] == [[worker.question().number] for worker in workers]
        assert not len(questions)
        task = asyncio.create_task(questions.gather("sessions"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not len(questions)

    asyncio.run(scene())


def test_errors_are_told_and_strangers_ignored():
    async def scene():
        workers, questions = crew()
        task = asyncio.create_task(questions.gather("nonsense"))
        await asked(workers)
        numbers = [worker.question().number for worker in workers]
        questions.answered(workers[0], Answered(numbers[1], encode_rows(((9,),)), True))
        questions.answered(workers[0], Answered(77, encode_rows(((9,),)), True))
        for worker, number in zip(workers, numbers, strict=True):
            questions.answered(worker, Answered(number, b"", True, "what?"))
        answer = await task
        assert (answer.plain(), answer.errors) == ([], ("worker 0: what?", "worker 1: what?"))

    asyncio.run(scene())


def test_a_worker_that_sends_more_than_it_was_granted_is_cut_off():
    async def scene():
        workers, questions = crew(1)
        task = asyncio.create_task(questions.gather("sessions"))
        await asked(workers)
        number = workers[0].question().number
        part = Answered(number, encode_rows(((1,),)), False)
        for _ in range(8):
            questions.answered(workers[0], part)
        with pytest.raises(WireError, match="unasked"):
            questions.answered(workers[0], part)
        answer = await task
        assert answer.missing == (0,)

    asyncio.run(scene())
