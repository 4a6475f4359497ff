"""Lines that servers take from clients although no RFC knows them."""

from __future__ import annotations

import pytest
from test_ftp_odd_replies import GREETING, LOGGED_IN, Session


@pytest.mark.parametrize("size", [0, 1])
@pytest.mark.parametrize("empty", [b"\r\n", b"\n", b"\r\r\n", b"\r\n" * 100])
@pytest.mark.parametrize("script", [GREETING, [*GREETING, "ServerSent 220 hello"], LOGGED_IN])
def test_an_empty_line_is_no_command(script: list[str], empty: bytes, size: int) -> None:
    """As vsftpd and Pure-FTPd have it: an answer would be taken for the next command's."""
    session = Session(script)
    for at in range(0, len(empty), size or len(empty)):
        session.client(empty[at : at + (size or len(empty))])
    assert session.done == []
    session.server(b"220 hello\r\n") if script is GREETING else None
    assert session.client(empty + b"NOOP\r\n" + empty + b"SYST\r\n") == b"NOOP\r\n"
    session.server(b"200 fine\r\n")
    assert session.to_server.endswith(b"NOOP\r\nSYST\r\n")
    assert session.dialogue.record.refused_commands == 0


@pytest.mark.parametrize("line", [b"P@SW\r\n", b"p@sw\r\n"])
def test_pasv_in_disguise(line: bytes) -> None:
    session = Session(LOGGED_IN)
    assert session.client(line) == b"PASV\r\n"
    session.event("DataPortLeased 1 50007")
    assert session.server(b"227 here (10,0,0,1,15,160)\r\n").startswith(b"227 Entering Passive Mode (")
