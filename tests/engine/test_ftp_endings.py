"""How FTP sessions end that have no server yet, and what an inherited socket is called."""

from __future__ import annotations

import socket

import pytest

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


def test_who_waits_for_an_answer_is_not_drained() -> None:
    """A slow server's client is not silent: its two seconds begin with the reply."""
    pool = Bind(ORIGIN, loopback(), PortRange(24350, 24359), data=True)
    frontend = {"mode": Mode.FTP, "binds": (bind(), pool)}
    with socket.create_server((HERE, 0)) as upstream:
        farm = config([server("s", upstream.getsockname())], frontend=frontend, mode=Mode.FTP)
        with Rig(farm) as rig, RawClient(rig.address, greeting=False, patience=10) as client:
            peer, _ = upstream.accept()
            with peer:
                peer.sendall(b"220 here\r\n")
                client.expect(220)
                client.send("NOOP")
                assert peer.recv(100) == b"NOOP\r\n"
                rig.send(SoftStop())
                client.control.settimeout(2.5)
                with pytest.raises(TimeoutError):
                    client.reply()
                client.control.settimeout(10)
                peer.sendall(b"200 late\r\n")
                client.expect(200)
                client.send("NOOP")
                assert peer.recv(100) == b"NOOP\r\n"
                peer.sendall(b"200 at once\r\n")
                client.expect(200)
                client.expect(421)


def test_the_address_of_an_inherited_socket_is_asked_for() -> None:
    """Its `bind` line knows its number only."""
    with socket.create_server((HERE, 0)) as upstream, socket.create_server((HERE, 0)) as inherited:
        line = Bind(ORIGIN, Endpoint(Family.FD, str(inherited.fileno()), 0), PortRange(0, 0))
        farm = config([server("s", upstream.getsockname())], frontend={"binds": (line,)})
        with Rig(farm, log_format="%fi %fp") as rig, rig.connect() as client:
            client.shutdown(socket.SHUT_WR)
            upstream.accept()[0].close()
            assert rig.log() == f"{HERE} {rig.address[1]}"
