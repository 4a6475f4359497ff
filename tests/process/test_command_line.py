"""Flags: read right, documented, and answered as HAProxy answers them."""

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pasvport import command_line
from pasvport.command_line import FLAGS, SUBCOMMANDS, CommandLine, UsageError, parse, read_files, reference_page
from pasvport.errors import ConfigError
from process_rig import COMMAND, configuration
from real_haproxy import HAPROXY, needs_haproxy

PAGE = Path(__file__).parents[2] / "docs" / "command-line.md"


def run(*arguments, cwd=None, command=COMMAND):
    return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=60, cwd=cwd)


# --- the table ----------------------------------------------------------------------------------------------------


def test_the_page_in_docs_is_the_one_the_table_gives():
    assert PAGE.read_text() == reference_page(), "python -m pasvport.command_line > docs/command-line.md"


def test_every_flag_has_one_row():
    names = [flag.name for flag in FLAGS]
    assert len(names) == len(set(names))
    assert all(flag.doc for flag in FLAGS)


NO_EFFECT = ("-dM", "-dM0", "-dMno-merge,tag", "-de", "-dp", "-dk", "-ds", "-dG", "-dF", "-dZ", "-dV")


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        (["-f", "a", "-f", "b"], "files", ["a", "b"]),
        (["-f", "a", "--", "b", "-c"], "files", ["a", "b", "-c"]),
        (["-c"], "check", True),
        (["-cc", "streq(a,a)"], "condition", "streq(a,a)"),
        (["-D"], "background", True),
        (["-db"], "foreground", True),
        (["-d"], "debug", True),
        (["-W"], "master_worker", True),
        (["-Ws"], "master_worker", True),
        (["-q"], "quiet", True),
        (["-V"], "verbose", True),
        (["-p", "x"], "pidfile", "x"),
        (["-C", "/"], "directory", "/"),
        (["-L", "me"], "localpeer", "me"),
        (["-n", "12"], "maxconn", 12),
        (["-N", "13"], "frontend_maxconn", 13),
        (["-m", "512"], "memory", 512),
        (["-dW"], "zero_warning", True),
        (["-dD"], "diagnostic", True),
        (["-dr"], "ignore_failures", True),
        (["-dR"], "noreuseport", True),
        (["-dS"], "nosplice", True),
        (["-dI"], "insecure_fork", True),
        *((["-c", flag], "check", True) for flag in NO_EFFECT),
        *((flags.split(), "check", True) for flags in ("-dM -dI -dW -c", "-Ws -dR -dS -c", "-dMpoison -c")),
        (["-sf", "12", "13", "-c"], "finish", (12, 13)),
        (["-sf", "-c"], "finish", ()),
        (["-sf", "1", "-sf", "2"], "finish", (1, 2)),
        (["-st", "14"], "terminate", (14,)),
        (["-x", "/dev/null", "-c"], "check", True),
        (["-v", "-nonsense"], "show", "version"),
    ],
)
def test_flags_are_read(words, field, value):
    assert getattr(parse(words), field) == value


@pytest.mark.parametrize("words", [["-z"], ["file.cfg"], ["-f"], ["-p"], ["-n"], ["-cc"], ["-sf", "0"], ["-"]])
def test_what_is_no_flag_or_lacks_its_argument_shows_the_usage(words):
    with pytest.raises(UsageError):
        parse(words)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["-sf", "abc"], "some bytes unconsumed in PID list {abc}"),
        (["-n", "many"], "'many' is not a number"),
        (["-S", "127.0.0.1:1"], "Use 'stats socket'"),
        (["-dKall"], "no counterpart"),
        (["-dtall"], "no counterpart"),
        (["-dL"], "no counterpart"),
    ],
)
def test_what_cannot_be_done_is_refused_with_its_reason(words, reason):
    with pytest.raises(ConfigError) as caught:
        parse(words)
    assert reason in str(caught.value)
    assert not isinstance(caught.value, UsageError)


@given(st.lists(st.one_of(st.text(max_size=6), st.sampled_from([flag.name for flag in FLAGS])), max_size=12))
def test_any_words_are_read_or_refused(words):
    with contextlib.suppress(ConfigError):
        assert isinstance(parse(words), CommandLine)


def test_a_directory_gives_its_visible_cfg_files_in_byte_order(tmp_path):
    for name in ("b.cfg", "a.cfg", "Z.cfg", "é.cfg", ".hidden.cfg", "note.txt", "a.cfg.bak"):
        (tmp_path / name).write_text(name)
    (tmp_path / "folder.cfg").mkdir()
    found = read_files([str(tmp_path)])
    assert [text for _, text in found] == ["Z.cfg", "a.cfg", "b.cfg", "é.cfg"]
    assert found[0][0] == f"{tmp_path}/Z.cfg"


def test_bytes_that_are_no_text_come_through(tmp_path):
    (tmp_path / "x.cfg").write_bytes(b"# \xff\r\n")
    assert read_files([str(tmp_path / "x.cfg")])[0][1].encode("utf-8", "surrogateescape") == b"# \xff\r\n"


# --- beside the real one ------------------------------------------------------------------------------------------

FILES = {
    "ok.cfg": configuration(24571, 1).replace("    nbthread 2\n", ""),
    "warn.cfg": "frontend f\n    bind 127.0.0.1:24571\n    default_backend b\nbackend b\n    server s 127.0.0.1:1\n",
    "nothing.cfg": "backend b\n    timeout connect 1s\n    timeout server 1s\n    server s 127.0.0.1:1\n",
    "bad.cfg": "frontend f\n    bind 127.0.0.1:24572\n    bogus\n",
    "nosection.cfg": "    bind 127.0.0.1:24571\n",
    "folder/a.cfg": "defaults\n    mode tcp\n    timeout client 1s\n    timeout connect 1s\n    timeout server 1s\n",
    "folder/b.cfg": "listen l\n    bind 127.0.0.1:24571\n    server s 127.0.0.1:1\n",
}

SHARED = [
    "-c -f ok.cfg",
    "-c -q -f ok.cfg",
    "-c -V -f ok.cfg",
    "-q -c -V -f ok.cfg",
    "-c -- ok.cfg",
    "-c -f folder",
    "-c -f folder/a.cfg -f folder/b.cfg",
    "-c -f warn.cfg",
    "-c -q -f warn.cfg",
    "-c -dW -f warn.cfg",
    "-c -dW -f ok.cfg",
    "-c -dD -f ok.cfg",
    "-dW -f warn.cfg",
    "-c -f nothing.cfg",
    "-f nothing.cfg",
    "-c -f bad.cfg",
    "-c -q -f bad.cfg",
    "-c -f ok.cfg -f bad.cfg",
    "-c -f nosection.cfg",
    "-c -f missing.cfg",
    "-f missing.cfg",
    "-c -f ok.cfg -f missing.cfg",
    "-C folder -c -f a.cfg -f b.cfg",
    "-C missing -c -f ok.cfg",
    "-c -D -f ok.cfg",
    "-c -W -f ok.cfg",
    "-c -d -f ok.cfg",
    "-c -db -f ok.cfg",
    "-c -n 10 -N 5 -L me -p pid -f ok.cfg",
    "-c -dr -dR -dS -f ok.cfg",
    "-sf -c -f ok.cfg",
    "-sf abc -c -f ok.cfg",
    "-x /dev/null -c -f ok.cfg",
    "-cc streq(a,a)",
    "-cc streq(a,b)",
    "-cc bogus(a)",
    "-cc version_atleast(2.6)",
]
USAGE = ["", "-c", "-z", "ok.cfg", "-c -f", "-sf 0 -c -f ok.cfg"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("flags")
    (root / "folder").mkdir()
    for name, text in FILES.items():
        (root / name).write_text(text)
    return root


@needs_haproxy
@pytest.mark.parametrize("line", SHARED)
def test_status_and_answer_are_haproxys(line, folder):
    ours = run(*line.split(), cwd=folder)
    theirs = run(*line.split(), cwd=folder, command=[HAPROXY])
    assert ours.returncode == theirs.returncode, ours.stderr
    assert ours.stdout == theirs.stdout
    assert complaints(ours.stderr) == complaints(theirs.stderr)


def complaints(text):
    """The labelled messages, without those that name the program."""
    said = [row.partition(") : ")[2].replace(f"[{HAPROXY}.main()]", "[pasvport.main()]") for row in text.splitlines()]
    # Ours goes on to judge the whole after an error, and suggests more.
    said = [row.partition("; did you mean")[0].rstrip(".") for row in said if "missing timeouts" not in row]
    return [row for row in said if row and " version is " not in row and " executable is " not in row]


@needs_haproxy
@pytest.mark.parametrize("line", USAGE)
def test_the_usage_has_haproxys_status(line, folder):
    ours = run(*line.split(), cwd=folder)
    assert ours.returncode == run(*line.split(), cwd=folder, command=[HAPROXY]).returncode == 1
    assert ours.stderr


@pytest.mark.parametrize("words", ["-h", "--help", "help", "help help", "help -f", "-c --help -nonsense"])
def test_the_usage_is_asked_for(words):
    shown = run(*words.split())
    assert (shown.returncode, shown.stderr) == (0, "")
    assert command_line.usage("pasvport") in shown.stdout
    assert all(flag.name in shown.stdout for flag in FLAGS)
    assert all(f"pasvport {word} " in shown.stdout for word in SUBCOMMANDS)


@pytest.mark.parametrize("word", sorted(SUBCOMMANDS.keys() - {"help"}))
def test_each_command_has_its_help(word):
    shown, same = run("help", word), run(word, "--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.startswith(f"usage: pasvport {word} ")
    assert shown.stdout == same.stdout


def test_the_version_is_shown():
    assert run("-v").stdout.startswith("pasvport version 0.1.0 - ")
    assert run("--version").stdout == run("-v").stdout
    build = run("-vv").stdout
    assert "Steering by source address (SO_ATTACH_REUSEPORT_CBPF): yes" in build
    assert f"Python: CPython {sys.version.split()[0]}" in build


def test_the_configuration_can_silence_and_the_flag_speaks_again(folder):
    text = FILES["ok.cfg"].replace("global\n", "global\n    quiet\n    chroot /nonexistent\n")
    (folder / "quiet.cfg").write_text(text)
    quiet = run("-f", "quiet.cfg", cwd=folder)
    assert (quiet.returncode, quiet.stderr) == (1, "")
    loud = run("-V", "-f", "quiet.cfg", cwd=folder)
    assert loud.returncode == 1
    assert "[pasvport.main()] Cannot chroot(/nonexistent)." in loud.stderr


MISTYPED = [
    ("-bogus", 1, "'-bogus' is neither a flag nor a command", ""),
    ("--versoin", 1, "'--versoin' is neither", "--version"),
    ("--chekc -f x", 1, "'--chekc' is neither", "-c -f FILE"),
    ("docter -f x", 1, "'docter' is neither", "doctor"),
    ("help tpo", 1, "'tpo' is neither", "top"),
    ("reload", 1, "'reload' is neither", "ctl reload"),
    ("/etc/x.cfg", 1, "'/etc/x.cfg' is neither", "-f /etc/x.cfg"),
    ("-c -dw", 1, "'-dw' is no flag", "-dW"),
    ("-c -f", 1, "-f needs an argument: -f <file or directory>", ""),
    ("-c", 1, "no configuration file given: pasvport -f FILE", ""),
    ("ctl --sokcet x show info", 2, "'--sokcet' is no option", "--socket"),
    ("top --onec", 2, "'--onec' is no option", "--once"),
    ("top --interval soon", 2, "'soon' is no number of seconds", ""),
    ("demo --kep", 2, "'--kep' is no option", "--keep"),
    ("demo help", 2, "'help' is no option", "--help"),
    ("doctor --josn", 64, "'--josn' is no option", "--json"),
]


@pytest.mark.parametrize(("words", "status", "wrong", "hint"), MISTYPED)
def test_a_mistyped_word_gets_one_line(words, status, wrong, hint):
    shown = run(*words.split())
    assert (shown.returncode, shown.stdout, shown.stderr.count("\n")) == (status, "", 1)
    assert wrong in shown.stderr
    assert f"; did you mean '{hint}'? (" in shown.stderr if hint else "did you mean" not in shown.stderr
    assert " --help shows the usage)" in shown.stderr
