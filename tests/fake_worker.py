"""A worker that does nothing but what its environment says: `FAKE_WORKER` is one of the words below.

ready: gets ready and stays. refuses: BootFailed. dies: exits with 7 at once. talks: writes to stderr and
fails. mute: never answers. stubborn: gets ready, obeys nothing.
"""

import os
import sys
import time

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


def main():
    control = int(sys.argv[1])
    role = os.environ["FAKE_WORKER"]
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


main()
