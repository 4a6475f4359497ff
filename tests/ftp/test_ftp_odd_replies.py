"""Replies that are not RFC 959's, byte by byte: all is relayed, at once, and commands and replies stay in step."""

from __future__ import annotations

import pytest

from ftp_world import Watched, event_from
from pasvport.ftp.actions import CloseSession, LearnFeatures, RecordTransfer, SendToClient, SendToServer, StartTransfer
from pasvport.ftp.events import (
    ClientSent,
    ServerAssigned,
    ServerConnected,
    ServerSent,
    TimedOut,
    Timer,
)
from pasvport.ftp.states import Phase

GREETING = ["ClientConnected 192.0.2.7 203.0.113.1", "ServerAssigned s1 10.0.0.1", "ServerConnected"]
LOGGED_IN = [*GREETING, "ServerSent 220 hello", "ClientSent USER joe", "ServerSent 230 in"]
OPENED = [
    *LOGGED_IN,
    "ClientSent EPSV",
    "DataPortLeased 1 50007",
    "ServerSent 229 ok (|||4000|)",
    "ServerDataConnected 1",
    "ClientDataConnected 1 192.0.2.7",
]
RETRIEVING = [*OPENED, "ClientSent RETR a"]
DOWNLOADING = [*RETRIEVING, "ServerSent 150 here"]
UPLOADING = [*OPENED, "ClientSent STOR a", "ServerSent 150 here"]


class Session(Watched):
    """A dialogue, and what both peers have heard."""

    def __init__(self, script: list[str]) -> None:
        super().__init__()
        self.to_client = self.to_server = b""
        self.records: list[RecordTransfer] = []
        self.done: list[object] = []
        for line in script:
            self.tell(event_from(line))
        self.forget()

    def tell(self, event: object) -> None:
        for action in self.receive(event):  # type: ignore[arg-type]
            self.done.append(action)
            if isinstance(action, SendToClient):
                self.to_client += action.data
            elif isinstance(action, SendToServer):
                self.to_server += action.data

    def server(self, data: bytes, size: int = 0) -> bytes:
        """What of it the client has at once."""
        before = len(self.to_client)
        for at in range(0, len(data), size or len(data)):
            self.tell(ServerSent(data[at : at + (size or len(data))]))
        return self.to_client[before:]

    def client(self, data: bytes) -> bytes:
        """What of it the server has at once."""
        before = len(self.to_server)
        self.tell(ClientSent(data))
        return self.to_server[before:]

    def event(self, text: str) -> None:
        self.tell(event_from(text))

    def forget(self) -> None:
        self.to_client = self.to_server = b""
        self.done.clear()

    @property
    def is_over(self) -> bool:
        return any(isinstance(action, CloseSession) for action in self.done)

    @property
    def waits(self) -> bool:
        """For a moment in which the server says nothing."""
        return Timer.LULL in self.dialogue.timers


FORMS = {
    "cr cr lf": b"250-a\r\r\n250 b\r\r\n",
    "lf": b"250-a\n250 b\n",
    "nul": b"250 a\0b\r\n",
    "nul at the end": b"250 a\r\0\r\n",
    "cr inside": b"250 a\rb\r\n",
    "empty lines inside": b"250-a\r\n\r\n\r\n250 b\r\n",
    "lines without a code": b"250-a\r\nb\r\n c\r\n250 d\r\n",
    "another code inside": b"250-a\r\n213 b\r\n250 d\r\n",
    "a second beginning inside": b"250-a\r\n250-b\r\n213-c\r\n250 d\r\n",
    "an empty line before": b"\r\n250 a\r\n",
    "text before": b"hello\r\n250 a\r\n",
    "text and cr cr lf before": b"\r\r\nhello\r\r\n250 a\r\r\n",
    "only a code": b"250\r\n",
    "600": b"600 a\r\n",
    "999": b"999 a\r\n",
    "099": b"099 a\r\n",
    "latin-1": b"250 \xe9\xff\xf4\xff\xff\xfe\r\n",
    "utf-8": "250 \u00e9\u4e2d\r\n".encode(),
    "telnet": b"\xff\xfb\x01250 a\r\n",
    "a long line": b"250 " + b"x" * 100_000 + b"\r\n",
    "a long inner line": b"250-a\r\n" + b"x" * 100_000 + b"\r\n250 b\r\n",
    "code before a code": b"250 250-a\r\n b\r\n250 END\r\n",
}


@pytest.mark.parametrize("size", [0, 1, 7, 4096])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form_is_relayed_as_it_is_and_answers_one_command(form: bytes, size: int) -> None:
    session = Session(LOGGED_IN)
    session.client(b"CWD a\r\n")
    assert session.server(form, size) == form
    assert session.client(b"PWD\r\n") == b"PWD\r\n"
    assert session.server(b"257 x\r\n") == b"257 x\r\n"
    assert session.client(b"NOOP\r\n") == b"NOOP\r\n"
    assert not session.is_over
    assert session.dialogue.record.strays == 0


@pytest.mark.parametrize("size", [0, 1, 7, 4096])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form_of_a_login_and_of_a_transfers_replies(form: bytes, size: int) -> None:
    def of(code: bytes) -> bytes:
        return form.replace(b"250", code)

    well = form[:3] not in (b"600", b"999", b"099")
    session = Session(GREETING)
    if well:
        assert session.server(of(b"220"), size) == of(b"220")
    else:
        session.server(b"220 x\r\n")
    session.client(b"USER joe\r\n")
    assert session.server(of(b"331"), size) == of(b"331")
    session.client(b"PASS x\r\n")
    assert session.server(of(b"230"), size) == of(b"230")
    assert session.dialogue.record.logged_in is well
    session = Session(RETRIEVING)
    if well:
        assert session.server(of(b"150"), size) == of(b"150")
        assert any(isinstance(action, StartTransfer) for action in session.done)
        # The end waits for the data; bare text before it is nobody's.
        early = session.server(of(b"226"), size)
        session.event("DataFinished 1 5 complete")
        assert session.to_client == of(b"150") + of(b"226")
        assert early in (b"", of(b"226")[: len(early)])
        assert b"226" not in early
        assert [action.record.code for action in session.done if isinstance(action, RecordTransfer)] == [226]


# The client: what curl and wget, or lftp and ftplib, take for the end. Some command follows.
DOUBTFUL = {
    "another last code": b"250-a\r\n213 End\r\n",
    "a good last code": b"550-a\r\nb\r\n250 c\r\n",
    "a bad last code": b"250-a\r\n550 b\r\n",
    "no space": b"250-a\r\n250\r\n",
    "no code": b"250-a\r\n b\r\nEND\r\n",
    "four digits": b"2500 a\r\n",
    "a colon": b"250:a\r\n",
    "code before a code": b"250 250-a\r\n",
}
FAINT = {"two digits": b"25 a\r\n", "one digit": b"2 a\r\n", "zeros": b"000 a\r\n"}
"""To ftplib alone."""


@pytest.mark.parametrize("size", [0, 1])
@pytest.mark.parametrize("form", (DOUBTFUL | FAINT).values(), ids=DOUBTFUL | FAINT)
def test_a_client_that_speaks_on_has_its_answer(form: bytes, size: int) -> None:
    session = Session(LOGGED_IN)
    session.client(b"CWD a\r\n")
    assert session.server(form, size) == form
    assert session.client(b"PWD\r\n") == b"PWD\r\n"
    assert session.server(b"257 x\r\n") == b"257 x\r\n"
    assert session.client(b"NOOP\r\n") == b"NOOP\r\n"
    assert session.dialogue.record.strays == 0


@pytest.mark.parametrize("form", DOUBTFUL.values(), ids=DOUBTFUL)
def test_a_client_that_sends_ahead_waits_a_moment(form: bytes) -> None:
    session = Session(LOGGED_IN)
    session.client(b"CWD a\r\nPWD\r\n")
    assert session.server(form) == form
    assert session.waits
    session.tell(TimedOut(Timer.LULL))
    assert session.to_server == b"CWD a\r\nPWD\r\n"
    assert not session.waits
    assert session.server(b"257 x\r\n") == b"257 x\r\n"
    assert Timer.SERVER not in session.dialogue.timers


@pytest.mark.parametrize("form", FAINT.values(), ids=FAINT)
def test_text_that_begins_with_a_digit_is_waited_out(form: bytes) -> None:
    session = Session(LOGGED_IN)
    session.client(b"CWD a\r\nPWD\r\n")
    session.server(form)
    assert not session.waits
    assert session.server(b"250 x\r\n") == b"250 x\r\n"
    assert session.to_server == b"CWD a\r\nPWD\r\n"
    session = Session(GREETING)
    session.server(form)
    assert not session.waits
    assert session.server(b"220 x\r\n") == form + b"220 x\r\n"


def test_what_comes_after_the_moment_reaches_a_client_that_still_waits() -> None:
    session = Session(LOGGED_IN)
    session.client(b"CWD a\r\n")
    session.server(b"250-a\r\n213 b\r\n")
    session.tell(TimedOut(Timer.LULL))
    assert session.server(b"c\r\n250 d\r\n") == b"c\r\n250 d\r\n"
    assert session.client(b"PWD\r\n") == b"PWD\r\n"
    session.server(b"257 x\r\n")
    assert session.server(b"250 late\r\n") == b""
    assert session.dialogue.record.strays == 1
    # What the balancer read itself stays with it.
    session = Session([*LOGGED_IN, "ClientSent FEAT"])
    session.server(b"211-a\r\n SIZE\r\nEND\r\n")
    session.tell(TimedOut(Timer.LULL))
    assert session.server(b"211 b\r\n") == b""


@pytest.mark.parametrize("end", ["ClientLeft True", "SessionKilled now"])
def test_a_session_that_is_over_waits_for_no_reply(end: str) -> None:
    session = Session(DOWNLOADING)
    session.client(b"STAT\r\n")
    session.server(b"211-a\r\n213 b\r\n")
    assert session.waits
    session.event(end)
    assert session.dialogue.phase is Phase.LEAVING
    assert not session.dialogue.timers


@pytest.mark.parametrize("rest", [b"250 c\r\n", b"more\r\n250 c\r\n", b"550 c\r\n\r\n250 d\r\n"])
def test_a_reply_may_go_on_where_some_client_would_have_ended_it(rest: bytes) -> None:
    session = Session(LOGGED_IN)
    session.client(b"CWD a\r\nPWD\r\n")
    session.server(b"250-a\r\n213 b\r\n")
    assert session.waits
    assert session.server(rest, 1) == rest
    assert session.to_server == b"CWD a\r\nPWD\r\n"
    assert not session.waits


def test_an_idle_client_is_no_silent_server() -> None:
    session = Session(LOGGED_IN)
    session.client(b"CWD a\r\n")
    session.server(b"250-a\r\n213 b\r\n")
    session.tell(TimedOut(Timer.LULL))
    assert session.dialogue.timers == {Timer.CLIENT}


@pytest.mark.parametrize("begin", [b"553-a\r\n", b"553-a\r\n\r\n550 b\r\n"])
@pytest.mark.parametrize("size", [0, 1])
def test_a_transfer_begins_at_150_whatever_stands_before_it(begin: bytes, size: int) -> None:
    session = Session(RETRIEVING)
    assert session.server(begin + b"150 here\r\n", size) == begin + b"150 here\r\n"
    assert any(isinstance(action, StartTransfer) for action in session.done)
    session.server(b"226 done\r\n")
    session.event("DataFinished 1 5 complete")
    assert session.to_client.endswith(b"226 done\r\n")


def test_a_transfer_that_begins_and_ends_with_four_digits() -> None:
    session = Session(RETRIEVING)
    assert session.server(b"1500 here\r\n") == b"1500 here\r\n"
    assert any(isinstance(action, StartTransfer) for action in session.done)
    assert session.server(b"2260 done\r\n") == b""
    session.event("DataFinished 1 5 complete")
    session.tell(TimedOut(Timer.LULL))
    assert session.to_client == b"1500 here\r\n2260 done\r\n"
    assert [action.record.code for action in session.done if isinstance(action, RecordTransfer)] == [226]
    assert session.client(b"PWD\r\n") == b"PWD\r\n"


def test_a_transfer_that_ends_with_another_code_ends_after_a_moment() -> None:
    session = Session(DOWNLOADING)
    session.server(b"426-odd\r\n226 done\r\n")
    session.event("DataFinished 1 5 complete")
    session.tell(TimedOut(Timer.LULL))
    assert session.to_client == b"426-odd\r\n226 done\r\n"
    assert session.client(b"PWD\r\n") == b"PWD\r\n"


@pytest.mark.parametrize("text", [b"\r\n", b"hello\r\n", b"3 files\r\n"])
def test_bare_text_at_any_time_is_relayed_and_is_no_reply(text: bytes) -> None:
    session = Session(LOGGED_IN)
    assert session.server(text) == text
    assert not session.waits
    assert session.client(b"PWD\r\n") == b"PWD\r\n"
    assert session.server(text + b"257 x\r\n" + text) == text + b"257 x\r\n" + text
    assert session.client(b"PWD\r\n") == b"PWD\r\n"
    session = Session(DOWNLOADING)
    assert session.server(text) == text
    assert not session.waits
    session.server(b"226 done\r\n")
    # Nothing overtakes the end that waits for the data.
    assert session.server(text) == b""
    session.event("DataFinished 1 5 complete")
    assert session.to_client == text + b"226 done\r\n" + text


# --- the greeting -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said", [b"200 a\r\n", b"250-a\r\n250 b\r\n", b"331 a\r\n", b"\r\nx\r\n299 a\r\n", b"120 a\r\n220 b\r\n"]
)
def test_any_good_greeting_opens(said: bytes) -> None:
    session = Session(GREETING)
    assert session.server(said) == said
    assert session.dialogue.phase is Phase.OPEN
    assert session.client(b"USER joe\r\n") == b"USER joe\r\n"


def test_who_is_greeted_with_230_is_logged_in() -> None:
    """curl sends no USER then."""
    session = Session(GREETING)
    session.server(b"230 in\r\n")
    assert session.client(b"PWD\r\n") == b"PWD\r\n"
    # Others do.
    session.server(b"257 x\r\n")
    assert session.client(b"USER joe\r\n") == b"USER joe\r\n"


@pytest.mark.parametrize("said", [b"220-a\r\n230 b\r\n", b"2200 a\r\n", b"220-a\r\nEND\r\n"])
def test_a_greeting_in_doubt_opens_after_a_moment(said: bytes) -> None:
    session = Session(GREETING)
    session.server(said)
    session.tell(TimedOut(Timer.LULL))
    assert session.to_client == said
    assert session.dialogue.phase is Phase.OPEN


@pytest.mark.parametrize("said", [b"500 a\r\n", b"600 a\r\n", b"220-a\r\n421 b\r\n"])
def test_a_refusal_however_it_is_worded_is_another_servers_turn(said: bytes) -> None:
    session = Session(GREETING)
    session.server(said)
    if session.waits:
        session.tell(TimedOut(Timer.LULL))
    session.tell(ServerAssigned("s2", "10.0.0.2"))
    session.tell(ServerConnected())
    assert session.server(b"220 second\r\n") == b"220 second\r\n"
    assert session.to_client == b"220 second\r\n"


# --- what the balancer reads itself -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [
        b"hello\r\n229 ok (|||4000|)\r\r\n",
        b"\r\n229-x\r\n\0\r\n229 ok (|||4000|)\n",
        b"230-x\r\n229 ok (|||4000|)\r\n",
        b"230-x\r\n229 ok (|||4000|)\r\n230 end\r\n",
    ],
)
@pytest.mark.parametrize("size", [0, 1])
def test_a_port_is_found_in_odd_replies(said: bytes, size: int) -> None:
    session = Session([*LOGGED_IN, "ClientSent EPSV", "DataPortLeased 1 50007"])
    session.server(said, size)
    assert session.to_client == b"229 Entering Extended Passive Mode (|||50007|)\r\n"
    assert session.client(b"NOOP\r\n") == b"NOOP\r\n"
    assert session.server(b"200 x\r\n") == b"200 x\r\n"


@pytest.mark.parametrize(
    "said",
    [
        b"211 211-Ext:\r\n SIZE\r\n MDTM\r\n211 END\r\n",
        b"211-Ext:\r\n211-SIZE\r\n211-MDTM\r\n211 End\r\n",
        b"211-Ext:\r\r\nSIZE\r\r\nMDTM\r\r\n211 End\r\r\n",
        b"211-Ext:\r\n SIZE\r\n MDTM\r\n213 End\r\n",
        b"211-Ext:\r\n SIZE\r\n MDTM\r\nEND\r\n",
        b"\r\nx\r\n211-Ext:\r\n\r\n SIZE\r\n MDTM\r\n211 End\r\n",
    ],
)
@pytest.mark.parametrize("size", [0, 1])
def test_features_are_read_however_they_are_listed(said: bytes, size: int) -> None:
    session = Session([*LOGGED_IN, "ClientSent FEAT"])
    session.server(said, size)
    if session.waits:
        session.tell(TimedOut(Timer.LULL))
    assert session.to_client == b"211-Features:\r\n EPSV\r\n MDTM\r\n PASV\r\n SIZE\r\n211 End\r\n"
    assert LearnFeatures((b"MDTM", b"SIZE")) in session.done
    assert session.client(b"NOOP\r\n") == b"NOOP\r\n"


@pytest.mark.parametrize(
    "said", [b"502 no\r\n", b"211 211-Ext:\r\n", b"211 none\r\n", b"450 not now\r\n", b"550 no\r\n"]
)
def test_nothing_is_learnt_from_a_feat_that_lists_nothing(said: bytes) -> None:
    session = Session([*LOGGED_IN, "ClientSent FEAT"])
    session.server(said)
    if session.waits:
        session.tell(TimedOut(Timer.LULL))
    assert not [action for action in session.done if isinstance(action, LearnFeatures)]
    assert session.to_client
    assert session.client(b"NOOP\r\n") == b"NOOP\r\n"


@pytest.mark.parametrize(
    "said",
    [
        b"250-a\r\n227 here (10,0,0,1,15,160)\r\n250 b\r\n",
        b"250-a\r\n229 here (|||4000|)\r\n",
        b"2270 here (10,0,0,1,15,160)\r\n",
        b"227 here (10,0,0,1,15,160)\r\n",
    ],
)
def test_a_port_that_is_not_ours_is_told_to_nobody(said: bytes) -> None:
    session = Session([*LOGGED_IN, "ClientSent CWD a"])
    session.server(said)
    assert b"227 here" not in session.to_client
    assert b"229 here" not in session.to_client
    assert session.is_over


def test_a_list_with_a_name_like_a_reply_is_a_list() -> None:
    session = Session([*LOGGED_IN, "ClientSent STAT"])
    said = b"213-list\r\n227 files\r\n421 more\r\n213 End\r\n"
    assert session.server(said) == said
    assert session.client(b"NOOP\r\n") == b"NOOP\r\n"


# --- during a transfer --------------------------------------------------------------------------------------------

ANSWERS = [
    *(b"200 a|211 a|212 a|213 a|214 a|225 a|250 a|425 a|450 a|500 a|502 a|504 a|530 a|550 a|553 a|600 a".split(b"|")),
    b"211-a\r\n 226 b\r\n211 c",
    b"213-a\r\n226 b\r\n213 c",
    b"550-a\r\nb\r\n550 c",
]


@pytest.mark.parametrize("script", [DOWNLOADING, UPLOADING], ids=["download", "upload"])
@pytest.mark.parametrize("verb", [b"STAT x", b"STAT", b"NOOP"])
@pytest.mark.parametrize("answer", ANSWERS)
def test_no_answer_to_another_command_is_the_end_of_a_transfer(script: list[str], verb: bytes, answer: bytes) -> None:
    session = Session(script)
    assert session.client(verb + b"\r\n") == verb + b"\r\n"
    assert session.server(answer + b"\r\n") == answer + b"\r\n"
    assert session.done == [action for action in session.done if isinstance(action, SendToClient | SendToServer)]
    assert session.dialogue.is_transferring
    session.event("DataFinished 1 5 complete")
    assert session.server(b"226 done\r\n") == b"226 done\r\n"
    assert [action.record.code for action in session.done if isinstance(action, RecordTransfer)] == [226]
    assert session.client(b"PWD\r\n") == b"PWD\r\n"


@pytest.mark.parametrize("answer", [answer for answer in ANSWERS if answer != b"250 a"])
def test_nor_is_it_when_the_data_have_ended_before(answer: bytes) -> None:
    session = Session(DOWNLOADING)
    session.client(b"STAT x\r\n")
    session.event("DataFinished 1 5 complete")
    assert session.server(answer + b"\r\n") == answer + b"\r\n"
    assert session.server(b"226 done\r\n") == b"226 done\r\n"
    assert [action.record.code for action in session.done if isinstance(action, RecordTransfer)] == [226]


@pytest.mark.parametrize("final", [b"226 a", b"426 a", b"451 a", b"452 a", b"552 a"])
def test_what_only_a_transfer_is_answered_ends_it(final: bytes) -> None:
    session = Session(UPLOADING)
    session.client(b"NOOP\r\n")
    session.server(final + b"\r\n")
    if final[:1] == b"2":
        session.event("DataFinished 1 5 complete")
    else:
        session.event("DataFinished 1 5 cut")
    assert session.to_client == final + b"\r\n"
    assert session.server(b"200 x\r\n") == b"200 x\r\n"
    assert [action.record.code for action in session.done if isinstance(action, RecordTransfer)] == [int(final[:3])]


@pytest.mark.parametrize("answer", [b"500 a\r\n", b"502 a\r\n", b"225 a\r\n"])
def test_an_abor_is_answered_before_the_transfer(answer: bytes) -> None:
    session = Session(DOWNLOADING)
    session.client(b"ABOR\r\n")
    session.event("DataFinished 1 5 cut")
    assert session.server(answer) == answer
    assert session.server(b"426 cut\r\n") == b"426 cut\r\n"
    assert session.client(b"PWD\r\n") == b"PWD\r\n"


def test_commands_before_150_are_answered_in_their_order() -> None:
    session = Session(RETRIEVING)
    session.client(b"STAT\r\n")
    assert session.server(b"211 busy\r\n") == b"211 busy\r\n"
    assert session.server(b"150 here\r\n") == b"150 here\r\n"
    session.event("DataFinished 1 5 complete")
    assert session.server(b"226 done\r\n") == b"226 done\r\n"


def test_nothing_of_ours_stands_inside_a_reply() -> None:
    session = Session(DOWNLOADING)
    session.client(b"STAT\r\n")
    session.server(b"213-a\r\n")
    session.event("TimedOut ftp-transfer")
    session.event("DataFinished 1 5 cut")
    session.server(b" b\r\n213 c\r\n")
    assert session.to_client.startswith(b"213-a\r\n b\r\n213 c\r\n426 ")


# --- a server that leaves under a transfer ------------------------------------------------------------------------


@pytest.mark.parametrize("script", [DOWNLOADING, UPLOADING], ids=["download", "upload"])
def test_data_flow_on_when_the_control_connection_is_closed(script: list[str]) -> None:
    session = Session(script)
    session.event("ServerLeft")
    assert session.done == []
    assert session.dialogue.timers == {Timer.TRANSFER}
    session.event("DataFinished 1 5 complete")
    record = next(action.record for action in session.done if isinstance(action, RecordTransfer))
    assert (record.code, record.size, record.termination_state) == (421, 5, "SD")
    assert session.to_client.startswith(b"421 ")
    assert session.is_over


def test_a_client_that_comes_later_still_gets_the_data() -> None:
    script = [line for line in DOWNLOADING if not line.startswith("ClientDataConnected")]
    session = Session(script)
    session.event("ServerLeft")
    session.event("ClientDataConnected 1 192.0.2.7")
    assert any(isinstance(action, StartTransfer) for action in session.done)
    session.event("DataFinished 1 5 complete")
    assert session.is_over


@pytest.mark.parametrize("end", ["TimedOut ftp-data", "ClientLeft True", "SessionKilled now"])
def test_a_client_that_never_comes_then_ends_the_session(end: str) -> None:
    session = Session([line for line in DOWNLOADING if not line.startswith("ClientDataConnected")])
    session.event("ServerLeft")
    session.event(end)
    assert session.is_over


@pytest.mark.parametrize("end", ["TimedOut ftp-transfer", "ClientLeft True"])
def test_what_else_ends_such_a_transfer(end: str) -> None:
    session = Session(DOWNLOADING)
    session.event("ServerLeft")
    session.event(end)
    session.event("DataFinished 1 5 cut")
    assert session.is_over


def test_an_abor_needs_no_server() -> None:
    session = Session(DOWNLOADING)
    session.event("ServerLeft")
    session.client(b"ABOR\r\n")
    session.event("DataFinished 1 5 cut")
    assert session.is_over


def test_a_client_is_told_nothing_of_a_transfer_that_has_not_begun() -> None:
    session = Session(RETRIEVING)
    session.event("ServerLeft")
    assert session.is_over
