"""Medians, ratios, verdicts, tables, the plot; and the configurations, judged by the programs they are for."""

import json
import shutil
import subprocess
import sys
import xml.etree.ElementTree as Xml
from pathlib import Path

import pytest
from bench.balancers import haproxy_text, nginx_text
from bench.layout import Shape
from bench.measurements import FULL, MEASUREMENTS, QUICK
from bench.results import METRICS, Outcome, verdicts

from bench import plot, report


def outcome(**rates: list[float]) -> Outcome:
    """One row of connections per second, `haproxy=[...]`."""
    found = Outcome({"kernel": "Linux"})
    row = found.row("connections", "1 worker, logs")
    for peer, values in rates.items():
        for value in values:
            row.add(peer, {"per_second": value})
    return found


def test_median_spread_and_ratio() -> None:
    row = outcome(pasvport=[90, 120, 100], haproxy=[200, 50, 80]).rows[0]
    assert row.median("pasvport", "per_second") == 100
    assert row.spread("pasvport", "per_second") == pytest.approx(0.15)
    assert row.ratio("pasvport", "per_second") == pytest.approx(100 / 80)
    assert row.ratio("nginx", "per_second") is None


@pytest.mark.parametrize(("ours", "met"), [(99.0, False), (100.0, True), (130.0, True)])
def test_a_goal_is_judged_by_the_ratio(ours: float, met: bool) -> None:
    found = verdicts(outcome(pasvport=[ours], haproxy=[100.0]))
    assert [(verdict.found, verdict.met) for verdict in found] == [(pytest.approx(ours / 100), met)]


def test_no_verdict_without_the_reference() -> None:
    assert verdicts(outcome(pasvport=[1.0], nginx=[1.0])) == []


@pytest.mark.parametrize(("many", "met"), [(80.0, False), (95.0, True)])
def test_growth_is_judged_against_our_own_smallest_case(many: float, met: bool) -> None:
    found = Outcome({})
    found.row("growth", "1 worker, 10 entries").add("pasvport", {"per_second": 100.0})
    found.row("growth", "1 worker, 100,000 entries").add("pasvport", {"per_second": many})
    assert [verdict.met for verdict in verdicts(found)] == [met]


def test_the_file_is_the_data() -> None:
    before = outcome(pasvport=[90, 120, 100], haproxy=[80])
    assert Outcome.from_json(json.loads(json.dumps(before.as_json()))) == before
    assert before.as_json()["rows"][0]["ratios"]["pasvport"]["per_second"] == pytest.approx(1.25)


def test_the_table_has_medians_and_ratios() -> None:
    text = report.tables(outcome(pasvport=[1000, 3000, 2000], haproxy=[4000], nginx=[1000]))
    cells = [cell.strip() for cell in text.splitlines()[-1].strip("|").split("|")]
    assert cells == ["1 worker, logs", "rate (/s)", "2,000 ±50%", "4,000 ±0%", "1,000 ±0%", "0.50", "2.00"]
    assert "NOT met" in text


def test_the_plot_is_well_formed_and_turns_costs_around() -> None:
    found = outcome(pasvport=[50.0], haproxy=[100.0])
    found.row("bulk", "<1 & 2>").add("pasvport", {"cpu_s_per_gb": 0.2})
    found.row("bulk", "<1 & 2>").add("haproxy", {"cpu_s_per_gb": 1.0})
    advantages = [line.advantages["haproxy"] for line in plot.lines(found)]
    assert advantages == [pytest.approx(0.5), pytest.approx(5.0)]
    titles = [element.text for element in Xml.fromstring(plot.svg(found)).iter("{http://www.w3.org/2000/svg}title")]
    assert titles == ["haproxy: 0.50", "haproxy: 5.00"]


SHAPES = [Shape(), Shape(workers=2, logs=False), Shape(splice=True), Shape(servers=20), Shape(ports=(50000, 50009))]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("program", ["haproxy", "pasvport"])
def test_the_configuration_is_accepted(program: str, shape: Shape, tmp_path: Path) -> None:
    path = tmp_path / "balancer.cfg"
    path.write_text(haproxy_text(shape))
    haproxy = shutil.which("haproxy") or "/usr/sbin/haproxy"
    command = [haproxy] if program == "haproxy" else [sys.executable, "-m", "pasvport"]
    done = subprocess.run([*command, "-c", "-f", str(path)], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr


def test_nginx_gets_the_same_shape() -> None:
    text = nginx_text(Shape(workers=2, logs=False, ports=(50000, 50009), servers=3))
    assert "worker_processes 2;" in text
    assert ":50000-50009 " in text
    assert "access_log off;" in text
    assert text.count("server 10.0.0.") == 3


@pytest.mark.parametrize("scale", [QUICK, FULL])
def test_every_measurement_has_cases_with_names_of_their_own(scale: object) -> None:
    for name, (_, cases) in MEASUREMENTS.items():
        found = list(cases(scale))
        assert found
        assert {case.measurement for case in found} == {name}
        assert len({case.name for case in found}) == len(found)
        assert all((case.run is None) != (case.whole is None) for case in found)


def test_every_measurement_prints_metrics_that_exist() -> None:
    assert set(plot.SHOWN) <= set(METRICS)
