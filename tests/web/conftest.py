"""One pasvport with statistics pages for all tests that only look, and a server behind it."""

from __future__ import annotations

import socket

import pytest

import web_rig


@pytest.fixture(scope="session")
def alive():
    """The port of a server that takes connections."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield listener.getsockname()[1]


@pytest.fixture(scope="session")
def served(tmp_path_factory, alive):
    """The ports of a pasvport whose server `bad` was found to be down."""
    with web_rig.pasvport(tmp_path_factory.mktemp("web"), alive) as (_, places):
        web_rig.until_state(places.open, "/stats", ("servers", "bad"), "DOWN")
        yield places
