"""Sample expressions, and what is looked up with them."""

from __future__ import annotations

from dataclasses import dataclass

from pasvport.model.origin import Origin


@dataclass(frozen=True, slots=True)
class Converter:
    """One `,name(args)` step of an expression."""

    name: str
    args: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Expression:
    """`fetch[(args)][,converter[(args)]...]`, e.g. `src,ipmask(24)`. `text` is as written."""

    text: str
    fetch: str
    args: tuple[str, ...] = ()
    converters: tuple[Converter, ...] = ()


@dataclass(frozen=True, slots=True)
class UseRule:
    """`use_backend %[EXPRESSION]` or `use-server %[EXPRESSION]`: a name found through the FTP user, mostly by a map."""

    origin: Origin
    expression: Expression


@dataclass(frozen=True, slots=True)
class MapFile:
    """A file named by a `map` converter, read when the configuration was: (key, value) in its order."""

    path: str
    entries: tuple[tuple[str, str], ...] = ()
