"""docs/statistics.md is what the tables say, and the Grafana dashboard asks for metrics that exist."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pasvport.control.web import metric_tables
from pasvport.control.web.reference import render
from pasvport.exposition.stat import Kind

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "statistics.md"
GRAFANA = ROOT / "contrib" / "grafana" / "pasvport.json"


def names():
    found = {name for name, _, _, _ in metric_tables.OTHERS}
    found |= {f"haproxy_process_{shown.name}" for shown in metric_tables.PROCESS}
    for kind in Kind:
        group = kind.name.lower()
        found |= {f"haproxy_{group}_{shown.name}" for shown in metric_tables.GROUPS[kind]}
        found |= {f"pasvport_ftp_{group}_{shown.name}" for shown in metric_tables.FTP_GROUPS.get(kind, ())}
    return found


def test_the_page_is_not_stale() -> None:
    page = PAGE.read_text("utf-8")
    assert page == render(page), "run `make docs`"


def test_every_metric_is_on_the_page() -> None:
    page = PAGE.read_text("utf-8")
    assert [name for name in names() if f"| `{name}` |" not in page] == []


def test_pictures_are_there_and_small() -> None:
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", PAGE.read_text("utf-8"))
    assert len(pictures) == 3
    for picture in pictures:
        assert 10_000 < (PAGE.parent / picture).stat().st_size < 200_000


def test_grafana_asks_for_metrics_that_exist() -> None:
    board = json.loads(GRAFANA.read_text("utf-8"))
    queries = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    queries += [each["query"]["query"] for each in board["templating"]["list"] if each["type"] == "query"]
    assert len(queries) > 15
    asked = {name for query in queries for name in re.findall(r"\b(?:haproxy|pasvport)_\w+", query)}
    assert asked <= names()
    assert "pasvport_ftp_frontend_transfers_current" in asked


@pytest.mark.parametrize("field", ["id", "gridPos", "title", "type"])
def test_grafana_panels_are_whole(field) -> None:
    panels = json.loads(GRAFANA.read_text("utf-8"))["panels"]
    assert all(field in panel for panel in panels)
    assert len({panel["id"] for panel in panels}) == len(panels)
