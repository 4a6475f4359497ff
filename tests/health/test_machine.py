from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pasvport.health.machine import Health, Observer, check_interval, punish
from pasvport.health.result import CheckResult, Outcome, Status, escaped, reason
from pasvport.model import Check, OnError


def test_a_fresh_server_is_one_failure_from_down() -> None:
    health = Health.fresh(2, 3)
    assert health.is_up
    assert health.failed()
    assert (health.value, health.is_up) == (0, False)


def test_it_takes_fall_failures_once_a_check_has_passed() -> None:
    health = Health.fresh(2, 3)
    health.passed()
    assert health.value == 4
    seen = []
    while health.is_up:
        health.failed()
        seen.append(health.fraction())
    assert seen == [(2, 3), (1, 3), (0, 2)]
    assert not health.failed()


def test_it_takes_rise_successes_to_come_back_and_then_the_count_is_full() -> None:
    health = Health(3, 2, 0)
    health.passed()
    assert health.fraction() == (1, 3)
    health.failed()
    assert health.value == 0
    for _ in range(3):
        health.passed()
    assert (health.value, health.top, health.fraction()) == (4, 4, (2, 2))
    assert not health.passed()


@given(st.integers(1, 10), st.integers(1, 10), st.lists(st.sampled_from(list(Outcome))))
def test_the_count_stays_in_its_range_and_flips_only_where_it_should(
    rise: int, fall: int, story: list[Outcome]
) -> None:
    health = Health.fresh(rise, fall)
    for outcome in story:
        was_up, was = health.is_up, health.value
        moved = health.count(outcome)
        assert 0 <= health.value <= health.top
        assert moved is (health.value != was)
        if outcome is Outcome.FAILED:
            assert not (health.is_up and not was_up)
        elif was_up:
            assert health.is_up


@pytest.mark.parametrize(
    ("value", "stopped", "expected"),
    [(4, False, 2000), (3, False, 100), (2, False, 100), (0, True, 9000), (1, True, 100), (0, False, 100)],
)
def test_interval_follows_the_state(value: int, stopped: bool, expected: int) -> None:
    check = Check(enabled=True, interval=2000, fast_interval=100, down_interval=9000)
    assert check_interval(check, Health(2, 3, value), stopped=stopped) == expected


@pytest.mark.parametrize("value", range(5))
@pytest.mark.parametrize("stopped", [False, True])
def test_without_fastinter_and_downinter_every_interval_is_inter(value: int, stopped: bool) -> None:
    assert check_interval(Check(enabled=True, interval=700), Health(2, 3, value), stopped=stopped) == 700


def test_observed_errors_count_only_while_consecutive() -> None:
    observer = Observer(3)
    assert [observer.bad(), observer.bad()] == [0, 0]
    observer.good()
    assert [observer.bad(), observer.bad(), observer.bad(), observer.bad()] == [0, 0, 3, 0]


@pytest.mark.parametrize(
    ("action", "failures"), [(OnError.FAIL_CHECK, 5), (OnError.SUDDEN_DEATH, 2), (OnError.MARK_DOWN, 1)]
)
def test_on_error_brings_down_as_fast_as_it_says(action: OnError, failures: int) -> None:
    health, count = Health(2, 5, 6), 0
    while health.is_up:
        punish(health, action)
        health.failed()
        count += 1
    assert count == failures


def test_reason_shows_code_only_where_there_is_one_and_quotes_safely() -> None:
    assert reason(CheckResult(Status.L4CON, "Connection refused", duration=3)) == (
        ', reason: Layer4 connection problem, info: "Connection refused", check duration: 3ms'
    )
    assert reason(CheckResult(Status.L7STS, 'bad "x" \xc3\xa9\x01')) == (
        ', reason: Layer7 wrong status, code: 0, info: "bad <22>x<22> <C3><A9><01>"'
    )
    assert reason(CheckResult(Status.PROCERR, code=-1, duration=0)) == (
        ", reason: External check error, code: -1, check duration: 0ms"
    )
    assert f'"{"y" * 127}"' in reason(CheckResult(Status.L7RSP, "y" * 200))


def test_what_a_server_said_is_harmless_in_the_statistics():
    found = CheckResult(Status.L7STS, 'a "\x1b[31m" \x9b\xe9' + "y" * 200)
    assert found.shown_text == 'a "<1B>[31m" <9B><E9>' + "y" * 115


@given(st.text(alphabet=st.characters(max_codepoint=255)))
def test_escaped_text_is_always_one_printable_line(text: str) -> None:
    assert escaped(text).isprintable()
    assert '"' not in escaped(text)


def test_every_status_has_a_meaning() -> None:
    assert {status.outcome for status in Status} == set(Outcome)
    assert all(status.description for status in Status)
