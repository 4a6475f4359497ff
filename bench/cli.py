"""The command: choose, run interleaved, write. Results are written after every case, for runs that are cut off."""

from __future__ import annotations

import argparse
import json
import resource
import signal
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import FrameType

from bench import machine, plot, report
from bench.balancers import Peer, peers
from bench.layout import BALANCER, FTP_PORT, HERE, PASSIVE, RESULTS, SERVERS, TCP_PORT
from bench.measurements import FULL, MEASUREMENTS, QUICK, Case, Scale, measure
from bench.processes import BenchError, Tool, build_tools
from bench.results import Outcome

DOCUMENT = HERE.parent / "docs" / "performance.md"
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"


def main(words: list[str]) -> int:
    """Exit status: 0 when everything asked for was measured, 1 when something failed, 2 for a wrong word."""
    options = _options(words)
    if options.list:
        print("\n".join(f"{name:12} {title}" for name, (title, _) in MEASUREMENTS.items()))
        return 0
    if options.publish_only:
        _publish(Outcome.from_json(json.loads(options.publish_only.read_text())))
        return 0
    # Without this a SIGTERM would skip the clean-up that ends the balancers.
    signal.signal(signal.SIGTERM, _interrupted)
    _raise_descriptors()
    try:
        build_tools()
        return _run(options)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: interrupted; what was measured is in the results", file=sys.stderr)
        return 1


def _interrupted(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


def _raise_descriptors() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _options(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="pasvport beside HAProxy and nginx, as ratios")
    parser.add_argument("--full", action="store_true", help="everything, longer (default: a few minutes)")
    parser.add_argument("--only", type=_chosen, default=list(MEASUREMENTS), help="measurements, comma-separated")
    parser.add_argument("--peers", type=lambda text: text.split(","), help="columns, comma-separated")
    parser.add_argument("--case", default="", help="only cases whose name contains this")
    parser.add_argument("--rounds", type=int, help="samples of each")
    parser.add_argument("--seconds", type=float, help="length of one load")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder for the results")
    parser.add_argument("--publish", action="store_true", help="also put the tables into docs/performance.md")
    parser.add_argument("--publish-only", type=Path, metavar="JSON", help="put the tables of an earlier run there")
    parser.add_argument("--list", action="store_true", help="the measurements")
    return parser.parse_args(words)


def _chosen(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in MEASUREMENTS]:
        raise argparse.ArgumentTypeError(f"unknown {', '.join(unknown)}; there are {', '.join(MEASUREMENTS)}")
    return names


def _scale(options: argparse.Namespace) -> Scale:
    scale = FULL if options.full else QUICK
    return replace(scale, rounds=options.rounds or scale.rounds, seconds=options.seconds or scale.seconds)


def _present(options: argparse.Namespace, outcome: Outcome) -> dict[str, Peer]:
    found = {name: peer for name, peer in peers().items() if not options.peers or name in options.peers}
    for name, peer in found.items():
        if not peer.program:
            outcome.notes.append(f"{name} is not installed here and was left out")
    return {name: peer for name, peer in found.items() if peer.program}


# --- the run --------------------------------------------------------------------------------------------------------


def _run(options: argparse.Namespace) -> int:
    scale = _scale(options)
    outcome = Outcome({})
    present = _present(options, outcome)
    mode = f"{'full' if options.full else 'quick'}, {scale.rounds} rounds of {scale.seconds:g} s, interleaved"
    outcome.machine = machine.describe(list(present.values()), mode)
    if machine.load_average() > 0.5:
        outcome.notes.append(f"the machine was not idle at the start (load average {machine.load_average():.1f})")
    cases = [case for name in options.only for case in MEASUREMENTS[name][1](scale) if options.case in case.name]
    failures = 0
    with ExitStack() as servers:
        servers.enter_context(
            Tool("ftpserver", "-l", _both(), "-p", FTP_PORT, "-r", f"{PASSIVE[0]}-{PASSIVE[1]}", "-a", BALANCER)
        )
        servers.enter_context(Tool("tcpserver", "-l", _both(), "-p", TCP_PORT))
        for case in cases:
            failures += _run_case(case, scale, present, options.peers, outcome)
            _write(outcome, options.output)
    text = report.tables(outcome)
    print("\n" + text)
    print(f"results: {options.output}")
    if options.publish:
        _publish(outcome)
    return 1 if failures else 0


def _both() -> str:
    return f"{SERVERS[0]}+{len(SERVERS)}"


def _run_case(case: Case, scale: Scale, present: dict[str, Peer], wanted: list[str] | None, outcome: Outcome) -> int:
    """Round by round, in each round every peer once: what drifts on the machine drifts for all of them."""
    outcome.notes += [note for note in case.notes if note not in outcome.notes]
    columns = [name for name in case.peers if name in present or (name == "direct" and (not wanted or name in wanted))]
    failed: dict[str, str] = {}
    begun = time.monotonic()
    for _ in range(scale.rounds):
        for name in (name for name in columns if name not in failed):
            try:
                shaped = _shaped(case, present.get(name))
                outcome.row(case.measurement, case.name).add(name, measure(shaped, present.get(name)))
            except BenchError as error:
                failed[name] = str(error)
                outcome.notes.append(f"{case.measurement}: {case.name}: {name} failed: {error}")
                print(f"bench: {outcome.notes[-1]}", file=sys.stderr)
    row = outcome.row(case.measurement, case.name)
    if row.samples:
        print(f"{report.brief(row)}  ({time.monotonic() - begun:.0f} s)", flush=True)
    return len(failed)


def _shaped(case: Case, peer: Peer | None) -> Case:
    return replace(case, shape=replace(case.shape, splice=True)) if peer is not None and peer.splice else case


# --- the results ----------------------------------------------------------------------------------------------------


def _write(outcome: Outcome, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench.json").write_text(json.dumps(outcome.as_json(), indent=1) + "\n")
    (folder / "bench.md").write_text(report.tables(outcome))
    (folder / "bench.svg").write_text(plot.svg(outcome))


def _publish(outcome: Outcome) -> None:
    """The tables between the two marks of docs/performance.md, the plot beside it."""
    text = DOCUMENT.read_text()
    if BEGIN not in text or END not in text:
        raise BenchError(f"{DOCUMENT.name} has no place for the numbers ({BEGIN} ... {END})")
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n![ratios](performance.svg)\n\n{report.tables(outcome)}\n{END}{after}")
    DOCUMENT.with_suffix(".svg").write_text(plot.svg(outcome))
