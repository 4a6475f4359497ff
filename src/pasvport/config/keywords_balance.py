"""`balance`, `hash-type`, `hash-balance-factor`. Source: HAProxy configuration manual, section 4.2."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pasvport.config.arguments import integer
from pasvport.config.cursor import Cursor, LineError
from pasvport.config.draft import Leftover, ProxyDraft, Said
from pasvport.config.expressions import read_expression
from pasvport.config.keywords import Keyword, Misplaced, Place, Status, Table, later
from pasvport.digits import is_number
from pasvport.model import Algorithm, HashFunction, HashMethod

Reader = Callable[[Cursor, ProxyDraft], None]

_ALGORITHMS = "'roundrobin', 'static-rr', 'leastconn', 'source', 'uri', 'url_param', 'hdr(name)' and 'rdp-cookie(name)'"


def _balance(cursor: Cursor, draft: ProxyDraft) -> None:
    if not cursor.more:
        draft.http.pop("balance", None)
        draft.balance = replace(draft.balance, algorithm=Algorithm.ROUNDROBIN, expression=None)
        return
    word = cursor.take()
    name, parenthesis, _ = word.text.partition("(")
    row = BALANCE.find(name if parenthesis else word.text)
    if row is None:
        raise LineError(f"balance only supports {_ALGORITHMS} options.", word, BALANCE.suggestion(word.text))
    if row.read is None and row.status is Status.HTTP:
        text = "Layer 7 hash not possible for {proxy} (needs 'mode http'). Falling back to round robin."
        draft.http["balance"] = Leftover(text, cursor.line, Place.BACKEND)
        draft.balance = replace(draft.balance, algorithm=Algorithm.ROUNDROBIN, expression=None)
        return
    draft.http.pop("balance", None)
    if row.read is None:
        raise LineError(f"'balance {word}' is not supported yet.", word)
    row.read(cursor, draft)


def _plain_algorithm(cursor: Cursor, draft: ProxyDraft) -> None:
    name = cursor.words[1]
    if "(" in name.text:
        raise LineError(f"balance only supports {_ALGORITHMS} options.", name)
    draft.balance = replace(draft.balance, algorithm=Algorithm(name.text), expression=None)
    if cursor.more:
        cursor.warn(f"'balance {name}' takes no argument: '{cursor.next}' is ignored.", cursor.next)


def _random(cursor: Cursor, draft: ProxyDraft) -> None:
    word = cursor.words[1]
    text = word.text.removeprefix("random")
    draws = 2
    if text:
        inner = text[1:].rstrip(")") if text.startswith("(") else text
        if not is_number(inner):
            raise LineError(f"balance random : unexpected character '{inner[:1]}' after argument.", word)
        draws = int(inner)
        if draws < 1:
            raise LineError("balance random : number of draws must be at least 1.", word)
    draft.balance = replace(draft.balance, algorithm=Algorithm.RANDOM, draws=draws, expression=None)
    if cursor.more:
        cursor.warn(f"'balance random' takes no argument: '{cursor.next}' is ignored.", cursor.next)


def _hash(cursor: Cursor, draft: ProxyDraft) -> None:
    word = cursor.argument("balance hash requires a sample expression.")
    expression = read_expression(word)
    if cursor.more:
        raise LineError(f"balance hash takes no other argument (got '{cursor.next}').", cursor.next)
    draft.balance = replace(draft.balance, algorithm=Algorithm.HASH, expression=expression)
    draft.hash_said = Said(expression, cursor.line, word)


def _algorithm(name: str, doc: str, read: Reader = _plain_algorithm, syntax: str = "") -> Keyword[ProxyDraft]:
    return Keyword(name, syntax, doc, read, priority="P0")


def _http(name: str) -> Keyword[ProxyDraft]:
    doc = "Needs HTTP; falls back to roundrobin."
    return Keyword(name, "...", doc, status=Status.HTTP, priority="P3")


BALANCE: Table[ProxyDraft] = Table(
    (
        _algorithm("roundrobin", "Each server in turn, by weight; weights may change at run time."),
        _algorithm("static-rr", "Each server in turn, by weight, over a fixed map."),
        _algorithm("leastconn", "The server with the fewest connections for its weight."),
        _algorithm("first", "The first server with a free slot below its maxconn."),
        _algorithm("source", "A hash of the client address."),
        _algorithm("random", "The least loaded of N servers drawn at random (2).", _random, "[(<N>)]"),
        _algorithm("hash", "A hash of a sample expression.", _hash, "<expression>"),
        *later("sticky rdp-cookie", "Not in TCP over FTP."),
        *(_http(name) for name in ("uri", "url_param", "hdr")),
    )
)


def _hash_type(cursor: Cursor, draft: ProxyDraft) -> None:
    method = cursor.argument("'hash-type' only supports 'consistent' and 'map-based'.")
    if method.text not in tuple(HashMethod):
        raise LineError("'hash-type' only supports 'consistent' and 'map-based'.", method)
    function, avalanche = HashFunction.SDBM, method.text == HashMethod.CONSISTENT
    if cursor.more:
        function, avalanche = _hash_function(cursor)
    draft.balance = replace(
        draft.balance, hash_method=HashMethod(method.text), hash_function=function, avalanche=avalanche
    )


def _hash_function(cursor: Cursor) -> tuple[HashFunction, bool]:
    word = cursor.take()
    if word.text not in _HASH_FUNCTIONS:
        raise LineError("'hash-type' only supports 'sdbm', 'djb2', 'crc32', or 'wt6' hash functions.", word)
    if not cursor.more:
        return HashFunction(word.text), False
    modifier = cursor.take()
    if modifier.text != "avalanche":
        raise LineError("'hash-type' only supports 'avalanche' as a modifier for hash functions.", modifier)
    return HashFunction(word.text), True


_HASH_FUNCTIONS = ("sdbm", "djb2", "wt6", "crc32")


def _hash_balance_factor(cursor: Cursor, draft: ProxyDraft) -> None:
    word = cursor.argument("'hash-balance-factor' expects an integer argument.")
    factor = integer(cursor, word)
    if factor != 0 and factor <= 100:
        raise LineError("'hash-balance-factor' must be 0 or greater than 100.", word)
    draft.balance = replace(draft.balance, balance_factor=factor)


BALANCE_ROWS: tuple[Keyword[ProxyDraft], ...] = (
    Keyword("balance", "[<algorithm>]", "How a server is chosen.", _balance, Place.ON_BACKEND, "P0", "roundrobin"),
    Keyword(
        "hash-type",
        "map-based|consistent [sdbm|djb2|wt6|crc32 [avalanche]]",
        "How `source` and `hash` turn a key into a server.",
        _hash_type,
        Place.ON_BACKEND,
        "P1",
        "map-based sdbm",
    ),
    Keyword(
        "hash-balance-factor",
        "<percent>",
        "With consistent hashing, pass over a server loaded beyond this share of the average; 0 never does.",
        _hash_balance_factor,
        Place.ON_BACKEND,
        "P2",
        "0",
        misplaced=Misplaced.OWN,
    ),
)
