"""How servers open data ports: what sessions of one worker learnt reaches the others, and the next configuration."""

from __future__ import annotations

import pytest

from health_world import backend, config, server
from pasvport.control.passive_ways import PassiveWays
from pasvport.control.validation import Validator
from pasvport.errors import WireError
from pasvport.model import Config, FtpPassive, Mode
from pasvport.wire import PassiveKnown, PassiveLearnt


def ftp_farm(*servers: object, **more: object) -> Config:
    return config(backend("b", *servers, mode=Mode.FTP, **more))  # type: ignore[arg-type]


def test_news_is_told_and_kept_until_it_is_no_more() -> None:
    ways = PassiveWays(ftp_farm(server("a", 21), server("b", 22)))
    assert ways.learnt(PassiveLearnt(0, 1, "PASV", "EPSV")) == PassiveKnown(0, 1, "PASV", "EPSV")
    ways.learnt(PassiveLearnt(0, 0, "EPSV", "-"))
    assert set(ways.known()) == {PassiveKnown(0, 1, "PASV", "EPSV"), PassiveKnown(0, 0, "EPSV", "-")}
    assert ways.learnt(PassiveLearnt(0, 0, "-", "-")) == PassiveKnown(0, 0, "-", "-")
    assert ways.known() == (PassiveKnown(0, 1, "PASV", "EPSV"),)
    ways.forget(0, 1)
    ways.forget(0, 1)
    assert not ways.known()


def test_the_next_configuration_inherits_what_is_known_of_the_same_servers() -> None:
    former = PassiveWays(ftp_farm(server("a", 21), server("b", 22), server("c", 23)))
    for number in range(3):
        former.learnt(PassiveLearnt(0, number, "PASV", "-"))
    # `a` has moved, `c` has another place in the list, `d` is new.
    ways = PassiveWays(ftp_farm(server("d", 24), server("c", 23), server("a", 99)))
    assert ways.inherit(former) == (PassiveKnown(0, 1, "PASV", "-"),)
    assert ways.inherit(former) == (PassiveKnown(0, 1, "PASV", "-"),)
    fixed = PassiveWays(ftp_farm(server("c", 23), ftp_passive=FtpPassive.EPSV))
    assert not fixed.inherit(former)


def test_a_worker_may_tell_only_what_can_be_learnt() -> None:
    servers = (server("a", 21), server("b", 22, ftp_passive=FtpPassive.PASV))
    ours = Validator(ftp_farm(*servers))
    for works, closes in (("PASV", "-"), ("EPSV", "-"), ("-", "-"), ("PASV", "EPSV"), ("EPSV", "PASV")):
        ours.check(PassiveLearnt(0, 0, works, closes))
    for message in (
        PassiveLearnt(0, 1, "PASV", "-"),
        PassiveLearnt(0, 2, "PASV", "-"),
        PassiveLearnt(1, 0, "PASV", "-"),
        PassiveLearnt(0, 0, "-", "PASV"),
        PassiveLearnt(0, 0, "PASV", "PASV"),
    ):
        with pytest.raises(WireError):
            ours.check(message)
    with pytest.raises(WireError):
        Validator(config(backend("b", *servers))).check(PassiveLearnt(0, 0, "PASV", "-"))
