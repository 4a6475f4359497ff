"""The lexer: every rule of section 2.1, junk, and the real HAProxy as judge of what a word is."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pasvport.config.diagnostics import Diagnostics, Speaker, render
from pasvport.config.lexer import MAX_WORDS, Lexer, LexError, TooManyWordsError, split
from pasvport.config.parser import Reading, entries
from real_haproxy import HAPROXY, needs_haproxy

ENVIRONMENT = {"SET": "value", "EMPTY": "", "WORDS": "a b  c", "LEADING": " q", "_under": "u", "NUMBER": "7"}


def words(text: str) -> list[str]:
    return [word.text for word in split(text, ENVIRONMENT.get)]


def lex(text: str, environment: dict[str, str] | None = None) -> tuple[list[list[str]], list[str]]:
    diagnostics = Diagnostics()
    lexer = Lexer("x.cfg", text, ENVIRONMENT if environment is None else environment, diagnostics)
    lines = [[word.text for word in lexed.line.words] for lexed in lexer]
    return lines, [f"{entry.origin}: {entry.text}" for entry in diagnostics.found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("   \t ", [""]),
        ("a b\tc  d", ["a", "b", "c", "d"]),
        ("a b ", ["a", "b"]),
        ("a#b c", ["a"]),
        ("a # b", ["a"]),
        (r"a\#b", ["a#b"]),
        ('"a # b"', ["a # b"]),
        ("'a # b'", ["a # b"]),
        (r"a\ b", ["a b"]),
        (r"a\\b", [r"a\b"]),
        (r"\'\"", ["'\""]),
        (r"a\nb\rc\td", ["a\nb\rc\td"]),
        (r"a\qb", [r"a\qb"]),
        (r"a\$b", [r"a\$b"]),
        (r'"a\$b"', ["a$b"]),
        (r"\x41\x7a\xE9", ["Az\udce9"]),
        (r"a\x00b c", ["a", "c"]),
        (r"'a\x4'", [r"a\x4"]),
        ("a\\", ["a\\"]),
        ('a"b c"d', ["ab cd"]),
        ("a''b", ["ab"]),
        ("''", [""]),
        ("'\"'", ['"']),
        ('"\'"', ["'"]),
        ("$SET", ["$SET"]),
        ("'$SET'", ["$SET"]),
        ('"$SET"', ["value"]),
        ('"$SETx"', [""]),
        ('"${SET}x"', ["valuex"]),
        ('"$_under"', ["u"]),
        ('"${UNSET}"', [""]),
        ('"${UNSET-}"', [""]),
        ('"${UNSET-a b}"', ["a b"]),
        ('"${EMPTY-def}"', [""]),
        ('"${WORDS}"', ["a b  c"]),
        ('"${WORDS[*]}"', ["a", "b", "c"]),
        ('x"${WORDS[*]}"y', ["xa", "b", "cy"]),
        ('"${LEADING[*]}"', ["", "q"]),
        ('"${UNSET[*]-p q}"', ["p", "q"]),
        ('"$SET[*]"', ["value[*]"]),
        ("a\rb", ["a"]),
        ("a\vb\fc", ["a", "b", "c"]),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize(
    ("text", "flaw", "position"),
    [
        ('a "b', "unmatched quote", 2),
        ("a 'b", "unmatched quote", 2),
        ('a "b\rc"', "unmatched quote", 2),
        (r"a \x4g", "truncated or invalid hexadecimal sequence", 2),
        (r"a \x", "truncated or invalid hexadecimal sequence", 2),
        ('a "$1"', "forbidden first char in environment variable name", 4),
        ('a "$"', "forbidden first char in environment variable name", 4),
        ('a "${SET"', "unmatched brace in environment variable name", 4),
        ('a "${SET-x"', "unmatched brace in environment variable name", 4),
        ('a "${SET x}"', "unmatched brace in environment variable name", 4),
        ('a "${SET[+]}"', "truncated or invalid word expansion sequence", 8),
    ],
)
def test_flaws(text: str, flaw: str, position: int) -> None:
    with pytest.raises(LexError) as caught:
        words(text)
    assert (str(caught.value), caught.value.position) == (flaw, position)


def test_columns_and_widths_are_raw() -> None:
    (lexed,) = Lexer("x", "  server \"a b\"\\ c  'd' # e\n", {}, Diagnostics())
    assert [(word.text, word.column, word.width) for word in lexed.line.words] == [
        ("server", 3, 6),
        ("a b c", 10, 8),
        ("d", 20, 3),
    ]


def test_64_words_are_the_limit() -> None:
    assert len(words(" ".join(["x"] * MAX_WORDS))) == MAX_WORDS
    for text in (" ".join(["x"] * (MAX_WORDS + 1)), "x " * MAX_WORDS):
        with pytest.raises(TooManyWordsError) as caught:
            words(text)
        assert (caught.value.last, caught.value.position) == ("x", 2 * MAX_WORDS - 1)


def test_an_empty_word_ends_the_statement() -> None:
    lines, said = lex('a "$EMPTY" b\n"" c\nd "" \n')
    assert (lines, said) == ([["a"], ["d"]], [])


def test_missing_last_line_feed_is_an_error_and_the_line_counts() -> None:
    lines, said = lex("a\n  b")
    assert lines == [["a"], ["b"]]
    assert said == ["x.cfg:2: Missing LF on last line, file might have been truncated at position 4."]


def test_nul_ends_the_file() -> None:
    lines, said = lex("a\nb\0c\nd\n")
    assert lines == [["a"], ["b"]]
    assert said == ["x.cfg:2: Stray NUL character at position 2."]
    assert lex("a\0\n")[1] == ["x.cfg:1: Missing LF on last line, file might have been truncated at position 2."]


def test_wrong_lines_are_skipped_and_all_are_reported() -> None:
    lines, said = lex("a 'b\nc\n  d \\xzz\n")
    assert lines == [["c"]]
    assert said == [
        "x.cfg:1: unmatched quote at position 3:",
        "x.cfg:3: truncated or invalid hexadecimal sequence at position 5:",
    ]


def test_fifty_wrong_lines_are_enough() -> None:
    _, said = lex("'\n" * 60)
    assert len(said) == 51
    assert said[-1] == "x.cfg:51: too many fatal errors (50), stopping now."


def test_environment_is_read_line_by_line() -> None:
    environment: dict[str, str] = {}
    lexer = iter(Lexer("x", 'a "${V-1}"\na "${V-1}"\n', environment, Diagnostics()))
    first = next(lexer).line.words[1].text
    environment["V"] = "2"
    assert (first, next(lexer).line.words[1].text) == ("1", "2")


def test_pseudo_variables() -> None:
    lexer = Lexer("dir/x.cfg", '\n"${.FILE}" "$.LINE" "${.SECTION}"\n"$.OTHER"\n', {}, diagnostics := Diagnostics())
    lexer.section = "fe"
    (lexed,) = lexer
    assert [word.text for word in lexed.line.words] == ["dir/x.cfg", "2", "fe"]
    assert [entry.text for entry in diagnostics.found] == [
        "forbidden first char in environment variable name at position 3:"
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[spoe]\na\n", []),
        ("  [a.b-c:d] # x\na\n", []),
        ("[]\na\n", ["x.cfg:1: empty scope name is forbidden."]),
        ("[a\na\n", ["x.cfg:1: empty scope name is forbidden."]),
        ("[a b]\n", ["x.cfg:1: character ' ' is not permitted in a scope name."]),
        ("[a] b\n", ["x.cfg:1: character 'b' is not permitted after scope declaration."]),
    ],
)
def test_scopes(text: str, said: list[str]) -> None:
    assert lex(text)[1] == said


# --- junk ---------------------------------------------------------------------------------------------------------

_TEXT = st.text(st.sampled_from(list("ab \t\"'\\#$${}[]*-.x4\n\r\0é\udce9SET")), max_size=200)


@given(_TEXT)
@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
def test_anything_lexes_or_is_diagnosed(text: str) -> None:
    lines, said = lex(text)
    assert all(line and all(line) for line in lines)
    assert len(lines) + len(said) <= 2 * text.count("\n") + 4


@given(st.lists(st.text(st.characters(exclude_characters="\n\r\0", codec="utf-8"), min_size=1), max_size=20))
def test_quoting_round_trip(parts: list[str]) -> None:
    quoted = " ".join("'" + part.replace("'", "'\\''") + "'" for part in parts)
    assert words(quoted) == parts
    escapes = {'"': '\\"', "\\": "\\\\", "$": "\\$"}
    doubled = " ".join('"' + "".join(escapes.get(c, c) for c in part) + '"' for part in parts)
    assert words(doubled) == parts


# --- the judge ----------------------------------------------------------------------------------------------------


@needs_haproxy
@given(
    st.lists(st.text(st.sampled_from(list("ab \t\"'\\#$${}[*]-.x41SETVWORDSUN")), max_size=25), min_size=1, max_size=25)
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_haproxy_reads_the_same_words(tmp_path_factory: pytest.TempPathFactory, tails: list[str]) -> None:
    """`.notice X` echoes X, or says what is wrong with the line: both must be ours, to the letter."""
    text = "global\n" + "".join(f".notice x{tail}\n" for tail in tails)
    path = tmp_path_factory.mktemp("lexer") / "x.cfg"
    path.write_text(text)
    done = subprocess.run(
        [HAPROXY, "-c", "-f", path.name], cwd=path.parent, env=ENVIRONMENT, capture_output=True, check=False
    )
    theirs = [line.partition(" : config : ")[2] for line in done.stderr.decode().splitlines() if "x.cfg:" in line]
    assert _our_notices(text) == theirs


def _our_notices(text: str) -> list[str]:
    diagnostics = Diagnostics()
    assert [entry.line.keyword for entry in entries("x.cfg", text, {"global"}, Reading(dict(ENVIRONMENT), diagnostics))]
    shown = render(diagnostics, Speaker(1, "x", "x", "x"))
    return [line.partition(" : config : ")[2] for line in shown.splitlines() if "x.cfg:" in line]


@pytest.mark.parametrize(
    ("row", "unset"),
    [
        ('log "${NONE}" local0', [("NONE", 6, 7)]),
        ('  auth "ops:$NONE" "${OTHER[*]}"', [("NONE", 13, 5), ("OTHER", 21, 11)]),
        ('log "${NONE-}" "${NONE-x}" "${NONE[*]-x}"', []),
        ("log '${NONE}' $NONE", []),
        ('log "${SET}" "$EMPTY"', []),
        ('log x # "${NONE}"', []),
    ],
)
def test_variables_that_are_not_set_are_known(row: str, unset: list[tuple[str, int, int]]) -> None:
    (lexed,) = Lexer("f", row + "\n", {"SET": "1", "EMPTY": ""}, Diagnostics())
    assert [(word.text, word.column, word.width) for word in lexed.line.unset] == unset
    for word in lexed.line.unset:
        assert row[word.column - 1 : word.column - 1 + word.width].startswith("$")
