"""A reload carries the web server over: its sockets, the connections in them, what it remembers."""

from __future__ import annotations

import http.client
import signal

import pytest

import web_rig
from farm.ports import free_ports
from farm.waiting import until
from process_rig import Running
from web_rig import ask

PATIENCE = 10


@pytest.fixture
def running(tmp_path, alive):
    places = web_rig.places_to_be(alive)
    with Running(tmp_path, web_rig.configuration(places)) as found:
        yield found, places


def reload(running, text):
    running.file.write_text(text)
    running.signal(signal.SIGUSR2)


def test_connections_and_history_survive(running) -> None:
    process, places = running
    connection = http.client.HTTPConnection("127.0.0.1", places.open, timeout=PATIENCE)

    def get(path):
        connection.request("GET", path)
        return connection.getresponse().read().decode()

    get("/stats;csv")
    first = connection.sock
    until(lambda: ask(places.open, "/dashboard/data").json["history"]["next"], "a sample", PATIENCE)
    text = web_rig.configuration(places, more=f"    server newcomer 127.0.0.1:{places.alive}\n")
    reload(process, text)
    until(lambda: "newcomer" in get("/stats;csv"), "the new server on the old connection", PATIENCE)
    assert connection.sock is first
    assert ask(places.open, "/dashboard/data").json["history"]["next"] >= 1
    until(lambda: "Another configuration is served" in get("/dashboard/data"), "the reload to be told", PATIENCE)
    connection.close()


def test_passwords_and_ports_follow_the_text(running) -> None:
    process, places = running
    (other,) = free_ports(1)
    text = web_rig.configuration(places)
    assert f"127.0.0.1:{places.metrics}" in text
    text = text.replace("stats auth guest:guest", "stats auth guest:other")
    text = text.replace(f"127.0.0.1:{places.metrics}", f"127.0.0.1:{other}")
    reload(process, text)

    def is_open():
        try:
            return ask(other, "/metrics").status == 200
        except OSError:
            return False

    until(is_open, "the new port to answer", PATIENCE)
    assert ask(places.locked, "/", user="guest:guest").status == 401
    assert ask(places.locked, "/", user="guest:other").status == 200

    def is_shut():
        try:
            ask(places.metrics, "/metrics")
        except OSError:
            return True
        return False

    until(is_shut, "the old port to be closed", PATIENCE)


def test_a_text_that_is_wrong_changes_nothing(running) -> None:
    process, places = running
    reload(process, web_rig.configuration(places, more="nonsense\n"))
    process.wait_for("Loading failure!")
    assert ask(places.open, "/stats;csv").status == 200
