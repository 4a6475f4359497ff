"""Which release is installed where this one was loaded from: they differ once another one was put in its place."""

from __future__ import annotations

import re
from pathlib import Path

import pasvport

_SOURCE = Path(pasvport.__file__).resolve()
_VERSION = re.compile(r"^__version__ = [\"']([^\"'\n]{1,64})[\"']", re.MULTILINE)


def installed() -> str:
    """Its number; "" where there is none that can be read."""
    try:
        found = _VERSION.search(_SOURCE.read_text("utf-8", "replace"))
    except OSError:
        return ""
    return found[1] if found else ""


def difference() -> str:
    """What to tell whoever needs the files of this release; "" when they are there."""
    release = installed()
    if release == pasvport.__version__:
        return ""
    return f"pasvport {release or '(none)'} is installed but {pasvport.__version__} is running"
