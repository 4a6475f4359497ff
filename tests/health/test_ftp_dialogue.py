"""`option ftp-check` without a network: playbooks, every refusal at every step, every cut, junk."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pasvport.health.event import (
    Action,
    Broken,
    BytesReceived,
    CloseData,
    Connect,
    ConnectData,
    Connected,
    DataBroken,
    DataClosed,
    DataConnected,
    DataReceived,
    DataSent,
    Event,
    Finish,
    Patience,
    PeerClosed,
    Send,
    StepTimedOut,
    TimedOut,
    WaitBriefly,
    WaitUntil,
)
from pasvport.health.ftp_dialogue import FtpDialogue
from pasvport.health.ftp_steps import LAST_WORD, LULL, MOST_CONTROL, MOST_DATA, MOST_LULLS, rendered_page
from pasvport.health.result import CheckResult, Outcome, Status
from pasvport.model import FtpCheck, FtpCheckAction, FtpCheckMode, FtpPassive

PAGE = Path(__file__).parents[2] / "docs" / "ftp-check.md"
BANNER_ONLY = FtpCheck()
LOGIN = FtpCheck("probe", "plough")
LIST = FtpCheck("probe", "plough", FtpCheckMode.PASSIVE, FtpCheckAction.LIST)
RETR = FtpCheck("probe", "plough", FtpCheckMode.EPSV, FtpCheckAction.RETR, "a file.txt")
EITHER = FtpCheck("probe", "plough", FtpCheckMode.NONE, FtpCheckAction.LIST, "/pub")
WHOLE = [
    Connected(),
    b"220-Welcome\r\n230 inside\r\n220 ready\r\n",
    b"331 Password, please\r\n",
    b"230 in\r\n",
    b"211-Features:\r\n PASV\r\n SIZE\r\n MLST type*;size*;\r\n XCRC\r\n211 End\r\n",
    b"200 TYPE A\r\n",
    b"227 Entering Passive Mode (10,9,9,9,195,80).\r\n",
    DataConnected(),
    b"150 Here it comes\r\n",
    DataReceived(100),
    DataClosed(),
    b"226 Done\r\n",
    b"221 Bye\r\n",
]
SENT = [b"USER probe", b"PASS plough", b"FEAT", b"TYPE A", b"PASV", b"LIST", b"QUIT"]


def play(talk: FtpDialogue, *events: Event | bytes) -> list[Action]:
    """Every action, in order; sends are confirmed at once."""
    done = list(talk.start())
    queue = list(events)
    while queue:
        event = queue.pop(0)
        actions = talk.receive(BytesReceived(event) if isinstance(event, bytes) else event)
        done += actions
        if any(isinstance(action, Send) for action in actions):
            queue.insert(0, DataSent())
    return done


def talk(wanted: FtpCheck = LIST, *, ipv6: bool = False, passive: FtpPassive = FtpPassive.AUTO) -> FtpDialogue:
    return FtpDialogue(wanted, Patience(2000), passive, ipv6=ipv6)


def verdict(
    wanted: FtpCheck, *events: Event | bytes, ipv6: bool = False, passive: FtpPassive = FtpPassive.AUTO
) -> CheckResult | None:
    last = play(talk(wanted, ipv6=ipv6, passive=passive), *events)[-1]
    return last.result if isinstance(last, Finish) else None


def sent(actions: list[Action]) -> list[bytes]:
    return b"".join(action.data for action in actions if isinstance(action, Send)).split(b"\r\n")[:-1]


# --- what goes well -----------------------------------------------------------------------------------------------


def test_without_a_user_the_banner_is_enough() -> None:
    assert play(talk(BANNER_ONLY), Connected(), b"220 ready\r\n", b"221 bye\r\n") == [
        Connect(linger=True),
        WaitUntil(2000),
        Send(b"QUIT\r\n"),
        WaitUntil(LAST_WORD),
        Finish(CheckResult(Status.L7OK, "(ftp-check)", 220)),
    ]


def test_a_login_is_followed_by_feat_and_quit() -> None:
    actions = play(talk(LOGIN), *WHOLE[:5], b"221 bye\r\n")
    assert sent(actions) == [b"USER probe", b"PASS plough", b"FEAT", b"QUIT"]
    assert actions[-1] == Finish(CheckResult(Status.L7OK, "(ftp-check)", 211))


def test_a_listing_goes_through_every_step() -> None:
    check = talk()
    actions = play(check, *WHOLE)
    assert sent(actions) == SENT
    assert ConnectData(50000) in actions
    assert actions[-1] == Finish(CheckResult(Status.L7OK, "(ftp-check)", 226))
    assert check.receive(TimedOut()) == []
    assert check.features == (b"MLST", b"PASV", b"SIZE")


def test_a_file_is_retrieved_over_epsv() -> None:
    events = list(WHOLE)
    events[6] = b"229 Extended (|||50001|)\r\n"
    actions = play(talk(RETR), *events)
    assert sent(actions) == [b"USER probe", b"PASS plough", b"FEAT", b"TYPE I", b"EPSV", b"RETR a file.txt", b"QUIT"]
    assert ConnectData(50001) in actions


@pytest.mark.parametrize(
    ("wanted", "ipv6", "asked"),
    [
        (EITHER, False, [b"PASV", b"EPSV"]),
        (EITHER, True, [b"EPSV"]),
        (LIST, False, [b"PASV", b"EPSV"]),
        (LIST, True, [b"EPSV"]),
        (RETR, False, [b"EPSV"]),
        (FtpCheck("probe", "plough", FtpCheckMode.PASSIVE), False, [b"PASV", b"EPSV"]),
    ],
)
def test_how_the_data_port_is_asked_for(wanted: FtpCheck, ipv6: bool, asked: list[bytes]) -> None:
    refusals = [b"502 no\r\n"] * len(asked)
    actions = play(talk(wanted, ipv6=ipv6), *WHOLE[:6], *refusals, b"221 Bye\r\n")
    assert [line for line in sent(actions) if line in (b"PASV", b"EPSV")] == asked
    last = actions[-1]
    assert isinstance(last, Finish)
    assert last.result.text == f"ftp-check: refused at step 6 ({asked[-1].decode()}): 502 no"


def test_epsv_takes_over_where_pasv_is_refused() -> None:
    actions = play(talk(EITHER), *WHOLE[:6], b"502 no\r\n", b"229 (|||7000|)\r\n", *WHOLE[7:])
    assert ConnectData(7000) in actions
    assert sent(actions)[-2:] == [b"LIST /pub", b"QUIT"]
    assert actions[-1] == Finish(CheckResult(Status.L7OK, "(ftp-check)", 226))


@pytest.mark.parametrize(
    ("position", "reply"),
    [
        (2, b"230 no password needed\r\n"),
        (3, b"202 superfluous\r\n"),
        (4, b"502 no FEAT\r\n"),
        (4, b"211 none\r\n"),
        (8, b"125 already open\r\n"),
        (11, b"250 done\r\n"),
    ],
)
def test_other_replies_that_pass(position: int, reply: bytes) -> None:
    events = list(WHOLE)
    events[position] = reply
    if position == 2:
        del events[3]
    result = verdict(LIST, *events)
    assert result is not None
    assert result.status is Status.L7OK


@pytest.mark.parametrize("order", [[9, 10, 11], [11, 9, 10], [9, 11, 10]])
def test_the_end_of_the_data_and_its_reply_come_in_any_order(order: list[int]) -> None:
    moving = [WHOLE[number] for number in order]
    assert verdict(LIST, *WHOLE[:9], *moving[:2]) is None
    assert verdict(LIST, *WHOLE[:9], *moving, b"221 Bye\r\n") == CheckResult(Status.L7OK, "(ftp-check)", 226)


def test_an_empty_listing_may_be_answered_at_once() -> None:
    assert verdict(LIST, *WHOLE[:8], DataClosed(), b"226 nothing\r\n", b"221\r\n") is not None


@pytest.mark.parametrize("end", [TimedOut(), PeerClosed(), Broken("Connection reset by peer"), b"rubbish\r\n"])
def test_a_lost_farewell_fails_nothing(end: Event | bytes) -> None:
    assert verdict(LIST, *WHOLE[:-1], end, TimedOut()) == CheckResult(Status.L7OK, "(ftp-check)", 226)


def test_a_large_file_is_ended_politely() -> None:
    events = [*WHOLE[:9], DataReceived(MOST_DATA), DataReceived(1)]
    actions = play(talk(), *events)
    assert actions[-3:] == [CloseData(), Send(b"ABOR\r\nQUIT\r\n"), WaitUntil(LAST_WORD)]
    farewell = b"426 cut\r\n226 aborted\r\n221 bye\r\n"
    assert verdict(LIST, *events, farewell) == CheckResult(Status.L7OK, "(ftp-check)", 150)


def test_the_deadline_is_the_one_of_tcp_check() -> None:
    check = FtpDialogue(LIST, Patience(100, 700))
    waits = [action.milliseconds for action in play(check, *WHOLE) if isinstance(action, WaitUntil)]
    assert waits == [100, 700, 700]


def test_telnet_commands_before_a_banner_are_overlooked() -> None:
    assert Send(b"QUIT\r\n") in play(talk(BANNER_ONLY), Connected(), b"\xff\xfb\x01220 hi\r\n")


# --- the other way ------------------------------------------------------------------------------------------------

ASKED_PORT = WHOLE[:6]
THROUGH_EPSV: list[Event | bytes] = [b"229 (|||7000|)\r\n", *WHOLE[7:]]
PASSIVE_ONLY = FtpCheck("probe", "plough", FtpCheckMode.PASSIVE)


@pytest.mark.parametrize(
    "first",
    [
        [b"502 no\r\n"],
        [b"550-no\r\n550 no\r\n"],
        [b"425 no\r\n"],
        [b"202 OK\r\n"],
        [b"331 what\r\n"],
        [b"227 no numbers\r\n"],
        [b"227 (1,2,3,4,0,0)\r\n"],
        [b"150 wait\r\n", b"500 no\r\n"],
        [StepTimedOut()],
        [StepTimedOut(), b"502 late\r\n"],
        [StepTimedOut(), b"227 late (1,2,3,4,5,6)\r\n"],
        [b"227 (1,2,3,4,5,6)\r\n", DataBroken("Connection refused")],
        [b"227 (1,2,3,4,5,6)\r\n", StepTimedOut()],
    ],
)
def test_what_is_wrong_with_pasv_leads_to_epsv(first: list[Event | bytes]) -> None:
    for wanted in (LIST, PASSIVE_ONLY, EITHER):
        actions = play(talk(wanted), *ASKED_PORT, *first, *THROUGH_EPSV)
        assert [line for line in sent(actions) if line in (b"PASV", b"EPSV")] == [b"PASV", b"EPSV"]
        assert [action.port for action in actions if isinstance(action, ConnectData)][-1] == 7000
        assert actions[-1] == Finish(CheckResult(Status.L7OK, "(ftp-check)", 226))


@pytest.mark.parametrize("end", [PeerClosed(), Broken("Connection reset by peer"), b"421 bye\r\n"])
def test_a_server_that_hangs_up_at_pasv_is_logged_in_to_again(end: Event | bytes) -> None:
    actions = play(talk(), *ASKED_PORT, end, *WHOLE[:6], *THROUGH_EPSV)
    assert sent(actions) == [*SENT[:5], *SENT[:4], b"EPSV", *SENT[5:]]
    assert [action for action in actions if isinstance(action, Connect)] == [Connect(linger=True)] * 2
    assert actions[-1] == Finish(CheckResult(Status.L7OK, "(ftp-check)", 226))
    last = play(talk(), *ASKED_PORT, end, *WHOLE[:6], PeerClosed())[-1]
    assert last == Finish(CheckResult(Status.L7RSP, "ftp-check: connection closed at step 6 (EPSV)"))


def test_each_step_of_the_first_way_has_a_part_of_the_time() -> None:
    waits = [action for action in play(talk(), *WHOLE) if isinstance(action, WaitBriefly)]
    assert waits == [WaitBriefly(500), WaitBriefly(500), WaitBriefly(0)]
    long = FtpDialogue(LIST, Patience(100, 60_000))
    waits = [action for action in play(long, *WHOLE) if isinstance(action, WaitBriefly)]
    assert waits[0] == WaitBriefly(3000)


def test_a_late_answer_that_nothing_follows_is_used() -> None:
    late = b"227 late (1,2,3,4,27,88)\r\n"
    actions = play(talk(), *ASKED_PORT, StepTimedOut(), late, StepTimedOut(), *WHOLE[7:])
    assert ConnectData(7000) in actions
    assert actions[-1] == Finish(CheckResult(Status.L7OK, "(ftp-check)", 226))


@pytest.mark.parametrize("late", [b"227 (1,2,3,4,5,6)\r\n", b"229 (|||5|)\r\n"])
def test_answers_that_come_even_later_are_overlooked(late: bytes) -> None:
    first = (StepTimedOut(), THROUGH_EPSV[0])
    for events in ((late, DataConnected(), *WHOLE[8:]), (DataConnected(), late, *WHOLE[8:])):
        assert verdict(LIST, *ASKED_PORT, *first, *events) == CheckResult(Status.L7OK, "(ftp-check)", 226)


@pytest.mark.parametrize(
    ("second", "text"),
    [
        (b"550 no\r\n", "refused at step 6 (EPSV): 550 no"),
        (b"202 OK\r\n", "unexpected reply at step 6 (EPSV): 202 OK"),
        (TimedOut(), "no answer at step 6 (EPSV)"),
    ],
)
def test_where_both_ways_fail_the_last_one_is_told(second: Event | bytes, text: str) -> None:
    result = verdict(LIST, *ASKED_PORT, b"502 no\r\n", second, b"221 bye\r\n")
    assert result is not None
    assert result.text == f"ftp-check: {text}"


def test_a_way_that_is_fixed_is_asked_alone() -> None:
    for way in (FtpPassive.PASV, FtpPassive.EPSV):
        actions = play(talk(LIST, passive=way), *ASKED_PORT, b"550 no\r\n", b"221 bye\r\n")
        assert [line for line in sent(actions) if line in (b"PASV", b"EPSV")] == [way.encode().upper()]
    # The check's own word is about EPSV, whatever clients are served with.
    actions = play(talk(RETR, passive=FtpPassive.PASV), *ASKED_PORT, b"550 no\r\n", b"221 bye\r\n")
    assert b"EPSV" in sent(actions)


@pytest.mark.parametrize("reply", [b"550 No files found\r\n", b"450 empty\r\n", b"502 no LIST\r\n"])
def test_a_server_that_has_nothing_to_list_has_a_data_connection(reply: bytes) -> None:
    passed = CheckResult(Status.L7OK, "(ftp-check)", int(reply[:3]))
    assert verdict(PASSIVE_ONLY, *WHOLE[:8], reply, b"221 bye\r\n") == passed
    assert verdict(PASSIVE_ONLY, *WHOLE[:9], reply, b"221 bye\r\n") == passed
    asked = verdict(LIST, *WHOLE[:8], reply, b"221 bye\r\n")
    assert asked is not None
    assert asked.outcome is Outcome.FAILED


@pytest.mark.parametrize("reply", [b"425 no data connection\r\n", b"426 lost\r\n", b"530 no\r\n"])
def test_a_server_without_its_data_connection_is_down(reply: bytes) -> None:
    for place in (8, 9):
        result = verdict(PASSIVE_ONLY, *WHOLE[:place], reply, b"221 bye\r\n")
        assert result is not None
        assert result.outcome is Outcome.FAILED


# --- what goes wrong ----------------------------------------------------------------------------------------------

STEPS = [(1, "banner"), (2, "USER"), (3, "PASS"), (4, "FEAT"), (5, "TYPE"), (6, "PASV"), (8, "LIST"), (9, "transfer")]
PLACES = [1, 2, 3, 4, 5, 6, 8, 11]
"""The replies in WHOLE that answer those steps."""
ASKED = list(zip(STEPS, PLACES, strict=True))


def failed(events: list[Event | bytes], *more: Event | bytes) -> CheckResult:
    """Of a server that is asked with PASV alone."""
    result = verdict(LIST, *events, *more, b"221 bye\r\n", passive=FtpPassive.PASV)
    assert result is not None
    assert result.outcome is Outcome.FAILED
    return result


@pytest.mark.parametrize(("step", "place"), ASKED)
@pytest.mark.parametrize(
    ("reply", "word"),
    [
        (b"450-Sorry\r\n450 later\r\n", "refused"),
        (b"530 Login incorrect.\r\n", "refused"),
        (b"550 No such thing\r\n", "refused"),
        (b"332 Need account\r\n", "unexpected reply"),
        (b"421 Too many users\r\n", "not ready"),
        (b"699 what?\r\n", "refused"),
        (b"099 what?\r\n", "unexpected reply"),
    ],
)
def test_every_refusal_at_every_step(step: tuple[int, str], place: int, reply: bytes, word: str) -> None:
    if (step[1] == "FEAT" and word != "not ready") or (step[1] == "banner" and reply[:1] == b"3"):
        return  # a server may have no features, and ftplib takes any greeting
    result = failed(WHOLE[:place], reply)
    number, name = step
    line = reply.decode().splitlines()[-1]
    assert result == CheckResult(Status.L7STS, f"ftp-check: {word} at step {number} ({name}): {line}", int(reply[:3]))


def test_a_server_that_will_be_ready_later_is_not_ready() -> None:
    text = "ftp-check: not ready at step 1 (banner): 120 in 5 minutes"
    assert failed(WHOLE[:1], b"120 in 5 minutes\r\n", TimedOut()) == CheckResult(Status.L7STS, text, 120)
    assert play(talk(), Connected(), b"120 soon\r\n", *WHOLE[1:])[-1] == Finish(
        CheckResult(Status.L7OK, "(ftp-check)", 226)
    )


@pytest.mark.parametrize(("step", "place"), ASKED)
@pytest.mark.parametrize(
    ("event", "status", "words"),
    [
        (TimedOut(), Status.L7TOUT, "no answer"),
        (PeerClosed(), Status.L7RSP, "connection closed"),
        (Broken("Connection reset by peer"), Status.SOCKERR, "Connection reset by peer"),
        (b"220 " + b"x" * 100_000 + b"\r\n", Status.L7RSP, "reply too long"),
        (b"220-\r\n" + b"x\r\n" * 30_000, Status.L7RSP, "reply too long"),
    ],
)
def test_every_accident_at_every_step(
    step: tuple[int, str], place: int, event: Event | bytes, status: Status, words: str
) -> None:
    number, name = step
    assert failed(WHOLE[:place], event) == CheckResult(status, f"ftp-check: {words} at step {number} ({name})")


def test_who_speaks_another_protocol_is_no_ftp_server() -> None:
    result = failed(WHOLE[:1], b"SSH-2.0-OpenSSH\r\n", TimedOut())
    assert result == CheckResult(Status.L7RSP, "ftp-check: not a reply at step 1 (banner)")


GOOD = CheckResult(Status.L7OK, "(ftp-check)", 226)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (1, b"220-Welcome\r\r\n220-\0 to \r us\r\r\n220 ready\r\r\n"),
        (1, b"22 users\r\n220 ready\r\n"),
        (1, b"\r\nhello\r\n220 ready\n\r\nbye\r\n"),
        (1, b"200 ready\r\n"),
        (1, b"120 soon\r\n220 ready\r\n"),
        (2, b"\r\n300 Password\r\n"),
        (2, b"331-\r\n331 " + b"x" * 20_000 + b"\r\n"),
        (3, b"202 in\n"),
        (3, b"welcome\r\n230-more\r\n\r\n230 in\r\n\r\n"),
        (4, b"211-\r\n211-SIZE\r\n211 End\r\n"),
        (4, b"502 no\r\n"),
        (5, b"250 fine\r\n"),
        (8, b"110-x\r\n110 here\r\n"),
        (11, b"bare\r\n200 done\r\n"),
    ],
)
def test_what_clients_can_read_passes(place: int, said: bytes) -> None:
    assert play(talk(), *WHOLE[:place], said, *WHOLE[place + 1 :])[-1] == Finish(
        GOOD if place < 11 else CheckResult(Status.L7OK, "(ftp-check)", 200)
    )


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (1, b"220-hello\r\n230 you\r\n"),
        (1, b"2200 ready\r\n"),
        (2, b"331-\r\n331\r\n"),
        (3, b"530-old text\r\n230 in\r\n"),
        (4, b"211 211-Ext:\r\n"),
        (4, b"211 211-Ext:\r\n EPRT\r\nEND\r\n"),
        (8, b"553-x\r\n150 y\r\n"),
    ],
)
def test_a_reply_that_some_clients_take_for_ended_is_given_a_moment(place: int, said: bytes) -> None:
    actions = play(talk(), *WHOLE[:place], said, TimedOut(), *WHOLE[place + 1 :])
    assert WaitUntil(LULL) in actions
    assert actions[-1] == Finish(GOOD)


def test_moments_do_not_make_a_check_endless() -> None:
    check = talk(BANNER_ONLY)
    actions = play(check, Connected(), *[b"220-x\r\n230 y\r\n"] * 50)
    assert actions.count(WaitUntil(LULL)) == MOST_LULLS
    result = CheckResult(Status.L7TOUT, "ftp-check: no answer at step 1 (banner)")
    assert check.receive(TimedOut()) == [Finish(result)]


def test_a_refused_feat_says_nothing_of_what_the_server_can_do() -> None:
    check = talk()
    play(check, *WHOLE[:4], b"502 no\r\n", *WHOLE[5:])
    assert check.features is None


def test_a_text_steers_no_terminal() -> None:
    text = failed(WHOLE[:1], b"500 \x1b[2Ja\0b\rc\x7f\r\r\n").text
    assert text == "ftp-check: refused at step 1 (banner): 500  [2Ja b c "


def test_the_connection_itself() -> None:
    assert failed([], Broken("Connection refused")) == CheckResult(
        Status.L4CON, "ftp-check: Connection refused at step 0 (connect)"
    )
    assert failed([], TimedOut()) == CheckResult(Status.L4TOUT, "ftp-check: no connection at step 0 (connect)")


@pytest.mark.parametrize(
    ("event", "status", "words"),
    [
        (DataBroken("Connection refused"), Status.L4CON, "Connection refused at step 7 (data connection)"),
        (TimedOut(), Status.L4TOUT, "no connection at step 7 (data connection)"),
        (b"425 no\r\n", Status.L7STS, "refused at step 7 (data connection): 425 no"),
    ],
)
def test_the_data_connection(event: Event | bytes, status: Status, words: str) -> None:
    result = failed(WHOLE[:7], event)
    assert (result.status, result.text) == (status, f"ftp-check: {words}")


def test_data_without_an_end() -> None:
    assert failed(WHOLE[:10], b"226 done\r\n", TimedOut()).text == "ftp-check: no end of data at step 9 (transfer)"
    assert failed(WHOLE[:11], TimedOut()).text == "ftp-check: no answer at step 9 (transfer)"


def test_a_reset_in_mid_transfer_waits_for_the_servers_own_word() -> None:
    reset = DataBroken("Connection reset by peer")
    assert failed(WHOLE[:10], reset, b"426 cut\r\n").text == "ftp-check: refused at step 9 (transfer): 426 cut"
    lie = failed(WHOLE[:10], reset, b"226 fine\r\n")
    assert (lie.status, lie.text) == (Status.SOCKERR, "ftp-check: Connection reset by peer at step 9 (transfer)")


@pytest.mark.parametrize(
    ("reply", "wanted", "text"),
    [
        (b"227 no numbers", LIST, "no address in the reply to PASV at step 6 (PASV): 227 no numbers"),
        (b"227 (1,2,3,4,0,0)", LIST, "no address in the reply to PASV at step 6 (PASV): 227 (1,2,3,4,0,0)"),
        (b"229 (|||70000|)", RETR, "no port in the reply to EPSV at step 6 (EPSV): 229 (|||70000|)"),
    ],
)
def test_a_passive_reply_without_a_port(reply: bytes, wanted: FtpCheck, text: str) -> None:
    result = verdict(wanted, *WHOLE[:6], reply + b"\r\n", passive=FtpPassive.PASV)
    assert result == CheckResult(Status.L7RSP, f"ftp-check: {text}")


def test_a_refused_check_leaves_with_quit() -> None:
    actions = play(talk(), *WHOLE[:3], b"530 no\r\n")
    assert actions[-2:] == [Send(b"QUIT\r\n"), WaitUntil(LAST_WORD)]


def test_the_password_is_in_no_text() -> None:
    result = failed(WHOLE[:3], b"530 plough is wrong, plough!\r\n")
    assert result.text == "ftp-check: refused at step 3 (PASS): 530 *** is wrong, ***!"


def test_an_argument_cannot_smuggle_a_command() -> None:
    evil = FtpCheck("probe\r\nDELE x", "y\nSITE z", FtpCheckMode.EPSV, FtpCheckAction.RETR, "f\r\nDELE f")
    events = list(WHOLE)
    events[6] = b"229 (|||50001|)\r\n"
    lines = sent(play(talk(evil), *events))
    assert [line.split()[0] for line in lines] == [b"USER", b"PASS", b"FEAT", b"TYPE", b"EPSV", b"RETR", b"QUIT"]


# --- any cut, any junk --------------------------------------------------------------------------------------------


def cut(events: list[Event | bytes], size: int) -> list[Event | bytes]:
    pieces: list[Event | bytes] = []
    for event in events:
        if isinstance(event, bytes):
            pieces += [event[at : at + size] for at in range(0, len(event), size)]
        else:
            pieces.append(event)
    return pieces


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_replies_may_be_cut_anywhere(size: int) -> None:
    def without_waits(actions: list[Action]) -> list[Action]:
        return [action for action in actions if not isinstance(action, WaitUntil)]

    assert without_waits(play(talk(), *cut(WHOLE, size))) == without_waits(play(talk(), *WHOLE))


def test_an_endless_talker_is_stopped() -> None:
    check = talk()
    actions = play(check, Connected(), *[b"220-\r\n", *[b"x" * 1000 + b"\r\n"] * 300])
    assert isinstance(actions[-1], Finish)
    check = talk(LIST)
    chatter = b"150 still coming\r\n" * 100
    actions = play(check, *WHOLE[:9], *[chatter] * (MOST_CONTROL // len(chatter) + 1))
    assert actions[-1] == Finish(CheckResult(Status.L7RSP, "ftp-check: too many replies at step 9 (transfer)"))


SAYS = st.sampled_from([event for event in WHOLE if isinstance(event, bytes)])
HAPPENS: st.SearchStrategy[Event | bytes] = st.one_of(
    SAYS,
    st.binary(min_size=1, max_size=40),
    st.integers(0, 999).map(lambda code: b"%03d x\r\n" % code),
    st.sampled_from(
        [Connected(), DataSent(), DataConnected(), DataClosed(), DataReceived(1 << 20), DataBroken("y"), PeerClosed()]
    ),
    st.sampled_from([Broken("x"), TimedOut(), StepTimedOut()]),
)


@given(
    st.sampled_from([BANNER_ONLY, LOGIN, LIST, RETR, EITHER]),
    st.booleans(),
    st.integers(0, len(WHOLE)),
    st.lists(HAPPENS, max_size=12),
)
def test_whatever_happens_there_is_one_result(
    wanted: FtpCheck, ipv6: bool, sound: int, then: list[Event | bytes]
) -> None:
    check = talk(wanted, ipv6=ipv6)
    actions = play(check, *WHOLE[:sound], *then, TimedOut(), TimedOut())
    ends = [action for action in actions if isinstance(action, Finish)]
    assert len(ends) == 1
    assert actions[-1] == ends[0]
    assert check.receive(TimedOut()) == []
    result = ends[0].result
    assert result.outcome in (Outcome.PASSED, Outcome.FAILED)
    assert re.fullmatch(r"\(ftp-check\)|ftp-check: .+ at step \d+ \(.+\)(: .*)?", result.text, re.DOTALL)


def test_the_page_says_what_the_table_says() -> None:
    assert PAGE.read_text() == rendered_page(), "python -m pasvport.health.ftp_steps docs/ftp-check.md"
