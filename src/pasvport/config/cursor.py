"""One line being understood: its words, a place in them, and the ways to complain about it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

from pasvport.config.diagnostics import Diagnostics, Form, Severity
from pasvport.config.syntax import Line, Word
from pasvport.config.world import World
from pasvport.errors import ConfigError
from pasvport.model import Origin


class Prefix(StrEnum):
    """The word `no` or `default` in front of a keyword that takes it."""

    NONE = ""
    NO = "no"
    DEFAULT = "default"


class LineError(ConfigError):
    """A line is wrong; the rest of it is not looked at. `word` is the culprit (None: no word in particular).

    One that is not `fatal` loses its line only; HAProxy shows it as an alert and starts all the same.
    """

    def __init__(self, text: str, word: Word | None = None, suggestion: str = "", *, fatal: bool = True) -> None:
        super().__init__(text)
        self.fatal = fatal
        self.text = text
        self.word = word
        self.suggestion = suggestion


@dataclass(slots=True)
class Cursor:
    """A line, its words from the keyword on (`no`/`default` removed) and the next word to read.

    `form` and `about` are how HAProxy begins its messages on such a line: the place, then the object in question.
    """

    line: Line
    words: tuple[Word, ...]
    diagnostics: Diagnostics
    world: World
    prefix: Prefix = Prefix.NONE
    at: int = 1
    form: Form = Form.KEYWORD
    about: str = ""
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def origin(self) -> Origin:
        return self.line.origin

    @property
    def keyword(self) -> Word:
        return self.words[0]

    def text(self, index: int) -> str:
        """The text of word `index` from the keyword on, "" when there is none."""
        return self.words[index].text if index < len(self.words) else ""

    def word(self, index: int) -> Word | None:
        """Word `index` from the keyword on, None when there is none."""
        return self.words[index] if index < len(self.words) else None

    @property
    def more(self) -> bool:
        return self.at < len(self.words)

    @property
    def next(self) -> Word | None:
        """The next word, left where it is."""
        return self.word(self.at)

    def take(self) -> Word:
        """Read the next word; only when there is `more`."""
        word = self.words[self.at]
        self.at += 1
        return word

    def argument(self, complaint: str) -> Word:
        """Read the next word. Raises LineError with `complaint` when there is none."""
        if not self.more:
            raise LineError(complaint, self.words[-1])
        return self.take()

    def rest(self) -> tuple[Word, ...]:
        """Read all words that are left."""
        left = self.words[self.at :]
        self.at = len(self.words)
        return left

    def finish(self, keyword: str = "") -> None:
        """Raises LineError when a word is left over."""
        if self.more:
            extra = self.words[self.at]
            name = keyword or self.keyword.text
            raise LineError(f"'{name}' cannot handle unexpected argument '{extra}'.", extra)

    def warn(self, text: str, word: Word | None = None) -> None:
        """Record a warning about this line."""
        self.diagnostics.add(Severity.WARNING, self.line, self.about + text, word=word, form=self.form)

    def hide(self, word: Word) -> None:
        """What is said of this line shows the line, but from now on not this word of it."""
        source, start = self.line.source, word.column - 1
        self.line = replace(self.line, source=source[:start] + "*" * word.width + source[start + word.width :])

    def alert(self, text: str, word: Word | None = None, suggestion: str = "", *, fatal: bool = True) -> None:
        """Record an error of this line and go on reading it."""
        self.diagnostics.add(
            Severity.ALERT,
            self.line,
            self.about + text,
            word=word,
            suggestion=suggestion,
            form=self.form,
            fatal=fatal,
        )

    def complain(self, refused: LineError) -> None:
        """Record why this line was given up."""
        self.alert(refused.text, refused.word, refused.suggestion, fatal=refused.fatal)
