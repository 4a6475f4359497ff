"""`python -m bench.soak`: whether a worker's memory stays flat over a great many sessions in `mode ftp`.

Sessions overlap (hundreds at once, several transfers each), so that each lives long enough to leave the collector's
young generations: what only a full collection would free then stays, and shows as growth.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.layout import BALANCER, FTP_PORT, HERE, SERVERS, clients
from bench.processes import BenchError, Tool, build_tools, load

_PAGE = os.sysconf("SC_PAGE_SIZE") // 1024
_PORTS = (40000, 49999)
_WARM = 0.1
"""Of all sessions: pools, tables and the allocator's arenas have their size by then."""
_TEXT = """\
global
    nbthread 1
listen fe
    mode ftp
    timeout connect 10s
    timeout client 60s
    timeout server 60s
    bind {host}:{port}
    bind {host}:{low}-{high}
    server s {server}:{port}
"""


def main(words: list[str]) -> int:
    """Exit status: 0 when memory was flat, 1 when it grew by more than `--most` kB or something failed."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--sessions", type=int, default=100_000)
    parser.add_argument("--concurrent", type=int, default=300)
    parser.add_argument("--transfers", type=int, default=2, help="of 1 KiB in each session")
    parser.add_argument("--most", type=int, default=2048, help="kB that a worker may grow after the first tenth")
    options = parser.parse_args(words)
    try:
        build_tools()
        with _balancer() as worker:
            before, after, found = _soak(worker, options)
    except BenchError as error:
        print(f"soak: {error}", file=sys.stderr)
        return 1
    grown = after - before
    print(f"{found['done']:.0f} sessions, {found['errors']:.0f} errors: {before} kB became {after} kB, {grown:+d}")
    return int(grown > options.most)


@contextmanager
def _balancer() -> Iterator[int]:
    """A server, and a balancer in front of it; the worker's process id."""
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        text = Path(folder, "soak.cfg")
        text.write_text(_TEXT.format(host=BALANCER, port=FTP_PORT, low=_PORTS[0], high=_PORTS[1], server=SERVERS[0]))
        ports = f"{_PORTS[0]}-{_PORTS[1]}"
        with (
            Tool("ftpserver", "-l", SERVERS[0], "-p", FTP_PORT, "-r", ports),
            subprocess.Popen([sys.executable, "-m", "pasvport", "-db", "-f", str(text)]) as child,
        ):
            try:
                yield _worker_of(child)
            finally:
                child.terminate()


def _worker_of(child: subprocess.Popen[bytes]) -> int:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and child.poll() is None:
        found = [pid for pid in _descendants(child.pid) if b"pasvport.engine.worker" in _command(pid)]
        try:
            load("ftpclient", "-d", f"{BALANCER}:{FTP_PORT}", "-s", clients(1), "-c", 1, "-n", 1)
        except BenchError:
            found = []
        if found:
            return found[0]
        time.sleep(0.1)
    raise BenchError("the balancer does not serve")


def _descendants(pid: int) -> Iterator[int]:
    for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        yield int(text)
        yield from _descendants(int(text))


def _command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def _soak(worker: int, options: argparse.Namespace) -> tuple[int, int, dict[str, float]]:
    """(kB after the first tenth, at the end; what the client says)."""
    arguments = ["-d", f"{BALANCER}:{FTP_PORT}", "-s", clients(), "-c", options.concurrent, "-k", options.transfers]
    first = int(options.sessions * _WARM)
    load("ftpclient", *arguments, "-n", first, patience=3600)
    before = _resident(worker)
    print(f"{first:>8} sessions  {before:>8} kB", flush=True)
    over = threading.Event()
    watch = threading.Thread(target=_watch, args=(worker, over), daemon=True)
    watch.start()
    try:
        found = load("ftpclient", *arguments, "-n", options.sessions - first, patience=36_000)
    finally:
        over.set()
        watch.join()
    return before, _resident(worker), found


def _watch(worker: int, over: threading.Event) -> None:
    began = time.monotonic()
    while not over.wait(10):
        print(f"{time.monotonic() - began:>8.0f} s         {_resident(worker):>8} kB", flush=True)


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE


if __name__ == "__main__":
    assert HERE.is_dir()
    sys.exit(main(sys.argv[1:]))
