"""What a worker answers the supervisor, part by part, while its sessions go on."""

import socket
import time

import pytest

from engine_rig import DEADLINE, ORIGIN, Rig, config, server
from pasvport import sight
from pasvport.control.validation import ROWS
from pasvport.engine.queries import CREDIT, PART
from pasvport.model import Expression, Global, KeyType, StickAction, StickRule, StickTable, StoredType
from pasvport.sight import ActivitySight, SessionSight, TableSight
from pasvport.stick.show import Row
from pasvport.wire import Answered, Ask, ShareEntry, read_rows

STORES = (StoredType("server_id"), StoredType("conn_cur"), StoredType("gpc0"))


def table(size=1000, expire=60_000, stores=STORES, key_type=KeyType.IP, **more):
    return StickTable(ORIGIN, "be", key_type, size=size, expire=expire, stores=stores, **more)


RULES = tuple(StickRule(ORIGIN, action, Expression("src", "src"), "be") for action in StickAction)


class Upstream:
    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(DEADLINE)
        self.address = self.listener.getsockname()

    def accept(self):
        connection, _ = self.listener.accept()
        connection.settimeout(DEADLINE)
        return connection


@pytest.fixture
def upstream():
    made = Upstream()
    yield made
    made.listener.close()


def part(rig, number):
    """The next part of that answer."""
    while True:
        message = rig.expect(Answered)
        if message.number == number:
            return message


class Asker:
    """Asks, and reads a whole answer, giving credit as it goes."""

    def __init__(self, rig):
        self.rig = rig
        self.number = 0
        self.asked = {}

    def begin(self, what, *arguments):
        self.number += 1
        self.asked[self.number] = what
        self.rig.send(Ask(self.number, what, arguments))
        return self.number

    def rest(self, number):
        rows = []
        while True:
            answered = part(self.rig, number)
            assert not answered.error, answered.error
            rows += read_rows(answered.rows, ROWS[self.asked[number]])
            if answered.last:
                return rows
            self.rig.send(Ask(0, "more", (number,)))

    def ask(self, what, *arguments):
        return self.rest(self.begin(what, *arguments))


def fill(rig, count):
    for n in range(count):
        rig.send(ShareEntry("be", (0x0A000000 + n).to_bytes(4, "big"), 1))


def test_a_session_is_seen_with_its_addresses_bytes_and_pins(upstream):
    with Rig(config([server("s1", upstream.address)], stick_table=table(), stick_rules=RULES)) as rig:
        ask = Asker(rig).ask
        with rig.connect() as client, upstream.accept() as behind:
            client.sendall(b"hello")
            assert behind.recv(5) == b"hello"
            behind.sendall(b"220 welcome")
            assert client.recv(11) == b"220 welcome"
            (seen,) = (SessionSight(*row) for row in ask("sessions"))
            assert (seen.client_host, seen.client_port) == client.getsockname()
            assert (seen.frontend, seen.backend, seen.server, seen.phase) == ("fe", "be", "s1", "established")
            assert (seen.bytes_in, seen.bytes_out) == (5, 11)
            assert seen.entries == (("be", "127.0.0.1"),)
            assert seen.local_address == seen.server_address == ""
            (detailed,) = (SessionSight(*row) for row in ask("session", seen.identity))
            assert detailed.local_address == f"127.0.0.1:{rig.address[1]}"
            assert detailed.source_address == "{}:{}".format(*behind.getpeername())
            assert detailed.server_address == "{}:{}".format(*upstream.address)
            assert seen.identity == sight.session_id(0, seen.number)
            assert ask("session", seen.identity + 1) == []
            assert len(ask("sessions detailed")) == 1
        rig.wait_for(lambda: not rig.total("process", "cur"))
        assert ask("sessions") == []


def test_a_half_closed_session_says_so(upstream):
    with Rig(config([server("s1", upstream.address)])) as rig, rig.connect() as client, upstream.accept() as behind:
        behind.sendall(b"220")
        assert client.recv(3) == b"220"
        client.shutdown(socket.SHUT_WR)
        assert behind.recv(1) == b""
        (seen,) = (SessionSight(*row) for row in Asker(rig).ask("sessions"))
        upload, download = sight.FlowSight(*seen.upload), sight.FlowSight(*seen.download)
        assert (upload.ended, upload.shut, download.ended) == (True, True, False)


def test_killing_one_session_leaves_the_others(upstream):
    with Rig(config([server("s1", upstream.address), server("s2", upstream.address, 2)])) as rig:
        ask = Asker(rig).ask
        with rig.connect() as one, upstream.accept(), rig.connect() as two, upstream.accept():
            by_port = {SessionSight(*row).client_port: SessionSight(*row) for row in ask("sessions")}
            victim = by_port[one.getsockname()[1]]
            assert ask("kill", victim.identity) == [(victim.identity,)]
            with pytest.raises(ConnectionResetError):
                one.recv(1)
            assert " K- " in rig.log()
            assert ask("kill", victim.identity) == []
            survivor = by_port[two.getsockname()[1]]
            index = {"s1": 0, "s2": 1}[survivor.server]
            assert ask("kill of server", 1, 1 - index) == [(0,)]
            assert ask("kill of server", 1, index) == [(1,)]
            with pytest.raises(ConnectionResetError):
                two.recv(1)


def test_a_whole_backend_is_killed(upstream):
    servers = [server("s1", upstream.address), server("s2", upstream.address, 2)]
    with Rig(config(servers)) as rig, rig.connect() as one, upstream.accept(), rig.connect() as two, upstream.accept():
        assert Asker(rig).ask("kill of server", 1, -1) == [(2,)]
        for client in (one, two):
            with pytest.raises(ConnectionResetError):
                client.recv(1)


def test_entries_by_key_and_content():
    with Rig(config([server("s1", ("127.0.0.1", 9))], stick_table=table())) as rig:
        ask = Asker(rig).ask
        fill(rig, 3)
        assert ask("tables") == [tuple(TableSight("be", 3, False))]
        rows = [Row(*row) for row in ask("entries", "be", (), 0, 1)]
        assert [row.key for row in rows] == [bytes((10, 0, 0, n)) for n in range(3)]
        assert all((row.server_id, row.users, row.values) == (1, 0, (0, 0)) for row in rows)
        assert all(0 < row.left <= 60_000 for row in rows)
        assert len(ask("entry", "be", rows[1].key)) == 1
        assert ask("entry", "be", bytes(4)) == []
        assert ask("set", "be", rows[1].key, (("gpc0", 7), ("server_id", 2))) == [(True,)]
        (found,) = (Row(*row) for row in ask("entries", "be", (("gpc0", "ge", 7), ("server_id", "eq", 2)), 0, 1))
        assert found.key == rows[1].key
        assert ask("entries", "be", (("gpc0", "gt", 7),), 0, 1) == []
        assert ask("clear", "be", (("gpc0", "lt", 7),)) == [(2,)]
        assert ask("forget", "be", (rows[1].key, b"none")) == []
        assert ask("tables") == [tuple(TableSight("be", 0, False))]


def test_all_parts_of_a_table_are_the_table():
    with Rig(config([server("s1", ("127.0.0.1", 9))], stick_table=table())) as rig:
        fill(rig, 100)
        ask = Asker(rig).ask
        parts = [ask("entries", "be", (), n, 4) for n in range(4)]
        assert all(parts)
        assert len({row[0] for rows in parts for row in rows}) == sum(map(len, parts)) == 100


def test_a_full_table_takes_no_more():
    with Rig(config([server("s1", ("127.0.0.1", 9))], stick_table=table(size=1, nopurge=True))) as rig:
        ask = Asker(rig).ask
        assert ask("set", "be", bytes(4), ()) == [(True,)]
        assert ask("set", "be", bytes((1, 1, 1, 1)), ()) == [(False,)]
        assert ask("tables") == [tuple(TableSight("be", 1, False))]


def test_an_entry_in_use_is_not_forgotten(upstream):
    with Rig(config([server("s1", upstream.address)], stick_table=table(), stick_rules=RULES)) as rig:
        ask = Asker(rig).ask
        key = bytes((127, 0, 0, 1))
        with rig.connect(), upstream.accept():
            assert ask("forget", "be", (key,)) == [(key,)]
            assert ask("clear", "be", ()) == [(0,)]
        rig.wait_for(lambda: not rig.total("process", "cur"))
        assert ask("forget", "be", (key,)) == []
        assert ask("entry", "be", key) == []


def test_what_nobody_knows_is_refused():
    with Rig(config([server("s1", ("127.0.0.1", 9))])) as rig:
        rig.send(Ask(1, "nonsense"))
        answered = rig.expect(Answered)
        assert answered == Answered(1, b"", True, "no question is called 'nonsense'")
        rig.send(Ask(2, "entries"))
        answered = rig.expect(Answered)
        assert answered.last
        assert "internal error" in answered.error
        assert Asker(rig).ask("entries", "be", (), 0, 1) == []


def test_no_more_is_sent_than_was_granted():
    with Rig(config([server("s1", ("127.0.0.1", 9))], stick_table=table(size=10_000))) as rig:
        asker = Asker(rig)
        fill(rig, PART * 40)
        number = asker.begin("entries", "be", (), 0, 1)
        first = [part(rig, number) for _ in range(CREDIT)]
        assert not first[-1].last
        # An answer to a later question overtakes the one that has no credit left.
        assert asker.ask("tables") == [tuple(TableSight("be", PART * 40, False))]
        assert not rig.messages
        rig.send(Ask(0, "more", (number,)))
        rest = asker.rest(number)
        assert sum(len(read_rows(each.rows, Row)) for each in first) + len(rest) == PART * 40


def test_a_cancelled_question_is_over():
    with Rig(config([server("s1", ("127.0.0.1", 9))], stick_table=table(size=10_000))) as rig:
        asker = Asker(rig)
        fill(rig, PART * 40)
        number = asker.begin("entries", "be", (), 0, 1)
        for _ in range(CREDIT):
            part(rig, number)
        rig.send(Ask(0, "cancel", (number,)))
        rig.send(Ask(0, "more", (number,)))
        asker.ask("tables")
        assert not rig.messages


def test_only_so_many_questions_at_once():
    with Rig(config([server("s1", ("127.0.0.1", 9))], stick_table=table(size=10_000))) as rig:
        asker = Asker(rig)
        fill(rig, PART * 40)
        numbers = [asker.begin("entries", "be", (), 0, 1) for _ in range(65)]
        refused = part(rig, numbers[-1])
        assert refused.error == "too many questions at once"


def test_a_dump_of_a_hundred_thousand_entries_does_not_hold_the_loop(upstream):
    """Sessions come and go within the dump, and no turn of the loop is longer than a handful of milliseconds."""
    big = table(size=200_000, expire=3_600_000)
    with Rig(config([server("s1", upstream.address)], stick_table=big, stick_rules=RULES)) as rig:
        asker = Asker(rig)
        fill(rig, 100_000)
        number = asker.begin("entries", "be", (), 0, 1)
        rows, sessions, is_last = 0, 0, False
        while not is_last:
            answered = part(rig, number)
            rows, is_last = rows + len(read_rows(answered.rows, Row)), answered.last
            rig.send(Ask(0, "more", (number,)))
            if sessions < 20:
                with rig.connect() as client, upstream.accept() as behind:
                    client.sendall(b"x")
                    assert behind.recv(1) == b"x"
                sessions += 1
        assert rows >= 100_000
        assert sessions == 20
        after = ActivitySight(*asker.ask("activity")[0])
        # Each part had a turn of its own: nothing came between a session and its next event but one of them.
        assert after.deferred >= 100_000 // PART
        assert after.turns >= after.deferred


def test_activity_is_counted():
    with Rig(config([server("s1", ("127.0.0.1", 9))], settings=Global())) as rig:
        asker = Asker(rig)
        first = ActivitySight(*asker.ask("activity")[0])
        second = ActivitySight(*asker.ask("activity")[0])
        assert second.turns > first.turns
        assert second.events > first.events
        assert second.busy_us >= first.busy_us >= 0
        assert second.questions == first.questions + 1
        assert first.process_id == rig.process.pid
        assert abs(second.epoch - time.time()) < DEADLINE
        assert first.descriptors > 3
