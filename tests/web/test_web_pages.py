"""Every page of a running pasvport: what it says, to whom, with which headers."""

from __future__ import annotations

import contextlib
import json
import re
import socket
from html.parser import HTMLParser

import pytest

import pasvport
import web_rig
from farm.waiting import until
from web_rig import ask, rows

PUBLIC = ["/stats", "/stats;csv", "/stats;json", "/stats;typed", "/metrics", "/health", "/dashboard", "/dashboard/data"]


class Document(HTMLParser):
    """Tags and attributes of a page."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def of(self, tag):
        return [attrs for name, attrs in self.found if name == tag]


@pytest.mark.parametrize(
    "path", [*PUBLIC, "/dashboard/dashboard.js", "/dashboard/dashboard.css", "/dashboard/icon.svg"]
)
def test_pages_are_served_with_strict_headers(served, path) -> None:
    answer = ask(served.open, path)
    assert answer.status == 200
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Server"] == "pasvport"


@pytest.mark.parametrize("path", PUBLIC)
def test_head_is_get_without_a_body(served, path) -> None:
    answer = ask(served.open, path, "HEAD")
    assert answer.status == 200
    assert answer.body == b""
    assert int(answer.headers["Content-Length"]) > 0


@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", "/stats"), ("DELETE", "/stats"), ("POST", "/metrics"), ("POST", "/health"), ("OPTIONS", "/stats")],
)
def test_other_methods_are_refused(served, method, path) -> None:
    answer = ask(served.open, path, method)
    assert answer.status == 405
    assert "GET" in answer.headers["Allow"]


def test_what_is_not_there(served) -> None:
    assert ask(served.open, "/nothing").status == 404
    assert ask(served.open, "/dashboard/page.html").status == 404
    assert ask(served.open, "/dashboard/../../../../etc/passwd").status == 404
    assert ask(served.open, "/").headers["Location"] == "/stats"


# --- the page without its script ----------------------------------------------------------------------------------


def test_the_page_shows_the_servers_without_a_script(served) -> None:
    text = ask(served.open, "/stats").text
    for word in ("servers", "good", "bad", "out", "MAINT", "DOWN", "Layer4 connection problem"):
        assert word in text
    assert re.search(r"<noscript><meta http-equiv=\"refresh\" content=\"7\"></noscript>", text)
    assert "http-equiv" not in ask(served.open, "/stats;norefresh").text


def test_the_page_has_nothing_inline_and_nothing_from_outside(served) -> None:
    page = Document(ask(served.open, "/stats").text)
    for tag, attributes in page.found:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], (tag, attributes)
        for name in ("src", "href", "action"):
            assert attributes.get(name, "/").startswith(("/", "#")), (tag, attributes)
    assert not page.of("style")
    assert all("src" in each for each in page.of("script"))


def test_the_page_can_be_read_aloud(served) -> None:
    page = Document(ask(served.open, "/stats").text)
    assert {"header", "main", "footer", "nav", "h1"} <= {tag for tag, _ in page.found}
    assert all(each.get("scope") in ("col", "row") for each in page.of("th"))
    assert len(page.of("caption")) == len(page.of("table"))
    ids = [attributes["id"] for _, attributes in page.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.found:
        for name in ("aria-labelledby", "for"):
            assert attributes.get(name) is None or attributes[name] in ids
    assert page.of("html")[0]["lang"] == "en"


def test_up_only_hides_what_is_not(served) -> None:
    _, every = rows(ask(served.open, "/stats;csv").text)
    _, up = rows(ask(served.open, "/stats;csv;up").text)
    _, not_maintained = rows(ask(served.open, "/stats;csv;no-maint").text)
    assert every.keys() - up.keys() == {("servers", "bad"), ("servers", "out")}
    assert every.keys() - not_maintained.keys() == {("servers", "out")}


def test_a_query_of_too_many_fields_is_no_error_of_ours(served) -> None:
    many = "x&" * 100
    assert ask(served.open, f"/metrics?{many}").status == 400
    assert ask(served.open, f"/dashboard/data?{many}").status == 200


def test_scope_is_a_part_of_a_name(served) -> None:
    _, found = rows(ask(served.open, "/stats;csv;scope=serv").text)
    assert {proxy for proxy, _ in found} == {"servers"}
    assert rows(ask(served.open, "/stats;csv;scope=nobody").text)[1] == {}


def test_json_and_typed_say_the_same_as_csv(served) -> None:
    names, found = rows(ask(served.open, "/stats;csv").text)
    objects = ask(served.open, "/stats;json").json
    assert len(objects) == len(found)
    assert {field["field"]["name"] for each in objects for field in each} <= set(names)
    typed = ask(served.open, "/stats;typed").text
    assert ".svname.1:KNS:str:bad" in typed
    assert "oneOf" in ask(served.open, "/stats;json-schema").json


# --- passwords ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/;csv", "/dashboard", "/dashboard/data", "/dashboard/dashboard.js", "/metrics"])
def test_a_password_is_asked_for(served, path) -> None:
    for user in (None, "ops:wrong", "ops:", "nobody:se:cret"):
        answer = ask(served.locked, path, user=user)
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"].startswith('Basic realm="The farm"')
        assert b"tcp_in" not in answer.body
    for user in ("ops:se:cret", "guest:guest"):
        assert ask(served.locked, path, user=user).status == 200


def test_a_scope_hides_all_other_proxies(served) -> None:
    _, found = rows(ask(served.locked, "/;csv", user="guest:guest").text)
    assert {proxy for proxy, _ in found} == {"tcp_in", "servers"}
    page = ask(served.locked, "/", user="guest:guest").text
    shown = ask(served.locked, "/dashboard/data", user="guest:guest").json
    metrics = ask(served.locked, "/metrics", user="guest:guest").text
    for text in (page, json.dumps(shown), metrics):
        assert "ftp_in" not in text
        assert "tcp_in" in text
    assert shown["history"] is None


def test_legends_node_and_description(served) -> None:
    _, found = rows(ask(served.locked, "/;csv", user="guest:guest").text)
    assert found["servers", "good"]["addr"] == f"127.0.0.1:{served.alive}"
    assert rows(ask(served.open, "/stats;csv").text)[1]["servers", "good"]["addr"] == ""
    page = ask(served.locked, "/", user="guest:guest").text
    assert '<p class="node">west</p>' in page
    assert '<p class="description">the farm</p>' in page
    assert "the farm" not in ask(served.open, "/stats").text


def test_descriptions_of_proxies_stand_beside_their_names(tmp_path, alive) -> None:
    """On the page alone, as HAProxy has it, which does not ask for 'stats show-desc' there."""
    more = f"""
listen told
    description the <old> mill
    bind {tmp_path}/told.sock
    server s 127.0.0.1:{alive}
"""
    with web_rig.pasvport(tmp_path, alive, more=more) as (_, places):
        page = ask(places.open, "/stats").text
        assert "told <small>the &lt;old&gt; mill</small>" in page
        assert ">told: the &lt;old&gt; mill</caption>" in page
        frontends = {each["name"]: each for each in ask(places.open, "/dashboard/data").json["frontends"]}
        assert frontends["told"]["description"] == "the <old> mill"
        assert "description" not in frontends["tcp_in"]
        assert "mill" not in ask(places.open, "/stats;csv").text


def test_a_proxy_for_metrics_alone(served) -> None:
    assert ask(served.metrics, "/metrics").status == 200
    assert ask(served.metrics, "/health").json == {"status": "ok"}
    for path in ("/", "/haproxy?stats", "/dashboard", "/dashboard/data"):
        assert ask(served.metrics, path).status == 404


# --- health -------------------------------------------------------------------------------------------------------


def test_health_tells_strangers_little(served) -> None:
    assert ask(served.locked, "/health").json == {"status": "ok"}
    known = ask(served.locked, "/health", user="guest:guest").json
    assert known["workers_alive"] == 2
    assert known["backends"] == [{"name": "servers", "usable": 2, "servers": 4}]


# --- the dashboard's data -----------------------------------------------------------------------------------------


def test_the_data_of_the_dashboard(served) -> None:
    shown = ask(served.open, "/dashboard/data").json
    assert shown["about"]["workers_alive"] == 2
    assert shown["about"]["admin"] is True
    assert shown["about"]["version"] == pasvport.__version__
    (servers,) = [backend for backend in shown["backends"] if backend["name"] == "servers"]
    bad = next(each for each in servers["servers"] if each["name"] == "bad")
    assert bad["state"] == "DOWN"
    assert bad["check"].endswith("L4CON")
    assert len(bad["minutes"]) == 60
    (entrance,) = [each for each in shown["frontends"] if each["name"] == "ftp_in"]
    assert (entrance["pool"], entrance["leases"]) == (10, 0)
    assert (shown["transfers"], shown["ftp_sessions"]) == ([], [])


def test_what_happened_is_told(served) -> None:
    def told():
        events = ask(served.open, "/dashboard/data").json["events"]
        return [each for each in events if each["server"] == "bad" and each["kind"] == "state"]

    # The first look may have been after the fall; then the checks that go on failing are all there is to see.
    until(lambda: told() or _checks(served), "an event or a check of the dead server")


def _checks(served):
    shown = ask(served.open, "/dashboard/data").json
    (servers,) = [backend for backend in shown["backends"] if backend["name"] == "servers"]
    bad = next(each for each in servers["servers"] if each["name"] == "bad")
    return [each for each in bad["checks"] if not each["passed"]]


def test_history_comes_in_pieces(served) -> None:
    until(lambda: ask(served.open, "/dashboard/data").json["history"]["next"] >= 1, "the first sample")
    history = ask(served.open, "/dashboard/data").json["history"]
    assert len(history["series"]["sessions"]) == history["next"] - history["first"]
    later = ask(served.open, f"/dashboard/data?after={history['next']}").json["history"]
    assert later["first"] == history["next"]
    for odd in ("x", "-1", "99999999999999999999", "", "1e3", "%00"):
        assert ask(served.open, f"/dashboard/data?after={odd}").json["history"]["first"] == 0


# --- bad clients --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET /stats HTTP/9.9\r\n\r\n",
        b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /stats HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 20000 + b"\r\n\r\n",
        b"GET /stats HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"POST /stats HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_no_request_ends_its_connection_only(served, sent) -> None:
    with socket.create_connection(("127.0.0.1", served.open), timeout=10) as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while part := client.recv(65536):
                answer += part
    assert not answer.startswith(b"HTTP/1.1 200")
    assert not re.match(rb"HTTP/1.. 500", answer)
    assert ask(served.open, "/health").status == 200
