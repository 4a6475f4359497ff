"""What the operator reads on stderr while the program starts and runs, in HAProxy's form.

`[WARNING]  (PID) : text`; two NOTICE lines that name the program come before the first complaint of a start, never
later. Source: HAProxy management guide, section 2; `-q` silences everything, a daemon speaks until it is ready.
Where stderr is the journal of a service manager nobody is disturbed, and who asks why a start failed has nothing else:
alerts are written there in spite of `-q`.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable

from pasvport.config.diagnostics import Diagnostics, Severity, Speaker, message, preamble, render

_LEVELS = (Severity.ALERT,) * 4 + (Severity.WARNING,) + (Severity.NOTICE,) * 3
"""Label for each syslog level: emerg..err are alerts, warning is one, the rest are notices."""
_MOST_STARTUP_LOGS = 1 << 16
"""Characters."""


class Console:
    """stderr and stdout of one process. `debug` (`-d`) also shows what `trace` is told."""

    def __init__(
        self, *, program: str, version: str, executable: str, quiet: bool = False, debug: bool = False
    ) -> None:
        self.program = program
        self._version = version
        self._executable = executable
        self._quiet = quiet
        self._debug = debug
        self._introduced = False
        self._is_starting = True
        self.fault = ""
        """The first alert."""
        self.startup_logs = ""
        """What was said until the start was over, also where nobody was to hear it."""

    def silence(self) -> None:
        """Say nothing any more (`quiet`, and a daemon after its start)."""
        self._quiet = True

    def started(self) -> None:
        """The start is over: messages come without introduction from now on."""
        self._introduced = True
        self._is_starting = False

    @property
    def main(self) -> str:
        """What HAProxy puts before messages of its start."""
        return f"[{self.program}.main()]"

    def alert(self, text: str) -> None:
        """Something that stops the program, or takes service away."""
        self.say(Severity.ALERT, text)

    def warn(self, text: str) -> None:
        """Something to look at."""
        self.say(Severity.WARNING, text)

    def notice(self, text: str) -> None:
        """Good to know."""
        self.say(Severity.NOTICE, text)

    def say(self, severity: Severity, text: str) -> None:
        """One message; several lines of `text` stay together."""
        lines = []
        if severity is not Severity.NOTICE and not self._introduced:
            lines = preamble(self._speaker())
            self._introduced = True
        lines.append(f"[{severity}]".ljust(10) + f" ({os.getpid()}) : {text}")
        self._note_fault(severity, text)
        self._tell("".join(f"{line}\n" for line in lines))

    def _note_fault(self, severity: Severity, text: str) -> None:
        if severity is Severity.ALERT and not self.fault:
            self.fault = text.partition("\n")[0]

    def at_level(self, level: int, text: str) -> None:
        """One message at a syslog level, 0 (emerg) to 7 (debug)."""
        self.say(_LEVELS[level], text)

    def show(self, diagnostics: Diagnostics) -> None:
        """All that was found in a configuration."""
        text = render(diagnostics, self._speaker())
        for entry in diagnostics.found:
            self._note_fault(entry.severity, message(entry))
        self._introduced |= any(entry.severity is not Severity.NOTICE for entry in diagnostics.found)
        self._tell(text)

    def remark(self, text: str) -> None:
        """A line without label on stdout, as HAProxy's `-c` and `-V` write it."""
        if not self._quiet:
            with contextlib.suppress(OSError):
                print(text, flush=True)

    def note(self, text: str) -> None:
        """A line without label on stderr."""
        self._write(f"{text}\n")

    def trace(self, word: Callable[..., str], *values: object) -> None:
        """A line of `-d`: what passes between the processes. `word` makes it of `values`, only where it is shown."""
        if self._debug:
            self._write(f"{word(*values)}\n")

    def _speaker(self) -> Speaker:
        return Speaker(os.getpid(), self.program, self._version, self._executable)

    def _tell(self, text: str) -> None:
        if self._is_starting:
            self.startup_logs = (self.startup_logs + text)[:_MOST_STARTUP_LOGS]
        self._write(text)

    def _write(self, text: str) -> None:
        if sys.stderr is None:
            return
        if self._quiet:
            text = _alerts(text) if _is_journal() else ""
        if not text:
            return
        # Whoever read our stderr may be gone; that must not stop a balancer.
        with contextlib.suppress(OSError):
            sys.stderr.write(text)
            sys.stderr.flush()


def _alerts(text: str) -> str:
    """The messages that are alerts, each with its further lines."""
    wanted, kept = False, []
    for line in text.splitlines(keepends=True):
        if line.startswith("["):
            wanted = line.startswith(f"[{Severity.ALERT}]")
        if wanted:
            kept.append(line)
    return "".join(kept)


def _is_journal() -> bool:
    """Whether stderr is the journal (systemd.exec(5), `JOURNAL_STREAM`)."""
    with contextlib.suppress(OSError):
        found = os.fstat(2)
        return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"
    return False
