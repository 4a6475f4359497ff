"""Guessing passwords: slow, seen, and no hindrance to who is right."""

from __future__ import annotations

import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

import web_rig
from pasvport.control.web import attempts
from pasvport.control.web.attempts import Attempts, source_of
from web_rig import ask

PATIENCE = 10


# --- pure ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("remote", "source"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", "unix"),
        (None, "unix"),
    ],
)
def test_a_source_is_a_network(remote, source) -> None:
    assert source_of(remote) == source


def test_each_failure_waits_longer_and_time_forgives() -> None:
    known = Attempts()
    waits = []
    for _ in range(7):
        waits.append(known.failed("a", "ops", 0.0))
        known.answered("a")
    assert waits == [0.25, 0.5, 1.0, 2.0, 4.0, 4.0, 4.0]
    assert known.failed("b", "ops", 0.0) == 0.25
    assert known.failed("a", "ops", attempts.FORGIVEN_AFTER + 1) == 0.25
    assert known.total == 9


def test_few_at_a_time_but_who_was_right_always() -> None:
    known = Attempts()
    known.succeeded("a", b"right")
    for _ in range(attempts.MOST_AT_ONCE):
        assert known.may_try("a", b"wrong")
        known.failed("a", "ops", 0.0)
    assert not known.may_try("a", b"wrong")
    assert known.may_try("a", b"right")
    assert known.may_try("b", b"wrong")
    known.answered("a")
    assert known.may_try("a", b"wrong")


@given(st.lists(st.tuples(st.integers(0, 6000), st.floats(0, 30)), max_size=200))
def test_memory_and_lines_are_bounded(story) -> None:
    known, now, said = Attempts(), 0.0, []
    for name, pause in story:
        now += pause
        known.failed(f"{name}", "u", now)
        known.answered(f"{name}")
        known.succeeded(f"{name}", b"x")
        said.extend((now, line) for line in known.lines(now))
    assert len(known._sources) <= attempts.MOST_SOURCES
    assert len(known._right) <= 256
    assert len(said) <= (now // attempts.LINE_EVERY + 2) * attempts.MOST_LINES


def test_ten_thousand_sources() -> None:
    known = Attempts()
    for number in range(10_000):
        known.failed(f"{number}", "u", 0.0)
    assert len(known._sources) == attempts.MOST_SOURCES
    assert len(known.lines(0.0)) == attempts.MOST_LINES
    assert known.lines(1.0) == []
    later = known.lines(attempts.LINE_EVERY)
    assert len(later) == attempts.MOST_LINES


def test_a_line_names_the_last_user_and_sums_up() -> None:
    known = Attempts()
    known.failed("192.0.2.1", "root", 0.0)
    assert known.lines(0.0) == ["Statistics page: failed login as 'root' from 192.0.2.1."]
    for user in ("a", "b\n\x1b[2J"):
        known.failed("192.0.2.1", user, 1.0)
    assert known.lines(2.0) == []
    assert known.lines(11.0) == ["Statistics page: 2 failed logins, the last as 'b\\n\\x1b[2J' from 192.0.2.1."]


# --- a running one ------------------------------------------------------------------------------------------------


@pytest.fixture
def guarded(tmp_path, alive):
    """(ports, the log's socket) of a pasvport of its own, which logs what it is told of."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as log:
        log.bind(("127.0.0.1", 0))
        log.settimeout(PATIENCE)
        target = f"    log 127.0.0.1:{log.getsockname()[1]} local0\n"
        places = web_rig.places_to_be(alive)
        text = web_rig.configuration(places).replace("global\n", "global\n" + target)
        with web_rig.Running(tmp_path, text, "-db"):
            yield places, log


def said(log, part):
    """The first line of the log that has these words."""
    while True:
        line = log.recv(65536).decode()
        if part in line:
            return line


def test_guessing_is_slow_seen_and_counted(guarded) -> None:
    places, log = guarded
    assert ask(places.locked, "/;csv").status == 401
    assert ask(places.locked, "/;csv", user="ops:se:cret").status == 200
    assert ask(places.locked, "/;csv", user="ops:wrong").status == 401
    assert "failed login as 'ops' from 127.0.0.1." in said(log, "Statistics page")
    statuses = []
    guessers = [
        threading.Thread(target=lambda n=n: statuses.append(ask(places.locked, "/;csv", user=f"ops:{n}").status))
        for n in range(40)
    ]
    for each in guessers:
        each.start()
    for each in guessers:
        each.join(PATIENCE)
    assert len(statuses) == 40
    assert set(statuses) == {401, 429}
    assert ask(places.locked, "/;csv", user="ops:se:cret").status == 200
    assert count(places) == statuses.count(401) + 1
    events = ask(places.open, "/dashboard/data").json["events"]
    assert [(each["kind"], each["proxy"], each["count"]) for each in events if "statistics page" in each["text"]] == [
        ("login", "locked", count(places))
    ]
    assert "failed login" in said(log, "failed logins, the last as 'ops' from 127.0.0.1.")


def test_no_page_tells_quickly_what_is_right(guarded) -> None:
    places, _ = guarded
    for path in ("/health", "/metrics", "/dashboard/data", "/nothing", "/dashboard/icon.svg"):
        before = count(places)
        answer = ask(places.locked, path, user="ops:wrong")
        assert answer.status in (200, 401, 503), path
        assert count(places) == before + 1, path


def count(places):
    name = "pasvport_web_login_failures_total "
    lines = ask(places.metrics, "/metrics").text.splitlines()
    return next(float(line.removeprefix(name)) for line in lines if line.startswith(name))


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"A: " + b"x" * 20000 + b"\r\n\r\n",
        b"GET /" + b"x" * 20000 + b" HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"SSH-2.0-x\r\n\r\n",
    ],
)
def test_errors_name_no_version(guarded, sent) -> None:
    places, _ = guarded
    with socket.create_connection(("127.0.0.1", places.open), PATIENCE) as client:
        client.sendall(sent)
        answer = b""
        while b"\r\n\r\n" not in answer and (piece := client.recv(65536)):
            answer += piece
    assert b"aiohttp" not in answer
    assert b"Python" not in answer
    assert b"\r\nServer: pasvport\r\n" in answer
    assert b"Content-Security-Policy: " in answer


# --- orders under a foreign name ------------------------------------------------------------------------------------


def order(places, port, host, **more):
    return ask(port, "/stats", "POST", body="s=idle&b=servers&action=drain", Host=host, **more).state


def test_a_foreign_name_gives_no_orders(guarded) -> None:
    places, log = guarded
    evil = {"Origin": "http://evil.example", "Sec_Fetch_Site": "same-origin"}
    assert order(places, places.open, "evil.example", **evil) == "DENY"
    assert "order under the name 'evil.example' refused" in said(log, "order under")
    for host in (f"127.0.0.1:{places.open}", "localhost:1", "[::1]:80", socket.gethostname(), "west", "WEST:80"):
        assert order(places, places.open, host) == "DONE", host
    for host in ("evil.127.0.0.1.example", "localhost.example", f"{socket.gethostname()}.evil.example", "", "a b"):
        assert order(places, places.open, host) == "DENY", host


def test_with_a_password_any_name_is_good(tmp_path, alive) -> None:
    places = web_rig.places_to_be(alive)
    text = web_rig.configuration(places).replace(
        "    stats admin if TRUE\n", "    stats admin if TRUE\n    stats auth a:b\n"
    )
    with web_rig.Running(tmp_path, text, "-db"):
        assert order(places, places.open, "farm.example", user="a:b") == "DONE"
