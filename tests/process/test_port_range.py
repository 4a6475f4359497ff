"""A range of ports behind one socket per worker: every port served, its own port dialled, nobody else's taken."""

import os
import socket

import pytest

from process_rig import DEADLINE, Running, source_for

LOW = 43000
HIGH = LOW + 299
BALANCER, SERVER = "127.0.91.1", "127.0.91.2"


def text(mode):
    return (
        f"global\n    nbthread 2\n    tune.port-range {mode}\n"
        "defaults\n    mode tcp\n    timeout client 20s\n    timeout server 20s\n    timeout connect 5s\n"
        f"frontend fe\n    bind {BALANCER}:{LOW}-{HIGH} name data\n    default_backend be\n"
        f"backend be\n    server s {SERVER}\n"
    )


@pytest.fixture(autouse=True)
def privileged():
    if os.geteuid() != 0:
        pytest.skip("needs CAP_BPF and CAP_NET_ADMIN")


def reaches(port, source):
    """Whether a client that dials `port` is led to the same port of the server."""
    with socket.create_server((SERVER, port)) as listener:
        listener.settimeout(DEADLINE)
        with socket.create_connection((BALANCER, port), DEADLINE, (source, 0)) as client:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"!")
                client.settimeout(DEADLINE)
                return client.recv(1) == b"!"


def worker_descriptors(running):
    return [len(os.listdir(f"/proc/{worker}/fd")) for worker in running.workers()]


def test_a_large_range_is_one_descriptor_a_worker(tmp_path):
    with Running(tmp_path, text("auto")) as running:
        assert max(worker_descriptors(running)) < 40
        for port in (LOW, LOW + 1, LOW + 150, HIGH):
            for worker in (0, 1):
                assert reaches(port, source_for(worker))


def test_bound_one_by_one_every_port_is_a_descriptor(tmp_path):
    with Running(tmp_path, text("bind")) as running:
        assert min(worker_descriptors(running)) > 300
        assert reaches(LOW + 150, "127.0.0.1")


def test_a_port_that_somebody_listens_on_is_refused(tmp_path):
    with socket.create_server((BALANCER, LOW + 7)), Running(tmp_path, text("sk_lookup"), wait=False) as running:
        assert running.ends() == 1
        wanted = f"Binding [{running.file}:10] for frontend fe: cannot bind socket (Address already in use)"
        assert f"{wanted} for [{BALANCER}:{LOW + 7}]" in running.messages()


def test_the_range_is_given_up_with_the_process(tmp_path):
    with Running(tmp_path, text("sk_lookup")):
        assert reaches(LOW + 3, "127.0.0.1")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((BALANCER, LOW + 3), DEADLINE)
