"""A 2xx where 1xx is due: servers say 200 before 150 or in its place, and clients differ in what they make of it."""

from __future__ import annotations

import pytest
from test_ftp_odd_replies import DOWNLOADING, OPENED, RETRIEVING, UPLOADING, Session

from pasvport.ftp.actions import RecordTransfer, StartTransfer
from pasvport.ftp.events import Timer

STORING = [*OPENED, "ClientSent STOR a"]
STARTED = {"download": RETRIEVING, "upload": STORING}
ENDED = "DataFinished 1 5 complete"


def records(session: Session) -> list[tuple[int, int, str]]:
    found = [each.record for each in session.done if isinstance(each, RecordTransfer)]
    return [(each.code, each.size, each.termination_state) for each in found]


@pytest.mark.parametrize("script", STARTED.values(), ids=STARTED)
def test_it_is_told_at_once_and_so_is_150_behind_it(script: list[str]) -> None:
    session = Session(script)
    assert session.server(b"200 fine\r\n") == b"200 fine\r\n"
    assert any(isinstance(each, StartTransfer) for each in session.done)
    assert session.server(b"150 go\r\n") == b"150 go\r\n"
    session.event(ENDED)
    # To lftp 200 was the end, with 150 behind it or not: it may be about to go on.
    assert session.server(b"226 done\r\n") == b""
    session.event("TimedOut lull")
    assert session.to_client == b"200 fine\r\n150 go\r\n226 done\r\n"
    assert records(session) == [(226, 5, "--")]
    assert session.client(b"PWD\r\n") == b"PWD\r\n"


@pytest.mark.parametrize("ends_first", [True, False])
@pytest.mark.parametrize("script", STARTED.values(), ids=STARTED)
def test_the_end_comes_to_a_client_that_waits_for_it(script: list[str], ends_first: bool) -> None:
    session = Session(script)
    session.server(b"200 fine\r\n")
    for happens in [ENDED, ""] if ends_first else ["", ENDED]:
        if happens:
            session.event(happens)
        else:
            assert session.server(b"226 done\r\n") == b""
    assert session.waits
    session.event("TimedOut lull")
    assert session.to_client == b"200 fine\r\n226 done\r\n"
    assert records(session) == [(226, 5, "--")]


@pytest.mark.parametrize("ends_first", [True, False])
def test_a_client_that_goes_on_has_had_its_answer(ends_first: bool) -> None:
    """lftp: any 2xx is the end to it, another would be the answer to its next command."""
    session = Session(RETRIEVING)
    session.server(b"200 fine\r\n")
    session.event(ENDED)
    if ends_first:
        session.server(b"226 done\r\n")
        assert session.client(b"PWD\r\n") == b"PWD\r\n"
    else:
        assert session.client(b"PWD\r\n") == b""
        session.server(b"226 done\r\n")
        assert session.to_server == b"PWD\r\n"
    assert session.to_client == b"200 fine\r\n"
    assert session.server(b'257 "/"\r\n') == b'257 "/"\r\n'
    assert records(session) == [(226, 5, "--")]


def test_a_server_that_says_no_more_has_said_all() -> None:
    session = Session(RETRIEVING)
    session.server(b"200 fine\r\n")
    assert Timer.LULL not in session.dialogue.timers
    session.event(ENDED)
    session.event("TimedOut lull")
    assert records(session) == [(200, 5, "--")]
    assert session.client(b"PWD\r\n") == b"PWD\r\n"


def test_an_upload_waits_for_any_answer() -> None:
    """Else neither side would ever go on; curl does with any 2xx."""
    session = Session(STORING)
    assert session.server(b"226 go\r\n") == b"226 go\r\n"
    assert any(isinstance(each, StartTransfer) for each in session.done)


def test_a_download_may_end_with_226_alone() -> None:
    session = Session(RETRIEVING)
    assert session.server(b"226 done\r\n") == b""
    session.event(ENDED)
    assert session.to_client == b"226 done\r\n"
    assert [each.may_be_empty for each in session.done if isinstance(each, StartTransfer)] == [True]


def test_after_150_a_reset_is_no_end() -> None:
    session = Session(RETRIEVING)
    session.server(b"150 go\r\n226 done\r\n")
    assert [each.may_be_empty for each in session.done if isinstance(each, StartTransfer)] == [False]


@pytest.mark.parametrize("final", [b"451 no\r\n", b"552 full\r\n"])
def test_a_refusal_behind_it_is_told(final: bytes) -> None:
    session = Session(STORING)
    session.server(b"200 fine\r\n")
    assert session.server(final) == final
    session.event("DataFinished 1 5 cut")
    assert records(session)[0][0] == int(final[:3])


def test_what_was_lost_is_not_told_as_done() -> None:
    session = Session(RETRIEVING)
    session.server(b"200 fine\r\n226 done\r\n")
    session.event("DataFinished 1 5 server-abort")
    session.event("TimedOut lull")
    assert session.to_client.startswith(b"200 fine\r\n426 ")


@pytest.mark.parametrize("script", [DOWNLOADING, UPLOADING], ids=["download", "upload"])
def test_a_server_that_leaves_behind_its_last_word_leaves_no_421(script: list[str]) -> None:
    """curl would take it for the answer to its next command, instead of connecting anew."""
    session = Session(script)
    session.server(b"226 done\r\n")
    session.event("ServerLeft")
    session.event(ENDED)
    assert session.to_client == b"226 done\r\n"
    assert session.is_over


def test_who_has_asked_something_is_told_421() -> None:
    session = Session(DOWNLOADING)
    session.server(b"226 done\r\n")
    session.event("ServerLeft")
    session.client(b"PWD\r\n")
    session.event(ENDED)
    assert session.to_client.startswith(b"226 done\r\n421 ")


@pytest.mark.parametrize("size", [0, 1])
@pytest.mark.parametrize("said", [b"226 do", b"226 ", b"226-a\r\n b\r\n226 ", b"451 n"])
def test_of_the_last_line_of_a_transfer_a_beginning_is_enough(said: bytes, size: int) -> None:
    session = Session(DOWNLOADING)
    if session.server(said, size):
        raise AssertionError("told before its end")
    session.event("ServerLeft")
    session.event(ENDED)
    assert session.to_client == said + b"\r\n" or said[:1] == b"4"
    assert records(session)[0][0] == int(said[:3])


@pytest.mark.parametrize("said", [b"22", b"226", b"226-a\r\n b"])
def test_what_may_mean_anything_is_no_end(said: bytes) -> None:
    session = Session(DOWNLOADING)
    session.server(said)
    session.event("ServerLeft")
    session.event(ENDED)
    assert session.to_client.startswith(b"421 ")


def test_a_beginning_and_its_end_in_one_segment() -> None:
    """The 226 hides that 150 without a space, which ends a reply for ftplib alone, was the end of one."""
    session = Session(RETRIEVING)
    session.server(b"150-go\r\n150\r\n226-done\r\n226\r\n")
    assert any(isinstance(each, StartTransfer) for each in session.done)
    session.event(ENDED)
    session.event("TimedOut lull")
    assert session.to_client == b"150-go\r\n150\r\n226-done\r\n226\r\n"
