"""The pool beyond recorded sequences: states, weights, slow start, limits, shared loads, and what must always hold."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balance_replay import RecordedServer, Scenario, backend_of
from pasvport import model
from pasvport.balance import weights
from pasvport.balance.hashing import FUNCTIONS, address, avalanche
from pasvport.balance.leastconn import RESCANNED, LeastConnections
from pasvport.balance.pool import Pool
from pasvport.model import Algorithm, HashFunction
from pasvport.record import Admin, Operation, ServerState

ALGORITHMS = [algorithm.value for algorithm in Algorithm]


def pool_of(algorithm: str, servers: list[RecordedServer], load: list[int], **more) -> Pool:
    proxy = backend_of(Scenario("p", algorithm, servers, [], **more))
    states = [ServerState(weight=server.weight) for server in proxy.servers]
    return Pool(proxy, states, load=load.__getitem__, draw=Random(7).randrange)


def server_with(**fields) -> model.Server:
    proxy = backend_of(Scenario("p", "roundrobin", [RecordedServer()], []))
    known = {name: getattr(proxy.servers[0], name) for name in model.Server.__slots__}
    return model.Server(**(known | fields))


# --- states -------------------------------------------------------------------------------------------------------


def test_a_draining_server_is_up_but_not_usable():
    pool = pool_of("roundrobin", [RecordedServer(), RecordedServer()], [0, 0])
    pool.change(0, ServerState(admin=Admin.FORCED_DRAIN), 0.0)
    assert (pool.up(0), pool.usable(0), pool.active) == (True, False, 1)
    assert {pool.pick() for _ in range(5)} == {1}


def test_a_stopped_server_is_neither():
    pool = pool_of("leastconn", [RecordedServer(), RecordedServer(backup=True)], [0, 0])
    pool.change(0, ServerState(operation=Operation.STOPPED), 0.0)
    assert (pool.up(0), pool.usable(0), pool.active, pool.backup) == (False, False, 0, 1)
    assert pool.pick() == 1
    pool.change(1, ServerState(operation=Operation.STOPPED), 0.0)
    assert pool.pick() == -1


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_nobody_left_is_nobody(algorithm: str):
    pool = pool_of(algorithm, [RecordedServer(weight=0), RecordedServer()], [0, 0])
    pool.change(1, ServerState(admin=Admin.FORCED_MAINT), 0.0)
    assert pool.pick(b"\x7f\0\0\1") == -1
    pool.change(1, ServerState(), 0.0)
    assert pool.pick(b"\x7f\0\0\1") == 1


@pytest.mark.parametrize("algorithm", ["roundrobin", "static-rr", "leastconn", "first", "random"])
def test_all_full_is_nobody_and_changes_nothing(algorithm: str):
    load = [0, 0, 0]
    pool = pool_of(algorithm, [RecordedServer(), RecordedServer(), RecordedServer()], load)
    assert pool.pick(full=lambda index: True) == -1
    assert pool.pick() in (0, 1, 2)


@pytest.mark.parametrize("algorithm", ["roundrobin", "static-rr", "leastconn", "first"])
def test_the_avoided_server_is_the_last_resort(algorithm: str):
    pool = pool_of(algorithm, [RecordedServer(), RecordedServer()], [0, 0])
    assert {pool.pick(avoid=0) for _ in range(4)} == {1}
    assert pool.pick(avoid=0, full=lambda index: index == 1) == 0


@pytest.mark.parametrize("method", ["map-based", "consistent"])
def test_without_a_sample_hashing_falls_back_to_turns(method: str):
    servers = [RecordedServer(), RecordedServer(), RecordedServer()]
    pool = pool_of("hash", servers, [0, 0, 0], hash_method=method, expression="src")
    assert len({pool.pick(b"always the same") for _ in range(48)}) == 1
    assert set(Counter(pool.pick(None) for _ in range(48)).values()) == {16}


# --- weights and slow start ---------------------------------------------------------------------------------------


def weight_of(pool: Pool, index: int) -> int:
    """HAProxy's eweight, as the picker was told it: scaled by 16 where it may change, else divided by the gcd."""
    return dict(pool._members(backup=False))[index]


def test_effective_weights():
    servers = [RecordedServer(weight=4), RecordedServer(weight=6)]
    dynamic, static = pool_of("roundrobin", servers, [0, 0]), pool_of("static-rr", servers, [0, 0])
    assert [weight_of(dynamic, n) for n in (0, 1)] == [64, 96]
    assert [weight_of(static, n) for n in (0, 1)] == [2, 3]


def ramp(pool: Pool, now: float) -> list[tuple[float, int]]:
    steps = []
    due = pool.warm(now)
    while due is not None:
        due_before, due = due, pool.warm(due)
        steps.append((due_before, weight_of(pool, 0)))
    return steps


def slow_pool(algorithm: str, **fields) -> Pool:
    proxy = backend_of(Scenario("p", algorithm, [RecordedServer(weight=10), RecordedServer()], []))
    slow = server_with(weight=10, slowstart=32_000, **fields)
    servers = (slow, proxy.servers[1])
    known = {name: getattr(proxy, name) for name in model.Proxy.__slots__} | {"servers": servers}
    states = [ServerState(weight=10), ServerState()]
    return Pool(model.Proxy(**known), states, load=lambda index: 0, draw=Random(1).randrange)


def test_slow_start_reaches_full_weight_in_sixteen_steps():
    pool = slow_pool("roundrobin")
    pool.change(0, ServerState(Operation.STARTING, weight=10, started=100.0), 100.0)
    assert weight_of(pool, 0) == 10
    steps = ramp(pool, 100.0)
    assert steps == [(100.0 + 2 * n, 10 * (n + 1)) for n in range(1, 16)] + [(132.0, 160)]
    assert pool.warm(132.0) is None


def test_a_warming_server_gets_its_small_share():
    pool = slow_pool("roundrobin")
    pool.change(0, ServerState(Operation.STARTING, weight=10, started=100.0), 100.0)
    early = Counter(pool.pick() for _ in range(26 * 4))
    assert early[0] == pytest.approx(40, abs=2)
    pool.warm(132.0)
    late = Counter(pool.pick() for _ in range(11 * 8))
    assert late[0] == pytest.approx(80, abs=3)


def test_static_algorithms_and_old_servers_do_not_ramp():
    for pool, state, weight in (
        (slow_pool("static-rr"), ServerState(Operation.STARTING, weight=10, started=100.0), 10),
        (slow_pool("roundrobin"), ServerState(Operation.STARTING, weight=10), 160),
        (slow_pool("roundrobin"), ServerState(Operation.RUNNING, weight=10, started=100.0), 160),
    ):
        pool.change(0, state, 100.0)
        assert weight_of(pool, 0) == weight
        assert Counter(pool.pick() for _ in range(11))[0] == pytest.approx(10, abs=1)


def test_the_connection_limit_ramps_every_second():
    pool = slow_pool("roundrobin", maxconn=200)
    pool.change(0, ServerState(Operation.STARTING, weight=10, started=100.0), 100.0)
    assert pool.max_connections(0, 0) == 1
    assert pool.warm(100.0) == 101.0
    pool.warm(116.4)
    assert pool.max_connections(0, 0) == 100
    pool.warm(132.0)
    assert pool.max_connections(0, 0) == 200


@pytest.mark.parametrize(
    ("load", "limit"), [(0, 10), (100, 10), (101, 10), (200, 20), (550, 55), (999, 99), (1000, 100), (5000, 100)]
)
def test_dynamic_limit_follows_the_backend(load: int, limit: int):
    state = ServerState(maxconn=100)
    assert weights.connection_limit(server_with(minconn=10, maxconn=100), state, 1000, load, 100) == limit


def test_static_limits():
    assert weights.connection_limit(server_with(), ServerState(), 10, 5, 100) == 0
    assert weights.connection_limit(server_with(maxconn=7), ServerState(maxconn=7), 10, 5, 100) == 7
    assert weights.connection_limit(server_with(maxconn=7), ServerState(maxconn=9), 10, 5, 100) == 9
    assert weights.connection_limit(server_with(minconn=5), ServerState(), 10, 0, 100) == 5


def test_leastconn_fills_queues_and_the_others_do_not():
    servers = [RecordedServer(maxconn=1, maxqueue=2)]
    for algorithm, expected in (("leastconn", [False, False, False, True]), ("roundrobin", [False, True, True, True])):
        pool = pool_of(algorithm, servers, [0])
        counts = [(0, 0), (1, 0), (1, 1), (1, 2)]
        assert [pool.saturated(0, served=s, queued=q, backend_load=1) for s, q in counts] == expected


# --- loads that change elsewhere ----------------------------------------------------------------------------------


def test_leastconn_sees_what_other_processes_do():
    load = [0, 0, 0]
    pool = pool_of("leastconn", [RecordedServer()] * 3, load)
    load[:] = [5, 5, 0]
    assert [pool.pick() for _ in range(3)] == [2, 2, 2]
    load[:] = [0, 5, 9]
    assert pool.pick() == 0


def test_many_servers_are_never_chosen_by_a_stale_low_load():
    count = RESCANNED * 4
    load = [0] * count
    picker = LeastConnections([(index, 16) for index in range(count)], load.__getitem__)
    load[:] = [9] * count
    load[200] = 1
    chosen = [picker.pick(None, -1, lambda index: False) for _ in range(40)]
    assert all(load[index] <= 9 for index in chosen)
    assert chosen[0] == 200


def test_many_servers_notice_a_load_that_fell_elsewhere():
    count = RESCANNED * 4
    load = [3] * count
    picker = LeastConnections([(index, 16) for index in range(count)], load.__getitem__)
    load[137] = 0
    chosen = [picker.pick(None, -1, lambda index: False) for _ in range(count)]
    assert 137 in chosen[: count // 8]


def test_alone_leastconn_asks_for_loads_only_when_told():
    load = [0, 0]
    picker = LeastConnections([(0, 16), (1, 16)], load.__getitem__, shared=False)
    load[0] = 5
    assert picker.pick(None, -1, lambda index: False) == 0
    picker.moved(0)
    assert picker.pick(None, -1, lambda index: False) == 1


# --- random and hashes --------------------------------------------------------------------------------------------


def test_random_respects_weights_with_one_draw():
    servers = [RecordedServer(weight=30), RecordedServer(weight=10)]
    proxy = backend_of(Scenario("p", "random", servers, []))
    known = {name: getattr(proxy, name) for name in model.Proxy.__slots__}
    known["balance"] = model.Balance(Algorithm.RANDOM, draws=1)
    states = [ServerState(weight=server.weight) for server in servers]
    pool = Pool(model.Proxy(**known), states, load=lambda index: 0, draw=Random(3).randrange)
    # A ring of few nodes is uneven: the share is near three quarters, not at it.
    assert 0.65 < Counter(pool.pick() for _ in range(4000))[0] / 4000 < 0.85


def test_two_draws_keep_loads_close():
    load = [0] * 10
    pool = pool_of("random", [RecordedServer(weight=16)] * 10, load)
    for _ in range(2000):
        index = pool.pick()
        load[index] += 1
        pool.took(index)
    assert max(load) - min(load) < 40


def test_random_goes_to_the_backend_queue_when_its_winner_is_full():
    pool = pool_of("random", [RecordedServer()] * 2, [0, 0])
    outcomes = {pool.pick(full=lambda index: index == 0) for _ in range(100)}
    assert outcomes == {-1, 1}


@pytest.mark.parametrize(
    ("function", "expected"),
    [("sdbm", 0x68A07035), ("djb2", 0x35CDBB82), ("crc32", 0xCBF43926)],
)
def test_public_hash_functions(function: str, expected: int):
    assert FUNCTIONS[HashFunction(function)](b"123456789") == expected


def test_numbers_as_their_own_hash():
    none = FUNCTIONS[HashFunction.NONE]
    assert (none(b"42"), none(b"42x"), none(b"-1"), none(b""), none(b"x")) == (42, 42, 0xFFFFFFFF, 0, 0)


def test_a_long_address_folds():
    packed = bytes.fromhex("20010db8000000000000000000000001")
    assert address(packed) == 0x20010DB8 ^ 1
    assert address(b"\x7f\0\0\x05") == 0x7F000005


@given(st.lists(st.integers(0, 0xFFFFFFFF), unique=True, max_size=50))
def test_avalanche_never_merges(values: list[int]):
    assert len({avalanche(value) for value in values}) == len(values)


# --- whatever happens ---------------------------------------------------------------------------------------------

events = st.lists(
    st.one_of(
        st.tuples(st.just("pick"), st.binary(min_size=4, max_size=4), st.integers(-1, 4)),
        st.tuples(st.just("drop"), st.integers(0, 30), st.none()),
        st.tuples(st.just("change"), st.integers(0, 4), st.sampled_from([0, 1, 2, 100, 256, "down", "drain"])),
    ),
    max_size=80,
)


@settings(max_examples=150, deadline=None)
@given(
    algorithm=st.sampled_from(ALGORITHMS),
    method=st.sampled_from(["map-based", "consistent"]),
    all_backups=st.booleans(),
    factor=st.sampled_from([0, 110]),
    story=events,
)
def test_only_usable_servers_are_chosen(algorithm, method, all_backups, factor, story):
    servers = [
        RecordedServer(weight=w, backup=b) for w, b in ((1, False), (3, False), (2, False), (1, True), (2, True))
    ]
    load = [0] * 5
    more = {"hash_method": method, "all_backups": all_backups, "balance_factor": factor}
    pool = pool_of(algorithm, servers, load, **more)
    current = dict.fromkeys(range(5), True)
    placed: list[int] = []
    for kind, first, second in story:
        if kind == "pick":
            index = pool.pick(first, avoid=second)
            wanted = [i for i in range(5) if current[i] and not servers[i].backup]
            wanted = wanted or [i for i in range(5) if current[i]][: None if all_backups else 1]
            assert index in wanted or (index == -1 and not wanted)
            if index >= 0:
                load[index] += 1
                pool.took(index)
                placed.append(index)
        elif kind == "drop" and placed:
            index = placed.pop(first % len(placed))
            load[index] -= 1
            pool.dropped(index)
        elif kind == "change":
            down, drain = second == "down", second == "drain"
            weight = second if isinstance(second, int) else 1
            operation = Operation.STOPPED if down else Operation.RUNNING
            state = ServerState(operation, Admin.FORCED_DRAIN if drain else 0, weight)
            pool.change(first, state, 0.0)
            current[first] = state.takes_new
            assert pool.usable(first) is state.takes_new
    assert pool.active == sum(current[i] for i in range(3))
    assert pool.backup == current[3] + current[4]
