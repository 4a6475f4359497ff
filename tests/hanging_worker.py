"""A worker that turns in circles for ever once a peer says `hang`."""

import sys

from pasvport.engine import worker
from pasvport.engine.pump import Pump

offer = Pump._offer


def hangs(self, data):
    while data == b"hang":
        pass
    return offer(self, data)


Pump._offer = hangs
main = worker.main

if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), *sys.argv[2:]))
