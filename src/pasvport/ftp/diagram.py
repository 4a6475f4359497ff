"""docs/ftp-dialogue.md, from the tables: `python -m pasvport.ftp.diagram docs/ftp-dialogue.md`."""

from __future__ import annotations

import sys

from pasvport.ftp.events import Timer
from pasvport.ftp.states import PATH, PATHS, PHASES, SESSION, Phase, Transition
from pasvport.ftp.verbs import VERBS, Group, Verb
from pasvport.markdown import publish, table
from pasvport.record import Stage

_INTRODUCTION = """# The FTP dialogue

This page is generated from the tables in `src/pasvport/ftp`; a test says when it is stale.

One session is a `Dialogue` (`pasvport.ftp.dialogue`): `receive(event)` gives the actions to carry out, in order. It
owns no socket and no clock: `timers` says which deadlines must run now, `reads_client` whether more of the client's
bytes are wanted. What a phase does not allow is ignored; a peer's breach of the protocol ends the session and names the
culprit.
"""
_SESSION = """## Phases of a session

Every event a phase allows may also leave it as it is. The letter is the second one of the termination state; before
login, Open counts as R.
"""
_PATH = """## States of a data path

A path begins with PASV, EPSV, PORT or EPRT and serves one transfer. There is at most one; its number is in every
event and action, so that what comes late for a former one is ignored.
"""
_COMMANDS = """## Commands

Where an argument is required that the balancer needs, and missing, the answer is 501. A verb that is not listed is
forwarded as a command with one reply. What is said before login is the server's to answer, once it is connected, but
for what wants a data connection, which is answered 530; before a server is chosen (at USER) the balancer answers.
"""
_TIMERS = {
    Timer.CLIENT: "`timeout client`: nothing is under way, the client's next command is awaited",
    Timer.SERVER: "`timeout server`: a reply of the server is awaited, and no data moves",
    Timer.PASSIVE: "3 s, or a sixth of `timeout server` if that is less: the answer to PASV or EPSV is awaited (three "
    "times as long when there is no other way); or it is not certain whose answer has come",
    Timer.LOGIN: "`timeout ftp-login`: nobody is logged in",
    Timer.DATA: "`timeout ftp-data`: the client's data connection is awaited",
    Timer.TRANSFER: "`timeout ftp-transfer`: data moves; no other timer runs",
    Timer.PENALTY: "the delay of `ftp-login-limit`",
    Timer.LULL: "a reply of the server may be over, by the rules of some clients: one second without a byte of it",
}


def render() -> str:
    """The whole page, in Markdown."""
    parts = [
        _INTRODUCTION,
        _SESSION,
        table(("phase", "letter", "meaning"), ((phase, _letter(stage), doc) for phase, (stage, doc) in PHASES.items())),
        _session_diagram(),
        table(("phase", "event", "may lead to", "what happens"), map(_transition, SESSION)),
        _PATH,
        table(("state", "meaning"), PATHS.items()),
        _path_diagram(),
        "## Timers\n",
        table(("timer", "runs while"), _TIMERS.items()),
        _COMMANDS,
        *(_verbs(group) for group in Group),
    ]
    return "\n".join(parts)


def _letter(stage: Stage) -> str:
    return f"`{stage}`"


def _transition(row: Transition) -> tuple[str, ...]:
    return row.source, row.event.__name__, ", ".join(sorted(row.targets)) or "-", row.doc


def _session_diagram() -> str:
    """One arrow for each pair of phases; the events that may take it are its label."""
    labels: dict[tuple[str, str], list[str]] = {}
    for row in SESSION:
        for target in sorted(row.targets - {Phase.OVER}):
            labels.setdefault((row.source, target), []).append(row.event.__name__)
    ends = sorted({row.source for row in SESSION if Phase.OVER in row.targets})
    arrows = [f"    {source} --> {target}: {', '.join(events)}" for (source, target), events in labels.items()]
    return _diagram(f"    [*] --> {Phase.NEW}", *arrows, *(f"    {phase} --> [*]" for phase in ends))


def _path_diagram() -> str:
    arrows = [f"    {source} --> {target}: {step}" for (source, step), target in PATH.items()]
    return _diagram("    [*] --> Opening", *arrows, "    Gone --> [*]")


def _diagram(*lines: str) -> str:
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```", ""])


def _verbs(group: Group) -> str:
    rows = (row for row in VERBS.values() if row.group is group)
    head = ("command", "RFC", "argument", "allowed", "meaning", "what the balancer does")
    return f"### {group.capitalize()}\n\n" + table(head, map(_verb, rows))


def _verb(row: Verb) -> tuple[str, ...]:
    allowed = f"{row.allowed}, during transfers" if row.in_transfer else row.allowed
    meaning = f"{row.doc} ({row.direction})" if row.direction is not None else row.doc
    return f"`{row.name}`", row.rfc, row.arity, allowed, meaning, row.treatment.value


if __name__ == "__main__":
    publish(render(), sys.argv[1:])
