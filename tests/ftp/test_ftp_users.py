"""Whose session it is: a record names who is logged in, and apart from him whose login failed."""

from __future__ import annotations

import pytest

from ftp_world import Watched, event_from
from pasvport.ftp.actions import CloseSession, CountLoginFailure, NoteLogin, RecordTransfer
from pasvport.ftp.settings import Settings
from pasvport.model import AuthTls

GREETED = (
    "ClientConnected 192.0.2.7 203.0.113.1",
    "ServerAssigned s1 10.0.0.1",
    "ServerConnected",
    "ServerSent 220 hi",
)
TRANSFER = (
    "ClientSent EPSV",
    "DataPortLeased 1 50007",
    "ServerSent 229 ok (|||4000|)",
    "ServerDataConnected 1",
    "ClientDataConnected 1 192.0.2.7",
    "ClientSent RETR a",
    "ServerSent 150 here",
    "DataFinished 1 5 complete",
    "ServerSent 226 done",
)


def said(dialogue: Watched, *exchanges: str) -> list[object]:
    """`COMMAND > REPLY`: what the client says, and what the server answers. What came of all of them."""
    done: list[object] = []
    for each in exchanges:
        command, _, reply = each.partition(" > ")
        done += dialogue.receive(event_from(f"ClientSent {command}"))
        if reply:
            done += dialogue.receive(event_from(f"ServerSent {reply}"))
    return done


def greeted(**settings: object) -> Watched:
    watched = Watched(Settings(**settings))  # type: ignore[arg-type]
    for event in GREETED:
        watched.receive(event_from(event))
    return watched


def users(dialogue: Watched) -> tuple[bytes, bytes]:
    """(who is logged in, whose login failed) once the client is gone."""
    record = dialogue.dialogue.record
    dialogue.receive(event_from("ClientLeft True"))
    return record.user, record.failed_user


JOE = ("USER joe > 331 password", "PASS x > 230 in")


@pytest.mark.parametrize(
    ("exchanges", "user", "failed"),
    [
        (JOE, b"joe", b""),
        (("USER joe > 230 in",), b"joe", b""),
        (("USER joe > 230 in", "PASS x > 202 superfluous"), b"joe", b""),
        (("USER joe > 230 in", "PASS x > 230 already"), b"joe", b""),
        (("USER joe > 331 password", "PASS x > 332 account", "ACCT y > 230 in"), b"joe", b""),
        (("USER joe > 332 account", "ACCT y > 230 in"), b"joe", b""),
        (("USER joe > 331 password", "PASS x > 332 account", "ACCT y > 530 no"), b"", b"joe"),
        (("USER joe > 331 password", "PASS x > 332 account"), b"", b"joe"),
        (("USER anonymous > 331 mail", "PASS me@example.org > 230 in"), b"anonymous", b""),
        ((), b"", b""),
        (("USER joe",), b"", b"joe"),
        (("USER joe > 331 password",), b"", b"joe"),
        (("USER joe > 331 password", "PASS x"), b"", b"joe"),
        (("USER joe > 530 no such user",), b"", b"joe"),
        (("USER joe > 530 no such user", "PASS x > 503 USER first"), b"", b"joe"),
        (("USER joe > 331 password", "PASS x > 530 wrong"), b"", b"joe"),
        (("USER joe > 331 password", "PASS x > 530 wrong", "PASS y > 230 in"), b"joe", b"joe"),
        (("USER admin > 331 password", "PASS x > 530 wrong", *JOE), b"joe", b"admin"),
        (("USER admin > 331 password", *JOE), b"joe", b""),
        # Logged in already: vsftpd refuses another USER at once, pyftpdlib at the password.
        ((*JOE, "USER admin > 530 no other user"), b"joe", b"admin"),
        ((*JOE, "USER admin > 503 logged in"), b"joe", b"admin"),
        ((*JOE, "USER admin > 530 no other user", "PASS x > 230 logged in already"), b"joe", b"admin"),
        ((*JOE, "USER admin > 331 password", "PASS x > 530 wrong"), b"joe", b"admin"),
        ((*JOE, "USER admin > 331 password"), b"joe", b"admin"),
        ((*JOE, "USER admin > 331 password", "PASS x > 230 in"), b"admin", b""),
        ((*JOE, "USER joe > 331 any will do", "PASS x > 230 in"), b"joe", b""),
        ((*JOE, "REIN > 220 anew"), b"", b""),
        ((*JOE, "REIN > 502 no"), b"joe", b""),
        ((*JOE, "REIN > 220 anew", "USER admin > 331 password", "PASS x > 530 no"), b"", b"admin"),
        (("USER admin > 331 password", "REIN > 220 anew", *JOE), b"joe", b"admin"),
        ((*JOE, "AUTH TLS > 234 go"), b"", b""),
        (("USER joe > 331 password", "AUTH TLS > 234 go"), b"", b"joe"),
        (("USER joe > 331 password", "USER > 500 what?"), b"", b"joe"),
    ],
)
def test_who_is_logged_in(exchanges: tuple[str, ...], user: bytes, failed: bytes) -> None:
    dialogue = greeted(auth=AuthTls.PASS)
    said(dialogue, *exchanges)
    assert users(dialogue) == (user, failed)


@pytest.mark.parametrize(
    "more",
    [
        ("USER admin > 530 no other user",),
        ("USER admin > 331 password", "PASS x > 530 wrong"),
        ("USER admin > 331 password",),
        ("USER admin > 331 password", "PASS x > 421-wait / 421 no more"),
    ],
)
def test_a_transfer_is_signed_by_who_is_logged_in(more: tuple[str, ...]) -> None:
    dialogue = greeted()
    said(dialogue, *JOE, *more)
    done = [action for event in TRANSFER for action in dialogue.receive(event_from(event))]
    signed = [action.record.user for action in done if isinstance(action, RecordTransfer)]
    assert signed == ([] if "421" in more[-1] else [b"joe"])
    assert dialogue.dialogue.record.user == b"joe"


def test_what_is_told_of_logins() -> None:
    """Each attempt once: by the name that it was made with."""
    done = said(
        greeted(),
        "USER admin > 331 password",
        "PASS x > 530 wrong",
        *JOE,
        "PASS x > 230 already",
        "USER root > 530 no",
    )
    told = [action for action in done if isinstance(action, NoteLogin | CountLoginFailure)]
    assert told == [CountLoginFailure(b"admin"), NoteLogin(b"joe"), CountLoginFailure(b"root")]


def test_a_server_without_passwords_takes_over() -> None:
    """USER is repeated to it, and it says 230."""
    dialogue = greeted(redispatches=1)
    said(dialogue, "USER joe > 331 password")
    for event in ("ServerLeft gone", "ServerAssigned s2 10.0.0.2", "ServerConnected", "ServerSent 220 hi"):
        dialogue.receive(event_from(event))
    done = dialogue.receive(event_from("ServerSent 230 in"))
    assert NoteLogin(b"joe") in done
    assert dialogue.dialogue.record.logged_in


def test_no_record_has_a_password() -> None:
    dialogue = greeted()
    done = said(dialogue, "PASS s3cret > 503 USER first", "USER joe > 331 password", "PASS s3cret > 530 no")
    done += said(dialogue, "USER joe > 331 password", "ACCT s3cret > 530 no", "QUIT > 221 bye")
    assert any(isinstance(action, CloseSession) for action in done)
    assert "s3cret" not in repr(dialogue.dialogue.record)
