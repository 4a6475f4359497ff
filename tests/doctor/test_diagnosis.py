"""Rules over visits that no loopback farm can bring about: public addresses, IPv6, TLS that is broken."""

from __future__ import annotations

from dataclasses import replace

import pytest

from doctor_rig import PAGE, spoilt
from pasvport.config.world import World
from pasvport.doctor.case import Case
from pasvport.doctor.diagnosis import diagnose
from pasvport.doctor.lenient import read_leniently
from pasvport.doctor.machine import Machine
from pasvport.doctor.visit import Listing, PassiveSeen, ReuseSeen, Style, TlsSeen, Visit
from pasvport.ftp.passive import Target

FEATURES = frozenset({"EPSV", "MDTM", "SIZE"})
PUBLIC_PAGE = PAGE.replace("192.0.2.100", "8.8.8.8").replace("192.0.2.1", "10.0.0.1")
WILD_PAGE = PAGE.replace("192.0.2.100", "*").replace("192.0.2.1", "10.0.0.1")
FTP_PAGE = PUBLIC_PAGE.replace("mode tcp", "mode ftp")
MACHINE = Machine(owns=lambda host: host == "8.8.8.8")


def case_of(text: str, public: tuple[str, ...] = ()) -> Case:
    config = read_leniently([("page.cfg", text)], World()).config
    assert config is not None
    return Case.of(config, MACHINE, public)


def healthy_visits(case: Case, names: str = "8.8.8.8") -> tuple[Visit, ...]:
    passive = PassiveSeen((Target(names, 20003),), ports=(20007,), dialled=20003)
    tls = TlsSeen(version="TLSv1.3")
    listing = Listing(Style.UNIX, frozenset({"pub"}))
    return tuple(
        Visit(
            "ftp_servers",
            each.name,
            each.origin,
            each.endpoint.host,
            21,
            each.endpoint.host,
            greeting="220 (vsFTPd 3.0.3)",
            features=FEATURES,
            tls=tls,
            passive=passive,
            listing=listing,
            reuse=ReuseSeen(),
        )
        for each in case.services[0].backend.servers
    )


def found(text: str, public: tuple[str, ...] = (), named: str = "8.8.8.8", **second: object) -> set[str]:
    """Ids for a farm whose second server was seen otherwise."""
    case = case_of(text, public)
    one, two = healthy_visits(case, named)
    return {each.id for each in diagnose(replace(case, visits=(one, replace(two, **second)), now=1.0))}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "public", "named", "wanted"),
    [
        (PUBLIC_PAGE, (), "8.8.8.8", set()),
        (PUBLIC_PAGE, (), "10.9.9.9", {"pasv-private"}),
        (PUBLIC_PAGE, (), "9.9.9.9", {"pasv-unknown-address"}),
        (PUBLIC_PAGE, ("9.9.9.9",), "9.9.9.9", set()),
        (PUBLIC_PAGE, ("8.8.4.4",), "9.9.9.9", {"pasv-wrong-address"}),
        (PUBLIC_PAGE, (), "0.0.0.0", {"pasv-any-address"}),
        (PAGE, (), "192.168.7.7", {"pasv-wrong-address"}),
        (PAGE, (), "8.8.8.8", {"pasv-unknown-address"}),
        (WILD_PAGE, (), "8.8.8.8", set()),
        (WILD_PAGE, (), "9.9.9.9", {"pasv-unknown-address"}),
        (WILD_PAGE, ("9.9.9.9",), "9.9.9.9", set()),
        (WILD_PAGE, ("9.9.9.9",), "7.7.7.7", {"pasv-wrong-address"}),
        (FTP_PAGE, (), "10.9.9.9", set()),
    ],
)
def test_the_address_in_a_227(text: str, public: tuple[str, ...], named: str, wanted: set[str]) -> None:
    assert found(text, public, named) == wanted


REFUSED = PassiveSeen((Target("8.8.8.8", 20001),), epsv_refusal="502 no", dialled=20001)
SILENT = replace(REFUSED, epsv_refusal="", epsv_trouble="EPSV: no answer in time")
IPV6_PAGE = PUBLIC_PAGE.replace("name ftp-control", "name ftp-control\n    bind [2001:db8::1]:21")


@pytest.mark.parametrize(
    ("text", "second", "wanted"),
    [
        (PUBLIC_PAGE, {"passive": REFUSED}, {"epsv-refused"}),
        (IPV6_PAGE, {"passive": REFUSED}, {"epsv-refused-ipv6"}),
        (FTP_PAGE, {"passive": REFUSED}, set()),
        (FTP_PAGE, {"passive": SILENT}, {"epsv-broken"}),
        (PUBLIC_PAGE, {"passive": SILENT}, {"epsv-broken"}),
        (FTP_PAGE.replace("mode ftp", "mode ftp\n    option ftp-passive pasv"), {"passive": SILENT}, set()),
        (PUBLIC_PAGE, {"tls": TlsSeen(trouble="handshake failure")}, {"tls-handshake"}),
        (FTP_PAGE, {"tls": TlsSeen(trouble="handshake failure")}, set()),
        (PUBLIC_PAGE, {"reuse": ReuseSeen("425 no", "425 no")}, {"tls-data"}),
        (PUBLIC_PAGE, {"reuse": ReuseSeen("522 reuse", "")}, set()),
        (PUBLIC_PAGE.replace("on src", "on src_port"), {"reuse": ReuseSeen("522 reuse", "")}, {"tls-reuse-lost"}),
        (PUBLIC_PAGE, {"tls": TlsSeen(version="TLSv1.2")}, {"tls-differs"}),
        (PUBLIC_PAGE, {"listing": Listing(trouble="550 no")}, {"listing-failed"}),
        (PUBLIC_PAGE, {"listing": Listing(Style.OTHER)}, {"listing-differs"}),
        (PUBLIC_PAGE, {"listing": Listing()}, {"files-differ"}),
        (PUBLIC_PAGE, {"features": FEATURES | {"MLST type*;"}}, {"features-differ"}),
        (FTP_PAGE, {"features": FEATURES | {"MLST type*;"}}, set()),
        (PUBLIC_PAGE, {"features": FEATURES | {"AUTH TLS"}}, set()),
    ],
)
def test_what_a_second_server_may_do(text: str, second: dict[str, object], wanted: set[str]) -> None:
    assert found(text, **second) == wanted


def test_the_fix_speaks_the_language_of_the_server() -> None:
    case = case_of(PUBLIC_PAGE)
    findings = diagnose(replace(case, visits=healthy_visits(case, "10.9.9.9")))
    assert [each.id for each in findings] == ["pasv-private"] * 2
    assert all("pasv_address=8.8.8.8" in each.fix and "Masquerade" not in each.fix for each in findings)


def test_ranges_of_their_own_are_compared_one_by_one() -> None:
    listens = """\
listen ftp_data1
    mode tcp
    bind 8.8.8.8:20000-20009
    server s1 10.0.0.10 check port 21
listen ftp_data2
    mode tcp
    bind 8.8.8.8:20010-20019
    server s2 10.0.0.11 check port 21
"""
    text = spoilt("    bind 8.8.8.8:20000-20010 name ftp-data\n", "", PUBLIC_PAGE) + listens
    case = case_of(text)
    one, two = healthy_visits(case)
    right = replace(two, passive=PassiveSeen((Target("8.8.8.8", 20013),), ports=(20019,)))
    assert not diagnose(replace(case, visits=(one, right)))
    wrong = diagnose(replace(case, visits=(one, two)))
    assert [(each.id, each.subject) for each in wrong] == [("ports-outside", "server ftp_servers/s2")]
