"""`balance` and the hashes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pasvport.model.expressions import Expression


class Algorithm(StrEnum):
    """`balance`."""

    ROUNDROBIN = "roundrobin"
    STATIC_RR = "static-rr"
    LEASTCONN = "leastconn"
    FIRST = "first"
    SOURCE = "source"
    RANDOM = "random"
    HASH = "hash"


class HashMethod(StrEnum):
    """`hash-type`, first word."""

    MAP_BASED = "map-based"
    CONSISTENT = "consistent"


class HashFunction(StrEnum):
    """`hash-type`, second word."""

    SDBM = "sdbm"
    DJB2 = "djb2"
    WT6 = "wt6"
    CRC32 = "crc32"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Balance:
    """`balance`, `hash-type`, `hash-balance-factor`. `draws` belongs to random, `expression` to hash."""

    algorithm: Algorithm = Algorithm.ROUNDROBIN
    draws: int = 2
    expression: Expression | None = None
    hash_method: HashMethod = HashMethod.MAP_BASED
    hash_function: HashFunction = HashFunction.SDBM
    avalanche: bool = False
    balance_factor: int = 0
    all_backups: bool = False
