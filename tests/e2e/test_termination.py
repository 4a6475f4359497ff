"""How sessions end: the same endings through HAProxy and through pasvport give the same log line.

What is expected here was written down from HAProxy 2.6; running both against it keeps it a fact.
"""

from __future__ import annotations

import contextlib
import dataclasses
import socket
from collections.abc import Iterator

import pytest

from farm.arena import Arena, Expect, Scenario, Stage, read_to_end, reset, until_closed
from farm.balancers import BALANCERS


def close_by_server(stage: Stage) -> None:
    client, server = stage.talk()
    server.close()
    assert read_to_end(client) == b""
    client.close()


def close_by_client(stage: Stage) -> None:
    client, server = stage.talk()
    client.close()
    assert read_to_end(server) == b""
    server.close()


def close_without_a_word(stage: Stage) -> None:
    client, server = stage.pair()
    client.close()
    assert read_to_end(server) == b""
    server.close()


def server_closes_at_once(stage: Stage) -> None:
    client, server = stage.pair()
    server.close()
    assert read_to_end(client) == b""
    client.close()


def reset_by_client(stage: Stage) -> None:
    client, server = stage.talk()
    reset(client)
    until_closed(server)
    server.close()


def reset_by_server(stage: Stage) -> None:
    client, server = stage.talk()
    reset(server)
    until_closed(client)


def server_resets_at_once(stage: Stage) -> None:
    client, server = stage.pair()
    reset(server)
    until_closed(client)


def wait_for_the_end(stage: Stage) -> None:
    client, _server = stage.talk()
    until_closed(client)


def server_says_nothing_more(stage: Stage) -> None:
    # HAProxy tells the other side with a FIN and waits for it; who resets it loses nothing that the log could tell.
    client, server = stage.talk()
    until_closed(client)
    client.close()
    server.close()


def client_says_nothing_more(stage: Stage) -> None:
    client, server = stage.talk()
    until_closed(server)
    server.close()
    until_closed(client)


def wait_for_the_end_alone(stage: Stage) -> None:
    until_closed(stage.client())


def half_close_by_client(stage: Stage) -> None:
    client, server = stage.talk()
    client.sendall(b"upload")
    client.shutdown(socket.SHUT_WR)
    assert read_to_end(server) == b"upload"
    server.sendall(b"226 done\n")
    server.close()
    assert read_to_end(client) == b"226 done\n"


def half_close_by_server(stage: Stage) -> None:
    client, server = stage.talk()
    server.sendall(b"bye")
    server.shutdown(socket.SHUT_WR)
    assert read_to_end(client) == b"bye"
    client.sendall(b"still here")
    client.shutdown(socket.SHUT_WR)
    assert read_to_end(server) == b"still here"
    server.close()


def half_close_by_client_then_silence(stage: Stage) -> None:
    client, server = stage.talk()
    client.shutdown(socket.SHUT_WR)
    assert read_to_end(server) == b""
    until_closed(client)


def half_close_by_server_then_silence(stage: Stage) -> None:
    client, server = stage.talk()
    server.shutdown(socket.SHUT_WR)
    assert read_to_end(client) == b""
    until_closed(server)


def second_waits_for_its_timeout(stage: Stage) -> None:
    first, server = stage.talk()
    until_closed(stage.client())
    stage.until_lines(1)
    server.close()
    first.close()


def second_leaves_the_queue(stage: Stage) -> None:
    first, server = stage.talk()
    second = stage.client()
    second.close()
    stage.until_lines(1)
    server.close()
    first.close()


def second_resets_in_the_queue(stage: Stage) -> None:
    first, server = stage.talk()
    reset(stage.client())
    stage.until_lines(1)
    server.close()
    first.close()


def second_is_served_after_the_first(stage: Stage) -> None:
    first, server = stage.talk()
    second = stage.client()
    server.close()
    first.close()
    stage.until_lines(1)
    next_server = stage.accept()
    next_server.sendall(b"220 \n")
    next_server.close()
    assert read_to_end(second) == b"220 \n"
    second.close()


def second_sends_and_leaves_the_queue(stage: Stage) -> None:
    first, server = stage.talk()
    second = stage.client()
    second.sendall(b"USER\n")
    second.close()
    stage.until_lines(1)
    server.close()
    first.close()


def second_is_served_though_it_half_closed(stage: Stage) -> None:
    first, server = stage.talk()
    second = stage.client()
    second.sendall(b"USER\n")
    second.shutdown(socket.SHUT_WR)
    server.close()
    first.close()
    stage.until_lines(1)
    next_server = stage.accept()
    assert read_to_end(next_server) == b"USER\n"
    next_server.sendall(b"220 \n")
    next_server.close()
    assert read_to_end(second) == b"220 \n"


def client_sends_and_leaves_while_connecting(stage: Stage) -> None:
    client = stage.client()
    client.sendall(b"USER\n")
    client.close()


def client_leaves_while_connecting(stage: Stage) -> None:
    stage.client().close()


def client_resets_while_connecting(stage: Stage) -> None:
    reset(stage.client())


def log_comes_early(stage: Stage) -> None:
    client, server = stage.pair()
    stage.until_lines(1)
    server.close()
    client.close()


def silence_then_a_word(stage: Stage) -> None:
    # The first connection says nothing and must leave no line; the second proves that the log was working.
    client, server = stage.pair()
    client.close()
    assert read_to_end(server) == b""
    server.close()
    close_by_server(stage)


def big_answer_then_reset(stage: Stage) -> None:
    client, server = stage.talk()
    server.sendall(bytes(1_000_000))
    assert client.recv(1000)
    reset(client)
    until_closed(server)


def big_answer_to_the_last_byte(stage: Stage) -> None:
    client, server = stage.talk()
    server.sendall(bytes(1_000_000))
    server.close()
    assert len(read_to_end(client)) == 1_000_000
    client.close()


def fill(connection: socket.socket) -> None:
    """Send until the balancer closes the connection."""
    with contextlib.suppress(ConnectionError):
        while True:
            connection.sendall(bytes(1 << 20))


def client_does_not_read(stage: Stage) -> None:
    client, server = stage.talk()
    fill(server)
    stage.until_lines(1)
    client.close()


def server_does_not_read(stage: Stage) -> None:
    client, server = stage.talk()
    fill(client)
    stage.until_lines(1)
    server.close()


def reach_second_server(stage: Stage) -> None:
    client = stage.client()
    server = stage.accept(1)
    server.close()
    assert read_to_end(client) == b""
    client.close()


def marked_down(stage: Stage) -> None:
    client, _server = stage.talk()
    # Server 1 of the section is only what the check asks: without it, s1 is down.
    stage.site.listeners[1].close()
    until_closed(client)


def client_closes_with_an_answer_pending(stage: Stage) -> None:
    client, server = stage.talk()
    server.sendall(b"one more line\n")
    assert client.recv(1) == b"o"
    client.close()  # unread bytes: the kernel sends RST
    until_closed(server)


PAIR = "server s1 {0}\nserver s2 {1}"
QUEUE = "timeout queue 500ms\nserver s1 {0} maxconn 1"
LONG_QUEUE = "timeout queue 5s\nserver s1 {0} maxconn 1"
FIRST = Expect("--", size="5")
FIRST_OF_TWO = Expect("--", size="5", counters="2/2/1/0/0")


def left_waiting(state: str) -> Expect:
    """The second client never left the queue of the backend, while the first was being served."""
    return Expect(state, server="<NOSRV>", connected=False, counters="2/2/1/0/0", queues="0/1")


SCENARIOS = (
    Scenario("server_closes", close_by_server, (Expect("--", size="5"),)),
    Scenario("client_closes", close_by_client, (Expect("--", size="5"),)),
    Scenario("no_word", close_without_a_word, (Expect("--"),)),
    Scenario("server_closes_at_once", server_closes_at_once, (Expect("--"),)),
    Scenario("client_resets", reset_by_client, (Expect("CD", size="5"),)),
    Scenario("server_resets", reset_by_server, (Expect("SD", size="5"),)),
    Scenario("server_resets_at_once", server_resets_at_once, (Expect("SD"),)),
    Scenario("client_timeout", client_says_nothing_more, (Expect("cD", size="5"),), "timeout client 1s\nserver s1 {0}"),
    Scenario("server_timeout", server_says_nothing_more, (Expect("sD", size="5"),), "timeout server 1s\nserver s1 {0}"),
    Scenario("tunnel_timeout", wait_for_the_end, (Expect("cD", size="5"),), "timeout tunnel 1s\nserver s1 {0}"),
    Scenario(
        "client_fin_timeout",
        half_close_by_server_then_silence,
        (Expect("cD", size="5"),),
        "timeout client-fin 1s\nserver s1 {0}",
    ),
    Scenario(
        "server_fin_timeout",
        half_close_by_client_then_silence,
        (Expect("sD", size="5"),),
        "timeout server-fin 1s\nserver s1 {0}",
    ),
    Scenario(
        "client_half_closes_server_silent",
        half_close_by_client_then_silence,
        (Expect("sD", size="5"),),
        "timeout client 3s\ntimeout server 1s\nserver s1 {0}",
    ),
    Scenario(
        "server_half_closes_client_silent",
        half_close_by_server_then_silence,
        (Expect("cD", size="5"),),
        "timeout client 1s\ntimeout server 3s\nserver s1 {0}",
    ),
    Scenario(
        "tunnel_and_client_fin",
        half_close_by_server_then_silence,
        (Expect("cD", size="5"),),
        "timeout tunnel 4s\ntimeout client-fin 1s\nserver s1 {0}",
    ),
    Scenario("client_half_closes", half_close_by_client, (Expect("--", size="14"),)),
    Scenario("server_half_closes", half_close_by_server, (Expect("--", size="8"),)),
    Scenario(
        "refused",
        wait_for_the_end_alone,
        (Expect("SC", connected=False),),
        "retries 0\nserver s1 {0}",
        ("closed",),
    ),
    Scenario(
        "refused_with_retries",
        wait_for_the_end_alone,
        (Expect("SC", connected=False, counters="1/1/0/0/2"),),
        "retries 2\ntimeout connect 100ms\nserver s1 {0}",
        ("closed",),
    ),
    Scenario(
        "connect_timeout",
        wait_for_the_end_alone,
        (Expect("sC", connected=False),),
        "retries 0\ntimeout connect 500ms\nserver s1 {0}",
        ("full",),
    ),
    Scenario(
        "connect_timeout_with_retries",
        wait_for_the_end_alone,
        (Expect("sC", connected=False, counters="1/1/0/0/2"),),
        "retries 2\ntimeout connect 100ms\nserver s1 {0}",
        ("full",),
    ),
    Scenario(
        "redispatch",
        reach_second_server,
        (Expect("--", server="s2", counters="1/1/0/0/+1"),),
        "retries 1\noption redispatch\ntimeout connect 100ms\nbalance first\n" + PAIR,
        ("closed", "open"),
    ),
    Scenario(
        "redispatch_late",
        reach_second_server,
        (Expect("--", server="s2", counters="1/1/0/0/+1"),),
        "retries 3\noption redispatch\ntimeout connect 100ms\nbalance first\n" + PAIR,
        ("closed", "open"),
    ),
    Scenario(
        "no_server",
        wait_for_the_end_alone,
        (Expect("SC", server="<NOSRV>", waited=False, connected=False),),
        "server s1 {0} disabled",
    ),
    Scenario(
        "backup",
        reach_second_server,
        (Expect("--", server="s2"),),
        "server s1 {0} disabled\nserver s2 {1} backup",
        ("open", "open"),
    ),
    Scenario(
        "queue_timeout",
        second_waits_for_its_timeout,
        (left_waiting("sQ"), FIRST),
        QUEUE,
    ),
    Scenario(
        "leaves_queue",
        second_leaves_the_queue,
        (left_waiting("CQ"), FIRST),
        LONG_QUEUE + "\noption abortonclose",
    ),
    Scenario("leaves_queue_without_option", second_leaves_the_queue, (left_waiting("CQ"), FIRST), LONG_QUEUE),
    Scenario("resets_in_queue", second_resets_in_the_queue, (left_waiting("CD"), FIRST), LONG_QUEUE),
    Scenario(
        "sends_and_leaves_queue",
        second_sends_and_leaves_the_queue,
        (left_waiting("CQ"), FIRST),
        LONG_QUEUE + "\noption abortonclose",
    ),
    Scenario(
        "sends_in_queue_and_is_served",
        second_is_served_though_it_half_closed,
        (FIRST_OF_TWO, Expect("--", size="5", queues="0/1")),
        LONG_QUEUE,
    ),
    Scenario(
        "served_after_queue",
        second_is_served_after_the_first,
        (FIRST_OF_TWO, Expect("--", size="5", queues="0/1")),
        LONG_QUEUE,
    ),
    Scenario(
        "leaves_while_connecting",
        client_leaves_while_connecting,
        (Expect("CC", connected=False),),
        "retries 0\ntimeout connect 500ms\noption abortonclose\nserver s1 {0}",
        ("full",),
    ),
    Scenario(
        "leaves_while_connecting_without_option",
        client_leaves_while_connecting,
        (Expect("CC", connected=False),),
        "retries 0\ntimeout connect 500ms\nserver s1 {0}",
        ("full",),
    ),
    Scenario(
        "resets_while_connecting",
        client_resets_while_connecting,
        (Expect("CD", connected=False),),
        "retries 0\ntimeout connect 500ms\nserver s1 {0}",
        ("full",),
    ),
    Scenario(
        "sends_and_leaves_while_connecting",
        client_sends_and_leaves_while_connecting,
        (Expect("sC", connected=False),),
        "retries 0\ntimeout connect 500ms\nserver s1 {0}",
        ("full",),
    ),
    Scenario(
        "sends_and_leaves_while_connecting_with_option",
        client_sends_and_leaves_while_connecting,
        (Expect("CC", connected=False),),
        "retries 0\ntimeout connect 500ms\noption abortonclose\nserver s1 {0}",
        ("full",),
    ),
    Scenario(
        "logasap",
        log_comes_early,
        (Expect("--", early=True, size="+0", counters="1/1/1/1/0"),),
        "option logasap\nserver s1 {0}",
    ),
    Scenario("dontlognull", silence_then_a_word, (Expect("--", size="5"),), "option dontlognull\nserver s1 {0}"),
    Scenario("big_then_reset", big_answer_then_reset, (Expect("CD", size="*"),)),
    Scenario("big_to_the_end", big_answer_to_the_last_byte, (Expect("--", size="1000005"),)),
    Scenario(
        "client_does_not_read", client_does_not_read, (Expect("cD", size="*"),), "timeout client 1s\nserver s1 {0}"
    ),
    Scenario(
        "server_does_not_read", server_does_not_read, (Expect("sD", size="5"),), "timeout server 1s\nserver s1 {0}"
    ),
    Scenario("answer_pending", client_closes_with_an_answer_pending, (Expect("CD", size="19"),)),
    Scenario(
        "marked_down",
        marked_down,
        (Expect("D-", size="5"),),
        "server s1 {0} check port {1.port} inter 50ms fall 1 rise 1 on-marked-down shutdown-sessions",
        ("open", "open"),
    ),
)


@pytest.fixture(scope="module", params=BALANCERS)
def arena(request: pytest.FixtureRequest) -> Iterator[Arena]:
    with Arena(request.param, SCENARIOS) as running:
        yield running


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_ending(arena: Arena, scenario: Scenario) -> None:
    with arena.stage(scenario) as stage:
        scenario.play(stage)
        lines = stage.until_lines(len(scenario.expect))
    seen = [
        dataclasses.replace(line, size="*") if wanted.size == "*" else line
        for line, wanted in zip(lines, scenario.expect, strict=True)
    ]
    assert seen == [wanted.line(scenario.name) for wanted in scenario.expect]
