"""How FTP sessions end that have no server yet, and what an inherited socket is called."""

from __future__ import annotations

import socket

from engine_rig import ORIGIN, Rig, bind, config, loopback, server
from farm.raw_client import RawClient
from pasvport.address import Endpoint, Family, PortRange
from pasvport.model import Algorithm, Balance, Bind, Expression, Mode
from pasvport.wire import SoftStop

HERE = "127.0.0.1"


def test_a_drain_before_the_server_is_chosen() -> None:
    """Silence is what is waited for, whether somebody else could end the session in its midst or not."""
    pool = Bind(ORIGIN, loopback(), PortRange(24350, 24359), data=True)
    frontend = {"mode": Mode.FTP, "binds": (bind(), pool)}
    by_user = Balance(Algorithm.HASH, expression=Expression("ftp.user", "ftp.user"))
    with (
        Rig(config([server("s", (HERE, 1))], frontend=frontend, mode=Mode.FTP, balance=by_user)) as rig,
        RawClient(rig.address, patience=10) as client,
    ):
        rig.send(SoftStop())
        client.expect(421)
        client.expect_end()
        assert " KR " in rig.log()


def test_the_address_of_an_inherited_socket_is_asked_for() -> None:
    """Its `bind` line knows its number only."""
    with socket.create_server((HERE, 0)) as upstream, socket.create_server((HERE, 0)) as inherited:
        line = Bind(ORIGIN, Endpoint(Family.FD, str(inherited.fileno()), 0), PortRange(0, 0))
        farm = config([server("s", upstream.getsockname())], frontend={"binds": (line,)})
        with Rig(farm, log_format="%fi %fp") as rig, rig.connect() as client:
            client.shutdown(socket.SHUT_WR)
            upstream.accept()[0].close()
            assert rig.log() == f"{HERE} {rig.address[1]}"
