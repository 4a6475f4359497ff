"""Farms of real servers, each with one fault: it is named with its line, and nothing else is. Healthy ones are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from doctor_rig import ALWAYS, QUIET_MACHINE, ControlOnly, examine_farm, farm_text, found, line_of, make_odd
from farm.certificates import write_certificate
from farm.page import kinds_for
from farm.servers import PASSWORD, Farm, Passive, Security
from pasvport.config.world import World
from pasvport.doctor.consultation import consult
from pasvport.doctor.printing import Report
from pasvport.doctor.rounds import Errand

Spoil = Callable[[Farm], None]
SpoilText = Callable[[str], str]


def _same(text: str) -> str:
    return text


def _nothing(_farm: Farm) -> None:
    return None


@dataclass
class Fault:
    """`spoil` the farm before it starts, `harm` it while it runs, `text` after it was written.

    `expected`: ids, each with what its line begins with; {n} is the name of server n.
    """

    name: str
    expected: tuple[tuple[str, str], ...]
    kind: str = "pyftpdlib"
    security: Security = Security.PLAIN
    spoil: Spoil = _nothing
    harm: Spoil = _nothing
    text: SpoilText = _same
    kinds: tuple[str, ...] = field(default=())

    @property
    def names(self) -> tuple[str, ...]:
        return self.kinds or (f"{self.kind}-1", f"{self.kind}-2")


def set_second(**attributes: object) -> Spoil:
    def spoil(farm: Farm) -> None:
        for name, value in attributes.items():
            setattr(farm.servers[1], name, value)

    return spoil


def own_address(farm: Farm) -> None:
    farm.servers[1].advertise = farm.servers[1].host


def odd(name: str) -> Spoil:
    return lambda farm: make_odd(farm, 1, name)


def all_odd(name: str) -> Spoil:
    def spoil(farm: Farm) -> None:
        for number in range(len(farm.servers)):
            make_odd(farm, number, name)

    return spoil


def certified(**wish: object) -> Spoil:
    def spoil(farm: Farm) -> None:
        folder = farm.folder / "other"
        folder.mkdir()
        farm.servers[1].certificate = write_certificate(folder, **wish)  # type: ignore[arg-type]

    return spoil


def vsftpd_says(key: str, value: str) -> Spoil:
    def spoil(farm: Farm) -> None:
        server = farm.servers[1]
        options = server.options  # type: ignore[attr-defined]
        server.options = lambda: options() | {key: value}  # type: ignore[attr-defined]

    return spoil


def extra_file(farm: Farm) -> None:
    home = farm.servers[1].home
    home.chmod(0o755)
    (home / "only-here").write_text("x")
    home.chmod(0o555)


def other_user(farm: Farm) -> None:
    farm.servers[1].user = "stranger"


def stop_second(farm: Farm) -> None:
    farm.servers[1].stop()


def without(*parts: str) -> SpoilText:
    return lambda text: "".join(line for line in text.splitlines(True) if not line.strip().startswith(parts))


SECOND = "server {1}"
FAULTS = (
    Fault("no stickiness", (("no-stickiness", "backend"),), text=without("stick")),
    Fault("pasv_address is the server's own", (("pasv-own-address", SECOND),), "vsftpd", spoil=own_address),
    Fault(
        "pasv_address is somebody else's",
        (("pasv-wrong-address", SECOND),),
        "proftpd",
        spoil=set_second(advertise="10.9.9.9"),
    ),
    Fault("another port range", (("ports-outside", SECOND),), "vsftpd", spoil=set_second(ports=(51000, 51049))),
    Fault("ports nobody was told of", (("ports-outside", SECOND),), "proftpd", spoil=set_second(ports=(50040, 50089))),
    Fault("a port on the server line", (("server-port", SECOND),), text=lambda text: _with_port(text)),
    Fault(
        "session reuse, not sticky",
        (("no-stickiness", "backend"), ("tls-reuse-lost", "server {0}"), ("tls-reuse-lost", SECOND)),
        "vsftpd",
        Security.REUSE,
        text=without("stick"),
    ),
    Fault("servers of different kinds", (("features-differ", SECOND),), kinds=("pyftpdlib", "proftpd")),
    Fault(
        "one without TLS",
        (("tls-differs", SECOND),),
        "proftpd",
        Security.EXPLICIT,
        spoil=set_second(security=Security.PLAIN),
    ),
    Fault(
        "an expired certificate",
        (("certificate-expired", SECOND),),
        "vsftpd",
        Security.EXPLICIT,
        spoil=certified(days=-2),
    ),
    Fault(
        "a certificate about to end",
        (("certificate-ending", SECOND),),
        "vsftpd",
        Security.EXPLICIT,
        spoil=certified(days=5),
    ),
    Fault(
        "a certificate for another name",
        (("certificate-differs", SECOND),),
        "vsftpd",
        Security.EXPLICIT,
        spoil=certified(host="other.test"),
    ),
    Fault("an unknown user", (("login-refused", SECOND),), "proftpd", spoil=other_user),
    Fault("passive mode switched off", (("no-passive", SECOND),), "vsftpd", spoil=vsftpd_says("pasv_enable", "NO")),
    Fault("EPSV refused", (("epsv-refused", SECOND),), "vsftpd", spoil=vsftpd_says("cmds_denied", "EPSV")),
    Fault("a directory in another form", (("listing-differs", SECOND),), spoil=odd("dos")),
    Fault("other files", (("files-differ", SECOND),), "vsftpd", harm=extra_file),
    Fault("a server that is not there", (("server-unreachable", SECOND),), harm=stop_second),
    Fault("a server that is full", (("greeting-refused", SECOND),), spoil=odd("full")),
    Fault("a server that says 120", (("not-ready", SECOND),), spoil=odd("late")),
    Fault("0.0.0.0 in PASV", (("pasv-any-address", SECOND),), spoil=odd("any")),
    Fault(
        "TLS 1.0",
        (("tls-old", "server {0}"), ("tls-old", SECOND)),
        security=Security.EXPLICIT,
        spoil=all_odd("tls-old"),
    ),
)


def _with_port(text: str) -> str:
    line = text.splitlines()[-1]
    return text.replace(line, line.replace(" check", ":21 check"))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))
def test_a_farm_with_one_fault(fault: Fault) -> None:
    farm = Farm(fault.names, fault.security)
    fault.spoil(farm)
    with farm:
        fault.harm(farm)
        text = fault.text(farm_text(farm))
        report = examine_farm(farm, text)
    names = [server.name for server in farm.servers]
    expected = {(id_, line_of(text, part.format(*names))) for id_, part in fault.expected}
    assert found(report) == expected


@pytest.mark.parametrize("security", list(Security), ids=lambda security: security.name)
def test_healthy_farms(security: Security) -> None:
    kinds = kinds_for(security)
    with Farm(tuple(f"{kind}-{number}" for kind in kinds for number in (1, 2)), security) as farm:
        for kind in kinds:
            user = next(server.user for server in farm.servers if server.kind == kind)
            report = examine_farm(farm, farm_text(farm, kind), user=user)
            assert {finding.id for finding in report.findings} == ALWAYS, kind
            assert len(report.visits) == 2
            assert all(visit.listing and visit.listing.names == {"pub"} for visit in report.visits)
            wants_reuse = security is Security.REUSE or (kind, security) == ("proftpd", Security.IMPLICIT)
            assert {bool(visit.reuse and visit.reuse.required) for visit in report.visits} == {wants_reuse}


# --- firewalls ----------------------------------------------------------------------------------------------------


def test_a_firewall_that_knows_the_control_port_only() -> None:
    with Farm(("vsftpd-1", "vsftpd-2")) as farm:
        outside = farm.subnet.host(99)
        with ControlOnly((outside, farm.servers[1].port), (farm.servers[1].host, farm.servers[1].port)):
            text = farm_text(farm).replace(f"{farm.servers[1].host} ", f"{outside} ")
            report = examine_farm(farm, text)
    assert found(report) == {("data-port-closed", line_of(text, "server vsftpd-2"))}


# --- mode ftp -----------------------------------------------------------------------------------------------------


def ftp_text(farm: Farm, checker: str = PASSWORD, kind: str = "") -> str:
    """The page with one word changed, a check that logs in, and fixed control ports."""
    text = farm_text(farm, kind).replace("mode tcp", "mode ftp")
    text = text.replace("    stick-table type ip size 100k expire 1h\n    stick on src\n", "")
    user = next(server.user for server in farm.servers if server.kind in (kind or server.kind))
    check = f"    option ftp-check user {user} password {checker} passive list\n"
    return text.replace("    balance leastconn\n", f"    balance leastconn\n{check}")


def examine_ftp(farm: Farm, text: str) -> Report:
    """Without --user: the check's user is taken."""
    return consult([("farm.cfg", text)], World(), Errand(5.0), QUIET_MACHINE)


def test_mode_ftp_over_servers_as_they_are_installed() -> None:
    kinds = kinds_for(Security.PLAIN)
    names = tuple(f"{kind}-{number}" for kind in kinds for number in (1, 2))
    with Farm(names, passive=Passive.INSTALLED, ports=(50000, 50049)) as farm:
        for kind in kinds:
            report = examine_ftp(farm, ftp_text(farm, kind=kind))
            assert {finding.id for finding in report.findings} == {"advertise-private"}, kind
            assert len(report.visits) == 2
            assert all(visit.login and visit.login.accepted for visit in report.visits)


def test_mode_ftp_does_not_mind_what_it_translates() -> None:
    farm = Farm(("pyftpdlib-1", "pyftpdlib-2"), passive=Passive.WRONG, ports=(50000, 50049))
    make_odd(farm, 1, "no-epsv")
    with farm:
        report = examine_ftp(farm, ftp_text(farm))
    assert {finding.id for finding in report.findings} == {"advertise-private"}


def test_a_check_whose_user_is_refused() -> None:
    with Farm(("pyftpdlib-1", "pyftpdlib-2")) as farm:
        text = ftp_text(farm, "wrong")
        report = examine_farm(farm, text)
    lines = {("check-user", line_of(text, f"server {server.name}")) for server in farm.servers}
    assert found(report) - {("advertise-private", line_of(text, "bind"))} == lines


def test_a_server_that_demands_tls_behind_a_balancer_that_refuses_it() -> None:
    farm = Farm(("pyftpdlib-1", "pyftpdlib-2"), Security.EXPLICIT)
    make_odd(farm, 1, "tls-only")
    with farm:
        text = ftp_text(farm)
        report = examine_farm(farm, text)
    line = line_of(text, "server pyftpdlib-2")
    expected = {("login-needs-tls", line), ("check-user", line), ("advertise-private", line_of(text, "bind"))}
    assert found(report) == expected


def test_encrypted_sessions_pass_and_servers_must_then_agree_with_the_balancer() -> None:
    farm = Farm(("pyftpdlib-1", "pyftpdlib-2"), Security.EXPLICIT)
    own_address(farm)
    sticky = "    stick-table type ip size 100k expire 1h\n    stick on src\n    balance leastconn\n"
    with farm:
        text = ftp_text(farm).replace("    balance leastconn\n", sticky)
        text = text.replace("    default_backend", "    option ftp-auth-tls pass\n    default_backend")
        report = examine_farm(farm, text)
    line = line_of(text, "server pyftpdlib-2")
    assert found(report) == {("pasv-own-address", line), ("advertise-private", line_of(text, "bind"))}
