"""What is wrong with a configuration, where, and how it is shown: HAProxy's line, then the word under a caret."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum

from pasvport.config.syntax import Line, Word
from pasvport.digits import is_number
from pasvport.model import Origin

_SHOWN_WIDTH = 80
TAKEN_AS_EMPTY = " and taken as empty"
"""Of a notice about a variable that is not set."""


class Severity(StrEnum):
    """HAProxy's labels."""

    NOTICE = "NOTICE"
    WARNING = "WARNING"
    ALERT = "ALERT"


class Form(StrEnum):
    """How the place is written before the text; HAProxy has several habits."""

    KEYWORD = "config : parsing [{origin}] : {text}"
    LEXER = "config : parsing [{origin}]: {text}"
    OBJECT = "config : [{origin}] : {text}"
    PLAIN = "config : {text}"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One message. `column` and `width` mark the word in `source` (0: the whole line, no caret).

    An alert that is not `fatal` complains but does not refuse the configuration (`'maxconn' already specified`).
    """

    severity: Severity
    text: str
    form: Form = Form.KEYWORD
    origin: Origin | None = None
    source: str = ""
    column: int = 0
    width: int = 0
    suggestion: str = ""
    fatal: bool = True


@dataclass(slots=True)
class Diagnostics:
    """Everything found so far, in order. `aborted` after an error that ends the reading of all files at once."""

    found: list[Diagnostic] = field(default_factory=list)
    aborted: bool = False

    def record(self, diagnostic: Diagnostic) -> None:
        """Record a message that was put together elsewhere."""
        self.found.append(diagnostic)

    def add(
        self,
        severity: Severity,
        line: Line | None,
        text: str,
        *,
        word: Word | None = None,
        suggestion: str = "",
        form: Form = Form.KEYWORD,
        fatal: bool = True,
    ) -> None:
        """Record a message about `line`, pointing at `word` (None: at no word in particular)."""
        self.found.append(
            Diagnostic(
                severity,
                text,
                form if line is not None else Form.PLAIN,
                line.origin if line is not None else None,
                line.source if line is not None else "",
                word.column if word is not None else 0,
                word.width if word is not None else 0,
                suggestion,
                fatal,
            )
        )

    def alert(self, line: Line | None, text: str, *, word: Word | None = None, suggestion: str = "") -> None:
        """An error: the configuration will be refused, after everything else was looked at."""
        self.add(Severity.ALERT, line, text, word=word, suggestion=suggestion)

    def warn(self, line: Line | None, text: str, *, word: Word | None = None, suggestion: str = "") -> None:
        """A warning: the configuration is accepted."""
        self.add(Severity.WARNING, line, text, word=word, suggestion=suggestion)

    def notice(self, line: Line | None, text: str) -> None:
        """Something to know: not even a warning."""
        self.add(Severity.NOTICE, line, text)

    def name_unset(self, line: Line, since: int) -> None:
        """Name the variables of `line` that are not set: in what was complained of it since index `since`, or alone.

        HAProxy takes such a variable for an empty word, which is seldom meant, and never in a password. It says
        nothing, so this is no warning: `zero-warning` refuses what it refuses there.
        """
        names = " and ".join(f"'{each}'" for each in dict.fromkeys(word.text for word in line.unset))
        why = f"variable{'s' if ' and ' in names else ''} {names} {'are' if ' and ' in names else 'is'} not set"
        is_told = False
        for index, entry in enumerate(self.found[since:], since):
            if entry.severity is Severity.ALERT and entry.origin == line.origin:
                self.found[index] = replace(entry, text=f"{entry.text.removesuffix('.')} ({why} in the environment).")
                is_told = True
        if not is_told:
            first = line.unset[0]
            text = f"{why} in the environment{TAKEN_AS_EMPTY}; '${{{first}-}}' would say that this is meant."
            self.add(Severity.NOTICE, line, text, word=first)

    @property
    def has_alerts(self) -> bool:
        """Whether anything found so far refuses the configuration."""
        return any(entry.severity is Severity.ALERT and entry.fatal for entry in self.found)

    @property
    def has_warnings(self) -> bool:
        return any(entry.severity is Severity.WARNING for entry in self.found)

    def summarise_file(self, file: str, since: int) -> None:
        """Say that `file` has errors, when an alert was recorded at index `since` or later."""
        if any(entry.severity is Severity.ALERT and entry.fatal for entry in self.found[since:]):
            self.add(Severity.ALERT, None, f"Error(s) found in configuration file : {file}")

    def summarise(self) -> None:
        """Say that the whole configuration is refused, when it is; not after an abort, as HAProxy stops before that."""
        if self.has_alerts and not self.aborted:
            self.add(Severity.ALERT, None, "Fatal errors found in configuration.")


# --- suggestions --------------------------------------------------------------------------------------------------


def _transitions(word: str) -> Counter[tuple[str, str]]:
    """How often each kind of character follows another: letters without case, all digits alike, all others alike."""
    kinds = ["9" if is_number(c) else c if c.isalpha() else "-" for c in word.lower()]
    return Counter(zip(["^", *kinds], [*kinds, "$"], strict=True))


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word with the most character transitions in common, None when all are too far away.

    The limits are those by which HAProxy says `did you mean`: a distance of at most twice the shorter word's length.
    Nothing is near to a word without a letter (an address or a number in a keyword's place).
    """
    if not any(map(str.isalpha, word)):
        return None
    wanted = _transitions(word)
    best, best_distance = None, 2 * len(word)
    for candidate in known:
        have = _transitions(candidate)
        distance = (wanted - have).total() + (have - wanted).total()
        if distance <= 2 * len(candidate) and (
            distance < best_distance or (best is None and distance == best_distance)
        ):
            best, best_distance = candidate, distance
    return best


# --- showing ------------------------------------------------------------------------------------------------------


def excerpt(text: str, position: int, width: int = _SHOWN_WIDTH) -> tuple[str, int]:
    """`text` cut to about `width` printable characters round `position`, and where that position then stands."""
    shift = 0 if position < width else position - width // 2
    shown = "".join(character if character.isprintable() else "?" for character in text[shift:])
    if shift:
        shown = "..." + shown[3:]
    if len(shown) > width and shift:
        shown = shown[: width - 3] + "..."
    return shown[:width], position - shift


def _pointer(entry: Diagnostic) -> Iterator[str]:
    """The source line, and below it a caret under the first character of the word and tildes under the others."""
    source = entry.source.replace("\t", " ")
    text = source.lstrip()
    shown, place = excerpt(text, entry.column - 1 - (len(source) - len(text)))
    width = max(1, min(entry.width, len(shown) - place))
    # HAProxy names no place in what it finds after reading; the word is shown, so its place can be too.
    where = f"{entry.origin}: " if entry.form is Form.PLAIN and entry.origin is not None else ""
    yield f"  {where}{shown}"
    yield f"  {' ' * (len(where) + place)}^{'~' * (width - 1)}"


def _label(severity: Severity, pid: int) -> str:
    return f"[{severity}]".ljust(10) + f" ({pid}) : "


def message(entry: Diagnostic) -> str:
    """What was found, in one line without label."""
    text = entry.text
    if entry.suggestion:
        text = f"{text.removesuffix('.')}; did you mean '{entry.suggestion}' maybe ?"
    return entry.form.format(origin=entry.origin, text=text)


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who speaks: the process and its program, for the label of each message and the preamble before the first."""

    pid: int
    program: str
    version: str
    executable: str


def render(diagnostics: Diagnostics, speaker: Speaker) -> str:
    """All messages as HAProxy writes them to stderr, "" when there are none.

    Two NOTICE lines that name the program come before the first warning or alert. A message that blames a word shows
    its line with the word under a caret.
    """
    lines: list[str] = []
    introduced = False
    for entry in diagnostics.found:
        if not introduced and entry.severity is not Severity.NOTICE:
            lines += preamble(speaker)
            introduced = True
        lines.append(_label(entry.severity, speaker.pid) + message(entry))
        if entry.column:
            lines += _pointer(entry)
    return "".join(f"{line}\n" for line in lines)


def preamble(speaker: Speaker) -> list[str]:
    """The two lines that go before a program's first complaint."""
    label = _label(Severity.NOTICE, speaker.pid)
    return [
        f"{label}{speaker.program} version is {speaker.version}",
        f"{label}path to executable is {speaker.executable}",
    ]
