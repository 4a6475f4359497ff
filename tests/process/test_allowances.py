"""Connection slots that become more or fewer while some are held."""

from __future__ import annotations

import asyncio
import os

import pytest

from pasvport import slots
from pasvport.control.allowances import Allowances

KEY = "frontend/0"


@pytest.fixture
def descriptor():
    fd = os.eventfd(3, os.EFD_SEMAPHORE | os.EFD_NONBLOCK)
    yield fd
    os.close(fd)


def free(descriptor):
    """How many slots are free; they stay so."""
    count = 0
    while slots.take(descriptor):
        count += 1
    if count:
        slots.give(descriptor, count)
    return count


def run(descriptor, body):
    async def main():
        allowances = Allowances({KEY: descriptor}, {KEY: 3})
        try:
            await body(allowances)
        finally:
            allowances.close()

    asyncio.run(main())


async def turns():
    for _ in range(5):
        await asyncio.sleep(0)


def test_more(descriptor):
    async def body(allowances):
        allowances.resize(KEY, 5)
        assert free(descriptor) == 5
        assert allowances.size(KEY) == 5

    run(descriptor, body)


def test_fewer_takes_what_is_free_and_then_what_comes_back(descriptor):
    async def body(allowances):
        assert slots.take(descriptor)
        assert slots.take(descriptor)
        allowances.resize(KEY, 1)
        await turns()
        assert free(descriptor) == 0
        slots.give(descriptor)
        await turns()
        assert free(descriptor) == 0
        slots.give(descriptor)
        await turns()
        assert free(descriptor) == 1

    run(descriptor, body)


def test_changed_mind_while_slots_are_still_held(descriptor):
    async def body(allowances):
        for _ in range(3):
            assert slots.take(descriptor)
        allowances.resize(KEY, 1)
        await turns()
        allowances.resize(KEY, 4)
        await turns()
        assert free(descriptor) == 1
        slots.give(descriptor, 3)
        await turns()
        assert free(descriptor) == 4

    run(descriptor, body)


def test_what_has_no_limit_gets_none(descriptor):
    async def body(allowances):
        assert "bind/0/0" not in allowances
        with pytest.raises(KeyError):
            allowances.resize("bind/0/0", 1)

    run(descriptor, body)
