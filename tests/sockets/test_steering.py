"""The kernel's choice of a worker is the one that Python computes."""

import ipaddress
import random
import socket

import pytest

from pasvport import steering


def _group(family, host, count, port=0):
    sockets = []
    for _ in range(count):
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((host, port))
        port = sock.getsockname()[1]
        sock.listen(64)
        sock.setblocking(False)
        sockets.append(sock)
    return sockets


def _accepted_by(group):
    for number, sock in enumerate(group):
        try:
            connection, _ = sock.accept()
        except BlockingIOError:
            continue
        connection.close()
        return number
    raise AssertionError("nobody got the connection")


@pytest.mark.parametrize("workers", [2, 3, 4, 7])
def test_ipv4_clients_reach_the_worker_that_worker_of_names(workers):
    group = _group(socket.AF_INET, "127.0.0.1", workers)
    steering.steer(group)
    generator = random.Random(workers)
    try:
        for _ in range(60):
            source = f"127.{generator.randrange(256)}.{generator.randrange(256)}.{generator.randrange(1, 255)}"
            with socket.create_connection(group[0].getsockname(), source_address=(source, 0)):
                expected = steering.worker_of(socket.inet_aton(source), workers)
                assert _accepted_by(group) == expected
    finally:
        for sock in group:
            sock.close()


def test_ipv6_clients_reach_the_worker_that_worker_of_names():
    group = _group(socket.AF_INET6, "::1", 3)
    steering.steer(group)
    try:
        with socket.create_connection(group[0].getsockname()[:2]):
            assert _accepted_by(group) == steering.worker_of(ipaddress.ip_address("::1").packed, 3)
    finally:
        for sock in group:
            sock.close()


def test_ipv4_clients_of_a_dual_stack_socket_are_steered_as_ipv4():
    group = _group(socket.AF_INET6, "::", 4)
    steering.steer(group)
    port = group[0].getsockname()[1]
    try:
        for last in range(1, 12):
            with socket.create_connection(("127.0.0.1", port), source_address=(f"127.0.0.{last}", 0)):
                assert _accepted_by(group) == steering.worker_of(bytes([127, 0, 0, last]), 4)
    finally:
        for sock in group:
            sock.close()


@pytest.mark.parametrize("workers", [2, 3, 4, 8])
def test_neighbouring_addresses_spread_evenly(workers):
    for stride in (1, 2, 4, 16, 256):
        counts = [0] * workers
        for number in range(4096):
            counts[steering.worker_of((0x0A000000 + number * stride).to_bytes(4, "big"), workers)] += 1
        assert min(counts) > 0.8 * 4096 / workers
        assert max(counts) < 1.2 * 4096 / workers


def test_neighbouring_ipv6_addresses_spread_evenly():
    base = int(ipaddress.ip_address("2001:db8::"))
    counts = [0] * 4
    for number in range(4096):
        counts[steering.worker_of((base + (number << 64)).to_bytes(16, "big"), 4)] += 1
    assert min(counts) > 0.8 * 1024
