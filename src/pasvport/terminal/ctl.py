"""`pasvport ctl`: commands of the runtime API from the command line, from a pipe, or at a prompt."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from pasvport.subcommand import Parser
from pasvport.terminal.connection import PATIENCE, Answer, ApiError, ask
from pasvport.terminal.place import DEFAULT_FILE, ReadFiles, find

_RELOAD_PATIENCE = 120.0
"""Seconds: host names are looked up, and workers get ready."""
_DESCRIPTION = """\
Give a command of the runtime API and show its answer. Without a command: a prompt with history and completion on a
terminal, else one command from each line of the standard input. A command that ends in << takes the standard input
along as its payload. The exit status is 1 when a command was refused, 2 when the API cannot be reached."""
_EPILOG = """\
examples:
  pasvport ctl show stat
  pasvport ctl -s /run/pasvport.sock set server ftp/s1 state drain
  pasvport ctl -f /etc/another.cfg reload
"""


def parser(name: str, description: str, epilog: str = "") -> Parser:
    """A parser with the two options by which the API is found."""
    made = Parser(
        prog=f"pasvport {name}",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("-s", "--socket", action="append", default=[], metavar="SOCKET", help="path, or host:port")
    made.add_argument(
        "-f",
        "--file",
        action="append",
        default=[],
        metavar="CONFIG",
        help=f"find the socket in this configuration (may be said again); without -s and -f in {DEFAULT_FILE}",
    )
    return made


def main(arguments: Sequence[str], read_files: ReadFiles) -> int:
    """The command; its exit status."""
    options = parser("ctl", _DESCRIPTION, _EPILOG)
    options.add_argument("command", nargs=argparse.REMAINDER, help="a command and its words; several with ';'")
    given = options.parse_args(arguments)
    try:
        return _obey(find(given.socket, given.file, read_files), given.command)
    except ApiError as error:
        print(f"pasvport ctl: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Whoever read the answer has had enough of it.
        sys.stderr.close()
        return 1


def _obey(address: str, words: list[str]) -> int:
    if words:
        patience = _RELOAD_PATIENCE if words[0] == "reload" else PATIENCE
        return _show(ask(address, _with_payload(" ".join(words)), patience=patience))
    if sys.stdin.isatty():
        from pasvport.terminal.prompt import converse

        return converse(address)
    # A loop, not a list: each answer comes before the next line is read.
    statuses = [_show(ask(address, line)) for line in sys.stdin if line.strip()]
    return max(statuses, default=0)


def _with_payload(command: str) -> str:
    """A payload ends at an empty line; so does what stands in it, whatever follows."""
    if not command.endswith("<<"):
        return command
    payload = sys.stdin.read().partition("\n\n")[0].strip("\n")
    return f"{command}\n{payload}\n"


def _show(answer: Answer) -> int:
    stream = sys.stderr if answer.is_error else sys.stdout
    text = answer.rstrip("\n")
    if text:
        print(text, file=stream, flush=True)
    return int(answer.is_error)
