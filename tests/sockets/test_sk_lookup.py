"""A range of ports reaches one listener, the others stay out of it, and the end of the program ends it."""

import os
import socket

import pytest

from pasvport import steering
from pasvport.address import PortRange
from pasvport.errors import ResourceError
from pasvport.sk_lookup import PortRanges, Steered

LOW = 21000
RANGE = PortRange(LOW, LOW + 200)


def listener(host, port, family=socket.AF_INET):
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind((host, port))
    sock.listen(32)
    sock.settimeout(5)
    return sock


@pytest.fixture(autouse=True)
def privileged():
    if os.geteuid() != 0:
        pytest.skip("needs CAP_BPF and CAP_NET_ADMIN")


def reached(anchor, host, port, source=None):
    with socket.create_connection((host, port), timeout=5, source_address=source):
        connection, _ = anchor.accept()
        with connection:
            return connection.getsockname()[:2]


@pytest.mark.parametrize(("host", "family"), [("127.0.77.1", socket.AF_INET), ("::1", socket.AF_INET6)])
def test_every_port_of_the_range_reaches_the_anchor(host, family):
    with listener(host, LOW, family) as anchor:
        ranges = PortRanges([Steered(host, RANGE, anchor)])
        try:
            for port in (LOW, LOW + 1, LOW + 77, LOW + 200):
                assert reached(anchor, host, port) == (host, port)
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((host, LOW + 201), timeout=5)
        finally:
            ranges.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, LOW + 1), timeout=5)


def test_other_addresses_are_left_alone():
    with listener("127.0.77.1", LOW) as anchor, listener("127.0.77.2", LOW + 5) as other:
        ranges = PortRanges([Steered("127.0.77.1", RANGE, anchor)])
        try:
            assert reached(other, "127.0.77.2", LOW + 5) == ("127.0.77.2", LOW + 5)
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.77.3", LOW + 5), timeout=5)
        finally:
            ranges.close()


def test_any_address_and_several_ranges():
    with listener("0.0.0.0", LOW) as anchor, listener("127.0.77.9", LOW + 500) as second:
        ranges = PortRanges(
            [
                Steered("0.0.0.0", RANGE, anchor),
                Steered("127.0.77.9", PortRange(LOW + 500, LOW + 600), second),
            ]
        )
        try:
            assert reached(anchor, "127.0.77.4", LOW + 9) == ("127.0.77.4", LOW + 9)
            assert reached(second, "127.0.77.9", LOW + 600) == ("127.0.77.9", LOW + 600)
        finally:
            ranges.close()


def test_steering_by_source_address_still_chooses_among_the_workers():
    group = [listener("127.0.77.1", LOW) for _ in range(3)]
    steering.steer(group)
    ranges = PortRanges([Steered("127.0.77.1", RANGE, group[0])])
    try:
        for last in range(1, 30):
            source = f"127.0.78.{last}"
            wanted = group[steering.worker_of(socket.inet_aton(source), 3)]
            assert reached(wanted, "127.0.77.1", LOW + last, (source, 0)) == ("127.0.77.1", LOW + last)
    finally:
        ranges.close()
        for sock in group:
            sock.close()


def test_a_refusal_is_a_resource_error_and_leaves_nothing_open():
    unbound = socket.socket()
    with unbound, pytest.raises(ResourceError):
        PortRanges([Steered("127.0.77.1", RANGE, unbound)])
