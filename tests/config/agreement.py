"""The corpus of small configurations, and what the real HAProxy and pasvport say about each of them.

`python -m agreement` (with tests/config on the path) prints every disagreement.
"""

from __future__ import annotations

import grp
import pwd
import re
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from pasvport.config.compiler import Outcome, load
from pasvport.config.conditions import Build
from pasvport.config.diagnostics import Speaker, render
from pasvport.config.world import World
from pasvport.logformat import check_format
from real_haproxy import HAPROXY

CORPUS = Path(__file__).parent / "corpus"
ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/bin",
    "CORPUS_HOST": "127.0.0.1",
    "CORPUS_EMPTY": "",
    "CORPUS_NUMBER": "7",
    "CORPUS_SERVER": "127.0.0.1:2123  check inter 3s",
}
EXIT_VALID, EXIT_WRONG, EXIT_NO_LISTENER = 0, 1, 2

_MESSAGE = re.compile(r"^\[(ALERT|WARNING)\] +\(\d+\) : (.*)")
_PLACE = re.compile(r"\[([^\]\s]+:\d+)\]")
_SUMMARIES = ("config : Error(s) found in", "config : Fatal errors found")


@dataclass(frozen=True)
class Verdict:
    """Exit code of `-c`, the lines blamed by alerts and by warnings, and how many messages of each named no line."""

    code: int
    alerts: frozenset[str]
    warnings: frozenset[str]
    placeless_alerts: int
    placeless_warnings: int
    text: str

    def disagreement(self, ours: Verdict) -> str:
        """Why `ours` does not agree with this verdict of HAProxy's, "" when it does.

        Where HAProxy names no line, pasvport may: that is the one liberty.
        """
        if self.code != ours.code:
            return f"exit code {self.code} against {ours.code}"
        for what, theirs, mine, placeless in (
            ("alerts", self.alerts, ours.alerts, self.placeless_alerts),
            ("warnings", self.warnings, ours.warnings, self.placeless_warnings),
        ):
            if theirs - mine or len(mine - theirs) > placeless:
                return f"{what} on lines {sorted(theirs)} against {sorted(mine)}"
        return ""


def corpus() -> list[Path]:
    """Every configuration, by name."""
    return sorted(CORPUS.glob("*.cfg"))


def read_verdict(code: int, text: str) -> Verdict:
    """What was said, from an exit code and what came on stderr."""
    lines: dict[str, set[str]] = {"ALERT": set(), "WARNING": set()}
    placeless = {"ALERT": 0, "WARNING": 0}
    for said in text.splitlines():
        found = _MESSAGE.match(said)
        if found is None or found.group(2).startswith(_SUMMARIES):
            continue
        place = _PLACE.search(found.group(2))
        if place:
            lines[found.group(1)].add(place.group(1))
        else:
            placeless[found.group(1)] += 1
    return Verdict(
        code, frozenset(lines["ALERT"]), frozenset(lines["WARNING"]), placeless["ALERT"], placeless["WARNING"], text
    )


def haproxy_verdict(*paths: Path) -> Verdict:
    """Run the real `haproxy -c -f FILE -f FILE ...`; the files are in one directory."""
    done = subprocess.run(
        [HAPROXY, "-c", *(word for path in paths for word in ("-f", path.name))],
        cwd=paths[0].parent,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=30,
        check=False,
    )
    return read_verdict(done.returncode, done.stderr.decode("utf-8", "surrogateescape"))


def haproxy_verdicts(paths: Iterable[Path]) -> dict[str, Verdict]:
    """All of them, by file name, a few at a time."""
    paths = list(paths)
    with ThreadPoolExecutor(max_workers=4) as pool:
        return dict(zip((path.name for path in paths), pool.map(haproxy_verdict, paths), strict=True))


def fingerprint(path: Path) -> str:
    """What a verdict depends on: the judge, its environment, the file and its name."""
    judge = Path(HAPROXY).stat()
    return sha256(repr((judge.st_size, judge.st_mtime, ENVIRONMENT, path.name, path.read_bytes())).encode()).hexdigest()


def _user(name: str) -> int | None:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


def _group(name: str) -> int | None:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


WORLD = World(
    environment=ENVIRONMENT,
    user_id=_user,
    group_id=_group,
    check_log_format=check_format,
    build=Build(openssl_version="3.0.0", ssl_library="OpenSSL 3.0.0"),
)


def our_verdict(paths: Iterable[Path]) -> Verdict:
    """Compile with pasvport, in the same world."""
    outcome = load([(path.name, path.read_bytes().decode("utf-8", "surrogateescape")) for path in paths], WORLD)
    said = render(outcome.diagnostics, Speaker(1, "pasvport", "0", "/usr/bin/pasvport"))
    return read_verdict(_exit_code(outcome), said)


def _exit_code(outcome: Outcome) -> int:
    if outcome.config is None:
        return EXIT_WRONG
    if outcome.config.settings.zero_warning and outcome.diagnostics.has_warnings:
        return EXIT_WRONG
    return EXIT_VALID if outcome.has_listener else EXIT_NO_LISTENER


def main() -> None:
    """Print each disagreement with both sides' words."""
    theirs = haproxy_verdicts(corpus())
    count = 0
    for path in corpus():
        ours = our_verdict([path])
        reason = theirs[path.name].disagreement(ours)
        if reason:
            count += 1
            print(f"== {path.name}: {reason}\n-- haproxy\n{theirs[path.name].text}-- pasvport\n{ours.text}")
    print(f"{count} disagreements of {len(theirs)}")


if __name__ == "__main__":
    main()
