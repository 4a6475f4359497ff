"""Conditional blocks, messages, conditions, and the sections they leave."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pasvport.config.conditions import Build, ConditionError, evaluate, evaluate_argument, unquote_argument
from pasvport.config.diagnostics import Diagnostics
from pasvport.config.directives import MAX_NESTED_BLOCKS
from pasvport.config.parser import Reading, entries
from pasvport.errors import ConfigError
from real_haproxy import HAPROXY, needs_haproxy

ENVIRONMENT = {"SET": "value", "EMPTY": ""}
BUILD = Build(features=frozenset({"SPLICE", "THREAD"}), openssl_version="3.0.22", ssl_library="OpenSSL 3.0.22")
NAMES = ("global", "frontend")


def read(text: str, *, diagnostic_mode: bool = False) -> tuple[list[str], list[str], bool]:
    """The first words in effect below `global`, what was said, and whether reading was aborted."""
    diagnostics = Diagnostics()
    reading = Reading(dict(ENVIRONMENT), diagnostics, BUILD, diagnostic_mode)
    found = entries("x", "global\n" + text, NAMES, reading)
    kept = [entry.line.keyword for entry in found if not entry.opens]
    return (
        kept,
        [f"{e.severity} {e.origin.line if e.origin else 0} {e.text}" for e in diagnostics.found],
        diagnostics.aborted,
    )


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (".if 1\na\n.else\nb\n.endif\nc\n", ["a", "c"]),
        (".if 0\na\n.else\nb\n.endif\nc\n", ["b", "c"]),
        (".if\na\n.endif\n", []),
        (".if 0\na\n.elif 0\nb\n.elif 1\nc\n.elif 1\nd\n.else\ne\n.endif\n", ["c"]),
        (".if 1\n.if 0\na\n.else\nb\n.endif\n.else\n.if 1\nc\n.endif\n.endif\n", ["b"]),
        (".if 0\n.if nonsense(\n.elif more(\n.else\n.endif\na\n.endif\nb\n", ["b"]),
        (".if 1\na\n.elif nonsense(\nb\n.endif\n", ["a"]),
        (".if 0\n.bogus\n.alert x\n.endif\na\n", ["a"]),
        ('.if streq("$SET",value)\na\n.endif\n', ["a"]),
    ],
)
def test_blocks(text: str, kept: list[str]) -> None:
    assert read(text) == (kept, [], False)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a\n.elif 1\nb\n", "lone '.elif' with no matching '.if'."),
        ("a\n.else\nb\n", "lone '.else' with no matching '.if'."),
        ("a\n.endif\nb\n", "lone '.endif' with no matching '.if'."),
        ("a\n.alert stop\nb\n", "'stop'."),
        ("a\n.if foo\nb\n.endif\n", "unparsable conditional expression 'foo' in '.if' at position 1:"),
    ],
)
def test_errors_that_end_everything(text: str, said: str) -> None:
    kept, messages, aborted = read(text)
    assert (kept, messages, aborted) == (["a"], [f"ALERT 3 {said}"], True)


@pytest.mark.parametrize("second", [".else", ".elif 1"])
def test_nothing_after_else(second: str) -> None:
    kept, messages, aborted = read(f".if 0\n.else\n{second}\na\n.endif\n")
    assert kept == []
    assert messages == [f"ALERT 4 '{second.split()[0]}' after '.else' is not permitted."]
    assert aborted


def test_unterminated_block() -> None:
    assert read(".if 1\na\n") == (["a"], ["ALERT 3 non-terminated '.if' block."], True)


def test_nesting_has_a_limit() -> None:
    kept, messages, aborted = read(".if 1\n" * (MAX_NESTED_BLOCKS + 5) + "a\n")
    assert kept == []
    assert messages == [f"ALERT {MAX_NESTED_BLOCKS + 1} too many nested '.if', max is {MAX_NESTED_BLOCKS}."]
    assert aborted


def test_arguments_where_none_belong() -> None:
    for keyword in (".else", ".endif"):
        _, messages, aborted = read(f".if 0\n{keyword} foo\n")
        assert messages == [f"ALERT 3 Unexpected argument 'foo' for '{keyword}'."]
        assert aborted


def test_messages() -> None:
    text = '.notice "a b"\n.warning x\n.notice\n.diag quiet\na\n'
    expected = ["NOTICE 2 'a b'.", "WARNING 3 'x'.", "NOTICE 4 ''."]
    assert read(text) == (["a"], expected, False)
    assert read(text, diagnostic_mode=True)[1] == [*expected, "WARNING 5 'quiet'."]


def test_a_message_is_one_word() -> None:
    hint = "Use quotes if the message should contain spaces."
    assert read('.alert a b\n.notice "" c\nx\n') == (
        ["x"],
        [
            f"ALERT 2 Unexpected argument 'b' for '.alert'. {hint}",
            f"ALERT 3 Unexpected argument 'c' for '.notice'. {hint}",
        ],
        False,
    )


def test_unknown_directive_ends_the_file_only() -> None:
    assert read("a\n.bogus\nb\n") == (["a"], ["ALERT 3 unknown directive '.bogus'."], False)


def test_sections_and_what_stands_outside() -> None:
    diagnostics = Diagnostics()
    text = 'fronted x\nglobal\n a\n b\nfrontend f\n description "${.SECTION}"\n'
    found = list(entries("x", text, NAMES, Reading({}, diagnostics)))
    said = [("global", True), ("a", False), ("b", False), ("frontend", True), ("description", False)]
    assert [(entry.line.keyword, entry.opens) for entry in found] == said
    assert found[-1].line.words[1].text == "f"
    (complaint,) = diagnostics.found
    assert (complaint.text, complaint.suggestion) == ("unknown keyword 'fronted' out of section.", "frontend")


# --- conditions ---------------------------------------------------------------------------------------------------

TRUE = [
    "1", "0x10", "-1", "!0", "! ! 1", "1 || 0 && 0", "(1 || 0) && 1", "!(0)", "defined(SET)", "defined(EMPTY)",
    "!defined(UNSET)", "streq(a,a)", "streq(,)", "strneq(a, a)", "streq(a b,a b)", "streq('a,b','a,b')",
    'streq("a)b",a")"b)', r"streq(a\ b,'a b')", "feature(SPLICE)", "!feature(SPL)", "version_atleast(2.6)",
    "version_atleast(2.6.12)", "version_atleast()", "version_atleast(foo)", "version_atleast(2.6-dev3)",
    "version_before(2.7-dev0)", "version_before(2.6.13)", "version_before(2.6.12-1)", "version_before(3)",
    "openssl_version_atleast(1.0.2k)", "openssl_version_before(3.0.23)", "ssllib_name_startswith(OpenSSL)",
]  # fmt: skip
FALSE = [
    "", "0", "00", "!1", "1 && 0", "defined", "defined()", "defined( SET )", "streq(a,b)", "version_atleast(2.6.13)",
    "version_before(2.6.12)", "version_atleast(2.7-dev1)", "ssllib_name_startswith(Wolf)",
    "openssl_version_atleast(3.1.0)",
]  # fmt: skip
WRONG = {
    "foo": "unparsable conditional expression 'foo'",
    "1 &&": "unparsable conditional expression '&&'",
    "1 && 1 &&": "unparsable conditional expression '&& 1 &&'",
    "1 || 0 ||": "unparsable conditional expression '1 || 0 ||'",
    "()": "unparsable conditional expression ')'",
    "!": "unparsable conditional expression '!'",
    ")": "unparsable conditional expression ')'",
    "(1": "expected ')' after conditional expression '(1'",
    "1 1": "unexpected character '1' at the end of conditional expression '1 1'",
    "1foo": "unexpected character 'f' at the end of conditional expression '1foo'",
    "1 & 1": "unexpected character '&' at the end of conditional expression '1 & 1'",
    "strstr(a,a)": "unparsable conditional expression 'strstr(a,a)'",
    "enabled(POLL)": "unparsable conditional expression 'enabled(POLL)'",
    "streq(a)": "missing arguments (got 1/2), type 'string' expected in argument 1 of predicate 'streq' "
    "used in conditional expression",
    "defined(A,B)": "expected ')' before ',B)' in argument 1 of predicate 'defined' used in conditional expression",
    "defined(A": "expected ')' in argument 1 of predicate 'defined' used in conditional expression",
}


@pytest.mark.parametrize("condition", TRUE)
def test_true(condition: str) -> None:
    assert evaluate(condition, ENVIRONMENT, BUILD)


@pytest.mark.parametrize("condition", FALSE)
def test_false(condition: str) -> None:
    assert not evaluate(condition, ENVIRONMENT, BUILD)


@pytest.mark.parametrize("condition", WRONG)
def test_wrong(condition: str) -> None:
    with pytest.raises(ConditionError) as caught:
        evaluate(condition, ENVIRONMENT, BUILD)
    assert str(caught.value) == WRONG[condition]


def test_bad_openssl_version_is_an_error_only_when_asked() -> None:
    with pytest.raises(ConditionError):
        evaluate("openssl_version_atleast(3)", {}, BUILD)
    assert not evaluate("0 && openssl_version_atleast(3)", {}, BUILD)


def test_command_line_condition() -> None:
    assert evaluate_argument('streq("$SET",value)', ENVIRONMENT, BUILD)
    assert not evaluate_argument("", ENVIRONMENT, BUILD)
    for argument, said in {
        '"1': "Syntax Error in condition: Unmatched quote.",
        r"\x4": "Syntax Error in condition: Truncated or invalid hexadecimal sequence.",
        "1 # x": "Failed to evaluate condition: unexpected character '#' at the end of conditional expression '1 # x'",
        "x " * 70: "Error in condition: Too many words.",
    }.items():
        with pytest.raises(ConfigError) as caught:
            evaluate_argument(argument, ENVIRONMENT, BUILD)
        assert str(caught.value) == said


@pytest.mark.parametrize(
    ("text", "argument", "rest"),
    [
        ("a,b)", "a", ",b)"),
        ("'a,b')", "a,b", ")"),
        ('"a\\"b",', 'a"b', ","),
        ("a\\qb)", "a\\qb", ")"),
        ("", "", ""),
        (")", "", ")"),
    ],
)
def test_second_level_of_quoting(text: str, argument: str, rest: str) -> None:
    found, at = unquote_argument(text, 0)
    assert (found, text[at:]) == (argument, rest)


_PIECE = st.sampled_from([*"01!&|() ,'\"\\x", "defined(", "streq(", "version_before(", "&&", "||"])


@given(st.lists(_PIECE, max_size=40).map("".join))
@settings(max_examples=400)
def test_any_condition_is_decided_or_refused(condition: str) -> None:
    position = 0
    try:
        evaluate(condition, ENVIRONMENT, BUILD)
    except ConditionError as error:
        position = error.position
    assert 0 <= position <= len(condition)


def test_deep_nesting_is_refused_not_a_crash() -> None:
    assert evaluate("(" * 50 + "1" + ")" * 50, {}, BUILD)
    assert evaluate("!" * 100_000 + "1", {}, BUILD)
    assert evaluate("0||" * 5000 + "1", {}, BUILD)
    with pytest.raises(ConditionError):
        evaluate("(" * 5000 + "1" + ")" * 5000, {}, BUILD)


_DIRECTIVE = st.sampled_from([".if 1", ".if 0", ".elif 1", ".elif 0", ".else", ".endif", "a", ".if x", ".notice a"])


@given(st.lists(_DIRECTIVE, max_size=25))
def test_any_order_of_directives_is_read_or_refused(lines: list[str]) -> None:
    kept, said, aborted = read("".join(f"{line}\n" for line in lines))
    assert len(kept) <= lines.count("a")
    assert not aborted or any(message.startswith("ALERT") for message in said)


@needs_haproxy
@pytest.mark.parametrize("condition", [c for c in [*TRUE, *FALSE, *WRONG] if "feature" not in c and "openssl" not in c])
def test_haproxy_decides_the_same(condition: str) -> None:
    """`-cc`: 0 true, 1 false, 2 wrong, and the same words for what is wrong."""
    environment = {"SET": "value", "EMPTY": ""}
    done = subprocess.run([HAPROXY, "-cc", condition], env=environment, capture_output=True, text=True, check=False)
    try:
        ours, said = (0 if evaluate_argument(condition, ENVIRONMENT, BUILD) else 1), ""
    except ConfigError as error:
        ours, said = 2, str(error)
    assert ours == done.returncode
    assert said in done.stderr
