"""`log`, the formats of lines, and `log-tag` in proxy sections. Source: HAProxy configuration manual, section 4.2."""

from __future__ import annotations

from collections.abc import Callable

from pasvport.config.cursor import Cursor, LineError
from pasvport.config.draft import ProxyDraft, Said
from pasvport.config.keywords import Keyword, Misplaced, Place
from pasvport.config.keywords_ftp import note_ftp
from pasvport.config.keywords_log import read_log
from pasvport.config.keywords_option import set_log_format, warn_in_backend

Reader = Callable[[Cursor, ProxyDraft], None]


def _log(cursor: Cursor, draft: ProxyDraft) -> None:
    read_log(cursor, draft.logs, in_global=False)


def _format_argument(cursor: Cursor) -> str:
    name = cursor.keyword.text
    word = cursor.argument(f"{name} expects an argument.")
    if cursor.more:
        raise LineError(f"{name} expects only one argument, don't forget to escape spaces!", cursor.next)
    return word.text


def _log_format(cursor: Cursor, draft: ProxyDraft) -> None:
    set_log_format(cursor, draft, _format_argument(cursor), "log-format")


def _format_into(field: str) -> Reader:
    def read(cursor: Cursor, draft: ProxyDraft) -> None:
        setattr(draft, field, Said(_format_argument(cursor), cursor.line, cursor.word(1)))
        if field != "unique_id_format":
            warn_in_backend(cursor, draft, cursor.keyword.text)

    return read


def _transfer_format(cursor: Cursor, draft: ProxyDraft) -> None:
    draft.transfer_format = Said(_format_argument(cursor), cursor.line, cursor.word(1))
    warn_in_backend(cursor, draft, cursor.keyword.text)
    if draft.is_frontend:
        note_ftp(cursor, draft, cursor.keyword.text)


def _log_tag(cursor: Cursor, draft: ProxyDraft) -> None:
    draft.log_tag = cursor.argument("'log-tag' expects a tag for use in syslog.").text


def _row(name: str, syntax: str, doc: str, read: Reader, priority: str = "P2") -> Keyword[ProxyDraft]:
    return Keyword(name, syntax, doc, read, Place.ANY_PROXY, priority, misplaced=Misplaced.OWN)


LOGGING_ROWS: tuple[Keyword[ProxyDraft], ...] = (
    Keyword(
        "log",
        "global|<target> [len <n>] [format <f>] [sample <r>:<s>] <facility> [<max> [<min>]]",
        "Where to log.",
        _log,
        Place.ANY_PROXY,
        "P0",
        "nowhere",
        negatable=True,
    ),
    _row("log-format", "<format>", "The traffic line.", _log_format, "P1"),
    _row(
        "error-log-format",
        "<format>",
        "The line of a connection whose handshake (TLS, PROXY protocol) failed. Read and checked, but never written: "
        "pasvport has no such handshakes yet.",
        _format_into("error_log_format"),
        "P1",
    ),
    _row(
        "log-format-transfer",
        "<format>",
        "`mode ftp`: one more line for each transfer, in this format; `option ftplog` sets one.",
        _transfer_format,
        "P1",
    ),
    _row("log-format-sd", "<format>", "Structured data of rfc5424 lines.", _format_into("structured_data")),
    _row("unique-id-format", "<format>", "Makes %ID.", _format_into("unique_id_format")),
    _row("log-tag", "<tag>", "Program name in log lines.", _log_tag),
)
