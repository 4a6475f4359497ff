"""Whether a keyword may stand in this section, and HAProxy's words when it may not."""

from __future__ import annotations

from typing import TypeVar

from pasvport.config.cursor import Cursor, LineError, Prefix
from pasvport.config.draft import ProxyDraft
from pasvport.config.keywords import Keyword, Misplaced, Place, Status, not_supported

D = TypeVar("D")

_SIDES = ((Place.FRONTEND, "frontend"), (Place.BACKEND, "backend"))


def missing_side(row: Keyword[D], draft: ProxyDraft) -> str:
    """`frontend` or `backend` when the section lacks the side the keyword is about, else ""."""
    if draft.is_defaults or row.places & draft.side:
        return ""
    return next((name for side, name in _SIDES if row.places & side), "")


def ignored_text(shown: str, draft: ProxyDraft, side: str, advice: str = "") -> str:
    """HAProxy's text for a keyword that has no effect here."""
    advice = f" {advice}" if advice else ""
    return f"'{shown}' ignored because {draft.title} '{draft.name}' has no {side} capability.{advice}"


def admitted(row: Keyword[D], cursor: Cursor, draft: ProxyDraft, shown: str) -> bool:
    """Whether to read on; warns of a keyword without effect. Raises LineError for one that must not stand here."""
    word = cursor.words[min(cursor.at, len(cursor.words)) - 1]
    if row.misplaced is Misplaced.OWN:
        return True
    allowed = Place.DEFAULTS | Place.NAMED_DEFAULTS if draft.name else Place.DEFAULTS
    if draft.is_defaults and not row.places & allowed:
        raise LineError(f"'{shown}' not allowed in 'defaults' section.", word)
    side = missing_side(row, draft)
    if not side or row.misplaced is Misplaced.LATE:
        return True
    if row.misplaced is Misplaced.ALERT:
        raise LineError(f"'{shown}' not allowed because {draft.title} '{draft.name}' has no {side} capability.", word)
    cursor.warn(ignored_text(shown, draft, side, row.advice), word)
    return row.misplaced is Misplaced.WARN


def obey(row: Keyword[ProxyDraft], cursor: Cursor, draft: ProxyDraft, shown: str) -> None:
    """Read one line of a proxy section with its row. Raises LineError."""
    word = cursor.words[min(cursor.at, len(cursor.words)) - 1]
    if cursor.prefix is not Prefix.NONE and not row.negatable:
        raise LineError(f"negation/default is not supported for {shown_with_kind(cursor, shown)}.", word)
    if row.misplaced is Misplaced.SKIP:
        check_count(row, cursor)
    if not admitted(row, cursor, draft, shown):
        return
    if row.read is None:
        raise _without_reader(row, cursor, shown)
    check_count(row, cursor)
    row.read(cursor, draft)
    side = missing_side(row, draft)
    if side and row.misplaced is Misplaced.LATE:
        cursor.warn(ignored_text(shown, draft, side), word)


def shown_with_kind(cursor: Cursor, shown: str) -> str:
    return f"option '{shown}'" if cursor.keyword.text == "option" else f"'{shown}'"


def check_count(row: Keyword[D], cursor: Cursor) -> None:
    """Raises LineError when there are more arguments than the row allows."""
    if row.most is not None and len(cursor.words) - cursor.at > row.most:
        extra = cursor.words[cursor.at + row.most]
        name = " ".join(word.text for word in cursor.words[: cursor.at])
        raise LineError(f"'{name}' cannot handle unexpected argument '{extra}'.", extra)


def _without_reader(row: Keyword[ProxyDraft], cursor: Cursor, shown: str) -> LineError:
    word = cursor.words[min(cursor.at, len(cursor.words)) - 1]
    if row.status is Status.REMOVED:
        return LineError(f"the '{shown}' directive is not supported any more. {row.doc}", word)
    return LineError(not_supported(" ".join(item.text for item in cursor.words[: cursor.at])), word)
