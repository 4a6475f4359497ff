"""`pasvport doctor`: reads the command line, the configuration and the farm, and says what will break."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from pasvport.config.world import World
from pasvport.doctor.case import Case
from pasvport.doctor.diagnosis import diagnose
from pasvport.doctor.lenient import read_leniently
from pasvport.doctor.machine import Machine, this_machine
from pasvport.doctor.printing import Report, print_json, print_text
from pasvport.doctor.questions import Credentials
from pasvport.doctor.reading import read
from pasvport.doctor.rounds import Errand, visit_all
from pasvport.doctor.rules import Severity, ordered
from pasvport.errors import ConfigError
from pasvport.model import Config
from pasvport.subcommand import Parser

HEALTHY, SICK, USAGE = 0, 1, 64
"""Exit status: no error; an error (with --strict: or a warning); wrong usage, or no file to read (EX_USAGE)."""
ANONYMOUS = ("anonymous", "ftp")
_LONGEST_TIMEOUT = 600.0

Texts = list[tuple[str, str]]
ReadFiles = Callable[[Sequence[str]], Texts]


class _Parser(Parser):
    status = USAGE


def main(arguments: Sequence[str], read_files: ReadFiles, world: World) -> int:
    """The exit status. `read_files` gives (name, text) of configuration files or raises ConfigError."""
    parser = _parser()
    try:
        wanted = parser.parse_args(list(arguments))
        texts = read_files(wanted.files)
        login = _credentials(wanted)
    except ConfigError as error:
        sys.stderr.write(f"{parser.prog}: {error}\n")
        return USAGE
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else USAGE
    errand = None if wanted.no_network else Errand(wanted.timeout, login)
    report = consult(texts, world, errand, None if wanted.no_network else this_machine(), tuple(wanted.public))
    (print_json if wanted.json else print_text)(report, sys.stdout)
    sys.stdout.flush()
    return verdict(report, strict=wanted.strict)


def verdict(report: Report, *, strict: bool) -> int:
    """The exit status of a report."""
    sick = report.count(Severity.ERROR) + (report.count(Severity.WARNING) if strict else 0)
    return SICK if sick else HEALTHY


def consult(
    texts: Texts, world: World, errand: Errand | None, machine: Machine | None = None, public: tuple[str, ...] = ()
) -> Report:
    """Read, examine, diagnose. `errand` None: no server is asked. Raises nothing."""
    files = tuple(name for name, _ in texts)
    reading = read_leniently(texts, world)
    refused = (*reading.refused, *reading.unset)
    if reading.config is None:
        empty = Case.of(Config())
        return Report(files, tuple(ordered(read(empty, refused))), unseen=("Nothing of the text could be compiled.",))
    case = Case.of(reading.config, machine, public)
    findings = read(case, refused)
    if errand is not None:
        case = replace(case, visits=visit_all(case, errand), now=time.time())
        findings += diagnose(case)
    return Report(files, tuple(ordered(findings)), case.visits, _unseen(case, errand))


def _unseen(case: Case, errand: Errand | None) -> tuple[str, ...]:
    if not case.services:
        return ()
    if errand is None:
        return ("no server and nothing of this machine was looked at (--no-network).",)
    if any(visit.failure is None and visit.login is None for visit in case.visits):
        return ("without --user: passive replies, data ports, listings and TLS session resumption of the servers.",)
    return ()


# --- the command line ---------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="pasvport doctor",
        description="Read a configuration (HAProxy's or pasvport's), ask its FTP servers, and say what will break.",
        epilog="Exit status: 0 no error, 1 an error (with --strict: or a warning), 64 wrong usage. See docs/doctor.md.",
    )
    add = parser.add_argument
    add("-f", dest="files", action="append", required=True, metavar="FILE", help="configuration file or directory")
    add("--user", help="log in to every server as this user, to see passive replies and transfers")
    add("--password-env", metavar="NAME", help="environment variable that holds the password (else it is asked for)")
    add(
        "--public", action="append", default=[], metavar="ADDRESS", help="an address that leads clients to the balancer"
    )
    add("--json", action="store_true", help="print JSON")
    add("--strict", action="store_true", help="warnings fail, too")
    add("--no-network", action="store_true", help="look at the text alone: no name, server or limit of this machine")
    add("--timeout", type=_seconds, default=5.0, metavar="SECONDS", help="wait so long for each answer (5)")
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= _LONGEST_TIMEOUT:
        raise argparse.ArgumentTypeError(f"not between 0 and {_LONGEST_TIMEOUT:g} seconds: {text}")
    return seconds


def _credentials(wanted: argparse.Namespace) -> Credentials | None:
    """The login; the password comes from the environment or a person, never from the command line."""
    user: str | None = wanted.user
    if user is None:
        if wanted.password_env:
            raise ConfigError("--password-env needs --user")
        return None
    if wanted.password_env:
        password = os.environ.get(wanted.password_env)
        if password is None:
            raise ConfigError(f"--password-env: the environment has no variable '{wanted.password_env}'")
        return Credentials(user, password)
    if user in ANONYMOUS:
        return Credentials(user, "doctor@")
    if not sys.stdin.isatty():
        raise ConfigError("--user needs --password-env where no one can be asked for the password")
    return Credentials(user, getpass.getpass(f"Password of {user}: "))
