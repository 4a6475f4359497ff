"""`mode`, `user`, `group`, `uid` and `gid`: who may reach a UNIX socket that `bind` or `stats socket` makes.

Source: HAProxy configuration manual, section 5.1. Numbers are refused below 0.
"""

from __future__ import annotations

import re
from typing import Protocol, TypeVar

from pasvport.config.arguments import count
from pasvport.config.cursor import Cursor, LineError
from pasvport.config.keywords import Keyword
from pasvport.model import UnixPermissions


class FileAccess(Protocol):
    """The part of a line's options that these keywords fill in."""

    mode: int | None
    uid: int | None
    gid: int | None


A = TypeVar("A", bound=FileAccess)


def permissions_of(access: FileAccess) -> UnixPermissions:
    """What a line's options say of its file."""
    return UnixPermissions(access.mode, access.uid, access.gid)


def access_rows() -> tuple[Keyword[A], ...]:
    """The rows of all five, for a table of options."""
    return (
        Keyword(
            "mode", "<octal>", "Permissions of a UNIX socket.", _mode, priority="P0", default="what the umask leaves"
        ),
        Keyword("user", "<name>", "Owner of a UNIX socket.", _user, priority="P0"),
        Keyword("group", "<name>", "Group of a UNIX socket.", _group, priority="P0"),
        Keyword("uid", "<number>", "As `user`, by number.", _uid, priority="P0"),
        Keyword("gid", "<number>", "As `group`, by number.", _gid, priority="P0"),
    )


def _mode(cursor: Cursor, access: FileAccess) -> None:
    word = cursor.argument("'mode' : missing or invalid mode '' (octal integer expected)")
    if not re.fullmatch("[0-7]+", word.text):
        raise LineError(f"'mode' : missing or invalid mode '{word}' (octal integer expected)", word)
    access.mode = int(word.text, 8) & 0o7777


def _user(cursor: Cursor, access: FileAccess) -> None:
    word = cursor.argument("'user' : missing user name")
    access.uid = cursor.world.user_id(word.text)
    if access.uid is None:
        raise LineError(f"'user' : unknown user name '{word}'", word)


def _group(cursor: Cursor, access: FileAccess) -> None:
    word = cursor.argument("'group' : missing group name")
    access.gid = cursor.world.group_id(word.text)
    if access.gid is None:
        raise LineError(f"'group' : unknown group name '{word}'", word)


def _uid(cursor: Cursor, access: FileAccess) -> None:
    access.uid = count(cursor)


def _gid(cursor: Cursor, access: FileAccess) -> None:
    access.gid = count(cursor)
