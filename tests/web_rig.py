"""A running pasvport (or HAProxy) with statistics pages, and a client that says exactly what it sends."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import subprocess
from contextlib import contextmanager
from typing import NamedTuple

from farm.ports import free_port, free_ports, free_range
from farm.waiting import until
from process_rig import Running
from real_haproxy import HAPROXY

PATIENCE = 15.0


class Places(NamedTuple):
    """Ports: the open page (takes orders), the one with a password, the metrics alone, a TCP and an FTP frontend; two
    servers; the lowest and highest data port."""

    open: int
    locked: int
    metrics: int
    tcp: int
    ftp: int
    alive: int
    dead: int
    pool: tuple[int, int]


def configuration(places, *, ours=True, more=""):
    """The same text for both, but for what only pasvport has."""
    ftp = f"""
frontend ftp_in
    mode ftp
    bind 127.0.0.1:{places.ftp} name control
    bind 127.0.0.1:{places.pool[0]}-{places.pool[1]} name pool
    default_backend farm
backend farm
    mode ftp
    server f1 127.0.0.1:{places.alive}
"""
    return f"""
global
    nbthread {2 if ours else 1}
    node west
    description the farm
defaults
    mode tcp
    timeout client 10s
    timeout server 10s
    timeout connect 2s
frontend pages
    mode http
    bind 127.0.0.1:{places.open}
    timeout client 2s
    stats enable
    stats uri /stats
    stats admin if TRUE
    stats refresh 7s
    http-request use-service prometheus-exporter if {{ path /metrics }}
frontend locked
    mode http
    bind 127.0.0.1:{places.locked}
    stats uri /
    stats realm The\\ farm
    stats auth ops:se:cret
    stats auth guest:guest
    stats show-legends
    stats show-node
    stats show-desc
    stats scope tcp_in
    stats scope servers
frontend metrics
    mode http
    bind 127.0.0.1:{places.metrics}
    http-request use-service prometheus-exporter if {{ path /metrics }}
frontend tcp_in
    bind 127.0.0.1:{places.tcp}
    option socket-stats
    default_backend servers
backend servers
    stick-table type ip size 1k
    stick on src
    server good 127.0.0.1:{places.alive} check inter 300
    server bad 127.0.0.1:{places.dead} check inter 300 fall 1
    server idle 127.0.0.1:{places.alive}
    server out 127.0.0.1:{places.dead} disabled
{ftp if ours else ""}{more}"""


def places_to_be(alive):
    """Free ports; `alive` is the server that is there."""
    return Places(*free_ports(5), alive, free_port(), free_range(10))


@contextmanager
def pasvport(folder, alive, **changes):
    """(the running process, its ports)."""
    places = places_to_be(alive)
    with Running(folder, configuration(places, **changes), "-db") as running:
        yield running, places


@contextmanager
def haproxy(folder, alive):
    """The reference with the same pages; its ports."""
    places = places_to_be(alive)
    file = folder / "reference.cfg"
    file.write_text(configuration(places, ours=False))
    with (folder / "reference.log").open("wb") as log:
        process = subprocess.Popen([HAPROXY, "-db", "-f", str(file)], stdout=log, stderr=log)
    try:
        until(lambda: _answers(places.open), "HAProxy to answer", PATIENCE)
        yield places
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _answers(port):
    try:
        return ask(port, "/stats;csv").status == 200
    except OSError:
        return False


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def state(self):
        """The word behind `;st=` of a redirection."""
        return self.headers["Location"].rpartition(";st=")[2]


def ask(port, path, method="GET", *, body=None, user=None, **headers):
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if user is not None:
        sent["Authorization"] = "Basic " + base64.b64encode(user.encode()).decode()
    if body is not None:
        sent.setdefault("Content-Type", "application/x-www-form-urlencoded")
    try:
        connection.request(method, path, body=body, headers=sent)
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


def rows(text):
    """CSV of `show stat` as (header, {(pxname, svname): {column: value}})."""
    lines = text.strip().splitlines()
    names = lines[0].removeprefix("# ").rstrip(",").split(",")
    found = {}
    for line in lines[1:]:
        cells = line.split(",")
        found[cells[0], cells[1]] = dict(zip(names, cells, strict=False))
    return names, found


def until_state(port, path, server, state, user=None):
    """Wait until a server's status begins with a word."""

    def there():
        _, found = rows(ask(port, f"{path};csv", user=user).text)
        return found[server]["status"].startswith(state)

    until(there, f"{server} to be {state}", PATIENCE)


def suppressed():
    """Where a connection may have been cut already."""
    return contextlib.suppress(OSError)
