"""pasvport whose workers are `hostile_worker`: HOSTILE names the folder in which they find their orders."""

import os
import sys

from pasvport.control import launcher

environment, launcher_init = launcher._environment, launcher.Launcher.__init__
launcher._environment = lambda: environment() | {"HOSTILE": os.environ["HOSTILE"]}
launcher.Launcher.__init__ = lambda self, module: launcher_init(self, "hostile_worker")

if __name__ == "__main__":
    from pasvport.__main__ import main

    sys.exit(main())
