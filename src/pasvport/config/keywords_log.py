"""`log` lines. Source: HAProxy configuration manual, sections 3.1 and 4.2 (`log`), RFC 5424 section 6.2.1 (levels)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pasvport.config.addresses import log_address
from pasvport.config.cursor import Cursor, LineError, Prefix
from pasvport.config.diagnostics import nearest
from pasvport.config.draft import LogLine
from pasvport.config.keywords import Keyword, Status, Table, words
from pasvport.config.syntax import Word
from pasvport.digits import is_number, whole_number
from pasvport.errors import ConfigError
from pasvport.model import LogFormat, LogTarget, LogTransport

FACILITIES = words(
    "kern user mail daemon auth syslog lpr news uucp cron auth2 ftp ntp audit alert cron2 "
    "local0 local1 local2 local3 local4 local5 local6 local7"
)
LEVELS = words("emerg alert crit err warning notice info debug")
_DESCRIPTORS = {"stdout": 1, "stderr": 2}
_SHORTEST, _LONGEST = 80, 65535
_USUAL, _USUAL_OBJECT = 1024, 8192


@dataclass(slots=True)
class _Options:
    length: int | None = None
    format: LogFormat | None = None
    ranges: tuple[tuple[int, int], ...] = ()
    size: int = 0


def read_log(cursor: Cursor, logs: list[LogLine], *, in_global: bool) -> None:
    """`no log`, `log global` or `log ADDRESS ...`, added to `logs`. Raises LineError with HAProxy's `log : ...`."""
    cursor.about = "log : "
    if cursor.prefix is Prefix.NO:
        if cursor.more:
            raise LineError("'no log' does not expect arguments", cursor.next)
        logs.clear()
        return
    complaint = f"expects <address> and <facility> {'' if in_global else 'or global'} as arguments"
    address = cursor.argument(complaint)
    if address.text == "global":
        logs.append(_as_global(cursor, address, in_global))
        return
    target = _target(cursor, address)
    options = _Options()
    _read_options(cursor, options)
    facility = cursor.argument(complaint)
    target = replace(
        target,
        length=options.length or (_USUAL_OBJECT if options.format is LogFormat.JSON else _USUAL),
        format=options.format or LogFormat.LOCAL,
        facility=_choice(facility, FACILITIES, "unknown log facility"),
        level=_level(cursor, "unknown optional log level", 7),
        minimum_level=_level(cursor, "unknown optional minimum log level", 0),
        sample_ranges=options.ranges,
        sample_size=options.size,
    )
    if cursor.more:
        raise LineError(f"cannot handle unexpected argument '{cursor.next}'", cursor.next)
    logs.append(LogLine(target, options.format is not None))


def _as_global(cursor: Cursor, word: Word, in_global: bool) -> LogLine:
    if in_global:
        raise LineError("'global' is not supported for a global syslog server", word)
    if cursor.more:
        raise LineError(f"cannot handle unexpected argument '{cursor.next}'", cursor.next)
    return LogLine(None)


def _target(cursor: Cursor, word: Word) -> LogTarget:
    if word.text in _DESCRIPTORS:
        return LogTarget(cursor.origin, LogTransport.DESCRIPTOR, None, _DESCRIPTORS[word.text])
    if word.text.startswith(("ring@", "backend@")):
        raise LineError(f"log target '{word}' is not supported yet.", word)
    try:
        transport, endpoint, descriptor = log_address(word.text)
    except ConfigError as error:
        raise LineError(str(error), word) from None
    return LogTarget(cursor.origin, transport, endpoint, descriptor)


def _read_options(cursor: Cursor, options: _Options) -> None:
    while cursor.more and (row := LOG_OPTIONS.find(cursor.words[cursor.at].text)) is not None:
        name = cursor.take()
        value = cursor.argument(f"'{name}' expects an argument")
        assert row.read is not None  # every row of this table has a reader
        row.read(Cursor(cursor.line, (name, value), cursor.diagnostics, cursor.world), options)


def _length(cursor: Cursor, options: _Options) -> None:
    word = cursor.take()
    options.length = whole_number(word.text, _LONGEST) or 0
    if not _SHORTEST <= options.length <= _LONGEST:
        raise LineError(f"invalid log length '{word}', must be between {_SHORTEST} and {_LONGEST}", word)


def _format(cursor: Cursor, options: _Options) -> None:
    word = cursor.take()
    options.format = list(LogFormat)[_choice(word, [item.value for item in LogFormat], "unknown log format")]


def _sample(cursor: Cursor, options: _Options) -> None:
    word = cursor.take()
    ranges, colon, size = word.text.rpartition(":")
    if not colon:
        raise LineError("Missing sample size", word)
    if not is_number(size) or int(size) == 0:
        raise LineError(f"wrong sample size '{size}'", word)
    options.ranges = tuple(_sample_range(text, word) for text in ranges.split(","))
    options.size = int(size)
    highest = max(high for _, high in options.ranges)
    if options.size < highest:
        text = f"sample size {size} should be greater or equal to {highest} the maximum of the high ranges limits"
        raise LineError(text, word)


def _sample_range(text: str, word: Word) -> tuple[int, int]:
    low, dash, high = text.partition("-")
    high = high if dash else low
    if not (is_number(low) and is_number(high)) or not 0 < int(low) <= int(high):
        raise LineError(f"wrong sample range '{text}'", word)
    return int(low), int(high)


def _choice(word: Word, choices: Sequence[str], complaint: str) -> int:
    if word.text not in choices:
        raise LineError(f"{complaint} '{word}'", word, nearest(word.text, choices) or "")
    return choices.index(word.text)


def _level(cursor: Cursor, complaint: str, default: int) -> int:
    return _choice(cursor.take(), LEVELS, complaint) if cursor.more else default


def _row(name: str, syntax: str, doc: str, read: Callable[[Cursor, _Options], None], default: str) -> Keyword[_Options]:
    return Keyword(name, syntax, doc, read, priority="P1", default=default, status=Status.SUPPORTED)


LOG_OPTIONS: Table[_Options] = Table(
    (
        _row("len", "<bytes>", "Longest message; longer ones are cut.", _length, "1024, 8192 with `format json`"),
        _row(
            "format",
            "|".join(LogFormat),
            "Framing of the message; `json` is ours.",
            _format,
            "local, rfc3164 with a host name",
        ),
        _row("sample", "<ranges>:<size>", "Send only these of every `size` messages.", _sample, "all"),
    )
)
