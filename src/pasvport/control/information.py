"""The values of `show info`: the process as a whole, under HAProxy's names.

HAProxy is one process; here the supervisor and its workers are taken together where that has a meaning.
"""

from __future__ import annotations

import asyncio
import os
import platform
import resource
import socket
import time
from typing import Protocol

import pasvport
from pasvport.config.conditions import LANGUAGE_VERSION
from pasvport.control.crew import Crew
from pasvport.control.idleness import Idleness, resident, running
from pasvport.control.journal import Journal
from pasvport.control.ports import Ports
from pasvport.control.statistics import Served
from pasvport.exposition.fields import Value
from pasvport.exposition.info import uptime

_MEGABYTE = 1 << 20
_NAME = "HAProxy"
"""Clients look at the name before they talk on (haproxyadmin), and want to know whose commands and columns these are;
`Build info` and the version say what answers."""
_NOTHING_OF_THE_KIND = dict.fromkeys(
    (
        *("PoolFailed", "MaxSslConns", "CurrSslConns", "CumSslConns", "Maxpipes", "SslRate", "SslRateLimit"),
        *("MaxSslRate", "SslFrontendKeyRate", "SslFrontendMaxKeyRate", "SslFrontendSessionReuse_pct"),
        *("SslBackendKeyRate", "SslBackendMaxKeyRate", "SslCacheLookups", "SslCacheMisses", "CompressBpsIn"),
        *("CompressBpsOut", "CompressBpsRateLim", "Unstoppable Jobs", "ActivePeers", "ConnectedPeers", "BusyPolling"),
        *("FailedResolutions", "DebugCommandsIssued", "CumRecvLogs", "Tainted"),
    ),
    0,
)
"""TLS, compression, peers and the like do not exist here, so that none of them is in use."""


class Process(Served, Protocol):
    """What of a generation `info` needs."""

    @property
    def crew(self) -> Crew: ...
    @property
    def ports(self) -> Ports: ...
    @property
    def journal(self) -> Journal: ...
    @property
    def idleness(self) -> Idleness: ...
    @property
    def started(self) -> float: ...


def version() -> str:
    """Which HAProxy's interface this is, and which pasvport: `2.6.12-pasvport-0.1.0`."""
    return f"{LANGUAGE_VERSION}-pasvport-{pasvport.__version__}"


def info(generation: Process, *, stopping: bool = False) -> dict[str, Value]:
    """Name to value. `stopping`: the process is on its way out."""
    values: dict[str, Value] = {**_NOTHING_OF_THE_KIND}
    return values | _who(generation) | _limits(generation) | _traffic(generation) | _work(generation, stopping)


def _who(generation: Process) -> dict[str, Value]:
    settings, seconds = generation.config.settings, max(0.0, time.time() - generation.started)
    return {
        "Name": _NAME,
        "Version": version(),
        "Release_date": pasvport.__release_date__,
        "Nbthread": settings.nbthread,
        "Nbproc": 1,
        "Process_num": 1,
        "Pid": os.getpid(),
        "Uptime": uptime(int(seconds)),
        "Uptime_sec": seconds,
        "node": settings.node or socket.gethostname(),
        "description": settings.description,
        "Build info": f"pasvport {pasvport.__version__} ({_interpreter()})",
        "Start_time_sec": int(generation.started),
    }


def _interpreter() -> str:
    return f"{platform.python_implementation()} {platform.python_version()}"


def _limits(generation: Process) -> dict[str, Value]:
    doors = generation.doors
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    memory, _ = resource.getrlimit(resource.RLIMIT_AS)
    memory = 0 if memory == resource.RLIM_INFINITY else memory
    return {
        "Memmax_MB": memory // _MEGABYTE,
        "Memmax_bytes": memory,
        "Ulimit-n": files,
        "Maxsock": files,
        "Maxconn": doors.maxconn,
        "Hard_maxconn": doors.hard_maxconn,
        "ConnRateLimit": doors.connection_rate,
        "SessRateLimit": doors.session_rate,
    }


def _traffic(generation: Process) -> dict[str, Value]:
    count, rates, block = generation.figures.process, generation.rates, generation.tally.layout.process
    return {
        "CurrConns": count("cur"),
        "CumConns": count("connections"),
        "CumReq": count("sessions"),
        "PipesUsed": count("pipes_used"),
        "PipesFree": count("pipes_free"),
        "ConnRate": rates.rate(block, "connections"),
        "MaxConnRate": rates.largest(block, "connections"),
        "SessRate": rates.rate(block, "sessions"),
        "MaxSessRate": rates.largest(block, "sessions"),
        "DroppedLogs": count("dropped_logs") + generation.journal.dropped,
        "TotalBytesOut": count("bytes_out"),
        "TotalSplicdedBytesOut": count("spliced_bytes_out"),
        "BytesOutRate": rates.rate(block, "bytes_out"),
    }


def _work(generation: Process, stopping: bool) -> dict[str, Value]:
    workers = generation.crew.pids
    memory = resident([os.getpid(), *workers])
    listeners = len(generation.ports.groups)
    return {
        "PoolAlloc_MB": memory // _MEGABYTE,
        "PoolUsed_MB": memory // _MEGABYTE,
        "PoolAlloc_bytes": memory,
        "PoolUsed_bytes": memory,
        "Tasks": len(asyncio.all_tasks()),
        "Run_queue": running(workers),
        "Idle_pct": generation.idleness.percent(),
        "Stopping": int(stopping),
        "Jobs": generation.figures.process("cur") + listeners,
        "Listeners": listeners,
    }
