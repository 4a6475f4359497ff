"""Records which servers a real HAProxy chooses. Usage: python tests/balance/record_haproxy.py [NAME...]

Runs haproxy on loopback with servers that tell their names, plays the scenarios of `balance_scenarios` against it and
writes sequences/NAME.json. After each step it waits until HAProxy's own statistics show the step's effect, so that a
recording does not depend on timing.
"""

from __future__ import annotations

import csv
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from farm.ports import free_ports

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))

from balance_replay import Scenario, save_scenario

SEQUENCES = Path(__file__).with_name("sequences")
DEADLINE = 10.0
PORTS = 8


class NamedServers:
    """Listening sockets in one thread; each tells its name to whoever connects and waits for the end."""

    def __init__(self, count: int) -> None:
        self._selector = selectors.DefaultSelector()
        self._stop, self._stopped = socket.socketpair()
        self._selector.register(self._stopped, selectors.EVENT_READ, "stop")
        self.ports: list[int] = []
        for number in range(1, count + 1):
            listener = socket.create_server(("127.0.0.1", 0), backlog=256)
            self.ports.append(listener.getsockname()[1])
            self._selector.register(listener, selectors.EVENT_READ, f"s{number}")
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def __enter__(self) -> NamedServers:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stop.send(b"x")
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()
        self._selector.close()
        self._stop.close()

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.data == "stop":
                    return
                if key.data:
                    self._welcome(key.fileobj, key.data)
                else:
                    self._read(key.fileobj)

    def _welcome(self, listener: socket.socket, name: str) -> None:
        connection, _ = listener.accept()
        connection.sendall(name.encode() + b"\n")
        self._selector.register(connection, selectors.EVENT_READ, "")

    def _read(self, connection: socket.socket) -> None:
        with suppress(ConnectionError):
            if connection.recv(4096):
                return
        self._selector.unregister(connection)
        connection.close()


def server_line(scenario: Scenario, number: int, port: int) -> str:
    server = scenario.servers[number - 1]
    words = [f"server s{number} 127.0.0.1:{port} weight {server.weight}"]
    words += [
        f"{key} {getattr(server, key)}" for key in ("id", "maxconn", "minconn", "maxqueue") if getattr(server, key)
    ]
    words += [key for key in ("backup", "disabled") if getattr(server, key)]
    return "    " + " ".join(words)


def configuration(scenario: Scenario, control: Path, entrances: list[int], ports: list[int]) -> str:
    lines = ["global", f"    stats socket {control} level admin", "    nbthread 1"]
    lines += ["defaults", "    mode tcp", "    retries 1", "    option redispatch"]
    lines += [f"    timeout {kind} 20s" for kind in ("connect", "client", "server", "queue")]
    lines += ["frontend f", "    default_backend b"]
    lines += [f"    bind 127.0.0.1:{port}" for port in entrances]
    argument = f" {scenario.expression}" if scenario.expression else ""
    lines += ["backend b", f"    balance {scenario.algorithm}{argument}"]
    kind = " ".join([scenario.hash_method, scenario.hash_function, "avalanche" if scenario.avalanche else ""])
    lines += [f"    hash-type {kind}".rstrip()]
    lines += [f"    hash-balance-factor {scenario.balance_factor}"] if scenario.balance_factor else []
    lines += ["    option allbackups"] if scenario.all_backups else []
    lines += [f"    fullconn {scenario.fullconn}"] if scenario.fullconn else []
    lines += [server_line(scenario, number, port) for number, port in enumerate(ports, 1)]
    return "\n".join(lines) + "\n"


class Recorder:
    """One haproxy playing one scenario."""

    def __init__(self, scenario: Scenario, held: ExitStack, haproxy: str) -> None:
        self.scenario = scenario
        folder = Path(held.enter_context(tempfile.TemporaryDirectory()))
        servers = held.enter_context(NamedServers(len(scenario.servers)))
        dead = free_ports(len(scenario.servers))
        ports = [d if s.dead else p for s, p, d in zip(scenario.servers, servers.ports, dead, strict=True)]
        self.control = folder / "control"
        self.entrances = free_ports(PORTS)
        text = folder / "haproxy.cfg"
        text.write_text(configuration(scenario, self.control, self.entrances, ports))
        self.load = [0] * len(ports)
        self.open: dict[int, tuple[socket.socket, int]] = {}
        self.process = subprocess.Popen([haproxy, "-db", "-f", str(text)], stderr=subprocess.PIPE)
        held.callback(self.finish)
        self.until(lambda: self.control.exists() and "Uptime" in self.ask("show info"))

    def finish(self) -> None:
        for connection, _ in self.open.values():
            connection.close()
        self.process.terminate()
        self.process.communicate(timeout=DEADLINE)

    def until(self, condition) -> None:
        deadline = time.monotonic() + DEADLINE
        while True:
            with suppress(OSError):
                if condition():
                    return
            if self.process.poll() is not None:
                raise RuntimeError(self.process.stderr.read().decode())
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.scenario.name}: haproxy did not get there")
            time.sleep(0.001)

    def ask(self, command: str) -> str:
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(DEADLINE)
            control.connect(str(self.control))
            control.sendall(command.encode() + b"\n")
            parts = []
            while part := control.recv(65536):
                parts.append(part)
        return b"".join(parts).decode()

    def sessions(self) -> list[int]:
        rows = csv.DictReader(self.ask("show stat b 4 -1").lstrip("# ").splitlines())
        return [int(row["scur"]) for row in rows if row.get("svname")]

    def settle(self) -> None:
        self.until(lambda: self.sessions() == self.load)

    def play(self) -> None:
        for step in self.scenario.steps:
            getattr(self, "play_" + step[0])(step)

    def play_open(self, step: list) -> None:
        _, number, source, entrance, _ = step
        port = self.entrances[entrance % PORTS]
        step[3] = port
        connection = socket.create_connection(("127.0.0.1", port), DEADLINE, (source, 0))
        name = connection.makefile().readline().strip()
        step[4] = name or "none"
        if not name:
            connection.close()
            return
        self.load[int(name[1:]) - 1] += 1
        self.open[number] = connection, int(name[1:]) - 1
        self.settle()

    def play_close(self, step: list) -> None:
        connection, index = self.open.pop(step[1])
        connection.close()
        self.load[index] -= 1
        self.settle()

    def play_state(self, step: list) -> None:
        self.set(f"set server b/{step[1]} state {step[2]}")

    def play_weight(self, step: list) -> None:
        self.set(f"set weight b/{step[1]} {step[2]}")

    def set(self, command: str) -> None:
        answer = self.ask(command).strip()
        if answer:
            raise RuntimeError(f"{command}: {answer}")


def record(scenario: Scenario, haproxy: str = "haproxy") -> None:
    """Fills in the servers of the scenario's steps. Raises RuntimeError or TimeoutError when haproxy does not play."""
    with ExitStack() as held:
        Recorder(scenario, held, haproxy).play()
    version = subprocess.run([haproxy, "-v"], capture_output=True, text=True, check=True).stdout
    scenario.recorded_with = version.split()[2]


def main(names: list[str]) -> int:
    from balance_scenarios import SCENARIOS

    haproxy = shutil.which("haproxy") or "/usr/sbin/haproxy"
    SEQUENCES.mkdir(exist_ok=True)
    for make in SCENARIOS:
        scenario = make()
        if names and scenario.name not in names:
            continue
        record(scenario, haproxy)
        save_scenario(scenario, SEQUENCES / f"{scenario.name}.json")
        print(scenario.name, sum(step[0] == "open" for step in scenario.steps), "connections")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
