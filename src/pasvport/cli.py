"""The front door: reads the command line, compiles the configuration, checks it or serves it.

Exit codes and texts are those of HAProxy 2.6 (management guide, section 3).
"""

from __future__ import annotations

import grp
import os
import platform
import pwd
import resource
import shutil
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pasvport
from pasvport import steering
from pasvport.address import Endpoint, Family
from pasvport.command_line import CommandLine, UsageError, parse, read_files, usage
from pasvport.config.compiler import Outcome, load
from pasvport.config.diagnostics import Diagnostics, Form, Severity
from pasvport.config.directives import LANGUAGE_VERSION, Build, evaluate_argument
from pasvport.config.world import World
from pasvport.control import host
from pasvport.control.console import Console
from pasvport.control.resolve import UNRESOLVED_SERVERS, resolve
from pasvport.engine import is_compiled
from pasvport.errors import ConfigError, ResourceError
from pasvport.logformat import check_format
from pasvport.model import Config, Origin, StatsLevel, StatsSocket, UnixPermissions

PROGRAM = "pasvport"
_NO_LISTENER = "No enabled listener found (check for 'bind' directives) ! Exiting."
FEATURES = frozenset({"ACCEPT4", "EPOLL", "GETADDRINFO", "LINUX_SPLICE", "LINUX_TPROXY", "SYSTEMD", "TFO", "TPROXY"})
"""HAProxy's names of what this program does too: for `feature()` in conditions."""
LARGEST_FILE = 32 << 20
"""Bytes of a file that the configuration names: a map."""
LONGEST_UNIX_PATH = 107
"""Bytes (unix(7))."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `pasvport`; returns its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words == ["help"]:
        return _show_usage()
    if not words:
        sys.stderr.write(usage(PROGRAM))
        return 1
    if words[:1] == ["demo"]:
        from pasvport.demo.tour import main as demo

        return demo(words[1:])
    if words[:1] == ["doctor"]:
        from pasvport.doctor.consultation import main as doctor

        return doctor(words[1:], read_files, _world(CommandLine()))
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Ctrl-C before there is a supervisor ends the program the plain way, without a traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        command = parse(words)
    except UsageError as error:
        return _complain(str(error))
    except ConfigError as error:
        _console(CommandLine()).alert(str(error))
        return 1
    return _obey(command)


def _obey(command: CommandLine) -> int:
    if command.show:
        return _SHOWS[command.show]()
    console = _console(command)
    if command.condition is not None:
        return _evaluate(command.condition, console)
    if not command.check:
        # Before the directory is changed.
        from pasvport.control.upgrade import Invocation, predecessor

        command.invocation, command.predecessor = Invocation.current(), predecessor()
    status = _obey_files(command, console)
    if status > 0 and command.predecessor is not None:
        command.predecessor.failed(console.fault)
    if status > 0 and not command.check and console.fault:
        host.sd_notify_failure(console.fault)
    return status


def _obey_files(command: CommandLine, console: Console) -> int:
    try:
        if command.directory:
            _change_directory(command.directory)
        texts = read_files(command.files)
    except ConfigError as error:
        console.alert(str(error))
        return 1
    if not texts:
        return _complain(f"no configuration file given: {PROGRAM} -f FILE")
    return _check_or_serve(command, console, texts)


def _console(command: CommandLine) -> Console:
    executable = shutil.which(sys.argv[0]) or sys.argv[0]
    return Console(
        program=PROGRAM,
        version=pasvport.__version__,
        executable=str(Path(executable).resolve()),
        quiet=command.quiet and not command.verbose,
        debug=command.debug,
    )


def _change_directory(path: str) -> None:
    try:
        os.chdir(path)
    except OSError as error:
        raise ConfigError(f"Could not change to directory {path} : {error.strerror}") from error


def _evaluate(condition: str, console: Console) -> int:
    try:
        return 0 if evaluate_argument(condition, os.environ, _build()) else 1
    except ConfigError as error:
        console.alert(f"config : {error}")
        return 2


# --- the configuration --------------------------------------------------------------------------------------------


def _check_or_serve(command: CommandLine, console: Console, texts: list[tuple[str, str]]) -> int:
    outcome, config = _compiled(command, texts)
    console.show(outcome.diagnostics)
    if config is None:
        return 1
    if command.check:
        _remark_limits(config, console)
        return _report_check(outcome, console)
    if not outcome.has_listener:
        console.alert(f"{console.main} {_NO_LISTENER}")
        return 1
    if config.settings.quiet and not command.verbose:
        console.silence()
    return _serve(_with_switches(config, command), command, console)


def _compiled(command: CommandLine, texts: list[tuple[str, str]]) -> tuple[Outcome, Config | None]:
    """What was found in the texts, and the configuration, None when it is refused."""
    outcome = load(texts, _world(command))
    config = _resolved(outcome, command)
    if _is_forbidden(outcome.diagnostics, config, command):
        outcome.diagnostics.alert(None, "Some warnings were found and 'zero-warning' is set. Aborting.")
        config = None
    return outcome, config


def _reread(command: CommandLine) -> tuple[Config | None, Diagnostics]:
    """A reload: the same files, under the same conditions. Raises ConfigError for one that cannot be read."""
    outcome, config = _compiled(command, read_files(command.files))
    if config is not None and not outcome.has_listener:
        outcome.diagnostics.alert(None, _NO_LISTENER)
        config = None
    return (None if config is None else _with_switches(config, command)), outcome.diagnostics


def _resolved(outcome: Outcome, command: CommandLine) -> Config | None:
    """The configuration with every name looked up; None when something is wrong, which then has HAProxy's ending."""
    found, config = outcome.diagnostics, outcome.config
    if config is not None:
        config = resolve(config, found, ignore_failures=command.ignore_failures)
    if not found.has_alerts:
        return config
    if found.found[-1].text != UNRESOLVED_SERVERS:
        _summarise(found)
    return None


def _summarise(found: Diagnostics) -> None:
    """Which files are wrong, and that the whole is refused."""
    blamed = (entry for entry in found.found if entry.severity is Severity.ALERT and entry.fatal)
    for file in dict.fromkeys(entry.origin.file for entry in blamed if entry.origin and entry.form is not Form.OBJECT):
        found.summarise_file(file, 0)
    found.summarise()


def _is_forbidden(diagnostics: Diagnostics, config: Config | None, command: CommandLine) -> bool:
    return config is not None and diagnostics.has_warnings and (command.zero_warning or config.settings.zero_warning)


def _remark_limits(config: Config, console: Console) -> None:
    """What a start on this machine would say of descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = host.limits(config, cpus=host.processors(), soft=soft, hard=hard)
    if text := host.remark(found, hard=config.settings.ulimit_n or hard):
        console.notice(text)


def _report_check(outcome: Outcome, console: Console) -> int:
    if outcome.diagnostics.has_warnings:
        console.remark("Warnings were found.")
    if not outcome.has_listener:
        console.remark("Configuration file has no error but will not start (no listener) => exit(2).")
        return 2
    console.remark("Configuration file is valid")
    return 0


def _with_switches(config: Config, command: CommandLine) -> Config:
    settings = config.settings
    default = command.frontend_maxconn
    return replace(
        config,
        proxies=tuple(replace(proxy, maxconn=proxy.maxconn or default) for proxy in config.proxies),
        settings=replace(
            settings,
            noreuseport=settings.noreuseport or command.noreuseport,
            nosplice=settings.nosplice or command.nosplice,
            stats_sockets=(*_own_socket(command), *settings.stats_sockets),
        ),
    )


def _own_socket(command: CommandLine) -> Iterator[StatsSocket]:
    """With `-Ws` and a pid file: a stats socket beside it, whatever the configuration says, for `ExecReload`."""
    if command.notify and command.pidfile:
        path = f"{Path.cwd() / command.pidfile}.sock"
        if len(path.encode("utf-8", "surrogateescape")) <= LONGEST_UNIX_PATH:
            endpoint = Endpoint(Family.UNIX, path)
            private = UnixPermissions(mode=0o600)
            yield StatsSocket(Origin("-Ws", 0), endpoint, StatsLevel.ADMIN, expose_listeners=True, permissions=private)


def _serve(config: Config, command: CommandLine, console: Console) -> int:
    # Who only asks whether a configuration is good does not wait for the modules of the supervisor.
    from pasvport.control.start import Launch, serve

    settings = config.settings
    # A successor has its place already: in the background or not, and after nobody but the one who started it.
    is_successor = command.predecessor is not None
    in_foreground = command.foreground or command.debug or is_successor
    launch = Launch(
        background=(command.background or settings.daemon) and not in_foreground,
        master_worker=command.master_worker or settings.master_worker,
        pidfile=command.pidfile or settings.pidfile,
        finish=() if is_successor else command.finish,
        terminate=() if is_successor else command.terminate,
        memory=command.memory,
        verbose=command.verbose or command.debug,
        old_sockets="" if is_successor else command.old_sockets,
        predecessor=command.predecessor,
        invocation=command.invocation,
        reread=partial(_reread, command),
    )
    return serve(config, launch, console)


def _world(command: CommandLine) -> World:
    return World(
        environment=dict(os.environ),
        user_id=_user_id,
        group_id=_group_id,
        check_log_format=check_format,
        read_file=_read_file,
        hostname=socket.gethostname(),
        build=_build(),
        diagnostic_mode=command.diagnostic,
        directory=str(Path.cwd()),
        localpeer=command.localpeer,
        maxconn=command.maxconn,
        insecure_fork=command.insecure_fork,
    )


def _user_id(name: str) -> int | None:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


def _group_id(name: str) -> int | None:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def _read_file(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except (OSError, ValueError) as error:
        raise ConfigError(getattr(error, "strerror", None) or str(error)) from None
    if len(data) > LARGEST_FILE:
        raise ConfigError(f"more than {LARGEST_FILE >> 20} MiB")
    return data.decode("utf-8", "surrogateescape")


def _build() -> Build:
    return Build(features=FEATURES)


# --- showing ------------------------------------------------------------------------------------------------------


def _complain(why: str) -> int:
    """Wrong usage: one line."""
    sys.stderr.write(f"{PROGRAM}: {why} ({PROGRAM} --help shows the usage)\n")
    return 1


def _show_usage() -> int:
    _show_version()
    print(usage(PROGRAM), end="", flush=True)
    return 0


def _show_version() -> int:
    uname = platform.uname()
    print(
        f"{PROGRAM} version {pasvport.__version__} - load balancer for passive FTP and FTPS\n"
        f"Configuration language: HAProxy {LANGUAGE_VERSION}\n"
        f"Running on: {uname.system} {uname.release} {uname.version} {uname.machine}",
        flush=True,
    )
    return 0


def _show_build() -> int:
    _show_version()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limits = host.limits(Config(), cpus=host.processors(), soft=soft, hard=hard)
    rows = (
        ("Python", f"{platform.python_implementation()} {platform.python_version()}"),
        ("Data plane", "compiled (mypyc)" if is_compiled() else "Python"),
        ("Features", " ".join(f"+{name}" for name in sorted(FEATURES))),
        ("Steering by source address (SO_ATTACH_REUSEPORT_CBPF)", _steering()),
        ("Splicing in the kernel (splice)", "yes" if hasattr(os, "splice") else "no"),
        ("Workers by default (nbthread)", f"{limits.nbthread}, at most {host.MOST_WORKERS}"),
        ("Descriptors (ulimit -n)", f"{soft}, at most {hard}"),
        ("Connections by default (maxconn)", str(limits.maxconn)),
        ("Buffer of one direction (tune.bufsize)", str(Config().settings.bufsize)),
    )
    print("\n".join(f"{name}: {value}" for name, value in rows), flush=True)
    return 0


def _steering() -> str:
    """Whether this kernel takes the program: tried, not guessed."""
    with socket.socket() as probe:
        try:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            probe.bind(("127.0.0.1", 0))
            probe.listen()
            steering.steer([probe])
        except (OSError, ResourceError) as error:
            return f"no ({error})"
    return "yes"


_SHOWS = {"version": _show_version, "build": _show_build, "usage": _show_usage}
