"""Our Pool chooses as HAProxy did in the recorded sequences, and as it does live."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from record_haproxy import record

from balance_replay import Replay, Scenario, load_scenario
from balance_scenarios import SCENARIOS

SEQUENCES = sorted(Path(__file__).with_name("sequences").glob("*.json"))
HAPROXY = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
# The manual promises the first usable backup only; HAProxy's map mixes in the others when their weights differ.
MIXED_BACKUPS = "staticrr-backup"
LIVE = ("roundrobin-outages", "leastconn-mixed", "hash-ring-port")


def differences(scenario: Scenario) -> list[tuple[int, str, str]]:
    choices = Replay(scenario).run()
    assert choices
    return [choice for choice in choices if choice[1] != choice[2]]


@pytest.mark.parametrize("path", [p for p in SEQUENCES if p.stem != MIXED_BACKUPS], ids=lambda path: path.stem)
def test_chooses_as_recorded(path: Path) -> None:
    scenario = load_scenario(path)
    assert scenario.recorded_with
    assert differences(scenario) == []


def test_a_map_keeps_to_the_first_backup_as_the_manual_says() -> None:
    different = differences(load_scenario(SEQUENCES[0].with_stem(MIXED_BACKUPS)))
    assert different
    assert {(theirs, ours) for _, theirs, ours in different} == {("s4", "s3")}


def test_every_scenario_is_recorded_as_it_is_told() -> None:
    recorded = {path.stem: load_scenario(path) for path in SEQUENCES}
    told = {scenario.name: scenario for scenario in (make() for make in SCENARIOS)}
    assert recorded.keys() == told.keys()
    for name, scenario in told.items():
        assert recorded[name].servers == scenario.servers
        assert [step[:3] for step in recorded[name].steps] == [step[:3] for step in scenario.steps]


@pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed")
@pytest.mark.parametrize("name", LIVE)
def test_chooses_as_haproxy_does_now(name: str) -> None:
    scenario = next(scenario for scenario in (make() for make in SCENARIOS) if scenario.name == name)
    record(scenario, str(HAPROXY))
    assert differences(scenario) == []
