"""Single values of the configuration language: times, sizes, integers.

Sources: HAProxy configuration manual, sections 2.5 (time format) and 2.6 (size format), with
the leniency of HAProxy 2.6 where it has one: integers and ports are read as C's atol() reads them, so `21x` is 21.
"""

from __future__ import annotations

import re
from enum import StrEnum

from pasvport.errors import ConfigError

MAX_TIME = 2**31 - 1
MAX_SIZE = 2**32 - 1


class Mistake(StrEnum):
    """Why a time or size was refused."""

    CHARACTER = "unexpected character"
    OVERFLOW = "overflow"


class ScalarError(ConfigError):
    """A time or size is malformed: at `character` (CHARACTER), or by being too large (OVERFLOW)."""

    def __init__(self, mistake: Mistake, argument: str, character: str = "") -> None:
        super().__init__(f"{mistake.value} in '{argument}'")
        self.mistake = mistake
        self.argument = argument
        self.character = character


_ATOL = re.compile(r"[ \t\n\v\f\r]*([+-]?[0-9]+)")
_TIME = re.compile(r"([0-9]+)(us|ms|s|m|h|d)?")
_SIZE = re.compile(r"([0-9]+)([kKmMgG])?")
_MICROSECONDS = {"us": 1, "ms": 1000, "s": 10**6, "m": 60 * 10**6, "h": 3600 * 10**6, "d": 86400 * 10**6}
_SIZE_SHIFT = {"": 0, "k": 10, "m": 20, "g": 30}


def lenient_int(text: str) -> int:
    """What C's atol() makes of it, clipped to 32 bits: blanks and a sign in front are fine, what follows is ignored."""
    found = _ATOL.match(text)
    if found is None:
        return 0
    return max(-(2**31), min(2**31 - 1, int(found.group(1)[:20])))


def strict_int(text: str) -> int | None:
    """The integer that is the whole of `text` (a sign is fine), None when there is anything else in it."""
    found = _ATOL.fullmatch(text)
    return int(found.group(1)) if found and len(text) <= 20 else None


def parse_time(text: str, *, unit: str = "ms") -> int:
    """Milliseconds of `N[us|ms|s|m|h|d]`, below one rounded up; `unit` is meant where none is written.

    What follows a unit is ignored (`time_remainder` tells, for the warning). Raises ScalarError: CHARACTER when there
    is no number or no such unit, OVERFLOW above MAX_TIME.
    """
    found = _TIME.match(text)
    if found is None:
        raise ScalarError(Mistake.CHARACTER, text, text[:1])
    if found.group(2) is None and found.end() < len(text):
        raise ScalarError(Mistake.CHARACTER, text, text[found.end()])
    if len(found.group(1)) > 20:
        raise ScalarError(Mistake.OVERFLOW, text)
    milliseconds = -(-int(found.group(1)) * _MICROSECONDS[found.group(2) or unit] // 1000)
    if milliseconds > MAX_TIME:
        raise ScalarError(Mistake.OVERFLOW, text)
    return milliseconds


def time_remainder(text: str) -> str:
    """What stands behind the unit of a time that parse_time accepts: HAProxy 2.6 warns about it and goes on."""
    found = _TIME.match(text)
    return text[found.end() :] if found else ""


def time_remainder_warning(text: str) -> str:
    """The warning due for `text`, "" when none is."""
    remainder = time_remainder(text)
    if not remainder:
        return ""
    units = "us=microseconds,ms=milliseconds,s=seconds,m=minutes,h=hours,d=days"
    return (
        f"unexpected character '{remainder[0]}' after the timer value '{text}', only ({units}) are supported. "
        "This will be reported as an error in next versions."
    )


def time_error(error: ScalarError, keyword: str) -> str:
    """HAProxy's words for a bad time given to `keyword`."""
    if error.mistake is Mistake.CHARACTER:
        return f"unexpected character '{error.character}' in '{keyword}'"
    limit = f"maximum value is {MAX_TIME} ms or ~24.8 days"
    return f"timer overflow in argument '{error.argument}' to '{keyword}' ({limit})"


def parse_size(text: str) -> int:
    """Bytes (or entries) of `N[k|m|g]` in either case, powers of 1024. Raises ScalarError, CHARACTER in every case.

    A value above MAX_SIZE is blamed on the character that made it so: the unit, or the first digit too many.
    """
    found = _SIZE.match(text)
    if found is None:
        raise ScalarError(Mistake.CHARACTER, text, text[:1])
    if found.end() < len(text):
        raise ScalarError(Mistake.CHARACTER, text, text[found.end()])
    digits, unit = found.group(1), (found.group(2) or "").lower()
    if len(digits) > 20 or int(digits) > MAX_SIZE:
        raise ScalarError(Mistake.CHARACTER, text, _digit_too_many(digits))
    size = int(digits) << _SIZE_SHIFT[unit]
    if size > MAX_SIZE:
        raise ScalarError(Mistake.CHARACTER, text, found.group(2))
    return size


def _digit_too_many(digits: str) -> str:
    length = next(n for n in range(1, len(digits) + 1) if int(digits[:n]) > MAX_SIZE)
    return digits[length - 1]
