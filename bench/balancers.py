"""The three balancers: the page's configuration for each, its start, its end."""

from __future__ import annotations

import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.layout import BALANCER, FTP_PORT, SERVERS, SINK, SINK_PORT, TCP_PORT, Shape
from bench.processes import BenchError, Tool, end_family, family

NGINX_STREAM = "/usr/lib/nginx/modules/ngx_stream_module.so"
PATIENCE = 30.0
MAXCONN = 9000


def maxconn(shape: Shape) -> int:
    """Connections a balancer is allowed: two descriptors each, and one a port, must fit this machine's limit."""
    low, high = shape.ports
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    room = MAXCONN if limit == resource.RLIM_INFINITY else (limit - (high - low + 1) - 800) // 2
    # HAProxy sets pipes aside for a quarter of its connections, two descriptors each.
    return max(100, min(MAXCONN, room * 3 // 4 if shape.splice else room))


# --- configurations -------------------------------------------------------------------------------------------------


def haproxy_text(shape: Shape) -> str:
    """The page's frontend and backend, with the addresses of this bench, and the same again for plain TCP."""
    log = "    option tcplog\n    log global\n" if shape.logs else ""
    low, high = shape.ports
    doors = f"    bind {BALANCER}:{FTP_PORT} name ftp-control\n    bind {BALANCER}:{low}-{high} name ftp-data\n"
    return "\n".join(
        (
            "global",
            f"    log {SINK}:{SINK_PORT} local0" if shape.logs else "",
            f"    nbthread {shape.workers}",
            f"    maxconn {maxconn(shape)}",
            "defaults",
            "    timeout connect 5s",
            "    timeout client 10m",
            "    timeout server 10m",
            "    option splice-auto" if shape.splice else "",
            f"frontend ftp_fe\n    mode tcp\n{log}{doors}    default_backend ftp_servers",
            _haproxy_backend("ftp_servers", FTP_PORT, "", shape.servers),
            f"frontend tcp_fe\n    mode tcp\n{log}    bind {BALANCER}:{TCP_PORT}\n    default_backend tcp_servers",
            _haproxy_backend("tcp_servers", TCP_PORT, f":{TCP_PORT}", 0),
            "",
        )
    )


def mode_ftp_text(shape: Shape) -> str:
    """The page's frontend and backend with their mode changed, and FTP's log lines; the rest as it is."""
    text = haproxy_text(shape)
    tcp = text.index("frontend tcp_fe")
    page = text[:tcp].replace("mode tcp", "mode ftp").replace("option tcplog", "option ftplog")
    return page + text[tcp:]


def _haproxy_backend(name: str, check: int, port: str, extra: int) -> str:
    servers = [f"    server s{n} {host}{port} check port {check}" for n, host in enumerate(SERVERS)]
    servers += [f"    server x{n} {_distant(n)} check port {check}" for n in range(extra)]
    head = f"backend {name}\n    mode tcp\n    balance leastconn\n"
    return head + "    stick-table type ip size 100k expire 1h\n    stick on src\n" + "\n".join(servers)


def _distant(number: int) -> str:
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def nginx_text(shape: Shape) -> str:
    """As near as nginx gets. It has no stick table: a hash of the source address chooses the FTP server, so that
    control and data connections meet; plain TCP is least_conn without persistence, less work than the others do."""
    low, high = shape.ports
    log = (
        'log_format tcplog "$remote_addr:$remote_port [$time_local] $server_addr:$server_port $upstream_addr '
        '$upstream_connect_time/$session_time $bytes_sent $status $connection";\n'
        f"access_log syslog:server={SINK}:{SINK_PORT},facility=local0 tcplog;"
    )
    extra = "\n".join(f"    server {_distant(n)}:{TCP_PORT};" for n in range(shape.servers))
    return f"""\
load_module {NGINX_STREAM};
worker_processes {shape.workers};
user root;
pid nginx.pid;
error_log error.log error;
events {{ worker_connections {2 * maxconn(shape) + high - low + 500}; }}
stream {{
{log if shape.logs else "access_log off;"}
proxy_connect_timeout 5s;
proxy_timeout 10m;
split_clients "$remote_addr" $ftp_server {{ 50% {SERVERS[0]}; * {SERVERS[1]}; }}
upstream tcp_servers {{
    least_conn;
    server {SERVERS[0]}:{TCP_PORT};
    server {SERVERS[1]}:{TCP_PORT};
{extra}
}}
server {{
    listen {BALANCER}:{FTP_PORT} backlog=4096;
    listen {BALANCER}:{low}-{high} backlog=4096;
    proxy_pass $ftp_server:$server_port;
}}
server {{ listen {BALANCER}:{TCP_PORT} backlog=4096; proxy_pass tcp_servers; }}
}}
"""


# --- the peers ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Peer:
    """One column of the tables."""

    name: str
    program: str
    text: Callable[[Shape], str]
    serve: tuple[str, ...]
    check: tuple[str, ...]
    version: tuple[str, ...]
    splice: bool = False

    def command(self, words: tuple[str, ...], folder: Path) -> list[str]:
        """`{cfg}` and `{dir}` replaced."""
        return [self.program, *(word.format(cfg=folder / "balancer.cfg", dir=folder) for word in words)]

    def write(self, shape: Shape, folder: Path) -> None:
        """The configuration, where the command looks for it."""
        (folder / "balancer.cfg").write_text(self.text(shape))

    def describe(self) -> str:
        """First line of what it says about its version."""
        said = subprocess.run([self.program, *self.version], capture_output=True, text=True, check=False)
        return (said.stdout + said.stderr).strip().splitlines()[0]


def _program(name: str) -> str:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin") or ""


def _pasvport() -> str:
    beside = Path(sys.executable).with_name("pasvport")
    return str(beside) if beside.exists() else _program("pasvport")


_HAPROXY = (("-db", "-f", "{cfg}"), ("-c", "-f", "{cfg}"), ("-v",))
_NGINX = (
    ("-p", "{dir}", "-c", "{cfg}", "-g", "daemon off;"),
    ("-t", "-p", "{dir}", "-c", "{cfg}"),
    ("-v",),
)


def peers() -> dict[str, Peer]:
    """Everything that can be installed; `program` is empty where it is not."""
    haproxy, nginx = _program("haproxy"), _program("nginx") if Path(NGINX_STREAM).exists() else ""
    found = (
        Peer("pasvport", _pasvport(), haproxy_text, *_HAPROXY),
        Peer("pasvport-ftp", _pasvport(), mode_ftp_text, *_HAPROXY),
        Peer("haproxy", haproxy, haproxy_text, *_HAPROXY),
        Peer("haproxy+splice", haproxy, haproxy_text, *_HAPROXY, splice=True),
        Peer("nginx", nginx, nginx_text, *_NGINX),
    )
    return {peer.name: peer for peer in found}


# --- a balancer at work ---------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Running:
    """A started balancer, or none at all (`direct`), seen from a measurement."""

    name: str
    host: str
    pid: int = 0
    started_in: float = 0.0
    sink: Tool | None = None

    @property
    def direct(self) -> bool:
        """No balancer: the tools talk to the servers, which shows what the tools themselves can do."""
        return not self.pid

    def pids(self) -> list[int]:
        """The process and its descendants."""
        return family(self.pid) if self.pid else []


@contextmanager
def running(peer: Peer | None, shape: Shape) -> Iterator[Running]:
    """Start it, wait for a greeting through it, stop it. Raises BenchError with its own words when it fails."""
    with Tool("logsink", "-l", SINK, "-p", SINK_PORT) as sink:
        if peer is None:
            yield Running("direct", SERVERS[0], sink=sink)
            return
        with tempfile.TemporaryDirectory(prefix=f"bench-{peer.name}-") as name, _started(peer, shape, Path(name)) as it:
            it.sink = sink
            yield it


@contextmanager
def _started(peer: Peer, shape: Shape, folder: Path) -> Iterator[Running]:
    peer.write(shape, folder)
    with (folder / "output").open("wb") as output:
        begun = time.monotonic()
        process = subprocess.Popen(
            peer.command(peer.serve, folder), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            _await_greeting(peer, process, folder)
            yield Running(peer.name, BALANCER, process.pid, time.monotonic() - begun)
        finally:
            end_family(process)


def _await_greeting(peer: Peer, process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not _greeted():
        if process.poll() is not None or time.monotonic() > deadline:
            said = (folder / "output").read_text(errors="replace")[-2000:]
            raise BenchError(f"{peer.name} does not serve: {said.strip() or 'no word from it'}")
        time.sleep(0.002)


def _greeted() -> bool:
    try:
        with socket.create_connection((BALANCER, FTP_PORT), timeout=1.0) as control:
            return control.recv(64).startswith(b"220")
    except OSError:
        return False


def check_seconds(peer: Peer, shape: Shape) -> float:
    """How long it takes to read a configuration and say that it is good."""
    with tempfile.TemporaryDirectory(prefix=f"bench-{peer.name}-") as name:
        folder = Path(name)
        peer.write(shape, folder)
        begun = time.monotonic()
        done = subprocess.run(peer.command(peer.check, folder), capture_output=True, check=False)
        took = time.monotonic() - begun
        if done.returncode:
            raise BenchError(f"{peer.name} refuses its configuration: {done.stderr.decode(errors='replace')[-1000:]}")
    return took
