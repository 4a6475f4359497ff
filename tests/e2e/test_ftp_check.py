"""`option ftp-check` against real servers, sound and with what goes wrong in the field."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from farm.page import kinds_for
from farm.servers import PASSWORD, Farm, Security
from health_world import backend, config, server
from pasvport import model
from pasvport.address import Endpoint, Family
from pasvport.health.ftp_steps import MOST_DATA
from pasvport.health.result import CheckResult, Status
from probing import result_of

KINDS = kinds_for(Security.PLAIN)
CHECK = model.Check(enabled=True, interval=20_000)


@pytest.fixture(scope="module")
def farm() -> Iterator[Farm]:
    with Farm(KINDS) as running:
        running.put("big", bytes(4 * MOST_DATA))
        yield running


def result(farm: Farm, name: str, mode: str = "", action: str = "", path: str = "", **login: str) -> CheckResult:
    place = farm[name]
    said = {"user": place.user, "password": PASSWORD, **login}
    wanted = model.FtpCheck(
        said["user"], said["password"], model.FtpCheckMode(mode), model.FtpCheckAction(action), path
    )
    at = model.ServerPort(model.PortMap.FIXED, place.port)
    one = server(name, endpoint=Endpoint(Family.IPV4, place.host), port=at, check=CHECK)
    proxy = backend("b", one, check_kind=model.CheckKind.FTP, ftp_check=wanted)
    return result_of(config(proxy, max_spread_checks=1))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    ("mode", "action", "path", "code"),
    [
        ("", "", "", 211),
        ("passive", "", "", 226),
        ("passive", "list", "pub", 226),
        ("", "list", "", 226),
        ("epsv", "retr", "pub/whoami.txt", 226),
        ("passive", "retr", "pub/whoami.txt", 226),
    ],
)
def test_sound_servers(farm: Farm, name: str, mode: str, action: str, path: str, code: int) -> None:
    found = result(farm, name, mode, action, path)
    assert (found.status, found.text, found.code) == (Status.L7OK, "(ftp-check)", code)


@pytest.mark.parametrize("name", KINDS)
def test_a_greeting_alone(farm: Farm, name: str) -> None:
    assert result(farm, name, user="").code == 220


@pytest.mark.parametrize("name", KINDS)
def test_a_large_file_is_cut_short_and_good(farm: Farm, name: str) -> None:
    found = result(farm, name, "epsv", "retr", "pub/big")
    assert (found.status, found.text) == (Status.L7OK, "(ftp-check)")


@pytest.mark.parametrize("name", KINDS)
def test_a_user_who_is_refused(farm: Farm, name: str) -> None:
    found = result(farm, name, "passive", user="mallory", password="swordfish")
    assert (found.status, found.code) == (Status.L7STS, 530)
    # vsftpd knows anonymous users only, and says so before it hears a password.
    step = "2 (USER)" if name == "vsftpd" else "3 (PASS)"
    assert found.text.startswith(f"ftp-check: refused at step {step}: 530 ")
    assert "swordfish" not in found.text


@pytest.mark.parametrize("name", KINDS)
def test_a_file_that_is_missing(farm: Farm, name: str) -> None:
    found = result(farm, name, "epsv", "retr", "pub/nothing")
    assert (found.status, found.code) == (Status.L7STS, 550)
    assert found.text.startswith("ftp-check: refused at step 8 (RETR): 550 ")
