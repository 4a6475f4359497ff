"""What is measured. A case is one row of a table: a shape, the peers that can do it, and a function that loads them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from bench.balancers import Peer, Running, check_seconds, maxconn, running
from bench.layout import FTP_PORT, TCP_PORT, Shape, clients, many_clients
from bench.processes import Background, BenchError, Tool, cpu_seconds, descriptors, load, pss_kilobytes
from bench.results import OURS_FTP

Metrics = dict[str, float]
STICKY = ("pasvport", "haproxy")
BALANCERS = ("pasvport", "haproxy", "nginx")
ALL = ("direct", *BALANCERS)
BULK = ("direct", "pasvport", "haproxy", "haproxy+splice", "nginx")


@dataclass(frozen=True, slots=True)
class Scale:
    """How long and how much; `make bench` is quick, `make bench FULL=1` is full."""

    rounds: int
    seconds: float
    streams: tuple[int, ...]
    bulk_workers: tuple[int, ...]
    idle: int
    idle_steps: tuple[int, ...]
    entry_steps: tuple[int, ...]


QUICK = Scale(3, 2.0, (8,), (1,), 4000, (10, 8000), (10, 100_000))
FULL = Scale(5, 5.0, (1, 8, 64), (1, 2), 4000, (10, 1000, 8000), (10, 10_000, 100_000))


@dataclass(frozen=True, slots=True)
class Case:
    """`run` gets the started balancer; `whole` replaces starting it, where the start itself is what is measured."""

    measurement: str
    name: str
    peers: tuple[str, ...]
    shape: Shape
    run: Callable[[Running], Metrics] | None = None
    whole: Callable[[Peer, Shape], Metrics] | None = None
    notes: tuple[str, ...] = field(default=())


def measure(case: Case, peer: Peer | None) -> Metrics:
    """One sample. Raises BenchError when a balancer or a tool failed."""
    if case.whole is not None:
        assert peer is not None
        return case.whole(peer, case.shape)
    assert case.run is not None
    with running(peer, case.shape) as at:
        metrics = case.run(at)
    if case.shape.logs and peer is not None and at.sink is not None and "connections" in metrics:
        # A balancer that loses log lines under load has done less work than one that has not.
        metrics["log_lines_per_connection"] = at.sink.final.get("datagrams", 0.0) / metrics["connections"]
    return metrics


def _with_cpu(at: Running, work: Callable[[], Metrics]) -> tuple[Metrics, float]:
    pids = at.pids()
    before = cpu_seconds(pids)
    found = work()
    return found, cpu_seconds(pids) - before


# --- 1. connections -------------------------------------------------------------------------------------------------


def connections(at: Running, seconds: float, sources: str) -> Metrics:
    """Connect, 64 bytes from the server, close."""
    arguments = ("-d", f"{at.host}:{TCP_PORT}", "-s", sources, "-c", 50)
    warm = load("tcpclient", *arguments, "-t", 0.3)
    found, cpu = _with_cpu(at, lambda: load("tcpclient", *arguments, "-t", seconds))
    metrics = {"per_second": found["rate"], "first_byte_p99_us": found["first_byte_p99_us"], "errors": found["errors"]}
    if not at.direct:
        metrics["cpu_us"] = cpu / max(1.0, found["done"]) * 1e6
        metrics["connections"] = warm["done"] + found["done"]
    return metrics


def connection_cases(scale: Scale) -> Iterator[Case]:
    """With and without logs; one worker, two workers."""
    for workers in (1, 2):
        for logs in (True, False):
            name = f"{_workers(workers)}, {'logs' if logs else 'no logs'}"
            peers = ALL if logs and workers == 1 else BALANCERS
            yield Case(
                "connections",
                name,
                peers,
                Shape(workers, logs),
                partial(connections, seconds=scale.seconds, sources=clients()),
            )


# --- 2. FTP sessions ------------------------------------------------------------------------------------------------


def ftp_sessions(at: Running, seconds: float) -> Metrics:
    """Log in, PASV, RETR of 1 KiB, QUIT; 50 clients, 200 source addresses."""
    arguments = ["-d", f"{at.host}:{FTP_PORT}", "-s", clients(), "-c", 50, *(["-i"] if at.direct else [])]
    warm = load("ftpclient", *arguments, "-t", 0.3)
    found, cpu = _with_cpu(at, lambda: load("ftpclient", *arguments, "-t", seconds))
    metrics = {
        "per_second": found["rate"],
        "first_byte_p50_us": found["first_byte_p50_us"],
        "first_byte_p99_us": found["first_byte_p99_us"],
        "errors": found["errors"],
    }
    if not at.direct:
        metrics["cpu_us"] = cpu / max(1.0, found["done"]) * 1e6
        # A session is two connections: control and data.
        if at.name != OURS_FTP:
            metrics["connections"] = 2 * (warm["done"] + found["done"])
    return metrics


def ftp_cases(scale: Scale) -> Iterator[Case]:
    """One worker, two workers."""
    for workers in (1, 2):
        peers = (*(ALL if workers == 1 else BALANCERS), "pasvport-ftp")
        yield Case("ftp", _workers(workers), peers, Shape(workers), partial(ftp_sessions, seconds=scale.seconds))


# --- 3. bulk --------------------------------------------------------------------------------------------------------


def bulk(at: Running, streams: int, upload: bool) -> Metrics:
    """Concurrent transfers of 256 MiB."""
    arguments = ["-d", f"{at.host}:{FTP_PORT}", "-s", clients(), "-c", streams, "-n", max(4, streams), "-f", "256m"]
    arguments += ["-u"] * upload + ["-i"] * at.direct
    found, cpu = _with_cpu(at, lambda: load("ftpclient", *arguments))
    metrics = {"gb_per_second": found["gigabytes_per_second"], "errors": found["errors"]}
    if not at.direct:
        metrics["cpu_s_per_gb"] = cpu / max(1.0, found["bytes"]) * 1e9
    return metrics


def bulk_cases(scale: Scale) -> Iterator[Case]:
    """Downloads and uploads, for each number of streams."""
    for workers in scale.bulk_workers:
        for streams in scale.streams:
            for upload in (False, True):
                name = f"{_workers(workers)}, {streams} {'uploads' if upload else 'downloads'}"
                yield Case("bulk", name, BULK, Shape(workers), partial(bulk, streams=streams, upload=upload))


# --- 4. memory ------------------------------------------------------------------------------------------------------


def idle_memory(at: Running, wanted: int) -> Metrics:
    """Memory of the balancer for each control connection that is open and silent."""
    before = pss_kilobytes(at.pids())
    with Tool("idle", "-d", f"{at.host}:{FTP_PORT}", "-s", clients(), "-n", wanted) as held:
        time.sleep(0.3)
        after = pss_kilobytes(at.pids())
    lost = wanted - held.final["still_open"]
    return {"kb_per_idle": (after - before) / wanted, "base_kb": before, "errors": lost}


def memory_cases(scale: Scale) -> Iterator[Case]:
    """4,000 connections, fewer where the descriptor limit says so."""
    wanted, notes = _fitting(scale.idle)
    for workers in (1, 2):
        name = f"{_workers(workers)}, {wanted:,} idle"
        yield Case("memory", name, BALANCERS, Shape(workers), partial(idle_memory, wanted=wanted), notes=notes)


def _fitting(wanted: int) -> tuple[int, tuple[str, ...]]:
    room = maxconn(Shape()) - 200
    if wanted <= room:
        return wanted, ()
    return room, (f"{wanted:,} idle sessions scaled down to {room:,}: the descriptor limit of this machine",)


# --- 5. start-up ----------------------------------------------------------------------------------------------------


def start_up(at: Running) -> Metrics:
    """From the start of the process to the first greeting through it; what it then holds."""
    pids = at.pids()
    held = descriptors(pids)
    return {
        "ready_ms": at.started_in * 1e3,
        "descriptors": float(sum(held)),
        "descriptors_largest_process": float(max(held)),
        "base_kb": pss_kilobytes(pids),
    }


def start_cases(_: Scale) -> Iterator[Case]:
    """A passive range of ten ports and of ten thousand."""
    for count in (10, 10_000):
        shape = Shape(ports=(50000, 49999 + count))
        yield Case("start", f"1 worker, {count:,} ports", BALANCERS, shape, start_up)


# --- 6. configuration -----------------------------------------------------------------------------------------------


def parse_time(peer: Peer, shape: Shape) -> Metrics:
    """The whole run of the configuration check, start of the program included."""
    return {"check_ms": check_seconds(peer, shape) * 1e3}


def parse_cases(_: Scale) -> Iterator[Case]:
    """No additional servers, and five thousand of them."""
    for servers in (0, 5000):
        yield Case("parse", f"{servers + 4:,} servers", BALANCERS, Shape(servers=servers), whole=parse_time)


# --- 7. growth ------------------------------------------------------------------------------------------------------


def among_idle(at: Running, idle: int, seconds: float) -> Metrics:
    """Connections per second while others are open and silent."""
    with Tool("idle", "-d", f"{at.host}:{FTP_PORT}", "-s", clients(), "-n", idle):
        metrics = connections(at, seconds, clients())
    metrics.pop("connections", None)
    return metrics


def among_entries(at: Running, entries: int, seconds: float) -> Metrics:
    """Connections per second of clients that already have an entry each, in a table of that many."""
    sources = many_clients(entries)
    filled = load("tcpclient", "-d", f"{at.host}:{TCP_PORT}", "-s", sources, "-c", 50, "-n", entries)
    if filled["errors"]:
        raise BenchError(f"filling the table of {at.name}: {filled['errors']:.0f} errors")
    metrics = connections(at, seconds, sources)
    metrics.pop("connections", None)
    return metrics


def growth_cases(scale: Scale) -> Iterator[Case]:
    """Idle sessions, then entries."""
    for count in scale.idle_steps:
        idle, notes = _fitting(count)
        name = f"1 worker, {idle:,} idle sessions"
        yield Case(
            "growth", name, BALANCERS, Shape(), partial(among_idle, idle=idle, seconds=scale.seconds), notes=notes
        )
    for count in scale.entry_steps:
        name = f"1 worker, {count:,} entries"
        yield Case("growth", name, STICKY, Shape(), partial(among_entries, entries=count, seconds=scale.seconds))


# --- 8. fairness ----------------------------------------------------------------------------------------------------


def among_bulk(at: Running, seconds: float) -> Metrics:
    """Small sessions while eight downloads of 1 GiB run."""
    target = ("-d", f"{at.host}:{FTP_PORT}", "-s", clients())
    with Background("ftpclient", *target, "-c", 8, "-n", 100_000, "-f", "1g") as heavy:
        time.sleep(0.3)
        found = load("ftpclient", *target, "-c", 10, "-t", seconds)
    return {
        "per_second": found["rate"],
        "first_byte_p50_us": found["first_byte_p50_us"],
        "first_byte_p99_us": found["first_byte_p99_us"],
        "gb_per_second": heavy.final["gigabytes_per_second"],
        "errors": found["errors"],
    }


def fairness_cases(scale: Scale) -> Iterator[Case]:
    """One worker."""
    yield Case(
        "fairness", "1 worker, 8 downloads beside", BULK[1:], Shape(), partial(among_bulk, seconds=scale.seconds)
    )


# --- all of them ----------------------------------------------------------------------------------------------------


def _workers(count: int) -> str:
    return f"{count} worker{'s' if count > 1 else ''}"


MEASUREMENTS: dict[str, tuple[str, Callable[[Scale], Iterator[Case]]]] = {
    "connections": ("connections per second: connect, 64 bytes, close", connection_cases),
    "ftp": ("FTP sessions per second: login, PASV, RETR 1 KiB, QUIT", ftp_cases),
    "bulk": ("concurrent transfers of 256 MiB", bulk_cases),
    "memory": ("memory per idle control connection", memory_cases),
    "start": ("start-up with a small and a large passive range", start_cases),
    "parse": ("checking a configuration", parse_cases),
    "growth": ("connections per second as sessions and entries pile up", growth_cases),
    "fairness": ("small sessions beside bulk streams", fairness_cases),
}
"""Name -> what it is, its cases. Printed by `--list` and used as headings."""
