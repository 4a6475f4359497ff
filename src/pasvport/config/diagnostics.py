"""What is wrong with a configuration, where, and how it is shown: HAProxy's line, then the word under a caret."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from pasvport.config.syntax import Line, Word
from pasvport.model import Origin


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
    """One message. `column` and `width` mark the word in `source` (0: the whole line, no caret)."""

    severity: Severity
    text: str
    form: Form = Form.KEYWORD
    origin: Origin | None = None
    source: str = ""
    column: int = 0
    width: int = 0
    suggestion: str = ""


@dataclass(slots=True)
class Diagnostics:
    """Everything found so far, in order."""

    found: list[Diagnostic] = field(default_factory=list)

    def add(
        self,
        severity: Severity,
        line: Line | None,
        text: str,
        *,
        word: Word | None = None,
        suggestion: str = "",
        form: Form = Form.KEYWORD,
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
            )
        )

    def alert(self, line: Line | None, text: str, *, word: Word | None = None, suggestion: str = "") -> None:
        """An error: the configuration will be refused, after everything else was looked at."""
        self.add(Severity.ALERT, line, text, word=word, suggestion=suggestion)

    def warn(self, line: Line | None, text: str, *, word: Word | None = None, suggestion: str = "") -> None:
        """A warning: the configuration is accepted."""
        self.add(Severity.WARNING, line, text, word=word, suggestion=suggestion)

    @property
    def has_alerts(self) -> bool:
        return any(entry.severity is Severity.ALERT for entry in self.found)

    @property
    def has_warnings(self) -> bool:
        return any(entry.severity is Severity.WARNING for entry in self.found)
