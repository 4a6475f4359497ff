"""`balance source` and `balance hash`: a key decides, through a map or a ring; without a key, round robin."""

from __future__ import annotations

from pasvport.balance.hashing import Hash
from pasvport.balance.picker import Full
from pasvport.balance.ring import Ring
from pasvport.balance.weight_map import WeightMap


class Hashed:
    """`table` holds the servers, `function` turns a key into a 32-bit number.

    As in HAProxy, the server a key points to is chosen even when it has no free slot (the session then waits in that
    server's queue); only the round robin of sessions without a key passes full servers over.
    """

    def __init__(self, table: WeightMap | Ring, function: Hash) -> None:
        self._table = table
        self._function = function
        self.add = table.add
        self.remove = table.remove
        self.reweigh = table.reweigh
        self.moved = table.moved

    def pick(self, key: bytes | None, avoid: int, full: Full) -> int:
        if key is not None:
            index = self._table.at(self._function(key), avoid)
            if index >= 0:
                return index
        return self._table.following(avoid, full)
