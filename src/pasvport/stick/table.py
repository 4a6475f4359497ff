"""A stick table: keys with a server and counters, bounded in size, forgotten after a time without use.

Source: configuration manual, `stick-table`. Times given are seconds of a monotonic clock and never go back.

One thing differs from HAProxy on purpose: an entry that a live session uses (`pin`) neither expires nor is evicted.
HAProxy counts `expire` from the last connection, so an FTP control connection that idles for longer, or a table that
fills up with other clients, sends the session's next data connection to another server.

When the table is full, the entry unused for longest makes room. When there is none (all in use, or `nopurge` protects
those at rest), the new entry is kept beyond `size` for as long as sessions use it and leaves with the last of them: the
excess is never more than the sessions that are open.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from itertools import takewhile

from pasvport import model
from pasvport.stick.data import Rate, Value, blank, ordered

_FOREVER = float("inf")
_NO_DATA: list[Value] = []

_AT_START = {"conn_cnt", "conn_cur", "conn_rate", "sess_cnt", "sess_rate"}
_INWARD = {"bytes_in_cnt", "bytes_in_rate"}
_OUTWARD = {"bytes_out_cnt", "bytes_out_rate"}
_FAILED = {"ftp_fail_cnt", "ftp_fail_rate"}


class Entry:
    """One key. `server_id` 0 and `server_key` "" mean that no server was learnt; `users` counts live sessions.

    `used` is when it was last used, should no session use it now.
    `expires` is when it is forgotten unless used (infinite when the table has no `expire`). `data` follows the
    table's stored types in the order of their ids.
    """

    __slots__ = ("data", "expires", "key", "server_id", "server_key", "used", "users")

    def __init__(self, key: bytes, now: float, expires: float, data: list[Value]) -> None:
        self.key = key
        self.used = now
        self.server_id = 0
        self.server_key = ""
        self.expires = expires
        self.users = 0
        self.data = data


class StickTable:
    """See the module. Every operation is O(1), `sweep` O(removed)."""

    def __init__(self, table: model.StickTable) -> None:
        self.model = table
        self.stores = ordered(table.stores)
        self._lifetime = table.expire / 1000 if table.expire else _FOREVER
        self._entries: dict[bytes, Entry] = {}
        # At rest means used by no session. All entries live equally long, so the order of last use is that of expiry.
        self._resting: OrderedDict[bytes, Entry] = OrderedDict()
        self._excess: Entry | None = None
        self._at_start = self._slots(_AT_START)
        self._current = self._slots({"conn_cur"})
        self._inward = self._slots(_INWARD)
        self._outward = self._slots(_OUTWARD)
        self._failed = self._slots(_FAILED)
        self.counts = bool(self._at_start or self._current or self._inward or self._outward)
        """Whether sessions change the data of entries: without, `session_started` and `session_ended` do nothing."""

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        """All entries, those that expired but were not swept yet included."""
        return iter(list(self._entries.values()))

    # --- finding --------------------------------------------------------------------------------------------------

    def lookup(self, key: bytes, now: float) -> Entry | None:
        """The entry of a key, None when there is none or it expired. Does not count as use: see `touch`."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.expires <= now and not entry.users:
            self._remove(entry)
            return None
        return entry

    def enter(self, key: bytes, now: float) -> Entry:
        """The entry of a key, made when there is none. Pin it at once: beyond `size` only pinned entries stay."""
        entry = self.lookup(key, now)
        if entry is not None:
            return entry
        self._drop_excess()
        data = [blank(store) for store in self.stores] if self.stores else _NO_DATA
        entry = Entry(key, now, now + self._lifetime, data)
        if not self._has_room(now):
            self._excess = entry
        self._entries[key] = entry
        self._resting[key] = entry
        return entry

    def forget(self, key: bytes) -> bool:
        """Removes an entry at rest (`clear table`); whether there was one. An entry in use stays, as in HAProxy."""
        entry = self._entries.get(key)
        if entry is None or entry.users:
            return False
        self._remove(entry)
        return True

    # --- moving ---------------------------------------------------------------------------------------------------

    def by_use(self) -> list[Entry]:
        """All entries, the one unused for longest first, those in use last."""
        return [*self._resting.values(), *(entry for entry in self._entries.values() if entry.users)]

    def used_since(self, moment: float) -> list[Entry]:
        """The entries in use, and those at rest that were used at `moment` or later, in the order of `by_use`."""
        recent = list(takewhile(lambda entry: entry.used >= moment, reversed(self._resting.values())))
        in_use: list[Entry] = []
        if len(self._resting) < len(self._entries):
            in_use = [entry for entry in self._entries.values() if entry.users]
        return [*reversed(recent), *in_use]

    # --- using ----------------------------------------------------------------------------------------------------

    def touch(self, entry: Entry, now: float) -> None:
        """The entry was used: its time to live begins anew."""
        entry.used = now
        entry.expires = now + self._lifetime
        if self._resting.get(entry.key) is entry:
            self._resting.move_to_end(entry.key)

    def pin(self, entry: Entry) -> None:
        """A live session uses the entry; it stays until as many `release`."""
        entry.users += 1
        # The entry may have left the table since it was looked up; unless its key came back, so does it.
        if entry.users == 1 and self._entries.setdefault(entry.key, entry) is entry:
            self._resting.pop(entry.key, None)

    def release(self, entry: Entry, now: float) -> None:
        """The session ended. The time to live begins anew when nobody else uses the entry."""
        entry.users -= 1
        if entry.users or self._entries.get(entry.key) is not entry:
            return
        entry.used = now
        entry.expires = now + self._lifetime
        self._resting[entry.key] = entry
        if len(self._entries) > self.model.size:
            oldest = entry if self.model.nopurge else next(iter(self._resting.values()))
            self._remove(oldest)

    def sweep(self, now: float, budget: int) -> int:
        """Forgets expired entries, at most `budget` of them; returns how many it was."""
        removed = 0
        while removed < budget and self._forget_oldest(now):
            removed += 1
        return removed

    # --- counting -------------------------------------------------------------------------------------------------

    def session_started(self, entry: Entry, now: float) -> None:
        """Counts a session in whichever of conn_cnt, conn_cur, conn_rate, sess_cnt, sess_rate the table stores.

        Entries that stick rules find or learn are counted here; HAProxy counts only those that track-sc rules name.
        """
        self._add(entry, self._at_start, 1, now)

    def session_ended(self, entry: Entry, bytes_in: int, bytes_out: int, now: float) -> None:
        """Ends what `session_started` began and counts the session's bytes."""
        self._add(entry, self._current, -1, now)
        self._add(entry, self._inward, bytes_in, now)
        self._add(entry, self._outward, bytes_out, now)

    @property
    def counts_failures(self) -> bool:
        """Whether the table stores ftp_fail_cnt or ftp_fail_rate."""
        return bool(self._failed)

    def login_failed(self, key: bytes, now: float) -> None:
        """Counts a failed FTP login of a key, whose entry is made when there is none and lives on from now."""
        entry = self.enter(key, now)
        self._excess = None if self._excess is entry and len(self._entries) <= self.model.size else self._excess
        self._add(entry, self._failed, 1, now)
        self.touch(entry, now)

    # --- inside ---------------------------------------------------------------------------------------------------

    def _slots(self, names: set[str]) -> list[tuple[int, int]]:
        """Where the named types stand in an entry's data, with their period."""
        return [(slot, store.period) for slot, store in enumerate(self.stores) if store.name in names]

    def _add(self, entry: Entry, slots: list[tuple[int, int]], amount: int, now: float) -> None:
        data = entry.data
        for slot, period in slots:
            value = data[slot]
            if isinstance(value, Rate):
                value.add(amount, period, int(now * 1000))
            elif isinstance(value, int):
                data[slot] = max(0, value + amount)

    def _remove(self, entry: Entry) -> None:
        del self._entries[entry.key]
        self._resting.pop(entry.key, None)

    def _drop_excess(self) -> None:
        """An entry beyond `size` that no session took."""
        entry, self._excess = self._excess, None
        if entry is not None and not entry.users and self._entries.get(entry.key) is entry:
            self._remove(entry)

    def _has_room(self, now: float) -> bool:
        while len(self._entries) >= self.model.size:
            if not self._forget_oldest(_FOREVER if not self.model.nopurge else now):
                return False
        return True

    def _forget_oldest(self, deadline: float) -> bool:
        """Removes the entry at rest that expires first, if that is by `deadline`."""
        if not self._resting:
            return False
        oldest = next(iter(self._resting.values()))
        if oldest.expires > deadline:
            return False
        self._remove(oldest)
        return True
