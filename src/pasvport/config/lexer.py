r"""One line of configuration text to words: quoting, escapes, variables, comments.

Source: HAProxy configuration manual, sections 2.2 (quoting and escaping) and 2.3 (variables), as 2.6 behaves:

* a statement per LF; a CR, wherever it stands, ends the line; no continuation lines;
* words are parted by unquoted blanks, `#` outside quotes starts a comment even inside a word, 64 words at most;
* outside quotes and in double quotes `\ ` `\\` `\#` `\'` `\"` `\n` `\r` `\t` `\xNN` are escapes, in double quotes
  `\$` too; every other backslash stands for itself; in single quotes nothing is special;
* `"$NAME"`, `"${NAME}"`, `"${NAME-default}"` and `"${NAME[*]}"` (one word per blank-separated part) in double
  quotes only, with the pseudo variables `.FILE`, `.LINE`, `.SECTION`;
* an empty word ends the statement: what follows is silently dropped, and a line that begins with one is empty;
* `[scope]` lines are checked and skipped.

The text comes as str; bytes that were not UTF-8 are expected as surrogates (`errors="surrogateescape"`), and `\xNN`
above 0x7f gives such a surrogate, so that encoding a word the same way gives the bytes HAProxy would have seen.

Lexing is lazy. `Lexer` is an iterator that looks at `environment` and at its own `section` only when a line is asked
for, because `setenv` in global changes the lines below it and `.SECTION` depends on the header above. Whoever
consumes it (config.parser) sets `section` when a section begins; the compiler edits the mapping as it meets such a
keyword, before it asks for the next line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum

from pasvport.config.diagnostics import Diagnostic, Diagnostics, Form, Severity, excerpt
from pasvport.config.syntax import Line, Word
from pasvport.model import Origin

MAX_WORDS = 64
MAX_FATAL_LINES = 50
BLANKS = " \t\v\f\r"
_LINE_ENDS = "\r\n\0"

_NAME_START = re.compile(r"[A-Za-z_.]")
_NAME = re.compile(r"\.?[A-Za-z0-9_]*")
_HEX = re.compile(r"[0-9A-Fa-f]{2}")
_SCOPE_NAME = re.compile(r"[A-Za-z0-9_.:-]*")
_BLANK_RUN = re.compile(r"[ \t\v\f]+")
_PLAIN_LINE = re.compile(r"(?![ \t\v\f])[^\r\n\0\\\"'#]*")
"""No quote, escape, comment or end: blanks are all that matters. One at the start would make an empty word."""
_PLAIN_WORD = re.compile(r"[^ \t\v\f]+")


class Flaw(StrEnum):
    """What may be wrong inside a line, in HAProxy's words."""

    QUOTE = "unmatched quote"
    BRACE = "unmatched brace in environment variable name"
    NAME = "forbidden first char in environment variable name"
    HEX = "truncated or invalid hexadecimal sequence"
    EXPANSION = "truncated or invalid word expansion sequence"


class LexError(Exception):
    """A line cannot be split; `position` is the 0-based place of the first bad character."""

    def __init__(self, flaw: Flaw, position: int) -> None:
        super().__init__(flaw.value)
        self.flaw = flaw
        self.position = position


class TooManyWordsError(Exception):
    """More than MAX_WORDS words; `last` is the last one allowed, `position` its 1-based place in the output."""

    def __init__(self, last: str, position: int) -> None:
        super().__init__(last)
        self.last = last
        self.position = position


class _Quote(Enum):
    NONE = 0
    DOUBLE = 1
    SINGLE = 2


_ORDINARY = {
    _Quote.NONE: re.compile(r"[^ \t\v\f\r\n\0\\\"'#]+"),
    _Quote.DOUBLE: re.compile(r"[^\r\n\0\\\"$]+"),
    _Quote.SINGLE: re.compile(r"[^\r\n\0']+"),
}
_ESCAPES = {" ": " ", "\\": "\\", "t": "\t", "n": "\n", "r": "\r", "#": "#", "'": "'", '"': '"'}


def _byte(value: int) -> str:
    """The character that encodes back to this one byte (see the module's docstring)."""
    return chr(value) if value < 0x80 else chr(0xDC00 + value)


class _Splitter:
    """The state of splitting one line."""

    def __init__(self, text: str, variable: Callable[[str], str | None], comments: bool) -> None:
        self._text = text
        self._variable = variable
        self._comments = comments
        self._at = 0
        self._quote = _Quote.NONE
        self._opened = 0
        self._started = 0
        self._pieces: list[str] = []
        self._words: list[Word] = []
        self.unset: list[Word] = []
        """Variables without a value, as Line.unset."""

    def split(self) -> list[Word]:
        """Every word, empty ones too, but for one after trailing blanks. Raises LexError, TooManyWordsError."""
        while not self._ended():
            ordinary = _ORDINARY[self._quote].match(self._text, self._at)
            if ordinary:
                self._pieces.append(ordinary.group())
                self._at = ordinary.end()
                continue
            step = _STEPS[self._quote].get(self._text[self._at], _Splitter._blanks)
            step(self)
        return self._finish()

    def _ended(self) -> bool:
        if self._at >= len(self._text) or self._text[self._at] in _LINE_ENDS:
            return True
        return self._text[self._at] == "#" and self._quote is _Quote.NONE and self._comments

    def _finish(self) -> list[Word]:
        separators = len(self._words)
        if self._at > self._started:
            self._end_word()
        if self._quote is not _Quote.NONE:
            raise LexError(Flaw.QUOTE, self._opened)
        if separators >= MAX_WORDS:
            kept = self._words[:MAX_WORDS]
            raise TooManyWordsError(kept[-1].text, sum(len(word.text) + 1 for word in kept[:-1]) + 1)
        return self._words

    def _end_word(self) -> None:
        # HAProxy's words are C strings: whatever follows a NUL made by \x00 is out of reach.
        text = "".join(self._pieces).partition("\0")[0]
        self._words.append(Word(text, self._started + 1, self._at - self._started))
        self._pieces = []

    def _blanks(self) -> None:
        self._end_word()
        run = _BLANK_RUN.match(self._text, self._at)
        self._at = run.end() if run else self._at + 1
        self._started = self._at

    def _sharp(self) -> None:
        self._literal("#", 1)

    def _open_double(self) -> None:
        self._open(_Quote.DOUBLE)

    def _open_single(self) -> None:
        self._open(_Quote.SINGLE)

    def _open(self, quote: _Quote) -> None:
        self._quote, self._opened = quote, self._at
        self._at += 1

    def _close(self) -> None:
        self._quote = _Quote.NONE
        self._at += 1

    def _escape(self) -> None:
        following = self._text[self._at + 1 : self._at + 2]
        if following == "x":
            self._hexadecimal()
        elif following in _ESCAPES and (self._comments or following != "#"):
            self._literal(_ESCAPES[following], 2)
        elif following == "$" and self._quote is _Quote.DOUBLE:
            self._literal("$", 2)
        else:
            self._literal("\\", 1)

    def _literal(self, character: str, width: int) -> None:
        self._pieces.append(character)
        self._at += width

    def _hexadecimal(self) -> None:
        digits = _HEX.match(self._text, self._at + 2)
        if digits is None:
            raise LexError(Flaw.HEX, self._at)
        self._literal(_byte(int(digits.group(), 16)), 4)

    def _dollar(self) -> None:
        brace = self._at + 1 if self._text[self._at + 1 : self._at + 2] == "{" else None
        start = self._at + (1 if brace is None else 2)
        if not _NAME_START.match(self._text, start):
            raise LexError(Flaw.NAME, start)
        name = _NAME.match(self._text, start)
        assert name is not None  # the pattern matches the empty string
        value = self._look_up(name.group(), start)
        self._at = name.end()
        if brace is None:
            self._note(name.group(), value, start - 1)
            self._pieces.append(value or "")
        else:
            self._braced(name.group(), value, brace)

    def _note(self, name: str, value: str | None, start: int) -> None:
        if value is None:
            self.unset.append(Word(name, start + 1, self._at - start))

    def _look_up(self, name: str, start: int) -> str | None:
        try:
            return self._variable(name)
        except KeyError:
            raise LexError(Flaw.NAME, start) from None

    def _braced(self, name: str, value: str | None, brace: int) -> None:
        expand = self._text[self._at : self._at + 1] == "["
        if expand:
            self._expansion_mark()
        if self._text[self._at : self._at + 1] == "-":
            end = self._closing_brace(brace)
            value = self._text[self._at + 1 : end] if value is None else value
            self._at = end
        elif self._text[self._at : self._at + 1] != "}":
            raise LexError(Flaw.BRACE, brace)
        self._at += 1
        self._note(name, value, brace - 1)
        if expand:
            self._expand(value or "")
        else:
            self._pieces.append(value or "")

    def _closing_brace(self, brace: int) -> int:
        end = self._text.find("}", self._at)
        if end < 0:
            raise LexError(Flaw.BRACE, brace)
        return end

    def _expansion_mark(self) -> None:
        if self._text[self._at : self._at + 3] != "[*]":
            raise LexError(Flaw.EXPANSION, self._at)
        self._at += 3

    def _expand(self, value: str) -> None:
        first, *others = re.split(r"[ \t\v\f\r\n]+", value)
        self._pieces.append(first)
        for part in others:
            self._end_word()
            self._pieces.append(part)


_STEPS: dict[_Quote, dict[str, Callable[[_Splitter], None]]] = {
    _Quote.NONE: {
        '"': _Splitter._open_double,
        "'": _Splitter._open_single,
        "\\": _Splitter._escape,
        "#": _Splitter._sharp,
    },
    _Quote.DOUBLE: {'"': _Splitter._close, "\\": _Splitter._escape, "$": _Splitter._dollar},
    _Quote.SINGLE: {"'": _Splitter._close},
}


def split(text: str, variable: Callable[[str], str | None], *, comments: bool = True) -> list[Word]:
    """Split one line (without its LF) into words, empty ones included.

    `variable` gives the value of a variable or None, and KeyError for a pseudo variable (`.NAME`) that does not exist.
    `comments` False makes `#` an ordinary character. Raises LexError or TooManyWordsError.
    """
    return _split(text, variable, comments)[0]


def _split(text: str, variable: Callable[[str], str | None], comments: bool) -> tuple[list[Word], list[Word]]:
    """(words, unset variables)."""
    if _PLAIN_LINE.fullmatch(text):
        words = [Word(found.group(), found.start() + 1, len(found.group())) for found in _PLAIN_WORD.finditer(text)]
        if len(words) < MAX_WORDS:
            return words, []
    splitter = _Splitter(text, variable, comments)
    return splitter.split(), splitter.unset


def until_empty(words: list[Word]) -> tuple[Word, ...]:
    """The words HAProxy's keyword parsers see: those before the first empty one."""
    for index, word in enumerate(words):
        if not word.text:
            return tuple(words[:index])
    return tuple(words)


@dataclass(frozen=True, slots=True)
class Lexed:
    """A non-empty line; `words` has all its words, also the empty ones and those behind (for directives)."""

    line: Line
    words: tuple[Word, ...]


class Lexer:
    """Iterator over the non-empty lines of one file; flaws go to `diagnostics` and the line is skipped.

    `section` is what `.SECTION` stands for. After MAX_FATAL_LINES wrong lines the rest of the file is left unread.
    """

    def __init__(self, file: str, text: str, environment: Mapping[str, str], diagnostics: Diagnostics) -> None:
        self.section = ""
        self.origin = Origin(file, 0)
        self._text = text
        self._environment = environment
        self._diagnostics = diagnostics

    def __iter__(self) -> Iterator[Lexed]:
        mark = len(self._diagnostics.found)
        *rows, last = self._text.split("\n")
        rows += [last] if last else []
        for number, row in enumerate(rows, start=1):
            self.origin = Origin(self.origin.file, number)
            if self._too_many_errors(mark):
                return
            lexed = self._lex(row.partition("\0")[0])
            if lexed is not None:
                yield lexed
            if self._diagnostics.aborted:
                return
            if "\0" in row:
                self._cut_short(row, follows=number < len(rows))
                return
        if last:
            self._cut_short(last, follows=False)

    def _cut_short(self, row: str, *, follows: bool) -> None:
        # HAProxy reads C strings: it takes a NUL for a missing LF until it finds that more lines follow.
        position = len(row.partition("\0")[0]) + 1
        if follows:
            self._alert(f"Stray NUL character at position {position}.")
        else:
            self._alert(f"Missing LF on last line, file might have been truncated at position {position}.")

    def _too_many_errors(self, mark: int) -> bool:
        found = self._diagnostics.found[mark:]
        fatal = len({entry.origin for entry in found if entry.severity is Severity.ALERT and entry.fatal})
        if fatal >= MAX_FATAL_LINES:
            self._alert(f"too many fatal errors ({fatal}), stopping now.")
        return fatal >= MAX_FATAL_LINES

    def _alert(self, text: str, form: Form = Form.LEXER) -> None:
        self._diagnostics.record(Diagnostic(Severity.ALERT, text, form, self.origin))

    def _lex(self, row: str) -> Lexed | None:
        text = row.lstrip(BLANKS)
        if text.startswith("["):
            self._scope(text)
            return None
        words, unset = self._split(text, len(row) - len(text))
        kept = until_empty(words)
        if not kept:
            return None
        return Lexed(Line(self.origin, kept, row.rstrip(BLANKS), tuple(unset)), tuple(words))

    def _split(self, text: str, indent: int) -> tuple[list[Word], list[Word]]:
        """(words, unset variables) with their places in the whole row."""
        try:
            found = _split(text, self._variable, comments=True)
        except LexError as error:
            self._flaw(error, text, indent)
            return [], []
        except TooManyWordsError as error:
            position = f"position {error.position}: <{error.last}>."
            self._alert(f"too many words, truncating after word {MAX_WORDS}, {position}")
            return [], []
        words, unset = ([Word(each.text, each.column + indent, each.width) for each in part] for part in found)
        return words, unset

    def _flaw(self, error: LexError, text: str, indent: int) -> None:
        shown, column = excerpt(text, error.position)
        # HAProxy counts bytes here.
        before = len(text[: error.position].encode("utf-8", "surrogateescape"))
        message = f"{error.flaw.value} at position {before + indent + 1}:"
        self._diagnostics.record(
            Diagnostic(Severity.ALERT, message, Form.LEXER, self.origin, shown, column + 1, 1),
        )

    def _variable(self, name: str) -> str | None:
        if not name.startswith("."):
            return self._environment.get(name)
        return {".FILE": self.origin.file, ".LINE": str(self.origin.line), ".SECTION": self.section}[name]

    def _scope(self, text: str) -> None:
        """Check a `[scope]` line. The characters HAProxy does not permit there end the reading of everything."""
        name, bracket, rest = text[1:].partition("]")
        rest = rest.lstrip(BLANKS)
        valid = _SCOPE_NAME.match(name)
        assert valid is not None  # the pattern matches the empty string
        if not bracket or not name:
            self._alert("empty scope name is forbidden.", Form.KEYWORD)
        elif valid.end() < len(name):
            self._abort(f"character '{name[valid.end()]}' is not permitted in a scope name.")
        elif rest and rest[0] != "#":
            self._abort(f"character '{rest[0]}' is not permitted after scope declaration.")

    def _abort(self, text: str) -> None:
        self._alert(text, Form.KEYWORD)
        self._diagnostics.aborted = True
