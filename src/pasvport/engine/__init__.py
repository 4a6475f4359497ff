"""Data plane: one epoll loop per worker process. Never imports asyncio or logging."""

from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec


def is_compiled() -> bool:
    """Whether sessions run as extension modules (`make compiled`) and not as the Python sources; nothing is loaded."""
    spec = find_spec("pasvport.engine.session")
    return spec is not None and spec.origin is not None and spec.origin.endswith(tuple(EXTENSION_SUFFIXES))
