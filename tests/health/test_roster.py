"""Server states and their messages. The long stories are what HAProxy 2.6.12 said to the same orders."""

from __future__ import annotations

import pytest

from health_world import CHECKED, Witness, backend, config, server
from pasvport import model
from pasvport.control.statement import on_console
from pasvport.health.agent import AgentReport, parse_reply
from pasvport.health.result import CheckResult, Status
from pasvport.record import Admin, Operation
from pasvport.wire import ObservedErrors

PASSED = CheckResult(Status.L4OK, duration=0)
REFUSED = CheckResult(Status.L4CON, "Connection refused", duration=0)
LOGGING = model.Logging(log_health_checks=True)


def test_a_server_that_fails_its_first_check_is_down_at_once() -> None:
    witness = Witness(config(backend("b", server("s", check=CHECKED))))
    witness.roster.check_finished(0, 0, REFUSED)
    assert witness.said == [
        (
            1,
            'Server b/s is DOWN, reason: Layer4 connection problem, info: "Connection refused", check duration: 0ms. '
            "0 active and 0 backup servers left. 0 sessions active, 0 requeued, 0 remaining in queue.",
        ),
        (0, "backend b has no server available!"),
    ]
    (change,) = witness.changes
    assert (change.proxy, change.server, change.cause) == (0, 0, "down")
    assert not change.state.is_up


def test_down_then_up_again_with_the_numbers_of_the_queue() -> None:
    proxy = backend(
        "b", server("s", check=CHECKED), server("k", backup=True), redispatch=-1, is_frontend=True
    )  # a listen section
    witness = Witness(config(proxy), lambda _, __: (4, 3, 2))
    witness.roster.check_finished(0, 0, REFUSED)
    for _ in range(2):
        witness.roster.check_finished(0, 0, PASSED)
    assert witness.said == [
        (
            1,
            'Server b/s is DOWN, reason: Layer4 connection problem, info: "Connection refused", check duration: 0ms. '
            "0 active and 1 backup servers left. Running on backup. 4 sessions active, 3 requeued, "
            "0 remaining in queue.",
        ),
        (
            5,
            "Server b/s is UP, reason: Layer4 check passed, check duration: 0ms. 1 active and 1 backup servers online. "
            "2 sessions requeued, 3 total in queue.",
        ),
    ]
    assert [change.cause for change in witness.changes] == ["down", "up"]


@pytest.mark.parametrize(("redispatch", "persist", "moved"), [(0, False, 0), (1, True, 0), (1, False, 3)])
def test_queued_sessions_stay_unless_redispatch_lets_them_go(redispatch: int, persist: bool, moved: int) -> None:
    proxy = backend("b", server("s", check=CHECKED), redispatch=redispatch, persist=persist)
    witness = Witness(config(proxy), lambda _, __: (0, 3, 0))
    witness.roster.check_finished(0, 0, REFUSED)
    assert f"{moved} requeued, {3 - moved} remaining in queue." in witness.said[0][1]


def test_log_health_checks_takes_the_reason_out_of_the_state_message() -> None:
    slow = model.Check(enabled=True, rise=2, fall=2)
    witness = Witness(config(backend("b", server("s", check=slow, backup=True), logging=LOGGING)))
    for result in (PASSED, PASSED, REFUSED, REFUSED, REFUSED, PASSED, PASSED):
        witness.roster.check_finished(0, 0, result)
    refused = 'reason: Layer4 connection problem, info: "Connection refused", check duration: 0ms'
    passed = "reason: Layer4 check passed, check duration: 0ms"
    assert witness.texts() == [
        f"Health check for backup server b/s succeeded, {passed}, status: 2/2 UP.",
        f"Health check for backup server b/s failed, {refused}, status: 1/2 UP.",
        f"Health check for backup server b/s failed, {refused}, status: 0/2 DOWN.",
        "Backup Server b/s is DOWN. 0 active and 0 backup servers left. 0 sessions active, 0 requeued, "
        "0 remaining in queue.",
        "backend b has no server available!",
        f"Health check for backup server b/s succeeded, {passed}, status: 1/2 DOWN.",
        f"Health check for backup server b/s succeeded, {passed}, status: 2/2 UP.",
        "Backup Server b/s is UP. 0 active and 1 backup servers online. Running on backup. 0 sessions requeued, "
        "0 total in queue.",
    ]


def test_a_conditional_pass_is_stopping() -> None:
    witness = Witness(config(backend("b", server("s", check=CHECKED))))
    witness.roster.check_finished(0, 0, CheckResult(Status.L7OKC, "yes", duration=1))
    assert witness.texts() == [
        'Server b/s is stopping, reason: Layer7 check conditionally passed, code: 0, info: "yes", check duration: 1ms. '
        "0 active and 0 backup servers online. 0 sessions requeued, 0 total in queue.",
        "backend b has no server available!",
    ]
    assert witness.roster.view(0, 0).status == "NOLB"
    assert witness.changes[-1].state.is_up
    assert not witness.changes[-1].state.takes_new
    witness.roster.check_finished(0, 0, REFUSED)
    witness.roster.check_finished(0, 0, REFUSED)
    assert witness.said == []
    witness.roster.check_finished(0, 0, REFUSED)
    assert witness.said[0][0] == 5, "a server that was leaving already is not alarming"


# --- the long story -----------------------------------------------------------------------------------------------

LEFT = "0 sessions active, 0 requeued, 0 remaining in queue."
QUEUE = "0 sessions requeued, 0 total in queue."


def farm() -> Witness:
    """b: m (checked), n (disabled), bk (backup). t: t1 tracks m, t2 tracks n, t3 tracks t1. li: x tracks m."""
    b = backend(
        "b",
        server("m", check=CHECKED, weight=10),
        server("n", check=CHECKED, disabled=True),
        server("bk", backup=True),
    )
    t = backend("t", server("t1", track="b/m"), server("t2", track="b/n"), server("t3", track="t/t1"), index=1)
    li = backend("li", server("x", track="b/m"), index=2, is_frontend=True)
    return Witness(config(b, t, li))


STORY: list[tuple[str, list[str]]] = [
    ("b/m drain", [
        f"Server b/m enters drain state. 0 active and 1 backup servers online. Running on backup. {QUEUE}",
        f"Server li/x enters drain state via b/m. 0 active and 0 backup servers online. {QUEUE}",
        "proxy li has no server available!",
        f"Server t/t1 enters drain state via b/m. 1 active and 0 backup servers online. {QUEUE}",
        f"Server t/t3 enters drain state via t/t1. 0 active and 0 backup servers online. {QUEUE}",
        "backend t has no server available!",
    ]),
    ("b/m maint", [
        f"Server b/m is going DOWN for maintenance. 0 active and 1 backup servers left. Running on backup. {LEFT}",
        f"Server li/x is going DOWN for maintenance via b/m. 0 active and 0 backup servers left. {LEFT}",
        f"Server t/t1 is going DOWN for maintenance via b/m. 0 active and 0 backup servers left. {LEFT}",
        f"Server t/t3 is going DOWN for maintenance via t/t1. 0 active and 0 backup servers left. {LEFT}",
    ]),
    ("b/m drain", [
        "Server b/m is UP/DRAIN (leaving forced maintenance).",
        "Server b/m remains in forced drain mode.",
        "Server li/x is UP/DRAIN (leaving maintenance).",
        "Server li/x is leaving forced drain but remains in drain mode via b/m.",
        "Server t/t1 is UP/DRAIN (leaving maintenance).",
        "Server t/t1 is leaving forced drain but remains in drain mode via b/m.",
        "Server t/t3 is UP/DRAIN (leaving maintenance).",
        "Server t/t3 is leaving forced drain but remains in drain mode via t/t1.",
    ]),
    ("b/m ready", [f"Server {name} is UP (leaving forced drain)." for name in ("b/m", "li/x", "t/t1", "t/t3")]),
    ("b/m maint", [
        f"Server b/m is going DOWN for maintenance. 0 active and 1 backup servers left. Running on backup. {LEFT}",
        f"Server li/x is going DOWN for maintenance via b/m. 0 active and 0 backup servers left. {LEFT}",
        "proxy li has no server available!",
        f"Server t/t1 is going DOWN for maintenance via b/m. 1 active and 0 backup servers left. {LEFT}",
        f"Server t/t3 is going DOWN for maintenance via t/t1. 0 active and 0 backup servers left. {LEFT}",
        "backend t has no server available!",
    ]),
    ("b/m ready", [
        "Server b/m is UP/READY (leaving forced maintenance).",
        "Server li/x is UP/READY (leaving maintenance).",
        "Server t/t1 is UP/READY (leaving maintenance).",
        "Server t/t3 is UP/READY (leaving maintenance).",
    ]),
    ("b/n ready", [
        "Server b/n is UP/READY (leaving forced maintenance).",
        "Server t/t2 is UP/READY (leaving maintenance).",
    ]),
    ("b/n maint", [
        f"Server b/n is going DOWN for maintenance. 1 active and 1 backup servers left. {LEFT}",
        f"Server t/t2 is going DOWN for maintenance via b/n. 2 active and 0 backup servers left. {LEFT}",
    ]),
    ("b/m down", [
        "Server b/m is DOWN, changed from CLI. 0 active and 1 backup servers left. Running on backup. " + LEFT,
        f"Server li/x is DOWN via b/m. 0 active and 0 backup servers left. {LEFT}",
        "proxy li has no server available!",
        f"Server t/t1 is DOWN via b/m. 1 active and 0 backup servers left. {LEFT}",
        f"Server t/t3 is DOWN via t/t1. 0 active and 0 backup servers left. {LEFT}",
        "backend t has no server available!",
    ]),
    ("b/m checks", [
        "Server b/m is UP, reason: Layer4 check passed, check duration: 0ms. 1 active and 1 backup servers online. "
        + QUEUE,
        f"Server li/x is UP via b/m. 1 active and 0 backup servers online. {QUEUE}",
        f"Server t/t1 is UP via b/m. 1 active and 0 backup servers online. {QUEUE}",
        f"Server t/t3 is UP via t/t1. 2 active and 0 backup servers online. {QUEUE}",
    ]),
    ("b/m 0", []),
    ("b/m 100%", []),
    ("t/t1 maint", [
        f"Server t/t1 is going DOWN for maintenance. 1 active and 0 backup servers left. {LEFT}",
        f"Server t/t3 is going DOWN for maintenance via t/t1. 0 active and 0 backup servers left. {LEFT}",
        "backend t has no server available!",
    ]),
    ("t/t1 ready", [
        "Server t/t1 is UP/READY (leaving forced maintenance).",
        "Server t/t3 is UP/READY (leaving maintenance).",
    ]),
    ("b/m drain", [
        f"Server b/m enters drain state. 0 active and 1 backup servers online. Running on backup. {QUEUE}",
        f"Server li/x enters drain state via b/m. 0 active and 0 backup servers online. {QUEUE}",
        "proxy li has no server available!",
        f"Server t/t1 enters drain state via b/m. 1 active and 0 backup servers online. {QUEUE}",
        f"Server t/t3 enters drain state via t/t1. 0 active and 0 backup servers online. {QUEUE}",
        "backend t has no server available!",
    ]),
    ("b/m down", [
        "Server b/m is DOWN, changed from CLI. 0 active and 1 backup servers left. Running on backup. " + LEFT,
        "Server b/m remains in forced drain mode.",
        f"Server li/x is DOWN via b/m. 0 active and 0 backup servers left. {LEFT}",
        "Server li/x is leaving forced drain but remains in drain mode via b/m.",
        f"Server t/t1 is DOWN via b/m. 0 active and 0 backup servers left. {LEFT}",
        "Server t/t1 is leaving forced drain but remains in drain mode via b/m.",
        f"Server t/t3 is DOWN via t/t1. 0 active and 0 backup servers left. {LEFT}",
        "Server t/t3 is leaving forced drain but remains in drain mode via t/t1.",
    ]),
    ("b/m checks", [
        "Server b/m is UP, reason: Layer4 check passed, check duration: 0ms. 0 active and 1 backup servers online. "
        f"Running on backup. {QUEUE}",
        "Server b/m remains in forced drain mode.",
        f"Server li/x is UP via b/m. 0 active and 0 backup servers online. {QUEUE}",
        "Server li/x is leaving forced drain but remains in drain mode via b/m.",
        f"Server t/t1 is UP via b/m. 0 active and 0 backup servers online. {QUEUE}",
        "Server t/t1 is leaving forced drain but remains in drain mode via b/m.",
        f"Server t/t3 is UP via t/t1. 0 active and 0 backup servers online. {QUEUE}",
        "Server t/t3 is leaving forced drain but remains in drain mode via t/t1.",
    ]),
    ("b/m stopping", [
        "Server b/m is stopping, changed from CLI. 0 active and 1 backup servers online. Running on backup. " + QUEUE,
        "Server b/m remains in forced drain mode.",
        f"Server li/x is stopping via b/m. 0 active and 0 backup servers online. {QUEUE}",
        "Server li/x is leaving forced drain but remains in drain mode via b/m.",
        f"Server t/t1 is stopping via b/m. 0 active and 0 backup servers online. {QUEUE}",
        "Server t/t1 is leaving forced drain but remains in drain mode via b/m.",
        f"Server t/t3 is stopping via t/t1. 0 active and 0 backup servers online. {QUEUE}",
        "Server t/t3 is leaving forced drain but remains in drain mode via t/t1.",
    ]),
]  # fmt: skip

PLACES = {"b/m": (0, 0), "b/n": (0, 1), "t/t1": (1, 0)}


def order(witness: Witness, text: str) -> None:
    name, word = text.split()
    place = PLACES[name]
    if word in ("ready", "drain", "maint"):
        witness.roster.set_admin(*place, word)
    elif word in ("up", "down", "stopping"):
        witness.roster.set_health(*place, word)
    elif word == "checks":
        witness.roster.check_finished(*place, PASSED)
        witness.roster.check_finished(*place, PASSED)
    else:
        assert witness.roster.set_weight(*place, word) == ""


def test_the_operators_orders_are_answered_as_haproxy_answers_them() -> None:
    witness = farm()
    witness.roster.check_finished(0, 0, PASSED)
    assert witness.said == []
    told = []
    for text, _ in STORY:
        order(witness, text)
        told.append((text, witness.texts()))
    assert told == STORY


def test_start_up_states_are_inherited_silently() -> None:
    witness = farm()
    states = {(proxy, number): state for proxy, number, state in witness.roster.states()}
    assert (witness.said, witness.changes) == ([], [])
    assert states[0, 1].admin == Admin.FORCED_MAINT
    assert states[1, 1].admin == Admin.INHERITED_MAINT
    assert not states[1, 1].is_up
    assert states[0, 0].takes_new
    assert witness.roster.view(0, 1).admin == Admin.FORCED_MAINT | Admin.CONFIG_MAINT
    assert witness.roster.view(1, 1).status == "MAINT (via b/n)"
    assert not witness.roster.may_check(0, 1)
    witness.roster.set_admin(0, 1, "ready")
    assert witness.changes[0].state.is_up
    assert witness.roster.may_check(0, 1)


def test_the_console_quotes_the_name_of_an_empty_backend() -> None:
    proxy = backend("b")
    assert on_console(proxy, 0, "backend b has no server available!") == (
        "ALERT",
        "backend 'b' has no server available!",
    )
    assert on_console(proxy, 1, "Server b/s is DOWN") == ("WARNING", "Server b/s is DOWN")


# --- status texts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("results", "status"),
    [
        ("", "UP 1/3"),
        ("+", "UP"),
        ("+-", "UP 2/3"),
        ("+--", "UP 1/3"),
        ("+---", "DOWN"),
        ("+---+", "DOWN 1/2"),
        ("+---++", "UP"),
    ],
)
def test_status_of_a_checked_server(results: str, status: str) -> None:
    witness = Witness(config(backend("b", server("s", check=CHECKED), server("u"))))
    for result in results:
        witness.roster.check_finished(0, 0, PASSED if result == "+" else REFUSED)
    assert witness.roster.view(0, 0).status == status
    assert witness.roster.view(0, 1).status == "no check"


def test_times_and_counts_of_a_view() -> None:
    witness = Witness(config(backend("b", server("s", check=CHECKED))))
    witness.clock += 5
    witness.roster.check_finished(0, 0, REFUSED)
    witness.clock += 7
    seen = witness.roster.view(0, 0)
    assert (seen.changed_ago, seen.downtime, seen.failed_checks, seen.times_down) == (7, 7, 1, 1)
    assert witness.roster.backend_view(0).downtime == 7
    witness.roster.check_finished(0, 0, PASSED)
    witness.roster.check_finished(0, 0, PASSED)
    witness.clock += 3
    seen = witness.roster.view(0, 0)
    assert (seen.changed_ago, seen.downtime, seen.operation) == (3, 7, Operation.RUNNING)
    whole = witness.roster.backend_view(0)
    assert (whole.active, whole.backup, whole.downtime, whole.times_down) == (1, 0, 7, 1)


def test_slow_start_gives_workers_the_time_of_the_return() -> None:
    witness = Witness(config(backend("b", server("s", check=CHECKED, slowstart=10_000))))
    assert witness.roster.states()[0][2].operation is Operation.RUNNING
    witness.roster.check_finished(0, 0, REFUSED)
    witness.roster.check_finished(0, 0, PASSED)
    witness.roster.check_finished(0, 0, PASSED)
    state = witness.changes[-1].state
    assert (state.operation, state.started, state.takes_new) == (Operation.STARTING, witness.clock, True)
    witness.clock += 10
    late = witness.roster.states()[0][2]
    assert (late.operation, late.started) == (Operation.RUNNING, 0.0)


# --- agents -------------------------------------------------------------------------------------------------------


def asked(**more: object) -> Witness:
    given: dict[str, object] = {"check": CHECKED, "agent": model.Agent(enabled=True), "weight": 10, **more}
    witness = Witness(config(backend("ag", server("a", **given))))
    witness.roster.check_finished(0, 0, PASSED)
    return witness


def hear(witness: Witness, line: str) -> None:
    witness.roster.agent_finished(0, 0, AgentReport(reply=parse_reply(line.encode())), 0)


AGENT_LEFT = f"0 active and 0 backup servers left. {LEFT}"
AGENT_STORY: list[tuple[str, list[str], str, int, str]] = [
    ("50%", [], "UP", 5, ""),
    ("down#disk full", [], "UP", 5, "agent reports an error : down#disk"),
    ("up", [], "UP", 5, "via agent : up"),
    ("fail,20%", [
        'Server ag/a is DOWN, reason: Layer7 wrong status, code: 0, info: "via agent : fail", check duration: 0ms. '
        + AGENT_LEFT,
        "backend ag has no server available!",
    ], "DOWN (agent)", 2, "via agent : fail"),
    ("up 100%", [
        'Server ag/a is UP, reason: Layer7 check passed, code: 0, info: "via agent : up", check duration: 0ms. '
        f"1 active and 0 backup servers online. {QUEUE}",
    ], "UP", 10, "via agent : up"),
    ("maint", [
        f"Server ag/a is going DOWN for maintenance. {AGENT_LEFT}",
        "backend ag has no server available!",
    ], "MAINT", 10, ""),
    ("ready", ["Server ag/a is UP/READY (leaving forced maintenance)."], "UP 1/3", 10, ""),
    ("drain", [
        f"Server ag/a enters drain state. 0 active and 0 backup servers online. {QUEUE}",
        "backend ag has no server available!",
    ], "DRAIN (agent)", 10, ""),
    ("up ready", ["Server ag/a is UP (leaving forced drain)."], "UP", 10, "via agent : up"),
    ("weight:50%", [], "UP", 10, "agent reports an error : weight:50%"),
    ("maxconn:30 bogus up", [], "UP", 10, "via agent : up (bogus)"),
    ("maxconn:x", [], "UP", 10, "agent warns : maxconn string empty or preceded by garbage"),
    ("up 5000%", [], "UP", 256, "via agent : up"),
    ("", [], "UP", 256, ""),
]  # fmt: skip


def test_what_an_agent_says_is_done_as_haproxy_does_it() -> None:
    witness = asked()
    for line, messages, status, weight, text in AGENT_STORY:
        hear(witness, line)
        seen = witness.roster.view(0, 0)
        assert (witness.texts(), seen.status, seen.weight, seen.agent.result.text) == (messages, status, weight, text)
    assert witness.roster.view(0, 0).maxconn == 30


def test_an_agent_that_cannot_be_asked_changes_nothing() -> None:
    witness = asked()
    hear(witness, "up")
    for failure in (REFUSED, CheckResult(Status.L7TOUT), CheckResult(Status.L7RSP, "TCPCHK got an empty response")):
        witness.roster.agent_finished(0, 0, AgentReport(failure=failure), 3)
        assert witness.roster.view(0, 0).status == "UP"
    witness.roster.agent_finished(0, 0, AgentReport(failure=CheckResult(Status.CHECKED, "Ignoring incomplete line")), 3)
    assert (witness.said, witness.roster.view(0, 0).agent.health) == ([], 1)


def test_a_passing_check_does_not_overrule_an_agent_that_said_down() -> None:
    witness = asked()
    hear(witness, "down")
    witness.roster.check_finished(0, 0, PASSED)
    witness.roster.check_finished(0, 0, PASSED)
    assert witness.roster.view(0, 0).status == "DOWN (agent)"
    hear(witness, "up")
    assert witness.roster.view(0, 0).status == "UP"


@pytest.mark.parametrize(
    ("text", "weight", "complaint"),
    [
        ("0", 0, ""),
        ("256", 256, ""),
        ("50%", 5, ""),
        ("99999999%", 256, ""),
        ("257", 10, "Absolute weight can only be between 0 and 256 inclusive."),
        ("-1%", 10, "Relative weight must be positive."),
        ("5x", 10, "Trailing garbage in weight string"),
        ("x", 10, "Empty weight string empty or preceded by garbage"),
        ("", 10, "Require <weight> or <weight%>."),
    ],
)
def test_weights(text: str, weight: int, complaint: str) -> None:
    witness = Witness(config(backend("b", server("s", weight=10))))
    assert witness.roster.set_weight(0, 0, text) == complaint
    assert witness.roster.view(0, 0).weight == weight


def test_a_static_algorithm_only_takes_all_or_nothing() -> None:
    balance = model.Balance(algorithm=model.Algorithm.SOURCE)
    witness = Witness(config(backend("b", server("s", weight=10), balance=balance)))
    assert "static LB algorithm" in witness.roster.set_weight(0, 0, "50%")
    assert witness.roster.set_weight(0, 0, "0%") == ""
    assert witness.texts() == ["backend b has no server available!"]


def test_a_check_that_is_switched_off_is_neither_run_nor_believed() -> None:
    witness = asked()
    witness.roster.set_checking(0, 0, agent=False, enabled=False)
    witness.roster.set_checking(0, 0, agent=True, enabled=False)
    witness.roster.check_finished(0, 0, REFUSED)
    hear(witness, "down")
    assert not witness.roster.may_check(0, 0)
    assert not witness.roster.may_ask_agent(0, 0)
    assert witness.roster.view(0, 0).is_usable
    witness.roster.set_checking(0, 0, agent=True, enabled=True)
    hear(witness, "down")
    assert not witness.roster.view(0, 0).is_usable


# --- observed traffic ---------------------------------------------------------------------------------------------


def watched(action: model.OnError, *, fast: int = 0, **more: object) -> Witness:
    check = model.Check(
        enabled=True, observe=model.ObserveMode.LAYER4, error_limit=2, on_error=action, fast_interval=fast
    )
    witness = Witness(config(backend("b", server("m", check=check), logging=LOGGING, **more)))
    witness.roster.check_finished(0, 0, PASSED)
    witness.texts()
    return witness


HANA = 'reason: Health analyze, info: "Detected 2 consecutive errors, last one was: L4 unsuccessful connection"'


@pytest.mark.parametrize(
    ("action", "counts"),
    [
        (model.OnError.FASTINTER, []),
        (model.OnError.FAIL_CHECK, ["2/3 UP", "1/3 UP", "0/2 DOWN"]),
        (model.OnError.SUDDEN_DEATH, ["1/3 UP", "0/2 DOWN"]),
        (model.OnError.MARK_DOWN, ["0/2 DOWN"]),
    ],
)
def test_observed_errors_count_as_haproxy_counts_them(action: model.OnError, counts: list[str]) -> None:
    witness = watched(action)
    for _ in range(8):
        witness.roster.observed(ObservedErrors(0, 0, 1, False))
    texts = witness.texts()
    assert [text for text in texts if text.startswith("Health")] == [
        f"Health check for server b/m failed, {HANA}, status: {count}." for count in counts
    ]
    assert any("is DOWN" in text for text in texts) is bool(counts)
    assert witness.roster.view(0, 0).failed_observations == 4


def test_a_success_between_errors_clears_them() -> None:
    witness = watched(model.OnError.MARK_DOWN)
    for good in (True, True, False):
        witness.roster.observed(ObservedErrors(0, 0, 1, good))
    witness.roster.check_finished(0, 0, PASSED)
    witness.roster.observed(ObservedErrors(0, 0, 1, False))
    assert witness.texts() == []


def test_fastinter_is_asked_for_where_there_is_one() -> None:
    hurried: list[tuple[int, int]] = []
    for fast in (0, 100):
        witness = watched(model.OnError.FASTINTER, fast=fast)
        witness.roster.on_hurry = lambda proxy, server: hurried.append((proxy, server))
        witness.roster.observed(ObservedErrors(0, 0, 2, False))
    assert hurried == [(0, 0)]


def test_a_server_that_is_not_observed_is_left_alone() -> None:
    witness = Witness(config(backend("b", server("s", check=CHECKED))))
    witness.roster.observed(ObservedErrors(0, 0, 100, False))
    assert (witness.said, witness.changes) == ([], [])


def test_thousands_of_servers_going_down_at_once_are_counted_one_by_one() -> None:
    many = tuple(server(f"s{number}", check=CHECKED) for number in range(2000))
    witness = Witness(config(backend("b", *many)))
    for number in range(2000):
        witness.roster.check_finished(0, number, REFUSED)
    assert len(witness.changes) == 2000
    assert witness.texts()[-1] == "backend b has no server available!"
    assert witness.roster.backend_view(0).active == 0
