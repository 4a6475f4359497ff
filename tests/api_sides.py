"""A stats socket under test, ours or HAProxy's: commands in, answers out, with what must differ taken out."""

from __future__ import annotations

import re
import socket

DEADLINE = 20.0


def ask(path, line):
    """The whole answer to one line of commands."""
    data = bytearray()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(DEADLINE)
        sock.connect(str(path))
        sock.sendall(line.encode() + b"\n")
        while piece := sock.recv(65536):
            data += piece
    return data.decode()


def plain(answer):
    """Without pointers and times, which no two processes share."""
    answer = re.sub(r"0x[0-9a-f]{4,}", "PTR", answer)
    return re.sub(r"exp=[1-9]\d*", "exp=N", answer)
