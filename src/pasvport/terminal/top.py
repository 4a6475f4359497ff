"""`pasvport top`: servers, transfers, sessions and data ports on a live screen, or once for scripts."""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import select
import sys
import termios
import time
import tty
from collections import deque
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.live import Live
from rich.text import Text

from pasvport.terminal.connection import ApiError, Conversation
from pasvport.terminal.ctl import parser
from pasvport.terminal.figures import Change, Look, look
from pasvport.terminal.place import ReadFiles, find
from pasvport.terminal.screen import SORTS, View, picture

_DESCRIPTION = """\
Watch a running pasvport (or HAProxy): servers, running transfers with their rate, sessions, the pool of data ports.
Keys: q quits, s sorts the servers by another column."""
_LEAST_INTERVAL, _LONGEST_INTERVAL = 0.1, 3600
_LOOKS = 11
"""Looks over which rates are taken: one interval alone shows the bursts of the network, and lumps of slow clients."""
_SESSIONS = 200
"""Sessions read where there is no FTP."""


def main(arguments: Sequence[str], read_files: ReadFiles) -> int:
    """The command; its exit status: 2 when the API cannot be reached."""
    options = parser("top", _DESCRIPTION)
    options.add_argument(
        "--once", action="store_true", help="look twice, print one picture, leave; so without a terminal"
    )
    options.add_argument("-i", "--interval", type=_interval, default=1.0, metavar="SECONDS", help="default 1")
    options.add_argument("--sort", choices=SORTS, default=SORTS[0], help="order of the servers")
    given = options.parse_args(arguments)
    try:
        watch = Watch(find(given.socket, given.file, read_files), given.interval, given.sort)
    except ApiError as error:
        print(f"pasvport top: {error}", file=sys.stderr)
        return 2
    with contextlib.closing(watch):
        try:
            return watch.once() if given.once or not sys.stdout.isatty() else watch.live()
        except ApiError as error:
            print(f"pasvport top: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            return 0


def _interval(word: str) -> float:
    try:
        seconds = float(word)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= _LONGEST_INTERVAL:
        raise argparse.ArgumentTypeError(f"'{word}' is no number of seconds up to {_LONGEST_INTERVAL}")
    return max(_LEAST_INTERVAL, seconds)


class Watch:
    """Looks again and again at one balancer."""

    def __init__(self, address: str, interval: float, sort: str) -> None:
        self._conversation = Conversation(address)
        self._interval = interval
        self._sort = sort
        self._console = Console()
        self._looks: deque[Look] = deque(maxlen=_LOOKS)

    def close(self) -> None:
        """Hang up."""
        self._conversation.close()

    def once(self) -> int:
        """One picture on the standard output, with the rates of one interval."""
        self._look()
        time.sleep(self._interval)
        self._look()
        view = View(sort=self._sort, width=self._console.width, hint=False)
        self._console.print(picture(self._change(), view))
        return 0

    def live(self) -> int:
        """Until `q` or an interrupt. A balancer that cannot be reached for a while is waited for."""
        self._look()
        with _keys() as keyboard, Live(console=self._console, screen=True, auto_refresh=False) as screen:
            while self._watch_on(keyboard, screen):
                pass
        return 0

    def _watch_on(self, keyboard: int, screen: Live) -> bool:
        """One picture, and the next look; False when the user has seen enough."""
        screen.update(picture(self._change(), self._view()), refresh=True)
        if not self._obey_keys(keyboard, time.monotonic() + self._interval, screen):
            return False
        try:
            self._look()
        except ApiError as error:
            screen.update(Text(f"{error}\n\ntrying again; q quits", style="bold red"), refresh=True)
            self._looks.clear()
            return self._wait_for_balancer(keyboard)
        return True

    def _look(self) -> None:
        self._looks.append(look(self._conversation.ask, time.monotonic(), sessions=_SESSIONS))

    def _change(self) -> Change:
        return Change(self._looks[0] if len(self._looks) > 1 else None, self._looks[-1])

    def _view(self) -> View:
        return View.for_screen(self._change().now, self._console.width, self._console.height, self._sort)

    def _obey_keys(self, keyboard: int, until: float, screen: Live) -> bool:
        """Wait for the next look, and for keys; False for `q`."""
        while (left := until - time.monotonic()) > 0:
            key = _key(keyboard, left)
            if key == "q":
                return False
            if key == "s":
                self._sort = SORTS[(SORTS.index(self._sort) + 1) % len(SORTS)]
                screen.update(picture(self._change(), self._view()), refresh=True)
        return True

    def _wait_for_balancer(self, keyboard: int) -> bool:
        while True:
            if _key(keyboard, self._interval) == "q":
                return False
            with contextlib.suppress(ApiError):
                self._look()
                return True


def _key(keyboard: int, seconds: float) -> str:
    """The key that is pressed within that time, "" for none."""
    if keyboard < 0:
        time.sleep(seconds)
        return ""
    ready, _, _ = select.select([keyboard], [], [], seconds)
    return os.read(keyboard, 1).decode("latin-1") if ready else ""


@contextlib.contextmanager
def _keys() -> Iterator[int]:
    """The keyboard's descriptor, giving keys as they are pressed; -1 where there is none."""
    if not sys.stdin.isatty():
        yield -1
        return
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    try:
        tty.setcbreak(keyboard)
        yield keyboard
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
