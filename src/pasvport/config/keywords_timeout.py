"""`timeout NAME TIME`. Source: HAProxy configuration manual, section 4.2."""

from __future__ import annotations

from pasvport.config.arguments import duration
from pasvport.config.cursor import Cursor, LineError
from pasvport.config.diagnostics import nearest
from pasvport.config.draft import ProxyDraft
from pasvport.config.keywords import Keyword, Misplaced, Place, Status

_FE, _BE, _ANY = Place.ON_FRONTEND, Place.ON_BACKEND, Place.ANY_PROXY


def _timeout(cursor: Cursor, draft: ProxyDraft) -> None:
    name = cursor.text(1)
    word = cursor.argument(f"'timeout {name}' expects an integer value (in milliseconds)")
    value = duration(cursor, word, f"timeout {name}")
    if cursor.more:
        raise LineError(
            f"'timeout {name}' : unexpected extra argument '{cursor.next}' after value '{word}'.", cursor.next
        )
    if name in draft.timeouts and not draft.is_defaults and name in draft.own_timeouts:
        cursor.warn(f"overwriting 'timeout {name}' which was already specified")
    draft.own_timeouts.add(name)
    draft.timeouts[name] = value


def _unknown_timeout(cursor: Cursor, _draft: ProxyDraft) -> None:
    raise LineError(
        "'timeout' supports 'client', 'server', 'connect', 'check', 'queue', 'http-keep-alive', 'http-request', "
        f"'tunnel', 'tarpit', 'client-fin' and 'server-fin' (got '{cursor.text(1)}')",
        cursor.word(1),
        nearest(cursor.text(1), _NAMES) or "",
    )


def _timeout_row(name: str, places: Place, doc: str, default: str = "none: no limit") -> Keyword[ProxyDraft]:
    return Keyword(f"timeout {name}", "<time>", doc, _timeout, places, "P0", default, misplaced=Misplaced.LATE)


TIMEOUT_ROWS: tuple[Keyword[ProxyDraft], ...] = (
    _timeout_row("client", _FE, "Longest silence of a client."),
    _timeout_row("server", _BE, "Longest silence of a server."),
    _timeout_row("connect", _BE, "Longest wait for a connection to a server."),
    _timeout_row("check", _BE, "Read limit of a check once it is connected.", "`inter` covers the whole check"),
    _timeout_row("queue", _BE, "Longest wait for a free slot of a server.", "`timeout connect`"),
    _timeout_row("tunnel", _BE, "Longest silence of both sides once the session is established."),
    _timeout_row("client-fin", _FE, "As `client`, once one direction is closed."),
    _timeout_row("server-fin", _BE, "As `server`, once one direction is closed."),
    _timeout_row("ftp-login", _FE, "`mode ftp`: from accept to a login that the server accepts.", "60s"),
    _timeout_row("ftp-data", _FE, "`mode ftp`: from the answer to PASV to the client's data connection.", "60s"),
    _timeout_row("ftp-transfer", _FE, "`mode ftp`: longest standstill of a transfer.", "300s"),
    *(
        Keyword(f"timeout {name}", "<time>", "HTTP only: read, not used.", _timeout, _ANY, "P3", status=Status.HTTP)
        for name in ("http-keep-alive", "http-request", "tarpit")
    ),
    Keyword("timeout", "", "(group)", _unknown_timeout, _ANY, "", misplaced=Misplaced.OWN),
)

_NAMES = [row.name.removeprefix("timeout ") for row in TIMEOUT_ROWS]
