"""pasvport with workers of `hanging_worker`."""

import sys
from functools import partial

from pasvport import cli
from pasvport.control import start

start.Launch = partial(start.Launch, worker_module="hanging_worker")  # type: ignore[misc,assignment]
sys.exit(cli.main())
