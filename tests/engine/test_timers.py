"""Deadlines come due, never early and not much late, whatever was filed, filed again or cancelled."""

from hypothesis import given
from hypothesis import strategies as st

from pasvport.engine.timers import NEVER, Timers


class Timed:
    def __init__(self):
        self.bucket = None
        self.rung = []
        self.broken = []

    def time_is_up(self, now):
        self.rung.append(now)

    def failed(self, error):
        self.broken.append(error)


@given(st.lists(st.tuples(st.floats(0, 5000), st.floats(0.001, 4000)), max_size=40))
def test_a_deadline_rings_once_and_within_its_grain(waits):
    for filed_at, wait in waits:
        timers, timed = Timers(), Timed()
        timers.file(timed, filed_at + wait, filed_at)
        due = filed_at + timers.wait(filed_at)
        timers.expire(filed_at + wait * 0.999 - 0.001)
        assert not timed.rung
        timers.expire(due + 1e-6)
        assert len(timed.rung) == 1
        assert due <= filed_at + wait + max(0.004, wait / 64) + 0.002
        assert timers.wait(due) == -1


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.data())
def test_what_is_cancelled_is_silent_and_the_rest_rings(order, data):
    timers, every = Timers(), [Timed() for _ in range(10)]
    expected = set()
    for number in order:
        if data.draw(st.booleans()):
            timers.file(every[number], data.draw(st.floats(0.01, 10)), 0)
            expected.add(number)
        else:
            timers.cancel(every[number])
            expected.discard(number)
    timers.expire(20)
    assert {number for number, timed in enumerate(every) if timed.rung} == expected
    assert all(timed.bucket is None for timed in every)


def test_never_is_not_filed():
    timers, timed = Timers(), Timed()
    timers.file(timed, NEVER, 0)
    assert timed.bucket is None
    assert timers.wait(0) == -1


def test_one_that_raises_does_not_silence_its_neighbours():
    class Broken(Timed):
        def time_is_up(self, now):
            raise ValueError("bug")

    timers, good, bad = Timers(), [Timed() for _ in range(3)], Broken()
    for timed in (good[0], bad, *good[1:]):
        timers.file(timed, 1.0, 0)
    timers.expire(2)
    assert all(timed.rung for timed in good)
    assert bad.broken


def test_one_may_file_itself_again_while_ringing():
    class Again(Timed):
        def time_is_up(self, now):
            super().time_is_up(now)
            timers.file(self, now + 1, now)

    timers, timed = Timers(), Again()
    timers.file(timed, 1.0, 0)
    for moment in (2, 4, 6):
        timers.expire(moment)
    assert timed.rung == [2, 4, 6]
