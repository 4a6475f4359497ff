"""The balancer under test and its reference, behind one interface: both run the same configuration text."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from farm import journal
from farm.processes import Child, command_line, descriptors
from farm.waiting import until, until_listening


class Balancer:
    """A balancer as a child process. `ready` is an address it will listen on: start-up ends when it does."""

    name = ""

    def __init__(self, text: str, ready: tuple[str, int]) -> None:
        self.text = text
        self.ready = ready
        self.folder = Path(tempfile.mkdtemp(prefix=f"{self.name}-"))
        self.folder.chmod(0o755)
        self.settings = self.folder / "balancer.cfg"
        self.settings.write_text(text)
        self.log = self.folder / "log"
        self.child: Child | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def workers(self) -> set[int]:
        """The processes that move bytes."""
        raise NotImplementedError

    def __enter__(self) -> Balancer:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        survivors = self.stop()
        assert not survivors, f"{self.name} left children behind: {survivors}"

    def start(self) -> None:
        self.child = Child(self.command(), self.log, env=dict(os.environ), cwd=self.folder)
        journal.watch(self.name, self.log)
        until_listening(*self.ready, self.child.check_alive)

    @property
    def pid(self) -> int:
        assert self.child is not None
        return self.child.pid

    def signal(self, which: signal.Signals) -> None:
        os.kill(self.pid, which)

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def descriptors(self) -> dict[int, int]:
        """Descriptors of every worker, pipes left out: those are pooled, and bounded by the pool."""
        return {pid: descriptors(pid)[0] for pid in self.workers()}

    def pipes(self) -> dict[int, int]:
        """Pipe ends of every worker."""
        return {pid: descriptors(pid)[1] for pid in self.workers()}

    def stop(self) -> list[str]:
        """End it. The children that did not end with it (they are killed)."""
        survivors = []
        if self.child is not None:
            self.child.stop()
            survivors = self.child.survivors
            self.child = None
        journal.forget(self.name)
        shutil.rmtree(self.folder)
        return survivors


class Haproxy(Balancer):
    """Debian's HAProxy."""

    name = "haproxy"

    def command(self) -> list[str]:
        return [shutil.which("haproxy") or "/usr/sbin/haproxy", "-db", "-f", str(self.settings)]

    def workers(self) -> set[int]:
        return {self.pid}


class Pasvport(Balancer):
    """This project, from the interpreter that runs the tests."""

    name = "pasvport"

    def command(self) -> list[str]:
        return [sys.executable, "-m", "pasvport", "-db", "-p", str(self._pidfile), "-f", str(self.settings)]

    def start(self) -> None:
        """Until every worker accepts: its port listens a second earlier, and a worker that is still reading its modules
        has a third of the memory and of the descriptors that it is compared with later."""
        super().start()
        assert self.child is not None
        until_serving(self.child, self._pidfile)

    @property
    def _pidfile(self) -> Path:
        return self.folder / "pid"

    def workers(self) -> set[int]:
        assert self.child is not None
        return {pid for pid in self.child.family() - {self.pid} if b"pasvport.engine.worker" in command_line(pid)}


def until_serving(child: Child, pidfile: Path) -> None:
    """Wait until pasvport has written its pid file, which it does when every worker accepts."""

    def serving() -> bool:
        child.check_alive()
        return pidfile.exists() and bool(pidfile.read_text())

    until(serving, f"{pidfile} to be written")


BALANCERS: dict[str, type[Balancer]] = {"haproxy": Haproxy, "pasvport": Pasvport}


def page_configuration(
    balancer: str,
    servers: list[tuple[str, str]],
    *,
    control_port: int,
    ports: tuple[int, int],
    log: str,
    extra_global: str = "",
    extra_defaults: str = "",
    server_options: str = "check",
    mode: str = "tcp",
) -> str:
    """The configuration of HAProxy's passive-FTP page with its addresses moved; `servers` are (name, address).

    `mode` "ftp" changes that one word, twice.
    """
    lines = "\n".join(f"    server {name} {host} {server_options} port {control_port}" for name, host in servers)
    return f"""\
global
    log {log} local0
{extra_global}
defaults
    timeout connect 5s
    timeout client 30s
    timeout server 30s
{extra_defaults}
frontend ftp_fe
    mode {mode}
    option tcplog
    log global
    bind {balancer}:{control_port} name ftp-control
    bind {balancer}:{ports[0]}-{ports[1]} name ftp-data
    default_backend ftp_servers

backend ftp_servers
    mode {mode}
    balance leastconn
    stick-table type ip size 100k expire 1h
    stick on src
{lines}
"""
