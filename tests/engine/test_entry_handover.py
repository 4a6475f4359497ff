"""Stick entries from one worker to another: all, in portions; then those used meanwhile; and nothing twice."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pasvport.config.compiler import load
from pasvport.config.world import World
from pasvport.control.entries import Entries
from pasvport.engine.handover import Telling, take
from pasvport.engine.tables import LiveTable
from pasvport.model import KeyType, Origin, StickTable, StoredType
from pasvport.steering import worker_of
from pasvport.stick import table as stick
from pasvport.stick.data import Rate
from pasvport.wire import FROM_WORKER, EntryLearnt, EntryRow, ShareEntry, TakeEntries, TellEntries, decode, encode

NOWHERE = Origin("x.cfg", 1)
STORES = (StoredType("conn_cnt"), StoredType("conn_cur"), StoredType("conn_rate", 10_000), StoredType("gpc", 0, 2))


def table(size=1000, expire=60_000, stores=STORES, name="t"):
    return stick.StickTable(StickTable(NOWHERE, name, KeyType.IP, size, 0, expire, stores=stores))


def told(live, now, *, portion=3, changed=False):
    """Every row, as it arrives at the other end of the wire, and how many messages that took."""
    rows, messages, answers = [], 0, []
    telling = live if isinstance(live, Telling) else Telling({live.name: live}, None)
    telling._tell = answers.append
    begin = True
    while not answers or not answers[-1].last:
        telling.answer(TellEntries(portion, begin=begin, changed=changed), now)
        begin, messages = False, messages + 1
        answer = decode(encode(answers[-1])[4:], FROM_WORKER)
        for part in answer.parts:
            assert len(part.rows) <= portion
            rows.append(part)
    return rows, messages


def filled(count, now=100.0):
    model = table()
    for number in range(count):
        entry = model.enter(number.to_bytes(4, "big"), now + number)
        entry.server_id, entry.server_key = number % 3, f"s{number % 3}"
        model.pin(entry)
        model.session_started(entry, now + number)
        if number % 4:
            model.session_ended(entry, 0, 0, now + number)
            model.release(entry, now + number)
    return model


@pytest.mark.parametrize("count", [0, 1, 3, 10])
def test_a_table_arrives_whole(count):
    old, new = filled(count), table()
    rows, messages = told(LiveTable(old, False), 110.0)
    assert messages == count // 3 + 1
    for part in rows:
        take(new, part, 110.0)
    assert [entry.key for entry in new] == [entry.key for entry in old.by_use()]
    for entry in new:
        before = old.lookup(entry.key, 110.0)
        assert (entry.server_id, entry.server_key) == (before.server_id, before.server_key)
        count_, rate, current, pair = entry.data
        assert (count_, current, pair) == (before.data[0], 0, before.data[3])
        assert isinstance(rate, Rate)
        assert rate.read(10_000, 111_000) == before.data[1].read(10_000, 111_000)
        assert entry.expires == (170.0 if before.users else before.expires)


def test_what_is_used_meanwhile_is_told_again_and_nothing_else():
    old = filled(10)
    live = LiveTable(old, False)
    telling = Telling({"t": live}, None)
    told(telling, 120.0)
    old.touch(old.lookup(b"\0\0\0\2", 121.0), 121.0)
    old.enter(b"\0\0\0\x63", 122.0)
    assert not live.shared
    rows, _ = told(telling, 123.0, changed=True)
    keys = {row.key[3] for part in rows for row in part.rows}
    assert keys == {2, 0x63, 0, 4, 8}, "what was touched, what is new, and what sessions use"
    assert live.shared, "from now on what sessions learn is told"


def test_a_second_telling_begins_anew():
    live = LiveTable(filled(5), False)
    telling = Telling({"t": live}, [].append)
    telling.answer(TellEntries(2, begin=True), 110.0)
    rows, _ = told(telling, 110.0)
    assert sum(len(part.rows) for part in rows) == 5


@given(st.lists(st.tuples(st.binary(min_size=4, max_size=4), st.floats(1, 1000)), max_size=30), st.integers(1, 10))
def test_whatever_comes_the_table_keeps_its_size_and_its_time(rows, size):
    new = table(size=size, stores=())
    take(new, TakeEntries("t", (), tuple(EntryRow(key, 1, "s", left) for key, left in rows)), 100.0)
    assert len(new) <= size
    assert all(100.0 < entry.expires <= 160.0 for entry in new)


def test_other_stored_types_than_before_begin_blank():
    old, new = filled(2), table(stores=(StoredType("bytes_in_cnt"), StoredType("conn_cnt")))
    for part in told(LiveTable(old, False), 110.0)[0]:
        take(new, part, 110.0)
    assert [entry.data for entry in new] == [[1, 0], [1, 0]]


# --- between configurations ---------------------------------------------------------------------------------------


def configuration(servers, workers, *, stick="src", settings=""):
    lines = "".join(f"    server {name} 127.0.0.1:1\n" for name in servers)
    return compiled(
        f"global\n    nbthread {workers}\n{settings}defaults\n    mode tcp\n    timeout client 1s\n"
        "    timeout server 1s\n    timeout connect 1s\nfrontend fe\n    bind 127.0.0.1:1\n    default_backend be\n"
        f"backend be\n    stick-table type ip size 1k\n    stick on {stick}\n{lines}"
    )


def route(old, new, key, server_id, giver):
    """{worker: (server id, whether it gets the counters)} of one entry."""
    row = EntryRow(key, server_id, "x", None, (7,))
    found = Entries(old, new).carried(TakeEntries("be", ("conn_cnt",), (row,)), giver)
    return {worker: (part.rows[0].server_id, bool(part.rows[0].data)) for worker, part in found}


def test_servers_are_found_by_name():
    old, new = configuration("abc", 2), configuration("cxa", 2)
    assert route(old, new, b"\x7f\0\0\1", 1, 0) == {0: (3, True)}
    assert route(old, new, b"\x7f\0\0\1", 3, 1) == {1: (1, True)}
    assert route(old, new, b"\x7f\0\0\1", 2, 1) == {1: (0, True)}, "the server is gone, what was counted is not"
    assert Entries(old, new).learnt(EntryLearnt("be", b"\x7f\0\0\1", 1), 1) == (
        1,
        ShareEntry("be", b"\x7f\0\0\1", 3),
    )
    assert Entries(old, new).learnt(EntryLearnt("be", b"\x7f\0\0\1", 2), 1) is None
    assert Entries(old, new).learnt(EntryLearnt("gone", b"\x7f\0\0\1", 1), 1) is None


@given(st.binary(min_size=4, max_size=4), st.integers(1, 5), st.integers(0, 1))
def test_an_entry_goes_where_its_client_will_go(key, workers, giver):
    found = route(configuration("a", 2), configuration("a", workers), key, 1, giver)
    assert found == {giver if workers == 2 else worker_of(key, workers): (1, True)}


@pytest.mark.parametrize("settings", ["    noreuseport\n", ""])
def test_where_no_worker_is_a_clients_own_all_know_and_one_counts(settings):
    stick = "src" if settings else "src,ipmask(24)"
    old, new = (configuration("a", workers, stick=stick, settings=settings) for workers in (2, 3))
    assert route(old, new, b"\x7f\0\0\1", 1, 1) == {0: (1, False), 1: (1, True), 2: (1, False)}
    assert Entries(old, new).learnt(EntryLearnt("be", b"\x7f\0\0\1", 1), 1)[0] is None


def test_a_table_that_is_gone_or_has_other_keys_takes_nothing():
    old = configuration("a", 1)
    for name, kind in (("another", "ip"), ("be", "ipv6")):
        text = compiled(
            "defaults\n    mode tcp\n    timeout client 1s\n    timeout server 1s\n    timeout connect 1s\n"
            f"listen {name}\n    bind 127.0.0.1:1\n    stick-table type {kind} size 1k\n    server a 127.0.0.1:1\n"
        )
        text = dataclasses.replace(text, settings=dataclasses.replace(text.settings, nbthread=1))
        assert route(old, text, b"\x7f\0\0\1", 1, 0) == {}


def compiled(text):
    outcome = load([("x.cfg", text)], World())
    assert outcome.config is not None, outcome.diagnostics.found
    return outcome.config
