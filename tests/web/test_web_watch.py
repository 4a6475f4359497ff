"""What happened lately, seen by looking at a roster and at counters."""

from __future__ import annotations

from types import SimpleNamespace

from compiling import compiled
from pasvport.control.roster import Roster
from pasvport.control.web.history import COUNTED, STEP, History
from pasvport.control.web.page import strip
from pasvport.control.web.server import WebServer
from pasvport.control.web.watch import CHECKS, EVENTS, Watch, totals
from pasvport.health.result import CheckResult, Status

TEXT = """defaults
 timeout client 1m
 timeout server 1m
 timeout connect 5s
frontend in
 bind 127.0.0.1:1
 default_backend farm
backend farm
 server a 127.0.0.1:2 check fall 2
 server b 127.0.0.1:3
"""
GOOD = (Status.L4OK, "")
BAD = (Status.L4CON, "Connection refused")


class Farm:
    """A generation with a real roster, and counters as the test wants them."""

    def __init__(self):
        self.config = compiled(TEXT, maxconn=100)
        self.now = 1000.0
        self.counters = {}
        self.roster = Roster(
            self.config,
            now=lambda: self.now,
            on_change=lambda change: None,
            say=lambda proxy, level, text: None,
            counts=lambda proxy, server: (0, 0, 0),
        )
        count = self.counters.get
        self.figures = SimpleNamespace(
            frontend=lambda proxy, name: count((proxy.name, name), 0),
            backend=lambda proxy, name: count((proxy.name, name), 0),
            server=lambda proxy, server, name: count((server, name), 0),
        )
        workers = self.config.settings.nbthread
        self.crew = SimpleNamespace(members=[SimpleNamespace(is_ready=True, is_suspect=False) for _ in range(workers)])

    def check(self, outcome):
        self.roster.check_finished(1, 0, CheckResult(*outcome, duration=3))


def told(watch):
    return [(event.level, event.kind, event.server, event.text, event.count) for event in watch.newest()]


def test_a_server_falls_and_rises() -> None:
    farm, watch = Farm(), Watch()
    # At the start, one failure is enough; after a success it takes `fall` of them.
    farm.check(GOOD)
    watch.look(farm, 60.0)
    farm.check(BAD)
    watch.look(farm, 61.0)
    farm.check(BAD)
    watch.look(farm, 62.0)
    for _ in range(2):
        farm.check(GOOD)
    watch.look(farm, 63.0)
    assert told(watch) == [
        ("good", "state", "a", "Now UP: Layer4 check passed", 1),
        ("bad", "state", "a", "Now DOWN: Layer4 connection problem, Connection refused", 1),
        ("bad", "check", "a", "Check failed: Layer4 connection problem, Connection refused", 1),
    ]
    assert [status for _, status, _, _, _ in watch.past("farm", "a").checks] == ["L4CON", "L4CON", "L4OK"]


def test_orders_are_seen_too() -> None:
    farm, watch = Farm(), Watch()
    watch.look(farm, 0.0)
    farm.roster.set_admin(1, 1, "drain")
    watch.look(farm, 1.0)
    assert told(watch) == [("note", "state", "b", "Now DRAIN", 1)]


def test_the_worst_of_each_minute_is_kept() -> None:
    farm, watch = Farm(), Watch()
    watch.look(farm, 0.0)
    farm.check(BAD)
    watch.look(farm, 60.0)
    farm.check(BAD)
    watch.look(farm, 119.0)
    for _ in range(2):
        farm.check(GOOD)
    watch.look(farm, 119.5)
    watch.look(farm, 120.0)
    watch.look(farm, 300.0)
    assert list(watch.past("farm", "a").minutes)[-6:] == [1, 5, 1, 0, 0, 1]
    drawn = strip(list(watch.past("farm", "a").minutes))
    assert 'aria-label="Last hour: not known 56 min, up 3 min, down 1 min"' in drawn
    watch.look(farm, 300.0 + 3600 * 24 * 365)
    assert sum(watch.past("farm", "a").minutes) == 1
    assert len(watch.past("farm", "a").minutes) == 60


def test_errors_are_counted_together() -> None:
    farm, watch = Farm(), Watch()
    farm.counters[0, "econ"] = 100
    watch.look(farm, 0.0)
    assert told(watch) == []
    for moment in (1.0, 2.0, 3.0):
        farm.counters[0, "econ"] += 2
        watch.look(farm, moment)
    farm.counters["in", "ftp_login_fail"] = 1
    watch.look(farm, 4.0)
    assert told(watch) == [
        ("bad", "login", "", "failed login", 1),
        ("bad", "error", "a", "connection to the server failed", 6),
    ]
    farm.counters[0, "econ"] += 1
    watch.look(farm, 200.0)
    assert told(watch)[0] == ("bad", "error", "a", "connection to the server failed", 1)


def test_a_reload_is_told_and_its_counters_are_no_errors() -> None:
    farm, other, watch = Farm(), Farm(), Watch()
    farm.counters[0, "econ"] = 5
    other.counters[0, "econ"] = 50
    watch.look(farm, 0.0)
    farm.check(GOOD)
    watch.look(farm, 1.0)
    watch.look(other, 2.0)
    watch.look(other, 3.0)
    assert told(watch) == [("note", "reload", "", "Another configuration is served", 1)]
    assert watch.past("farm", "a").checks, "the past of a server outlives a reload"


def test_what_a_former_generation_counts_is_sampled_once() -> None:
    """Its growth is added to the counters of the one that serves: throughput seemed to double after a reload."""
    old, new, grown = Farm(), Farm(), []
    history = History()

    def take(*sample):
        grown.append(history.take(*sample)["download"])

    memory = SimpleNamespace(watch=Watch(), history=SimpleNamespace(take=take), tell_failures=lambda _: None)
    supervisor = SimpleNamespace(former=[], generation=old)
    server = SimpleNamespace(
        _supervisor=supervisor, _memory=memory, _generations=lambda: [*supervisor.former, supervisor.generation]
    )
    for total in (10000, 10500, 11000, 11500):
        if total == 11000:
            supervisor.former, supervisor.generation = [old], new
        for farm in (old, new):
            farm.counters["in", "bout"] = total
        WebServer._look(server, -2 * STEP)
    assert grown == [0.0, 500.0, 500.0, 500.0]


def test_nothing_grows() -> None:
    farm, watch = Farm(), Watch()
    for number in range(2000):
        farm.roster.set_admin(1, 1, "maint" if number % 2 else "ready")
        farm.counters[0, "econ"] = number
        farm.check(BAD if number % 3 else GOOD)
        watch.look(farm, number * 100.0)
    assert len(watch.events) == EVENTS
    assert len(watch.past("farm", "a").checks) == CHECKS


def test_a_scope_hides_other_proxies() -> None:
    farm, watch = Farm(), Watch()
    watch.look(farm, 0.0)
    farm.counters["in", "ftp_login_fail"] = 1
    farm.counters[0, "econ"] = 1
    watch.look(farm, 1.0)
    assert {event.proxy for event in watch.newest(("farm",))} == {"farm"}
    assert {event.proxy for event in watch.newest()} == {"in", "farm"}


def test_totals_have_the_names_of_the_history() -> None:
    farm = Farm()
    farm.counters["in", "bout"] = 7
    assert set(totals(farm)) == set(COUNTED)
    assert totals(farm)["download"] == 7
