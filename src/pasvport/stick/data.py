"""What a stick-table entry may store: HAProxy's data types, their order, and its sliding rates.

Source: configuration manual, `stick-table ... store`; ids are those of the peers protocol and give the order in which
`show table` prints. HTTP types are known, because a table may hold them, and stay 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from pasvport.model import StoredType


class Kind(Enum):
    """How a type is kept."""

    SERVER = "server"
    COUNTER = "counter"
    RATE = "rate"


@dataclass(frozen=True, slots=True)
class DataType:
    """One stored type; `array` ones hold as many elements as the table says."""

    number: int
    kind: Kind
    array: bool = False


DATA_TYPES: dict[str, DataType] = {
    "server_id": DataType(0, Kind.SERVER),
    "gpt0": DataType(1, Kind.COUNTER),
    "gpc0": DataType(2, Kind.COUNTER),
    "gpc0_rate": DataType(3, Kind.RATE),
    "conn_cnt": DataType(4, Kind.COUNTER),
    "conn_rate": DataType(5, Kind.RATE),
    "conn_cur": DataType(6, Kind.COUNTER),
    "sess_cnt": DataType(7, Kind.COUNTER),
    "sess_rate": DataType(8, Kind.RATE),
    "http_req_cnt": DataType(9, Kind.COUNTER),
    "http_req_rate": DataType(10, Kind.RATE),
    "http_err_cnt": DataType(11, Kind.COUNTER),
    "http_err_rate": DataType(12, Kind.RATE),
    "bytes_in_cnt": DataType(13, Kind.COUNTER),
    "bytes_in_rate": DataType(14, Kind.RATE),
    "bytes_out_cnt": DataType(15, Kind.COUNTER),
    "bytes_out_rate": DataType(16, Kind.RATE),
    "gpc1": DataType(17, Kind.COUNTER),
    "gpc1_rate": DataType(18, Kind.RATE),
    "server_key": DataType(19, Kind.SERVER),
    "http_fail_cnt": DataType(20, Kind.COUNTER),
    "http_fail_rate": DataType(21, Kind.RATE),
    "gpt": DataType(22, Kind.COUNTER, array=True),
    "gpc": DataType(23, Kind.COUNTER, array=True),
    "gpc_rate": DataType(24, Kind.RATE, array=True),
    # Ours: far from the numbers that HAProxy may still give out.
    "ftp_fail_cnt": DataType(1000, Kind.COUNTER),
    "ftp_fail_rate": DataType(1001, Kind.RATE),
}


class Rate:
    """Events over a sliding period, from two counters only: this period's and the last one's.

    HAProxy's formula (freq_ctr): with `remain` the milliseconds left of the present period, the rate is
    current + previous x remain / period. It is exact for steady streams and errs by less than one period otherwise.
    A lone event of the previous period is still reported as 1, so that slow rates do not flap.
    Times are whole milliseconds.
    """

    __slots__ = ("current", "previous", "started")

    def __init__(self) -> None:
        self.started = 0
        self.current = 0
        self.previous = 0

    def add(self, amount: int, period: int, now: int) -> None:
        """Counts `amount` events at `now`."""
        if now - self.started >= period:
            self.previous = self.current
            self.current = 0
            self.started += period
            if now - self.started >= period:
                self.previous = 0
                self.started = now
        self.current += amount

    def read(self, period: int, now: int) -> int:
        """Events per period, seen from `now`."""
        remain = self.started + period - now
        current, previous = self.current, self.previous
        if remain < 0:
            remain += period
            current, previous = 0, self.current if remain >= 0 else 0
        if not current and previous <= 1:
            return previous
        return current + previous * remain // period


Value = int | Rate | list[int | Rate]


def ordered(stores: tuple[StoredType, ...]) -> list[StoredType]:
    """The stored types in the order of their ids, without what an entry keeps outside its data (the server)."""
    kept = [store for store in stores if DATA_TYPES[store.name].kind is not Kind.SERVER]
    return sorted(kept, key=lambda store: DATA_TYPES[store.name].number)


def blank(store: StoredType) -> Value:
    """A fresh value of a stored type."""
    described = DATA_TYPES[store.name]
    make: type[Rate] | type[int] = Rate if described.kind is Kind.RATE else int
    return [make() for _ in range(store.count)] if described.array else make()
