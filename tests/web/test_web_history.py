"""The last hour: rings that do not grow, growth that survives a reload."""

from __future__ import annotations

from pasvport.control.web.history import COUNTED, HELD, History

QUIET = dict.fromkeys(HELD, 0.0)


def totals(**values):
    return {**dict.fromkeys(COUNTED, 0.0), **values}


def test_growth_per_second() -> None:
    history = History()
    history.take(100.0, QUIET, totals(download=1000.0))
    history.take(105.0, {**QUIET, "sessions": 3.0}, totals(download=6000.0))
    shown = history.since(0)
    assert shown["series"]["download"] == [0.0, 1000.0]
    assert shown["series"]["sessions"] == [0.0, 3.0]
    assert shown["times"] == [100.0, 105.0]


def test_counters_that_were_cleared_do_not_go_backwards() -> None:
    history = History()
    history.take(0.0, QUIET, totals(errors=50.0))
    history.take(5.0, QUIET, totals(errors=2.0))
    assert history.since(0)["series"]["errors"] == [0.0, 0.0]


def test_a_page_gets_what_it_has_not() -> None:
    history = History(length=10)
    for number in range(25):
        history.take(number * 5.0, {**QUIET, "sessions": float(number)}, totals())
    whole = history.since(0)
    assert (whole["first"], whole["next"]) == (15, 25)
    assert whole["series"]["sessions"] == [float(number) for number in range(15, 25)]
    assert history.since(23)["series"]["sessions"] == [23.0, 24.0]
    assert history.since(25)["series"]["sessions"] == []
    # A page that knows the future has seen another process: it begins anew.
    assert history.since(26)["first"] == 15
    assert history.since(-5)["first"] == 15


def test_a_day_needs_no_more_than_an_hour() -> None:
    history = History()
    sizes = set()
    for number in range(24 * 720):
        history.take(number * 5.0, QUIET, totals(download=float(number)))
        if number % 720 == 719:
            sizes.add(len(repr(history.since(0)["times"])) // 5000)
            assert len(history._last) == len(COUNTED)
    assert len(history.since(0)["times"]) == 720
    assert len(sizes) <= 2
