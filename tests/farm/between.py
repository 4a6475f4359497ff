"""pytest plugin for pyftpdlib's own tests: their servers listen where a balancer expects them, clients connect to it.

The environment says where: BETWEEN is a JSON object of the address that a test asks for to
[the server's port, the balancer's port]. Without it nothing is changed.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

BETWEEN = "PASVPORT_BETWEEN"


def pytest_configure(config: Any) -> None:
    """Before the tests import their server."""
    config.addinivalue_line("markers", "xdist_group: as pyftpdlib's tests are marked")
    if BETWEEN not in os.environ:
        return
    places = json.loads(os.environ[BETWEEN])
    sys.path.insert(0, str(Path.cwd()))
    theirs = importlib.import_module("tests")

    class Between(theirs.FtpdThreadWrapper):  # type: ignore[misc,name-defined]
        def __init__(self, addr: tuple[str, int] | None = None) -> None:
            host = addr[0] if addr is not None else theirs.HOST
            server, self.front_door = places[host]
            super().__init__((host, server))
            self.port = self.front_door

    theirs.FtpdThreadWrapper = Between
