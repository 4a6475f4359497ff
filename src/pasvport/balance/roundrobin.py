"""`balance roundrobin`: HAProxy's fast weighted round robin, the exact sequence.

Every usable server sits in one of three places: `init` (not served yet in this round, heaviest first), `current`
(served already, sorted by the position in the round where its weight puts it next) or `next` (used up for this
round). Each choice moves the round one position on. When nothing is due the rounds switch: `next` becomes `init`.
Weight changes take effect while the round goes on.
"""

from __future__ import annotations

from collections.abc import Sequence

from pasvport.balance.picker import Full, Member, Ranks
from pasvport.balance.weights import MAXIMUM, SCALE, USER_RANGE

_UNSIGNED = 0xFFFFFFFF


class _Seat:
    """A server's place in the round. It keeps `last` and `rest` while the server is away, as HAProxy does."""

    __slots__ = ("index", "last", "position", "rest", "tree", "weight")

    def __init__(self, index: int) -> None:
        self.index = index
        self.weight = 0
        self.position = 0
        self.last = 0
        self.rest = 0
        self.tree: Ranks | None = None


class RoundRobin:
    """See the module. `members` are the servers usable at start, in order of declaration."""

    def __init__(self, members: Sequence[Member]) -> None:
        self._seats: dict[int, _Seat] = {}
        self._init = Ranks()
        self._next = Ranks()
        self._current = Ranks()
        self._next_weight = sum(weight for _, weight in members)
        self._current_weight = self._next_weight
        self._position = self._next_weight
        for index, weight in members:
            seat = self._seat(index)
            seat.weight = weight
            self._queue_by_weight(self._init, seat)

    def add(self, index: int, weight: int) -> None:
        seat = self._seat(index)
        seat.weight = weight
        self._next_weight += weight
        remaining = self._next_weight + self._current_weight - self._position
        # HAProxy divides unsigned numbers here: a round that shrank under the position sends the server to the next.
        seat.position = self._position + (remaining & _UNSIGNED) // weight
        self._queue(seat)

    def remove(self, index: int) -> None:
        seat = self._seats[index]
        self._next_weight -= seat.weight
        self._take_out(seat)

    def reweigh(self, index: int, weight: int) -> None:
        seat = self._seats[index]
        self._next_weight += weight - seat.weight
        seat.weight = weight
        if seat.tree is self._init:
            self._queue_by_weight(self._init, seat)
            return
        if seat.tree is self._next:
            seat.position += self._current_weight
        step = self._next_weight // weight
        seat.position = min(seat.last + step, seat.position)
        seat.rest = 0
        if seat.position < self._position + 2:
            seat.position = self._position + step
        self._queue(seat)

    def moved(self, index: int) -> None:
        """Loads do not matter here."""

    def pick(self, key: bytes | None, avoid: int, full: Full) -> int:
        passed: list[_Seat] = []
        switched = False
        avoided: _Seat | None = None
        while True:
            seat = self._due()
            if seat is None:
                if switched:
                    seat = avoided
                    break
                switched = True
                self._switch()
                continue
            self._advance(seat)
            if not full(seat.index):
                if seat.index != avoid or avoided is not None:
                    break
                avoided = seat
            passed.append(seat)
        if seat is not None:
            self._queue(seat)
        self._requeue(passed, seat, switched)
        return -1 if seat is None else seat.index

    # --- the places -----------------------------------------------------------------------------------------------

    def _seat(self, index: int) -> _Seat:
        seat = self._seats.get(index)
        if seat is None:
            seat = self._seats[index] = _Seat(index)
        return seat

    def _take_out(self, seat: _Seat) -> None:
        if seat.tree is not None:
            seat.tree.drop(seat.index)
            seat.tree = None

    def _place(self, tree: Ranks, seat: _Seat, rank: int) -> None:
        self._take_out(seat)
        tree.put(seat.index, rank)
        seat.tree = tree

    def _queue_by_weight(self, tree: Ranks, seat: _Seat) -> None:
        self._place(tree, seat, MAXIMUM - seat.weight)

    def _queue(self, seat: _Seat) -> None:
        """Into this round if the position lies within it, else into the next."""
        if seat.position >= self._current_weight + min(self._current_weight, self._next_weight):
            seat.position -= self._current_weight
            self._queue_by_weight(self._next, seat)
        else:
            rank = USER_RANGE * seat.position + (MAXIMUM + seat.rest - seat.weight) // SCALE
            self._place(self._current, seat, rank)

    def _switch(self) -> None:
        self._init, self._next = self._next, self._init
        self._current_weight = self._position = self._next_weight

    def _due(self) -> _Seat | None:
        """The server of the current position; a hole is filled with one that had no turn yet."""
        if not self._current_weight:
            self._position = self._current_weight = self._next_weight
        served = self._current.first()
        if served >= 0 and self._seats[served].position <= self._position:
            return self._seats[served]
        fresh = self._init.first()
        if fresh >= 0:
            seat = self._seats[fresh]
            seat.position = seat.rest = 0
            return seat
        return self._seats[served] if served >= 0 else None

    def _advance(self, seat: _Seat) -> None:
        """Takes the server out, one weighted step further, and moves the round on."""
        if not seat.position:
            seat.position = self._position
        seat.last = seat.position
        step, rest = divmod(self._next_weight, seat.weight)
        seat.position += step
        seat.rest += rest
        if seat.rest >= seat.weight:
            seat.rest -= seat.weight
            seat.position += 1
        self._take_out(seat)
        self._position += 1

    def _requeue(self, passed: list[_Seat], chosen: _Seat | None, switched: bool) -> None:
        for seat in reversed(passed):
            if seat is chosen:
                continue
            if switched:
                # Their place in the round was lost with the round; only the weight counts.
                self._queue_by_weight(self._init, seat)
            else:
                self._queue(seat)
