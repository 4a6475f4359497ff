"""`mode http`: the statistics' own language, what it makes of the model, and what it refuses."""

from __future__ import annotations

import pytest

from compiling import alerts, compiled, warnings
from pasvport.model import Mode, Stats

SETTINGS = "global\n node west\n description farm of the west\n"
DEFAULTS = "defaults\n timeout client 1m\n timeout server 1m\n timeout connect 5s\n"


def text(*lines, kind="frontend"):
    body = "".join(f" {line}\n" for line in lines)
    return f"{SETTINGS}{DEFAULTS}{kind} st\n bind 127.0.0.1:1\n mode http\n{body}"


def stats(*lines):
    return compiled(text(*lines)).proxies[0].stats


def test_a_statistics_proxy() -> None:
    (proxy,) = compiled(text("stats enable", kind="listen")).proxies
    assert proxy.mode is Mode.HTTP
    assert proxy.stats == Stats(enabled=True)
    assert proxy.stats.uri == "/haproxy?stats"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("stats uri /farm", {"uri": "/farm"}),
        ("stats realm Our\\ farm", {"realm": "Our farm"}),
        ("stats auth ops:a:b", {"users": (("ops", "a:b"),)}),
        ("stats auth ops", {"users": (("ops", ""),)}),
        ("stats refresh 5s", {"refresh": 5}),
        ("stats refresh 1m", {"refresh": 60}),
        ("stats refresh 100ms", {"refresh": 1}),
        ("stats admin if TRUE", {"admin": True}),
        ("stats admin unless FALSE", {"admin": True}),
        ("stats admin if FALSE", {"admin": False}),
        ("stats hide-version", {"hide_version": True}),
        ("stats show-node", {"show_node": "west"}),
        ("stats show-node n-1", {"show_node": "n-1"}),
        ("stats show-desc", {"show_description": "farm of the west"}),
        ("stats show-desc a  b", {"show_description": "a b"}),
        ("stats show-legends", {"show_legends": True}),
        ("stats show-modules", {"show_modules": True}),
        ("stats scope .", {"scope": ("st",)}),
        ("stats scope other", {"scope": ("other",)}),
    ],
)
def test_every_line(line, expected) -> None:
    assert stats(line) == Stats(enabled=True, **expected)


def test_lines_add_up() -> None:
    found = stats("stats auth a:1", "stats auth b:2", "stats scope x", "stats scope y")
    assert found.users == (("a", "1"), ("b", "2"))
    assert found.scope == ("x", "y")


def test_a_second_password_of_a_user_is_ignored_with_a_warning() -> None:
    assert stats("stats auth a:1", "stats auth a:2").users == (("a", "1"),)
    assert any("ignoring duplicated user 'a'" in said for _, said in warnings(text("stats auth a:1", "stats auth a:2")))


def test_metrics_alone() -> None:
    found = stats("http-request use-service prometheus-exporter if { path /metrics }")
    assert found == Stats(enabled=False, metrics=True)


def test_a_section_that_speaks_of_statistics_forgets_what_its_defaults_said() -> None:
    defaults = f"{DEFAULTS} mode http\n stats uri /d\n stats auth a:b\n"
    config = compiled(f"{defaults}frontend one\n bind :1\nfrontend two\n bind :2\n stats uri /own\n")
    assert config.proxies[0].stats == Stats(enabled=True, uri="/d", users=(("a", "b"),))
    assert config.proxies[1].stats == Stats(enabled=True, uri="/own")


def test_mode_tcp_ignores_statistics_with_a_warning() -> None:
    told = f"{DEFAULTS}listen l\n bind :1\n stats enable\n stats uri /x\n server s 127.0.0.1:2\n"
    assert compiled(told).proxies[0].stats is None
    ((_, said),) = warnings(told)
    assert "'stats' statement ignored for proxy 'l'" in said


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["server s 127.0.0.1:2", "stats enable"], "servers need 'mode tcp'"),
        (["stats enable", "default_backend b"], "nothing to send to a backend"),
        (["maxconn 10"], "there is no 'stats' line"),
        (["stats enable", "http-request deny"], "of 'http-request' only"),
        (["stats enable", "http-request use-service prometheus-exporter"], "of 'http-request' only"),
        (["stats admin if LOCALHOST"], "'stats admin if LOCALHOST' is not supported yet"),
        (["stats http-request allow"], "'stats http-request' is not supported yet"),
        (["stats enable", "redirect prefix /x"], "'redirect' is not supported yet"),
        (["stats enabel"], "unknown stats parameter 'enabel'"),
    ],
)
def test_what_else_http_could_do_is_refused(lines, reason) -> None:
    told = text(*lines, kind="listen") + "backend b\n server s 127.0.0.1:3\n"
    assert any(reason in said for _, said in alerts(told)), alerts(told)


def test_a_backend_cannot_be_http() -> None:
    told = f"{DEFAULTS}listen l\n bind :1\n server s 127.0.0.1:2\nbackend b\n mode http\n stats enable\n"
    assert any("a backend has none to serve" in said for _, said in alerts(told))


def test_orders_without_a_password_are_warned_of_at_their_line() -> None:
    ((line, said),) = warnings(text("stats enable", "stats admin if TRUE"))
    assert "'stats admin' without 'stats auth'" in said
    assert line == 1 + next(
        n for n, row in enumerate(text("stats enable", "stats admin if TRUE").split("\n")) if "admin" in row
    )
    assert not warnings(text("stats admin if TRUE", "stats auth a:b"))
    assert not warnings(text("stats admin if FALSE"))
