"""One contract for every way of pumping: in order, whole, bounded, and the end passes only when all else has."""

import contextlib
import os
import select
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pasvport.engine.connected import at_mark
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


# --- urgent data --------------------------------------------------------------------------------------------------


def announce(line):
    """What the loop does at EPOLLPRI."""
    assert select.select([], [], [line.source], 10)[2]
    line.pump.announce_mark()


def marked_at(sock, count):
    """All `count` bytes, and where among them the urgent mark stood (None: nowhere)."""
    data, mark = b"", None
    while len(data) < count:
        if at_mark(sock.fileno()):
            mark = len(data)
        data += sock.recv(count - len(data))
    return data, mark


@pytest.mark.parametrize("inline", [True, False])
@pytest.mark.parametrize("before", [b"", b"ABO", b"x" * SIZE, b"y" * (3 * SIZE + 1)])
@pytest.mark.parametrize("behind", [b"", b"more", b"z" * 3 * SIZE])
def test_urgent_data_leaves_as_urgent_data(line, before, behind, inline):
    """A source whose socket takes urgent data out of the stream is told to leave it there."""
    line.source.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, inline)
    line.far_sink.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    line.far_source.sendall(before)
    line.far_source.send(b"!", socket.MSG_OOB)
    announce(line)
    line.far_source.sendall(behind)
    whole = before + b"!" + behind
    while line.pump.total < len(whole):
        line.flow(hung_up=False)
    assert marked_at(line.far_sink, len(whole)) == (whole, len(before))
    assert line.pump.taken == line.pump.total == len(whole)
    assert not line.pump.urgent


def test_what_stands_before_the_mark_leaves_in_one_segment(line):
    """As it came: ftplib's ABOR, whose LF is urgent."""
    line.far_sink.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    line.far_source.send(b"ABOR\r\n", socket.MSG_OOB)
    announce(line)
    segments = sent_segments(line.sink)
    assert line.flow(hung_up=False) is Flow.IDLE
    assert marked_at(line.far_sink, 6) == (b"ABOR\r\n", 5)
    assert sent_segments(line.sink) == segments + 1


def sent_segments(sock):
    """tcpi_data_segs_out of linux/tcp.h."""
    return struct.unpack_from("I", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192), 156)[0]


def test_the_end_behind_a_mark_is_not_taken_for_the_end(line):
    """splice says 0 in front of a mark once FIN is behind it, as it does at the end."""
    line.source.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    line.far_sink.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    line.far_source.sendall(b"a")
    line.far_source.send(b"!", socket.MSG_OOB)
    line.far_source.sendall(b"b")
    line.far_source.shutdown(socket.SHUT_WR)
    assert select.select([], [], [line.source], 10)[2]
    # Nobody has told it of the mark.
    while line.flow(hung_up=MAYBE) is Flow.GREEDY:
        pass
    assert drain(line.far_sink, 3) == b"a!b"
    assert line.pump.ended


def test_a_mark_behind_what_the_sink_does_not_take(line):
    line.far_source.setblocking(False)
    line.far_sink.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    sent = 0
    while line.flow(hung_up=False) is not Flow.CLOGGED:
        with contextlib.suppress(BlockingIOError):
            sent += line.far_source.send(os.urandom(50_000))
    line.far_source.send(b"!", socket.MSG_OOB)
    announce(line)
    line.far_source.send(b"more")
    assert line.flow(hung_up=False) is Flow.CLOGGED
    line.far_sink.settimeout(10)
    received, mark = 0, None
    while received < sent + 5:
        if at_mark(line.far_sink.fileno()):
            mark = received
        received += len(line.far_sink.recv(1 << 20))
        line.flow(hung_up=False)
    assert (received, mark) == (sent + 5, sent)


def test_an_announced_mark_that_was_passed_already_changes_nothing(line):
    line.pump.announce_mark()
    assert line.flow(hung_up=False) is Flow.IDLE
    line.far_source.sendall(b"calm")
    assert line.flow(hung_up=False) is Flow.IDLE
    assert marked_at(line.far_sink, 4) == (b"calm", None)
    assert not line.pump.urgent


def test_the_source_ends_at_its_mark(line):
    line.far_sink.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    line.far_source.send(b"bye!", socket.MSG_OOB)
    line.far_source.shutdown(socket.SHUT_WR)
    announce(line)
    assert line.flow(hung_up=MAYBE) is Flow.ENDED
    assert marked_at(line.far_sink, 4) == (b"bye!", 3)


def test_urgent_data_for_a_sink_that_knows_none_stays_in_the_stream():
    far_source, source = tcp_pair()
    sink, far_sink = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with far_source, source, sink, far_sink:
        source.setblocking(False)
        far_source.send(b"ABOR\r\n", socket.MSG_OOB)
        assert select.select([], [], [source], 10)[2]
        pump = Pump(source.fileno(), sink.fileno())
        pump.announce_mark()
        assert pump.flow(0, SIZE, None) is Flow.IDLE
        far_sink.settimeout(10)
        assert far_sink.recv(100) + far_sink.recv(100) == b"ABOR\r\n"


@pytest.mark.parametrize("way", WAYS)
@given(pieces=st.lists(st.tuples(st.binary(min_size=1, max_size=9000), st.booleans()), max_size=8), end=st.booleans())
def test_any_marks_give_the_same_stream(way, pieces, end):
    line = Line(way)
    line.far_sink.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    try:
        sent, marks = 0, set()
        for piece, is_urgent in pieces:
            line.far_source.send(piece, socket.MSG_OOB) if is_urgent else line.far_source.sendall(piece)
            sent += len(piece)
            if is_urgent:
                marks.add(sent - 1)
                announce(line)
            line.flow(hung_up=False)
        if end:
            line.far_source.shutdown(socket.SHUT_WR)
        state = line.flow(hung_up=MAYBE if end else 0)
        assert state is (Flow.ENDED if end else Flow.IDLE)
        data, mark = marked_at(line.far_sink, sent)
        assert data == b"".join(piece for piece, _ in pieces)
        # One mark is known to TCP at a time.
        assert mark == max(marks, default=None)
    finally:
        line.close()
