"""Servers that are dead, silent, slow or mad: every visit ends, says why, and takes no longer than it was given."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doctor_rig import found, ids, line_of
from farm.scripted import Answer, Scripted, as_it_should
from farm.waiting import PATIENCE
from pasvport.config.world import World
from pasvport.doctor import examination, rounds
from pasvport.doctor.client import Control, Patience, ProbeError, dial
from pasvport.doctor.consultation import consult
from pasvport.doctor.examination import Order, examine
from pasvport.doctor.printing import Report, as_json
from pasvport.doctor.questions import Credentials, ask_features, ask_passive, greet, list_directory, log_in
from pasvport.doctor.rounds import Errand
from pasvport.doctor.visit import Failure, Visit
from pasvport.model import Origin

LOGIN = Credentials("farmer", "very-secret")
SHORT = 0.2


def text_for(host: str, port: int) -> str:
    return f"""\
listen ftp
    mode tcp
    timeout client 1h
    timeout server 1h
    timeout connect 5s
    option clitcpka
    bind 192.0.2.1:{port}
    bind 192.0.2.1:20000-20010
    server s1 {host} check port {port}
"""


def consult_one(host: str, port: int, timeout: float = SHORT) -> Report:
    return consult([("one.cfg", text_for(host, port))], World(), Errand(timeout, LOGIN))


def seen(report: Report) -> set[str]:
    return ids(report) - {"ipv6-pasv"}


@contextlib.contextmanager
def server(behave: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server on 127.0.0.1 that behaves so on every connection, until the client has gone."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connection.settimeout(PATIENCE)
                with connection, contextlib.suppress(OSError):
                    behave(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(PATIENCE)
        listener.close()
        assert not thread.is_alive()


def say_nothing(connection: socket.socket) -> None:
    connection.recv(1)


def trickle(connection: socket.socket) -> None:
    """One byte of an endless multi-line greeting at a time."""
    connection.sendall(b"220-")
    connection.settimeout(0.01)
    while True:
        connection.sendall(b"x")
        with contextlib.suppress(TimeoutError):
            if not connection.recv(1):
                return


def flood(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"220-" + b"x" * 1000 + b"\r\n")


def flood_without_lines(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"x" * 65536)


def promise(connection: socket.socket) -> None:
    connection.sendall(b"120 Soon.\r\n" * 100)
    connection.recv(1)


def speak_http(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def close_at_once(_connection: socket.socket) -> None:
    return None


def hang_after_greeting(connection: socket.socket) -> None:
    connection.sendall(b"220 Hello.\r\n")
    while connection.recv(4096):
        pass


def name_no_port(connection: socket.socket) -> None:
    """Everything is fine, and the reply to PASV is rubbish."""
    connection.sendall(b"220 Hello.\r\n")
    answers = {
        b"FEAT": b"211 none",
        b"USER": b"331 who",
        b"PASS": b"230 in",
        b"PASV": b"227 (a,b,c)",
        b"EPSV": b"229 x",
    }
    while data := connection.recv(4096):
        connection.sendall(answers.get(data[:4], b"502 no") + b"\r\n")


def sound_but(answers: dict[bytes, bytes | None]) -> Callable[[socket.socket], None]:
    """PASV works; an answer that is empty never comes, None is the end of the connection."""

    def behave(connection: socket.socket) -> None:
        with socket.create_server(("127.0.0.1", 0)) as data:
            port = data.getsockname()[1]
            connection.sendall(b"220 Hello.\r\n")
            known: dict[bytes, bytes | None] = {
                b"FEAT": b"211 none",
                b"USER": b"331 who",
                b"PASS": b"230 in",
                b"PASV": b"227 (127,0,0,1,%d,%d)" % (port >> 8, port & 255),
                b"LIST": b"150 here",
                **answers,
            }
            while line := connection.recv(4096):
                answer = known.get(line[:4], b"502 no")
                if answer is None:
                    return
                if answer:
                    connection.sendall(answer + b"\r\n")
                if line[:4] == b"LIST":
                    data.accept()[0].close()
                    connection.sendall(b"226 done\r\n")

    return behave


BEHAVIOURS = [
    (say_nothing, "no-greeting"),
    (trickle, "no-greeting"),
    (flood, "not-ftp"),
    (flood_without_lines, "not-ftp"),
    (promise, "not-ftp"),
    (speak_http, "not-ftp"),
    (close_at_once, "no-greeting"),
    (hang_after_greeting, "broke-off"),
    (name_no_port, "broke-off"),
]


@pytest.mark.parametrize(("behave", "wanted"), BEHAVIOURS, ids=[behave.__name__ for behave, _ in BEHAVIOURS])
def test_bad_servers_are_named(behave: Callable[[socket.socket], None], wanted: str) -> None:
    with server(behave) as port:
        report = consult_one("127.0.0.1", port)
    assert seen(report) == {wanted}


@pytest.mark.parametrize("answer", [b"", None, b"229 no port", b"229 (|||9|)"])
def test_epsv_that_leads_nowhere_is_named_and_the_rest_is_seen(answer: bytes | None) -> None:
    with server(sound_but({b"EPSV": answer})) as port:
        report = consult_one("127.0.0.1", port)
    assert "epsv-broken" in seen(report)
    assert not seen(report) & {"broke-off", "epsv-refused", "no-passive", "data-port-closed", "listing-failed"}


def test_nobody_listens(free_port: int) -> None:
    report = consult_one("127.0.0.1", free_port)
    assert found(report) == {("server-unreachable", line_of(text_for("127.0.0.1", free_port), "server"))}


def test_nobody_answers() -> None:
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(listener.getsockname())
        report = consult_one("127.0.0.1", listener.getsockname()[1])
    assert seen(report) == {"server-unreachable"}
    assert "no answer in time" in report.findings[0].detail


def test_a_name_without_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(rounds.socket, "getaddrinfo", resolve)
    report = consult_one("no-such-host.invalid", 2121, PATIENCE)
    assert seen(report) == {"name-unresolved"}
    assert "Name or service not known" in report.findings[0].detail


def test_a_resolver_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def resolve(*_: object, **__: object) -> list[object]:
        over.wait(PATIENCE)
        return []

    monkeypatch.setattr(rounds.socket, "getaddrinfo", resolve)
    report = consult_one("slow-host.invalid", 2121)
    over.set()
    assert seen(report) == {"name-unresolved"}
    assert "no answer in time" in report.findings[0].detail


def test_a_hundred_dead_servers_are_asked_at_once() -> None:
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=256))
        port = listener.getsockname()[1]
        lines = "".join(f"    server d{number} 127.1.0.{number} check port {port}\n" for number in range(1, 101))
        listener.close()
        report = consult([("many.cfg", text_for("127.0.0.1", port) + lines)], World(), Errand(SHORT, LOGIN))
    assert sum(finding.id == "server-unreachable" for finding in report.findings) == 101


# --- replies that are odd, but read by clients --------------------------------------------------------------------

ODD_REPLIES = {
    "cr cr lf": lambda reply: reply.replace(b"\r\n", b"\r\r\n"),
    "lf": lambda reply: reply.replace(b"\r\n", b"\n"),
    "text before": lambda reply: b"\r\nhello\r\n" + reply,
    "text behind": lambda reply: reply + b"\r\nbye\r\n",
    "nul and cr": lambda reply: reply.replace(b"\r\n", b" \0a\rb\r\n", 1),
    "another first code": lambda reply: b"550-x\r\n" + reply,
    "no space": lambda reply: reply.replace(b" ", b":", 1) if reply[3:4] == b" " else reply,
    "other codes": lambda reply: {b"220": b"200", b"331": b"300", b"230": b"202"}.get(reply[:3], reply[:3]) + reply[3:],
    "a long line": lambda reply: reply.replace(b"\r\n", b" " + b"x" * 20_000 + b"\r\n", 1),
}


@pytest.mark.parametrize("odd", ODD_REPLIES.values(), ids=ODD_REPLIES)
def test_what_clients_can_read_is_read(odd: Callable[[bytes], bytes]) -> None:
    answers: dict[str, Answer] = {"FEAT": "211-Ext:\n SIZE\n211-MDTM\n211 End"}
    patience = Patience(PATIENCE, PATIENCE)
    with Scripted(answers=answers, render=lambda lines: odd(as_it_should(lines))) as scripted:
        with Control(dial("127.0.0.1", scripted.port, patience), patience) as control:
            assert greet(control)[0].is_positive
            assert log_in(control, LOGIN).accepted
            features = ask_features(control)
            assert features is not None
            assert {"SIZE", "MDTM"} <= {line.partition(" ")[0] for line in features}
            control.quit()
        assert scripted.heard == ["USER farmer", "PASS very-secret", "FEAT", "QUIT"]


# --- junk ---------------------------------------------------------------------------------------------------------

LINES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [
            b"220 Hello",
            b"120 Soon",
            b"211-Features",
            b" MLST type*;size*;",
            b"211 End",
            b"331 Password",
            b"230 In",
            b"530 Out",
            b"227 Entering Passive Mode (127,0,0,1,200,3)",
            b"227 =999,0,0,1,2,3",
            b"229 (|||50003|)",
            b"229 (|||0|)",
            b"150 Here",
            b"226 Done",
            b"234 TLS",
            b"421 Gone",
            b"426 Aborted",
            b"drwxr-xr-x 2 ftp ftp 4096 Jan 1 00:00 pub",
        ]
    ),
)
SPEECHES = st.lists(LINES, max_size=30).map(lambda lines: b"\r\n".join([*lines, b""]))


class Puppets:
    """Dials nobody: every connection is one end of a pair whose other end has said its speech and has closed."""

    def __init__(self, speeches: list[bytes]) -> None:
        self._speeches = speeches
        self._others: list[socket.socket] = []

    def dial(self, _host: str, _port: int, _patience: Patience) -> socket.socket:
        ours, theirs = socket.socketpair()
        theirs.sendall(self._speeches.pop(0) if self._speeches else b"")
        theirs.shutdown(socket.SHUT_WR)
        self._others.append(theirs)
        return ours

    def close(self) -> None:
        for other in self._others:
            other.close()


@given(st.lists(SPEECHES, max_size=4), st.booleans())
def test_any_speech_ends_in_a_visit(speeches: list[bytes], implicit: bool) -> None:
    puppets = Puppets(speeches)
    visit = Visit("b", "s", Origin("f", 1), "127.0.0.1", 21, "127.0.0.1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(examination, "dial", puppets.dial)
        try:
            seen = examine(Order(visit, implicit, 1.0, LOGIN, LOGIN))
        finally:
            puppets.close()
    assert seen.failure is not None or seen.greeting
    assert "very-secret" not in str(as_json(Report((), (), (seen,)))) + repr(seen)


@given(st.binary(max_size=3000))
def test_any_bytes_are_an_answer_or_a_probe_error(data: bytes) -> None:
    for question in (greet, ask_features, ask_passive, lambda control: log_in(control, LOGIN), _list):
        ours, theirs = socket.socketpair()
        with theirs, Control(ours, Patience(1.0, 2.0)) as control, contextlib.suppress(ProbeError):
            theirs.sendall(data)
            theirs.shutdown(socket.SHUT_WR)
            question(control)  # type: ignore[operator]


def _list(control: Control) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(b"\xff\x00 2 3 4 5 6 7 8 9\r\n01-02-03  04:05AM  <DIR>  x\n")
        theirs.shutdown(socket.SHUT_WR)
        assert list_directory(control, ours, Patience(1.0, 2.0), None) is not None


def test_a_command_cannot_be_smuggled_through_a_user_name() -> None:
    ours, theirs = socket.socketpair()
    with theirs, Control(ours, Patience(1.0, 2.0)) as control, pytest.raises(ProbeError, match="line end"):
        log_in(control, Credentials("x\r\nDELE y", ""))


def test_clear_text_behind_the_answer_to_auth_is_no_tls() -> None:
    def inject(connection: socket.socket) -> None:
        connection.sendall(b"220 Hello.\r\n")
        while data := connection.recv(4096):
            connection.sendall(b"234 Go\r\n230 In\r\n" if data.startswith(b"AUTH") else b"502 no\r\n")

    with server(inject) as port:
        visit = Visit("b", "s", Origin("f", 1), "127.0.0.1", port, "127.0.0.1")
        seen = examine(Order(visit, implicit=False, timeout=2.0))
    assert seen.failure is None or seen.failure is Failure.LOST
    assert seen.tls is not None
    assert "clear text" in seen.tls.trouble
