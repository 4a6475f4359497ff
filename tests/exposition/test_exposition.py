"""The forms of the statistics: CSV, typed, JSON, text; and the server-state format."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import astuple, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api_rig import states
from pasvport.exposition import info, server_state, stat
from pasvport.exposition.info import InfoStyle
from pasvport.exposition.info_fields import INFO_FIELDS
from pasvport.exposition.schema import schema
from pasvport.exposition.server_state import ServerLine
from pasvport.exposition.stat import Kind, Row
from pasvport.exposition.stat_fields import MODULE_FIELDS, SEPARATOR, STAT_FIELDS, STATIC_FIELDS

ROW = Row(Kind.SERVER, 3, 1, {"pxname": "be", "svname": "s1", "scur": 2, "last_chk": 'bad "thing", really', "stot": 7})
BACK = Row(Kind.BACKEND, 3, 0, {"pxname": "be", "svname": "BACKEND", "act": 2})


def test_static_fields_have_haproxys_numbers():
    """The last field before the separator is number 102 in HAProxy 2.6."""
    assert STATIC_FIELDS[-1].name == "agg_check_status"
    assert STATIC_FIELDS[-1].position == 102
    assert [field.position for field in STAT_FIELDS] == list(range(len(STAT_FIELDS)))


def test_names_are_unique():
    for table in (STAT_FIELDS, INFO_FIELDS):
        assert len({field.name for field in table}) == len(table)


def test_csv_reads_back():
    lines = "".join(stat.csv([ROW, BACK]))
    assert lines.startswith("# pxname,svname,")
    assert all(line.endswith(",") for line in lines.splitlines())
    first, second = csv.DictReader(io.StringIO(lines.removeprefix("# ")))
    assert first["last_chk"] == 'bad "thing", really'
    assert first["scur"] == "2"
    assert first["qcur"] == ""
    assert first[SEPARATOR] == "-"
    assert second["act"] == "2"


def test_typed_has_only_what_is_there():
    assert list(stat.typed([ROW]))[2:4] == ["S.3.1.4.scur.1:MGP:u32:2\n", "S.3.1.7.stot.1:MCP:u64:7\n"]
    assert list(stat.typed([BACK]))[2] == "B.3.0.19.act.1:MGP:u32:2\n"
    assert list(stat.typed([Row(Kind.SERVER, 3, 1, {"act": 1})])) == ["S.3.1.19.act.1:SGP:u32:1\n"]
    (described,) = stat.typed([Row(Kind.SERVER, 3, 1, {"act": 1})], desc=True)
    assert described.startswith('S.3.1.19.act.1:SGP:u32:1:"')


def test_modules_come_after_the_separator():
    header = next(iter(stat.csv([]))).strip()
    assert header.split(",-,")[1].split(",")[:-1] == [field.name for field in MODULE_FIELDS]


def test_json_says_what_typed_says():
    ((field, *_), _) = json.loads("".join(stat.as_json([ROW, BACK])))
    assert field == {
        "objType": "Server",
        "proxyId": 3,
        "id": 1,
        "field": {"pos": 0, "name": "pxname"},
        "processNum": 1,
        "tags": {"origin": "Key", "nature": "Name", "scope": "Service"},
        "value": {"type": "str", "value": "be"},
    }


def test_unsigned_fields_stay_in_range():
    assert list(stat.typed([Row(Kind.SERVER, 1, 1, {"scur": -1})])) == ["S.1.1.4.scur.1:MGP:u32:0\n"]
    assert list(stat.typed([Row(Kind.SERVER, 1, 1, {"lastsess": -1})])) == ["S.1.1.55.lastsess.1:MAP:s32:-1\n"]


VALUES = {"Name": "pasvport", "Uptime_sec": 61.25, "CurrConns": 4}


@pytest.mark.parametrize(
    ("style", "wanted"),
    [
        (InfoStyle(), "Name: pasvport\nUptime_sec: 61\nCurrConns: 4\n"),
        (InfoStyle(float=True), "Name: pasvport\nUptime_sec: 61.25\nCurrConns: 4\n"),
        (
            InfoStyle(typed=True),
            "0.Name.1:POS:str:pasvport\n8.Uptime_sec.1:MDP:u32:61\n17.CurrConns.1:MGP:u32:4\n",
        ),
    ],
)
def test_info(style, wanted):
    assert "".join(info.write(VALUES, style)) == wanted


def test_info_as_json():
    fields = json.loads("".join(info.write(VALUES, InfoStyle(json=True))))
    assert [field["value"]["value"] for field in fields] == ["pasvport", 61, 4]


@pytest.mark.parametrize(("seconds", "wanted"), [(3, "0d 0h00m03s"), (93784, "1d 2h03m04s")])
def test_uptime(seconds, wanted):
    assert info.uptime(seconds) == wanted


def test_schema_names_every_kind_of_value():
    kinds = {
        kind["properties"]["type"]["enum"][0] for kind in json.loads(schema())["definitions"]["typedValue"]["oneOf"]
    }
    assert {field.kind for field in (*STAT_FIELDS, *INFO_FIELDS)} <= kinds


LINE = ServerLine(3, "be", 1, "s1", "127.0.0.1", 2, 0, 10, 10, 3, 6, 3, 4, 6, port=2121)


def test_server_state_is_haproxys():
    text = server_state.write([LINE])
    assert text.splitlines()[0] == "1"
    assert text.splitlines()[2] == "3 be 1 s1 127.0.0.1 2 0 10 10 3 6 3 4 6 0 0 0 - 2121 - 0 0 - - 0"


NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_.:-]{0,12}", fullmatch=True)
LINES = st.builds(
    replace, st.just(LINE), backend=NAMES, server=NAMES, fqdn=st.just("") | NAMES, port=st.integers(0, 65535)
)


@given(st.lists(LINES, unique_by=lambda line: (line.backend, line.server)))
def test_server_state_says_every_value_of_every_server(rows):
    found = states(server_state.write(rows))
    assert [[*line.values()] for line in found.values()] == [
        [str(each) or "-" for each in astuple(row)] for row in rows
    ]
    assert [*found] == [(row.backend, row.server) for row in rows]
