"""What is listened on, decided from the text alone."""

from dataclasses import replace

import pytest

from pasvport.config.compiler import load
from pasvport.config.world import World
from pasvport.control import openings
from pasvport.errors import ResourceError

TEXT = (
    "defaults\n    mode {mode}\n    timeout client 20s\n    timeout server 20s\n    timeout connect 5s\n"
    "frontend fe\n    bind 127.0.0.1:2121\n    bind 127.0.0.1:43000-43999\n{more}    default_backend be\n"
    "backend be\n    server s 127.0.0.2:21\n"
)


def compiled(mode, more=""):
    config = load([("text", TEXT.format(mode=mode, more=more))], World()).config
    assert config is not None
    return config


@pytest.fixture
def unwilling(monkeypatch):
    """A kernel that takes no program, or not from us."""

    def refuse(_steered):
        raise ResourceError("refused")

    monkeypatch.setattr(openings, "PortRanges", refuse)


@pytest.mark.parametrize(
    ("mode", "more", "told"),
    [("tcp", "", 1), ("ftp", "", 0), ("ftp", "    option ftp-auth-tls pass\n", 1)],
)
def test_only_ranges_that_are_listened_on_are_told_to_cost_descriptors(unwilling, mode, more, told):
    remarks = []
    config = openings.settle_port_range(compiled(mode, more), remarks.append)
    assert config.settings.port_range == "bind"
    assert len(remarks) == told
    assert all("1000 ports" in remark for remark in remarks)
    assert len(list(openings.openings(config))) == (1001 if told else 1)


def test_what_the_text_says_is_not_questioned(unwilling):
    config = compiled("tcp")
    config = replace(config, settings=replace(config.settings, port_range="sk_lookup"))
    assert openings.settle_port_range(config, pytest.fail) is config
