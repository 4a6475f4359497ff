"""Sessions in `mode ftp` leave nothing behind, however far they came and whoever ends them.

Full collections are off in a worker: a cycle of a session that lived long would stay for ever. Here every state of the
dialogue and of a data path meets every way to end; when the worker leaves it says what only a full collection would
have freed, and what is still held of sessions that are over.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine_rig import DEADLINE, ORIGIN, Rig, bind, config, loopback, server
from farm.raw_client import RawClient
from pasvport.address import PortRange
from pasvport.engine import is_compiled
from pasvport.model import Algorithm, AuthTls, Balance, Bind, Expression, Ftp, Mode, Timeouts
from pasvport.wire import HardStop, Notice, SoftStop

TESTS = Path(__file__).parents[1]
WORKER = str(TESTS / "garbage_worker.py")
FAULTY = str(TESTS / "faulty_garbage_worker.py")
HERE = "127.0.0.1"
POOL = Bind(ORIGIN, loopback(), PortRange(24400, 24499), data=True)
LONG = Timeouts(connect=5000, client=600_000, server=600_000, ftp_data=1500)
"""A client whose data connection is awaited may come although its control connection, or the server's, has ended."""
SHORT = Timeouts(connect=200, client=200, server=300, ftp_data=100, ftp_transfer=250)


class Talk:
    """A client, and the server behind the balancer, both played by the test."""

    def __init__(self, rig: Rig, listener: socket.socket) -> None:
        self.rig = rig
        self.stack = contextlib.ExitStack()
        self.client = self.stack.enter_context(RawClient(rig.address, greeting=False, patience=DEADLINE))
        self.listener = listener
        self.there: socket.socket | None = None
        self.data: list[socket.socket] = []
        self.extended = True

    def close(self) -> None:
        self.stack.close()

    # --- the server -----------------------------------------------------------------------------------------------

    def accept(self) -> None:
        self.there = self.stack.enter_context(self.listener.accept()[0])
        self.there.settimeout(DEADLINE)

    def hears(self, verb: str) -> None:
        assert self.there is not None
        got = b""
        while verb.encode() not in got:
            part = self.there.recv(4096)
            assert part, f"{verb} was awaited, got {got!r}"
            got += part

    def says(self, *lines: str) -> None:
        assert self.there is not None
        self.there.sendall("".join(f"{line}\r\n" for line in lines).encode())

    def answers(self, line: str, *replies: str) -> None:
        """The client says a line, the server answers."""
        self.client.send(line)
        self.hears(line.split()[0])
        self.says(*replies)
        for reply in replies:
            self.client.expect(int(reply[:3]))

    # --- the way --------------------------------------------------------------------------------------------------

    def greeted(self) -> None:
        self.accept()
        self.says("220 here")
        self.client.expect(220)

    def named(self) -> None:
        self.greeted()
        self.answers("USER u", "331 password")

    def logged_in(self) -> None:
        self.named()
        self.answers("PASS p", "230 in")

    def hears_of_passive(self) -> None:
        """EPSV or PASV: which comes first depends on what earlier sessions found out."""
        assert self.there is not None
        got = b""
        while not got.endswith(b"SV\r\n"):
            part = self.there.recv(4096)
            assert part, f"EPSV or PASV was awaited, got {got!r}"
            got += part
        self.extended = got.endswith(b"EPSV\r\n")

    def names(self, port: int) -> None:
        """The server's data port."""
        said = f"229 (|||{port}|)" if self.extended else f"227 (127,0,0,1,{port >> 8},{port & 255})"
        self.says(said)

    def opening(self) -> None:
        self.logged_in()
        self.client.send("EPSV")
        self.hears_of_passive()

    def joins(self) -> None:
        """The server names a port, and the balancer connects to it."""
        with socket.create_server((HERE, 0)) as door:
            door.settimeout(DEADLINE)
            self.names(door.getsockname()[1])
            self.data.append(self.stack.enter_context(door.accept()[0]))

    def opened(self) -> int:
        """A path: the server's data connection stands, the client has not come. The port it was told."""
        self.opening()
        self.joins()
        return int(self.client.expect(229).text.split(b"|||")[1].split(b"|")[0])

    def arrived(self) -> None:
        self.data.append(self.stack.enter_context(self.client.dial(self.opened())))

    def asked(self, line: str = "RETR x") -> None:
        self.arrived()
        self.client.send(line)
        self.hears(line)

    def granted(self) -> None:
        """The client does not come."""
        self.opened()
        self.answers("RETR x", "150 coming")

    def downloading(self) -> None:
        self.asked()
        self.says("150 coming")
        self.client.expect(150)
        self.data[0].sendall(b"half")
        self.data[1].settimeout(DEADLINE)
        assert self.data[1].recv(4) == b"half"

    def uploading(self) -> None:
        self.asked("STOR x")
        self.says("150 send")
        self.client.expect(150)
        self.data[1].sendall(b"half")
        self.data[0].settimeout(DEADLINE)
        assert self.data[0].recv(4) == b"half"


# --- states -------------------------------------------------------------------------------------------------------


def dialled(talk: Talk) -> None:
    talk.accept()


def greeted(talk: Talk) -> None:
    talk.greeted()


def named(talk: Talk) -> None:
    talk.named()


def refused(talk: Talk) -> None:
    talk.named()
    talk.answers("PASS wrong", "530 no")


def logged_in(talk: Talk) -> None:
    talk.logged_in()


def anew(talk: Talk) -> None:
    talk.logged_in()
    talk.answers("REIN", "220 again")


def waiting(talk: Talk) -> None:
    talk.logged_in()
    talk.client.send("NOOP", "NOOP")
    talk.hears("NOOP")


def opening(talk: Talk) -> None:
    talk.opening()


def opening_failed(talk: Talk) -> None:
    talk.opening()
    talk.says("550 no", "550 no")


def port_refused(talk: Talk) -> None:
    talk.opening()
    with socket.socket() as closed:
        closed.bind((HERE, 0))
        talk.names(closed.getsockname()[1])
        talk.hears_of_passive()
        talk.names(closed.getsockname()[1])


def opened(talk: Talk) -> None:
    talk.opened()


def opened_twice(talk: Talk) -> None:
    talk.opened()
    talk.client.send("EPSV")
    talk.hears_of_passive()
    talk.joins()
    talk.client.expect(229)


def arrived(talk: Talk) -> None:
    talk.arrived()


def active(talk: Talk) -> None:
    talk.logged_in()
    with socket.create_server((HERE, 0)) as mine:
        port = mine.getsockname()[1]
        talk.client.send(f"PORT 127,0,0,1,{port >> 8},{port & 255}")
        talk.hears_of_passive()
        talk.joins()
        talk.client.expect(200)
        talk.answers("RETR x", "150 coming")
        talk.data.append(talk.stack.enter_context(mine.accept()[0]))


def active_refused(talk: Talk) -> None:
    talk.logged_in()
    with socket.socket() as mine:
        mine.bind((HERE, 0))
        port = mine.getsockname()[1]
        talk.client.send(f"PORT 127,0,0,1,{port >> 8},{port & 255}")
        talk.hears_of_passive()
        talk.joins()
        talk.client.expect(200)
        talk.client.send("RETR x")
        talk.hears("RETR")
        talk.says("150 coming")
        talk.client.expect(425)


def asked(talk: Talk) -> None:
    talk.asked()


def granted(talk: Talk) -> None:
    talk.granted()


def downloading(talk: Talk) -> None:
    talk.downloading()


def uploading(talk: Talk) -> None:
    talk.uploading()


def told_while_moving(talk: Talk) -> None:
    """226 is here before the data's end."""
    talk.downloading()
    talk.says("226 all there")


def moved(talk: Talk) -> None:
    """The data's end is here before 226."""
    talk.downloading()
    talk.data[0].close()
    assert talk.data[1].recv(1) == b""
    talk.data[1].close()


def transferred(talk: Talk) -> None:
    moved(talk)
    talk.says("226 all there")
    talk.client.expect(226)


def stored(talk: Talk) -> None:
    talk.uploading()
    talk.data[1].close()
    assert talk.data[0].recv(1) == b""
    talk.data[0].close()
    talk.says("226 got it")
    talk.client.expect(226)


def transfer_refused(talk: Talk) -> None:
    talk.asked()
    talk.says("550 no such file")
    talk.client.expect(550)


def cut_by_client(talk: Talk) -> None:
    talk.uploading()
    reset(talk.data[1])
    talk.says("426 cut")
    talk.client.expect(426)


def cut_by_server(talk: Talk) -> None:
    talk.downloading()
    reset(talk.data[0])
    talk.says("226 all there")
    talk.client.expect(426)


def aborting(talk: Talk) -> None:
    talk.downloading()
    talk.client.send("ABOR")
    talk.hears("ABOR")


def aborted(talk: Talk) -> None:
    aborting(talk)
    talk.says("426 cut", "226 done")
    talk.client.expect(426)
    talk.client.expect(226)


def leaving(talk: Talk) -> None:
    talk.opened()
    talk.client.send("QUIT")
    talk.hears("QUIT")


def authenticating(talk: Talk) -> None:
    talk.greeted()
    talk.client.send("AUTH TLS")
    talk.hears("AUTH")


def blind(talk: Talk) -> None:
    talk.greeted()
    talk.answers("AUTH TLS", "234 go")


def blind_with_a_path(talk: Talk) -> None:
    talk.opened()
    talk.answers("AUTH TLS", "234 go")


CLEAR = (
    dialled,
    greeted,
    named,
    refused,
    logged_in,
    anew,
    waiting,
    opening,
    opening_failed,
    port_refused,
    opened,
    opened_twice,
    arrived,
    active,
    active_refused,
    asked,
    granted,
    downloading,
    uploading,
    told_while_moving,
    moved,
    transferred,
    stored,
    transfer_refused,
    cut_by_client,
    cut_by_server,
    aborting,
    aborted,
    leaving,
)
BLIND = (authenticating, blind, blind_with_a_path)


# --- ends ---------------------------------------------------------------------------------------------------------


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def client_leaves(talk: Talk) -> None:
    talk.client.control.close()


def client_resets(talk: Talk) -> None:
    reset(talk.client.control)


def client_finishes(talk: Talk) -> None:
    """Its last word was said, and then the server leaves."""
    talk.client.control.shutdown(socket.SHUT_WR)
    assert talk.there is not None
    talk.there.close()


def server_leaves(talk: Talk) -> None:
    assert talk.there is not None
    talk.there.close()


def server_resets(talk: Talk) -> None:
    assert talk.there is not None
    reset(talk.there)


def server_says_421(talk: Talk) -> None:
    talk.says("421 enough")
    server_leaves(talk)


def server_talks_junk(talk: Talk) -> None:
    assert talk.there is not None
    with contextlib.suppress(OSError):
        talk.there.sendall(b"\0junk\xff\r\n" * 3 + b"x" * 10_000)
    server_leaves(talk)


def client_floods(talk: Talk) -> None:
    with contextlib.suppress(OSError):
        talk.client.write(b"\1\r\n" * 100)
    client_leaves(talk)


def client_says_quit(talk: Talk) -> None:
    with contextlib.suppress(OSError):
        talk.client.send("QUIT")
    server_leaves(talk)


def data_is_reset_first(talk: Talk) -> None:
    for each in talk.data:
        if each.fileno() >= 0:
            reset(each)
    client_leaves(talk)


def everybody_at_once(talk: Talk) -> None:
    for each in (*talk.data, talk.client.control, talk.there):
        if each is not None and each.fileno() >= 0:
            reset(each)


ENDS = (
    client_leaves,
    client_resets,
    client_finishes,
    server_leaves,
    server_resets,
    server_says_421,
    server_talks_junk,
    client_floods,
    client_says_quit,
    data_is_reset_first,
    everybody_at_once,
)


# --- the worker ---------------------------------------------------------------------------------------------------


@pytest.fixture
def upstream() -> Iterator[socket.socket]:
    with socket.create_server((HERE, 0), backlog=256) as listener:
        listener.settimeout(DEADLINE)
        yield listener


@contextlib.contextmanager
def clean(
    tmp_path: Path,
    upstream: socket.socket,
    *,
    ftp: Ftp,
    timeouts: Timeouts = LONG,
    program: str = WORKER,
    **more: object,
) -> Iterator[Rig]:
    """A worker; when it has left, nothing of its sessions may be there."""
    found = tmp_path / "garbage"
    frontend = {"mode": Mode.FTP, "binds": (bind(), POOL), "ftp": ftp, "timeouts": timeouts}
    options = {"timeouts": timeouts, "retries": 0, **more}
    farm = config(
        [server("s", upstream.getsockname(), maxconn=int(str(more.pop("maxconn", 0))))],
        frontend=frontend,
        mode=Mode.FTP,
        **{key: value for key, value in options.items() if key != "maxconn"},
    )
    with Rig(farm, program=(program, str(found))) as rig:
        yield rig
    assert json.loads(found.read_text()) == {"cycles": [], "alive": []}


def nobody_is_left(rig: Rig, upstream: socket.socket) -> None:
    def hang_up() -> bool:
        # Before the login another try is made when a server leaves: it finds nobody.
        upstream.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                upstream.accept()[0].close()
        upstream.settimeout(DEADLINE)
        return True

    rig.wait_for(lambda: hang_up() and not rig.total("process", "cur"))
    hang_up()
    assert rig.total("frontend", "ftp_lease_cur") == 0


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
def test_every_state_and_every_end(tmp_path: Path, upstream: socket.socket, end: Callable[[Talk], None]) -> None:
    with clean(tmp_path, upstream, ftp=Ftp(active=True)) as rig:
        for reach in CLEAR:
            with contextlib.closing(Talk(rig, upstream)) as talk:
                reach(talk)
                end(talk)
            # Who waited for an answer only the other peer could give had to wait for its end, too.
            nobody_is_left(rig, upstream)


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
def test_sessions_that_go_blind(tmp_path: Path, upstream: socket.socket, end: Callable[[Talk], None]) -> None:
    with clean(tmp_path, upstream, ftp=Ftp(auth_tls=AuthTls.PASS)) as rig:
        for reach in BLIND:
            with contextlib.closing(Talk(rig, upstream)) as talk:
                reach(talk)
                end(talk)
            # Who waited for an answer only the other peer could give had to wait for its end, too.
            nobody_is_left(rig, upstream)


def reached(rig: Rig, upstream: socket.socket, stack: contextlib.ExitStack, states: tuple = CLEAR) -> list[Talk]:
    talks = []
    for reach in states:
        talk = stack.enter_context(contextlib.closing(Talk(rig, upstream)))
        reach(talk)
        talks.append(talk)
    return talks


@pytest.mark.parametrize("tls", [AuthTls.REFUSE, AuthTls.PASS])
def test_time_ends_them(tmp_path: Path, upstream: socket.socket, tls: AuthTls) -> None:
    """Whoever is to speak, connect or move does not."""
    with (
        clean(tmp_path, upstream, ftp=Ftp(active=True, auth_tls=tls), timeouts=SHORT) as rig,
        contextlib.ExitStack() as stack,
    ):
        for reach in reversed(CLEAR if tls is AuthTls.REFUSE else BLIND):
            talk = stack.enter_context(contextlib.closing(Talk(rig, upstream)))
            with contextlib.suppress(OSError, AssertionError):
                reach(talk)
        nobody_is_left(rig, upstream)


@pytest.mark.parametrize("states", [CLEAR, BLIND], ids=["clear", "blind"])
def test_the_end_of_the_process(tmp_path: Path, upstream: socket.socket, states: tuple) -> None:
    tls = AuthTls.PASS if states is BLIND else AuthTls.REFUSE
    with clean(tmp_path, upstream, ftp=Ftp(active=True, auth_tls=tls)) as rig, contextlib.ExitStack() as stack:
        reached(rig, upstream, stack, states)
        rig.send(HardStop())
        rig.process.wait(DEADLINE)


# --- before a server is chosen, and in want of one ----------------------------------------------------------------

BY_USER = Balance(Algorithm.HASH, expression=Expression("ftp.user", "ftp.user"))


@pytest.mark.parametrize("end", [client_leaves, client_resets, client_says_quit], ids=lambda end: end.__name__)
def test_sessions_whose_server_depends_on_the_user(
    tmp_path: Path, upstream: socket.socket, end: Callable[[Talk], None]
) -> None:
    limit = Ftp(login_limit=3, login_limit_period=60_000, login_limit_delay=50)
    with clean(tmp_path, upstream, ftp=limit, balance=BY_USER) as rig:
        for reach in (local, chosen, chosen_and_in, moved_on, guessed, guessed, refused_at_once):
            with contextlib.closing(Talk(rig, upstream)) as talk:
                reach(talk)
                talk.there = talk.there or talk.client.control
                end(talk)
            nobody_is_left(rig, upstream)


def local(talk: Talk) -> None:
    talk.client.expect(220)
    talk.client.ask("HOST ftp.example", 220)


def chosen(talk: Talk) -> None:
    talk.client.expect(220)
    talk.client.send("USER u")
    talk.accept()
    talk.says("220 here")
    talk.hears("USER")
    talk.says("331 password")
    talk.client.expect(331)


def chosen_and_in(talk: Talk) -> None:
    chosen(talk)
    talk.answers("PASS p", "230 in")


def moved_on(talk: Talk) -> None:
    """Its first server is left, the second has not greeted."""
    chosen(talk)
    talk.client.send("USER v")
    talk.hears("QUIT")
    talk.accept()


def guessed(talk: Talk) -> None:
    chosen(talk)
    talk.answers("PASS wrong", "530 no")


def refused_at_once(talk: Talk) -> None:
    """The limit is met in the session before; this one has its delay."""
    chosen(talk)
    talk.answers("PASS wrong", "530 no")


def test_sessions_that_wait(tmp_path: Path, upstream: socket.socket) -> None:
    """For a slot of the server, or for the logins of others."""
    limit = Ftp(login_limit=1, login_limit_period=60_000, login_limit_delay=0)
    with clean(tmp_path, upstream, ftp=limit, maxconn=2) as rig, contextlib.ExitStack() as stack:
        talks = [stack.enter_context(contextlib.closing(Talk(rig, upstream))) for _ in range(2)]
        for talk in talks:
            talk.greeted()
        talks[0].client.send("USER u")
        talks[0].hears("USER")
        talks[1].client.send("USER u")
        queued = [stack.enter_context(contextlib.closing(Talk(rig, upstream))) for _ in range(2)]
        rig.wait_for(lambda: rig.total("backend", "qcur", 1) == 2)
        queued[0].client.close()
        reset(talks[1].client.control)
        rig.wait_for(lambda: rig.total("process", "cur") == 2)
        stack.close()
        nobody_is_left(rig, upstream)


def test_nobody_is_there(tmp_path: Path, upstream: socket.socket) -> None:
    with clean(tmp_path, upstream, ftp=Ftp()) as rig:
        upstream.close()
        for _ in range(5):
            with RawClient(rig.address, greeting=False, patience=DEADLINE) as client:
                client.expect(421)
        rig.wait_for(lambda: not rig.total("process", "cur"))


def test_a_drain(tmp_path: Path, upstream: socket.socket) -> None:
    """Idle sessions end by it; what moves goes on, and ends with the process."""
    with clean(tmp_path, upstream, ftp=Ftp(active=True)) as rig, contextlib.ExitStack() as stack:
        idle = reached(rig, upstream, stack, (greeted, named, logged_in, opened, transferred, aborted))
        reached(rig, upstream, stack, (downloading, uploading))
        rig.send(SoftStop())
        for talk in idle:
            talk.client.expect(421)
        rig.wait_for(lambda: rig.total("process", "cur") == 2)


@pytest.mark.skipif(is_compiled(), reason="a fault cannot be put into compiled functions")
def test_faults_of_ours(tmp_path: Path, upstream: socket.socket) -> None:
    with clean(tmp_path, upstream, ftp=Ftp(), program=FAULTY) as rig:
        for reach in (logged_in, opened, arrived, transferred, downloading, uploading):
            with contextlib.closing(Talk(rig, upstream)) as talk:
                reach(talk)
                talk.client.send("STAT fault")
            nobody_is_left(rig, upstream)
        with contextlib.closing(Talk(rig, upstream)) as talk:
            talk.asked("RETR fault")
            talk.says("150 coming")
        nobody_is_left(rig, upstream)
        with contextlib.closing(Talk(rig, upstream)) as talk:
            talk.greeted()
            talk.answers("USER fault", "230 in")
        nobody_is_left(rig, upstream)
        while "recording" not in rig.expect(Notice).text:
            pass
