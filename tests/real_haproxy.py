"""Where the real HAProxy is, for the tests that let it judge."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest


def _find() -> str:
    path = shutil.which("haproxy", path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")
    if path is None:
        return ""
    version = subprocess.run([path, "-v"], capture_output=True, text=True, check=True).stdout
    return path if version.startswith("HAProxy version 2.6.") else ""


HAPROXY = _find()
needs_haproxy = pytest.mark.skipif(not HAPROXY, reason="HAProxy 2.6 is not installed")
