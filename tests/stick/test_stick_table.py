"""Stick tables: finding, expiry, eviction, sessions that hold entries, counters; against a naive model."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pasvport import model
from pasvport.model import KeyType, StoredType
from pasvport.stick import show
from pasvport.stick.data import DATA_TYPES, Rate
from pasvport.stick.table import Entry, StickTable

ORIGIN = model.Origin("test", 1)


def table_of(size: int = 4, expire: int = 10_000, *stores: StoredType, nopurge: bool = False) -> StickTable:
    return StickTable(model.StickTable(ORIGIN, "t", KeyType.IP, size, expire=expire, nopurge=nopurge, stores=stores))


def key(number: int) -> bytes:
    return number.to_bytes(4, "big")


# --- expiry -------------------------------------------------------------------------------------------------------


def test_an_entry_is_found_until_it_expires():
    table = table_of()
    entry = table.enter(key(1), 0.0)
    assert table.lookup(key(1), 9.999) is entry
    assert table.lookup(key(1), 10.0) is None
    assert len(table) == 0


def test_lookup_is_not_use_but_touch_is():
    table = table_of()
    entry = table.enter(key(1), 0.0)
    table.lookup(key(1), 9.0)
    assert table.lookup(key(1), 10.0) is None
    entry = table.enter(key(1), 20.0)
    table.touch(entry, 25.0)
    assert table.lookup(key(1), 34.9) is entry
    assert table.lookup(key(1), 35.0) is None


def test_a_used_entry_outlives_its_time_and_lives_on_after_release():
    table = table_of()
    entry = table.enter(key(1), 0.0)
    table.pin(entry)
    assert table.lookup(key(1), 1e6) is entry
    assert table.sweep(1e6, 10) == 0
    table.release(entry, 1e6)
    assert table.lookup(key(1), 1e6 + 9.9) is entry
    assert table.sweep(1e6 + 10, 10) == 1


def test_every_user_counts():
    table = table_of()
    entry = table.enter(key(1), 0.0)
    table.pin(entry)
    table.pin(entry)
    table.release(entry, 1.0)
    assert table.lookup(key(1), 100.0) is entry
    table.release(entry, 100.0)
    assert table.lookup(key(1), 110.0) is None


def test_without_expire_nothing_is_forgotten():
    table = table_of(4, 0)
    entry = table.enter(key(1), 0.0)
    assert table.sweep(1e9, 10) == 0
    assert table.lookup(key(1), 1e9) is entry


def test_sweep_keeps_to_its_budget():
    table = table_of(100)
    for number in range(50):
        table.enter(key(number), 0.0)
    assert [table.sweep(10.0, 20) for _ in range(4)] == [20, 20, 10, 0]


# --- a full table -------------------------------------------------------------------------------------------------


def test_the_entry_unused_for_longest_makes_room():
    table = table_of(3)
    first, second, third = (table.enter(key(number), float(number)) for number in (1, 2, 3))
    table.touch(first, 4.0)
    table.enter(key(4), 5.0)
    assert {entry.key for entry in table} == {first.key, third.key, key(4)}
    assert table.lookup(second.key, 5.0) is None


def test_used_entries_are_never_evicted():
    table = table_of(2)
    held = table.enter(key(1), 0.0)
    table.pin(held)
    for number in range(2, 50):
        table.enter(key(number), 1.0)
        assert len(table) <= 2
    assert table.lookup(key(1), 1.0) is held


@pytest.mark.parametrize("nopurge", [False, True])
def test_a_session_has_its_entry_even_when_all_are_in_use(nopurge: bool):
    table = table_of(2, nopurge=nopurge)
    entries = [table.enter(key(number), 0.0) for number in (1, 2, 3)]
    for entry in entries:
        table.pin(entry)
    late = [table.enter(key(number), 0.0) for number in (4, 5)]
    for entry in late:
        table.pin(entry)
    assert [table.lookup(entry.key, 50.0) for entry in late] == late
    for entry in late:
        table.release(entry, 60.0)
    assert len(table) == len([entry for entry in entries if table.lookup(entry.key, 60.0) is entry])


def test_an_excess_entry_nobody_took_is_gone_at_the_next():
    table = table_of(1, nopurge=True)
    table.enter(key(1), 0.0)
    table.enter(key(2), 0.0)
    table.enter(key(3), 0.0)
    assert {entry.key for entry in table} == {key(1), key(3)}


def test_nopurge_protects_entries_at_rest_but_not_expired_ones():
    table = table_of(2, nopurge=True)
    table.enter(key(1), 0.0)
    table.enter(key(2), 5.0)
    newcomer = table.enter(key(3), 6.0)
    table.pin(newcomer)
    table.release(newcomer, 7.0)
    assert {entry.key for entry in table} == {key(1), key(2)}
    table.enter(key(3), 10.0)
    assert {entry.key for entry in table} == {key(2), key(3)}


def test_an_entry_pinned_after_it_left_comes_back():
    table = table_of(1)
    entry = table.enter(key(1), 0.0)
    table.enter(key(2), 0.0)
    table.pin(entry)
    assert table.lookup(key(1), 99.0) is entry
    table.release(entry, 99.0)
    assert len(table) == 1


def test_an_entry_whose_key_was_entered_anew_stays_apart():
    table = table_of(1)
    old = table.enter(key(1), 0.0)
    table.enter(key(2), 0.0)
    new = table.enter(key(1), 0.0)
    table.pin(old)
    table.release(old, 1.0)
    assert table.lookup(key(1), 9.9) is new
    assert table.sweep(10.0, 9) == 1


def test_forgetting():
    table = table_of()
    entry = table.enter(key(1), 0.0)
    table.pin(entry)
    assert not table.forget(key(1))
    table.release(entry, 0.0)
    assert table.forget(key(1))
    assert not table.forget(key(1))
    assert len(table) == 0


# --- counters -----------------------------------------------------------------------------------------------------


def test_sessions_are_counted_in_what_the_table_stores():
    names = ("bytes_out_cnt", "conn_cur", "conn_cnt", "sess_cnt", "bytes_in_cnt", "gpc0")
    table = table_of(4, 10_000, *(StoredType(name) for name in names), StoredType("conn_rate", 1000))
    entry = table.enter(key(1), 100.0)
    table.session_started(entry, 100.0)
    table.session_started(entry, 100.2)
    table.session_ended(entry, 10, 2000, 100.4)
    counted = {store.name: value for store, value in zip(table.stores, entry.data, strict=True)}
    rate = counted.pop("conn_rate")
    assert counted == {
        "gpc0": 0, "conn_cnt": 2, "conn_cur": 1, "sess_cnt": 2, "bytes_in_cnt": 10, "bytes_out_cnt": 2000
    }  # fmt: skip
    assert rate.read(1000, 100_400) == 2


def test_entries_do_not_share_counters():
    table = table_of(4, 10_000, StoredType("conn_cnt"), StoredType("gpc", count=2))
    one, other = table.enter(key(1), 0.0), table.enter(key(2), 0.0)
    table.session_started(one, 0.0)
    assert other.data == [0, [0, 0]]


def test_every_known_type_can_be_stored_and_shown():
    stores = [
        StoredType(name, 1000 if name.endswith("_rate") else 0, 2 if described.array else 1)
        for name, described in DATA_TYPES.items()
    ]
    table = table_of(4, 10_000, *reversed(stores))
    entry = table.enter(key(1), 0.0)
    table.session_started(entry, 0.0)
    table.session_ended(entry, 1, 2, 0.0)
    shown = [word.partition("=")[0] for word in show.text(table.model, show.row(table, entry, 0.0)).split()[4:]]
    assert shown[:4] == ["server_id", "gpt0", "gpc0", "gpc0_rate(1000)"]
    assert shown[-8:-2] == ["gpt0", "gpt1", "gpc0", "gpc1", "gpc0_rate(1000)", "gpc1_rate(1000)"]
    assert shown[-2:] == ["ftp_fail_cnt", "ftp_fail_rate(1000)"]


def test_a_rate_slides():
    rate = Rate()
    for moment in range(50_000, 60_000, 100):
        rate.add(1, 1000, moment)
    assert rate.read(1000, 59_999) == 10
    assert rate.read(1000, 60_499) == 5
    assert rate.read(1000, 62_000) == 0


def test_a_lone_event_is_reported_for_the_whole_next_period():
    rate = Rate()
    rate.add(1, 1000, 50_000)
    assert [rate.read(1000, moment) for moment in (50_000, 50_999, 51_999, 52_001)] == [1, 1, 1, 0]


def _steady(rate: Rate, per_second: int, seconds: int) -> int:
    step = 1000 // per_second
    for moment in range(100_000, 100_000 + seconds * 1000, step):
        rate.add(1, 10_000, moment)
    return rate.read(10_000, 100_000 + seconds * 1000 - 1)


@pytest.mark.parametrize("seconds", [10, 15, 33, 60])
def test_a_steady_stream_is_measured_exactly(seconds: int):
    assert abs(_steady(Rate(), 5, seconds) - 50) <= 1


# --- against a naive model ----------------------------------------------------------------------------------------


class TableAgainstModel(RuleBasedStateMachine):
    """Random operations; the model keeps every key's last use and users in plain dictionaries."""

    SIZE, LIFETIME = 3, 10.0
    keys = st.integers(1, 6).map(key)

    def __init__(self) -> None:
        super().__init__()
        self.table = table_of(self.SIZE, int(self.LIFETIME * 1000))
        self.now = 0.0
        self.sessions: list[Entry] = []
        self.last_use: dict[bytes, float] = {}

    def users(self, wanted: bytes) -> int:
        return sum(entry.key == wanted for entry in self.sessions)

    @rule(seconds=st.sampled_from([0.0, 1.0, 4.0, 9.999, 10.0, 25.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(wanted=keys, begins=st.booleans())
    def connect(self, wanted: bytes, begins: bool) -> None:
        known = self.table.lookup(wanted, self.now)
        entry = self.table.enter(wanted, self.now)
        assert known is None or entry is known
        if known is None:
            self.last_use[wanted] = self.now
        if begins:
            self.table.pin(entry)
            self.sessions.append(entry)

    @rule(wanted=keys)
    def touch(self, wanted: bytes) -> None:
        entry = self.table.lookup(wanted, self.now)
        if entry is not None:
            self.table.touch(entry, self.now)
            self.last_use[wanted] = self.now

    @precondition(lambda self: self.sessions)
    @rule(number=st.integers(0, 50))
    def disconnect(self, number: int) -> None:
        entry = self.sessions.pop(number % len(self.sessions))
        self.table.release(entry, self.now)
        self.last_use[entry.key] = self.now

    @rule(budget=st.integers(0, 5))
    def sweep(self, budget: int) -> None:
        assert self.table.sweep(self.now, budget) <= budget

    @rule(wanted=keys)
    def forget(self, wanted: bytes) -> None:
        present = self.table.lookup(wanted, self.now) is not None
        assert self.table.forget(wanted) is (present and not self.users(wanted))

    @invariant()
    def held_entries_are_there(self) -> None:
        for entry in self.sessions:
            assert self.table.lookup(entry.key, self.now) is entry
            assert entry.users == self.users(entry.key)

    @invariant()
    def the_size_holds(self) -> None:
        held = len({entry.key for entry in self.sessions})
        assert len(self.table) <= max(self.SIZE, held + 1)

    @invariant()
    def expiry_is_exact(self) -> None:
        for entry in self.table:
            expected = self.last_use[entry.key] + self.LIFETIME
            alive = self.now < expected or bool(entry.users)
            assert (self.table.lookup(entry.key, self.now) is entry) is alive


TestTableAgainstModel = TableAgainstModel.TestCase
TestTableAgainstModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
