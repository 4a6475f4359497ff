"""One answer from several workers: nothing twice, nothing lost, whoever dies or leaves meanwhile."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
from types import SimpleNamespace

import pytest

from api_sides import ask
from farm.ports import free_ports
from farm.waiting import until
from pasvport.control.api import commands_tables, ftp_words
from pasvport.control.questions import Questions
from pasvport.control.validation import Validator
from pasvport.model import Config, KeyType, Origin, Proxy, StickTable, StoredType
from pasvport.sight import FtpSessionSight, LeaseSight, TableSight, TransferSight
from pasvport.stick.show import Row
from pasvport.wire import Answered, encode_rows
from process_rig import DEFAULTS, Running, Upstream, is_cut, session, source_for, talk


def text(folder, port, upstream, table):
    return (
        f"global\n    nbthread 2\n    stats socket {folder}/api level admin\n{DEFAULTS}"
        f"frontend fe\n    bind 127.0.0.1:{port}\n    default_backend be\n"
        f"backend be\n    server s 127.0.0.1:{upstream}\n{table}"
    )


BY_SOURCE = "    stick-table type ip size 10 expire 1h store conn_cnt,conn_cur\n    stick on src\n"
BY_PORT = "    stick-table type integer size 10 expire 1h store conn_cnt,conn_cur\n    stick on dst_port\n"


@pytest.fixture
def upstream():
    with Upstream() as made:
        yield made


class Api:
    def __init__(self, folder, running):
        self.path = folder / "api"
        self.running = running

    def __call__(self, line):
        return ask(self.path, line)

    def entries(self):
        """(key, use, conn_cnt) of each line of the table."""
        shown = self("show table be")
        return re.findall(r"key=(\S+) use=(\d+) .*conn_cnt=(\d+)", shown)


def serve(tmp_path, upstream, table):
    port = free_ports(1)[0]
    running = Running(tmp_path, text(tmp_path, port, upstream.port, table))
    return port, running, Api(tmp_path, running)


def test_a_table_by_source_is_one_list(tmp_path, upstream):
    port, running, api = serve(tmp_path, upstream, BY_SOURCE)
    sources = sorted(source_for(worker) for worker in range(2))
    with running, session(port, upstream, sources[0]), session(port, upstream, sources[1]):
        assert api.entries() == [(sources[0], "1", "1"), (sources[1], "1", "1")]
        assert api("show table").startswith("# table: be, type: ip, size:10, used:2\n")
        assert api(f"clear table be key {sources[0]}") == "Entry currently in use, cannot remove\n\n"
        assert api("show table be data.conn_cnt gt 1") == "# table: be, type: ip, size:10, used:2\n\n"
        # What is set goes where the client of that address will come.
        for source in sources:
            assert api(f"set table be key {source} data.conn_cnt 7") == "\n"
        assert api.entries() == [(sources[0], "1", "7"), (sources[1], "1", "7")]


def test_a_shared_key_comes_out_once_with_the_sums(tmp_path, upstream):
    port, running, api = serve(tmp_path, upstream, BY_PORT)
    with running:
        with session(port, upstream, source_for(0)), session(port, upstream, source_for(1)):
            assert api.entries() == [(str(port), "2", "2")]
            assert "used:1" in api("show table")
            assert api("show table be data.conn_cnt eq 2").count(": key=") == 1
            assert api(f"show table be key {port}").count("conn_cnt=2") == 1
        until(lambda: api.entries() == [(str(port), "0", "2")], "the sessions to end")
        assert api("set table be key 5 data.conn_cnt 3") == "\n"
        assert api.entries() == [("5", "0", "3"), (str(port), "0", "2")]
        assert api("clear table be data.conn_cnt eq 2") == "\n"
        assert api.entries() == [("5", "0", "3")]
        assert api("clear table be key 5") == "\n"
        assert api.entries() == []


def test_sessions_of_all_workers_are_seen_and_killed(tmp_path, upstream):
    port, running, api = serve(tmp_path, upstream, "")
    with running, session(port, upstream, source_for(0)) as one, session(port, upstream, source_for(1)) as two:
        lines = [line for line in api("show sess").splitlines() if line]
        assert len(lines) == 2
        names = {line.partition(":")[0]: line for line in lines}
        assert len(names) == 2
        mine = next(name for name, line in names.items() if f"src={one[0].getsockname()[0]}:" in line)
        assert "worker=0 phase=established" in api(f"show sess {mine}")
        assert api(f"shutdown session {mine}") == "\n"
        assert is_cut(one[0])
        assert len(api("show sess").split()) > 1
        assert api("shutdown sessions backend nosuch") == "No such backend.\n\n"
        assert api("shutdown sessions backend be") == "\n"
        assert is_cut(two[0])


def test_a_worker_killed_while_it_answers_is_reported(tmp_path, upstream):
    port, running, api = serve(tmp_path, upstream, "")
    with running, session(port, upstream, source_for(0)), session(port, upstream, source_for(1)):
        stuck = running.workers()[0]
        os.kill(stuck, signal.SIGSTOP)
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(20)
            sock.connect(str(api.path))
            sock.sendall(b"show sess\n")
            # Whoever came later has been served: the workers have been asked, and one of them cannot answer.
            for _ in range(3):
                assert api("show version") != ""
            os.kill(stuck, signal.SIGKILL)
            data = b""
            while piece := sock.recv(65536):
                data += piece
        lines = data.decode().splitlines()
        assert sum("fe=fe be=be" in line for line in lines) == 1
        assert sum(bool(re.fullmatch(r"# worker \d did not answer, its part is missing", line)) for line in lines) == 1


def test_an_asker_that_goes_away_leaves_nothing_behind(tmp_path, upstream):
    port, running, api = serve(tmp_path, upstream, BY_SOURCE)
    with running, session(port, upstream) as (client, server):
        for _ in range(30):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(api.path))
                sock.sendall(b"show sess;show table be;show sess all\n")
        client.sendall(b"still here")
        assert server.recv(10) == b"still here"
        assert api("show sess").count("fe=fe") == 1


def test_sessions_that_finish_after_a_reload_are_listed_and_killed(tmp_path, upstream):
    port = free_ports(1)[0]
    with (
        Running(tmp_path, text(tmp_path, port, upstream.port, ""), "-W") as running,
        session(port, upstream) as (old, _),
    ):
        api = Api(tmp_path, running)
        name = api("show sess").partition(":")[0]
        before = set(running.workers())
        running.signal(signal.SIGUSR2)
        until(lambda: set(running.workers()) - before, "new workers")
        with session(port, upstream) as (new, server):
            until(lambda: api("show sess").count("fe=fe") == 2, "both sessions to be listed")
            assert name in api("show sess")
            # Both generations count from 1, and may have begun in one second.
            assert len({line.partition(":")[0] for line in api("show sess").splitlines() if "fe=fe" in line}) == 2
            assert api(f"show sess {name}").startswith(name)
            assert api(f"shutdown session {name}") == "\n"
            assert is_cut(old)
            until(lambda: name not in api("show sess"), "the former session to be gone")
            talk(new, server)


# --- a table larger than one part, with workers played by the test -----------------------------------------------


TABLE = StickTable(Origin("t", 1), "be", KeyType.IP, size=1 << 20, expire=1000, stores=(StoredType("conn_cnt"),))


class Played:
    """A worker that holds `keys`, each with conn_cnt 1, and answers at once."""

    def __init__(self, number, keys, *, shared):
        self.number = number
        self.keys = keys
        self.shared = shared
        self.parts = set()
        self.forgotten = []

    def send(self, message):
        asyncio.get_running_loop().call_soon(self.answer, message)

    def answer(self, message):
        if message.what in ("more", "cancel"):
            return
        rows = tuple(tuple(row) for row in getattr(self, message.what)(*message.arguments))
        self.questions.answered(self, Answered(message.number, encode_rows(rows), True))

    def tables(self):
        return [TableSight("be", len(self.keys), self.shared)]

    def entries(self, _name, _filters, part, parts):
        self.parts.add((part, parts))
        return [Row(key, 1, 0, 1000, 0, "", (1,)) for key in self.keys if key[-1] % parts == part]

    def forget(self, _name, keys):
        self.forgotten += keys
        return []


def played(held, *, shared):
    workers = [Played(number, keys, shared=shared) for number, keys in enumerate(held)]
    proxy = Proxy(Origin("t", 1), "be", 0, 1, True, True, stick_table=TABLE)
    questions = Questions(lambda: workers, Validator(Config(proxies=(proxy,))).rows)
    for worker in workers:
        worker.questions = questions
    proxy = SimpleNamespace(stick_table=TABLE, name="be")
    return workers, SimpleNamespace(questions=questions, config=SimpleNamespace(proxies=(proxy,)))


def request(generation, *arguments):
    client = SimpleNamespace(may=lambda level: True)
    return SimpleNamespace(generation=generation, client=client, arguments=arguments)


async def lines(answer):
    return "".join([piece async for piece in answer]).splitlines()


def test_a_large_table_is_read_in_parts(monkeypatch):
    monkeypatch.setattr(commands_tables, "_PART", 100)
    keys = [bytes((10, 0, n, m)) for n in range(5) for m in range(100)]
    workers, generation = played((keys[:250], keys[250:]), shared=False)
    shown = asyncio.run(lines(commands_tables.show(request(generation, "be"))))
    assert shown[0] == "# table: be, type: ip, size:1048576, used:500"
    assert sorted(line.split()[1] for line in shown[1:]) == sorted(
        f"key=10.0.{n}.{m}" for n in range(5) for m in range(100)
    )
    assert workers[0].parts == workers[1].parts == {(part, 6) for part in range(6)}


def test_a_shared_table_is_cleared_by_sums():
    keys = [bytes((10, 0, 0, n)) for n in range(3)]
    workers, generation = played((keys, keys[1:]), shared=True)
    wanted = request(generation, "be", "data.conn_cnt", "ge", "2")
    assert asyncio.run(lines(commands_tables.clear(wanted))) == []
    for worker in workers:
        assert worker.forgotten == keys[1:]


# --- FTP ----------------------------------------------------------------------------------------------------------

SESSION = FtpSessionSight(5, 1, "10.0.0.1:4000", b"a b\n", "fe", "be", "s1", "ready", 61.5, 1.0, 3, 2, 10, 20, b"RETR")
TRANSFER = TransferSight(
    5, 1, b"me", "10.0.0.1:4000", "fe", "be", "s1", "download", "RETR", b"/x\xff y", 7, -1, 100.25, "PASV", "EPSV", 5000
)
LEASE = LeaseSight("fe", 50001, "10.0.0.1/32", 2.5, 1, False)


def test_ftp_rows_are_words_and_json():
    sessions, transfers, leases = (ftp_words.LISTINGS[name] for name in ("sessions", "transfers", "leases"))
    head, row = ftp_words.heading(sessions).split()[1:], ftp_words.line(sessions, tuple(SESSION)).split()
    found = dict(zip(head, row, strict=True))
    assert found["id"] == "0x5"
    assert found["user"] == "a\\x20b\\n"
    assert found["age"] == "1m1s"
    assert ftp_words.line(leases, tuple(LEASE)) == "fe 50001 10.0.0.1/32 2s waiting 1"
    told = json.loads(ftp_words.piece(transfers, tuple(TRANSFER), 1 << 52, is_json=True, is_first=True))
    assert told["session"] == f"{5 + (1 << 52):#x}"
    assert told["path"] == "/x\ufffd y"
    assert (told["size"], told["started"], told["client_mode"]) == (7, 100.25, "PASV")


def test_show_ftp_of_a_balancer_without_ftp_is_empty(tmp_path, upstream):
    _, running, api = serve(tmp_path, upstream, "")
    with running:
        assert api("show ftp sessions").startswith("# id client user")
        assert json.loads(api("show ftp transfers json")) == []
        assert json.loads(api("show ftp leases json")) == []
        assert api("show ftp").startswith("'show ftp' expects")
