"""`log ... format json`: every line parses, whatever a peer said and however short it must be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiling import compiled
from ftp_records import EMPTY_TRANSFER, ftp_record, transfer_record
from log_rig import record, udp_target
from pasvport.logformat.facts import FTP_FACTS, IDENTITY_FACTS, SESSION_FACTS, TRANSFER_FACTS
from pasvport.logformat.json_lines import Event, Fields, encoded, needed, session_fields, transfer_fields
from pasvport.logformat.syslog import ERR, INFO, Framing, Sender
from pasvport.model import LogFormat
from pasvport.record import FtpSessionRecord, SessionRecord

NOW = 1795403351.25
HEAD = ["type", "time", "severity", "facility", "host", "process", "pid"]
IDENTITY = [fact.name for fact in IDENTITY_FACTS]
SESSION = [fact.name for fact in SESSION_FACTS]


def framing(length: int = 8192, **options: Any) -> Framing:
    return Framing(
        udp_target(1, format=LogFormat.JSON, length=length, **options), Sender("pasvport", 7, machine="balancer")
    )


def strict(line: bytes) -> dict[str, Any]:
    """The object of one line, as a strict reader sees it: ASCII, one line, no key twice, no surrogate alone."""

    def whole(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    assert line.endswith(b"\n")
    body = line[:-1].decode("ascii")
    assert body.isprintable()
    found: dict[str, Any] = json.loads(body, object_pairs_hook=whole)
    repr(found).encode("utf-8")
    return found


def spoken(fields: Fields, length: int = 8192, level: int = INFO) -> dict[str, Any]:
    return strict(framing(length).frame_object(level, fields, NOW))


def bytes_of(found: Mapping[str, Any], key: str) -> bytes:
    """What the documentation tells a reader to do."""
    value = found[key]
    return b"" if value is None else str(value).encode(found.get(f"{key}_encoding", "utf-8"))


def test_a_session_in_mode_tcp(utc: None) -> None:
    found = spoken(session_fields(record(), Event.ENDED))
    assert list(found) == [*HEAD, "event", *IDENTITY, *SESSION]
    assert found == {
        "type": "session",
        "time": "2026-11-23T03:09:11.250+00:00",
        "severity": "info",
        "facility": "local0",
        "host": "balancer",
        "process": "pasvport",
        "pid": 7,
        "event": "ended",
        "client_address": "10.0.1.2",
        "client_port": 33312,
        "frontend": "www",
        "backend": "be",
        "server": "s1",
        "accepted": "2026-11-23T03:09:11.476+00:00",
        "session_number": 0,
        "unique_id": None,
        "frontend_address": "10.0.3.31",
        "frontend_port": 8012,
        "listener": "ctl",
        "termination_state": "--",
        "bytes_in": 6,
        "bytes_out": 11,
        "total_time": 33,
        "queue_time": 1,
        "connect_time": 2,
        "data_time": 30,
        "handshake_time": 0,
        "server_address": "10.0.0.10",
        "server_port": 21,
        "source_address": "10.0.0.9",
        "source_port": 40000,
        "retries": 0,
        "redispatched": False,
        "process_connections": 1,
        "frontend_connections": 1,
        "backend_connections": 0,
        "server_connections": 0,
        "server_queue": 0,
        "backend_queue": 0,
        "tls_version": None,
        "tls_cipher": None,
    }


def test_a_session_in_mode_ftp(utc: None) -> None:
    found = spoken(session_fields(ftp_record(), Event.ENDED))
    assert list(found) == [*HEAD, "event", *IDENTITY, *SESSION, *(fact.key for fact in FTP_FACTS)]
    assert {key: value for key, value in found.items() if key.startswith("ftp_")} == {
        "ftp_user": "alice",
        "ftp_failed_user": "admin",
        "ftp_logged_in": True,
        "ftp_virtual_host": "ftp.example",
        "ftp_commands": 12,
        "ftp_refused_commands": 1,
        "ftp_transfers": 3,
        "ftp_failed_transfers": 2,
        "ftp_bytes_in": 4096,
        "ftp_bytes_out": 1048576,
        "ftp_login_failures": 4,
        "ftp_strangers": 5,
        "ftp_conflicts": 8,
        "ftp_strays": 6,
        "ftp_redispatches": 7,
        "ftp_blind": True,
        "ftp_reason": "the client said QUIT",
    }


def test_a_transfer(utc: None) -> None:
    found = spoken(transfer_fields(transfer_record()), level=ERR)
    assert list(found) == [*HEAD, *(fact.key for fact in TRANSFER_FACTS), *IDENTITY]
    assert (found["type"], found["severity"], found["client_address"]) == ("transfer", "err", "10.0.1.2")
    assert {key: value for key, value in found.items() if key.startswith("transfer_")} == {
        "transfer_number": 9,
        "transfer_verb": "RETR",
        "transfer_path": "/pub/file one",
        "transfer_direction": "download",
        "transfer_user": "bob",
        "transfer_server": "s2",
        "transfer_type": "I",
        "transfer_restart": 100,
        "transfer_size": 500000,
        "transfer_client_mode": "EPSV",
        "transfer_server_mode": "PASV",
        "transfer_port": 50007,
        "transfer_code": 226,
        "transfer_server_code": 250,
        "transfer_ending": "complete",
        "transfer_termination_state": "CD",
        "transfer_peer": "10.0.1.3",
        "transfer_date": "2026-11-23T03:09:13.250+00:00",
        "transfer_client_wait": 5,
        "transfer_connect_time": 2,
        "transfer_duration": 2500,
        "transfer_rate": 200000,
    }


def test_what_is_absent_is_null() -> None:
    entry = record(
        server="<NOSRV>", backend="<NONE>", server_port="-", source_address="-", connect_time=-1, ftp=FtpSessionRecord()
    )
    found = spoken(session_fields(entry, Event.ENDED))
    for key in ("server", "backend", "server_port", "source_address", "connect_time", "ftp_user", "ftp_reason"):
        assert found[key] is None
    moved = spoken(transfer_fields(replace(entry, transfer=EMPTY_TRANSFER)))
    for name in ("path", "server", "client_mode", "ending", "peer", "date", "client_wait", "duration", "rate"):
        assert moved[f"transfer_{name}"] is None


def test_a_client_of_a_unix_socket() -> None:
    entry = record(client_address="unix", client_port="3", frontend_address="unix", frontend_port="3")
    found = spoken(session_fields(entry, Event.ENDED))
    assert (found["client_address"], found["client_port"]) == ("unix", 3)


def test_a_message(utc: None) -> None:
    found = strict(framing(minimum_level=5).frame(INFO, b'Proxy "x" \xff started.', NOW))
    assert list(found) == [*HEAD, "message_encoding", "message"]
    assert bytes_of(found, "message") == b'Proxy "x" \xff started.'
    assert found["severity"] == "info"
    assert strict(framing(minimum_level=5).frame(ERR, b"x", NOW))["severity"] == "notice"


def test_a_host_name_that_was_told() -> None:
    target = udp_target(1, format=LogFormat.JSON)
    line = Framing(target, Sender("tag", 7, "told", "machine")).frame(INFO, b"x", NOW)
    assert strict(line)["host"] == "told"


def test_names_that_are_no_utf_8() -> None:
    found = spoken(transfer_fields(transfer_record(path=b"M\xe4rz")))
    assert (found["transfer_path"], found["transfer_path_encoding"]) == ("M\xe4rz", "latin-1")
    found = spoken(transfer_fields(transfer_record(path="März".encode())))
    assert found["transfer_path"] == "März"
    assert "transfer_path_encoding" not in found


@given(st.binary(max_size=80), st.binary(max_size=80), st.text(st.characters(codec="utf-8"), max_size=20))
def test_every_byte_comes_back(user: bytes, path: bytes, reason: str) -> None:
    entry = transfer_record(path=path, user=user)
    moved = spoken(transfer_fields(entry))
    assert (bytes_of(moved, "transfer_path"), bytes_of(moved, "transfer_user")) == (path, user)
    found = spoken(session_fields(ftp_record(user=user, virtual_host=path, reason=reason), Event.ENDED))
    assert (bytes_of(found, "ftp_user"), bytes_of(found, "ftp_virtual_host")) == (user, path)
    assert found["ftp_reason"] == (None if reason in ("", "-", "<NOSRV>", "<NONE>") else reason)


@given(st.text(max_size=40))
def test_text_of_the_configuration_may_be_undecodable(name: str) -> None:
    # A configuration file in Latin-1 comes in with surrogates in the place of its bytes.
    undecodable = name.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")
    assert spoken(session_fields(record(frontend=undecodable), Event.ENDED))["type"] == "session"


@given(st.integers(80, 2500), st.binary(max_size=300), st.sampled_from(["session", "transfer", "message"]))
def test_a_line_that_must_be_short_still_parses(length: int, path: bytes, kind: str) -> None:
    lines = {
        "session": lambda size: framing(size).frame_object(
            INFO, session_fields(ftp_record(user=path), Event.ENDED), NOW
        ),
        "transfer": lambda size: framing(size).frame_object(INFO, transfer_fields(transfer_record(path=path)), NOW),
        "message": lambda size: framing(size).frame(INFO, path, NOW),
    }
    line, whole = lines[kind](length), lines[kind](65535)
    found, everything = strict(line), strict(whole)
    assert len(line) <= length + 1
    assert found["type"] == kind
    if len(whole) <= length + 1:
        assert found == everything
        return
    assert found.pop("truncated") is True
    for key, value in found.items():
        assert value == everything[key] or everything[key].startswith(value)


@pytest.mark.parametrize("length", range(80, 420, 7))
def test_a_long_name_does_not_push_out_what_follows(length: int) -> None:
    line = encoded({"type": "transfer", "path": "\U0001f600" * 100, "size": 5}, length)
    found = json.loads(line)
    assert len(line) <= length
    assert found["truncated"] is True
    assert set(found["path"]) == {"\U0001f600"}
    assert length - len(line) < 12 + len(',"size":5')


def test_needs_everything_it_reads() -> None:
    read: set[str] = set()

    class Watched(SessionRecord):
        """Remembers what was read of it."""

        def __getattribute__(self, name: str) -> Any:
            if not name.startswith("_") and name != "termination_state":
                read.add(name)
            return super().__getattribute__(name)

    entry = Watched(**{name: getattr(transfer_record(), name) for name in SessionRecord.__dataclass_fields__})
    session_fields(entry, Event.ENDED)
    transfer_fields(entry)
    assert {"ftp", "transfer", "client_address", "source_port"} <= read
    assert read - {"culprit", "stage"} <= needed()


@pytest.mark.parametrize(
    ("words", "length"),
    [
        ("format json", 8192),
        ("format json len 300", 300),
        ("len 300 format json", 300),
        ("format raw", 1024),
        ("", 1024),
    ],
)
def test_objects_are_given_more_room(words: str, length: int) -> None:
    [target] = compiled(f"global\n    log 127.0.0.1 {words} local0\n").settings.log_targets
    assert target.length == length
