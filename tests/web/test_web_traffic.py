"""What runs now, on the dashboard: transfers, sessions, failed logins of a real FTP server's clients."""

from __future__ import annotations

import ftplib
import json
import sys
from pathlib import Path

import pytest

import web_rig
from farm.ports import free_ports
from farm.processes import Child
from farm.waiting import until, until_banner
from web_rig import ask

PATIENCE = 15
FARMHAND = Path(web_rig.__file__).parent / "farm" / "pyftpd.py"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The port of a pyftpdlib with one user."""
    folder = tmp_path_factory.mktemp("server")
    (port,) = free_ports(1)
    wish = {"name": "ready", "host": "127.0.0.1", "port": port, "advertise": "", "ports": [0, 0], "home": str(folder)}
    wish |= {"user": "anna", "password": "secret", "security": "PLAIN", "certificate": ""}
    child = Child([sys.executable, str(FARMHAND), json.dumps(wish)], folder / "log")
    try:
        until_banner("127.0.0.1", port, child.check_alive)
        yield port
    finally:
        child.stop()


@pytest.fixture(scope="module")
def farm(tmp_path_factory, server):
    with web_rig.pasvport(tmp_path_factory.mktemp("farm"), server) as (_, places):
        yield places


def shown(places):
    return ask(places.open, "/dashboard/data").json


def test_a_transfer_is_seen_while_it_runs(farm) -> None:
    client = ftplib.FTP(timeout=PATIENCE)
    client.connect("127.0.0.1", farm.ftp)
    client.login("anna", "secret")
    data = client.transfercmd("STOR report <1>.txt")
    data.sendall(b"x" * 5000)

    def running():
        return [each for each in shown(farm)["transfers"] if each["size"] == 5000]

    (transfer,) = until(running, "the transfer to be told", PATIENCE)
    assert transfer["path"] == "report <1>.txt"
    assert (transfer["user"], transfer["client"]) == ("anna", "127.0.0.1")
    assert (transfer["direction"], transfer["verb"]) == ("upload", "STOR")
    assert (transfer["backend"], transfer["server"]) == ("farm", "f1")
    (session,) = shown(farm)["ftp_sessions"]
    assert (session["user"], session["server"]) == ("anna", "f1")
    assert "secret" not in json.dumps(shown(farm))
    # A page that may see only other proxies sees none of this.
    locked = ask(farm.locked, "/dashboard/data", user="guest:guest").json
    assert (locked["transfers"], locked["ftp_sessions"], locked["login_failures"]) == ([], [], [])
    data.close()
    client.voidresp()
    client.quit()
    client.close()
    until(lambda: not shown(farm)["ftp_sessions"], "the session to end", PATIENCE)
    entrance = next(each for each in shown(farm)["frontends"] if each["name"] == "ftp_in")
    assert (entrance["transfers_total"], entrance["uploaded"]) == (1, 5000)
    assert (
        'pasvport_ftp_frontend_bytes_total{direction="upload",proxy="ftp_in"} 5000.0' in ask(farm.open, "/metrics").text
    )


def test_failed_logins_are_told_without_passwords(farm) -> None:
    with ftplib.FTP(timeout=PATIENCE) as client:
        client.connect("127.0.0.1", farm.ftp)
        with pytest.raises(ftplib.error_perm):
            client.login("mallory", "guess-4711")

    def told():
        return [each for each in shown(farm)["login_failures"] if each["user"] == "mallory"]

    (failure,) = until(told, "the failed login to be told", PATIENCE)
    assert (failure["client"], failure["frontend"], failure["server"]) == ("127.0.0.1", "ftp_in", "f1")
    assert "guess-4711" not in json.dumps(shown(farm))
    until(lambda: [each for each in shown(farm)["events"] if each["kind"] == "login"], "an event", PATIENCE)
