"""Arguments that many keywords share, read with HAProxy's leniency, and its words when they are wrong."""

from __future__ import annotations

from pasvport.config.cursor import Cursor, LineError
from pasvport.config.scalars import (
    ScalarError,
    lenient_int,
    parse_size,
    parse_time,
    strict_int,
    time_error,
    time_remainder_warning,
)
from pasvport.config.syntax import Word


def integer(cursor: Cursor, word: Word) -> int:
    """An integer as C's atol() reads it. HAProxy takes `3x` for 3 and `x` for 0 in silence; here a warning tells."""
    value = lenient_int(word.text)
    if strict_int(word.text) is None:
        cursor.warn(f"'{word}' is not an integer, it is read as {value}.", word)
    return value


def number(word: Word, complaint: str = "") -> int:
    """A whole number, 0 or more. Raises LineError with `complaint` in front."""
    bad = next((character for character in word.text if character not in "0123456789"), "")
    if bad:
        raise LineError(f"{complaint}unexpected character '{bad}' in integer value '{word}'", word)
    return lenient_int(word.text)


def count(cursor: Cursor) -> int:
    """The number, 0 or more, behind the option that was just taken. Raises LineError."""
    option = cursor.words[cursor.at - 1]
    word = cursor.argument(f"'{option}' : missing value")
    value = integer(cursor, word)
    if value < 0:
        raise LineError(f"'{option}' : invalid value {value}, must be >= 0", word)
    return value


def duration(cursor: Cursor, word: Word, keyword: str, *, unit: str = "ms") -> int:
    """Milliseconds. Raises LineError; warns of anything behind the unit, as HAProxy 2.6 does."""
    try:
        value = parse_time(word.text, unit=unit)
    except ScalarError as error:
        raise LineError(time_error(error, keyword), word) from None
    remainder = time_remainder_warning(word.text)
    if remainder:
        cursor.warn(remainder, word)
    return value


def seconds(cursor: Cursor, word: Word, keyword: str) -> int:
    """Seconds, a fraction rounded up. Raises LineError."""
    return -(-duration(cursor, word, keyword, unit="s") // 1000)


def size(word: Word, keyword: str) -> int:
    """Bytes or entries. Raises LineError."""
    try:
        return parse_size(word.text)
    except ScalarError as error:
        raise LineError(f"unexpected character '{error.character}' in argument of '{keyword}'.", word) from None
