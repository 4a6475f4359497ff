"""Passive mode: what a server refuses, garbles, ignores or cannot open is asked for the other way."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftp_world import Watched, described, play
from pasvport.errors import ProtocolError
from pasvport.ftp import events as evts
from pasvport.ftp.actions import DialServerData, LearnPassive, LeaseDataPort, SendToClient, SendToServer
from pasvport.ftp.events import Timer
from pasvport.ftp.grammar import Reply, ReplyReader
from pasvport.ftp.passive import KnownPassive, Target, named_target
from pasvport.ftp.settings import Settings
from pasvport.record import Culprit, DataMode

EPSV, PASV, NONE = DataMode.EPSV, DataMode.PASV, DataMode.NONE


def logged_in(way: str = "", host: str = "10.0.0.1", client: str = "192.0.2.7 203.0.113.1") -> str:
    return f"""
        > ClientConnected {client}
        < ChooseServer
        > ServerAssigned s1 {host} {way}
        > ServerConnected
        > ServerSent 220 hello
        < SendToClient 220 hello
        > ClientSent USER joe
        < SendToServer USER joe
        > ServerSent 230 in
        < SendToClient 230 in
        < NoteLogin joe
    """


ASKED = {
    "EPSV": """
        > ClientSent EPSV
        < LeaseDataPort 1
        < SendToServer EPSV
        > DataPortLeased 1 50007
    """,
    "PASV": """
        > ClientSent PASV
        < LeaseDataPort 1
        < SendToServer PASV
        > DataPortLeased 1 50007
    """,
}
SOUND = {"EPSV": "229 ok (|||4001|)", "PASV": "227 ok (10,0,0,1,15,161)"}
OTHER = {"EPSV": "PASV", "PASV": "EPSV"}
TOLD = {
    "EPSV": "< SendToClient 229 Entering Extended Passive Mode (|||50007|)",
    "PASV": "< SendToClient 227 Entering Passive Mode (203,0,113,1,195,87).",
}


def worked(way: str, answer: str = "") -> str:
    """The other way of `way` is answered well, and the port opens. 4xx as the first answer teaches nothing."""
    learnt = "" if answer.startswith("4") else f"< LearnPassive {OTHER[way]}"
    return f"""
        > ServerSent {SOUND[OTHER[way]]}
        < DialServerData 1 10.0.0.1 4001 True
        {TOLD[way]}
        > ServerDataConnected 1
        {learnt}
    """


# --- what the client asked for comes first ------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["EPSV", "PASV"])
def test_the_clients_way_is_asked_first_and_nothing_is_learnt_when_it_works(way: str) -> None:
    play(
        logged_in()
        + ASKED[way]
        + f"""
        > ServerSent {SOUND[way]}
        < DialServerData 1 10.0.0.1 4001
        {TOLD[way]}
        > ServerDataConnected 1
        > ClientSent {OTHER[way]}
        < DropData 1
        < LeaseDataPort 2
        < SendToServer {OTHER[way]}
    """
    )


@pytest.mark.parametrize(("command", "asked"), [("PORT 192,0,2,7,10,0", "PASV"), ("EPRT |1|192.0.2.7|2560|", "EPSV")])
def test_active_clients_fall_back_too(command: str, asked: str) -> None:
    verb = command.split(" ")[0]
    play(
        logged_in()
        + f"""
        > ClientSent {command}
        < SendToServer {asked}
        > ServerSent 550 Permission denied.
        < SendToServer {OTHER[asked]}
        > ServerSent {SOUND[OTHER[asked]]}
        < DialServerData 1 10.0.0.1 4001 True
        < SendToClient 200 {verb} accepted.
        > ServerDataConnected 1
        < LearnPassive {OTHER[asked]}
    """,
        Settings(active=True),
    )


def test_epsv_all_and_its_argument_concern_the_client_only() -> None:
    for argument in ("", " 1", " ALL"):
        first = "< SendToClient 200 Only EPSV from now on.\n> ClientSent EPSV\n" if argument == " ALL" else ""
        play(
            logged_in()
            + f"""
            > ClientSent EPSV{argument}
            {first}
            < LeaseDataPort 1
            < SendToServer EPSV
            > DataPortLeased 1 50007
            > ServerSent 522 use (2)
            < SendToServer PASV
            """
            + worked("EPSV")
        )


def test_an_ipv6_server_is_asked_with_epsv_only() -> None:
    play(
        logged_in(host="2001:db8::1")
        + """
        > ClientSent PASV
        < LeaseDataPort 1
        < SendToServer EPSV
        > ServerSent 550 no
        < DropData 1
        < SendToClient 550 no
    """
    )


# --- refusals and odd answers -------------------------------------------------------------------------------------

REFUSALS = (
    "550 Permission denied.",
    "550-no / 550 no",
    "500 what",
    "501 no",
    "502 Command not implemented.",
    "503 no",
    "504 no",
    "522 use (2)",
    "530 no",
    "532 account",
    "425 no",
    "450 no",
    "451 no",
)
ODD = (
    "202 OK",
    "200 OK",
    "211 status",
    "220 hello",
    "230 in",
    "331 ?",
    "350 more",
    "229 no port",
    "227 no port",
    "229 (|||0|)",
)


@pytest.mark.parametrize("way", ["EPSV", "PASV"])
@pytest.mark.parametrize("answer", REFUSALS + ODD)
def test_what_is_no_port_leads_to_the_other_way(way: str, answer: str) -> None:
    play(logged_in() + ASKED[way] + f"> ServerSent {answer}\n< SendToServer {OTHER[way]}\n" + worked(way, answer))


@pytest.mark.parametrize("answer", ["226 OK", "225 OK", "250 OK"])
def test_what_may_be_a_stray_leads_to_the_other_way_too(answer: str) -> None:
    play(logged_in() + ASKED["EPSV"] + f"> ServerSent {answer}\n< SendToServer PASV\n" + worked("EPSV"))


def test_a_preliminary_reply_is_waited_behind() -> None:
    play(
        logged_in()
        + ASKED["EPSV"]
        + """
        > ServerSent 120 in a moment
        > ServerSent 550 no
        < SendToServer PASV
        """
        + worked("EPSV")
    )


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ("550 Permission denied.", "502 what", "502 what"),
        ("502 what", "550-not / 550 today", "550-not / 550 today"),
        ("202 OK", "425 no port free", "425 no port free"),
        ("550 no", "202 OK", "425 The server named no usable data port."),
        ("229 no port", "227 no port", "425 The server named no usable data port."),
    ],
)
def test_where_both_fail_the_client_hears_the_server_or_425(first: str, second: str, told: str) -> None:
    play(
        logged_in()
        + ASKED["EPSV"]
        + f"""
        > ServerSent {first}
        < SendToServer PASV
        > ServerSent {second}
        < DropData 1
        < SendToClient {told}
        > ClientSent NOOP
        < SendToServer NOOP
        > ServerSent 200 here
        < SendToClient 200 here
    """
    )


# --- the forms of 227 and 229 -------------------------------------------------------------------------------------

FORMS_OF_227 = (
    "227 Entering Passive Mode (10,9,8,7,15,161)",
    "227 Entering Passive Mode (10,9,8,7,15,161).",
    "227 Entering Passive Mode 10,9,8,7,15,161",
    "227 =10,9,8,7,15,161",
    "227 10,9,8,7,15,161",
    "227 Data transfer will passively listen to 10,9,8,7,15,161",
    "227 at 3 o'clock: 10, 9, 8, 7, 15, 161 ok",
    "227 ( 10,9,8,7,15,161 )",
    "227 (010,009,008,007,015,161)",
    "227 4,10,9,8,7,15,999 (10,9,8,7,15,161)",
    "227 300,1,2,3,4,5 and 10,9,8,7,15,161",
    "227-Entering Passive Mode (10,9,8,7,15,161)\r\n227 ok",
    "227-Entering\r\n Passive Mode (10,9,8,7,15,161)\r\n227 ok",
    "227-Entering\r\n227-(10,9,8,7,15,161)\r\n227 ok",
    "227-Entering\r\n10,9,8,7,15,161\r\n227 ok",
    "227-Entering\r\n227 (10,9,8,7,15,161)",
    "200 (10,9,8,7,15,161)",
)
FORMS_OF_229 = (
    "229 Entering Extended Passive Mode (|||4001|)",
    "229 Entering Extended Passive Mode (|||4001|).",
    "229 Entering Extended Passive Mode |||4001|",
    "229 |||4001|",
    "229 (|||4001)",
    "229 |||4001",
    "229 (!!!4001!)",
    "229 (|||04001|)",
    "229 (|1|10.9.8.7|4001|)",
    "229 (|2|2001:db8::7|4001|)",
    "229 wait...5 s (|||4001|)",
    "229 (EPSV) ok (|||4001|)",
    "229 (see below) |||4001|",
    "229-Entering Extended Passive Mode (|||4001|)\r\n229 ok",
    "229-Entering\r\n (|||4001|)\r\n229 ok",
    "229-Entering\r\n229-(|||4001|)\r\n229 ok",
    "229-Entering\r\n|||4001|\r\n229 ok",
    "229-Entering\r\n229 (|||4001|)",
    "200 (|||4001|)",
)


def reply_of(text: str) -> Reply:
    reader = ReplyReader(1 << 20)
    reader.push(text.encode("latin-1") + b"\r\n")
    reply = reader.pull()
    assert reply is not None
    if reply.complete:
        return reply
    # `227-Entering` and then the same code, or one without.
    return Reply(reply.code, reply.raw + reader.settle().raw)


@pytest.mark.parametrize("text", FORMS_OF_227)
def test_every_form_of_227(text: str) -> None:
    assert named_target(reply_of(text), PASV) == Target("10.9.8.7", 4001)
    if not text.startswith("200"):
        assert named_target(reply_of(text), EPSV) == Target("10.9.8.7", 4001)


@pytest.mark.parametrize("text", FORMS_OF_229)
def test_every_form_of_229(text: str) -> None:
    assert named_target(reply_of(text), EPSV) == Target("", 4001)
    assert named_target(reply_of(text), PASV) == Target("", 4001)


@pytest.mark.parametrize(
    "text",
    [
        "227 nothing",
        "227 (10,9,8,7,15)",
        "227 (10,9,8,7,0,0)",
        "227 (256,9,8,7,15,161",
        "229 (||4001|)",
        "229 (|||0|)",
        "229 (|||65536|)",
        "229 (|||x|)",
        "229 4001",
        "202 OK",
        "200 left...42",
        "550 (10,9,8,7,15,161)",
        "150 (|||4001|)",
        "331 (|||4001|)",
    ],
)
def test_what_names_no_port(text: str) -> None:
    for asked in (EPSV, PASV):
        with pytest.raises(ProtocolError):
            named_target(reply_of(text), asked)


@given(st.binary(max_size=200), st.sampled_from([EPSV, PASV]), st.sampled_from([200, 227, 229, 550]))
def test_any_text_is_a_target_or_an_error(text: bytes, asked: DataMode, code: int) -> None:
    try:
        target = named_target(Reply(code, b"%d " % code + text + b"\n" + text), asked)
    except ProtocolError:
        return
    assert 1 <= target.port <= 65535
    assert not target.host or target.host.count(".") == 3


def test_long_texts_are_read_in_no_time() -> None:
    for text in (b"0" * 8000, b"1,300,", b"300 , ", b"(|", b"|||0", b"((((", b"1,2,3,4,5,999,"):
        whole = (text * (1 << 16))[: 1 << 16]
        with pytest.raises(ProtocolError):
            named_target(Reply(227, b"227-" + whole + b"\n" + whole), EPSV)


@pytest.mark.parametrize(("way", "answer"), [("EPSV", "227 (9,9,9,9,15,161)"), ("PASV", "229 (|||4001|)")])
def test_the_answer_of_the_other_command_counts(way: str, answer: str) -> None:
    play(logged_in() + ASKED[way] + f"> ServerSent {answer}\n< DialServerData 1 10.0.0.1 4001\n{TOLD[way]}\n")


# --- a port that does not open ------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["EPSV", "PASV"])
def test_a_dead_port_leads_to_the_other_way_before_the_server_hears_of_the_transfer(way: str) -> None:
    play(
        logged_in()
        + ASKED[way]
        + f"""
        > ServerSent {SOUND[way].replace("4001", "4000").replace("161", "160")}
        < DialServerData 1 10.0.0.1 4000
        {TOLD[way]}
        > ClientDataConnected 1 192.0.2.7
        > ClientSent TYPE I / RETR a
        < SendToServer TYPE I
        > ServerDataFailed 1 refused
        < SendToServer {OTHER[way]}
        > ServerSent 200 binary
        < SendToClient 200 binary
        > ServerSent {SOUND[OTHER[way]]}
        < DialServerData 1 10.0.0.1 4001 True
        > ServerDataConnected 1
        < LearnPassive {OTHER[way]}
        < SendToServer RETR a
        > ServerSent 150 here
        < SendToClient 150 here
        < StartTransfer 1 download
        > DataFinished 1 10 complete
        > ServerSent 226 done
        < SendToClient 226 done
        < RecordTransfer RETR a 226 10 complete --
    """
    )


def test_a_dead_port_of_the_last_way_is_425_at_the_transfer_command() -> None:
    dialogue = play(
        logged_in()
        + ASKED["PASV"]
        + """
        > ServerSent 500 what
        < SendToServer EPSV
        > ServerSent 229 (|||4001|)
        < DialServerData 1 10.0.0.1 4001 True
        < SendToClient 227 Entering Passive Mode (203,0,113,1,195,87).
        > ServerDataFailed 1 timeout connect
        < DropData 1
        > ClientSent STOR a
        < SendToClient 425 The server's data port cannot be reached.
        > ClientSent STOR a
        < SendToClient 425 Use PASV or EPSV first.
    """
    )
    assert not dialogue.record.transfers


# --- silence ------------------------------------------------------------------------------------------------------


def test_silence_leads_to_the_other_way() -> None:
    play(logged_in() + ASKED["EPSV"] + "> TimedOut passive\n< SendToServer PASV\n" + worked("EPSV"))


LATE = (
    logged_in()
    + ASKED["EPSV"]
    + """
        > TimedOut passive
        < SendToServer PASV
    """
)
USED = """
        < DialServerData 1 10.0.0.1 4001 True
        < SendToClient 229 Entering Extended Passive Mode (|||50007|)
        > ServerDataConnected 1
        < LearnPassive PASV
"""
IN_DOUBT = """
        > ClientSent NOOP
        < SendToServer NOOP
        > ServerSent 200 here
        > TimedOut passive
        < SendToClient 200 here
"""
"""The answer may be the late one of a question; nothing follows, so it is not."""
IN_STEP = """
        > ClientSent NOOP
        < SendToServer NOOP
        > ServerSent 200 here
        < SendToClient 200 here
"""


@pytest.mark.parametrize("late", ["229 (|||4000|)", "550 no", "202 OK", "229 no port"])
def test_a_late_answer_before_the_other_is_swallowed(late: str) -> None:
    play(LATE + f"> ServerSent {late}\n> ServerSent 227 (10,0,0,1,15,161)\n" + USED + IN_STEP)


def test_a_late_229_behind_the_other_is_swallowed_wherever_it_comes() -> None:
    play(
        LATE
        + "> ServerSent 227 (10,0,0,1,15,161)\n"
        + USED
        + """
        > ClientDataConnected 1 192.0.2.7
        > ClientSent RETR a
        < SendToServer RETR a
        > ServerSent 229 late (|||4000|)
        > ServerSent 150 here
        < SendToClient 150 here
        < StartTransfer 1 download
        > DataFinished 1 10 complete
        > ServerSent 226 done
        < SendToClient 226 done
        < RecordTransfer RETR a 226 10 complete --
        """
        + IN_STEP
    )


def test_a_late_229_that_nothing_follows_is_used() -> None:
    """The server never answered the first question, and 229 is what it says to PASV."""
    play(
        LATE
        + """
        > ServerSent 229 (|||4001|)
        > TimedOut passive
        < DialServerData 1 10.0.0.1 4001 True
        < SendToClient 229 Entering Extended Passive Mode (|||50007|)
        """
        + IN_DOUBT
        + IN_STEP
    )


def test_a_refusal_that_nothing_follows_is_the_answer_to_the_last_question() -> None:
    play(
        LATE
        + """
        > ServerSent 502 what
        > TimedOut passive
        < DropData 1
        < SendToClient 502 what
        """
        + IN_STEP
    )


SILENT = (
    LATE
    + """
        > TimedOut passive
        > TimedOut passive
        > TimedOut passive
        < DropData 1
        < SendToClient 425 The server does not answer.
    """
)


def test_silence_to_both_is_425_and_the_session_goes_on() -> None:
    play(SILENT + IN_DOUBT + IN_STEP)


def test_late_answers_to_both_are_swallowed_before_the_next_is_relayed() -> None:
    play(
        SILENT
        + """
        > ClientSent CWD x
        < SendToServer CWD x
        > ServerSent 229 (|||4000|)
        > ServerSent 500 what
        > ServerSent 550 no such
        < SendToClient 550 no such
        """
        + IN_STEP
    )


def test_a_refusal_that_may_be_late_is_relayed_when_nothing_follows() -> None:
    play(
        SILENT
        + """
        > ClientSent CWD x
        < SendToServer CWD x
        > ServerSent 550 no such
        > TimedOut passive
        < SendToClient 550 no such
        """
        + IN_STEP
    )


def test_a_server_that_answers_nothing_at_all_is_left() -> None:
    watched = Watched()
    for event in begun(KnownPassive()):
        watched.receive(event)
    told = []
    for _ in range(10):
        told += watched.receive(evts.ClientSent(b"EPSV\r\n"))
        for _ in range(4):
            told += watched.receive(evts.TimedOut(Timer.PASSIVE))
        if watched.closed:
            break
    said = [each.data[:3] for each in told if isinstance(each, SendToClient)]
    assert said == [b"425"] * 4 + [b"421"]
    assert len(watched.dialogue._expected) <= 9


def test_late_answers_while_nothing_is_asked_are_swallowed() -> None:
    play(SILENT + "> ServerSent 229 (|||4000|)\n> ServerSent 227 (10,0,0,1,15,161)\n" + IN_STEP)


def test_a_server_that_answers_again_serves_the_next_command() -> None:
    play(
        SILENT
        + """
        > ClientSent PASV
        < LeaseDataPort 2
        < SendToServer PASV
        > DataPortLeased 2 50008
        > ServerSent 229 late (|||4000|)
        > ServerSent 227 late (10,0,0,1,15,160)
        > ServerSent 227 (10,0,0,1,15,162)
        < DialServerData 2 10.0.0.1 4002
        < SendToClient 227 Entering Passive Mode (203,0,113,1,195,88).
    """
    )


def test_an_exhausted_pool_and_a_silent_server() -> None:
    play(
        logged_in()
        + """
        > ClientSent EPSV / NOOP
        < LeaseDataPort 1
        < SendToServer EPSV
        > LeaseFailed 1 exhausted
        < DropData 1
        < SendToClient 425 No data port is free.
        > TimedOut passive
        < SendToServer NOOP
        > ServerSent 229 late (|||4000|)
        > ServerSent 200 here
        < SendToClient 200 here
    """
    )


def test_when_the_answers_deadline_runs() -> None:
    dialogue = play(logged_in() + ASKED["EPSV"])
    assert dialogue.timers == {Timer.SERVER, Timer.PASSIVE}
    dialogue = play(LATE)
    assert dialogue.timers == {Timer.SERVER, Timer.PASSIVE}
    dialogue = play(SILENT)
    assert dialogue.timers == {Timer.CLIENT}
    dialogue = play(SILENT + "> ClientSent CWD x\n< SendToServer CWD x\n")
    assert dialogue.timers == {Timer.SERVER}
    dialogue = play(SILENT + "> ClientSent CWD x\n< SendToServer CWD x\n> ServerSent 550 no\n")
    assert dialogue.timers == {Timer.SERVER, Timer.PASSIVE}


# --- what is learnt -----------------------------------------------------------------------------------------------


def test_the_way_that_worked_comes_first_until_it_fails() -> None:
    play(
        logged_in("PASV")
        + """
        > ClientSent EPSV
        < LeaseDataPort 1
        < SendToServer PASV
        > DataPortLeased 1 50007
        > ServerSent 502 not any more
        < LearnPassive -
        < SendToServer EPSV
        > ServerSent 229 (|||4001|)
        < DialServerData 1 10.0.0.1 4001 True
        < SendToClient 229 Entering Extended Passive Mode (|||50007|)
        > ServerDataConnected 1
        < LearnPassive EPSV
    """
    )


@pytest.mark.parametrize("goodbye", ["> ServerLeft connection closed\n", "> ServerSent 421 bye\n"])
def test_a_server_that_hangs_up_at_epsv_is_asked_with_pasv_the_next_time(goodbye: str) -> None:
    known = KnownPassive()
    watched = Watched()
    for event in begun(known):
        watched.receive(event)
    watched.receive(evts.ClientSent(b"EPSV\r\n"))
    event = evts.ServerSent(b"421 bye\r\n") if "421" in goodbye else evts.ServerLeft()
    done = watched.receive(event)
    assert LearnPassive(PASV, EPSV) in done
    assert (known.works, known.closes) == (PASV, EPSV)
    assert any(isinstance(each, SendToClient) and each.data.startswith(b"421") for each in done)
    # In the next session EPSV is not asked, not even when PASV fails.
    watched = Watched()
    for event in begun(known):
        watched.receive(event)
    done = watched.receive(evts.ClientSent(b"EPSV\r\n"))
    assert SendToServer(b"PASV\r\n") in done
    done = watched.receive(evts.ServerSent(b"425 no port free\r\n"))
    assert described(done[-1]) == "SendToClient 425 no port free"
    assert (known.works, known.closes) == (PASV, EPSV)
    # A server that has no PASV any more is asked afresh.
    watched.receive(evts.ClientSent(b"EPSV\r\n"))
    watched.receive(evts.ServerSent(b"502 what\r\n"))
    assert (known.works, known.closes) == (NONE, NONE)


def test_a_server_that_hangs_up_late_is_blamed_for_the_first_question() -> None:
    known = KnownPassive()
    watched = Watched()
    for event in begun(known):
        watched.receive(event)
    watched.receive(evts.ClientSent(b"EPSV\r\n"))
    watched.receive(evts.TimedOut(Timer.PASSIVE))
    watched.receive(evts.ServerLeft())
    assert (known.works, known.closes) == (PASV, EPSV)


def begun(known: KnownPassive) -> Iterator[evts.Event]:
    yield evts.ClientConnected("192.0.2.7", "203.0.113.1")
    yield evts.ServerAssigned("s1", "10.0.0.1", known)
    yield evts.ServerConnected()
    yield evts.ServerSent(b"220 hello\r\n")
    yield evts.ClientSent(b"USER joe\r\n")
    yield evts.ServerSent(b"230 in\r\n")


@pytest.mark.parametrize("fixed", [EPSV, PASV])
def test_a_way_that_is_fixed_is_the_only_one(fixed: DataMode) -> None:
    for asked in (DataMode.EPSV, DataMode.PASV, DataMode.EPRT, DataMode.PORT):
        assert KnownPassive(fixed=fixed).ways(asked, ipv6=False) == [fixed]
        assert KnownPassive(fixed=fixed).ways(asked, ipv6=True) == [EPSV]
    watched = Watched()
    for event in begun(KnownPassive(fixed=fixed)):
        watched.receive(event)
    done = watched.receive(evts.ClientSent(b"EPSV\r\n"))
    assert SendToServer(f"{fixed}\r\n".encode()) in done
    done = watched.receive(evts.ServerSent(b"550 no\r\n"))
    assert described(done[-1]) == "SendToClient 550 no"
    watched.receive(evts.ClientSent(b"EPSV\r\n"))
    done = watched.receive(evts.ServerLeft())
    assert not any(isinstance(each, LearnPassive) for each in done)


def test_sessions_of_one_server_learn_from_each_other_at_once() -> None:
    known = KnownPassive()
    first, second = Watched(), Watched()
    for event in begun(known):
        first.receive(event)
        second.receive(event)
    first.receive(evts.ClientSent(b"EPSV\r\n"))
    first.receive(evts.ServerLeft())
    assert SendToServer(b"PASV\r\n") in second.receive(evts.ClientSent(b"EPSV\r\n"))


def test_a_drained_session_ends_although_its_server_does_not_answer() -> None:
    play(
        LATE
        + """
        > DrainRequested reload
        > TimedOut passive
        > TimedOut passive
        > TimedOut passive
        < DropData 1
        < SendToClient 425 The server does not answer.
        < SendToClient 421 Service not available, closing the control connection.
        < CloseSession KD reload
    """
    )
    assert Culprit.KILLED == "K"


# --- in step, whatever the server does ----------------------------------------------------------------------------


class Moody:
    """A server that answers in order or not at all; some answers to PASV and EPSV hold up all that come after them.

    `moods` says what becomes of each such question: its answer, "" for none ever, or `late` and its answer, which (and
    whatever is asked meanwhile) comes when the balancer has waited once more.
    """

    def __init__(self, moods: list[str]) -> None:
        self._moods = moods
        self._waiting: list[bytes] = []
        self._blocked = 0

    def hears(self, line: bytes) -> None:
        verb, _, argument = line.partition(b" ")
        if verb not in (b"EPSV", b"PASV"):
            self._waiting.append(b"250 " + argument)
            return
        mood = self._moods.pop(0) if self._moods else "good"
        if mood.startswith("late"):
            self._blocked += 1
            mood = mood.removeprefix("late ")
        if mood:
            sound = {b"EPSV": b"229 (|||4001|)", b"PASV": b"227 (10,0,0,1,15,161)"}[verb]
            self._waiting.append(sound if mood == "good" else mood.encode())

    def says(self) -> bytes:
        if self._blocked or not self._waiting:
            return b""
        said, self._waiting = b"".join(line + b"\r\n" for line in self._waiting), []
        return said

    def time_passes(self) -> None:
        self._blocked = 0


MOODS = ["good", "550 no", "425 no", "202 OK", "226 OK", "229 no", "", "late good", "late 550 no", "late 202 OK"]


@given(st.lists(st.sampled_from(MOODS), max_size=8), st.lists(st.sampled_from([b"EPSV", b"PASV", b"CWD"]), max_size=8))
def test_every_command_has_its_own_answer(moods: list[str], wanted: list[bytes]) -> None:
    watched, server = Watched(), Moody(list(moods))
    for event in begun(KnownPassive()):
        watched.receive(event)
    for number, verb in enumerate([*wanted, b"CWD", b"CWD"]):
        argument = b" %d" % number if verb == b"CWD" else b""
        said = _played(watched, server, evts.ClientSent(verb + argument + b"\r\n"))
        if watched.closed:
            assert said.startswith(b"421 ")
            return
        assert said.count(b"\r\n") == 1, said
        if argument:
            assert said == b"250%s\r\n" % argument
        else:
            assert said[:1] in (b"4", b"5") or said[:3] == {b"EPSV": b"229", b"PASV": b"227"}[verb]


def _played(watched: Watched, server: Moody, event: evts.Event) -> bytes:
    """What the client is told until nothing more happens by itself."""
    told, events, ticks = b"", [event], 0
    while not watched.closed:
        if not events:
            said = server.says()
            if said:
                events.append(evts.ServerSent(said))
            elif Timer.PASSIVE in watched.dialogue.timers:
                ticks += 1
                assert ticks < 20
                server.time_passes()
                said = server.says()
                events.append(evts.ServerSent(said) if said else evts.TimedOut(Timer.PASSIVE))
            else:
                break
        for action in watched.receive(events.pop(0)):
            if isinstance(action, SendToClient):
                told += action.data
            elif isinstance(action, SendToServer):
                server.hears(action.data.strip())
            elif isinstance(action, LeaseDataPort):
                events.append(evts.DataPortLeased(action.path, 50000 + action.path))
            elif isinstance(action, DialServerData):
                events.append(evts.ServerDataConnected(action.path))
    return told
