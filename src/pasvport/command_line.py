"""The command line: HAProxy's flags as a table, and the reading of it. docs/command-line.md is generated from them.

Source: HAProxy management guide, section 3 (starting), as 2.6 has it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pasvport.digits import is_number
from pasvport.errors import ConfigError
from pasvport.subcommand import meant


@dataclass(slots=True)
class CommandLine:
    """What was asked for. Numbers 0 and texts "" mean: not given."""

    files: list[str] = field(default_factory=list)
    check: bool = False
    condition: str | None = None
    show: str = ""
    background: bool = False
    foreground: bool = False
    debug: bool = False
    master_worker: bool = False
    notify: bool = False
    quiet: bool = False
    verbose: bool = False
    pidfile: str = ""
    directory: str = ""
    localpeer: str = ""
    maxconn: int = 0
    frontend_maxconn: int = 0
    memory: int = 0
    zero_warning: bool = False
    diagnostic: bool = False
    ignore_failures: bool = False
    noreuseport: bool = False
    nosplice: bool = False
    insecure_fork: bool = False
    finish: tuple[int, ...] = ()
    terminate: tuple[int, ...] = ()
    old_sockets: str = ""
    invocation: Any = None
    predecessor: Any = None
    """Of a running release (`control.upgrade`); no flag says them."""


class UsageError(ConfigError):
    """The command line makes no sense."""


# --- what flags do ------------------------------------------------------------------------------------------------

Action = Callable[[CommandLine, list[str]], None]
"""Obeys a flag, taking its arguments from the front of the list. Raises ConfigError."""


def _on(*names: str) -> Action:
    def act(command: CommandLine, _rest: list[str]) -> None:
        for name in names:
            setattr(command, name, True)

    return act


def _show(what: str) -> Action:
    def act(command: CommandLine, rest: list[str]) -> None:
        command.show = what
        # HAProxy answers at once: what follows is not even looked at.
        rest.clear()

    return act


def _text(name: str) -> Action:
    def act(command: CommandLine, rest: list[str]) -> None:
        setattr(command, name, rest.pop(0))

    return act


def _file(command: CommandLine, rest: list[str]) -> None:
    command.files.append(rest.pop(0))


def _rest_are_files(command: CommandLine, rest: list[str]) -> None:
    command.files += rest
    rest.clear()


def _number(flag: str, name: str) -> Action:
    def act(command: CommandLine, rest: list[str]) -> None:
        word = rest.pop(0)
        if not is_number(word):
            raise ConfigError(f"{flag} option: '{word}' is not a number")
        setattr(command, name, int(word))

    return act


def _processes(flag: str, name: str) -> Action:
    def act(command: CommandLine, rest: list[str]) -> None:
        found: list[int] = []
        while rest and not rest[0].startswith("-"):
            word = rest.pop(0)
            if not is_number(word):
                raise ConfigError(f"{flag} option: some bytes unconsumed in PID list {{{word}}}")
            if not int(word):
                raise UsageError(f"{flag} option: 0 is no process")
            found.append(int(word))
        setattr(command, name, getattr(command, name) + tuple(found))

    return act


def _old_sockets(command: CommandLine, rest: list[str]) -> None:
    path = rest.pop(0)
    command.old_sockets = "" if path == "/dev/null" else path


def _refused(flag: str, why: str, arguments: int = 0) -> Action:
    def act(_command: CommandLine, rest: list[str]) -> None:
        del rest[:arguments]
        raise ConfigError(f"{flag} {why}")

    return act


# --- the table ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag: its name, the form of its arguments, its documentation, what it does."""

    name: str
    arguments: str
    doc: str
    act: Action
    glued: bool = False
    """Its argument follows in the same word, as in `-dM0`."""


def _nothing(_command: CommandLine, _rest: list[str]) -> None:
    """Accepted: what it changes in HAProxy does not exist here."""


_NO_EFFECT: tuple[tuple[str, str, str], ...] = (
    ("-dM", "[<byte>,...]", "memory is the interpreter's: there is none to poison"),
    ("-de", "", "there is one poller, epoll"),
    ("-dp", "", "there is one poller, epoll"),
    ("-dk", "", "there is one poller, epoll"),
    ("-ds", "", "there is one poller, epoll"),
    ("-dG", "", "names are looked up by the C library alone"),
    ("-dF", "", "there is no fast-forwarding between filters"),
    ("-dZ", "", "there is no zero-copy forwarding between protocols"),
    ("-dV", "", "there is no TLS towards servers yet whose check it could disable"),
)
_OUTPUT = "prints what is inside of HAProxy and has no counterpart here."

FLAGS: tuple[Flag, ...] = (
    Flag(
        "-f",
        "<file or directory>",
        "Read this configuration; may be said again. Of a directory, the files `*.cfg` that are not hidden, in the "
        "C locale's order. Every file must begin with a section of its own.",
        _file,
    ),
    Flag("--", "<file>...", "All further arguments are configuration files.", _rest_are_files),
    Flag("-c", "", "Check the configuration and exit: 0 valid, 1 invalid, 2 nothing to listen on.", _on("check")),
    Flag(
        "-cc",
        "<condition>",
        "Evaluate the condition of an `.if` and exit: 0 true, 1 false, 2 malformed.",
        _text("condition"),
    ),
    Flag("-v", "", "Show the version and exit; so does `--version`.", _show("version")),
    Flag("-vv", "", "Show the version, what the machine offers and the limits that follow, and exit.", _show("build")),
    Flag("-d", "", "Debug: stay in the foreground and show what the processes tell each other.", _on("debug")),
    Flag("-db", "", "Stay in the foreground, whatever the configuration says.", _on("foreground")),
    Flag(
        "-D",
        "",
        "Go to the background. The command returns when every worker accepts, or with status 1.",
        _on("background"),
    ),
    Flag(
        "-W",
        "",
        "Master-worker mode. There is always a supervisor here; this makes its messages and exit codes those of "
        "HAProxy's master.",
        _on("master_worker"),
    ),
    Flag(
        "-Ws",
        "",
        "The same for systemd. It is told with or without this flag, whenever NOTIFY_SOCKET is set. With `-p FILE` "
        "there is a stats socket `FILE.sock` of level admin for root alone, whatever the configuration says: `pasvport "
        "ctl -s FILE.sock reload` waits for the reload, and fails when it fails.",
        _on("master_worker", "notify"),
    ),
    Flag(
        "-q",
        "",
        "Quiet: no message at all. Errors are written nevertheless where the standard error is systemd's journal.",
        _on("quiet"),
    ),
    Flag("-V", "", "Verbose: overrides `quiet`.", _on("verbose")),
    Flag("-p", "<file>", "Write the supervisor's process id there, in the foreground too.", _text("pidfile")),
    Flag("-C", "<directory>", "Change to this directory before anything is read.", _text("directory")),
    Flag("-L", "<name>", "The value of `HAPROXY_LOCALPEER`; wins over `localpeer`.", _text("localpeer")),
    Flag("-n", "<number>", "Connections at once; wins over `maxconn`.", _number("-n", "maxconn")),
    Flag("-N", "<number>", "Default of a frontend's `maxconn`.", _number("-N", "frontend_maxconn")),
    Flag("-m", "<megabytes>", "Limit the address space of each process.", _number("-m", "memory")),
    Flag(
        "-sf",
        "<pid>...",
        "When everything serves, tell these processes to finish what they have and leave (SIGUSR1). If they hold "
        "ports without SO_REUSEPORT they are paused for the take-over (SIGTTOU).",
        _processes("-sf", "finish"),
    ),
    Flag("-st", "<pid>...", "The same with SIGTERM: their sessions end.", _processes("-st", "terminate")),
    Flag("-dW", "", "Refuse to start when there is any warning, as `zero-warning`.", _on("zero_warning")),
    Flag("-dD", "", "Diagnostic mode: `.diag` lines speak.", _on("diagnostic")),
    Flag("-dr", "", "A server whose name cannot be resolved is disabled, not an error.", _on("ignore_failures")),
    Flag("-dR", "", "Bind without SO_REUSEPORT, as `noreuseport`.", _on("noreuseport")),
    Flag("-dS", "", "Copy instead of splicing in the kernel, as `nosplice`.", _on("nosplice")),
    Flag("-dI", "", "External checks may run programs, as `insecure-fork-wanted`.", _on("insecure_fork")),
    Flag("-h", "", "Show the usage and exit; so do `--help` and `pasvport help`.", _show("usage")),
    Flag(
        "-x",
        "<socket>",
        "Take the listening sockets over from the process whose stats socket this is (a pasvport or a HAProxy, with "
        "`expose-fd listeners`); with `-sf` no connection is lost. `/dev/null`: none. See [reload.md](reload.md).",
        _old_sockets,
    ),
    Flag(
        "-S",
        "<bind>",
        "Refused: no master has a runtime API of its own here. `stats socket` answers for all workers.",
        _refused(
            "-S",
            "is not supported: there is no master with a runtime API of its own. Use 'stats socket' in the global "
            "section, which the supervisor answers for all workers.",
            1,
        ),
    ),
    *(
        Flag(name, arguments, f"No effect: {why}.", _nothing, glued=bool(arguments))
        for name, arguments, why in _NO_EFFECT
    ),
    *(
        Flag(name, arguments, "Refused: prints the inside of HAProxy.", _refused(name, _OUTPUT), glued=bool(arguments))
        for name, arguments in (
            ("-dL", ""),
            ("-dA", "[<file>]"),
            ("-dC", "[<key>]"),
            ("-dK", "<class>"),
            ("-dt", "[...]"),
        )
    ),
)

_LONG = {"--help": "-h", "--version": "-v"}
_BY_NAME = {flag.name: flag for flag in FLAGS}
_BY_NAME |= {word: _BY_NAME[name] for word, name in _LONG.items()}

SUBCOMMANDS = {
    "ctl": "[-s <socket> | -f <cfgfile>] [command]",
    "top": "[-s <socket> | -f <cfgfile>] [--once]",
    "doctor": "-f <cfgfile> [--user <name> --password-env <name>] [--json]",
    "demo": "[--keep]",
    "help": "[ctl | top | doctor | demo]",
}
"""Words that may stand first instead of flags, and the form of what follows."""
_ELSEWHERE = {
    **dict.fromkeys(("check", "--check"), "-c -f FILE"),
    **dict.fromkeys(("--config", "--file", "start"), "-f FILE"),
    **dict.fromkeys(("stats", "status", "info"), "ctl show info"),
    **{word: f"ctl {word}" for word in ("add", "del", "disable", "enable", "get", "reload", "set", "show", "shutdown")},
}
"""Where that is which other programs have under these words."""
_GLUED = tuple(flag for flag in FLAGS if flag.glued)


def parse(arguments: Sequence[str]) -> CommandLine:
    """Obey the flags in order. Raises UsageError for what is no flag, ConfigError for a flag's wrong argument."""
    command = CommandLine()
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        flag = _BY_NAME.get(word) or next((each for each in _GLUED if word.startswith(each.name)), None)
        if flag is None:
            raise UsageError(_unknown(word, is_first=len(rest) == len(arguments) - 1))
        if flag.arguments and not flag.glued and not rest and flag.name not in _MAY_BE_BARE:
            raise UsageError(f"{flag.name} needs an argument: {flag.name} {flag.arguments}")
        flag.act(command, rest)
    return command


_MAY_BE_BARE = ("--", "-sf", "-st")


def _unknown(word: str, *, is_first: bool) -> str:
    """What is said of a word that is no flag and, where one may stand, no subcommand."""
    kind, known = ("neither a flag nor a command", (*SUBCOMMANDS, *_BY_NAME)) if is_first else ("no flag", _BY_NAME)
    if "/" in word or word.endswith(".cfg"):
        return f"'{word}' is {kind}; did you mean '-f {word}'?"
    found = meant(word, (*known, *_ELSEWHERE))
    return f"'{word}' is {kind}" + (f"; did you mean '{_ELSEWHERE.get(found, found)}'?" if found else "")


# --- files --------------------------------------------------------------------------------------------------------


def read_files(names: Sequence[str]) -> list[tuple[str, str]]:
    """(name, text) of every configuration file, directories opened out. Raises ConfigError in HAProxy's words."""
    return [(name, _read(name)) for given in names for name in _expanded(given)]


def _expanded(name: str) -> Iterator[str]:
    path = Path(name)
    if not path.is_dir():
        yield name
        return
    for entry in sorted(path.iterdir(), key=lambda entry: entry.name.encode("utf-8", "surrogateescape")):
        if entry.name.endswith(".cfg") and not entry.name.startswith(".") and entry.is_file():
            yield f"{name.rstrip('/') or '/'}/{entry.name}"


def _read(name: str) -> str:
    try:
        # Bytes that are no UTF-8 pass through unchanged; line ends are the lexer's business.
        return Path(name).read_bytes().decode("utf-8", "surrogateescape")
    except OSError as error:
        raise ConfigError(f"config : Cannot open configuration file/directory {name} : {error.strerror}") from error


# --- showing ------------------------------------------------------------------------------------------------------


def usage(program: str) -> str:
    """What `-h` shows."""
    lines = [f"Usage : {program} [-f <cfgfile|cfgdir>]* [flags] [-- <cfgfile>*]"]
    lines += [f"        {program} {word} {form}" for word, form in SUBCOMMANDS.items()]
    lines += [f"        {shown(flag):24} {_first_sentence(flag.doc)}" for flag in FLAGS]
    return "\n".join(lines) + "\n"


def shown(flag: Flag) -> str:
    """A flag with the form of its arguments."""
    return f"{flag.name}{'' if flag.glued else ' '}{flag.arguments}".strip()


def _first_sentence(doc: str) -> str:
    return doc.partition(". ")[0].rstrip(".")


_PAGE = """\
# Command line

Generated from the table in `src/pasvport/command_line.py` by `python -m pasvport.command_line`; do not edit.

`pasvport` takes HAProxy's flags, each a word of its own.
`pasvport demo` is a demonstration; see `pasvport demo --help`.
`pasvport doctor` examines a configuration and the servers behind it; see [doctor.md](doctor.md).

`pasvport help` (`-h`, `--help`) shows the usage and `pasvport help COMMAND` that of `ctl`, `top`, `doctor` or `demo`,
on the standard output with status 0. A word that is mistyped gets one line on the standard error, with what was
probably meant.

## Talking to a running balancer

`pasvport ctl` and `pasvport top` are clients of the runtime API (`stats socket`; its commands: `runtime-api.md`). Both
are told the socket with `-s SOCKET` (a path, `unix@PATH`, `HOST:PORT`) or find it in a configuration, that of
`-f CONFIG` or `/etc/pasvport/pasvport.cfg`: of several `stats socket` lines, the first of the highest level. What else
is wrong with the configuration does not matter. Both work with HAProxy's socket too.

| Command | Meaning |
|---|---|
| `pasvport ctl COMMAND...` | Give a command, show its answer. Several with `;` (quoted from the shell). \
One that ends in `<<` takes the standard input, up to an empty line, as its payload. |
| `pasvport ctl` | On a terminal: a prompt with history (`$XDG_STATE_HOME/pasvport/ctl-history`) and \
completion; otherwise each line of the standard input is a command. |
| `pasvport top` | A live screen: servers, running FTP transfers with their rate and progress, sessions, \
the pool of data ports. Keys: `q` quits, `s` sorts the servers. `--interval SECONDS`; `--sort` \
`configuration`, `sessions`, `traffic` or `name`. |
| `pasvport top --once` | Two looks an interval apart, one picture on the standard output; so without a terminal. |

Exit status: 0 done; 1 the balancer refused the command (its words are on the standard error); 2 it cannot be reached.

## Flags

| Flag | Meaning |
|---|---|
{rows}

## Exit status

| Status | When |
|---|---|
| 0 | `-c`: valid. After SIGUSR1. With `-W`, after SIGTERM. `-D`: every worker accepts. |
| 1 | The configuration is invalid, a port cannot be bound, a limit cannot be set, a worker cannot start; wrong usage. |
| 2 | `-c`: valid, but there is nothing to listen on. `-cc`: the condition is malformed. |
| killed by SIGTERM, SIGINT | After that signal (143, 130 as a shell sees it; with `-W`, 0 and 130). |

## Signals

| Signal | Effect |
|---|---|
| SIGUSR1 | Soft stop: no new client is served; a client with a live session may still open data connections. Ends \
with the last session, or at `hard-stop-after`. `grace` delays it. |
| SIGTERM, SIGINT | End now; sessions are cut and logged. |
| SIGHUP | Dump the state of every server and proxy to stderr and the logs. With `-W`: a reload. |
| SIGUSR2 | A reload, with and without `-W`: see [reload.md](reload.md). |
| SIGTTOU, SIGTTIN | Pause: TCP ports refuse connections and may be bound by another process; resume. |
| SIGQUIT, SIGPIPE | Ignored. |

## Differences from HAProxy 2.6

- SIGUSR2 reloads without `-W` too; HAProxy ignores it then.
- A worker that dies is replaced, in every mode; HAProxy's master ends everything unless told otherwise.
- `-p` writes the file in the foreground too.
- `-n`, `-N` and `-m` refuse what is not a number; HAProxy reads 0.
- `-m` below 192 is refused: an interpreter does not start in less.
- `-h` shows the usage on the standard output with status 0, and a flag that does not exist one line with status 1;
  HAProxy knows no `-h`, and shows the whole usage on the standard error with status 1 for both.
"""


def reference_page() -> str:
    """docs/command-line.md."""
    rows = "\n".join(f"| `{shown(flag)}` | {flag.doc} |" for flag in FLAGS)
    return _PAGE.format(rows=rows)


if __name__ == "__main__":
    sys.stdout.write(reference_page())
