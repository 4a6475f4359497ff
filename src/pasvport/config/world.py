"""Everything outside the text that a configuration depends on, handed in as values and functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pasvport.config.directives import Build
from pasvport.errors import ConfigError
from pasvport.model import Expression


def _nobody(_name: str) -> int | None:
    return None


def _no_file(_path: str) -> str:
    raise ConfigError("there are no files here")


def _any_format(_text: str) -> Sequence[Expression]:
    return ()


@dataclass(frozen=True, slots=True)
class World:
    """What the machine and the command line know, frozen for one load.

    `user_id` and `group_id` answer None for a name the system does not know. `check_log_format` gives the
    expressions in a log-format string and raises ConfigError with the reason for one that cannot be rendered;
    `read_file` gives the text of a file (bytes that are no UTF-8 as surrogates) and raises ConfigError with the reason
    for one that cannot be read. `build` and
    `diagnostic_mode` (`-dD`) are for the directives. Relative paths begin at `directory`. `maxconn` and
    `frontend_maxconn` are the command line's `-n` and `-N` (0: not given), `localpeer` its `-L` ("": not given),
    `insecure_fork` its `-dI`.
    """

    environment: Mapping[str, str] = field(default_factory=dict)
    user_id: Callable[[str], int | None] = _nobody
    group_id: Callable[[str], int | None] = _nobody
    check_log_format: Callable[[str], Sequence[Expression]] = _any_format
    read_file: Callable[[str], str] = _no_file
    hostname: str = "localhost"
    build: Build = field(default_factory=Build)
    diagnostic_mode: bool = False
    directory: str = "/"
    localpeer: str = ""
    maxconn: int = 0
    frontend_maxconn: int = 0
    insecure_fork: bool = False
