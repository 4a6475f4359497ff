"""A worker that tells, when it leaves, what its sessions left behind: FILE DESCRIPTOR.

`cycles` are the types of what only the garbage collector would have freed, `alive` those of what still belongs to
sessions that are over.
"""

import gc
import json
import sys
import typing
from pathlib import Path

from pasvport import wire
from pasvport.engine import worker
from pasvport.engine.data_connections import DataConnections
from pasvport.engine.data_ports import Lease
from pasvport.engine.relay import Relay
from pasvport.ftp.data_path import DataPath
from pasvport.ftp.dialogue import Dialogue

OF_SESSIONS = (Relay, Dialogue, DataPath, DataConnections, Lease)

# What is found unreachable is kept, from the moment at which the worker has set its collector up.
set_up = worker.spare_the_collector


def spare_the_collector():
    # The first decoder of each kind of message is made when one comes, and leaves a cycle behind, once.
    for kind in typing.get_args(wire.Message):
        wire._decoder(kind)
    set_up()
    gc.set_debug(gc.DEBUG_SAVEALL)


def main(path, descriptor):
    worker.spare_the_collector = spare_the_collector
    status = worker.main(descriptor)
    gc.collect()
    unreachable = {id(each) for each in gc.garbage}
    alive = [each for each in gc.get_objects() if isinstance(each, OF_SESSIONS) and id(each) not in unreachable]
    found = {
        "cycles": [getattr(each, "__qualname__", type(each).__name__) for each in gc.garbage],
        "alive": [type(each).__name__ for each in alive],
    }
    Path(path).write_text(json.dumps(found))
    gc.set_debug(0)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
