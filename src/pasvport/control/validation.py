"""What a worker tells, held against the configuration: names that exist, keys of the right shape, its own sessions.

The types of the fields were enforced when the message was read (`wire`). What is refused here is as bad: whoever tells
it is no sound worker, and is replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from pasvport.bounds import Count, Octets
from pasvport.errors import WireError
from pasvport.model import Config, FtpPassive, KeyType, Mode, ObserveMode, StickTable
from pasvport.record import NO_BACKEND
from pasvport.sight import (
    ActivitySight,
    FtpSessionSight,
    LeaseSight,
    LoginFailureSight,
    SessionSight,
    TableSight,
    TransferSight,
    worker_of_session,
)
from pasvport.stick.data import DATA_TYPES, Kind, ordered
from pasvport.stick.show import Number, Row
from pasvport.wire import (
    EntriesTold,
    EntryLearnt,
    EntryRow,
    FeaturesLearnt,
    Figure,
    Message,
    ObservedErrors,
    PassiveLearnt,
    TakeEntries,
    read_rows,
)

ROWS: Final[Mapping[str, Any]] = {
    "sessions": SessionSight,
    "sessions detailed": SessionSight,
    "session": SessionSight,
    "kill": tuple[Count],
    "kill of server": tuple[Count],
    "ftp sessions": FtpSessionSight,
    "ftp transfers": TransferSight,
    "ftp leases": LeaseSight,
    "ftp login failures": LoginFailureSight,
    "activity": ActivitySight,
    "tables": TableSight,
    "entries": Row,
    "entry": Row,
    "set": tuple[bool],
    "forget": tuple[Octets],
    "clear": tuple[Count],
}
"""By question (engine.queries has them): what each row of its answer is."""
_ADDRESSES = (4, 16)


class Validator:
    """Knows what the workers of one configuration may tell. Every method raises WireError for what they may not."""

    def __init__(self, config: Config) -> None:
        self._proxies = {proxy.name for proxy in config.proxies}
        self._tables = {
            proxy.stick_table.name: proxy.stick_table for proxy in config.proxies if proxy.stick_table is not None
        }
        self._observed = {
            (proxy.index, number)
            for proxy in config.proxies
            for number, server in enumerate(proxy.servers)
            if server.check.observe is not ObserveMode.NONE
        }
        self._passive = {
            (proxy.index, number)
            for proxy in config.proxies
            if proxy.is_backend and proxy.mode is Mode.FTP
            for number, server in enumerate(proxy.servers)
            if proxy.passive_of(server) is FtpPassive.AUTO
        }
        ftp = (proxy for proxy in config.proxies if proxy.is_backend and proxy.mode is Mode.FTP)
        self._ftp = {proxy.index: len(proxy.servers) for proxy in ftp}

    # --- messages -------------------------------------------------------------------------------------------------

    def check(self, message: Message) -> None:
        """A message that is no answer."""
        rule = self._RULES.get(type(message))
        if rule is not None:
            rule(self, message)

    def _observed_errors(self, message: ObservedErrors) -> None:
        if (message.proxy, message.server) not in self._observed:
            raise WireError(f"errors of server {message.proxy}/{message.server}, which is not observed")

    def _entry_learnt(self, message: EntryLearnt) -> None:
        _check_key(self._table(message.table), message.key)

    def _entries_told(self, message: EntriesTold) -> None:
        for part in message.parts:
            self._entries(part)

    def _entries(self, part: TakeEntries) -> None:
        table = self._table(part.table)
        stores = ordered(table.stores)
        if part.stores != tuple(f"{store.name}({store.period}){store.count}" for store in stores):
            raise WireError(f"entries of table {table.name} with other data than it stores")
        for row in part.rows:
            _check_entry(table, row)

    def _features_learnt(self, message: FeaturesLearnt) -> None:
        if message.server >= self._ftp.get(message.proxy, 0):
            raise WireError(f"features of server {message.proxy}/{message.server}, which is none in mode ftp")

    def _passive_learnt(self, message: PassiveLearnt) -> None:
        where = f"the passive mode of server {message.proxy}/{message.server}"
        if (message.proxy, message.server) not in self._passive:
            raise WireError(f"{where}, of which nothing is to be learnt")
        if message.closes != "-" and {message.works, message.closes} != {"EPSV", "PASV"}:
            raise WireError(f"{where}: {message.works} works, {message.closes} does not")

    def _table(self, name: str) -> StickTable:
        try:
            return self._tables[name]
        except KeyError:
            raise WireError("an entry of a table that does not exist") from None

    _RULES: Final[Mapping[type, Callable[[Validator, Any], None]]] = {
        ObservedErrors: _observed_errors,
        EntryLearnt: _entry_learnt,
        EntriesTold: _entries_told,
        FeaturesLearnt: _features_learnt,
        PassiveLearnt: _passive_learnt,
    }

    # --- answers --------------------------------------------------------------------------------------------------

    def rows(self, worker: int, what: str, arguments: tuple[object, ...], told: bytes) -> list[tuple[object, ...]]:
        """The rows of a part of the answer of worker number `worker` to a question."""
        rows: list[tuple[object, ...]] = read_rows(told, ROWS[what])
        for row in rows:
            if isinstance(row, Row):
                _check_row(self._table(str(arguments[0])), row)
            else:
                self._check_sight(worker, row)
        return rows

    def _check_sight(self, worker: int, row: tuple[object, ...]) -> None:
        if getattr(row, "worker", worker) != worker:
            raise WireError("a row in the name of another worker")
        identity = row.identity if isinstance(row, SessionSight | FtpSessionSight) else getattr(row, "session", None)
        if isinstance(identity, int) and worker_of_session(identity) != worker:
            raise WireError("a session of another worker")
        frontend = getattr(row, "frontend", None)
        if frontend is not None and frontend not in self._proxies:
            raise WireError("a frontend that does not exist")
        if isinstance(row, SessionSight) and row.backend not in self._proxies and row.backend != NO_BACKEND:
            raise WireError("a backend that does not exist")
        if isinstance(row, TableSight):
            self._table(row.name)


# --- stick entries ------------------------------------------------------------------------------------------------


def _check_key(table: StickTable, key: bytes) -> None:
    if table.key_type in (KeyType.IP, KeyType.IPV6):
        is_sound = len(key) in _ADDRESSES
    elif table.key_type is KeyType.INTEGER:
        is_sound = len(key) == 4
    else:
        is_sound = len(key) <= table.key_length
    if not is_sound:
        raise WireError(f"a key of {len(key)} bytes in table {table.name}")


def _check_entry(table: StickTable, row: EntryRow) -> None:
    _check_key(table, row.key)
    if row.left is not None and row.left < 0:
        raise WireError(f"an entry of table {table.name} that is over")
    stores = ordered(table.stores)
    if not row.data:
        return
    if len(row.data) != len(stores):
        raise WireError(f"an entry of table {table.name} with {len(row.data)} data")
    for store, figure in zip(stores, row.data, strict=True):
        described = DATA_TYPES[store.name]
        values = figure if described.array else (figure,)
        is_array = isinstance(values, tuple) and len(values) == (store.count if described.array else 1)
        if not is_array or not all(_is_of(described.kind, value) for value in values):  # type: ignore[union-attr]
            raise WireError(f"no {store.name} in an entry of table {table.name}")


def _is_of(kind: Kind, value: Figure) -> bool:
    if kind is Kind.RATE:
        return isinstance(value, tuple) and len(value) == 3 and all(isinstance(each, int) for each in value)
    return isinstance(value, int)


def _check_row(table: StickTable, row: Row) -> None:
    _check_key(table, row.key)
    stores = ordered(table.stores)
    if len(row.values) != len(stores):
        raise WireError(f"an entry of table {table.name} with {len(row.values)} data")
    for store, value in zip(stores, row.values, strict=True):
        if _length(value) != (store.count if DATA_TYPES[store.name].array else -1):
            raise WireError(f"no {store.name} in an entry of table {table.name}")


def _length(value: Number) -> int:
    return len(value) if isinstance(value, tuple) else -1
