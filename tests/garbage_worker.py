"""A worker that tells, when it leaves, what only the garbage collector would have freed: FILE DESCRIPTOR."""

import gc
import json
import sys
from pathlib import Path

from pasvport.engine import worker

# What is found unreachable is kept, from the moment at which the worker has set its collector up.
set_up = worker.spare_the_collector


def spare_the_collector():
    set_up()
    gc.set_debug(gc.DEBUG_SAVEALL)


worker.spare_the_collector = spare_the_collector
status = worker.main(int(sys.argv[2]))
gc.collect()
Path(sys.argv[1]).write_text(json.dumps([type(each).__name__ for each in gc.garbage]))
gc.set_debug(0)
sys.exit(status)
