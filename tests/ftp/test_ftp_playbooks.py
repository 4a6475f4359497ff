from __future__ import annotations

import pytest

from ftp_world import described, event_from, play
from pasvport.ftp.actions import RecordTransfer, SendToClient, SendToServer
from pasvport.ftp.dialogue import Dialogue
from pasvport.ftp.events import ClientSent, ServerSent, Timer
from pasvport.ftp.settings import Settings
from pasvport.ftp.states import Phase
from pasvport.model import AuthTls

CONNECTED = """
> ClientConnected 192.0.2.7 203.0.113.1
< ChooseServer
> ServerAssigned s1 10.0.0.1
> ServerConnected
> ServerSent 220 hello
< SendToClient 220 hello
"""
ASKED_PASSWORD = (
    CONNECTED
    + """
> ClientSent USER joe
< SendToServer USER joe
> ServerSent 331 password
< SendToClient 331 password
"""
)
LOGGED_IN = (
    ASKED_PASSWORD
    + """
> ClientSent PASS secret
< SendToServer PASS secret
> ServerSent 230 in
< SendToClient 230 in
< NoteLogin joe
"""
)
READY = (
    LOGGED_IN
    + """
> ClientSent EPSV
< LeaseDataPort 1
< SendToServer EPSV
> DataPortLeased 1 50007
> ServerSent 229 ok (|||4000|)
< DialServerData 1 10.0.0.1 4000
< SendToClient 229 Entering Extended Passive Mode (|||50007|)
> ServerDataConnected 1
"""
)
MOVING = (
    READY
    + """
> ClientDataConnected 1 192.0.2.7
> ClientSent RETR a
< SendToServer RETR a
> ServerSent 150 here
< SendToClient 150 here
< StartTransfer 1 download
"""
)
UPLOADING = (
    READY
    + """
> ClientDataConnected 1 192.0.2.7
> ClientSent STOR a
< SendToServer STOR a
> ServerSent 150 go
< SendToClient 150 go
< StartTransfer 1 upload
"""
)


# --- the beginning ------------------------------------------------------------------------------------------------


def test_a_banner_of_several_lines_passes_through() -> None:
    play("""
        > ClientConnected 192.0.2.7 203.0.113.1
        < ChooseServer
        > ServerAssigned s1 10.0.0.1
        > ServerConnected
        > ServerSent 220-hello / 230 not the end / 220 done
        < SendToClient 220-hello / 230 not the end / 220 done
    """)


def test_120_is_not_the_greeting() -> None:
    play("""
        > ClientConnected 192.0.2.7 203.0.113.1
        < ChooseServer
        > ServerAssigned s1 10.0.0.1
        > ServerConnected
        > ServerSent 120 in 2 minutes
        < SendToClient 120 in 2 minutes
        > ServerSent 220 hello
        < SendToClient 220 hello
    """)


def test_a_refusing_server_is_replaced_before_the_client_sees_anything() -> None:
    play("""
        > ClientConnected 192.0.2.7 203.0.113.1
        < ChooseServer
        > ServerAssigned s1 10.0.0.1
        > ServerConnected
        > ServerSent 421 too many users
        < LeaveServer
        < ChooseServer True banner 421
        > ServerAssigned s2 10.0.0.2
        > ServerConnected
        > ServerSent 220 second
        < SendToClient 220 second
    """)


def test_no_server_left_repeats_the_last_refusal() -> None:
    play("""
        > ClientConnected 192.0.2.7 203.0.113.1
        < ChooseServer
        > ServerAssigned s1 10.0.0.1
        > ServerConnected
        > ServerSent 421 too many users
        < LeaveServer
        < ChooseServer True banner 421
        > NoServer none left
        < SendToClient 421 too many users
        < CloseSession SC none left
    """)


def test_a_server_that_dies_during_the_login_is_replaced_and_hears_the_user_again() -> None:
    play(
        ASKED_PASSWORD
        + """
        > ClientSent PASS secret
        < SendToServer PASS secret
        > ServerLeft
        < LeaveServer
        < ChooseServer True connection closed
        > ServerAssigned s2 10.0.0.2
        > ServerConnected
        > ServerSent 220 second
        < SendToServer USER joe
        > ServerSent 331 password
        < SendToServer PASS secret
        > ServerSent 230 in
        < SendToClient 230 in
        < NoteLogin joe
    """
    )


def test_a_silent_server_is_replaced_and_the_number_of_replacements_is_bounded() -> None:
    play(
        """
        > ClientConnected 192.0.2.7 203.0.113.1
        < ChooseServer
        > ServerAssigned s1 10.0.0.1
        > ServerConnected
        > TimedOut server
        < LeaveServer
        < ChooseServer True timeout server
        > ServerAssigned s2 10.0.0.2
        > ServerConnected
        > TimedOut server
        < SendToClient 421 Service not available, closing the control connection.
        < CloseSession sC timeout server
    """,
        Settings(redispatches=1),
    )


def test_after_a_refused_login_the_servers_goodbye_stands() -> None:
    play(
        ASKED_PASSWORD
        + """
        > ClientSent PASS wrong
        < SendToServer PASS wrong
        > ServerSent 530 no
        < SendToClient 530 no
        < CountLoginFailure joe
        > ServerLeft
        < SendToClient 421 Service not available, closing the control connection.
        < CloseSession SR connection closed
    """
    )


DEFERRED = Settings(deferred=True, greeting="ours")
GREETED = """
> ClientConnected 192.0.2.7 203.0.113.1
< SendToClient 220 ours
"""


def test_deferred_choice_knows_user_and_host() -> None:
    play(
        GREETED
        + """
        > ClientSent NOOP
        < SendToClient 200 OK.
        > ClientSent HOST ftp.example.org
        < SendToClient 220 HOST accepted.
        > ClientSent OPTS UTF8 ON
        < SendToClient 200 OPTS accepted.
        > ClientSent AUTH TLS
        < SendToClient 534 TLS is not available here.
        > ClientSent LIST
        < SendToClient 530 Please login with USER and PASS.
        > ClientSent USER joe
        < ChooseServer joe ftp.example.org
        > ServerAssigned s1 10.0.0.1
        > ServerConnected
        > ServerSent 220 swallowed
        < SendToServer HOST ftp.example.org
        > ServerSent 220 host
        < SendToServer OPTS UTF8 ON
        > ServerSent 200 utf8
        < SendToServer USER joe
        > ServerSent 331 password
        < SendToClient 331 password
        > ClientSent USER eve
        < SendToServer QUIT
        < LeaveServer
        < ChooseServer eve ftp.example.org
    """,
        DEFERRED,
    )


def test_deferred_features_and_reinitialization_are_answered_here() -> None:
    play(
        GREETED
        + """
        > ClientSent FEAT
        < SendToClient 211-Features: /  EPSV /  PASV /  SIZE / 211 End
        > ClientSent USER joe
        < ChooseServer joe
        > ServerAssigned s1 10.0.0.1
        > ServerConnected
        > ServerSent 220 swallowed
        < SendToServer USER joe
        > ServerSent 230 in
        < SendToClient 230 in
        < NoteLogin joe
        > ClientSent REIN
        < SendToServer QUIT
        < LeaveServer
        < SendToClient 220 Ready for a new user.
        > ClientSent USER eve
        < ChooseServer eve
    """,
        Settings(deferred=True, greeting="ours", features=(b"SIZE", b"MLST")),
    )


def test_quit_before_any_server() -> None:
    play(GREETED + "> ClientSent QUIT\n< SendToClient 221 Goodbye.\n< CloseSession -- QUIT", DEFERRED)


SAID_BEFORE_LOGIN = (
    "STAT|SITE HELP|HELP|SYST|FEAT x|OPTS UTF8 ON|OPTS|CLNT|CLNT x|NOOP|LANG|CSID x|PWD|DELE x|SITE|SIZE|TYPE|WHAT|"
    "WHAT is this|ABOR|HELP SITE|MLST"
)


@pytest.mark.parametrize("line", SAID_BEFORE_LOGIN.split("|"))
def test_what_is_said_before_the_login_is_the_servers_to_answer(line: str) -> None:
    play(
        CONNECTED
        + f"""
        > ClientSent {line}
        < SendToServer {line}
        > ServerSent 211-so / or so / 211 so
        < SendToClient 211-so / or so / 211 so
        > ClientSent NOOP
        < SendToServer NOOP
    """
    )


@pytest.mark.parametrize(
    "line", ["PASV", "EPSV", "EPSV ALL", "PORT 1,2,3,4,5,6", "EPRT |1|1.2.3.4|5|", "RETR x", "LIST", "STOU"]
)
def test_nobody_gets_a_port_before_login(line: str) -> None:
    play(CONNECTED + f"> ClientSent {line}\n< SendToClient 530 Please login with USER and PASS.")


def test_what_was_asked_before_login_is_asked_of_another_server() -> None:
    play(
        CONNECTED
        + """
        > ClientSent LANG fr
        < SendToServer LANG fr
        > ServerSent 200 bien
        < SendToClient 200 bien
        > ClientSent STAT
        < SendToServer STAT
        > ServerLeft
        < LeaveServer
        < ChooseServer True connection closed
        > ServerAssigned s2 10.0.0.2
        > ServerConnected
        > ServerSent 220 two
        < SendToServer LANG fr
        > ServerSent 200 oui
        < SendToServer STAT
        > ServerSent 211 fine
        < SendToClient 211 fine
    """
    )


def test_too_many_failed_logins_wait_and_leave() -> None:
    dialogue = play(
        ASKED_PASSWORD
        + """
        > LoginLimitExceeded
        < LeaveServer
        > TimedOut penalty
        < SendToClient 421 Too many failed logins, closing the control connection.
        < CloseSession PR ftp-login-limit
    """
    )
    assert not dialogue.reads_client


# --- data connections ---------------------------------------------------------------------------------------------


def test_pasv_is_answered_with_our_port_and_the_server_asked_by_what_it_knows() -> None:
    play(
        LOGGED_IN
        + """
        > ClientSent EPSV
        < LeaseDataPort 1
        < SendToServer EPSV
        > ServerSent 500 what
        < SendToServer PASV
        > ServerSent 227 Entering Passive Mode 172,16,0,9,15,160
        < DialServerData 1 10.0.0.1 4000 True
        > DataPortLeased 1 50007
        < SendToClient 229 Entering Extended Passive Mode (|||50007|)
        > ServerDataConnected 1
        < LearnPassive PASV
        > ClientSent EPSV
        < DropData 1
        < LeaseDataPort 2
        < SendToServer PASV
    """
    )


def test_the_host_of_a_227_is_dialled_only_when_trusted() -> None:
    play(
        LOGGED_IN
        + """
        > ClientSent EPSV
        < LeaseDataPort 1
        < SendToServer EPSV
        > ServerSent 425 not now
        < SendToServer PASV
        > ServerSent 227 here 172,16,0,9,15,160 ok
        < DialServerData 1 172.16.0.9 4000 True
    """,
        Settings(trust_named_host=True),
    )


def test_a_stray_226_is_not_the_answer_to_pasv() -> None:
    """Nor is it ignored: the other way is asked too, and the answers are told apart."""
    dialogue = play(
        LOGGED_IN
        + """
        > ClientSent EPSV
        < LeaseDataPort 1
        < SendToServer EPSV
        > ServerSent 226 late
        < SendToServer PASV
        > ServerSent 229 ok (!!!4000!)
        > ServerSent 227 ok (10,0,0,1,15,161)
        < DialServerData 1 10.0.0.1 4001 True
    """
    )
    assert dialogue.record.strays == 1


def test_both_ways_refused_relays_the_servers_words() -> None:
    play(
        LOGGED_IN
        + """
        > ClientSent EPSV
        < LeaseDataPort 1
        < SendToServer EPSV
        > ServerSent 500 what
        < SendToServer PASV
        > ServerSent 500 OOPS: vsf_sysutil_bind
        < DropData 1
        < SendToClient 500 OOPS: vsf_sysutil_bind
    """
    )


def test_an_exhausted_pool_is_425_and_the_servers_answer_is_swallowed() -> None:
    play(
        LOGGED_IN
        + """
        > ClientSent EPSV / NOOP
        < LeaseDataPort 1
        < SendToServer EPSV
        > LeaseFailed 1 exhausted
        < DropData 1
        < SendToClient 425 No data port is free.
        > ServerSent 229 ok (|||4000|)
        < SendToServer NOOP
    """
    )


def test_epsv_all_and_families() -> None:
    play(
        LOGGED_IN
        + """
        > ClientSent EPSV 2
        < SendToClient 522 Network protocol not supported, use (1)
        > ClientSent EPSV x
        < SendToClient 501 EPSV takes 1, 2 or ALL.
        > ClientSent EPSV ALL
        < SendToClient 200 Only EPSV from now on.
        > ClientSent PASV
        < SendToClient 501 PASV is not allowed after EPSV ALL.
        > ClientSent PORT 192,0,2,7,10,0
        < SendToClient 501 PORT is not allowed after EPSV ALL.
        > ClientSent EPSV 1
        < LeaseDataPort 1
        < SendToServer EPSV
    """,
        Settings(active=True),
    )


def test_ipv6_client_and_ipv4_server() -> None:
    play("""
        > ClientConnected 2001:db8::7 ""
        < ChooseServer
        > ServerAssigned s1 10.0.0.1 PASV
        > ServerConnected
        > ServerSent 220 hello
        < SendToClient 220 hello
        > ClientSent USER joe
        < SendToServer USER joe
        > ServerSent 230 in
        < SendToClient 230 in
        < NoteLogin joe
        > ClientSent PASV
        < SendToClient 425 PASV cannot name an IPv6 address: use EPSV.
        > ClientSent EPSV 2
        < LeaseDataPort 1
        < SendToServer PASV
        > DataPortLeased 1 50007
        > ServerSent 227 (9,9,9,9,15,160)
        < DialServerData 1 10.0.0.1 4000
        < SendToClient 229 Entering Extended Passive Mode (|||50007|)
    """)


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("PORT 192,0,2,8,10,0", "504 The data connection must go to the address of the control connection."),
        ("PORT 192,0,2,7,3,255", "504 Ports below 1024 are not dialled."),
        ("PORT 192,0,2,7,10", "501 PORT needs six numbers from 0 to 255."),
        ("EPRT |2|::1|4000|", "522 Network protocol not supported, use (1)"),
        ("EPRT |1|192.0.2.7|0|", "501 EPRT needs an address of its family and a port."),
        ("EPRT", "501 EPRT needs an argument."),
    ],
)
def test_active_clients_may_not_point_elsewhere(command: str, answer: str) -> None:
    play(LOGGED_IN + f"> ClientSent {command}\n< SendToClient {answer}", Settings(active=True))


def test_active_is_off_by_default() -> None:
    play(LOGGED_IN + "> ClientSent PORT 192,0,2,7,10,0\n< SendToClient 502 PORT is disabled: use PASV or EPSV.")


ACTIVE = (
    LOGGED_IN
    + """
> ClientSent PORT 192,0,2,7,10,0
< SendToServer PASV
> ServerSent 227 ok (10,0,0,1,15,160)
< DialServerData 1 10.0.0.1 4000
< SendToClient 200 PORT accepted.
> ServerDataConnected 1
> ClientSent RETR a
< SendToServer RETR a
> ServerSent 150 here
< DialClientData 1 192.0.2.7 2560
"""
)


def test_an_active_clients_150_waits_for_our_connection_to_it() -> None:
    play(
        ACTIVE
        + """
        > ServerSent 226 done
        > ClientDataConnected 1 192.0.2.7
        < SendToClient 150 here
        < StartTransfer 1 download
        > DataFinished 1 9 complete
        < SendToClient 226 done
        < RecordTransfer RETR a 226 9 complete --
    """,
        Settings(active=True),
    )


def test_an_unreachable_active_client_is_told_425() -> None:
    play(
        ACTIVE
        + """
        > ClientDataFailed 1 refused
        < SendToClient 425 Your data port cannot be reached.
        < DropData 1
        > ServerSent 426 lost
        < RecordTransfer RETR a 425 0 - CC
    """,
        Settings(active=True),
    )


def test_no_data_path_is_425_without_asking_the_server() -> None:
    play(LOGGED_IN + "> ClientSent RETR a\n< SendToClient 425 Use PASV or EPSV first.")


def test_an_unused_lease_expires() -> None:
    play(
        READY
        + """
        > TimedOut ftp-data
        < DropData 1
        > ClientSent RETR a
        < SendToClient 425 No data connection came in time.
    """
    )


def test_late_events_of_a_former_path_are_ignored() -> None:
    play(
        READY
        + """
        > ClientSent EPSV
        < DropData 1
        < LeaseDataPort 2
        < SendToServer EPSV
        > ClientDataConnected 1 192.0.2.7
        > ServerDataConnected 1
        > DataPortLeased 1 50001
        > DataFinished 1 5 complete
        > DataPortLeased 2 50009
        > ServerSent 229 ok (|||4001|)
        < DialServerData 2 10.0.0.1 4001
        < SendToClient 229 Entering Extended Passive Mode (|||50009|)
    """
    )


def test_a_conflict_that_is_told_late_changes_nothing() -> None:
    play(
        MOVING
        + """
        > DataFinished 1 5 complete
        > ClientDataConflict 1 192.0.2.7
        > ServerSent 226 done
        < SendToClient 226 done
        < RecordTransfer RETR a 226 5 complete --
    """
    )


# --- transfers ----------------------------------------------------------------------------------------------------


def test_226_waits_for_the_last_byte() -> None:
    play(
        MOVING
        + """
        > ServerSent 226 done
        > DataFinished 1 1234 complete
        < SendToClient 226 done
        < RecordTransfer RETR a 226 1234 complete --
    """
    )


def test_an_upload_is_finished_by_the_servers_226() -> None:
    play(
        UPLOADING
        + """
        > DataFinished 1 0 complete
        > ServerSent 226 stored
        < SendToClient 226 stored
        < RecordTransfer STOR a 226 0 complete --
    """
    )


@pytest.mark.parametrize("ending", ["client-abort", "server-abort"])
def test_226_for_a_cut_stream_becomes_426(ending: str) -> None:
    culprit = "CD" if ending == "client-abort" else "SD"
    play(
        MOVING
        + f"""
        > ServerSent 226 done
        > DataFinished 1 12 {ending}
        < SendToClient 426 The data connection was lost: the transfer is not complete.
        < RecordTransfer RETR a 426 12 {ending} {culprit}
    """
    )


def test_a_failing_upload_is_cut_at_once() -> None:
    play(
        UPLOADING
        + """
        > ServerSent 452 disk full
        < SendToClient 452 disk full
        < AbortTransfer 1
        > DataFinished 1 77 cut
        < RecordTransfer STOR a 452 77 cut SD
    """
    )


def test_550_after_the_client_connected() -> None:
    play(
        READY
        + """
        > ClientDataConnected 1 192.0.2.7
        > ClientSent RETR nothing
        < SendToServer RETR nothing
        > ServerSent 550 no such file
        < SendToClient 550 no such file
        < DropData 1
        < RecordTransfer RETR nothing 550 0 - SR
    """
    )


def test_two_connections_for_one_before_the_transfer_command() -> None:
    """The server never hears of the transfer; the next command is obeyed as ever."""
    dialogue = play(
        READY
        + """
        > ClientDataConnected 1 192.0.2.7
        > ClientDataConflict 1 192.0.2.7
        < DropData 1
        > ClientSent NOOP
        < SendToServer NOOP
        > ServerSent 200 here
        < SendToClient 200 here
        > ClientSent STOR x
        < SendToClient 425 Two data connections came from your address: neither is served.
        < RecordTransfer STOR x 425 0 conflict PC
        > ClientSent STOR x
        < SendToClient 425 Use PASV or EPSV first.
    """
    )
    assert dialogue.record.conflicts == 1
    assert dialogue.record.failed_transfers == 1


def test_two_connections_for_one_before_the_servers_stands() -> None:
    """The transfer command, which waits for the server's data connection, waits no longer."""
    before = READY.replace("> ServerDataConnected 1\n", "")
    play(
        before
        + """
        > ClientDataConnected 1 192.0.2.7
        > ClientSent RETR file
        > ClientDataConflict 1 192.0.2.7
        < DropData 1
        < SendToClient 425 Two data connections came from your address: neither is served.
        < RecordTransfer RETR file 425 0 conflict PC
    """
    )
    play(
        before
        + """
        > ServerDataFailed 1 refused
        < SendToServer PASV
        > ClientDataConflict 1 192.0.2.7
        < DropData 1
        > ServerSent 227 There (10,0,0,1,15,161)
        > ClientSent RETR file
        < SendToClient 425 Two data connections came from your address: neither is served.
        < RecordTransfer RETR file 425 0 conflict PC
    """
    )


def test_two_connections_for_one_that_is_given_up() -> None:
    play(
        READY
        + """
        > ClientDataConnected 1 192.0.2.7
        > ClientDataConflict 1 192.0.2.7
        < DropData 1
        > ClientSent EPSV
        < RecordTransfer - 0 0 conflict PC
        < LeaseDataPort 2
        < SendToServer EPSV
    """
    )


def test_two_connections_for_one_after_the_transfer_command() -> None:
    play(
        READY
        + """
        > ClientDataConnected 1 192.0.2.7
        > ClientSent RETR file
        < SendToServer RETR file
        > ClientDataConflict 1 192.0.2.7
        < SendToClient 425 Two data connections came from your address: neither is served.
        < DropData 1
        > ServerSent 150 opening
        > ServerSent 426 broken
        < RecordTransfer RETR file 425 0 conflict PC
        > ClientSent NOOP
        < SendToServer NOOP
    """
    )


def test_two_connections_for_one_together_with_the_start() -> None:
    """The second was found when the bytes were about to move; none has."""
    play(
        MOVING
        + """
        > ClientDataConflict 1 192.0.2.7
        < SendToClient 425 Two data connections came from your address: neither is served.
        < AbortTransfer 1
        > DataFinished 1 0 cut
        > ServerSent 426 broken
        < RecordTransfer RETR a 425 0 conflict PC
    """
    )


def test_226_without_1xx() -> None:
    play(
        READY
        + """
        > ClientSent LIST
        < SendToServer LIST
        > ServerSent 226 nothing there
        > ClientDataConnected 1 192.0.2.7
        < StartTransfer 1 download True
        > DataFinished 1 0 complete
        < SendToClient 226 nothing there
        < RecordTransfer LIST 226 0 complete --
    """
    )


def test_a_client_that_never_connects_is_told_425_after_150() -> None:
    play(
        READY
        + """
        > ClientSent RETR a
        < SendToServer RETR a
        > ServerSent 150 here
        < SendToClient 150 here
        > ServerSent 226 done
        > TimedOut ftp-data
        < SendToClient 425 No data connection came in time.
        < DropData 1
        < RecordTransfer RETR a 425 0 - cC
    """
    )


def test_a_dead_data_port_of_the_server_is_425() -> None:
    """Of both ways: the server hears no transfer command."""
    play(
        LOGGED_IN
        + """
        > ClientSent EPSV / RETR a / NOOP
        < LeaseDataPort 1
        < SendToServer EPSV
        > DataPortLeased 1 50007
        > ServerSent 229 ok (|||4000|)
        < DialServerData 1 10.0.0.1 4000
        < SendToClient 229 Entering Extended Passive Mode (|||50007|)
        > ServerDataFailed 1 refused
        < SendToServer PASV
        > ServerSent 227 ok (10,0,0,1,15,161)
        < DialServerData 1 10.0.0.1 4001 True
        > ServerDataFailed 1 refused
        < DropData 1
        < SendToClient 425 The server's data port cannot be reached.
        < SendToServer NOOP
        > ServerSent 200 ok
        < SendToClient 200 ok
    """
    )


def test_a_stall_is_426_and_cut() -> None:
    play(
        MOVING
        + """
        > TimedOut ftp-transfer
        < SendToClient 426 The transfer stalled.
        < AbortTransfer 1
        > DataFinished 1 10 cut
        > ServerSent 426 lost
        < RecordTransfer RETR a 426 10 cut cD
    """
    )


def test_abor_with_426_and_226() -> None:
    play(
        MOVING
        + """
        > ClientSent \xff\xf4\xff\xf2ABOR
        < SendToServer \xff\xf4\xff\xf2ABOR [urgent=3]
        < AbortTransfer 1
        > DataFinished 1 10 cut
        > ServerSent 426 cut / 226 aborted
        < SendToClient 426 cut
        < RecordTransfer RETR a 426 10 cut CD
        < SendToClient 226 aborted
    """
    )


@pytest.mark.parametrize("later", ["", "> ServerSent 226 aborted\n< SendToClient 226 aborted\n"])
def test_abor_with_226_once_or_twice(later: str) -> None:
    play(
        MOVING
        + """
        > ClientSent ABOR
        < SendToServer ABOR
        < AbortTransfer 1
        > DataFinished 1 10 cut
        > ServerSent 226 closed
        < SendToClient 226 closed
        < RecordTransfer RETR a 226 10 cut CD
        """
        + later
        + """
        > ClientSent NOOP
        < SendToServer NOOP
        > ServerSent 200 ok
        < SendToClient 200 ok
    """
    )


def test_abor_with_nothing_to_interrupt_has_no_synch() -> None:
    """The transfer ended while ABOR was on its way; Pure-FTPd would never answer one behind a Synch."""
    play(
        MOVING
        + """
        > DataFinished 1 10 cut
        > ServerSent 226 closed
        < SendToClient 426 The data connection was lost: the transfer is not complete.
        < RecordTransfer RETR a 426 10 cut SD
        > ClientSent \xff\xf4\xff\xf2ABOR / PWD
        < SendToServer ABOR
        > ServerSent 226 nothing to abort
        < SendToClient 226 nothing to abort
        < SendToServer PWD
    """
    )


def test_abor_before_150() -> None:
    play(
        READY
        + """
        > ClientDataConnected 1 192.0.2.7
        > ClientSent RETR a / QUIT / ABOR
        < SendToServer RETR a
        < SendToServer ABOR
        < DropData 1
        > ServerSent 150 here
        < SendToClient 150 here
        > ServerSent 426 cut
        < SendToClient 426 cut
        < RecordTransfer RETR a 426 0 - CD
        > ServerSent 226 aborted
        < SendToClient 226 aborted
        < SendToServer QUIT
    """
    )


def test_noop_and_stat_during_a_transfer_in_either_order_of_replies() -> None:
    play(
        MOVING
        + """
        > ClientSent NOOP / STAT
        < SendToServer NOOP
        < SendToServer STAT
        > ServerSent 200 early
        < SendToClient 200 early
        > ServerSent 226 done / 213 late
        > DataFinished 1 5 complete
        < SendToClient 226 done
        < SendToClient 213 late
        < RecordTransfer RETR a 226 5 complete --
    """
    )


def test_retr_and_quit_pipelined() -> None:
    play(
        READY
        + """
        > ClientSent RETR a / QUIT
        < SendToServer RETR a
        > ServerSent 150 here / 226 done
        < SendToClient 150 here
        > ClientDataConnected 1 192.0.2.7
        < StartTransfer 1 download
        > DataFinished 1 5 complete
        < SendToClient 226 done
        < RecordTransfer RETR a 226 5 complete --
        < SendToServer QUIT
        > ServerSent 221 bye
        < SendToClient 221 bye
        < CloseSession -- QUIT
    """
    )


def test_everything_pipelined_is_answered_in_order() -> None:
    play(
        CONNECTED
        + """
        > ClientSent USER joe / PASS secret / TYPE I / NOPE
        < SendToServer USER joe
        > ServerSent 331 password
        < SendToClient 331 password
        < SendToServer PASS secret
        > ServerSent 230 in
        < SendToClient 230 in
        < NoteLogin joe
        < SendToServer TYPE I
        > ServerSent 200 image
        < SendToClient 200 image
        < SendToServer NOPE
        > ServerSent 500 what
        < SendToClient 500 what
    """
    )


# --- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("SITE CHMOD 777 x", "502 SITE is not allowed."),
        ("LPSV", "502 LPSV is not implemented."),
        ("MODE B", "504 Only MODE S."),
        ("STRU R", "504 Only STRU F."),
        ("CCC", "533 The control connection cannot go back to clear text."),
        ("AUTH GSSAPI", "504 Only AUTH TLS."),
        ("AUTH TLS", "534 TLS is not available here."),
        ("RETR", "501 RETR needs an argument."),
        ("?", "500 Not a command."),
        ("A\0B", "500 Not a command."),
        ("RETR x" + "y" * 5000, "500 Line too long."),
    ],
)
def test_refusals(command: str, answer: str) -> None:
    settings = Settings(denied=frozenset({"SITE"}), auth=AuthTls.REFUSE)
    play(LOGGED_IN + f"> ClientSent {command}\n< SendToClient {answer}", settings)


@pytest.mark.parametrize("behind", [b"PORT 1,2", b"\rquit", b"\0DELE x", b"XCRC a"])
def test_no_command_hides_behind_a_cr(behind: bytes) -> None:
    """A server that ends lines there would obey it, denied or not, and nobody here would have seen it."""
    dialogue = play(LOGGED_IN, Settings(denied=frozenset({"XCRC"})))
    refused = dialogue.receive(ClientSent(b"MKD x\r" + behind + b"\r\n"))
    assert [described(action)[:16] for action in refused] == ["SendToClient 501"]
    passed = dialogue.receive(ClientSent(b"MKD Icon\r\r\n"))
    assert passed == [SendToServer(b"MKD Icon\r\r\n")]


def test_features_are_those_of_both() -> None:
    play(
        LOGGED_IN
        + """
        > ClientSent FEAT
        < SendToServer FEAT
        > ServerSent 211-Extensions: /  AUTH TLS /  LANG EN /  MLST type*;size*; /  REST STREAM /  XCRC / 211 End
        < LearnFeatures AUTH,MLST,REST
        < SendToClient 211-Features: /  AUTH TLS /  EPSV /  MLST type*;size*; /  PASV /  REST STREAM / 211 End
        > ClientSent FEAT
        < SendToServer FEAT
        > ServerSent 502 what
        < SendToClient 211-Features: /  EPSV /  PASV / 211 End
    """
    )


def test_what_is_said_of_the_moment_is_not_learnt_as_features() -> None:
    """FEAT with an argument would be refused by most servers; one client must not narrow what all are shown."""
    play(
        LOGGED_IN
        + """
        > ClientSent FEAT x
        < SendToServer FEAT x
        > ServerSent 504 Not x
        < SendToClient 504 Not x
        > ClientSent FEAT
        < SendToServer FEAT
        > ServerSent 450 Not now
        < SendToClient 450 Not now
    """
    )


def test_denied_commands_are_no_features() -> None:
    play(
        LOGGED_IN
        + """
        > ClientSent FEAT
        < SendToServer FEAT
        > ServerSent 211-Extensions: /  MDTM /  SIZE / 211 End
        < LearnFeatures MDTM,SIZE
        < SendToClient 211-Features: /  EPSV /  SIZE / 211 End
    """,
        Settings(denied=frozenset({"MDTM", "PASV"})),
    )


def test_too_many_bad_commands_end_the_session() -> None:
    play(
        CONNECTED
        + """
        > ClientSent ? / ?
        < SendToClient 500 Not a command.
        < SendToClient 421 Protocol error, closing the control connection.
        < SendToServer QUIT
        < CloseSession CR too many bad commands
    """,
        Settings(max_refused=1),
    )


# --- TLS ----------------------------------------------------------------------------------------------------------


def test_auth_tls_goes_blind() -> None:
    dialogue = play(
        CONNECTED
        + """
        > ClientSent AUTH TLS
        < SendToServer AUTH TLS
        > ServerSent 234 go
        < SendToClient 234 go
        < GoBlind
        > DrainRequested soft stop
        > ClientLeft
        < CloseSession -- the client closed
    """
    )
    assert dialogue.record.blind
    assert dialogue.phase is Phase.OVER


def test_clear_text_behind_auth_is_not_let_into_tls() -> None:
    play(
        CONNECTED
        + """
        > ClientSent AUTH TLS / USER eve
        < SendToServer AUTH TLS
        > ServerSent 234 go
        < SendToClient 421 Protocol error, closing the control connection.
        < CloseSession CR clear text after AUTH
    """
    )


def test_clear_text_behind_234_is_not_let_into_tls() -> None:
    play(
        CONNECTED
        + """
        > ClientSent AUTH TLS
        < SendToServer AUTH TLS
        > ServerSent 234 go / 230 eve
        < LeaveServer
        < ChooseServer True clear text after 234
    """
    )


def test_a_refused_auth_changes_nothing() -> None:
    play(CONNECTED + "> ClientSent AUTH TLS\n< SendToServer AUTH TLS\n> ServerSent 500 no\n< SendToClient 500 no")


HELLO = bytes.fromhex("16030100c8010000c40303") + b"\r\nUSER eve\r\nDELE x\r\n" + bytes(300)
OLD_HELLO = bytes.fromhex("802e0100020015000000100100800200800300800400800500800600400700c0") + b"\n\n" + bytes(20)


def heard(dialogue: Dialogue, *pieces: bytes) -> list[str]:
    """What comes of bytes of the client, cut so; actions about nothing but TLS by their names."""
    return [
        "SendToServer hello"
        if isinstance(action, SendToServer) and action.data[0] in (0x16, 0x80)
        else described(action)
        for piece in pieces
        for action in dialogue.receive(ClientSent(piece))
    ]


def begun(dialogue: Dialogue, hello: bytes) -> None:
    """The client begins TLS, in any pieces, and gets it."""
    got = [action for at in range(len(hello)) for action in dialogue.receive(ClientSent(hello[at : at + 1]))]
    sent, blind = got
    assert isinstance(sent, SendToServer)
    assert hello.startswith(sent.data)
    assert described(blind) == "GoBlind"
    assert dialogue.phase is Phase.BLIND


@pytest.mark.parametrize("hello", [HELLO, OLD_HELLO])
@pytest.mark.parametrize("answer", ["200 TLS", "235 go on", "334 go on", "202 fine", "250-TLS / 250 go on"])
@pytest.mark.parametrize("mechanism", ["TLS", "SSL", "TLS-C", "TLS-P", "tls"])
def test_tls_begins_after_any_consent(mechanism: str, answer: str, hello: bytes) -> None:
    dialogue = play(
        CONNECTED
        + f"""
        > ClientSent AUTH {mechanism}
        < SendToServer AUTH {mechanism}
        > ServerSent {answer}
        < SendToClient {answer}
    """
    )
    assert dialogue.phase is Phase.OPEN
    begun(dialogue, hello)


def test_a_client_that_goes_on_in_clear_text_after_consent() -> None:
    dialogue = play(
        CONNECTED
        + """
        > ClientSent AUTH TLS
        < SendToServer AUTH TLS
        > ServerSent 334 go on
        < SendToClient 334 go on
        > ClientSent USER joe
        < SendToServer USER joe
        > ServerSent 331 password
        < SendToClient 331 password
    """
    )
    assert heard(dialogue, HELLO)[-1] == "CloseSession CR TLS without AUTH"


@pytest.mark.parametrize("hello", [HELLO, OLD_HELLO])
@pytest.mark.parametrize("answer", ["234 go", "200 go", "334 go"])
def test_a_hello_before_its_time_waits_for_the_answer(answer: str, hello: bytes) -> None:
    dialogue = play(CONNECTED)
    assert heard(dialogue, b"AUTH TLS\r\n" + hello) == ["SendToServer AUTH TLS"]
    assert not dialogue.reads_client
    got = dialogue.receive(event_from(f"ServerSent {answer}"))
    assert got[1] == SendToServer(hello)
    assert [described(got[0]), described(got[2])] == [f"SendToClient {answer}", "GoBlind"]


def test_a_hello_behind_auth_before_the_banner() -> None:
    dialogue = play(
        "> ClientConnected 192.0.2.7 203.0.113.1\n< ChooseServer\n> ServerAssigned s1 10.0.0.1\n> ServerConnected"
    )
    assert heard(dialogue, b"AUTH TLS\r\n", HELLO[:1], HELLO[1:]) == []
    assert [described(each) for each in dialogue.receive(event_from("ServerSent 220 hi"))] == [
        "SendToClient 220 hi",
        "SendToServer AUTH TLS",
    ]
    assert [described(each) for each in dialogue.receive(event_from("ServerSent 234 go"))][-1] == "GoBlind"


@pytest.mark.parametrize("pieces", [(HELLO,), (HELLO[:1], HELLO[1:]), (OLD_HELLO[:2], OLD_HELLO[2:])])
@pytest.mark.parametrize(
    ("before", "state"),
    [
        ("", "CR"),
        ("> ClientSent AUTH TLS\n< SendToServer AUTH TLS\n> ServerSent 500 no\n< SendToClient 500 no\n", "CR"),
        (LOGGED_IN.removeprefix(CONNECTED), "CD"),
    ],
)
def test_a_hello_that_nobody_agreed_to_is_never_read_as_commands(
    before: str, state: str, pieces: tuple[bytes, ...]
) -> None:
    dialogue = play(CONNECTED + before)
    assert heard(dialogue, *pieces) == [
        "SendToClient 421 Protocol error, closing the control connection.",
        "SendToServer QUIT",
        f"CloseSession {state} TLS without AUTH",
    ]


def test_a_hello_behind_a_refused_auth_ends_the_session() -> None:
    dialogue = play(CONNECTED)
    assert heard(dialogue, b"AUTH TLS\r\n" + HELLO) == ["SendToServer AUTH TLS"]
    assert [described(each) for each in dialogue.receive(event_from("ServerSent 534 no"))] == [
        "SendToClient 534 no",
        "SendToClient 421 Protocol error, closing the control connection.",
        "SendToServer QUIT",
        "CloseSession CR TLS without AUTH",
    ]


def test_a_hello_where_we_refuse_auth() -> None:
    dialogue = play(CONNECTED, Settings(auth=AuthTls.REFUSE))
    assert heard(dialogue, b"AUTH TLS\r\n" + HELLO) == [
        "SendToClient 534 TLS is not available here.",
        "SendToClient 421 Protocol error, closing the control connection.",
        "SendToServer QUIT",
        "CloseSession CR TLS without AUTH",
    ]


def test_a_hello_before_a_server_is_chosen() -> None:
    dialogue = play(
        "> ClientConnected 192.0.2.7 203.0.113.1\n< SendToClient 220 FTP service ready.", Settings(deferred=True)
    )
    assert heard(dialogue, HELLO)[-1] == "CloseSession CR TLS without AUTH"


@pytest.mark.parametrize("junk", [b"\x16\r\n", b"\x16x\n", b"\x80\x01\x02\r\n", b"\x8fab\n"])
def test_junk_is_no_hello(junk: bytes) -> None:
    assert heard(play(CONNECTED), junk) == ["SendToClient 500 Not a command."]


def test_clear_text_behind_a_consent_is_not_let_into_tls() -> None:
    dialogue = play(
        CONNECTED + "> ClientSent AUTH TLS\n< SendToServer AUTH TLS\n> ServerSent 200 go\n< SendToClient 200 go"
    )
    dialogue.receive(ServerSent(b"220 x"))
    assert heard(dialogue, HELLO)[-1].startswith("ChooseServer")


# --- ends ---------------------------------------------------------------------------------------------------------


def test_drain_waits_for_the_transfer_and_not_for_the_client() -> None:
    play(
        MOVING
        + """
        > DrainRequested soft stop
        > ClientSent ABOR / PWD
        < SendToServer ABOR
        < AbortTransfer 1
        > DataFinished 1 10 cut
        > ServerSent 426 cut
        < SendToClient 426 cut
        < RecordTransfer RETR a 426 10 cut CD
        > ServerSent 226 aborted
        < SendToClient 226 aborted
        < SendToClient 421 Service not available, closing the control connection.
        < SendToServer QUIT
        < CloseSession KD soft stop
    """
    )


def test_drain_of_an_idle_session_is_at_once() -> None:
    play(
        READY
        + """
        > DrainRequested reload
        < SendToClient 421 Service not available, closing the control connection.
        < DropData 1
        < SendToServer QUIT
        < CloseSession KD reload
    """
    )


def test_an_unasked_421_is_relayed_once() -> None:
    play(
        LOGGED_IN
        + """
        > ServerSent 421 idle too long
        < SendToClient 421 idle too long
        < SendToServer QUIT
        < CloseSession SD the server said 421
        > ServerLeft
    """
    )


@pytest.mark.parametrize("how", ["server-abort", "complete"])
def test_421_in_mid_transfer_is_told_when_the_data_have_ended(how: str) -> None:
    """Servers end what moves with it, or let it come to its end: the data connection says which."""
    play(
        MOVING
        + f"""
        > ServerSent 421 shutting down
        > ServerLeft
        > DataFinished 1 10 {how}
        < RecordTransfer RETR a 421 10 {how} SD
        < SendToClient 421 shutting down
        < CloseSession SD the server said 421
    """
    )


def test_a_server_that_leaves_after_its_226_has_finished() -> None:
    play(
        MOVING
        + """
        > ServerSent 226 done
        > ServerLeft
        > DataFinished 1 10 complete
        < SendToClient 226 done
        < RecordTransfer RETR a 226 10 complete --
        < CloseSession SD connection closed
    """
    )


def test_a_server_that_dies_in_mid_transfer() -> None:
    play(
        MOVING
        + """
        > ServerLeft
        > DataFinished 1 10 server-abort
        < RecordTransfer RETR a 421 10 server-abort SD
        < SendToClient 421 Service not available, closing the control connection.
        < CloseSession SD connection closed
    """
    )


def test_a_client_that_half_closes_gets_what_it_asked_for() -> None:
    play(
        MOVING
        + """
        > ClientLeft
        > ServerSent 226 done
        > DataFinished 1 10 complete
        < SendToClient 226 done
        < RecordTransfer RETR a 226 10 complete --
        < SendToServer QUIT
        < CloseSession -- the client closed
    """
    )


def test_a_reset_of_the_client_ends_at_once() -> None:
    play(
        MOVING
        + """
        > ClientLeft True
        < AbortTransfer 1
        > DataFinished 1 10 cut
        < RecordTransfer RETR a 0 10 cut CD
        < CloseSession CD the client reset the connection
    """
    )


def test_idle_clients_and_silent_servers() -> None:
    play(
        LOGGED_IN
        + """
        > TimedOut client
        < SendToClient 421 Timeout, closing the control connection.
        < SendToServer QUIT
        < CloseSession cD timeout client
    """
    )
    play(
        LOGGED_IN
        + """
        > ClientSent PWD
        < SendToServer PWD
        > TimedOut client
        > TimedOut server
        < SendToClient 421 The server does not answer, closing the control connection.
        < CloseSession sD timeout server
    """
    )


@pytest.mark.parametrize("end", ["> ServerLeft", "> TimedOut server", "> DrainRequested reload"])
def test_quit_is_always_answered(end: str) -> None:
    play(
        LOGGED_IN
        + f"""
        > ClientSent QUIT
        < SendToServer QUIT
        {end}
        < SendToClient 221 Goodbye.
        < CloseSession -- {{}}
    """.replace("{}", "QUIT, not answered in time" if "TimedOut" in end else "QUIT")
    )


def test_a_server_that_speaks_nonsense_is_passed_on_until_its_time_is_up() -> None:
    play(
        LOGGED_IN
        + """
        > ClientSent PWD
        < SendToServer PWD
        > ServerSent what is this
        < SendToClient what is this
        > TimedOut server
        < SendToClient 421 The server does not answer, closing the control connection.
        < CloseSession sD timeout server
    """
    )


def test_a_login_has_a_deadline_until_it_is_accepted() -> None:
    def running(text: str, **given: bool) -> set[str]:
        return {each.value for each in play(text, Settings(**given)).timers}

    beginning = "> ClientConnected 192.0.2.7 203.0.113.1\n"
    assert running(beginning + "< SendToClient 220 FTP service ready.", deferred=True) == {"client", "ftp-login"}
    assert running(beginning + "< ChooseServer") == {"ftp-login"}
    connected = beginning + "< ChooseServer\n> ServerAssigned s1 10.0.0.1\n> ServerConnected\n"
    assert running(connected) == {"server", "ftp-login"}
    assert running(CONNECTED) == {"client", "ftp-login"}
    assert running(CONNECTED + "> ClientSent USER joe\n< SendToServer USER joe") == {"server", "ftp-login"}
    assert running(ASKED_PASSWORD) == {"client", "ftp-login"}
    assert running(LOGGED_IN) == {"client"}
    out = "> ClientSent REIN\n< SendToServer REIN\n> ServerSent 220 anew\n< SendToClient 220 anew"
    assert running(LOGGED_IN + out) == {"client", "ftp-login"}
    assert running(CONNECTED + "> ClientSent QUIT\n< SendToServer QUIT") == {"server"}


@pytest.mark.parametrize(
    ("asked", "state"),
    [
        ("", "cR"),
        ("> ClientSent NOOP\n< SendToServer NOOP\n", "sR"),
        ("> ClientSent USER joe\n< SendToServer USER joe\n", "sR"),
    ],
)
def test_a_login_that_comes_not_in_time(asked: str, state: str) -> None:
    """Who is awaited when it is over is to blame."""
    polite = "< SendToServer QUIT\n" if not asked else ""
    play(
        CONNECTED
        + asked
        + f"""
        > TimedOut ftp-login
        < SendToClient 421 Login timeout, closing the control connection.
        {polite}< CloseSession {state} timeout ftp-login
    """
    )


@pytest.mark.parametrize("on_the_way", ["", "> ServerAssigned s1 10.0.0.1\n> ServerConnected\n"])
def test_no_banner_before_the_login_is_over(on_the_way: str) -> None:
    play(
        f"""
        > ClientConnected 192.0.2.7 203.0.113.1
        < ChooseServer
        {on_the_way}
        > TimedOut ftp-login
        < SendToClient 421 Login timeout, closing the control connection.
        < CloseSession sC timeout ftp-login
    """
    )


def test_what_a_client_may_send_ahead_is_bounded_in_bytes() -> None:
    dialogue = play(LOGGED_IN + "> ClientSent NOOP\n< SendToServer NOOP")
    line, read = b"SITE " + b"x" * 4000 + b"\r\n", 0
    while dialogue.reads_client:
        assert not dialogue.receive(ClientSent(line))
        read += len(line)
    assert read <= 3 * len(line)
    assert dialogue.held_bytes <= read
    for _ in range(read // len(line)):
        dialogue.receive(ServerSent(b"200 so\r\n"))
    assert dialogue.reads_client
    dialogue.receive(ServerSent(b"200 so\r\n"))
    assert not dialogue.held_bytes


def test_timers_freeze_while_data_moves() -> None:
    assert {each.value for each in play(MOVING).timers} == {"ftp-transfer"}
    assert {each.value for each in play(LOGGED_IN).timers} == {"client"}
    assert {each.value for each in play(READY).timers} == {"client", "ftp-data"}
    assert {each.value for each in play(MOVING + "> DataFinished 1 5 complete\n").timers} == {"server"}
    assert {each.value for each in play(READY + "> ClientDataConnected 1 192.0.2.7\n").timers} == {"client"}


@pytest.mark.parametrize(
    "events",
    [
        "> DataFinished 1 5 client-abort\n> ServerSent 150 0.000 seconds",
        "> ServerSent 150 0.000 seconds\n> DataFinished 1 5 client-abort",
    ],
)
def test_a_second_150_ends_a_transfer_that_was_cut(events: str) -> None:
    """Pure-FTPd again, whose client reset its data connection and said nothing of ABOR."""
    dialogue = play(
        MOVING
        + events
        + """
        < SendToClient 426 Transfer aborted.
        < RecordTransfer RETR a 426 5 client-abort CD
    """
    )
    assert not dialogue.is_transferring


def test_a_source_over_its_limit_costs_no_server_a_connection() -> None:
    play(
        """
        > LoginLimitExceeded
        > TimedOut penalty
        < SendToClient 421 Too many failed logins, closing the control connection.
        < CloseSession PR ftp-login-limit
        """
    )


REPLAYING = (
    ASKED_PASSWORD
    + """
> ServerLeft
< LeaveServer
< ChooseServer True connection closed
> ServerAssigned s2 10.0.0.2
> ServerConnected
> ServerSent 220 second
< SendToServer USER joe
"""
)


@pytest.mark.parametrize(
    "end",
    [
        "> ClientLeft\n< CloseSession CC the client closed",
        "> ServerLeft\n< LeaveServer\n< ChooseServer True connection closed",
        "> TimedOut server\n< LeaveServer\n< ChooseServer True timeout server",
        "> ServerSent 530 no\n< LeaveServer\n< ChooseServer True 530 to what another server had accepted",
        "> LoginLimitExceeded\n< LeaveServer",
        "> ClientSent QUIT\n> ServerSent 331\n< SendToServer QUIT\n> ClientLeft\n< CloseSession -- the client closed",
    ],
)
def test_ends_while_a_second_server_hears_what_the_first_had_heard(end: str) -> None:
    play(REPLAYING + end)


@pytest.mark.parametrize(
    ("end", "close"),
    [
        ("> ServerLeft", "-- connection closed"),
        ("> TimedOut client", "cD timeout client"),
        ("> TimedOut server", "sD timeout server"),
        ("> ClientLeft True", "CD the client closed"),
    ],
)
def test_ends_of_a_blind_session(end: str, close: str) -> None:
    play(
        LOGGED_IN
        + f"""
        > ClientSent AUTH TLS
        < SendToServer AUTH TLS
        > ServerSent 234 go
        < SendToClient 234 go
        < GoBlind
        {end}
        < CloseSession {close}
    """
    )


@pytest.mark.parametrize(
    ("before", "record"),
    [
        ("", "RETR a 0 0 - CD"),
        ("> ServerSent 150 here\n< SendToClient 150 here\n", "RETR a 0 0 - CD"),
    ],
)
def test_a_transfer_that_never_started_is_recorded_at_the_end(before: str, record: str) -> None:
    play(
        READY
        + "> ClientSent RETR a\n< SendToServer RETR a\n"
        + before
        + f"""
        > ClientLeft True
        < DropData 1
        < RecordTransfer {record}
        < CloseSession CD the client reset the connection
    """
    )


def test_a_session_that_ends_while_a_refused_transfer_is_still_unanswered() -> None:
    play(
        READY
        + """
        > ClientSent RETR a
        < SendToServer RETR a
        > TimedOut ftp-data
        < SendToClient 425 No data connection came in time.
        < DropData 1
        > TimedOut server
        < SendToClient 421 The server does not answer, closing the control connection.
        < RecordTransfer RETR a 425 0 - cC
        < CloseSession sD timeout server
    """
    )


@pytest.mark.parametrize("code", [227, 229])
def test_no_client_hears_of_a_port_that_is_not_ours(code: int) -> None:
    play(
        LOGGED_IN
        + f"""
        > ClientSent NOOP
        < SendToServer NOOP
        > ServerSent {code} Entering (|||4000|) (10,0,0,1,15,160)
        < SendToClient 421 Protocol error, closing the control connection.
        < CloseSession SD {code} to another command than PASV and EPSV
    """
    )


def test_a_list_over_the_control_channel_is_passed_on_in_parts() -> None:
    lines = " / ".join(f" file{number:04}" for number in range(1000))
    dialogue = Dialogue(Settings())
    for line in LOGGED_IN.splitlines():
        if line.startswith(">"):
            dialogue.receive(event_from(line[2:]))
    dialogue.receive(event_from("ClientSent STAT ."))
    done = dialogue.receive(event_from(f"ServerSent 213-Status / {lines}"))
    passed_on = b"".join(action.data for action in done if isinstance(action, SendToClient))
    assert passed_on.endswith(b" file0999\r\n")
    done += dialogue.receive(event_from("ServerSent 213 End"))
    text = b"".join(action.data for action in done if isinstance(action, SendToClient))
    assert text == b"213-Status\r\n" + lines.replace(" / ", "\r\n").encode() + b"\r\n213 End\r\n"
    assert dialogue.timers == {Timer.CLIENT}


def test_rest_and_type_are_in_the_record_of_the_next_transfer_only() -> None:
    dialogue = Dialogue(Settings())
    records = []
    book = (
        LOGGED_IN
        + """
        > ClientSent TYPE I / REST 7
        > ServerSent 200 image / 350 restarting
        > ServerSent 350 restarting
    """
        + "".join(
            f"""
        > ClientSent EPSV
        > DataPortLeased {number} 50007
        > ServerSent 229 ok (|||4000|)
        > ServerDataConnected {number}
        > ClientDataConnected {number} 192.0.2.7
        > ClientSent RETR a
        > ServerSent 150 here / 226 done
        > DataFinished {number} 5 complete
    """
            for number in (1, 2)
        )
    )
    for line in book.splitlines():
        if line.strip().startswith(">"):
            done = dialogue.receive(event_from(line.strip()[2:]))
            records += [action.record for action in done if isinstance(action, RecordTransfer)]
    assert [(record.restart, record.data_type, record.user, record.server) for record in records] == [
        (7, "I", b"joe", "s1"),
        (0, "I", b"joe", "s1"),
    ]
    assert dialogue.record.transfers == 2
    assert dialogue.record.bytes_out == 10
    # The 350 that came too early was nobody's.
    assert dialogue.record.strays == 1


def test_an_unanswered_abor_ends_by_the_servers_timer() -> None:
    play(
        READY
        + """
        > ClientSent RETR a
        < SendToServer RETR a
        > ServerSent 150 here
        < SendToClient 150 here
        > ClientSent ABOR
        < SendToServer ABOR
        < DropData 1
        > TimedOut ftp-data
        > TimedOut server
        < SendToClient 421 The server does not answer, closing the control connection.
        < RecordTransfer RETR a 421 0 - CD
        < CloseSession sD timeout server
    """
    )
