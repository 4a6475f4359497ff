"""`option ftp-check` against sockets: every step going wrong, deadlines, features, nothing left behind."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from health_world import Witness, backend, config, peer, says, server
from pasvport import model
from pasvport.address import Endpoint, Family
from pasvport.control.prober import Prober
from pasvport.health.ftp_steps import MOST_DATA
from pasvport.health.result import CheckResult, Status
from probing import HANG_UP, STALL, MiniFtp, ftp_check, probe, result_of, until

PATIENT = model.Check(enabled=True, interval=20_000)
HASTY = model.Check(enabled=True, interval=1500)
"""Long enough for a busy machine to get to the step in question."""


def checked(port: int, wanted: model.FtpCheck, check: model.Check = PATIENT, **more: object) -> model.Config:
    one = server("s", port, check=check)
    return config(backend("b", one, check_kind=model.CheckKind.FTP, ftp_check=wanted, **more), max_spread_checks=1)


def outcome(behaviour: Callable[[socket.socket, threading.Event], None], wanted: model.FtpCheck) -> CheckResult:
    with peer(behaviour) as served:
        return result_of(checked(served.port, wanted))


@pytest.mark.parametrize(
    ("wanted", "asked"),
    [
        (ftp_check("", user=""), b"QUIT"),
        (ftp_check(""), b"USER probe|PASS plough|FEAT|QUIT"),
        (ftp_check("", "passive"), b"USER probe|PASS plough|FEAT|TYPE A|PASV|LIST|QUIT"),
        (ftp_check("list"), b"USER probe|PASS plough|FEAT|TYPE A|PASV|LIST|QUIT"),
        (ftp_check("retr", "epsv", "a b"), b"USER probe|PASS plough|FEAT|TYPE I|EPSV|RETR a b|QUIT"),
    ],
)
def test_a_sound_server_passes(wanted: model.FtpCheck, asked: bytes) -> None:
    ftp = MiniFtp()
    result = outcome(ftp, wanted)
    assert (result.status, result.text) == (Status.L7OK, "(ftp-check)")
    assert b"|".join(ftp.lines) == asked


@pytest.mark.parametrize(
    ("answers", "text"),
    [
        ({"BANNER": b"421 Too many users\r\n"}, "not ready at step 1 (banner): 421 Too many users"),
        ({"BANNER": HANG_UP}, "connection closed at step 1 (banner)"),
        ({"PASS": b"530 plough is wrong\r\n"}, "refused at step 3 (PASS): 530 *** is wrong"),
        ({"FEAT": HANG_UP}, "connection closed at step 4 (FEAT)"),
        ({"PASV": b"425 none left\r\n", "EPSV": b"425 none left\r\n"}, "refused at step 6 (EPSV): 425 none left"),
        ({"RETR": b"550 gone\r\n"}, "refused at step 8 (RETR): 550 gone"),
        ({"END": b"451 disk\r\n"}, "refused at step 9 (transfer): 451 disk"),
        ({"END": HANG_UP}, "connection closed at step 9 (transfer)"),
    ],
)
def test_a_broken_server_fails_where_it_is_broken(answers: dict[str, bytes], text: str) -> None:
    assert outcome(MiniFtp(**answers), ftp_check("retr", path="f")).text == f"ftp-check: {text}"


def test_a_data_port_where_nobody_listens() -> None:
    result = outcome(MiniFtp(dead=True), ftp_check())
    assert (result.status, result.text) == (
        Status.L4CON,
        "ftp-check: Connection refused at step 7 (data connection)",
    )


@contextlib.contextmanager
def walled_port() -> Iterator[int]:
    """A full backlog drops what comes: the nearest thing to a firewall that loopback has."""
    with contextlib.ExitStack() as stack:
        walled = stack.enter_context(socket.socket())
        walled.bind(("127.0.0.1", 0))
        walled.listen(0)
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(walled.getsockname())
        yield walled.getsockname()[1]


STALLS = [
    ("BANNER", "no answer at step 1 (banner)"),
    ("USER", "no answer at step 2 (USER)"),
    ("PASS", "no answer at step 3 (PASS)"),
    ("FEAT", "no answer at step 4 (FEAT)"),
    ("TYPE", "no answer at step 5 (TYPE)"),
    ("PASV", "no answer at step 6 (EPSV)"),
    ("LIST", "no answer at step 8 (LIST)"),
    ("DATA", "no end of data at step 9 (transfer)"),
    ("END", "no answer at step 9 (transfer)"),
]


def test_every_silence_is_named() -> None:
    """All at once, since each takes its whole time."""
    with contextlib.ExitStack() as stack:
        wall = stack.enter_context(walled_port())
        ftps = [MiniFtp(**{verb: STALL}) for verb, _ in STALLS]
        walled = {"PASV": b"227 (1,2,3,4,%d,%d)\r\n" % (wall >> 8, wall & 255), "EPSV": b"229 (|||%d|)\r\n" % wall}
        ftps += [MiniFtp(**walled), MiniFtp(QUIT=STALL)]
        ports = [stack.enter_context(peer(ftp)).port for ftp in ftps]
        servers = tuple(server(f"s{number}", port, check=HASTY) for number, port in enumerate(ports))
        proxy = backend("b", *servers, check_kind=model.CheckKind.FTP, ftp_check=ftp_check("list", "passive"))
        results: list[CheckResult] = []

        async def story(witness: Witness, _: Prober) -> None:
            views = [lambda n=n: witness.roster.view(0, n).check.result for n in range(len(servers))]
            await until(lambda: all(view().status is not Status.INI for view in views), "all results")
            results.extend(view() for view in views)

        probe(config(proxy, max_spread_checks=1), story)
    expected = [(Status.L7TOUT, f"ftp-check: {text}") for _, text in STALLS]
    expected += [(Status.L4TOUT, "ftp-check: no connection at step 7 (data connection)"), (Status.L7OK, "(ftp-check)")]
    assert [(result.status, result.text) for result in results] == expected


def test_a_server_is_up_when_either_way_leads_to_a_data_connection() -> None:
    with contextlib.ExitStack() as stack:
        wall = stack.enter_context(walled_port())
        for answers in (
            {"PASV": b"550 Permission denied.\r\n"},
            {"PASV": b"202 OK\r\n"},
            {"PASV": b"227 (1,2,3,4,%d,%d)\r\n" % (wall >> 8, wall & 255)},
            {"PASV": HANG_UP},
            {"EPSV": b"550 Permission denied.\r\n"},
            {"EPSV": HANG_UP},
            {"PASV": b"227-Here\r\n229 ok\r\n227 there\r\n"},
        ):
            ftp = MiniFtp(**answers)
            served = stack.enter_context(peer(ftp))
            assert result_of(checked(served.port, ftp_check("", "passive"), HASTY)).status is Status.L7OK, answers
        ftp = MiniFtp(PASV=b"550 no\r\n")
        served = stack.enter_context(peer(ftp))
        fixed = checked(served.port, ftp_check("", "passive"), HASTY, ftp_passive=model.FtpPassive.PASV)
        assert result_of(fixed).status is Status.L7STS


def test_timeout_check_covers_login_data_and_transfer_together() -> None:
    times = model.Timeouts(connect=10_000, check=200)
    with peer(MiniFtp(DATA=STALL)) as served:
        result = result_of(checked(served.port, ftp_check(), timeouts=times))
    assert result.status is Status.L7TOUT


@pytest.mark.parametrize("verb", [*(verb for verb, _ in STALLS), "QUIT"])
def test_a_check_called_off_at_any_step_leaves_nothing(verb: str) -> None:
    ftp = MiniFtp(**{verb: STALL})

    async def story(witness: Witness, _: Prober) -> None:
        await until(ftp.stalled.is_set, f"{verb} to be asked")

    before = len(os.listdir("/proc/self/fd"))
    with peer(ftp) as served:
        probe(checked(served.port, ftp_check("list", "passive")), story)
    assert len(os.listdir("/proc/self/fd")) == before


def test_checks_that_end_leave_nothing() -> None:
    async def story(witness: Witness, _: Prober) -> None:
        await until(lambda: ftp.lines.count(b"QUIT") >= 5, "five checks")

    ftp = MiniFtp()
    before = len(os.listdir("/proc/self/fd"))
    with peer(ftp) as served:
        probe(checked(served.port, ftp_check(), model.Check(enabled=True, interval=20)), story)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_large_file_is_aborted_and_good() -> None:
    ftp = MiniFtp(b"x" * (MOST_DATA * 4))
    result = outcome(ftp, ftp_check("retr", path="big"))
    assert (result.status, result.code) == (Status.L7OK, 150)
    assert ftp.lines[-3:-1] == [b"RETR big", b"ABOR"]


def test_an_ipv6_server_is_asked_for_epsv() -> None:
    ftp = MiniFtp(host="::1")
    with peer(ftp, "::1") as served:
        place = Endpoint(Family.IPV6, "::1")
        port = model.ServerPort(model.PortMap.FIXED, served.port)
        one = server("s", endpoint=place, port=port, check=PATIENT)
        proxy = backend("b", one, check_kind=model.CheckKind.FTP, ftp_check=ftp_check())
        assert result_of(config(proxy)).status is Status.L7OK
    assert b"EPSV" in ftp.lines
    assert b"PASV" not in ftp.lines


def test_a_unix_server_can_be_greeted_but_not_listed(tmp_path) -> None:
    def serve(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.sendall(b"220 x\r\n331 x\r\n230 x\r\n500 x\r\n200 x\r\n227 (1,2,3,4,5,6)\r\n")
                while connection.recv(1000):
                    pass

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        one = server("s", endpoint=Endpoint(Family.UNIX, str(tmp_path / "s")), check=PATIENT)
        for wanted, status in ((ftp_check("", user=""), Status.L7OK), (ftp_check(), Status.L4CON)):
            proxy = backend("b", one, check_kind=model.CheckKind.FTP, ftp_check=wanted)
            assert result_of(config(proxy)).status is status
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(20)


def test_port_and_source_serve_the_data_connection_too() -> None:
    ftp = MiniFtp()
    with peer(ftp) as served:
        check = model.Check(
            enabled=True, interval=20_000, endpoint=Endpoint(Family.IPV4, "127.0.0.1"), port=served.port
        )
        mine = model.Source(Endpoint(Family.IPV4, "127.0.0.9"))
        one = server("s", 1, endpoint=Endpoint(Family.IPV4, "127.0.0.250"), check=check, source=mine)
        proxy = backend("b", one, check_kind=model.CheckKind.FTP, ftp_check=ftp_check())
        assert result_of(config(proxy)).status is Status.L7OK
    assert ftp.data_peers == ["127.0.0.9"]


def test_the_log_names_the_step_and_not_the_password() -> None:
    async def story(witness: Witness, _: Prober) -> None:
        await until(lambda: witness.roster.view(0, 0).status == "DOWN", "the fall")

    logging = model.Logging(log_health_checks=True)
    with peer(MiniFtp(PASS=b"530 not plough\r\n")) as served:
        witness = probe(checked(served.port, ftp_check(), logging=logging), story)
    texts = witness.texts()
    assert "plough" not in "".join(texts)
    assert any(
        'reason: Layer7 wrong status, code: 530, info: "ftp-check: refused at step 3 (PASS): 530 not ***"' in text
        for text in texts
    )


def test_features_are_told_of_every_running_server() -> None:
    told: list[tuple[tuple[int, int], set[bytes] | None]] = []
    feats = {"rich": b" EPSV\r\n SIZE\r\n MDTM\r\n", "poor": b" EPSV\r\n SIZE\r\n"}
    rich, poor = (MiniFtp(FEAT=b"211-x\r\n" + listed + b"211 End\r\n") for listed in feats.values())

    def hear(position: tuple[int, int], features: tuple[bytes, ...] | None) -> None:
        told.append((position, None if features is None else set(features)))

    async def story(witness: Witness, _: Prober) -> None:
        await until(lambda: ((0, 0), {b"EPSV", b"SIZE", b"MDTM"}) in told, "the first server's")
        await until(lambda: ((0, 1), {b"EPSV", b"SIZE"}) in told, "the second server's")
        # A refusal takes nothing back.
        poor._answers["FEAT"] = b"502 no\r\n"
        seen = poor.lines.count(b"FEAT")
        await until(lambda: poor.lines.count(b"FEAT") > seen + 1, "two more checks")
        assert ((0, 1), None) not in told
        poor._answers["PASS"] = b"530 no\r\n"
        await until(lambda: ((0, 1), None) in told, "the second server, which is down, not to count")

    with peer(rich) as one, peer(poor) as other:
        check = model.Check(enabled=True, interval=20, fall=1)
        both = (server("rich", one.port, check=check), server("poor", other.port, check=check))
        proxy = backend("b", *both, check_kind=model.CheckKind.FTP, ftp_check=ftp_check(""))
        probe(config(proxy), story, on_features=hear)


def test_hundreds_of_checks_take_turns() -> None:
    async def story(witness: Witness, _: Prober) -> None:
        await until(lambda: all(seen.status == "UP" for _, seen in witness.roster.views()), "every server")

    ftp = MiniFtp()
    with peer(ftp) as served:
        many = tuple(server(f"s{n}", served.port, check=PATIENT) for n in range(200))
        proxy = backend("b", *many, check_kind=model.CheckKind.FTP, ftp_check=ftp_check())
        probe(config(proxy, max_spread_checks=1), story, concurrency=20)
    assert len(ftp.data_peers) >= 200


def test_a_flood_does_not_fill_memory() -> None:
    with peer(says(b"220-" + b"x" * 900_000)) as served:
        result = result_of(checked(served.port, ftp_check()))
    assert result.text == "ftp-check: reply too long at step 1 (banner)"
