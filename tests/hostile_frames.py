"""Frames that no sound worker writes, by what is wrong with them; for a table `be` with keys of type ip."""

import pickle
import struct

import msgspec

from pasvport import wire


def number_of(kind):
    return bytes([wire._NUMBERS[kind]])


def frame(body):
    return struct.pack("!I", len(body)) + body


def say(kind, **fields):
    """A message of that kind with any fields."""
    return frame(number_of(kind) + msgspec.msgpack.encode(fields))


PICKLE = pickle.dumps(ValueError("x"))
BUILD = b"\x80\x05cpasvport.model.stats\nStatsSocket\n}X\5\0\0\0levelX\5\0\0\0adminsb."
ENTRY = {"key": b"\x7f\0\0\1", "server_id": 1, "server_key": "s", "left": 1.0, "data": []}
PART = {"table": "be", "stores": ["x"], "rows": [ENTRY]}
FRAMES = {
    "pickle": frame(BUILD),
    "pickle behind a number": frame(number_of(wire.Notice) + PICKLE),
    "memo index": frame(b"\x80\x05r\xff\xff\xff\x7f."),
    "endless frame": struct.pack("!I", 0xFFFFFFFF),
    "array of milliards": frame(number_of(wire.FeaturesLearnt) + b"\x82\xa5proxy\0\xa8features\xdd\xff\xff\xff\xff"),
    "nested": frame(number_of(wire.Notice) + b"\x81\xa4text" + b"\x91" * 1_000_000),
    "unhashable key": say(wire.EntryLearnt, table="be", key=[1], server_id=1),
    "long key": say(wire.EntryLearnt, table="be", key=b"k" * 5, server_id=1),
    "table that is none": say(wire.EntryLearnt, table="none", key=b"kkkk", server_id=1),
    "escape in a notice": say(wire.Notice, level=3, text="\x1b]0;owned\x07\x1b[2J"),
    "lines in a notice": say(wire.Notice, level=3, text="a\n[ALERT]    (1) : forged"),
    "level that is none": say(wire.Notice, level=8, text="x"),
    "endless notice": say(wire.Notice, level=3, text="x" * 5000),
    "errors of a server that is none": say(wire.ObservedErrors, proxy=0, server=99, errors=1, good=False),
    "errors of a server that is not observed": say(wire.ObservedErrors, proxy=1, server=0, errors=1, good=False),
    "errors without number": say(wire.ObservedErrors, proxy=1, server=0, errors=1 << 63, good=False),
    "features of a proxy that is none": say(wire.FeaturesLearnt, proxy=77, features=[]),
    "entries with other data": say(
        wire.EntriesTold, parts=[{"table": "be", "stores": ["x"], "rows": [ENTRY]}], last=True
    ),
    "endless network": say(wire.LoginAsked, proxy=0, network="x" * 100, number=1),
    "what the supervisor says": frame(number_of(wire.HardStop) + b"\x80"),
    "excuse with an escape": say(wire.BootFailed, text="\x1b[2J"),
}
