"""One contract for every way of pumping: in order, whole, bounded, and the end passes only when all else has."""

import contextlib
import os
import select
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pasvport.engine.pipes import Pipes
from pasvport.engine.pump import MAYBE, Flow, Pump

WAYS = ["copy", "splice", "turns to splice"]
SIZE = 4096


class Line:
    """source peer -> [source | pump | sink] -> sink peer, over TCP."""

    def __init__(self, way):
        self.pipes = Pipes(1 << 16)
        self.far_source, self.source = tcp_pair()
        self.sink, self.far_sink = tcp_pair()
        for sock in (self.source, self.sink):
            sock.setblocking(False)
        self.pump = Pump(self.source.fileno(), self.sink.fileno())
        self.offered = None if way == "copy" else self.pipes
        if way == "splice":
            self.pump.pipe = self.pipes.borrow()
            self.pump.held = 0

    def flow(self, hung_up=True):
        return self.pump.flow(hung_up, SIZE, self.offered)

    def close(self):
        self.pump.dispose(self.pipes)
        self.pipes.dispose()
        for sock in (self.far_source, self.source, self.sink, self.far_sink):
            sock.close()


def tcp_pair():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        here = socket.create_connection(listener.getsockname())
        there, _ = listener.accept()
    for sock in (here, there):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(10)
    return here, there


@pytest.fixture(params=WAYS)
def line(request):
    made = Line(request.param)
    yield made
    made.close()


def drain(sock, count):
    data = b""
    while len(data) < count:
        data += sock.recv(count - len(data))
    return data


def test_a_line_that_an_urgent_mark_cuts_arrives_whole():
    far_source, source = tcp_pair()
    # Each write is a message of its own here.
    sink, far_sink = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with far_source, source, sink, far_sink:
        source.setblocking(False)
        source.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        far_source.send(b"ABOR\r\n", socket.MSG_OOB)
        assert select.select([], [], [source], 10)[2]
        pump = Pump(source.fileno(), sink.fileno())
        assert pump.flow(MAYBE, SIZE, None) is Flow.IDLE
        far_sink.settimeout(10)
        assert far_sink.recv(100) == b"ABOR\r\n"
        assert pump.taken == pump.total == 6


def test_what_goes_in_comes_out(line):
    block = os.urandom(30_000)
    line.far_source.sendall(block)
    assert line.flow() is Flow.IDLE
    assert drain(line.far_sink, len(block)) == block
    assert line.pump.taken == line.pump.total == len(block)


def test_the_end_is_told_after_the_last_byte(line):
    line.far_source.sendall(b"last")
    line.far_source.shutdown(socket.SHUT_WR)
    assert line.flow() is Flow.ENDED
    assert drain(line.far_sink, 4) == b"last"
    assert line.flow() is Flow.ENDED


def test_nothing_to_read_is_idle(line):
    assert line.flow() is Flow.IDLE
    assert line.pump.total == 0


def test_a_clogged_sink_holds_little_and_loses_nothing(line):
    line.far_source.setblocking(False)
    sent = 0
    while line.flow() is not Flow.CLOGGED:
        try:
            sent += line.far_source.send(os.urandom(50_000))
        except BlockingIOError:
            continue
    held = line.pump.held if isinstance(line.pump.held, int) else len(line.pump.held)
    assert held <= 1 << 16
    line.far_source.shutdown(socket.SHUT_WR)
    line.far_sink.settimeout(10)
    received = 0
    while received < sent:
        received += len(line.far_sink.recv(1 << 20))
        line.flow()
    while line.flow() is not Flow.ENDED:
        pass
    assert received == sent == line.pump.total


def test_a_reset_source_is_the_sources_fault(line):
    line.far_source.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    line.far_source.close()
    assert line.flow() is Flow.SOURCE_BROKEN


def test_a_reset_sink_is_the_sinks_fault(line):
    line.far_sink.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    line.far_sink.close()
    line.far_source.sendall(b"to nobody")
    assert line.flow() is Flow.SINK_BROKEN


def test_a_fast_source_is_interrupted(line):
    """However fast the source, one call ends; bytes keep their order over the calls."""
    line.far_source.setblocking(False)
    line.far_sink.setblocking(False)
    sent = received = 0
    for _ in range(400):
        with contextlib.suppress(BlockingIOError):
            sent += line.far_source.send(bytes(200_000))
        before = line.pump.taken
        line.flow()
        assert line.pump.taken - before <= 5 << 20
        with contextlib.suppress(BlockingIOError):
            received += len(line.far_sink.recv(1 << 20))
    assert received <= sent


@pytest.mark.parametrize("way", WAYS)
@given(pieces=st.lists(st.binary(min_size=1, max_size=9000), max_size=8), end=st.booleans())
def test_any_cut_gives_the_same_stream(way, pieces, end):
    line = Line(way)
    try:
        for piece in pieces:
            line.far_source.sendall(piece)
            line.flow()
        if end:
            line.far_source.shutdown(socket.SHUT_WR)
        state = line.flow()
        assert state is (Flow.ENDED if end else Flow.IDLE)
        whole = b"".join(pieces)
        assert drain(line.far_sink, len(whole)) == whole
    finally:
        line.close()


def test_a_pipe_returns_to_the_pool_only_when_empty():
    pipes = Pipes(1 << 16)
    pipe = pipes.borrow()
    os.write(pipe.writing, b"left over")
    pipes.give_back(pipe, 9)
    again = pipes.borrow()
    assert again is not pipe
    pipes.give_back(again, 0)
    assert pipes.borrow() is again
    pipes.give_back(again, 0)
    pipes.dispose()
