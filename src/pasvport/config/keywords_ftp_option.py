"""`option ftp-...` of proxy sections, which HAProxy does not have."""

from __future__ import annotations

from dataclasses import replace

from pasvport.config.cursor import Cursor, LineError, Prefix
from pasvport.config.diagnostics import nearest
from pasvport.config.draft import ProxyDraft, Said
from pasvport.config.keywords import Keyword, Misplaced, Place
from pasvport.config.keywords_ftp import note_ftp, one_line, passive_way
from pasvport.model import AuthTls, CheckKind, FtpCheck, FtpCheckAction, FtpCheckMode

PASSIVE = "option ftp-passive"


def _active(cursor: Cursor, draft: ProxyDraft) -> None:
    draft.ftp = replace(draft.ftp, active=cursor.prefix is Prefix.NONE)
    if draft.ftp.active:
        note_ftp(cursor, draft, "option ftp-active")
    else:
        draft.ftp_only.pop("option ftp-active", None)


def _auth_tls(cursor: Cursor, draft: ProxyDraft) -> None:
    word = cursor.argument("'option ftp-auth-tls' expects 'pass' or 'refuse'.")
    if word.text not in tuple(AuthTls):
        raise LineError(f"'option ftp-auth-tls' expects 'pass' or 'refuse', got '{word}'.", word)
    draft.ftp = replace(draft.ftp, auth_tls=AuthTls(word.text))
    draft.auth_tls_line = cursor.line
    note_ftp(cursor, draft, "option ftp-auth-tls")


def _xferlog(cursor: Cursor, draft: ProxyDraft) -> None:
    draft.xferlog = cursor.argument("'option ftp-xferlog' expects a file.").text
    note_ftp(cursor, draft, "option ftp-xferlog")


def _passive(cursor: Cursor, draft: ProxyDraft) -> None:
    draft.ftp_passive = Said(passive_way(cursor, "'option ftp-passive'"), cursor.line)
    note_ftp(cursor, draft, PASSIVE, Place.BACKEND)


# --- ftp-check ----------------------------------------------------------------------------------------------------

_USAGE = "'option ftp-check' expects [user <user> password <password>] [passive|epsv] [list [<path>]|retr <path>]"


def _check(cursor: Cursor, draft: ProxyDraft) -> None:
    _hide_password(cursor)
    check = _login(cursor)
    first = cursor.next
    check = _transfer(cursor, replace(check, mode=_check_mode(cursor)))
    if cursor.more:
        raise LineError(f"{_USAGE}, got '{cursor.next}'.", cursor.next)
    if first is not None and not check.user:
        raise LineError(f"'option ftp-check' : '{first}' needs a user and a password.", first)
    draft.check_kind, draft.ftp_check = CheckKind.FTP, check


def _hide_password(cursor: Cursor) -> None:
    """What is said of this line shows the line: not with the password in it, wherever on the line it stands."""
    texts = [word.text for word in cursor.words]
    for place, word in enumerate(cursor.words):
        # After `user NAME` comes the password, also where the word before it is mistyped.
        if texts[place - 1] == "password" or (place > 2 and texts[place - 3] == "user"):
            cursor.hide(word)


def _login(cursor: Cursor) -> FtpCheck:
    if not cursor.more or cursor.text(cursor.at) != "user":
        return FtpCheck()
    cursor.take()
    user = _text(cursor, "user")
    if not cursor.more or cursor.take().text != "password":
        last = cursor.words[cursor.at - 1]
        hint = nearest(last.text, ("password",)) or ""
        raise LineError("'option ftp-check' : 'user' must be followed by 'password'.", last, hint)
    return FtpCheck(user, _text(cursor, "password"))


def _text(cursor: Cursor, what: str) -> str:
    word = cursor.argument(f"'option ftp-check' : missing argument after '{what}'.")
    return one_line(word, f"the {what} of 'option ftp-check'")


def _check_mode(cursor: Cursor) -> FtpCheckMode:
    word = cursor.next
    if word is None or word.text not in ("passive", "epsv"):
        return FtpCheckMode.NONE
    return FtpCheckMode(cursor.take().text)


def _transfer(cursor: Cursor, check: FtpCheck) -> FtpCheck:
    word = cursor.next
    if word is None or word.text not in ("list", "retr"):
        return check
    action = FtpCheckAction(cursor.take().text)
    if action is FtpCheckAction.LIST and not cursor.more:
        return replace(check, action=action)
    return replace(check, action=action, path=_text(cursor, word.text))


# --- rows ---------------------------------------------------------------------------------------------------------


def _row(
    name: str, syntax: str, doc: str, default: str, *, most: int, negatable: bool = False, priority: str = "P1"
) -> Keyword[ProxyDraft]:
    return Keyword(
        name, syntax, doc, _READERS[name], Place.ON_FRONTEND, priority, default, most=most, negatable=negatable
    )


_READERS = {"ftp-active": _active, "ftp-auth-tls": _auth_tls, "ftp-xferlog": _xferlog}

FTP_OPTION_ROWS: tuple[Keyword[ProxyDraft], ...] = (
    _row(
        "ftp-active",
        "",
        "`mode ftp`: accept PORT and EPRT, towards the client's own address and ports from 1024 on; the server stays "
        "passive.",
        "off",
        most=0,
        negatable=True,
    ),
    _row(
        "ftp-auth-tls",
        "pass|refuse",
        "`mode ftp`: what AUTH gets: 534, or passed on; the session then goes on as in `mode tcp`, for what follows "
        "cannot be read.",
        "refuse",
        most=1,
    ),
    _row(
        "ftp-xferlog",
        "<file>",
        "`mode ftp`: append each file transfer to this file, in the format of wu-ftpd's xferlog.",
        "off",
        most=1,
    ),
    Keyword(
        "ftp-passive",
        "epsv|pasv|auto",
        "`mode ftp`, `option ftp-check`: by which command servers are asked for a data port. `auto` asks first as the "
        "client does; what is refused, not answered, or names a port that does not open, is followed by the other "
        "command, and what worked is remembered. Servers at IPv6 addresses are asked with EPSV.",
        _passive,
        Place.ON_BACKEND,
        "P1",
        "auto",
        most=1,
    ),
    Keyword(
        "ftp-check",
        "[user <user> password <password>] [passive|epsv] [list [<path>]|retr <path>]",
        "Check servers by their FTP banner; with a user also log in; with `passive` (PASV, else EPSV, as clients in "
        "`mode ftp` are served) or `epsv` (EPSV alone) also list a directory over a data connection; with `list` or "
        "`retr` that must succeed. `option ftp-passive` fixes the way.",
        _check,
        Place.ON_BACKEND,
        "P0",
        "off",
        misplaced=Misplaced.SKIP,
    ),
)
