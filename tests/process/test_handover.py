"""Listening sockets between processes: the bytes of HAProxy's dialogue, and what is refused."""

import array
import asyncio
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.ports import free_ports
from farm.waiting import until
from pasvport.control import handover, places
from pasvport.errors import ResourceError
from process_rig import DEADLINE, Running, Upstream, configuration, session


@pytest.fixture
def upstream():
    with Upstream() as server:
        yield server


@pytest.fixture
def port():
    return free_ports(1)[0]


def listening(count, port=0):
    """That many sockets that listen on one port."""
    found = []
    for _ in range(count):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(("127.0.0.1", port))
        sock.listen()
        port = sock.getsockname()[1]
        found.append(sock)
    return found


class OldProcess:
    """Whatever `answer(channel)` does with the one who asks."""

    def __init__(self, path, answer):
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._answer = answer
        self._thread = threading.Thread(target=self._serve)

    def _serve(self):
        channel, _ = self._listener.accept()
        with channel:
            channel.settimeout(DEADLINE)
            assert channel.recv(100) == b"_getsocks\n"
            self._answer(channel)

    def __enter__(self):
        self._thread.start()

    def __exit__(self, *exc):
        self._thread.join(DEADLINE)
        self._listener.close()


def closing(found):
    for sock in found:
        sock.close()


@given(
    st.lists(
        st.tuples(st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=15), st.integers(0, 255))
    )
)
def test_what_is_said_of_sockets_is_understood(told):
    body = b"".join(handover.described(interface, place) for interface, place in told)
    assert list(handover.descriptions(body, len(told))) == told


@given(st.binary(max_size=40), st.integers(0, 5))
def test_any_bytes_are_understood_or_refused(body, count):
    try:
        assert len(list(handover.descriptions(body, count))) == count
    except ResourceError:
        return


@pytest.mark.parametrize("count", [1, 252, 253, 400])
def test_any_number_of_sockets_arrives_in_order(tmp_path, count):
    given_sockets = [listening(3) for _ in range(count // 3)] + [listening(1) for _ in range(count % 3)]
    expected = [[os.fstat(sock.fileno()).st_ino for sock in group] for group in given_sockets]
    answers = []

    def answer(channel):
        channel.setblocking(False)
        answers.append(asyncio.run(handover.give(channel, [(group, "") for group in given_sockets])))

    with OldProcess(tmp_path / "s", answer):
        found = handover.take(str(tmp_path / "s"))
    held = places.received(found)
    groups = {place: group for place, (group,) in held.sockets.items()}
    inodes = [[os.fstat(sock.fileno()).st_ino for sock in group] for group in groups.values()]
    closing(sock for group in [*groups.values(), *given_sockets] for sock in group)
    assert sorted(inodes) == sorted(expected)
    assert answers == [True]


def test_more_sockets_than_descriptors_are_an_error(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    given_sockets = listening(50)
    highest = max(sock.fileno() for sock in given_sockets)

    def answer(channel):
        channel.setblocking(False)
        with pytest.raises(BrokenPipeError):
            asyncio.run(handover.give(channel, [(given_sockets, "")] * 9))

    with OldProcess(tmp_path / "s", answer):
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 100, hard))
        try:
            with pytest.raises(ResourceError, match="ulimit -n"):
                handover.take(str(tmp_path / "s"))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    closing(given_sockets)


def _nothing(channel):
    """As HAProxy without `expose-fd listeners`."""


def _too_few(channel):
    channel.sendall(struct.pack("=i", 3))


def _silence(channel):
    channel.recv(1)


def _nonsense(channel):
    channel.sendall(struct.pack("=i", -7))


def _bare(channel):
    channel.sendall(struct.pack("=i", 2))
    one, other = listening(2)
    channel.sendmsg([b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [one.fileno(), other.fileno()]))])
    closing([one, other])


@pytest.mark.parametrize("answer", [_nothing, _too_few, _silence, _nonsense, _bare])
def test_an_old_process_that_misbehaves_is_an_error_that_leaves_nothing_open(tmp_path, answer):
    with OldProcess(tmp_path / "s", answer), pytest.raises(ResourceError, match="Failed to get the sockets"):
        handover.take(str(tmp_path / "s"))


def test_without_the_old_process_there_is_no_start(tmp_path, port, upstream):
    balancer = Running(tmp_path, configuration(port, upstream.port), "-x", str(tmp_path / "none"), wait=False)
    assert balancer.ends() == 1
    assert "Failed to get the sockets from the old process!" in balancer.messages()
    balancer.stop()


def test_sockets_are_given_only_where_they_are_exposed(tmp_path, port, upstream):
    api = tmp_path / "api"
    text = configuration(port, upstream.port, settings=f"    stats socket {api} level admin\n")
    with Running(tmp_path, text), pytest.raises(ResourceError, match="expose-fd listeners"):
        handover.take(str(api))


def test_a_taker_that_dies_takes_nothing(tmp_path, port, upstream):
    """Whoever asked and left does not make the balancer give its ports up at a soft stop."""
    api = tmp_path / "api"
    text = configuration(port, upstream.port, settings=f"    stats socket {api} level admin expose-fd listeners\n")
    with Running(tmp_path, text) as balancer:
        script = f"from pasvport.control import handover; print(len(handover.take({str(api)!r})))"
        assert run_python(script) == "2"
        with session(port, upstream):
            balancer.signal(signal.SIGUSR1)
            balancer.wait_for("Proxy fe stopped")
            # A client with a session may still come, for its data connections.
            with session(port, upstream):
                pass
        assert balancer.ends() == 0


def test_a_reload_after_a_kill_of_a_worker_that_drains(tmp_path, port, upstream):
    with Running(tmp_path, configuration(port, upstream.port), "-W") as balancer:
        before = balancer.descriptors()
        old = set(balancer.workers())
        with session(port, upstream):
            balancer.signal(signal.SIGUSR2)
            balancer.wait_for("Former worker")
            (draining,) = until(lambda: (left := old & set(balancer.workers())) and len(left) == 1 and left, "one left")
            os.kill(draining, signal.SIGKILL)
            balancer.wait_for(rf"Former worker \({draining}\) exited with code 137 \(Killed\): 1 session lost\.")
        until(lambda: balancer.descriptors() == before, "descriptors to be given back")
        balancer.signal(signal.SIGUSR2)
        until(lambda: balancer.log.read_text().count("Loading success") == 3, "another reload")
        with session(port, upstream):
            pass
        assert len(set(balancer.workers())) >= 2


def test_systemd_is_told_of_a_reload(tmp_path, port, upstream):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(DEADLINE)
        with Running(tmp_path, configuration(port, upstream.port), "-Ws", NOTIFY_SOCKET=str(tmp_path / "notify")) as it:
            assert b"READY=1" in manager.recv(4096)
            it.signal(signal.SIGUSR2)
            assert manager.recv(4096).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
            assert b"READY=1" in manager.recv(4096)


def run_python(script):
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=DEADLINE, check=True)
    return done.stdout.strip()
