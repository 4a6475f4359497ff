"""Samples of a connection that looks for a server: what an expression's fetch reads of it.

Source: configuration manual, 7.3.2 (internal states), 7.3.3 (layer 4). `ftp.*` is ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from pasvport.model import Expression
from pasvport.sample.casts import Kind, Value
from pasvport.sample.converters import Maps
from pasvport.sample.expressions import compile_expression
from pasvport.sample.fetches import to_bytes


class Endpoints(Protocol):
    """The two ends of a client connection: packed addresses (4 or 16 bytes, empty when not IP) and ports.

    `user` is what USER said, `virtual_host` what HOST (RFC 7151) said; both empty until then, and outside `mode ftp`.
    `names()` are those of frontend, backend and server, `listener` that of the bind line; "" where there is none.
    """

    @property
    def source(self) -> bytes: ...

    @property
    def source_port(self) -> int: ...

    @property
    def destination(self) -> bytes: ...

    @property
    def destination_port(self) -> int: ...

    @property
    def user(self) -> bytes: ...

    @property
    def virtual_host(self) -> bytes: ...

    @property
    def listener(self) -> str: ...

    def names(self) -> tuple[str, str, str]: ...


Sample = Callable[[Endpoints], Value | None]


def compile_sample(expression: Expression, maps: Maps = ()) -> tuple[Kind, Sample]:
    """The type of an expression's result and the function that finds it (None: no sample).

    `maps` are the configuration's (Config.maps). Raises SampleError, a ConfigError.
    """
    return compile_expression(expression, READERS, maps)


def _source(ends: Endpoints) -> Value | None:
    return ends.source or None


def _destination(ends: Endpoints) -> Value | None:
    return ends.destination or None


def _source_port(ends: Endpoints) -> Value | None:
    return ends.source_port if ends.source else None


def _destination_port(ends: Endpoints) -> Value | None:
    return ends.destination_port if ends.destination else None


def _user(ends: Endpoints) -> Value | None:
    return ends.user or None


def _virtual_host(ends: Endpoints) -> Value | None:
    return ends.virtual_host or None


def _frontend(ends: Endpoints) -> Value | None:
    return to_bytes(ends.names()[0]) or None


def _backend(ends: Endpoints) -> Value | None:
    return to_bytes(ends.names()[1]) or None


def _listener(ends: Endpoints) -> Value | None:
    return to_bytes(ends.listener) or None


READERS: dict[str, Sample] = {
    "src": _source,
    "src_port": _source_port,
    "dst": _destination,
    "dst_port": _destination_port,
    "fc_src": _source,
    "fc_src_port": _source_port,
    "fc_dst": _destination,
    "fc_dst_port": _destination_port,
    "fe_name": _frontend,
    "be_name": _backend,
    "so_name": _listener,
    "ftp.user": _user,
    "ftp.host": _virtual_host,
}
