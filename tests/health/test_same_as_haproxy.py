"""The same checks, of the same peers, by HAProxy and by us: every message must be the same, durations aside."""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from farm.balancers import Haproxy
from health_world import Behaviour, Witness, ftp_greeter, peer, says
from pasvport import model
from pasvport.config.compiler import load
from pasvport.config.world import World
from pasvport.control.prober import Prober
from pasvport.control.statement import on_console

pytestmark = [
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="needs the real HAProxy"),
    # The compiler tries expressions as Python's; POSIX classes are translated only when the script is made.
    pytest.mark.filterwarnings("ignore:Possible nested set:FutureWarning"),
]

INTERVAL = 600
PATIENCE = 20.0

PEERS: dict[str, Behaviour] = {
    "greeter": ftp_greeter,
    "banner": says(b"220 hi\r\n"),
    "silent": says(),
    "closer": says(b"500 no\r\n", close=True),
    "empty": says(close=True),
    "reset": says(reset=True),
    "greet-reset": says(b"220 hi\r\n", reset=True),
    "two-parts": says(b"220 a", b" b"),
    "flood": says(b"x" * 40_000),
}

# name, peer ("" = nobody listens), the script
SCENARIOS: list[tuple[str, str, list[str]]] = [
    ("refused-implied", "", ["expect string x"]),
    ("refused-comment", "", ["connect comment hello", "expect string x"]),
    ("refused-port", "silent", ["connect port 1", "expect string x"]),
    ("connect-only", "silent", ["connect"]),
    ("send-only", "silent", ["send abc"]),
    ("regex-timeout", "banner", ["expect rstring ^221 comment 'c 1'"]),
    ("string-timeout", "silent", ["expect string abc"]),
    ("binary-timeout", "silent", ["expect binary 414243"]),
    ("rbinary-timeout", "banner", ["expect rbinary 0d0a"]),
    ("rbinary", "banner", ["expect rbinary ^323230206869"]),
    ("mismatch", "closer", ["expect string abc comment foo"]),
    ("regex-mismatch", "closer", ["expect rstring ^22"]),
    ("binary-mismatch", "closer", ["expect binary 4142"]),
    ("rbinary-mismatch", "closer", ["expect rbinary ^41"]),
    ("unwanted", "closer", ["expect ! string no"]),
    ("unwanted-binary", "banner", ["expect ! binary 323230"]),
    ("unwanted-regex", "banner", ["expect ! rstring 22."]),
    ("absent-waits", "banner", ["expect ! string zzz"]),
    ("absent-closed", "closer", ["expect ! string zzz"]),
    ("absent-enough", "banner", ["expect min-recv 3 ! string zzz"]),
    ("absent-flood", "flood", ["expect ! string abc"]),
    ("flood", "flood", ["expect string abc"]),
    ("min-recv-0", "banner", ["expect min-recv 0 string abc"]),
    ("empty", "empty", ["expect string abc comment zz"]),
    ("reset", "reset", ["expect string abc comment zz"]),
    ("greet-reset", "greet-reset", ["expect string 220"]),
    ("greet-reset-wrong", "greet-reset", ["expect string zzz"]),
    ("parts", "two-parts", ["expect string 220", "expect string 'a b'"]),
    ("asked-again", "two-parts", ["expect ! string b min-recv 0", "expect string a", "expect string ' b'"]),
    ("chain-comment", "banner", ["comment first", "expect string 220", "expect string hi", "expect string abc"]),
    ("comment-ends", "banner", ["comment aaa", "connect", "expect string abc"]),
    (
        "numbering",
        "banner",
        ["connect", "comment first", "expect string 220", "send QUIT", "comment second", "expect string 221"],
    ),
    ("ftp", "greeter", ["connect comment hi", "expect rstring ^220", "send QUIT\\r\\n", "expect string 221"]),
    (
        "ftp-wrong",
        "greeter",
        ["connect", "expect rstring ^220", "send NOOP\\r\\n", "expect min-recv 3 rstring ^2 comment 'want 2xx'"],
    ),
    ("second-refused", "greeter", ["connect", "expect string 220", "connect port 1", "expect string x"]),
    ("error-status", "closer", ["expect error-status L7STS on-error 'bad \"x\" é' comment cc string abc"]),
    ("ok-status", "banner", ["expect ok-status L7OKC on-success yes string 220"]),
    ("timeout-status", "silent", ["expect tout-status L6TOUT string abc"]),
    ("long-text", "banner", [f"expect min-recv 0 on-error '{'y' * 200}' string zzz"]),
    ("posix-class", "banner", ["expect rstring ^[[:digit:]]{3}[[:space:]][[:alpha:]]+"]),
]
HEAD = "defaults\n mode tcp\n timeout connect 5s\n timeout client 5s\n timeout server 5s\n"

Said = dict[str, list[str]]


@pytest.fixture
def ports() -> Iterator[dict[str, int]]:
    with ExitStack() as stack:
        yield {"": 1, **{name: stack.enter_context(peer(behaviour)).port for name, behaviour in PEERS.items()}}


def written(ports: dict[str, int], listen: int, *, logs: bool) -> str:
    option = " option log-health-checks\n" if logs else ""
    text = f"{HEAD}{option}frontend f\n bind 127.0.0.1:{listen}\n"
    for name, place, lines in SCENARIOS:
        script = "".join(f" tcp-check {line}\n" for line in lines)
        text += f"backend {name}\n option tcp-check\n{script}"
        text += f" server s 127.0.0.1:{ports[place]} check inter {INTERVAL}\n"
    return text


def compiled(text: str) -> model.Config:
    outcome = load([("checks.cfg", text)], World())
    assert outcome.config is not None
    return outcome.config


def by_backend(lines: list[tuple[str, str]]) -> Said:
    """(label, text) lines sorted into the backends they speak of."""
    said: Said = defaultdict(list)
    for label, text in lines:
        found = re.search(r"erver (\S+)/s |^backend '(\S+)'", text)
        if found:
            same = re.sub(r"check duration: \d+ms", "check duration: Nms", text)
            said[found[1] or found[2]].append(f"{label}: {same}")
    return said


def theirs(text: str) -> Said:
    return by_backend(re.findall(r"^\[(WARNING|ALERT)\] +\(\d+\) : (.*)$", text, re.MULTILINE))


def ours(witness: Witness, conf: model.Config) -> Said:
    # The proxy does not matter to the console form, except that it is the one the message is about.
    named = {proxy.name: proxy for proxy in conf.proxies}
    lines = []
    for level, text in witness.said:
        about = re.search(r"erver (\S+)/s |^backend (\S+)", text)
        assert about is not None
        lines.append(on_console(named[about[1] or about[2]], level, text))
    return by_backend(lines)


@pytest.mark.parametrize("logs", [True, False])
def test_every_scenario_is_told_in_the_same_words(ports: dict[str, int], free_port: int, logs: bool) -> None:
    text = written(ports, free_port, logs=logs)
    conf = compiled(text)
    witness = Witness(conf)
    # With log-health-checks every backend speaks; without, those that change state do.
    expected = len(SCENARIOS) if logs else 25

    async def main(judge: Haproxy) -> tuple[Said, Said]:
        prober = Prober(conf, witness.roster)
        prober.start()
        deadline = time.monotonic() + PATIENCE
        while True:
            mine, real = ours(witness, conf), theirs(judge.output())
            if time.monotonic() > deadline or (mine == real and len(real) >= expected):
                break
            await asyncio.sleep(0.02)
        await prober.stop()
        return mine, real

    with Haproxy(text, ("127.0.0.1", free_port)) as judge:
        mine, real = asyncio.run(main(judge))
    assert mine == real
    assert len(real) >= expected


def test_a_fall_and_a_rise_are_told_in_the_same_words(free_port: int) -> None:
    healthy = [False]

    def moody(connection: object, over: object) -> None:
        ftp_greeter(connection, over) if healthy[0] else None  # type: ignore[arg-type]

    async def main(judge: Haproxy) -> tuple[Said, Said]:
        conf = compiled(text)
        witness = Witness(conf)
        prober = Prober(conf, witness.roster)
        prober.start()
        for wanted in ("is DOWN", "is UP"):
            healthy[0] = wanted == "is UP"
            deadline = time.monotonic() + PATIENCE
            while time.monotonic() < deadline and not (wanted in str(ours(witness, conf)) and wanted in judge.output()):
                await asyncio.sleep(0.01)
        await prober.stop()
        return ours(witness, conf), theirs(judge.output())

    with peer(moody) as place:
        text = f"{HEAD}frontend f\n bind 127.0.0.1:{free_port}\nbackend b\n option tcp-check\n"
        text += " tcp-check expect rstring ^220\n"
        text += f" server s 127.0.0.1:{place.port} check inter 5s fastinter 50 downinter 50 rise 3 fall 2\n"
        with Haproxy(text, ("127.0.0.1", free_port)) as judge:
            mine, real = asyncio.run(main(judge))
    assert mine == real
    assert len(real["b"]) == 3
