"""How messages look, and what is suggested."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pasvport.config.compiler import load
from pasvport.config.diagnostics import Diagnostic, Diagnostics, Form, Severity, Speaker, excerpt, nearest, render
from pasvport.config.lexer import Lexer
from pasvport.config.syntax import Line
from pasvport.config.world import World
from pasvport.model import Origin

SPEAKER = Speaker(42, "pasvport", "1.0", "/usr/bin/pasvport")
PREAMBLE = "[NOTICE]   (42) : pasvport version is 1.0\n[NOTICE]   (42) : path to executable is /usr/bin/pasvport\n"


def line(text: str) -> Line:
    (lexed,) = Lexer("f.cfg", text + "\n", {}, Diagnostics())
    return lexed.line


def test_nothing_to_say() -> None:
    assert render(Diagnostics(), SPEAKER) == ""


def test_labels_and_forms() -> None:
    diagnostics = Diagnostics()
    statement = line("bind :x")
    diagnostics.add(Severity.NOTICE, statement, "'hello'.", form=Form.LEXER)
    diagnostics.warn(statement, "careful.")
    diagnostics.alert(statement, "wrong.")
    diagnostics.add(Severity.ALERT, statement, "'server a/b' : no.", form=Form.OBJECT)
    diagnostics.warn(None, "missing timeouts for proxy 'x'.\n   | a\n   | b")
    assert render(diagnostics, SPEAKER) == (
        "[NOTICE]   (42) : config : parsing [f.cfg:1]: 'hello'.\n"
        + PREAMBLE
        + "[WARNING]  (42) : config : parsing [f.cfg:1] : careful.\n"
        "[ALERT]    (42) : config : parsing [f.cfg:1] : wrong.\n"
        "[ALERT]    (42) : config : [f.cfg:1] : 'server a/b' : no.\n"
        "[WARNING]  (42) : config : missing timeouts for proxy 'x'.\n   | a\n   | b\n"
    )


def test_the_word_is_shown_under_a_caret() -> None:
    diagnostics = Diagnostics()
    statement = line("\tserver  s1 1.1.1.1\tchek port 21")
    diagnostics.alert(statement, "unknown keyword 'chek'.", word=statement.words[3], suggestion="check")
    assert render(diagnostics, SPEAKER) == (
        PREAMBLE
        + "[ALERT]    (42) : config : parsing [f.cfg:1] : unknown keyword 'chek'; did you mean 'check' maybe ?\n"
        "  server  s1 1.1.1.1 chek port 21\n"
        "                     ^~~~\n"
    )


def test_what_is_found_after_reading_tells_its_place_beside_the_word() -> None:
    diagnostics = Diagnostics()
    statement = line("  default_backend nowhere")
    text = "Proxy 'fe': unable to find required default_backend: 'nowhere'."
    diagnostics.add(Severity.ALERT, statement, text, word=statement.words[1], form=Form.PLAIN)
    assert render(diagnostics, SPEAKER) == (
        PREAMBLE + f"[ALERT]    (42) : config : {text}\n"
        "  f.cfg:1: default_backend nowhere\n"
        "                           ^~~~~~~\n"
    )


def test_flaws_are_shown_as_haproxy_shows_them() -> None:
    diagnostics = Diagnostics()
    list(Lexer("f.cfg", '  mode tcp "abc\n', {}, diagnostics))
    assert render(diagnostics, SPEAKER) == (
        PREAMBLE + "[ALERT]    (42) : config : parsing [f.cfg:1]: unmatched quote at position 12:\n"
        '  mode tcp "abc\n'
        "           ^\n"
    )


def test_summaries() -> None:
    diagnostics = Diagnostics()
    diagnostics.alert(None, "'maxconn' already specified.")
    diagnostics.summarise_file("b.cfg", 1)
    assert len(diagnostics.found) == 1
    diagnostics.summarise_file("a.cfg", 0)
    diagnostics.summarise()
    assert [entry.text for entry in diagnostics.found[1:]] == [
        "Error(s) found in configuration file : a.cfg",
        "Fatal errors found in configuration.",
    ]


def test_no_last_summary_after_an_abort() -> None:
    diagnostics = Diagnostics(aborted=True)
    diagnostics.alert(None, "stop")
    diagnostics.summarise()
    assert len(diagnostics.found) == 1


def test_alerts_that_do_not_refuse() -> None:
    diagnostics = Diagnostics()
    diagnostics.add(Severity.ALERT, line("maxconn 1"), "'maxconn' already specified. Continuing.", fatal=False)
    diagnostics.summarise_file("f.cfg", 0)
    diagnostics.summarise()
    assert not diagnostics.has_alerts
    assert len(diagnostics.found) == 1


WORDS = [
    "bind",
    "mode",
    "server",
    "maxconn",
    "default_backend",
    "retries",
    "timeout",
    "option",
    "stick-table",
    "balance",
]


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("bnd", "bind"),
        ("maxcon", "maxconn"),
        ("MAXCONN", "maxconn"),
        ("defalt_backend", "default_backend"),
        ("retrys", "retries"),
        ("optoin", "option"),
        ("stick_table", "stick-table"),
        ("zzzzzzzz", None),
        ("q", None),
        ("10.0.0.1:21", None),
    ],
)
def test_suggestions(typo: str, meant: str | None) -> None:
    assert nearest(typo, WORDS) == meant


@given(st.sampled_from(WORDS))
def test_a_known_word_is_its_own_nearest(word: str) -> None:
    assert nearest(word, WORDS) == word


def test_long_lines_are_cut_round_the_place() -> None:
    shown, place = excerpt("x" * 100 + '"' + "y" * 100, 100)
    assert len(shown) <= 80
    assert shown[place] == '"'
    assert shown.startswith("...")


@given(st.text(max_size=300), st.integers(0, 300), st.integers(0, 300))
def test_any_place_can_be_shown(source: str, column: int, width: int) -> None:
    entry = Diagnostic(Severity.ALERT, "t", Form.KEYWORD, Origin("f", 1), source, column, width)
    diagnostics = Diagnostics([entry])
    shown = render(diagnostics, SPEAKER).removeprefix(PREAMBLE)
    assert shown.count("\n") == (3 if column else 1)
    assert all(len(row) <= 84 for row in shown.split("\n")[1:])


UNSET = """global
    description "in $WHERE"
    maxconn "${MOST}"
    node "${NODE-}x"
.if streq("$WHERE",x)
    node "${NEVER}"
.endif
"""


def test_a_variable_of_an_address_is_named_outside_double_quotes_too() -> None:
    """HAProxy replaces variables in addresses wherever they stand."""
    text = """global
    stats socket $RUN/sock
defaults
    log ${SINK}:514 local0
frontend f
    bind ${WHERE}:2121
    bind ${HERE}:2122 name ${NONE}
    default_backend b
backend b
    source ${FROM}
    server s ${FARM}:21 check
    server t "${QUOTED}:21"
"""
    found = load([("u.cfg", text)], World(environment={"HERE": "127.0.0.1"})).diagnostics.found
    named = {(entry.origin.line, entry.text.split("'")[1]) for entry in found if "not set in the env" in entry.text}
    assert {(2, "RUN"), (4, "SINK"), (6, "WHERE"), (11, "FARM"), (12, "QUOTED")} <= named
    assert not [line for line, _ in named if line in (7,)]


def test_what_fails_for_want_of_a_variable_names_it() -> None:
    found = load([("u.cfg", UNSET)], World()).diagnostics.found
    said = {(entry.severity, entry.origin.line): entry.text for entry in found if entry.origin is not None}
    assert "variable 'WHERE' is not set in the environment and taken as empty" in said[Severity.NOTICE, 2]
    assert said[Severity.ALERT, 3].endswith(" (variable 'MOST' is not set in the environment).")
    assert not [line for _, line in said if line > 3]


def test_the_environment_is_that_of_the_line() -> None:
    text = 'global\n    setenv A 1\n    node "${A}"\n    unsetenv A\n    description "a${A}"\n'
    found = load([("u.cfg", text)], World()).diagnostics.found
    assert [(entry.severity, entry.origin.line) for entry in found if entry.origin is not None] == [
        (Severity.NOTICE, 5)
    ]
