"""Lines to sections. Knows no keyword: the names that begin a section are passed in.

The compiler reads entries one by one, because one may change how the next line is lexed:

    for entry in entries(file, text, names, reading):
        if entry.opens: begin the section of entry.section
        else: obey entry.line; `setenv` and its like edit reading.environment at once

`sections` groups them for those who need no such thing. `no` and `default` before a keyword are left in place.
Source: HAProxy configuration manual, section 2.1 (format): every file must begin with a section of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, MutableMapping
from dataclasses import dataclass, field

from pasvport.config.diagnostics import Diagnostic, Diagnostics, Form, Severity, nearest
from pasvport.config.directives import Build, Directives
from pasvport.config.lexer import Lexer
from pasvport.config.syntax import Line

_BYTE_ORDER_MARK = "\ufeff"


@dataclass(slots=True)
class Reading:
    """What accompanies the reading of all files. `environment` may be edited between two entries.

    `diagnostic_mode` is `-dD`.
    """

    environment: MutableMapping[str, str]
    diagnostics: Diagnostics
    build: Build = field(default_factory=Build)
    diagnostic_mode: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One line in effect and the header of the section it stands in; `opens` when it is that header."""

    section: Line
    line: Line

    @property
    def opens(self) -> bool:
        return self.line is self.section


def entries(file: str, text: str, section_names: Collection[str], reading: Reading) -> Iterator[Entry]:
    """The entries of one file, lazily. What is wrong goes to `reading.diagnostics`; nothing is raised.

    Ends early when `reading.diagnostics.aborted` is or becomes true.
    """
    lexer = Lexer(file, text, reading.environment, reading.diagnostics)
    lines = Directives(
        lexer,
        reading.environment,
        reading.build,
        reading.diagnostics,
        diagnostic_mode=reading.diagnostic_mode,
    )
    header: Line | None = None
    for line in lines:
        if line.keyword in section_names:
            header = line
            lexer.section = line.words[min(1, len(line.words) - 1)].text
        if header is None:
            _out_of_section(line, section_names, reading.diagnostics)
            continue
        yield Entry(header, line)
        if reading.diagnostics.aborted:
            return


def _out_of_section(line: Line, section_names: Collection[str], diagnostics: Diagnostics) -> None:
    word = line.words[0]
    text = f"unknown keyword '{word}' out of section."
    suggestion = nearest(word.text, section_names) or ""
    if word.text.startswith(_BYTE_ORDER_MARK):
        # It cannot be seen, here as little as in an editor.
        text = "the file begins with a byte order mark: save it as UTF-8 without one (BOM)."
        suggestion = ""
    diagnostics.record(
        Diagnostic(Severity.ALERT, text, Form.LEXER, line.origin, line.source, word.column, word.width, suggestion)
    )
