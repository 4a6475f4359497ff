"""The stories HAProxy's choices are recorded over: every algorithm, with weights, backups, outages and load."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from balance_replay import RecordedServer as Server
from balance_replay import Scenario

Steps = list[list]


class Story:
    """Builds steps; connections are numbered, sources and ports drawn from a seeded generator."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.steps: Steps = []
        self.count = 0
        self.held: list[int] = []

    def connect(self) -> int:
        self.count += 1
        source = f"127.{self.random.randrange(256)}.{self.random.randrange(256)}.{self.random.randrange(1, 255)}"
        self.steps.append(["open", self.count, source, self.random.randrange(8), ""])
        return self.count

    def brief(self, times: int) -> Story:
        """Connections that end before the next begins."""
        for _ in range(times):
            self.steps.append(["close", self.connect()])
        return self

    def hold(self, times: int) -> Story:
        self.held += [self.connect() for _ in range(times)]
        return self

    def leave(self, times: int, *, oldest: bool = False) -> Story:
        for _ in range(times):
            position = 0 if oldest else self.random.randrange(len(self.held))
            self.steps.append(["close", self.held.pop(position)])
        return self

    def mixed(self, times: int, most: int = 30) -> Story:
        """Comings and goings, with up to `most` at a time."""
        for _ in range(times):
            going = len(self.held) >= most or (self.held and self.random.random() < 0.45)
            self.leave(1) if going else self.hold(1)
        return self

    def state(self, number: int, word: str) -> Story:
        self.steps.append(["state", f"s{number}", word])
        return self

    def weight(self, number: int, weight: int) -> Story:
        self.steps.append(["weight", f"s{number}", weight])
        return self


def weights(*values: int) -> list[Server]:
    return [Server(weight=value) for value in values]


def outages(seed: int, *, brief: int = 10) -> Steps:
    """Servers of a backend of at least three leave and return in several ways."""
    story = Story(seed).brief(brief)
    story.state(2, "maint").brief(brief).state(2, "ready").brief(brief)
    story.state(1, "drain").brief(brief).state(3, "maint").brief(brief)
    story.state(3, "ready").brief(3).state(1, "ready").brief(brief * 2)
    return story.steps


def reweighed(seed: int) -> Steps:
    story = Story(seed).brief(11)
    for number, weight in ((1, 10), (2, 3), (3, 0), (1, 2), (3, 7), (2, 256), (1, 1), (2, 1), (3, 1)):
        story.weight(number, weight).brief(9 + number)
    return story.steps


def backups() -> list[Server]:
    return [Server(weight=2), Server(weight=1), Server(weight=3, backup=True), Server(weight=2, backup=True)]


def fallen() -> Steps:
    """Both active servers go, then the first backup, then all come back in turn."""
    story = Story(5).brief(6).state(1, "maint").brief(4).state(2, "maint").brief(10)
    story.state(3, "maint").brief(6).state(3, "ready").brief(8).state(2, "ready").brief(5)
    return story.state(1, "ready").brief(9).steps


def _rotating(algorithm: str) -> list[Callable[[], Scenario]]:
    """The stories of the algorithms that take servers in turn."""
    short = algorithm.replace("-", "")
    return [
        lambda: Scenario(f"{short}-equal", algorithm, weights(1, 1, 1), Story(1).brief(20).steps),
        lambda: Scenario(f"{short}-weights", algorithm, weights(1, 5, 3, 2), Story(2).brief(60).steps),
        lambda: Scenario(f"{short}-odd-weights", algorithm, weights(7, 13, 256, 1, 100), Story(3).brief(120).steps),
        lambda: Scenario(f"{short}-zero-weight", algorithm, weights(4, 0, 6), Story(4).brief(20).steps),
        lambda: Scenario(f"{short}-outages", algorithm, weights(3, 2, 5, 1), outages(6)),
        lambda: Scenario(f"{short}-outages-equal", algorithm, weights(1, 1, 1, 1), outages(7)),
        lambda: Scenario(f"{short}-backup", algorithm, backups(), fallen()),
        lambda: Scenario(f"{short}-allbackups", algorithm, backups(), fallen(), all_backups=True),
        lambda: Scenario(
            f"{short}-disabled", algorithm, [Server(weight=2), Server(disabled=True), Server()], _return_of_two()
        ),
        lambda: Scenario(f"{short}-dead", algorithm, [Server(), Server(dead=True), Server(weight=2)], _brief(12)),
        lambda: Scenario(f"{short}-full", algorithm, _limited(), Story(9).mixed(120, most=11).steps),
    ]


def _brief(times: int) -> Steps:
    return Story(8).brief(times).steps


def _return_of_two() -> Steps:
    return Story(8).brief(9).state(2, "ready").brief(12).steps


def _limited() -> list[Server]:
    """Twelve slots in all: stories that hold at most eleven never queue."""
    return [Server(weight=1, maxconn=5), Server(weight=4, maxconn=3), Server(weight=2, maxconn=4)]


def _loaded() -> list[Callable[[], Scenario]]:
    name = "leastconn"
    return [
        lambda: Scenario("leastconn-brief", name, weights(1, 1, 1), Story(20).brief(15).steps),
        lambda: Scenario("leastconn-held", name, weights(1, 1, 1, 1), Story(21).hold(30).leave(15).hold(20).steps),
        lambda: Scenario("leastconn-weights", name, weights(1, 2, 5), Story(22).hold(50).leave(30).hold(30).steps),
        lambda: Scenario("leastconn-mixed", name, weights(3, 1, 4, 1, 5), Story(23).mixed(250).steps),
        lambda: Scenario("leastconn-mixed-equal", name, weights(1, 1, 1), Story(24).mixed(200).steps),
        lambda: Scenario("leastconn-outages", name, weights(2, 1, 1), _loaded_outages()),
        lambda: Scenario("leastconn-reweighed", name, weights(1, 1, 1), reweighed(26)),
        lambda: Scenario("leastconn-backup", name, backups(), fallen()),
        lambda: Scenario("leastconn-allbackups", name, backups(), fallen(), all_backups=True),
        lambda: Scenario("leastconn-full", name, _limited(), Story(27).mixed(150, most=11).steps),
        lambda: Scenario("leastconn-minconn", name, _growing(), Story(28).mixed(150, most=9).steps, fullconn=20),
        lambda: Scenario("leastconn-dead", name, [Server(), Server(dead=True), Server(weight=2)], _brief(12)),
        lambda: Scenario("leastconn-page", name, weights(1, 1), Story(29).mixed(120, most=12).steps),
    ]


def _loaded_outages() -> Steps:
    story = Story(25).mixed(30).state(2, "drain").mixed(20).state(2, "ready").mixed(30)
    return story.state(1, "drain").mixed(20).state(1, "ready").mixed(40).steps


def _growing() -> list[Server]:
    return [Server(minconn=2, maxconn=10), Server(maxconn=8), Server(weight=2, minconn=1, maxconn=20)]


def _in_order() -> list[Callable[[], Scenario]]:
    ids = [Server(id=30, maxconn=2), Server(id=10, maxconn=3), Server(id=20, maxconn=4), Server(id=5, weight=0)]
    return [
        lambda: Scenario("first-full", "first", _limited(), Story(30).mixed(100, most=11).steps),
        lambda: Scenario("first-ids", "first", ids, Story(31).mixed(100, most=8).steps),
        lambda: Scenario("first-outages", "first", weights(1, 1, 1), outages(32, brief=3)),
        lambda: Scenario("first-backup", "first", backups(), fallen(), all_backups=True),
    ]


_TABLES = (("map-based", "map"), ("consistent", "ring"))
_FUNCTIONS = ("sdbm", "djb2", "wt6", "crc32")


def _source(method: str, short: str) -> list[Callable[[], Scenario]]:
    def make(story: str, servers: list[Server], steps: Steps, **more) -> Callable[[], Scenario]:
        return lambda: Scenario(f"source-{short}-{story}", "source", servers, steps, hash_method=method, **more)

    dead = [Server(), Server(dead=True), Server(weight=2), Server()]
    return [
        make("equal", weights(1, 1, 1), Story(40).brief(60).steps),
        make("weights", weights(4, 0, 6, 10), Story(41).brief(80).steps),
        make("avalanche", weights(1, 2, 3), Story(42).brief(60).steps, hash_function="sdbm", avalanche=True),
        make("plain", weights(1, 2, 3), Story(42).brief(60).steps, hash_function="sdbm"),
        make("outages", weights(3, 2, 5, 1), outages(43)),
        make("backup", backups(), fallen()),
        make("allbackups", backups(), fallen(), all_backups=True),
        make("ids", [Server(id=100), Server(id=7), Server(id=4000)], Story(44).brief(60).steps),
        make("dead", dead if method == "consistent" else weights(1, 2), Story(45).brief(40).steps),
    ]


def _hash(method: str, short: str) -> list[Callable[[], Scenario]]:
    def make(name: str, function: str, avalanche: bool, expression: str) -> Callable[[], Scenario]:
        return lambda: Scenario(
            f"hash-{short}-{name}",
            "hash",
            weights(1, 3, 2, 5),
            Story(50).brief(50).steps,
            hash_method=method,
            hash_function=function,
            avalanche=avalanche,
            expression=expression,
        )

    made = [make(function, function, False, "src") for function in _FUNCTIONS]
    made += [make(f"{function}-avalanche", function, True, "src") for function in _FUNCTIONS]
    made += [make("default", "", False, "src"), make("port", "crc32", False, "dst_port")]
    return [*made, make("mask", "", False, "src,ipmask(24)"), make("constant", "djb2", False, "str(same)")]


def _bounded() -> list[Callable[[], Scenario]]:
    def make(name: str, servers: list[Server], factor: int, expression: str) -> Callable[[], Scenario]:
        return lambda: Scenario(
            f"bounded-{name}",
            "hash",
            servers,
            Story(60).mixed(150, most=25).steps,
            hash_method="consistent",
            balance_factor=factor,
            expression=expression,
        )

    return [
        make("equal", weights(1, 1, 1, 1), 110, "src"),
        make("weights", weights(1, 4, 2, 3), 125, "src"),
        make("one-key", weights(2, 1, 3), 150, "str(same)"),
    ]


SCENARIOS: list[Callable[[], Scenario]] = [
    *_rotating("roundrobin"),
    lambda: Scenario("roundrobin-reweighed", "roundrobin", weights(5, 2, 9), reweighed(10)),
    lambda: Scenario("roundrobin-many", "roundrobin", weights(*range(1, 13)), Story(11).brief(180).steps),
    *_rotating("static-rr"),
    *_loaded(),
    *_in_order(),
    *(make for method, short in _TABLES for make in (*_source(method, short), *_hash(method, short))),
    lambda: Scenario("source-ring-reweighed", "source", weights(5, 2, 9), reweighed(10), hash_method="consistent"),
    *_bounded(),
]
