"""What the runtime API says, read: info, CSV, JSON, sessions; and what changed between two looks."""

import io
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pasvport.terminal import figures, screen
from pasvport.terminal.connection import judged
from pasvport.terminal.figures import Change, Look
from pasvport.terminal.prompt import commands, completer

NAMES = "pxname,svname,scur,slim,stot,qcur,bin,bout,status,lastchg,type,econ,eresp,check_status,weight"
STAT = f"""\
# {NAMES},ftp_down,ftp_up,ftp_xfer_cur,
fe,FRONTEND,3,10,5,,{{bin}},100,OPEN,,0,,,,,,,,
be,s1,2,,5,0,{{bin}},50,UP,61,2,1,2,L4OK,1,{{down}},0,1,
be,s2,1,,5,0,0,50,DOWN,7200,2,0,0,L4CON,1,0,0,0,
be,BACKEND,3,,5,0,0,50,UP,61,1,,,,,,,,
"""
SESSION = {
    "id": "0x1",
    "client": "10.0.0.1:4000",
    "user": "an[n]a\u001b[31m",
    "backend": "be",
    "server": "s1",
    "phase": "ready",
    "age": 61.5,
    "idle": 0.5,
    "commands": 4,
    "last_command": "RETR",
    "transfers": 1,
}


def transfer(size, **more):
    row = {"session": "0x1", "started": 5.0, "path": "/a/file", "verb": "RETR", "size": size, "expected": 4000}
    return {
        **row,
        "user": "anna",
        "client": "10.0.0.1",
        "backend": "be",
        "server": "s1",
        "direction": "download",
        **more,
    }


def answers(**changed):
    said = {
        "show info": "Name: pasvport\nVersion: 1\nCurrConns: 3\nMaxconn: 10\nSessRate: 2\nIdle_pct: 90\nnode: here\n",
        "show stat": STAT.format(bin=1000, down=0),
        "show ftp sessions json": json.dumps([SESSION]),
        "show ftp transfers json": json.dumps([transfer(1000)]),
        "show ftp leases json": "[]",
        "show ftp pools json": json.dumps([{"frontend": "fe", "size": 10, "used": 4, "failed": 1}]),
    }
    return {**said, **changed}


def looked(moment=0.0, **changed):
    return figures.look(answers(**changed).__getitem__, moment)


def drawn(change, **options):
    console = Console(file=io.StringIO(), width=options.get("width", 120), force_terminal=False)
    console.print(screen.picture(change, screen.View(**options)))
    return console.file.getvalue()


def two_looks():
    then = looked()
    later = answers(
        **{
            "show stat": STAT.format(bin=5000, down=20_000),
            "show ftp transfers json": json.dumps([transfer(3000), transfer(500, path="/new")]),
        }
    )
    return Change(then, figures.look(later.__getitem__, 2.0))


def test_everything_is_read():
    seen = looked()
    assert seen.speaks_ftp
    assert seen.number("CurrConns") == 3
    assert [row["svname"] for row in seen.servers()] == ["s1", "s2"]
    assert [row["pxname"] for row in seen.frontends()] == ["fe"]
    assert seen.ftp["sessions"][0]["user"] == SESSION["user"]


def test_a_balancer_without_ftp_is_watched_too():
    unknown = "Unknown command, but maybe one of the following ones is a better match:\n  show info\n"
    said = {f"show ftp {what} json": unknown for what in ("sessions", "transfers", "leases", "pools")}
    said["show sess"] = (
        "0x55: proto=tcpv4 src=10.0.0.1:5 fe=fe be=be srv=s1 ts=00 age=3s calls=2 rq[f=8h,i=0]\n"
        "0x66: proto=unix_stream src=unix:1 fe=GLOBAL be=<NONE> srv=<none>\n"
    )
    seen = figures.look(answers(**said).__getitem__, 0.0, sessions=10)
    assert not seen.speaks_ftp
    assert [(row["id"], row["src"], row["srv"]) for row in seen.sessions] == [("0x55", "10.0.0.1:5", "s1")]
    picture = drawn(Change(None, seen))
    assert "10.0.0.1:5" in picture
    assert "Transfers" not in picture


def test_rates_are_per_second_and_never_negative():
    change = two_looks()
    row = change.now.servers()[0]
    assert change.server_rate(row, "bin") == 2000
    assert change.server_rate(row, "ftp_down") == 10_000
    assert change.total_rate("bin") == 2000
    moved, new = change.now.ftp["transfers"]
    assert (change.transfer_rate(moved), change.transfer_rate(new)) == (1000, 250)
    # One that did not move for a second only takes its bytes in lumps; one that did not for long stands still.
    info = {"Start_time_sec": "1", "Uptime_sec": "14"}
    still = replace(change.now, info=info, moment=change.now.moment + 1)
    assert Change(change.now, still).transfer_rate(moved) == 300
    assert Change(change.now, replace(still, moment=change.now.moment + 10)).transfer_rate(moved) == 0
    backwards = Change(change.now, Look(3.0, {}, looked().stat))
    assert backwards.total_rate("bin") == 0
    assert Change(None, change.now).total_rate("bin") == 0


def test_the_picture_has_servers_transfers_sessions_and_ports():
    picture = drawn(two_looks())
    for text in ("be/s1", "UP", "DOWN", "/a/file", "75%", "anna", "ports  in use", "FTP sessions (1)", "1.0k", "2.0k"):
        assert text in picture
    # Nothing of a peer's reaches the terminal raw, and nothing is taken for markup.
    assert "an[n]a\ufffd[31m" in picture


def test_servers_are_sorted_as_wished():
    change = two_looks()
    for sort, first in (("configuration", "s1"), ("sessions", "s1"), ("traffic", "s1"), ("name", "s1")):
        picture = drawn(change, sort=sort)
        assert min(picture.index("be/s1 "), picture.index("be/s2 ")) == picture.index(f"be/{first} ")
    reverse = Change(None, Look(0.0, {}, [{**row, "scur": str(n)} for n, row in enumerate(looked().stat)]))
    picture = drawn(reverse, sort="sessions")
    assert picture.index("be/s2 ") < picture.index("be/s1 ")


def test_a_narrow_terminal_loses_columns_not_servers():
    picture = drawn(two_looks(), width=60)
    assert "check" not in picture
    assert "be/s2" in picture
    assert max(map(len, picture.splitlines())) <= 60


@pytest.mark.parametrize("width", [60, 72, 80, 90, 100, 120, 132, 200])
@pytest.mark.parametrize("ipv6", [True, False])
def test_every_number_is_whole_at_any_width(width, ipv6):
    client = "2001:db8:1234:5678:9abc:def0:1234:5678" if ipv6 else "10.0.0.1"
    long = {"user": "partner-with-a-long-name", "client": client, "path": "/pub/" + "long/" * 20 + "name.iso"}
    change = two_looks()
    ftp = {
        **change.now.ftp,
        "transfers": [{**transfer(123_456_789, expected=10**9), **long, "server": "ftp-server1"}],
        "sessions": [{**SESSION, **long, "doing": "connecting", "commands": 12345, "transfers": 6789}],
        "pools": [{"frontend": "fe", "size": 60000, "used": 59999, "failed": 77777, "awaited": 12}],
    }
    servers = [{**row, "scur": "12345", "slim": "20000", "status": "DOWN 1/2"} for row in change.now.stat]
    picture = drawn(Change(change.before, replace(change.now, ftp=ftp, stat=servers)), width=width)
    lines = picture.splitlines()
    assert max(map(len, lines)) <= width
    for whole in (
        "12345/20000",
        "59999",
        "60000",
        "77777",
        "123M",
        "12%",
        "sessions",
        "bytes/s",
        "out/s",
        "connecting",
    ):
        assert whole in picture, whole
    headings = [line for line in lines if line.startswith(("server ", "user ", "frontend "))]
    assert len(headings) == 4
    assert not [line for line in headings if "…" in line]


@pytest.mark.parametrize("height", [24, 40])
def test_everything_is_on_a_screen_of_24_lines(height):
    many = [{**looked().stat[1], "svname": f"s{number}"} for number in range(50)]
    change = two_looks()
    now = replace(change.now, stat=many, ftp={**change.now.ftp, "sessions": [SESSION] * 50})
    view = screen.View.for_screen(now, 80, height, "name")
    picture = drawn(Change(None, now), width=80, rows=view.rows, servers=view.servers)
    assert len(picture.splitlines()) <= height
    assert f"Servers ({view.servers} of 50)" in picture
    assert "FTP sessions (50)" in picture


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.0k"),
        (1500, "1.5k"),
        (23_456_789, "23M"),
        (999_600, "1.0M"),
        (1e30, "1000000000000000P"),
    ],
)
def test_numbers_are_scaled(value, text):
    assert figures.scaled(value) == text


@given(st.text())
def test_nothing_the_balancer_says_breaks_the_reading(text):
    figures.read_info(text)
    figures.read_rows(text)
    figures.read_sessions(text)
    figures.read_stat(text.replace("\x00", ""))


def test_completion_knows_what_help_lists():
    known = commands(
        "The following commands are valid at this level:\n"
        "  show sess [id]                          : report\n"
        "  show stat                               : report\n"
        "  set server <bk>/<srv> [opts]            : change\n"
    )
    assert known == ["set server", "show sess", "show stat"]
    complete = completer(known)
    assert [complete("sh", n) for n in range(2)] == ["show ", None]
    assert [complete("show s", n) for n in range(3)] == ["show sess ", "show stat ", None]
    assert complete("nothing", 0) is None


def test_an_answer_cannot_steer_the_terminal():
    assert judged("a\tb\n\x1b]0;OWNED\x07 \x9bm caf\xe9 \u202e") == "a\tb\n<1B>]0;OWNED<07> <9B>m caf\xe9 <202E>"


def test_a_reload_that_failed_is_an_error():
    assert judged("Success=0\n--\nconfig : no\n").is_error
    assert not judged("Success=1\n").is_error
