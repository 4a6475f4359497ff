"""The prober against real sockets and programs on loopback."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import stat
import threading
from pathlib import Path

import pytest

from health_world import ORIGIN, Witness, backend, config, ftp_greeter, peer, says, server, step
from pasvport import model
from pasvport.address import Endpoint, Family, PortRange
from pasvport.control.prober import Prober
from pasvport.health.result import Status
from pasvport.record import Operation
from pasvport.wire import ObservedErrors
from probing import probe, result_of, until

FAST = model.Check(enabled=True, interval=20)


def status_of(conf: model.Config) -> tuple[Status, str]:
    """The first result of the first server's check."""
    result = result_of(conf)
    return result.status, result.text


def test_a_server_goes_down_and_comes_back() -> None:
    async def story(witness: Witness, _: Prober) -> None:
        listener = socket.create_server(("127.0.0.1", port))
        await until(lambda: witness.roster.view(0, 0).status == "UP", "the first pass")
        listener.close()
        await until(lambda: witness.roster.view(0, 0).status == "DOWN", "the fall")
        with socket.create_server(("127.0.0.1", port)):
            await until(lambda: witness.roster.view(0, 0).status == "UP", "the rise")

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    witness = probe(config(backend("b", server("s", port, check=FAST))), story)
    causes = [change.cause for change in witness.changes]
    assert causes[-2:] == ["down", "up"]
    assert any("is UP, reason: Layer4 check passed" in text for text in witness.texts())


def test_a_plain_check_is_over_before_the_server_accepts() -> None:
    # The last ACK is withheld and the connection reset, so that nothing reaches accept().
    async def story(witness: Witness, _: Prober) -> None:
        await until(lambda: witness.roster.view(0, 0).status == "UP", "a pass")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        probe(config(backend("b", server("s", listener.getsockname()[1], check=FAST))), story)
        listener.setblocking(False)
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            return
        with connection, pytest.raises(ConnectionResetError):
            connection.recv(1)


@pytest.mark.parametrize("family", [Family.UNIX, Family.ABNS])
def test_unix_servers_are_checked(family: Family, tmp_path: Path) -> None:
    host = str(tmp_path / "server") if family is Family.UNIX else f"pasvport-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(host if family is Family.UNIX else b"\0" + host.encode().ljust(107, b"\0"))
        listener.listen()
        conf = config(backend("b", server("s", endpoint=Endpoint(family, host), check=FAST)))
        assert status_of(conf)[0] is Status.L4OK
    other = server("s", endpoint=Endpoint(Family.UNIX, str(tmp_path / "nothing")), check=FAST)
    assert status_of(config(backend("b", other))) == (Status.L4CON, "No such file or directory")


def test_ipv6_servers_are_checked() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        place = Endpoint(Family.IPV6, "::1")
        port = model.ServerPort(model.PortMap.FIXED, listener.getsockname()[1])
        assert status_of(config(backend("b", server("s", endpoint=place, port=port, check=FAST))))[0] is Status.L4OK


def test_addr_and_port_win_over_the_servers_own() -> None:
    with socket.create_server(("127.0.0.2", 0)) as listener:
        port = listener.getsockname()[1]
        same = model.ServerPort(model.PortMap.SAME)
        place = Endpoint(Family.IPV4, "127.0.0.2")
        check = model.Check(enabled=True, interval=20, endpoint=place, port=port)
        assert status_of(config(backend("b", server("s", 0, port=same, check=check))))[0] is Status.L4OK
        check = model.Check(enabled=True, interval=20, endpoint=place.with_port(port))
        assert status_of(config(backend("b", server("s", 0, port=same, check=check))))[0] is Status.L4OK
        assert status_of(config(backend("b", server("s", port, check=FAST))))[0] is Status.L4CON


def test_checks_come_from_the_source_address() -> None:
    seen: list[str] = []

    def note(connection: socket.socket, _: threading.Event) -> None:
        seen.append(connection.getpeername()[0])
        connection.sendall(b"220\r\n")

    steps = (step("string", "220"),)
    kind = model.CheckKind.TCP_SCRIPT
    with peer(note) as served:
        mine = model.Source(Endpoint(Family.IPV4, "127.0.0.9"))
        backends = model.Source(Endpoint(Family.IPV4, "127.0.0.8"))
        for source in (mine, None):
            one = server("s", served.port, check=model.Check(enabled=True, interval=5000), source=source)
            conf = config(backend("b", one, source=backends, check_kind=kind, check_steps=steps))
            assert status_of(conf)[0] is Status.L7OK
    assert {"127.0.0.9", "127.0.0.8"} == set(seen)


def test_a_source_that_is_not_ours_is_said() -> None:
    foreign = model.Source(Endpoint(Family.IPV4, "192.0.2.7"))
    conf = config(backend("b", server("s", 1, check=FAST, source=foreign)))
    assert status_of(conf) == (Status.L4CON, "Can't bind to source address (Cannot assign requested address)")


def scripted(port: int, *steps: model.CheckStep, interval: int = 20, **more: object) -> model.Config:
    check = model.Check(enabled=True, interval=interval)
    one = server("s", port, check=check)
    return config(backend("b", one, check_kind=model.CheckKind.TCP_SCRIPT, check_steps=steps, **more))


def test_an_ftp_greeting_is_checked() -> None:
    with peer(ftp_greeter) as served:
        steps = (
            step("connect", port=served.port),
            step("rstring", "^220"),
            step("send", "QUIT\r\n"),
            step("string", "221"),
        )
        assert status_of(scripted(1, *steps, interval=5000)) == (Status.L7OK, "(tcp-check)")
        wrong = (*steps[:2], step("send", "NOOP\r\n"), step("rstring", "^2", min_recv=3))
        assert status_of(scripted(1, *wrong, interval=5000)) == (
            Status.L7RSP,
            "TCPCHK did not match content (regex) at step 4",
        )


def test_a_silent_server_times_out() -> None:
    with peer(says()) as served:
        assert status_of(scripted(served.port, step("string", "220"))) == (
            Status.L7TOUT,
            " at step 1 of tcp-check (expect string '220')",
        )


def test_timeout_check_ends_a_check_before_inter_would() -> None:
    with peer(says()) as served:
        conf = scripted(
            served.port, step("string", "220"), interval=60_000, timeouts=model.Timeouts(connect=5000, check=20)
        )
        assert status_of(conf)[0] is Status.L7TOUT


def test_a_flood_does_not_fill_memory() -> None:
    with peer(says(b"x" * 300_000)) as served:
        assert status_of(scripted(served.port, step("string", "220"), interval=5000))[0] is Status.L7RSP


def test_a_reset_is_told_apart_from_silence() -> None:
    with peer(says(reset=True)) as served:
        assert status_of(scripted(served.port, step("string", "220"), interval=5000)) == (
            Status.SOCKERR,
            "Connection reset by peer at step 1 of tcp-check (expect string '220')",
        )


def test_large_sends_reach_a_slow_reader_whole() -> None:
    got = bytearray()

    def slow(connection: socket.socket, over: threading.Event) -> None:
        over.wait(0.05)
        while len(got) < 300_000 and (data := connection.recv(65536)):
            got.extend(data)
        connection.sendall(b"done")

    with peer(slow) as served:
        one = server("s", served.port, check=model.Check(enabled=True, interval=10_000))
        proxy = backend(
            "b",
            one,
            check_kind=model.CheckKind.TCP_SCRIPT,
            check_steps=(step("send", b"y" * 300_000), step("string", "done")),
        )
        assert status_of(config(proxy, bufsize=400_000))[0] is Status.L7OK
    assert bytes(got) == b"y" * 300_000


def test_stopping_in_the_middle_of_everything_leaves_nothing(tmp_path: Path) -> None:
    slow = program(tmp_path, "sleep 600")

    async def story(witness: Witness, _: Prober) -> None:
        await until(lambda: witness.roster.view(0, 0).check.running and witness.roster.view(1, 0).check.running, "both")

    with peer(says()) as served:
        talk = backend(
            "b",
            server("s", served.port, check=model.Check(enabled=True, interval=60_000)),
            check_kind=model.CheckKind.TCP_SCRIPT,
            check_steps=(step("string", "220"),),
        )
        judged = external(slow, index=1, interval=60_000)
        probe(config(talk, judged, max_spread_checks=1), story)


# --- agents -------------------------------------------------------------------------------------------------------


def test_an_agent_is_asked_and_obeyed() -> None:
    heard: list[bytes] = []
    words = [b"75%\n"]

    def answer(connection: socket.socket, _: threading.Event) -> None:
        heard.append(connection.recv(100))
        connection.sendall(words[0])

    async def story(witness: Witness, _: Prober) -> None:
        await until(lambda: witness.roster.view(0, 0).weight == 75, "the weight")
        words[0] = b"down # no disk\r\n"
        await until(lambda: witness.roster.view(0, 0).status == "DOWN (agent)", "down")
        words[0] = b"up drain\n"
        await until(lambda: witness.roster.view(0, 0).status == "DRAIN (agent)", "drain")
        words[0] = b"maint\n"
        await until(lambda: witness.roster.view(0, 0).status == "MAINT", "maint")
        words[0] = b"ready\n"
        await until(lambda: witness.roster.view(0, 0).is_usable, "ready")

    with peer(answer) as served:
        agent = model.Agent(enabled=True, port=served.port, interval=20, send=b"how are you\n")
        witness = probe(config(backend("b", server("s", 1, weight=100, agent=agent))), story)
    assert set(heard) == {b"how are you\n"}
    assert any('info: "via agent : down (no disk)"' in text for text in witness.texts())


def test_a_dead_agent_does_no_harm() -> None:
    async def story(witness: Witness, _: Prober) -> None:
        await until(lambda: witness.roster.view(0, 0).agent.result.status is Status.L4CON, "a refusal")
        assert witness.roster.view(0, 0).is_usable

    agent = model.Agent(enabled=True, port=1, interval=20)
    assert probe(config(backend("b", server("s", 1, agent=agent))), story).said == []


# --- external programs --------------------------------------------------------------------------------------------


def program(folder: Path, text: str) -> str:
    path = folder / "check.sh"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    for part in (folder, *folder.parents):
        # Another user shall be able to run it.
        if part.owner() == Path(folder).owner() and part != Path("/"):
            part.chmod(part.stat().st_mode | stat.S_IXOTH | stat.S_IROTH)
    return str(path)


def external(command: str, *, index: int = 0, interval: int = 5000, **more: object) -> model.Proxy:
    check = model.Check(enabled=True, interval=interval)
    given: dict[str, object] = {"check_path": "/usr/bin:/bin", **more}
    one = server("s", 2121, maxconn=7, check=check)
    kind = model.CheckKind.EXTERNAL
    return backend("b" if not index else f"b{index}", one, index=index, check_kind=kind, check_command=command, **given)


@pytest.mark.parametrize(
    ("text", "status", "code"),
    [("exit 0", Status.PROCOK, 0), ("exit 7", Status.PROCERR, 7), ("kill -9 $$", Status.PROCERR, -1)],
)
def test_the_exit_status_decides(text: str, status: Status, code: int, tmp_path: Path) -> None:
    seen = []

    async def story(witness: Witness, _: Prober) -> None:
        await until(lambda: witness.roster.view(0, 0).check.result.status is not Status.INI, "a result")
        seen.append(witness.roster.view(0, 0).check.result)

    probe(config(external(program(tmp_path, text))), story)
    assert (seen[0].status, seen[0].code) == (status, code)


def test_a_program_that_cannot_be_run_has_failed(tmp_path: Path) -> None:
    assert status_of(config(external(str(tmp_path / "nothing"))))[0] is Status.PROCERR


def test_a_program_that_takes_too_long_is_killed_with_its_children(tmp_path: Path) -> None:
    # It ignores SIGTERM, so SIGKILL has to follow.
    slow = program(tmp_path, "trap '' TERM\nsleep 600 &\nwait\nsleep 600")
    assert status_of(config(external(slow, interval=50)))[0] is Status.PROCTOUT


def test_a_program_gets_haproxys_arguments_and_environment_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "hunter2")
    # Built-ins only: the PATH is the one thing under test that a command would need.
    script = program(
        tmp_path, f'{{ echo "$@"; export -p; }} > {tmp_path}/new && /bin/mv {tmp_path}/new {tmp_path}/seen'
    )
    bind = model.Bind(ORIGIN, Endpoint(Family.IPV4, "127.0.0.5"), PortRange(2100, 2110))
    proxy = external(script, is_frontend=True, binds=(bind,))
    assert status_of(config(proxy))[0] is Status.PROCOK
    first, *rest = (tmp_path / "seen").read_text().splitlines()
    assert first == "127.0.0.5 2100 127.0.0.1 2121"
    environment = dict(line.removeprefix("export ").partition("=")[::2] for line in rest)
    environment = {name: value.strip("'\"") for name, value in environment.items() if name not in ("PWD", "OLDPWD")}
    assert environment == {
        "PATH": "/usr/bin:/bin",
        "HAPROXY_PROXY_NAME": "b",
        "HAPROXY_PROXY_ID": "1",
        "HAPROXY_PROXY_ADDR": "127.0.0.5",
        "HAPROXY_PROXY_PORT": "2100",
        "HAPROXY_SERVER_NAME": "s",
        "HAPROXY_SERVER_ID": "1",
        "HAPROXY_SERVER_ADDR": "127.0.0.1",
        "HAPROXY_SERVER_PORT": "2121",
        "HAPROXY_SERVER_MAXCONN": "7",
        "HAPROXY_SERVER_CURCONN": "0",
        "HAPROXY_SERVER_SSL": "0",
        "HAPROXY_SERVER_PROTO": "tcp",
    }


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_program_runs_as_the_configured_user(tmp_path: Path) -> None:
    script = program(tmp_path, 'test "$(id -u):$(id -g):$(id -G)" = 65534:65534:65534')
    assert status_of(config(external(script), uid=65534, gid=65534))[0] is Status.PROCOK
    assert status_of(config(external(script)))[0] is Status.PROCERR


# --- when ---------------------------------------------------------------------------------------------------------


def test_first_checks_are_spread_over_the_shortest_common_interval() -> None:
    quick = model.Check(enabled=True, interval=20)
    steady = model.Check(enabled=True, interval=2000)
    rare = model.Check(enabled=True, interval=8000)
    conf = config(backend("b", *(server(n, check=c) for n, c in zip("wxyz", (steady, quick, rare, rare), strict=True))))
    prober = Prober(conf, Witness(conf).roster)
    assert prober._first_delays() == [0, 500, 4000, 6000]
    capped = config(*conf.proxies, max_spread_checks=400)
    assert Prober(capped, Witness(capped).roster)._first_delays() == [0, 100, 200, 300]


def test_spread_checks_moves_every_check_a_little() -> None:
    conf = config(backend("b", server("s", check=model.Check(enabled=True, interval=1000))), spread_checks=50)
    prober = Prober(conf, Witness(conf).roster, chance=random.Random(7))
    shifts = [prober._jitter(1000) for _ in range(1000)]
    assert -500 <= min(shifts) < -400
    assert 400 < max(shifts) <= 500


def test_maintenance_pauses_checks_and_ready_resumes_them() -> None:
    started = [0, 0]

    async def story(witness: Witness, _: Prober) -> None:
        note = witness.roster.check_started

        def count(proxy: int, number: int) -> None:
            started[number] += 1
            note(proxy, number)

        witness.roster.check_started = count  # type: ignore[method-assign]
        await until(lambda: witness.roster.view(0, 0).status == "UP", "a pass")
        witness.roster.set_admin(0, 0, "maint")
        paused, other = started
        await until(lambda: started[1] > other + 5, "five checks of the other server")
        assert started[0] == paused
        listener.close()
        witness.roster.set_admin(0, 0, "ready")
        await until(lambda: witness.roster.view(0, 0).operation is Operation.STOPPED, "the check that fails")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        both = (server("s", listener.getsockname()[1], check=FAST), server("other", 1, check=FAST))
        probe(config(backend("b", *both)), story)


def test_observed_errors_bring_the_next_check_forward() -> None:
    check = model.Check(
        enabled=True,
        interval=600_000,
        fast_interval=20,
        observe=model.ObserveMode.LAYER4,
        error_limit=1,
        on_error=model.OnError.MARK_DOWN,
    )

    async def story(witness: Witness, _: Prober) -> None:
        await until(lambda: witness.roster.view(0, 0).status == "UP", "the first check")
        witness.roster.observed(ObservedErrors(0, 0, 1, False))
        assert witness.roster.view(0, 0).status == "DOWN"
        await until(lambda: witness.roster.view(0, 0).check.result.status is Status.L4OK, "a check long before inter")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        probe(config(backend("b", server("s", listener.getsockname()[1], check=check))), story)


def test_no_more_checks_at_a_time_than_allowed_and_all_get_their_turn() -> None:
    live, most = [0], [0]

    def count(connection: socket.socket, over: threading.Event) -> None:
        live[0] += 1
        most[0] = max(most[0], live[0])
        over.wait(0.01)
        live[0] -= 1
        connection.sendall(b"220")
        connection.recv(1)

    async def story(witness: Witness, _: Prober) -> None:
        await until(lambda: all(seen.status == "UP" for _, seen in witness.roster.views()), "every server")

    with peer(count) as served:
        check = model.Check(enabled=True, interval=5000)
        many = tuple(server(f"s{n}", served.port, check=check) for n in range(20))
        proxy = backend("b", *many, check_kind=model.CheckKind.TCP_SCRIPT, check_steps=(step("string", "220"),))
        probe(config(proxy, max_spread_checks=1), story, concurrency=3)
    assert most[0] <= 3


def test_hundreds_of_checks_cost_no_task_each() -> None:
    async def story(witness: Witness, _: Prober) -> None:
        await until(lambda: all(seen.status == "UP" for _, seen in witness.roster.views()), "every server")
        assert len(asyncio.all_tasks()) == 1

    with socket.create_server(("127.0.0.1", 0), backlog=1000) as listener:
        port = listener.getsockname()[1]
        many = tuple(server(f"s{n}", port, check=model.Check(enabled=True, interval=10_000)) for n in range(500))
        probe(config(backend("b", *many), max_spread_checks=100), story)


def test_one_check_that_breaks_unforeseen_harms_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    from pasvport.control import probe_socket

    original = probe_socket.Target.dial

    def explode(self: probe_socket.Target, action: object) -> object:
        if self._server.name == "bad":
            raise RuntimeError("unforeseen")
        return original(self, action)  # type: ignore[arg-type]

    monkeypatch.setattr(probe_socket.Target, "dial", explode)

    async def story(witness: Witness, _: Prober) -> None:
        await until(lambda: witness.roster.view(0, 0).status == "DOWN", "the broken one")
        await until(lambda: witness.roster.view(0, 1).status == "UP", "the sound one")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        both = (server("bad", port, check=FAST), server("good", port, check=FAST))
        witness = probe(config(backend("b", *both)), story)
    assert any('reason: Socket error, info: "unforeseen"' in text for text in witness.texts())
