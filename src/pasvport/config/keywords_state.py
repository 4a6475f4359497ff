"""`server-state-file` and its kin: where the states of servers are read from at the start.

Source: HAProxy configuration manual, sections 3.1 and 4.2.
"""

from __future__ import annotations

from collections.abc import Callable

from pasvport.config.cursor import Cursor, LineError
from pasvport.config.draft import GlobalDraft, ProxyDraft
from pasvport.config.keywords import Keyword, Place

_OWN_NAME = "use-backend-name"
_SOURCES = ("global", "local", "none")


def _once(field: str, complaint: str) -> Callable[[Cursor, GlobalDraft], None]:
    def read(cursor: Cursor, draft: GlobalDraft) -> None:
        word, keyword = cursor.argument(complaint), cursor.keyword
        if keyword.text in draft.said:
            cursor.alert(f"'{keyword}' already specified. Continuing.", keyword, fatal=False)
            return
        draft.said[keyword.text] = cursor.line
        draft.values[field] = word.text

    return read


def _load_from(cursor: Cursor, draft: ProxyDraft) -> None:
    complaint = "'load-server-state-from-file' expects 'global', 'local' or 'none'. Got '{}'"
    word = cursor.argument(complaint.format(""))
    if word.text not in _SOURCES:
        raise LineError(complaint.format(word), word)
    draft.load_server_state = None if word.text == "none" else word.text


def _file_name(cursor: Cursor, draft: ProxyDraft) -> None:
    name = cursor.take().text if cursor.more else _OWN_NAME
    draft.server_state_file_name = None if name == _OWN_NAME else name


GLOBAL_STATE_ROWS: tuple[Keyword[GlobalDraft], ...] = (
    Keyword(
        "server-state-file",
        "<file>",
        "What `show servers state` printed, read at the start by backends that say `load-server-state-from-file "
        "global`. A reload needs no file: it keeps the states.",
        _once("server_state_file", "'server-state-file' expect one argument: a file path."),
        Place.GLOBAL,
        "P1",
        most=1,
    ),
    Keyword(
        "server-state-base",
        "<directory>",
        "Where state files are whose names do not begin with a slash.",
        _once("server_state_base", "'server-state-base' expects one argument: a directory path."),
        Place.GLOBAL,
        "P1",
        most=1,
    ),
)

PROXY_STATE_ROWS: tuple[Keyword[ProxyDraft], ...] = (
    Keyword(
        "load-server-state-from-file",
        "global|local|none",
        "Begin with the states of a file: `global` is the one of `server-state-file`, `local` that of "
        "`server-state-file-name`.",
        _load_from,
        Place.ON_BACKEND,
        "P1",
        "none",
    ),
    Keyword(
        "server-state-file-name",
        "[<file>|use-backend-name]",
        "The file of `load-server-state-from-file local`; without it, the backend's name is the file's. "
        "As in HAProxy, what a defaults section says is not inherited.",
        _file_name,
        Place.ON_BACKEND,
        "P1",
        "the backend's name",
        most=1,
    ),
)
