"""A worker that does nothing but what a file says, which is named in its environment by `FAKE_WORKER`: a word.

ready: gets ready and stays. refuses: BootFailed. dies: exits with 7 at once. talks: writes to stderr and
fails. mute: never answers. stubborn: gets ready, obeys nothing.
"""

import os
import sys
import time
from pathlib import Path

from pasvport.wire import BootFailed, Deframer, Drained, HardStop, Notice, Ready, SoftStop, encode


def messages(control):
    deframer = Deframer()
    while data := os.read(control, 65536):
        yield from deframer.feed(data)


def obey(control):
    os.write(control, encode(Ready()))
    for message in messages(control):
        if isinstance(message, HardStop):
            return
        if isinstance(message, SoftStop):
            os.write(control, encode(Drained()))
        else:
            os.write(control, encode(Notice(5, type(message).__name__)))


def main(control, release):
    role = Path(os.environ["FAKE_WORKER"]).read_text()
    if role == "dies":
        sys.exit(7)
    if role == "refuses":
        os.write(control, encode(BootFailed("no such thing")))
        sys.exit(3)
    if role == "talks":
        sys.stderr.write("one\ntwo\n\nthree")
        sys.exit(1)
    if role in ("mute", "stubborn"):
        if role == "stubborn":
            os.write(control, encode(Ready()))
        time.sleep(600)
    obey(control)
    return 0
