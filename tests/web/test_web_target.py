"""What a request line asks for: HAProxy's options behind `stats uri`, and our own paths."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pasvport.control.web.target import Page, Target, parse, sample_after
from pasvport.model import Stats

PAGE = Stats(enabled=True, uri="/farm")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("/farm", Target(Page.HTML)),
        ("/farmyard", Target(Page.HTML)),
        ("/farm;csv", Target(Page.CSV)),
        ("/farm;csv;norefresh", Target(Page.CSV, refresh=False)),
        ("/farm;up;csv", Target(Page.CSV, up_only=True)),
        ("/farm;json", Target(Page.JSON)),
        ("/farm;json-schema", Target(Page.SCHEMA)),
        ("/farm;typed", Target(Page.TYPED)),
        ("/farm;no-maint", Target(Page.HTML, no_maintenance=True)),
        ("/farm;st=DONE", Target(Page.HTML, status="DONE")),
        ("/farm;scope=ftp%5Fin", Target(Page.HTML, scope="ftp_in")),
        ("/farm?x;csv", Target(Page.CSV)),
        ("http://host:1/farm;csv", Target(Page.CSV)),
        ("/metrics", Target(Page.METRICS)),
        ("/metrics?scope=server&no-maint", Target(Page.METRICS, query="scope=server&no-maint")),
        ("/metricsx", Target(Page.NOTHING)),
        ("/health", Target(Page.HEALTH)),
        ("/health/ready", Target(Page.HEALTH)),
        ("/health/ready?verbose", Target(Page.HEALTH)),
        ("/health/live", Target(Page.ALIVE)),
        ("/health/", Target(Page.NOTHING)),
        ("/healthz", Target(Page.NOTHING)),
        ("/dashboard", Target(Page.HTML)),
        ("/dashboard/data?after=3", Target(Page.LIVE, query="after=3")),
        ("/dashboard/dashboard.js", Target(Page.FILE, name="dashboard.js")),
        ("/dashboard/../page.html", Target(Page.FILE, name="../page.html")),
        ("/", Target(Page.ROOT)),
        ("/elsewhere", Target(Page.NOTHING)),
        ("*", Target(Page.NOTHING)),
    ],
)
def test_targets(raw, expected) -> None:
    assert parse(raw, PAGE) == expected


def test_the_default_uri_has_a_question_mark() -> None:
    assert parse("/haproxy?stats;csv", Stats(enabled=True)) == Target(Page.CSV)
    assert parse("/haproxy?other", Stats(enabled=True)) == Target(Page.NOTHING)


def test_our_own_paths_win_over_a_uri_that_begins_everything() -> None:
    root = Stats(enabled=True, uri="/")
    assert parse("/metrics", root).page is Page.METRICS
    assert parse("/health", root).page is Page.HEALTH
    for mistyped in ("/healthz", "/health/", "/health/redy", "/health/live/"):
        assert parse(mistyped, root).page is Page.NOTHING
    assert parse("/anything", root).page is Page.HTML


@pytest.mark.parametrize("raw", ["/haproxy?stats", "/dashboard", "/dashboard/data", "/dashboard/dashboard.js", "/"])
def test_a_proxy_for_metrics_has_nothing_else(raw) -> None:
    assert parse(raw, Stats(enabled=False, metrics=True)).page is Page.NOTHING


def test_a_proxy_for_metrics_has_metrics_and_health() -> None:
    assert parse("/metrics", Stats(enabled=False, metrics=True)).page is Page.METRICS
    assert parse("/health", Stats(enabled=False, metrics=True)).page is Page.HEALTH
    assert parse("/health/live", Stats(enabled=False, metrics=True)).page is Page.ALIVE


@pytest.mark.parametrize(
    ("query", "number"),
    [("after=3", 3), ("", 0), ("after=-3", 0), ("after=9999999999999999", 0), ("x&" * 20 + "after=3", 0)],
)
def test_which_samples_are_asked_for(query, number) -> None:
    assert sample_after(query) == number


@pytest.mark.parametrize("raw", ["http://[/farm", "http://[::1/farm;csv", "http://[x]/"])
def test_an_address_that_is_none_is_no_page(raw) -> None:
    assert parse(raw, PAGE).page is Page.NOTHING


@given(st.text(max_size=300))
def test_any_request_line_is_understood_or_not(raw) -> None:
    assert isinstance(parse(raw, PAGE), Target)
