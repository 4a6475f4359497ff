"""A worker that turns in circles for ever once a peer says `hang`."""

from pasvport.engine import worker
from pasvport.engine.pump import Pump

offer = Pump._offer


def hangs(self, data):
    while data == b"hang":
        pass
    return offer(self, data)


Pump._offer = hangs
main = worker.main
