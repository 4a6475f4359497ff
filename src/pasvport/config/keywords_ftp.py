"""What `mode ftp` adds to proxy sections. HAProxy has none of it; where something is alike, the manner is HAProxy's.

Source: RFC 959 (commands), RFC 2577 (who may connect), RFC 7151 (HOST); docs/differences.md tells why.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import replace

from pasvport.config.arguments import duration, number
from pasvport.config.cursor import Cursor, LineError
from pasvport.config.draft import Leftover, ProxyDraft, Said
from pasvport.config.expressions import read_expression
from pasvport.config.keywords import Keyword, Misplaced, Place, not_supported
from pasvport.config.scalars import strict_int
from pasvport.config.syntax import Word
from pasvport.digits import is_number, whole_number
from pasvport.model import Expression, Ftp, FtpPassive

Reader = Callable[[Cursor, ProxyDraft], None]

SHORTEST_LINE, LONGEST_LINE = 512, 65536
LONGEST_DELAY = 60_000
INDISPENSABLE = ("USER", "PASS", "QUIT")
"""Without these commands there is no session."""
_VERB = re.compile(r"[A-Za-z]{3,8}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def note_ftp(cursor: Cursor, draft: ProxyDraft, shown: str, side: Place = Place.FRONTEND) -> None:
    """Remember that this section said what only `mode ftp` obeys."""
    text = f"'{shown}' ignored for {{proxy}} as it requires FTP mode."
    draft.ftp_only.setdefault(shown, Leftover(text, cursor.line, side, own=True))


def one_line(word: Word, what: str) -> str:
    """The text of a word that will be sent as part of a line. Raises LineError for control characters."""
    if _CONTROL.search(word.text):
        raise LineError(f"control characters are not permitted in {what}.", word)
    return word.text


def passive_way(cursor: Cursor, shown: str) -> FtpPassive:
    """The argument of `option ftp-passive`, and of a server's `ftp-passive`."""
    word = cursor.argument(f"{shown} expects 'epsv', 'pasv' or 'auto'.")
    if word.text not in tuple(FtpPassive):
        raise LineError(f"{shown} expects 'epsv', 'pasv' or 'auto', got '{word}'.", word)
    return FtpPassive(word.text)


# --- who may connect ----------------------------------------------------------------------------------------------


def _data_peer(cursor: Cursor, draft: ProxyDraft) -> None:
    word = cursor.argument("'ftp-data-peer' expects 'strict', 'network' or 'any'.")
    if word.text == "network":
        bits = _prefix(cursor, 32, "for IPv4"), _prefix(cursor, 128, "for IPv6")
        ipv4, ipv6 = (24 if bits[0] is None else bits[0]), (64 if bits[1] is None else bits[1])
    elif word.text in _PEERS:
        ipv4, ipv6 = _PEERS[word.text]
    else:
        raise LineError(f"'ftp-data-peer' expects 'strict', 'network' or 'any', got '{word}'.", word)
    cursor.finish()
    draft.ftp = replace(draft.ftp, data_peer_ipv4=ipv4, data_peer_ipv6=ipv6)


_PEERS = {"strict": (32, 128), "any": (0, 0)}


def _prefix(cursor: Cursor, longest: int, what: str) -> int | None:
    if not cursor.more:
        return None
    word = cursor.take()
    bits = word.text.removeprefix("/")
    if not whole_number(bits, longest):
        raise LineError(
            f"'ftp-data-peer network' expects a prefix length of 1 to {longest} {what}, got '{word}'.", word
        )
    return int(bits)


def _data_host(cursor: Cursor, draft: ProxyDraft) -> None:
    word = cursor.argument("'ftp-data-host' expects 'server' or 'any'.")
    if word.text not in ("server", "any"):
        raise LineError(f"'ftp-data-host' expects 'server' or 'any', got '{word}'.", word)
    draft.ftp = replace(draft.ftp, trust_named_host=word.text == "any")


# --- commands -----------------------------------------------------------------------------------------------------


def _greeting(cursor: Cursor, draft: ProxyDraft) -> None:
    cursor.argument("'ftp-greeting' expects a text.")
    text = " ".join(one_line(word, "'ftp-greeting'") for word in cursor.words[1:])
    if not text.strip():
        raise LineError("'ftp-greeting' expects a text.", cursor.word(1))
    draft.ftp = replace(draft.ftp, greeting=text)


def _deny(cursor: Cursor, draft: ProxyDraft) -> None:
    cursor.argument("'ftp-deny-commands' expects at least one command.")
    verbs = tuple(_verb(word) for word in cursor.words[1:])
    draft.ftp = replace(draft.ftp, denied=tuple(dict.fromkeys((*draft.ftp.denied, *verbs))))


def _verb(word: Word) -> str:
    verb = word.text.upper()
    if not _VERB.fullmatch(word.text):
        raise LineError(f"'ftp-deny-commands' : '{word}' is not an FTP command, which is 3 to 8 letters.", word)
    if verb in INDISPENSABLE:
        raise LineError(f"'ftp-deny-commands' : without '{verb}' there is no FTP session.", word)
    return verb


def _max_line(cursor: Cursor, draft: ProxyDraft) -> None:
    complaint = f"'ftp-max-line' expects a number of bytes from {SHORTEST_LINE} to {LONGEST_LINE}"
    word = cursor.argument(f"{complaint}.")
    value = strict_int(word.text)
    if value is None or not SHORTEST_LINE <= value <= LONGEST_LINE:
        raise LineError(f"{complaint}, got '{word}'.", word)
    draft.ftp = replace(draft.ftp, max_line=value)


def _login_limit(cursor: Cursor, draft: ProxyDraft) -> None:
    complaint = (
        "'ftp-login-limit' expects a number of failures, a period, and optionally 'delay' and a time, 'ipmask' and "
        "one or two masks"
    )
    count = number(cursor.argument(f"{complaint}."), "'ftp-login-limit' : ")
    word = cursor.argument(f"{complaint}.")
    period = duration(cursor, word, "ftp-login-limit")
    if not period:
        raise LineError("'ftp-login-limit' : the period must be more than 0.", word)
    said = replace(Ftp(), login_limit=count, login_limit_period=period)
    if cursor.next is not None and cursor.next.text not in ("delay", "ipmask"):
        raise LineError(f"{complaint}, got '{cursor.next}'.", cursor.next)
    if _takes(cursor, "delay"):
        said = replace(said, login_limit_delay=_delay(cursor))
    if _takes(cursor, "ipmask"):
        ipv4, ipv6 = _masks(cursor, said)
        said = replace(said, login_limit_ipv4=ipv4, login_limit_ipv6=ipv6)
    cursor.finish()
    draft.ftp = replace(draft.ftp, **{name: getattr(said, name) for name in _LOGIN_LIMIT})


def _takes(cursor: Cursor, text: str) -> bool:
    """Go past the next word if it is that."""
    if cursor.next is None or cursor.next.text != text:
        return False
    cursor.take()
    return True


_LOGIN_LIMIT = (
    "login_limit",
    "login_limit_period",
    "login_limit_delay",
    "login_limit_ipv4",
    "login_limit_ipv6",
)


def _masks(cursor: Cursor, otherwise: Ftp) -> tuple[int, int]:
    """`<mask4>[,<mask6>]`, as the converter `ipmask` takes them."""
    word = cursor.argument("'ftp-login-limit' : missing mask after 'ipmask'.")
    first, comma, second = word.text.partition(",")
    ipv4 = _mask(word, first, 32)
    return ipv4, _mask(word, second, 128) if comma else otherwise.login_limit_ipv6


def _mask(word: Word, text: str, longest: int) -> int:
    bits = _bits_of(text) if longest == 32 else strict_int(text)
    if bits is None or not 1 <= bits <= longest:
        forms = "a prefix length of 1 to 32 or a netmask for IPv4, then one of 1 to 128 for IPv6"
        raise LineError(f"'ftp-login-limit ipmask' expects {forms}, got '{word}'.", word)
    return bits


def _bits_of(text: str) -> int | None:
    if "." not in text:
        return strict_int(text)
    try:
        return ipaddress.ip_network(f"0.0.0.0/{text}").prefixlen
    except ValueError:
        return None


def _delay(cursor: Cursor) -> int:
    word = cursor.argument("'ftp-login-limit' : missing time after 'delay'.")
    delay = duration(cursor, word, "ftp-login-limit delay")
    if delay > LONGEST_DELAY:
        text = f"'ftp-login-limit' : a delay of more than {LONGEST_DELAY // 1000}s would hold too many sessions."
        raise LineError(text, word)
    return delay


def _drain_idle(cursor: Cursor, draft: ProxyDraft) -> None:
    word = cursor.argument("'ftp-drain-idle' expects a time or 'never'.")
    idle = 0
    if word.text != "never":
        if not is_number(word.text[:1]):
            raise LineError(f"'ftp-drain-idle' expects a time or 'never', got '{word}'.", word)
        idle = duration(cursor, word, "ftp-drain-idle")
        if not idle:
            raise LineError(
                "'ftp-drain-idle' : the time must be more than 0; 'never' leaves idle sessions alone.", word
            )
    cursor.finish()
    draft.ftp = replace(draft.ftp, drain_idle=idle)


# --- where to -----------------------------------------------------------------------------------------------------


def _use_backend(cursor: Cursor, draft: ProxyDraft) -> None:
    word = cursor.argument("'use_backend' expects a backend name.")
    _no_condition(cursor, "use_backend", "switching")
    if is_dynamic(word):
        expression = _dynamic(cursor, word, "use_backend")
    else:
        expression = Expression(word.text, "str", (word.text,))
    draft.use_backend.append(Said(expression, cursor.line, word))


def _use_server(cursor: Cursor, draft: ProxyDraft) -> None:
    word = cursor.argument("'use-server' expects a server name.")
    _no_condition(cursor, "use-server", "server")
    if not is_dynamic(word):
        raise LineError("'use-server' requires either 'if' or 'unless' followed by a condition.", word)
    draft.use_server.append(Said(_dynamic(cursor, word, "use-server"), cursor.line, word))


def _no_condition(cursor: Cursor, keyword: str, kind: str) -> None:
    word = cursor.next
    if word is None:
        return
    if word.text in ("if", "unless"):
        raise LineError(f"'{keyword} ... {word}' needs ACLs, which are not supported yet.", word)
    text = f"unexpected keyword '{word}' after {kind} rule, only 'if' and 'unless' are allowed."
    raise LineError(text, word)


def is_dynamic(word: Word | None) -> bool:
    """Whether a rule's name is found by an expression."""
    return word is not None and "%" in word.text


def _dynamic(cursor: Cursor, word: Word, keyword: str) -> Expression:
    text = word.text
    if not (text.startswith("%[") and text.endswith("]")) or "%" in text[1:]:
        raise LineError(f"{not_supported(f'{keyword} {text}')} A name is one '%[...]', or has no '%'.", word)
    cursor.about = f"failed to parse {keyword} rule '{text}' : "
    return read_expression(Word(text[2:-1], word.column, word.width))


# --- rows ---------------------------------------------------------------------------------------------------------


def _noting(read: Reader) -> Reader:
    def noted(cursor: Cursor, draft: ProxyDraft) -> None:
        read(cursor, draft)
        note_ftp(cursor, draft, cursor.keyword.text)

    return noted


def _row(
    name: str, syntax: str, doc: str, read: Reader, default: str = "", most: int | None = None
) -> Keyword[ProxyDraft]:
    return Keyword(name, syntax, doc, _noting(read), Place.ON_FRONTEND, "P1", default, most=most)


FTP_ROWS: tuple[Keyword[ProxyDraft], ...] = (
    _row(
        "ftp-data-peer",
        "strict|network [/<n> [/<m>]]|any",
        "`mode ftp`: who may open a session's data connection: the address of its control connection, its network "
        "(/n for IPv4, /m for IPv6; 24 and 64), or anybody. A stranger is closed and counted, and the lease of the "
        "port goes on.",
        _data_peer,
        "strict",
    ),
    _row(
        "ftp-data-host",
        "server|any",
        "`mode ftp`: where a server's answer to PASV leads: to the server's own address whatever the answer says, or "
        "to the address it names.",
        _data_host,
        "server",
        1,
    ),
    _row(
        "ftp-greeting",
        "<text>",
        "`mode ftp`: the 220 of a session whose server is chosen at USER; else the client sees the server's own.",
        _greeting,
        "FTP service ready.",
    ),
    _row(
        "ftp-deny-commands",
        "<command>...",
        "`mode ftp`: answer these with 502, and leave them out of FEAT. More lines add to it.",
        _deny,
        "none",
    ),
    _row("ftp-max-line", "<bytes>", "`mode ftp`: longest line of either side, 512 to 65536.", _max_line, "4096", 1),
    _row(
        "ftp-login-limit",
        "<n> <period> [delay <time>] [ipmask <mask4>[,<mask6>]]",
        "`mode ftp`: a source network (/32 for IPv4, /64 for IPv6) whose logins failed n times in the period is "
        "answered with 421, after the delay (2 s, at most 60 s), until one of them is older. What sessions did before "
        "makes no difference: no password reaches a server beyond the limit, and no more logins of a network are "
        "under way than may still fail. 0: no limit.",
        _login_limit,
        "no limit",
    ),
    _row(
        "ftp-drain-idle",
        "<time>|never",
        "`mode ftp`: how long a session that is drained may be silent between two transfers before it ends with 421; "
        "`never`: as long as its client likes. It holds for sessions of a former generation (after a reload, `add "
        "server` or `del server`), at a soft stop, and for servers that are set to `drain` or `maint`. In the last two "
        "cases a session that is never so silent ends at its first moment without a transfer after 30 s, or after "
        "this time if that is longer; with `never` it stays. `hard-stop-after` bounds it all.",
        _drain_idle,
        "`never` after a reload, else 2s",
        1,
    ),
    Keyword(
        "use_backend",
        "<backend>|%[<expression>]",
        "Where sessions go: a backend, or (`mode ftp`) one whose name an expression gives, mostly a map of FTP users. "
        "The first rule that gives the name of a backend decides, the default backend where none does. Conditions "
        "need ACLs, which come later.",
        _use_backend,
        Place.FRONTEND,
        "P0",
        "`default_backend`",
    ),
    Keyword(
        "use-server",
        "%[<expression>]",
        "The server whose name an expression gives, mostly a map of FTP users; HAProxy wants a condition here. The "
        "first rule that gives the name of a server decides if that is up, else `stick` and `balance` do.",
        _use_server,
        Place.BACKEND,
        "P0",
        misplaced=Misplaced.WARN,
    ),
)
