from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from health_world import step
from pasvport.address import Endpoint, Family
from pasvport.errors import ConfigError
from pasvport.health.agent import AgentDialogue, AgentReply, parse_reply
from pasvport.health.dialogue import ScriptDialogue
from pasvport.health.event import (
    Action,
    Broken,
    BytesReceived,
    Connect,
    Connected,
    DataSent,
    Event,
    Finish,
    Patience,
    PeerClosed,
    Send,
    TimedOut,
    WaitUntil,
)
from pasvport.health.result import CheckResult, Status
from pasvport.health.script import prepare
from pasvport.model import CheckStep
from pasvport.regex import Regex

PATIENCE = Patience(1000)
CAPACITY = 64


def dialogue(*steps: CheckStep, scripted: bool = True, patience: Patience = PATIENCE) -> ScriptDialogue:
    return ScriptDialogue(prepare(steps, scripted=scripted), patience, CAPACITY)


def play(talk: ScriptDialogue | AgentDialogue, *events: Event | bytes) -> list[Action]:
    """Every action, in order; sends and later connects are answered at once."""
    actions, queue = talk.start(), list(events)
    done = list(actions)
    while queue:
        event = queue.pop(0)
        actions = talk.receive(BytesReceived(event) if isinstance(event, bytes) else event)
        done += actions
        if any(isinstance(action, Send) for action in actions):
            queue.insert(0, DataSent())
    return done


def outcome(talk: ScriptDialogue | AgentDialogue, *events: Event | bytes) -> CheckResult | None:
    last = play(talk, *events)[-1]
    return last.result if isinstance(last, Finish) else None


def test_a_plain_check_connects_and_is_content() -> None:
    assert play(dialogue(scripted=False), Connected()) == [
        Connect(quiet=True),
        WaitUntil(1000),
        Finish(CheckResult(Status.L4OK)),
    ]


def test_a_greeting_check_speaks_ftp() -> None:
    talk = dialogue(step("connect", port=21), step("rstring", "^220"), step("send", "QUIT\r\n"), step("string", "221"))
    assert play(talk, Connected(), b"220 ready\r\n", b"221 bye\r\n") == [
        Connect(port=21),
        WaitUntil(1000),
        Send(b"QUIT\r\n"),
        Finish(CheckResult(Status.L7OK, "(tcp-check)")),
    ]


GREETING = b"220 hi\r\n"
CASES: list[tuple[str, list[CheckStep], list[Event | bytes], Status | None, str]] = [
    # Texts as HAProxy 2.6.12 gave them on the same scripts and peers.
    ("refused, implied connect", [step("string", "x")], [Broken("Connection refused")], Status.L4CON,
     "Connection refused at initial connection step of tcp-check"),
    ("refused, own connect", [step("connect", comment="hello")], [Broken("Connection refused")], Status.L4CON,
     "Connection refused at step 1 of tcp-check (connect) comment: 'hello'"),
    ("refused, port", [step("connect", port=2)], [Broken("Connection refused")], Status.L4CON,
     "Connection refused at step 1 of tcp-check (connect port 2)"),
    ("connect is enough", [step("connect")], [Connected()], Status.L4OK, "(tcp-check)"),
    ("no step at all", [], [Connected()], Status.L4OK, ""),
    ("connect timeout", [step("connect")], [TimedOut()], Status.L4TOUT, " at step 1 of tcp-check (connect)"),
    ("send is enough", [step("send", "x")], [Connected()], Status.L7OK, "(tcp-check)"),
    ("regex timeout", [step("rstring", "^221", comment="c 1")], [Connected(), GREETING, TimedOut()], Status.L7TOUT,
     " at step 1 of tcp-check (expect regex) comment: 'c 1'"),
    ("string timeout", [step("string", "abc")], [Connected(), TimedOut()], Status.L7TOUT,
     " at step 1 of tcp-check (expect string 'abc')"),
    ("binary timeout", [step("binary", "ABC")], [Connected(), TimedOut()], Status.L7TOUT,
     " at step 1 of tcp-check (expect binary 'ABC')"),
    ("binary regex timeout", [step("rbinary", "0d0a")], [Connected(), GREETING, TimedOut()], Status.L7TOUT,
     " at step 1 of tcp-check (expect binary regex)"),
    ("binary regex, upper case", [step("rbinary", "^323230206869")], [Connected(), GREETING], Status.L7OK,
     "(tcp-check)"),
    ("mismatch, closed", [step("string", "abc", comment="foo")], [Connected(), b"500", PeerClosed()], Status.L7RSP,
     "TCPCHK did not match content 'abc' at step 1 comment: foo"),
    ("regex mismatch", [step("rstring", "^22")], [Connected(), b"500", PeerClosed()], Status.L7RSP,
     "TCPCHK did not match content (regex) at step 1"),
    ("binary mismatch", [step("binary", "AB")], [Connected(), b"500", PeerClosed()], Status.L7RSP,
     "TCPCHK did not match content (binary) at step 1"),
    ("binary regex mismatch", [step("rbinary", "^41")], [Connected(), b"500", PeerClosed()], Status.L7RSP,
     "TCPCHK did not match content (binary regex) at step 1"),
    ("unwanted", [step("string", "no", negated=True)], [Connected(), b"500 no"], Status.L7RSP,
     "TCPCHK matched unwanted content 'no' at step 1"),
    ("absence is not proved yet", [step("string", "z", negated=True)], [Connected(), GREETING], None, ""),
    ("absence proved by the end", [step("string", "z", negated=True)], [Connected(), GREETING, PeerClosed()],
     Status.L7OK, "(tcp-check)"),
    ("absence proved by min-recv", [step("string", "z", negated=True, min_recv=3)], [Connected(), GREETING],
     Status.L7OK, "(tcp-check)"),
    ("min-recv 0 does not wait", [step("string", "abc", min_recv=0)], [Connected(), GREETING], Status.L7RSP,
     "TCPCHK did not match content 'abc' at step 1"),
    ("min-recv waits", [step("string", "22", min_recv=9)], [Connected(), GREETING], None, ""),
    ("full buffer decides", [step("string", "abc")], [Connected(), b"x" * 99], Status.L7RSP,
     "TCPCHK did not match content 'abc' at step 1"),
    ("full buffer proves absence", [step("string", "abc", negated=True)], [Connected(), b"x" * 99], Status.L7OK,
     "(tcp-check)"),
    ("empty", [step("string", "abc", comment="zz")], [Connected(), PeerClosed()], Status.L7RSP,
     "TCPCHK got an empty response at step 1 comment: 'zz'"),
    ("reset", [step("string", "abc", comment="zz")], [Connected(), Broken("Connection reset by peer")],
     Status.SOCKERR, "Connection reset by peer at step 1 of tcp-check (expect string 'abc') comment: 'zz'"),
    ("reset after enough", [step("string", "220")], [Connected(), GREETING, Broken("x")], Status.L7OK, "(tcp-check)"),
    ("reset after too little", [step("string", "zzz")], [Connected(), GREETING, Broken("x")], Status.L7RSP,
     "TCPCHK did not match content 'zzz' at step 1"),
    ("three expects, one buffer", [step("comment", comment="first"), step("string", "220"), step("string", "hi"),
                                   step("string", "abc")], [Connected(), GREETING, TimedOut()], Status.L7TOUT,
     " at step 4 of tcp-check (expect string 'abc') comment: 'first'"),
    ("comment lines count as steps", [step("connect"), step("comment", comment="first"), step("string", "220"),
                                      step("send", "QUIT"), step("comment", comment="second"), step("string", "221")],
     [Connected(), GREETING, TimedOut()], Status.L7TOUT,
     " at step 6 of tcp-check (expect string '221') comment: 'second'"),
    ("a comment ends at its connect", [step("comment", comment="aaa"), step("connect"), step("string", "abc")],
     [Connected(), TimedOut()], Status.L7TOUT, " at step 3 of tcp-check (expect string 'abc')"),
    ("a send forgets what was read", [step("string", "220"), step("send", "x"), step("string", "220")],
     [Connected(), GREETING, PeerClosed()], Status.L7RSP, "TCPCHK got an empty response at step 3"),
    ("a negated expect is asked again", [step("string", "b", negated=True, min_recv=0), step("string", "a"),
                                         step("string", " b")], [Connected(), b"220 a", b" b"], Status.L7RSP,
     "TCPCHK matched unwanted content 'b' at step 1"),
    ("error status and message", [step("string", "abc", error_status="L7STS", on_error="oops", comment="cc")],
     [Connected(), b"x", PeerClosed()], Status.L7STS, "oops comment: cc"),
    ("ok status and message", [step("string", "220", ok_status="L7OKC", on_success="yes")], [Connected(), GREETING],
     Status.L7OKC, "yes"),
    ("timeout status", [step("string", "abc", timeout_status="L6TOUT")], [Connected(), TimedOut()], Status.L6TOUT,
     " at step 1 of tcp-check (expect string 'abc')"),
    ("second connect refused", [step("connect"), step("string", "220"), step("connect", port=1), step("string", "x")],
     [Connected(), GREETING, Broken("Connection refused")], Status.L4CON,
     "Connection refused at step 3 of tcp-check (connect port 1)"),
    ("send too large", [step("send", "x" * CAPACITY)], [Connected()], Status.L7RSP,
     f"tcp-check send : string too large ({CAPACITY}) for buffer size ({CAPACITY}) at step 1"),
    ("a pattern is printed up to its NUL", [step("binary", b"A\0B")], [Connected(), TimedOut()], Status.L7TOUT,
     " at step 1 of tcp-check (expect binary 'A')"),
]  # fmt: skip


@pytest.mark.parametrize(("steps", "events", "status", "text"), [case[1:] for case in CASES], ids=[c[0] for c in CASES])
def test_results(steps: list[CheckStep], events: list[Event | bytes], status: Status | None, text: str) -> None:
    result = outcome(dialogue(*steps), *events)
    if status is None:
        assert result is None
    else:
        assert result == CheckResult(status, text)


def test_a_second_connect_starts_with_an_empty_buffer_and_a_new_deadline() -> None:
    elsewhere = Endpoint(Family.IPV4, "127.0.0.2", 2121)
    talk = dialogue(
        step("connect", linger=True), step("string", "220"), step("connect", address=elsewhere), step("string", "220")
    )
    actions = play(talk, Connected(), GREETING, Connected())
    assert actions == [Connect(linger=True), WaitUntil(1000), Connect(endpoint=elsewhere), WaitUntil(1000)]
    assert talk.receive(BytesReceived(GREETING))[-1] == Finish(CheckResult(Status.L7OK, "(tcp-check)"))


def test_timeout_check_starts_afresh_once_connected() -> None:
    assert Patience.of(2000, 500, 100) == Patience(500, 100)
    assert Patience.of(2000, 500, None) == Patience(2000, None)
    assert Patience.of(2000, None, 100) == Patience(2000, 100)
    actions = play(dialogue(step("string", "x"), patience=Patience(500, 100)), Connected())
    assert actions[1:] == [WaitUntil(500), WaitUntil(100)]


def test_a_bad_expression_is_refused_when_the_script_is_made() -> None:
    with pytest.raises(ConfigError):
        prepare((step("rstring", "(unclosed"),), scripted=True)


def test_posix_classes_mean_what_they_mean_to_haproxy() -> None:
    regex = Regex(b"^[[:digit:]]{3}[[:space:]-][[:alpha:]]+$")
    assert regex.found_in(b"220 ready")
    assert not regex.found_in(b"220 12")


EVENTS = st.one_of(
    st.binary(min_size=1, max_size=90).map(BytesReceived),
    st.sampled_from([Connected(), PeerClosed(), DataSent(), TimedOut(), Broken("x")]),
)
STEPS = st.lists(
    st.one_of(
        st.builds(step, st.sampled_from(["string", "binary"]), st.binary(min_size=1, max_size=3),
                  negated=st.booleans(), min_recv=st.integers(-1, 9)),
        st.builds(step, st.just("rstring"), st.sampled_from(["^2", "0$", "."]), negated=st.booleans()),
        st.builds(step, st.just("send"), st.binary(min_size=1, max_size=70)),
        st.builds(step, st.just("connect"), port=st.integers(0, 3)),
        st.builds(step, st.just("comment"), comment=st.just("c")),
    ),
    max_size=6,
)  # fmt: skip


@given(STEPS, st.lists(EVENTS, max_size=30))
def test_any_events_in_any_order_end_in_one_result_or_none(steps: list[CheckStep], events: list[Event]) -> None:
    talk = dialogue(*steps)
    done = talk.start()
    for event in events:
        done += talk.receive(event)
        assert 0 <= talk.room <= CAPACITY
    finishes = [action for action in done if isinstance(action, Finish)]
    assert len(finishes) <= 1
    if finishes:
        assert done[-1] is finishes[0]
        assert talk.receive(TimedOut()) == []


@given(st.binary(max_size=60), st.lists(st.integers(1, 59), max_size=5), st.booleans())
def test_cuts_do_not_matter_to_a_positive_script(data: bytes, cuts: list[int], closes: bool) -> None:
    steps = (step("rstring", "2"), step("string", "0"), step("binary", b"\r\n"))
    ending: list[Event | bytes] = [PeerClosed()] if closes else [TimedOut()]
    whole = outcome(dialogue(*steps), Connected(), *([data] if data else []), *ending)
    edges = [0, *sorted({cut for cut in cuts if cut < len(data)}), len(data)]
    pieces = [data[a:b] for a, b in pairwise(edges) if data[a:b]]
    single = [data[i : i + 1] for i in range(len(data))]
    assert outcome(dialogue(*steps), Connected(), *pieces, *ending) == whole
    assert outcome(dialogue(*steps), Connected(), *single, *ending) == whole


# --- agents -------------------------------------------------------------------------------------------------------


def agent(send: bytes = b"") -> AgentDialogue:
    return AgentDialogue(send, PATIENCE, CAPACITY)


@pytest.mark.parametrize(
    ("line", "reply", "text"),
    [
        (b"50%", AgentReply(weight="50%"), ""),
        (b"down#disk full", AgentReply(unknown="down#disk", description=""), "agent reports an error : down#disk"),
        (b"fail,20%", AgentReply(health="fail", weight="20%"), "via agent : fail"),
        (b"Stopped # because ", AgentReply(health="Stopped", description="because "), "via agent : Stopped (because )"),
        (b"up ready #fine", AgentReply(health="up", admin="ready", description="fine"), "via agent : up (fine)"),
        (b"maxconn:30 bogus up", AgentReply(health="up", maxconn="30", unknown="bogus"), "via agent : up (bogus)"),
        (b"down bogus", AgentReply(health="down", unknown="bogus"), "via agent : down (bogus)"),
        (b"up down", AgentReply(health="down"), "via agent : down"),
        (b"weight:50%", AgentReply(unknown="weight:50%"), "agent reports an error : weight:50%"),
        (b"", AgentReply(), ""),
    ],
)
def test_agent_words(line: bytes, reply: AgentReply, text: str) -> None:
    said = parse_reply(line)
    assert said == reply
    assert said.result().text == text


def test_an_agent_is_sent_its_text_and_read_to_the_end_of_the_line() -> None:
    talk = agent(b"hello\n")
    assert play(talk, Connected(), b"7", b"5%\nrest") == [
        Connect(),
        WaitUntil(1000),
        Send(b"hello\n"),
        Finish(CheckResult(Status.CHECKED)),
    ]
    assert talk.report is not None
    assert talk.report.reply == AgentReply(weight="75%")


@pytest.mark.parametrize(
    ("events", "status", "text"),
    [
        ([Broken("Connection refused")], Status.L4CON, "Connection refused"),
        ([TimedOut()], Status.L4TOUT, ""),
        ([Connected(), TimedOut()], Status.L7TOUT, ""),
        ([Connected(), PeerClosed()], Status.L7RSP, "TCPCHK got an empty response at step 1"),
        ([Connected(), b"up", PeerClosed()], Status.CHECKED, "Ignoring incomplete line from agent"),
        ([Connected(), b"u" * 99], Status.CHECKED, "Ignoring incomplete line from agent"),
    ],
)
def test_an_agent_that_says_nothing_sensible(events: list[Event | bytes], status: Status, text: str) -> None:
    assert outcome(agent(), *events) == CheckResult(status, text)


@given(st.binary(max_size=200))
def test_any_bytes_of_an_agent_byte_by_byte_mean_what_they_mean_at_once(data: bytes) -> None:
    whole, single = agent(), agent()
    outcome(whole, Connected(), *([data] if data else []), PeerClosed())
    outcome(single, Connected(), *(data[i : i + 1] for i in range(len(data))), PeerClosed())
    assert whole.report is not None
    # A line that ends within the bound is the same line; past the bound both are incomplete.
    assert single.report == whole.report
