"""`stick-table` and `stick`. Source: HAProxy configuration manual, section 4.2."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from pasvport.config.arguments import duration, size
from pasvport.config.cursor import Cursor, LineError
from pasvport.config.draft import ProxyDraft, StickRuleDraft
from pasvport.config.expressions import read_expression
from pasvport.config.keywords import Keyword, Status, Table, later
from pasvport.config.scalars import ScalarError, parse_time, strict_int
from pasvport.config.syntax import Word
from pasvport.model import KeyType, StickAction, StickTable, StoredType

DEFAULT_KEY_LENGTH = 32


# --- stick-table --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class TableDraft:
    """A stick-table line while it is read."""

    key_type: KeyType | None = None
    key_length: int = 0
    size: int = 0
    expire: int = 0
    nopurge: bool = False
    stores: list[StoredType] = field(default_factory=list)
    server_key: str = "name"


def read_stick_table(cursor: Cursor, draft: ProxyDraft) -> None:
    """`stick-table type T size N [option]...`. Raises LineError."""
    if draft.stick_table is not None:
        at = draft.stick_table.origin
        raise LineError(
            f"stick-table name '{draft.name}' conflicts with table declared in {draft.kind} '{draft.name}' at {at}.",
            cursor.keyword,
        )
    draft.stick_line = cursor.line
    cursor.about = "stick-table: "
    table = TableDraft()
    while cursor.more:
        word = cursor.take()
        row = TABLE.find(word.text)
        if row is None:
            raise LineError(f"unknown argument '{word}'.", word, TABLE.suggestion(word.text))
        if row.read is None:
            raise LineError(f"'{word}' is not supported yet.", word)
        row.read(cursor, table)
    if not table.size:
        raise LineError("missing size.", cursor.words[-1])
    if table.key_type is None:
        raise LineError("missing type.", cursor.words[-1])
    draft.stick_table = StickTable(
        cursor.origin,
        draft.name,
        table.key_type,
        table.size,
        table.key_length,
        table.expire,
        table.nopurge,
        tuple(table.stores),
        table.server_key,
    )


def _type(cursor: Cursor, table: TableDraft) -> None:
    word = cursor.argument("unknown type ''.")
    name = {"ipv4": "ip"}.get(word.text, word.text)
    if name not in tuple(KeyType):
        raise LineError(f"unknown type '{word}'.", word)
    table.key_type = KeyType(name)
    if table.key_type not in (KeyType.STRING, KeyType.BINARY):
        return
    table.key_length = DEFAULT_KEY_LENGTH
    if cursor.more and cursor.words[cursor.at].text == "len":
        cursor.take()
        table.key_length = _key_length(cursor)


def _key_length(cursor: Cursor) -> int:
    word = cursor.argument("unknown type ''.")
    length = strict_int(word.text)
    if length is None or length <= 0:
        raise LineError(f"unknown type '{word}'.", word)
    return length


def _size(cursor: Cursor, table: TableDraft) -> None:
    table.size = size(cursor.argument("missing argument after 'size'."), "size")


def _expire(cursor: Cursor, table: TableDraft) -> None:
    word = cursor.argument("missing argument after 'expire'.")
    table.expire = duration(cursor, word, "expire")


def _nopurge(_cursor: Cursor, table: TableDraft) -> None:
    table.nopurge = True


def _srvkey(cursor: Cursor, table: TableDraft) -> None:
    word = cursor.argument("missing argument after 'srvkey'.")
    if word.text not in ("name", "addr"):
        raise LineError(f"unknown server key type '{word}'.", word)
    table.server_key = word.text


def _store(cursor: Cursor, table: TableDraft) -> None:
    word = cursor.argument("missing argument after 'store'.")
    for text in _split(word.text):
        _store_one(cursor, table, text, word)


def _split(text: str) -> list[str]:
    parts, depth, start = [], 0, 0
    for index, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append(text[start:index])
            start = index + 1
    return [*parts, text[start:]]


def _store_one(cursor: Cursor, table: TableDraft, text: str, word: Word) -> None:
    name, parenthesis, rest = text.partition("(")
    row = STORED.find(name)
    if row is None:
        raise LineError(f"unknown store option '{name}'.", word, STORED.suggestion(name))
    if row.status is Status.LATER:
        raise LineError(f"store option '{name}' is not supported yet.", word)
    period = _period(name, row.syntax, rest[:-1] if rest.endswith(")") else rest, bool(parenthesis), word)
    if any(stored.name == name for stored in table.stores):
        cursor.warn(f"store option '{name}' already enabled, ignored.", word)
        return
    table.stores.append(StoredType(name, period))


def _period(name: str, syntax: str, argument: str, given: bool, word: Word) -> int:
    if not syntax and given:
        raise LineError(f"unexpected argument to store option '{name}'.", word)
    if not syntax:
        return 0
    if not argument:
        raise LineError(f"missing argument to store option '{name}'.", word)
    try:
        period = parse_time(argument)
    except ScalarError:
        period = 0
    if not period:
        raise LineError(f"error when processing store option '{name}'.", word)
    return period


def _stored(name: str, doc: str, *, rate: bool = False, priority: str = "P1") -> Keyword[None]:
    return Keyword(name, "(<period>)" if rate else "", doc, priority=priority)


STORED: Table[None] = Table(
    (
        _stored("server_id", "The server a client sticks to; always there when a stick rule stores.", priority="P0"),
        _stored("server_key", "The server by name or address, see srvkey."),
        _stored("conn_cnt", "Connections received.", priority="P0"),
        _stored("conn_cur", "Connections open now.", priority="P0"),
        _stored("conn_rate", "Connections per period.", rate=True, priority="P0"),
        _stored("sess_cnt", "Sessions accepted."),
        _stored("sess_rate", "Sessions per period.", rate=True),
        _stored("bytes_in_cnt", "Bytes from the client.", priority="P0"),
        _stored("bytes_in_rate", "Bytes from the client per period.", rate=True),
        _stored("bytes_out_cnt", "Bytes to the client.", priority="P0"),
        _stored("bytes_out_rate", "Bytes to the client per period.", rate=True),
        _stored("ftp_fail_cnt", "Failed FTP logins (`mode ftp`), by source address or, in string tables, by user."),
        _stored("ftp_fail_rate", "Failed FTP logins per period.", rate=True),
        *later(
            "gpt0 gpc0 gpc0_rate gpc1 gpc1_rate gpt gpc gpc_rate", "Written by rules, which come later.", priority="P1"
        ),
        *later(
            "http_req_cnt http_req_rate http_err_cnt http_err_rate http_fail_cnt http_fail_rate",
            "HTTP only.",
            priority="P3",
        ),
    )
)


def _option(
    name: str, syntax: str, doc: str, read: Callable[[Cursor, TableDraft], None], default: str = ""
) -> Keyword[TableDraft]:
    return Keyword(name, syntax, doc, read, priority="P0", default=default)


TABLE: Table[TableDraft] = Table(
    (
        _option("type", "ip|ipv6|integer|string [len <n>]|binary [len <n>]", "Kind of key.", _type, "required"),
        _option("size", "<entries>", "Most entries; k, m, g are powers of 1024.", _size, "required"),
        _option("expire", "<time>", "Lifetime of an entry nobody uses.", _expire, "for ever"),
        _option("nopurge", "", "Refuse new entries when full, instead of dropping the oldest unused one.", _nopurge),
        _option("srvkey", "name|addr", "How `server_key` names a server.", _srvkey, "name"),
        _option("store", "<type>[,<type>...]", "What else an entry counts; see the next table.", _store),
        *later("peers", "Share the table with other nodes.", priority="P1"),
    )
)


# --- stick --------------------------------------------------------------------------------------------------------

_BOTH = (StickAction.MATCH, StickAction.STORE_REQUEST)
_ACTIONS: dict[str, tuple[StickAction, ...]] = {
    "on": _BOTH,
    "match": (StickAction.MATCH,),
    "store": (StickAction.STORE_REQUEST,),
    "store-request": (StickAction.STORE_REQUEST,),
}


def read_stick(cursor: Cursor, draft: ProxyDraft) -> None:
    """`stick on|match|store-request EXPRESSION [table T]`. Raises LineError."""
    word = cursor.argument("'stick' expects 'on', 'match', or 'store'.")
    if word.text == "store-response":
        raise LineError("'stick store-response' is not supported yet.", word)
    actions = _ACTIONS.get(word.text)
    if actions is None:
        raise LineError("'stick' expects 'on', 'match', or 'store'.", word)
    expression_word = cursor.argument("'stick' expects a fetch method.")
    cursor.about = "'stick': "
    expression = read_expression(expression_word)
    table = None
    if cursor.more and cursor.words[cursor.at].text == "table":
        cursor.take()
        table = cursor.argument("'table' expects the name of a table.")
    if cursor.more:
        _leftover(cursor)
    draft.stick_rules.extend(StickRuleDraft(cursor.line, action, expression, table) for action in actions)


def _leftover(cursor: Cursor) -> None:
    word = cursor.words[cursor.at]
    if word.text in ("if", "unless"):
        raise LineError(f"conditions ('{word}') are not supported yet.", word)
    raise LineError(f"unknown keyword '{word}'.", word)
