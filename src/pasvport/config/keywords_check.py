"""`tcp-check` steps and `external-check`. Source: HAProxy configuration manual, section 4.2."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from pasvport.config.addresses import plain_address
from pasvport.config.arguments import integer
from pasvport.config.cursor import Cursor, LineError
from pasvport.config.draft import ProxyDraft
from pasvport.config.keywords import Keyword, Table, later
from pasvport.config.scalars import (
    lenient_int,
    strict_int,
)
from pasvport.config.syntax import Word
from pasvport.errors import AddressError, ConfigError
from pasvport.model import CheckStep, ExpectMatch, StepKind
from pasvport.regex import Regex

StepReader = Callable[[Cursor, list[CheckStep]], None]
_KINDS = "'comment', 'connect', 'send', 'send-binary', 'expect', 'set-var-fmt(*)', 'set-var(*)', 'unset-var(*)'"


# --- external-check -----------------------------------------------------------------------------------------------


def read_external_check(cursor: Cursor, draft: ProxyDraft) -> None:
    """`external-check command|path TEXT`. Raises LineError."""
    word = cursor.argument("missing argument after 'external-check'.")
    if word.text not in ("command", "path"):
        raise LineError(f"'external-check' only supports 'command' and 'path'. but got '{word}'.", word)
    value = cursor.argument(f"missing argument after '{word}'.")
    cursor.finish(f"external-check {word}")
    setattr(draft, f"check_{word}", value.text)


# --- tcp-check ----------------------------------------------------------------------------------------------------


def read_tcp_check(cursor: Cursor, draft: ProxyDraft) -> None:
    """One step of a script. Raises LineError."""
    name = cursor.text(1)
    row = STEPS.find(re.sub(r"\(.*", "", name))
    if row is None:
        raise LineError(f"'tcp-check' only supports {_KINDS}. but got '{name}'", cursor.word(1), STEPS.suggestion(name))
    cursor.take()
    cursor.about = f"'tcp-check {name}' : "
    if row.read is None:
        raise LineError("not supported yet.", cursor.words[1])
    if draft.steps_inherited:
        draft.check_steps, draft.steps_inherited = [], False
    row.read(cursor, draft.check_steps)


def _connect(cursor: Cursor, steps: list[CheckStep]) -> None:
    step = CheckStep(cursor.origin, StepKind.CONNECT)
    opened = any(earlier.kind is StepKind.CONNECT for earlier in steps)
    if not opened and any(earlier.kind is not StepKind.COMMENT for earlier in steps):
        raise LineError(
            "first step MUST also be a 'connect', optionally preceded by a 'comment', "
            "when there is a 'connect' step in the tcp-check ruleset.",
            cursor.words[1],
        )
    while cursor.more:
        word = cursor.take()
        row = CONNECT.find(word.text)
        if row is None:
            known = "'comment', 'port', 'addr', 'send-proxy', 'ssl', 'sni', 'alpn' or 'via-socks4', 'linger', 'default'"
            raise LineError(f"expects {known} but got '{word}' as argument.", word, CONNECT.suggestion(word.text))
        if row.read is None:
            raise LineError(f"'{word}' is not supported yet.", word)
        draft = [step]
        row.read(cursor, draft)
        step = draft[0]
    steps.append(step)


def _connect_port(cursor: Cursor, draft: list[CheckStep]) -> None:
    word = cursor.argument("'port' expects a port number or a sample expression as argument.")
    port = strict_int(word.text)
    if port is None:
        raise LineError(f"error detected while parsing port expression : unknown fetch method '{word}'.", word)
    if not 1 <= port <= 65535:
        text = f"expects a valid TCP port (from range 1 to 65535) or a sample expression, got {port}."
        raise LineError(text, word)
    draft[0] = replace(draft[0], port=port)


def _connect_address(cursor: Cursor, draft: list[CheckStep]) -> None:
    word = cursor.argument("'addr' expects <ipv4|ipv6> as argument.")
    try:
        endpoint = plain_address(word.text, cursor.environment)
    except AddressError as error:
        raise LineError(f"'addr' : {error}", word) from None
    draft[0] = replace(draft[0], address=endpoint, port=draft[0].port or endpoint.port)


def _connect_linger(_cursor: Cursor, draft: list[CheckStep]) -> None:
    draft[0] = replace(draft[0], linger=True)


def _connect_default(_cursor: Cursor, _draft: list[CheckStep]) -> None:
    """The server's own way of connecting: what a plain connect step does anyway."""


def _step_comment(cursor: Cursor, draft: list[CheckStep]) -> None:
    word = cursor.argument("'comment' expects a string as argument.")
    draft[0] = replace(draft[0], comment=word.text)


def _send(cursor: Cursor, steps: list[CheckStep]) -> None:
    word = cursor.argument("'string' expects a send as argument.")
    _append(cursor, steps, CheckStep(cursor.origin, StepKind.SEND, data=encoded(word.text)))


def _send_binary(cursor: Cursor, steps: list[CheckStep]) -> None:
    word = cursor.argument("'binary string' expects a send-binary as argument.")
    _append(cursor, steps, CheckStep(cursor.origin, StepKind.SEND, data=_hexadecimal(word, f"'{word}' ")))


def _append(cursor: Cursor, steps: list[CheckStep], step: CheckStep) -> None:
    draft = [step]
    while cursor.more:
        word = cursor.take()
        if word.text != "comment":
            raise LineError(f"expects 'comment' but got '{word}' as argument.", word)
        _step_comment(cursor, draft)
    steps.append(draft[0])


def encoded(text: str) -> bytes:
    """The bytes of a configuration word: UTF-8, and the single bytes that `\\xNN` made."""
    return text.encode("utf-8", "surrogateescape")


def _hexadecimal(word: Word, shown: str = "") -> bytes:
    bad = re.search(r"[^0-9A-Fa-f]", word.text)
    if bad:
        raise LineError(f"{shown}invalid binary string (an hex digit is expected (found '{bad.group()}')).", word)
    if len(word.text) % 2:
        raise LineError(f"{shown}invalid binary string (an even number of hex digit is expected).", word)
    return bytes.fromhex(word.text)


def _comment(cursor: Cursor, steps: list[CheckStep]) -> None:
    word = cursor.argument("expects a string as argument.")
    steps.append(CheckStep(cursor.origin, StepKind.COMMENT, comment=word.text))


# --- tcp-check expect ---------------------------------------------------------------------------------------------

_PATTERNS = (
    "only supports min-recv, '[!]binary', '[!]string', '[!]rstring', '[!]string-lf', '[!]rbinary', '[!]binary-lf' "
    "or comment"
)


def _expect(cursor: Cursor, steps: list[CheckStep]) -> None:
    if not cursor.more:
        raise LineError("expects at least a matching pattern as arguments.", cursor.words[-1])
    draft = [CheckStep(cursor.origin, StepKind.EXPECT)]
    matched = False
    while cursor.more:
        word, negations = _negations(cursor)
        row = EXPECT.find(word.text)
        if row is None:
            raise LineError(f"'{_PATTERNS} but got '{word}' as argument.", word, EXPECT.suggestion(word.text))
        pattern = row.name in _MATCHERS
        if negations and not pattern:
            raise LineError(f"[!] not supported with '{word}'.", word)
        if matched and pattern:
            raise LineError("only one pattern is expected.", word)
        if row.read is None:
            raise LineError(f"'{word}' is not supported yet.", word)
        draft[0] = replace(draft[0], negated=draft[0].negated ^ bool(negations % 2))
        row.read(cursor, draft)
        matched |= pattern
    if not matched:
        raise LineError("expects at least a matching pattern as arguments.", cursor.words[-1])
    steps.append(draft[0])


def _negations(cursor: Cursor) -> tuple[Word, int]:
    """The next word without the `!` before it, glued or not, and how many there were: two are none."""
    count = 0
    while cursor.more:
        word = cursor.take()
        rest = word.text.lstrip("!")
        count += len(word.text) - len(rest)
        if rest or not word.text:
            return replace(word, text=rest), count
    raise LineError(f"'{_PATTERNS} but got '' as argument.", cursor.words[-1])


def _string(cursor: Cursor, draft: list[CheckStep]) -> None:
    draft[0] = replace(draft[0], match=ExpectMatch.STRING, data=encoded(_pattern(cursor).text))


def _binary(cursor: Cursor, draft: list[CheckStep]) -> None:
    draft[0] = replace(draft[0], match=ExpectMatch.BINARY, data=_hexadecimal(_pattern(cursor)))


def _rstring(cursor: Cursor, draft: list[CheckStep]) -> None:
    word = _pattern(cursor)
    draft[0] = replace(draft[0], match=ExpectMatch.RSTRING, data=_regular(word))


def _rbinary(cursor: Cursor, draft: list[CheckStep]) -> None:
    word = _pattern(cursor)
    draft[0] = replace(draft[0], match=ExpectMatch.RBINARY, data=_regular(word))


def _pattern(cursor: Cursor) -> Word:
    name = cursor.words[cursor.at - 1].text.lstrip("!")
    return cursor.argument(f"'{name}' expects a <pattern> as argument.")


def _regular(word: Word) -> bytes:
    data = encoded(word.text)
    try:
        Regex(data)
    except ConfigError as error:
        raise LineError(f"regex '{word}' is invalid ({error}).", word) from None
    return data


_MATCHERS = ("string", "rstring", "binary", "rbinary", "string-lf", "binary-lf")


def _min_recv(cursor: Cursor, draft: list[CheckStep]) -> None:
    complaint = "'min-recv' expects -1 or an integer from 0 to INT_MAX"
    word = cursor.argument(complaint)
    if lenient_int(word.text) < -1:
        raise LineError(f"{complaint}.", word)
    draft[0] = replace(draft[0], min_recv=integer(cursor, word))


def _status(choices: tuple[str, ...], put: Callable[[CheckStep, str], CheckStep]) -> StepReader:
    def read(cursor: Cursor, draft: list[CheckStep]) -> None:
        name = cursor.words[cursor.at - 1]
        word = cursor.argument(f"'{name}' expects a string as argument.")
        if word.text not in choices:
            known = ", ".join(f"'{choice}'" for choice in choices[:-1]) + f" or '{choices[-1]}'"
            raise LineError(f"'{name}' only supports {known} status (got '{word}').", word)
        draft[0] = put(draft[0], word.text)

    return read


def _message(put: Callable[[CheckStep, str], CheckStep]) -> StepReader:
    def read(cursor: Cursor, draft: list[CheckStep]) -> None:
        name = cursor.words[cursor.at - 1]
        word = cursor.argument(f"'{name}' expects a log-format string as argument.")
        if "%" in word.text.replace("%%", ""):
            raise LineError(f"'{name}' : log-format variables are not supported yet.", word)
        draft[0] = put(draft[0], word.text.replace("%%", "%"))

    return read


def _step(name: str, syntax: str, doc: str, read: StepReader, priority: str = "P1") -> Keyword[list[CheckStep]]:
    return Keyword(name, syntax, doc, read, priority=priority)


EXPECT: Table[list[CheckStep]] = Table(
    (
        _step("string", "<text>", "The answer contains this.", _string, "P0"),
        _step("rstring", "<regex>", "The answer matches this regular expression.", _rstring, "P0"),
        _step("binary", "<hex>", "As `string`, in hexadecimal.", _binary),
        _step("rbinary", "<regex>", "The answer, in hexadecimal, matches this regular expression.", _rbinary),
        _step("min-recv", "<bytes>", "Decide only once this much has come; -1: any.", _min_recv),
        _step("comment", "<text>", "Shown in the check's error.", _step_comment),
        _step(
            "ok-status",
            "L7OK|L7OKC|L6OK|L4OK",
            "Status of a match.",
            _status(("L4OK", "L6OK", "L7OK", "L7OKC"), lambda step, text: replace(step, ok_status=text)),
        ),
        _step(
            "error-status",
            "L7RSP|L7STS|L6RSP|L4CON",
            "Status of a mismatch.",
            _status(("L4CON", "L6RSP", "L7RSP", "L7STS"), lambda step, text: replace(step, error_status=text)),
        ),
        _step(
            "tout-status",
            "L7TOUT|L6TOUT|L4TOUT",
            "Status of a timeout.",
            _status(("L4TOUT", "L6TOUT", "L7TOUT"), lambda step, text: replace(step, timeout_status=text)),
        ),
        _step(
            "on-success", "<text>", "Message of a match.", _message(lambda step, text: replace(step, on_success=text))
        ),
        _step(
            "on-error", "<text>", "Message of a mismatch.", _message(lambda step, text: replace(step, on_error=text))
        ),
        *later("string-lf binary-lf status-code", "Needs log-format in checks.", priority="P1"),
    )
)

CONNECT: Table[list[CheckStep]] = Table(
    (
        _step("port", "<port>", "Port to connect to instead.", _connect_port, "P0"),
        _step("addr", "<address>", "Address to connect to instead.", _connect_address, "P0"),
        _step("linger", "", "Close normally instead of with a reset.", _connect_linger),
        _step("default", "", "The server's own way, as without it.", _connect_default),
        _step("comment", "<text>", "Shown in the check's error.", _step_comment),
        *later("send-proxy ssl sni alpn via-socks4 proto", "Needs TLS or PROXY.", priority="P1"),
    )
)

STEPS: Table[list[CheckStep]] = Table(
    (
        _step(
            "connect",
            "[port <p>] [addr <a>] [linger] [comment <c>]",
            "Open a connection; must be first if used.",
            _connect,
            "P0",
        ),
        _step("send", "<text> [comment <c>]", "Send this.", _send, "P0"),
        _step("send-binary", "<hex> [comment <c>]", "Send these bytes.", _send_binary),
        _step("expect", "[<option>...] [!] <match> <pattern>", "Wait for this answer.", _expect, "P0"),
        _step("comment", "<text>", "Shown in the errors of the next step.", _comment, "P2"),
        *later("send-lf send-binary-lf set-var set-var-fmt unset-var", "Needs variables or log-format.", priority="P1"),
    )
)
