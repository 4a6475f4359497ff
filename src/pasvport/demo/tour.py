"""`pasvport demo`: the guided demonstration. Nothing of it leaves loopback, and nothing stays behind."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from pasvport.demo import tables
from pasvport.demo.act_page import PageAct
from pasvport.demo.act_word import WordAct
from pasvport.demo.child import ChildError
from pasvport.demo.journal import SilenceError
from pasvport.demo.site import FtpSite, Site
from pasvport.demo.stage import Stage
from pasvport.demo.trickle import Trickle
from pasvport.digits import is_number
from pasvport.errors import ResourceError
from pasvport.subcommand import Parser


def main(arguments: Sequence[str]) -> int:
    """Exit status: 0 when everything held, 1 when something did not, 130 when interrupted before the end."""
    wanted = _parse(arguments)
    console = Console(highlight=False, width=None if Console().is_terminal else 80)
    # `kill` must clean up as Ctrl-C does.
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    try:
        held = _play(wanted, Stage(console))
    except (ChildError, SilenceError, ResourceError) as error:
        console.print(f"[bold red]The demonstration could not go on:[/] {escape(str(error))}")
        return 1
    except KeyboardInterrupt:
        console.print("\nInterrupted; everything is stopped and removed.")
        return 130
    return 0 if held else 1


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _play(wanted: argparse.Namespace, stage: Stage) -> bool:
    stage.raise_curtain("Act 1", "HAProxy's page, unchanged: mode tcp")
    with Site(wanted.servers) as site:
        PageAct(site, stage, wanted.clients).play()
    stage.raise_curtain("Act 2", "One word changed: mode ftp")
    with FtpSite(wanted.servers) as farm:
        WordAct(farm, stage, wanted.clients).play()
        held = stage.verdict()
        if wanted.keep:
            _stay(farm, stage.console)
    if not wanted.keep:
        stage.console.print("\n[bold magenta]>[/] What next:")
        stage.console.print(tables.next_steps())
    return held


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = Parser(
        prog="pasvport demo",
        description="FTP servers behind HAProxy's passive-FTP page, in mode tcp and in mode ftp; all on loopback. The "
        "exit status tells whether every promise held.",
    )
    parser.add_argument(
        "--keep", action="store_true", help="then keep the farm of mode ftp, with some traffic, until Ctrl-C"
    )
    parser.add_argument("--servers", type=_between(2, 20), default=3, metavar="N", help="FTP servers, 2-20 (3)")
    parser.add_argument("--clients", type=_between(1, 2000), default=24, metavar="N", help="client addresses (24)")
    return parser.parse_args(list(arguments))


class _between:  # noqa: N801 - reads as a word where it is used
    """An argparse type: an integer in a closed interval."""

    def __init__(self, low: int, high: int) -> None:
        self._low, self._high = low, high

    def __call__(self, text: str) -> int:
        if not is_number(text) or not self._low <= int(text) <= self._high:
            raise argparse.ArgumentTypeError(f"expected {self._low} to {self._high}, not '{text}'")
        return int(text)


def _stay(farm: FtpSite, console: Console) -> None:
    door = farm.door
    console.print("\n[bold magenta]>[/] The farm stays, with a trickle of transfers. Look at it:")
    console.print(tables.windows(farm.windows))
    console.print("Be a client yourself, from another address with --interface 127.50.9.9:")
    console.print(f"  curl ftp://{door.user}:{door.password}@{door.host}:{door.port}/whoami.txt", soft_wrap=True)
    console.print("Ctrl-C ends it.")
    try:
        with Trickle(door):
            signal.pause()
    except KeyboardInterrupt:
        console.print("\nStopped; nothing is left behind.")
