"""Conditions: what `.if`, `.elif` and the command line's `-cc` decide.

Source: HAProxy configuration manual, section 2.4 (conditional blocks), as 2.6 has it. `strstr`, `enabled` and the other
predicates that came later are errors, as they are for 2.6.

    expression  = conjunction [ "||" expression ]
    conjunction = term [ "&&" conjunction ]
    term        = { "!" } ( integer | "(" expression ")" | predicate "(" [ argument { "," argument } ] ")" )

pasvport speaks the language of HAProxy 2.6 and gives that as its version to `version_atleast` and `version_before`
(`Build.version`), because a configuration asks the version in order to know which keywords it may use.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pasvport.config.lexer import Flaw, LexError, TooManyWordsError, split
from pasvport.errors import ConfigError

LANGUAGE_VERSION = "2.6.12"
_MAX_PARENTHESES = 64


@dataclass(frozen=True, slots=True)
class Build:
    """What conditions may ask about the program. `openssl_version` is `X.Y.Z[letter]`.

    `features` are HAProxy's USE_* names without the prefix, of what this program and machine can do.
    """

    version: str = LANGUAGE_VERSION
    features: frozenset[str] = frozenset()
    openssl_version: str = "0.0.0"
    ssl_library: str = ""


class ConditionError(ConfigError):
    """A condition does not parse; `position` is the 0-based place of what is wrong."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.position = position


# --- versions -----------------------------------------------------------------------------------------------------

_VERSION = re.compile(r"([0-9]+)?(?:\.([0-9]+))?(?:\.([0-9]+))?(?:-dev([0-9]*))?(?:[-.]([0-9]+))?")
_OPENSSL_VERSION = re.compile(r"([0-9]+)\.([0-9]+)\.([0-9]+)([a-z])?(?:-[a-z]+[0-9]*)?")


def _version_key(text: str) -> tuple[int, ...]:
    """Comparable form of `X.Y[.Z][-devN][-N]`: a development version comes before every release of its branch."""
    found = _VERSION.match(text)
    assert found is not None  # the pattern matches the empty string
    major, minor, patch, development, build = found.groups()
    stage = int(development or 0) - 1_000_000 if development is not None else 0
    return int(major or 0), int(minor or 0), stage, int(patch or 0), int(build or 0)


def _openssl_key(text: str) -> tuple[int, int, int, str]:
    """Comparable form of OpenSSL's version. Raises ValueError."""
    found = _OPENSSL_VERSION.fullmatch(text)
    if found is None:
        raise ValueError(f"unparsable version '{text}'")
    major, minor, fix, letter = found.groups()
    return int(major), int(minor), int(fix), letter or ""


# --- predicates ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a predicate may look at."""

    build: Build
    environment: Mapping[str, str]


_Verdict = Callable[[_Asked, list[str]], bool]


@dataclass(frozen=True, slots=True)
class Predicate:
    """One function of conditions: how many arguments it takes, what it tells, how it decides."""

    arguments: int
    summary: str
    verdict: _Verdict


PREDICATES: dict[str, Predicate] = {
    "defined": Predicate(
        1, "an environment variable of that name exists, even an empty one", lambda asked, a: a[0] in asked.environment
    ),
    "feature": Predicate(1, "the program has this feature", lambda asked, a: a[0] in asked.build.features),
    "streq": Predicate(2, "both strings are equal", lambda _, a: a[0] == a[1]),
    "strneq": Predicate(2, "the strings differ", lambda _, a: a[0] != a[1]),
    "version_atleast": Predicate(
        1,
        "the language is at least that of this HAProxy version",
        lambda asked, a: _version_key(asked.build.version) >= _version_key(a[0]),
    ),
    "version_before": Predicate(
        1,
        "the language is older than that of this HAProxy version",
        lambda asked, a: _version_key(asked.build.version) < _version_key(a[0]),
    ),
    "openssl_version_atleast": Predicate(
        1,
        "the OpenSSL in use is at least this version",
        lambda asked, a: _openssl_key(asked.build.openssl_version) >= _openssl_key(a[0]),
    ),
    "openssl_version_before": Predicate(
        1,
        "the OpenSSL in use is older than this version",
        lambda asked, a: _openssl_key(asked.build.openssl_version) < _openssl_key(a[0]),
    ),
    "ssllib_name_startswith": Predicate(
        1, "the TLS library's name begins so", lambda asked, a: asked.build.ssl_library.startswith(a[0])
    ),
}

# --- expressions --------------------------------------------------------------------------------------------------

_BLANKS = re.compile(r"[ \t]*")
_BANGS = re.compile(r"(?:![ \t]*)*")
_INTEGER = re.compile(r"[ \t\n\v\f\r]*[+-]?(?:0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)")
_NAME = re.compile(r"[^ (]*")


def _integer(text: str) -> int:
    """C's strtol with base 0: 0x for hexadecimal, a leading 0 for octal."""
    digits = text.strip().lstrip("+-")
    base = 16 if digits[:2].lower() == "0x" else 8 if digits.startswith("0") else 10
    return int(digits, base)


class _Evaluator:
    """Recursive descent over one condition. Everything is parsed, but only what decides is asked."""

    def __init__(self, text: str, asked: _Asked) -> None:
        self._text = text
        self._asked = asked
        self._at = 0

    def evaluate(self) -> bool:
        result = self._expression(0)
        self._skip_blanks()
        rest = self._text[self._at :]
        if rest:
            message = f"unexpected character '{rest[0]}' at the end of conditional expression '{self._text}'"
            raise ConditionError(message, self._at)
        return result()

    def _skip_blanks(self) -> None:
        self._at += len(_BLANKS.match(self._text, self._at).group())  # type: ignore[union-attr]

    def _unparsable(self, start: int) -> ConditionError:
        return ConditionError(f"unparsable conditional expression '{self._text[start:]}'", start)

    def _expression(self, depth: int) -> Callable[[], bool]:
        return self._chain("||", depth)

    def _chain(self, operator: str, depth: int) -> Callable[[], bool]:
        """Operands joined by `operator`: `||` joins chains of `&&`, those join terms.

        Where an operand is missing at the end, HAProxy blames the first `&&`, or for `||` the whole expression.
        """
        operands: list[Callable[[], bool]] = []
        blamed = self._at if operator == "||" else None
        while True:
            operands.append(self._chain("&&", depth) if operator == "||" else self._term(depth))
            self._skip_blanks()
            if not self._text.startswith(operator, self._at):
                break
            blamed = self._at if blamed is None else blamed
            self._at += 2
            self._skip_blanks()
            if self._at >= len(self._text):
                raise self._unparsable(blamed)
        return (lambda: any(o() for o in operands)) if operator == "||" else (lambda: all(o() for o in operands))

    def _term(self, depth: int) -> Callable[[], bool]:
        self._skip_blanks()
        start = self._at
        if depth > _MAX_PARENTHESES:
            raise self._unparsable(start)
        bangs = _BANGS.match(self._text, self._at)
        assert bangs is not None  # the pattern matches the empty string
        self._at = bangs.end()
        plain = self._plain_term(start, depth)
        return (lambda: not plain()) if bangs.group().count("!") % 2 else plain

    def _plain_term(self, start: int, depth: int) -> Callable[[], bool]:
        number = _INTEGER.match(self._text, self._at)
        if number:
            self._at = number.end()
            value = _integer(number.group()) != 0
            return lambda: value
        if self._text.startswith("(", self._at):
            return self._parenthesis(start, depth)
        name = _NAME.match(self._text, self._at)
        predicate = PREDICATES.get(name.group()) if name else None
        if name is None or predicate is None:
            raise self._unparsable(start)
        self._at = name.end()
        return self._predicate(name.group(), predicate)

    def _parenthesis(self, start: int, depth: int) -> Callable[[], bool]:
        self._at += 1
        self._skip_blanks()
        if self._at >= len(self._text):
            raise self._unparsable(start)
        inner = self._expression(depth + 1)
        self._skip_blanks()
        if not self._text.startswith(")", self._at):
            raise ConditionError(f"expected ')' after conditional expression '{self._text[start:]}'", start)
        self._at += 1
        self._skip_blanks()
        return inner

    def _predicate(self, name: str, predicate: Predicate) -> Callable[[], bool]:
        where = f"in argument 1 of predicate '{name}' used in conditional expression"
        start = self._at
        arguments = self._arguments(predicate.arguments, where)
        if len(arguments) < predicate.arguments:
            counts = f"got {len(arguments)}/{predicate.arguments}"
            raise ConditionError(f"missing arguments ({counts}), type 'string' expected {where}", start)

        def verdict() -> bool:
            try:
                return predicate.verdict(self._asked, arguments)
            except ValueError as error:
                raise ConditionError(f"{error} {where}", start) from None

        return verdict

    def _arguments(self, wanted: int, where: str) -> list[str]:
        """The words between parentheses, re-read with a second level of quoting; none at all count as one empty one."""
        if not self._text.startswith("(", self._at):
            return [""]
        self._at += 1
        arguments = [self._argument(where)]
        while len(arguments) < wanted and self._text.startswith(",", self._at):
            self._at += 1
            arguments.append(self._argument(where))
        rest = self._text[self._at :]
        if not rest.startswith(")"):
            before = f" before '{rest}'" if rest else ""
            raise ConditionError(f"expected ')'{before} {where}", self._at)
        self._at += 1
        return arguments

    def _argument(self, where: str) -> str:
        text, self._at = unquote_argument(self._text, self._at, where)
        return text


_ARGUMENT_ESCAPES = {" ": " ", "\\": "\\", "n": "\n", "r": "\r", "t": "\t", '"': '"', "'": "'"}
_SINGLE_QUOTED = re.compile(r"'([^']*)'")
_PLAIN_RUN = re.compile(r"[^,)\\\"']+")


def unquote_argument(text: str, at: int, where: str = "in argument") -> tuple[str, int]:
    """One argument of a parenthesis, from `at` to the `,` or `)` that ends it (which is not consumed).

    Quotes and escapes are those of the lexer without `\\#`, `\\$` and `\\xNN` (configuration manual, section 2.2).
    Returns the argument and the place behind it. Raises ConditionError for an unmatched quote.
    """
    pieces: list[str] = []
    double = -1
    while at < len(text) and (double >= 0 or text[at] not in ",)"):
        single = _SINGLE_QUOTED.match(text, at) if double < 0 else None
        run = _PLAIN_RUN.match(text, at)
        if single or run:
            match = single or run
            assert match is not None
            pieces.append(match.group(1) if single else match.group())
            at = match.end()
        elif text[at] == '"':
            double, at = (at if double < 0 else -1), at + 1
        elif text[at] == "'" and double < 0:
            raise ConditionError(f"unmatched quote {where}", at)
        else:
            piece, at = _escaped(text, at)
            pieces.append(piece)
    if double >= 0:
        raise ConditionError(f"unmatched quote {where}", double)
    return "".join(pieces), at


def _escaped(text: str, at: int) -> tuple[str, int]:
    following = text[at + 1 : at + 2]
    if text[at] == "\\" and following in _ARGUMENT_ESCAPES:
        return _ARGUMENT_ESCAPES[following], at + 2
    return text[at], at + 1


def evaluate(condition: str, environment: Mapping[str, str], build: Build) -> bool:
    """Whether `condition`, with its outer quotes already taken off, holds; an empty one does not.

    Raises ConditionError.
    """
    if not condition:
        return False
    return _Evaluator(condition, _Asked(build, environment)).evaluate()


_COMMAND_LINE_FLAWS = {
    Flaw.QUOTE: "Syntax Error in condition: Unmatched quote.",
    Flaw.HEX: "Syntax Error in condition: Truncated or invalid hexadecimal sequence.",
}


def evaluate_argument(argument: str, environment: Mapping[str, str], build: Build) -> bool:
    """The condition of `-cc`: lexed like a line, but without comments, then evaluated.

    Raises ConfigError with the text HAProxy shows after `config : `.
    """

    def variable(name: str) -> str | None:
        return {".FILE": None, ".LINE": "0", ".SECTION": None}[name] if name.startswith(".") else environment.get(name)

    try:
        words = split(argument, variable, comments=False)
    except LexError as error:
        raise ConfigError(_COMMAND_LINE_FLAWS.get(error.flaw, f"Syntax Error in condition: {error.flaw}.")) from None
    except TooManyWordsError:
        raise ConfigError("Error in condition: Too many words.") from None
    try:
        return evaluate(" ".join(word.text for word in words), environment, build)
    except ConditionError as error:
        raise ConfigError(f"Failed to evaluate condition: {error}") from None
