"""Recorded choices of HAProxy, and the same story told to our Pool.

A scenario is a backend and a list of steps; recording it (balance/record_haproxy.py) fills in which server each
connection reached. Steps are lists, to keep the files small:
  ["open", number, source, destination port, server]   a connection; "" when it was not recorded yet
  ["close", number]                                     its end
  ["state", server, "maint" | "drain" | "ready"]        `set server b/S state X`
  ["weight", server, weight]                            `set weight b/S W`
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from ipaddress import ip_address
from pathlib import Path
from random import Random
from types import SimpleNamespace

from pasvport import model
from pasvport.address import Endpoint, Family
from pasvport.balance.pool import Pool
from pasvport.record import Admin, Operation, ServerState
from pasvport.stick.keys import compile_sample

ORIGIN = model.Origin("recorded", 1)
ADMIN = {"maint": Admin.FORCED_MAINT, "drain": Admin.FORCED_DRAIN, "ready": 0}
FETCHES = {
    "src": model.Expression("src", "src"),
    "dst_port": model.Expression("dst_port", "dst_port"),
    "src,ipmask(24)": model.Expression("src,ipmask(24)", "src", (), (model.Converter("ipmask", ("24",)),)),
    "str(same)": model.Expression("str(same)", "str", ("same",)),
}


@dataclass
class RecordedServer:
    """One server line; `dead` refuses connections without being marked down."""

    weight: int = 1
    id: int = 0
    backup: bool = False
    disabled: bool = False
    maxconn: int = 0
    minconn: int = 0
    maxqueue: int = 0
    dead: bool = False


@dataclass
class Scenario:
    """A backend, what happens to it, and (once recorded) which server every connection reached."""

    name: str
    algorithm: str
    servers: list[RecordedServer]
    steps: list[list]
    hash_method: str = "map-based"
    hash_function: str = ""
    avalanche: bool = False
    expression: str = ""
    balance_factor: int = 0
    all_backups: bool = False
    fullconn: int = 0
    recorded_with: str = ""
    described: str = field(default="", repr=False)

    @property
    def effective_avalanche(self) -> bool:
        """`hash-type consistent` without a function means sdbm with avalanche (configuration manual, hash-type)."""
        return self.avalanche or (self.hash_method == "consistent" and not self.hash_function)


def load_scenario(path: Path) -> Scenario:
    data = json.loads(path.read_text())
    data["servers"] = [RecordedServer(**server) for server in data["servers"]]
    return Scenario(**data)


def save_scenario(scenario: Scenario, path: Path) -> None:
    """One step a line, defaults left out, so that a new recording gives a readable difference."""
    data = asdict(scenario)
    data["servers"] = [
        {key: value for key, value in server.items() if value != getattr(RecordedServer(), key)}
        for server in data["servers"]
    ]
    head = {key: value for key, value in data.items() if key != "steps" and value not in ("", 0, False)}
    steps = ",\n  ".join(json.dumps(step) for step in scenario.steps)
    path.write_text(json.dumps(head, indent=1)[:-2] + f',\n "steps": [\n  {steps}\n ]\n}}\n')


def backend_of(scenario: Scenario) -> model.Proxy:
    """The scenario's backend as the compiler would make it."""
    servers = tuple(
        model.Server(
            origin=ORIGIN,
            name=f"s{number}",
            id=server.id or number,
            endpoint=Endpoint(Family.IPV4, "127.0.0.1"),
            port=model.ServerPort(model.PortMap.SAME),
            weight=server.weight,
            backup=server.backup,
            disabled=server.disabled,
            maxconn=server.maxconn,
            minconn=server.minconn,
            maxqueue=server.maxqueue,
        )
        for number, server in enumerate(scenario.servers, 1)
    )
    balance = model.Balance(
        algorithm=model.Algorithm(scenario.algorithm),
        expression=FETCHES.get(scenario.expression),
        hash_method=model.HashMethod(scenario.hash_method),
        hash_function=model.HashFunction(scenario.hash_function or "sdbm"),
        avalanche=scenario.effective_avalanche,
        balance_factor=scenario.balance_factor,
        all_backups=scenario.all_backups,
    )
    return model.Proxy(ORIGIN, "b", 0, 2, False, True, servers=servers, balance=balance, fullconn=scenario.fullconn)


def initial_state(server: model.Server) -> ServerState:
    admin = Admin.CONFIG_MAINT if server.disabled else 0
    operation = Operation.STOPPED if server.disabled else Operation.RUNNING
    return ServerState(operation=operation, admin=admin, weight=server.weight, maxconn=server.maxconn)


class Replay:
    """Plays a scenario against a Pool, the way an engine uses one."""

    def __init__(self, scenario: Scenario, seed: int = 1) -> None:
        self.scenario = scenario
        self.proxy = backend_of(scenario)
        self.states = [initial_state(server) for server in self.proxy.servers]
        self.load = [0] * len(self.states)
        self.open: dict[int, int] = {}
        self.pool = Pool(self.proxy, self.states, load=self.load.__getitem__, draw=Random(seed).randrange)
        expression = self.proxy.balance.expression
        self.sample = compile_sample(expression) if expression else None

    def run(self) -> list[tuple[int, str, str]]:
        """(step, HAProxy's server, ours) for each choice."""
        choices: list[tuple[int, str, str]] = []
        for number, (kind, *args) in enumerate(self.scenario.steps):
            if kind == "open":
                choices.append((number, args[3], self.connect(*args[:3])))
            else:
                getattr(self, kind)(*args)
        return choices

    def connect(self, number: int, source: str, port: int) -> str:
        key = self.key(source, port)
        index = self.pool.pick(key, full=self.full)
        if index >= 0 and self.scenario.servers[index].dead:
            self.took(index)
            self.dropped(index)
            index = self.pool.pick(key, avoid=index, full=self.full)
        if index < 0:
            return "none"
        self.took(index)
        self.open[number] = index
        return self.proxy.servers[index].name

    def close(self, number: int) -> None:
        self.dropped(self.open.pop(number))

    def state(self, name: str, word: str) -> None:
        self.change(name, admin=ADMIN[word], operation=Operation.RUNNING)

    def weight(self, name: str, weight: int) -> None:
        self.change(name, weight=weight)

    def change(self, name: str, **changes) -> None:
        index = int(name[1:]) - 1
        old = self.states[index]
        fields = {key: getattr(old, key) for key in ("operation", "admin", "weight", "started", "maxconn")}
        self.states[index] = ServerState(**(fields | changes))
        self.pool.change(index, self.states[index], 0.0)

    def full(self, index: int) -> bool:
        return self.pool.saturated(index, served=self.load[index], queued=0, backend_load=sum(self.load))

    def took(self, index: int) -> None:
        self.load[index] += 1
        self.pool.took(index)

    def dropped(self, index: int) -> None:
        self.load[index] -= 1
        self.pool.dropped(index)

    def key(self, source: str, port: int) -> bytes | None:
        packed = ip_address(source).packed
        if self.sample is None:
            return packed
        ends = SimpleNamespace(source=packed, source_port=0, destination=b"\x7f\0\0\1", destination_port=port)
        return self.sample(ends)
