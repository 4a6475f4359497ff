"""`ftp-login-limit`: who may log in, as a table of networks and as the dialogue asks for it."""

from __future__ import annotations

import itertools

import pytest

from ftp_world import play
from pasvport.ftp import login_limit
from pasvport.ftp.login_limit import LoginLimit
from pasvport.ftp.settings import Settings

HERE = "192.0.2.7"


class Applicant:
    """What it was told."""

    def __init__(self) -> None:
        self.told = ""

    def login_allowed(self) -> None:
        self.told += "allowed "

    def login_refused(self) -> None:
        self.told += "refused "


def begun(limit: LoginLimit, host: str = HERE, now: float = 0.0) -> Applicant:
    applicant = Applicant()
    limit.begin(host, applicant, now)
    return applicant


def failed(limit: LoginLimit, host: str = HERE, now: float = 0.0) -> bool:
    """A whole attempt; whether it was allowed."""
    if begun(limit, host, now).told != "allowed ":
        return False
    limit.count(host, now)
    limit.finish(host, now)
    return True


def test_so_many_may_fail_and_none_after() -> None:
    limit = LoginLimit(5, 60)
    assert sum(failed(limit) for _ in range(500)) == 5
    assert limit.exceeded(HERE, 59.9)
    assert not limit.exceeded(HERE, 60)
    assert sum(failed(limit, now=60) for _ in range(500)) == 5
    assert not limit.exceeded("192.0.2.8", 0)


def test_sessions_opened_beforehand_wait_for_one_another() -> None:
    """500 passwords at once: five go to servers, and all that wait are refused with the last of them."""
    limit = LoginLimit(5, 60)
    everybody = [begun(limit) for _ in range(500)]
    assert [each.told for each in everybody] == ["allowed "] * 5 + [""] * 495
    for _ in range(5):
        limit.count(HERE, 1)
        limit.finish(HERE, 1)
    assert [each.told for each in everybody] == ["allowed "] * 5 + ["refused "] * 495


def test_an_office_logs_in_at_once() -> None:
    limit = LoginLimit(2, 60)
    everybody = [begun(limit) for _ in range(50)]
    for done in range(1, 51):
        assert sum(each.told == "allowed " for each in everybody) == min(50, done + 1)
        limit.finish(HERE, 0)
    assert len(limit) == 0


def test_who_waits_may_leave() -> None:
    limit = LoginLimit(1, 60)
    begun(limit)
    leaving, staying = begun(limit), begun(limit)
    limit.leave(HERE, leaving)
    limit.leave("198.51.100.1", leaving)
    limit.finish(HERE, 0)
    assert (leaving.told, staying.told) == ("", "allowed ")


@pytest.mark.parametrize(
    ("one", "other", "masks", "together"),
    [
        ("2001:db8::1", "2001:db8::ffff", (32, 64), True),
        ("2001:db8::1", "2001:db8:0:1::1", (32, 64), False),
        ("2001:db8::1", "2001:db8:0:1::1", (32, 56), True),
        ("2001:db8::1", "2001:db8::2", (32, 128), False),
        ("fe80::1%eth0", "fe80::2%eth0", (32, 64), True),
        ("192.0.2.1", "192.0.2.2", (32, 64), False),
        ("192.0.2.1", "192.0.2.2", (24, 64), True),
        ("192.0.2.1", "192.0.3.1", (24, 64), False),
        ("unix", "unix", (24, 64), True),
    ],
)
def test_networks(one: str, other: str, masks: tuple[int, int], *, together: bool) -> None:
    limit = LoginLimit(1, 60, *masks)
    failed(limit, one)
    assert limit.exceeded(other, 1) is together


def test_no_limit() -> None:
    limit = LoginLimit(0, 0)
    assert all(failed(limit) for _ in range(100))
    assert not limit.exceeded(HERE, 0)
    assert len(limit) == 0


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that failed longest ago is forgotten; whose logins are under way stay."""
    monkeypatch.setattr(login_limit, "MOST_NETWORKS", 10)
    limit = LoginLimit(1, 60)
    begun(limit, "10.0.0.1")
    for number in itertools.islice(itertools.count(2), 100):
        assert failed(limit, f"10.0.0.{number}", number)
    assert len(limit) == 10
    assert limit.exceeded("10.0.0.101", 102)
    assert not limit.exceeded("10.0.0.50", 102)
    waiting = begun(limit, "10.0.0.1")
    limit.finish("10.0.0.1", 102)
    assert waiting.told == "allowed "


# --- the dialogue -------------------------------------------------------------------------------------------------

LIMITED = Settings(login_limited=True)
CONNECTED = """
> ClientConnected 192.0.2.7 203.0.113.1
< ChooseServer
> ServerAssigned s1 10.0.0.1
> ServerConnected
> ServerSent 220 hello
< SendToClient 220 hello
"""
USER = """
> ClientSent USER joe
< BeginLogin
> LoginAllowed
< SendToServer USER joe
> ServerSent 331 password
< SendToClient 331 password
< FinishLogin
"""
PASS = """
> ClientSent PASS x
< BeginLogin
> LoginAllowed
< SendToServer PASS x
"""
IN = """
> ServerSent 230 in
< SendToClient 230 in
< NoteLogin joe
< FinishLogin
"""
WRONG = """
> ServerSent 530 wrong
< SendToClient 530 wrong
< CountLoginFailure joe
< FinishLogin
"""
PENALTY = """
< LeaveServer
> TimedOut penalty
< SendToClient 421 Too many failed logins, closing the control connection.
< CloseSession PR ftp-login-limit
"""


@pytest.mark.parametrize(
    "text",
    [
        CONNECTED + USER + PASS + IN,
        CONNECTED + USER + PASS + WRONG + USER + PASS + IN,
        CONNECTED + "> ClientSent USER joe\n< BeginLogin\n> LoginLimitExceeded" + PENALTY,
        CONNECTED + USER + "> ClientSent PASS x\n< BeginLogin\n> LoginLimitExceeded" + PENALTY,
        CONNECTED + USER + PASS + WRONG + "> LoginLimitExceeded" + PENALTY,
        # Inside a session that is logged in, too.
        CONNECTED + USER + PASS + IN + USER + PASS + WRONG + "> LoginLimitExceeded" + PENALTY,
        CONNECTED + USER + PASS + IN + USER + "> ClientSent PASS y\n< BeginLogin\n> LoginLimitExceeded" + PENALTY,
    ],
)
def test_nothing_that_logs_in_goes_to_a_server_unasked(text: str) -> None:
    play(text, LIMITED)


def test_what_is_pipelined_waits_as_well() -> None:
    play(
        CONNECTED
        + """
        > ClientSent USER a / PASS b / PASS c / NOOP
        < BeginLogin
        > LoginAllowed
        < SendToServer USER a
        > ServerSent 331 password
        < SendToClient 331 password
        < FinishLogin
        < BeginLogin
        > LoginAllowed
        < SendToServer PASS b
        > ServerSent 530 wrong
        < SendToClient 530 wrong
        < CountLoginFailure a
        < FinishLogin
        < BeginLogin
        > LoginLimitExceeded
        """
        + PENALTY.strip(),
        LIMITED,
    )


def test_a_user_chooses_no_server_unasked() -> None:
    play(
        """
        > ClientConnected 192.0.2.7 203.0.113.1
        < SendToClient 220 FTP service ready.
        > ClientSent PASS x
        < SendToClient 503 Login with USER first.
        > ClientSent USER joe
        < BeginLogin
        > LoginAllowed
        < ChooseServer joe
        > ServerAssigned s1 10.0.0.1
        > ServerConnected
        > ServerSent 220 hello
        < SendToServer USER joe
        """,
        Settings(login_limited=True, deferred=True),
    )


@pytest.mark.parametrize("end", ["ClientLeft True", "ServerLeft gone"])
def test_who_leaves_before_the_answer_has_failed(end: str) -> None:
    """A server refuses slowly: whoever does not wait knows that, too."""
    watched = play(CONNECTED + USER + PASS + "> ServerSent 530 wrong\n" + WRONG.strip().split("\n", 1)[1], LIMITED)
    assert watched.record.login_failures == 1
    culprit = "CR the client reset the connection" if "Client" in end else "SR gone"
    said = "" if "Client" in end else "< SendToClient 421 Service not available, closing the control connection.\n"
    dialogue = play(
        CONNECTED
        + USER
        + PASS
        + WRONG
        + USER
        + PASS
        + f"> {end}\n{said}< CountLoginFailure joe\n< CloseSession {culprit}",
        LIMITED,
    )
    assert dialogue.record.login_failures == 2


@pytest.mark.parametrize(
    ("reply", "fails"),
    [
        ("530 wrong", True),
        ("430 wrong", True),
        ("535 wrong", True),
        ("550 wrong", True),
        ("503 USER first", False),
        ("500 what?", False),
    ],
)
def test_what_is_a_failure(reply: str, *, fails: bool) -> None:
    told = f"> ServerSent {reply}\n< SendToClient {reply}\n"
    play(CONNECTED + USER + PASS + told + ("< CountLoginFailure joe\n" if fails else "") + "< FinishLogin", LIMITED)


# --- another user, another server ---------------------------------------------------------------------------------


def test_users_that_are_tried_one_after_another_are_bounded() -> None:
    text = """
        > ClientConnected 192.0.2.7 203.0.113.1
        < SendToClient 220 FTP service ready.
    """
    for number in range(3):
        leave = "< SendToServer QUIT\n< LeaveServer\n" if number else ""
        text += f"""
        > ClientSent USER u{number}
        {leave}< ChooseServer u{number}
        > ServerAssigned s1 10.0.0.1
        > ServerConnected
        > ServerSent 220 hello
        < SendToServer USER u{number}
        > ServerSent 331 password
        < SendToClient 331 password
        """
    text += """
        > ClientSent USER u3
        < SendToClient 421 Too many users were named, closing the control connection.
        < SendToServer QUIT
        < CloseSession PR too many users
    """
    play(text, Settings(deferred=True, max_moves=2))
