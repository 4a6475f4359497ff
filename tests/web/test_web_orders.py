"""Orders from the page: HAProxy's form, its answers, and who may not give any."""

from __future__ import annotations

import socket

import pytest

import web_rig
from process_rig import Running, is_cut
from real_haproxy import needs_haproxy
from web_rig import ask, rows, until_state

FORMS = [
    "s=good&action=drain&b=servers",
    "s=good&action=ready&b=servers",
    "s=good&s=idle&action=maint&b=servers",
    "s=good&s=nobody&action=ready&b=servers",
    "s=idle&action=enable&b=servers",
    "s=idle&action=stop&b=servers",
    "s=idle&action=start&b=servers",
    "s=idle&action=disable&b=servers",
    "s=idle&action=ready&b=servers",
    "s=good&action=dhlth&b=servers",
    "s=good&action=ehlth&b=servers",
    "s=good&action=hrunn&b=servers",
    "s=nobody&action=drain&b=servers",
    "s=good&action=bogus&b=servers",
    "s=good&action=&b=servers",
    "s=good&action=drain&b=nowhere",
    "s=good&action=drain&b=%2399",
    "action=ready&b=servers",
    "b=servers",
    "nonsense",
    "",
    "&&&==&",
    "b=servers&action=drain&s=good",
]


@pytest.fixture(scope="module")
def commanded(tmp_path_factory, alive):
    """The ports of a pasvport that nobody else looks at."""
    with web_rig.pasvport(tmp_path_factory.mktemp("orders"), alive) as (_, places):
        yield places


@pytest.fixture(scope="module")
def reference(tmp_path_factory, alive):
    with web_rig.haproxy(tmp_path_factory.mktemp("reference"), alive) as places:
        yield places


def post(places, body, port=None, path="/stats", **headers):
    return ask(port or places.open, path, "POST", body=body, **headers)


def status(places, name):
    return rows(ask(places.open, "/stats;csv").text)[1]["servers", name]["status"]


@needs_haproxy
def test_answers_are_haproxys(commanded, reference) -> None:
    """The same forms in the same order, so that both stand alike before each."""
    theirs = [post(reference, form).state for form in FORMS]
    ours = [post(commanded, form).state for form in FORMS]
    assert list(zip(FORMS, ours, strict=True)) == list(zip(FORMS, theirs, strict=True))
    for name in ("good", "idle", "out"):
        theirs_now = rows(ask(reference.open, "/stats;csv").text)[1]["servers", name]["status"].partition(" ")[0]
        assert status(commanded, name).partition(" ")[0] == theirs_now
    for places in (commanded, reference):
        post(places, "s=good&s=idle&action=ready&b=servers")


def test_servers_drain_rest_and_come_back(commanded) -> None:
    for action, state in (("drain", "DRAIN"), ("maint", "MAINT"), ("ready", "no check")):
        answer = post(commanded, f"s=idle&action={action}&b=servers")
        assert (answer.status, answer.state) == (303, "DONE")
        assert status(commanded, "idle").startswith(state)
    assert "Done." in ask(commanded.open, "/stats;st=DONE").text
    assert "unknown" in ask(commanded.open, "/stats;st=ERRP").text
    assert "<script>" not in ask(commanded.open, "/stats;st=<script>").text


def test_an_order_is_logged_with_who_gave_it(tmp_path, alive) -> None:
    places = web_rig.places_to_be(alive)
    text = web_rig.configuration(places).replace("node west", "node west\n    log stdout format raw local0")
    text = text.replace("    stats auth guest:guest\n", "    stats admin if TRUE\n")
    with Running(tmp_path, text) as running:
        answer = post(places, "s=idle&action=drain&b=servers", places.locked, "/", user="ops:se:cret")
        assert answer.state == "DONE"
        running.wait_for(r"Statistics page: drain of servers/idle ordered by ops from 127\.0\.0\.1\.")
        assert "se:cret" not in running.messages()


def test_sessions_of_a_server_are_ended(commanded) -> None:
    for name in ("good", "bad", "out"):
        post(commanded, f"s={name}&action=maint&b=servers")
    with socket.create_connection(("127.0.0.1", commanded.tcp), timeout=10) as client:
        until_session(commanded)
        assert post(commanded, "s=idle&action=shutdown&b=servers").state == "DONE"
        assert is_cut(client)
    assert post(commanded, "s=good&action=ready&b=servers").state == "DONE"
    until_state(commanded.open, "/stats", ("servers", "good"), "UP")


def until_session(places):
    def there():
        return int(rows(ask(places.open, "/stats;csv").text)[1]["servers", "idle"]["scur"])

    web_rig.until(there, "the session to reach its server", 10)


def test_without_stats_admin_nothing_happens(commanded) -> None:
    answer = post(commanded, "s=idle&action=drain&b=servers", commanded.locked, "/", user="ops:se:cret")
    assert (answer.status, answer.headers["Location"]) == (303, "/;st=DENY")
    assert post(commanded, "s=idle&action=drain&b=servers", commanded.locked, "/").status == 401
    assert status(commanded, "idle") == "no check"


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Referer": "http://evil.example/stats"},
    ],
)
def test_other_sites_give_no_orders(commanded, headers) -> None:
    assert post(commanded, "s=idle&action=drain&b=servers", **headers).state == "DENY"
    assert status(commanded, "idle") == "no check"


def test_our_own_page_gives_orders(commanded) -> None:
    form = "s=idle&action=ready&b=servers"
    assert post(commanded, form, Sec_Fetch_Site="same-origin").state == "DONE"
    assert post(commanded, form, Origin=f"http://127.0.0.1:{commanded.open}").state == "DONE"


def test_forms_have_a_limit(commanded) -> None:
    assert post(commanded, "s=good&" * 10000 + "action=drain&b=servers").state == "EXCD"
    assert post(commanded, "a&" * 4000 + "b=1").state == "EXCD"
    assert status(commanded, "idle") == "no check"


def test_a_form_that_never_ends_is_given_up(commanded) -> None:
    head = f"POST /stats HTTP/1.1\r\nHost: 127.0.0.1:{commanded.open}\r\nContent-Length: 100\r\n\r\ns="
    with socket.create_connection(("127.0.0.1", commanded.open), timeout=20) as client:
        client.sendall(head.encode())
        answer = client.recv(65536)
    assert answer.startswith(b"HTTP/1.1 503 ") or not answer
    assert status(commanded, "idle") == "no check"
