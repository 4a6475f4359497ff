"""Counters, rates and rows as the supervisor sees them, without workers: the test writes their cells."""

from __future__ import annotations

import asyncio
import time

import pytest

from compiling import compiled
from pasvport.control.doors import Doors
from pasvport.control.rates import Rates
from pasvport.control.report import Figures
from pasvport.control.roster import Roster
from pasvport.control.statistics import Selection, stat_rows
from pasvport.control.tally import Tally
from pasvport.exposition.stat import Kind
from pasvport.record import TIME_SAMPLES

TEXT = """
defaults
    mode {mode}
    timeout connect 1s
    timeout client 1s
    timeout server 1s
frontend fe
    bind 127.0.0.1:2121
    bind 127.0.0.1:3000-3009 name data
    option socket-stats
    default_backend be
backend be
    server s1 127.0.0.1:21 weight 10
    server s2 127.0.0.1:22 weight 4 backup
    server s3 127.0.0.1:23 weight 2 backup
"""
WORKERS = 2


class Stage:
    """A generation's figures, with a clock of the test's own."""

    def __init__(self, mode="tcp"):
        self.config = compiled(TEXT.format(mode=mode))
        self.now = 100.0
        self.tally = Tally(self.config, WORKERS)
        self.figures = Figures(self.tally)
        self.rates = Rates(self.tally, lambda: self.now)
        self.doors = Doors(self.config)
        self.roster = Roster(
            self.config,
            now=time.monotonic,
            on_change=lambda change: None,
            say=lambda proxy, level, text: None,
            counts=self.figures.crowd,
        )

    def set(self, block, name, value, worker=0):
        self.tally.column(worker)[block.slot(name)] = value

    @property
    def server(self):
        return self.tally.layout.server[1, 0]

    @property
    def frontend(self):
        return self.tally.layout.frontend[0]

    def row(self, kind, number=0):
        return next(row for row in stat_rows(self) if row.kind is kind and row.id == number).values


@pytest.fixture
def stage():
    made = Stage()
    yield made
    made.tally.close()


@pytest.fixture
def ftp():
    made = Stage("ftp")
    yield made
    made.tally.close()


# --- counters -----------------------------------------------------------------------------------------------------


def test_sums_and_maxima_over_workers(stage):
    for worker, value in enumerate((3, 5)):
        for name in ("stot", "smax", "lastsess"):
            stage.set(stage.server, name, value, worker)
    assert stage.tally.values(stage.server)["stot"] == stage.figures.server(1, 0, "stot") == 8
    assert stage.tally.values(stage.server)["smax"] == stage.figures.server(1, 0, "smax") == 5
    assert stage.figures.server(1, 0, "lastsess") == 5


def test_clearing_maxima_leaves_counters(stage):
    stage.set(stage.server, "stot", 3)
    stage.set(stage.server, "smax", 2)
    stage.tally.clear(everything=False)
    assert (stage.figures.server(1, 0, "stot"), stage.figures.server(1, 0, "smax")) == (3, 0)


def test_clearing_everything_counts_from_there_without_touching_workers(stage):
    stage.set(stage.server, "stot", 3)
    stage.set(stage.server, "scur", 1)
    stage.tally.clear(everything=True)
    assert (stage.figures.server(1, 0, "stot"), stage.figures.server(1, 0, "scur")) == (0, 1)
    assert stage.tally.column(0)[stage.server.slot("stot")] == 3
    stage.set(stage.server, "stot", 5)
    assert stage.figures.server(1, 0, "stot") == 2


def test_clearing_everything_keeps_the_totals_of_the_process(stage):
    stage.set(stage.tally.layout.process, "connections", 3)
    stage.tally.clear(everything=True)
    assert stage.tally.values(stage.tally.layout.process)["connections"] == 3


def test_counters_go_on_from_an_earlier_generation(stage):
    stage.tally.carry(stage.server, "stot", 100)
    stage.tally.carry(stage.server, "smax", 7)
    stage.set(stage.server, "stot", 1)
    assert (stage.figures.server(1, 0, "stot"), stage.figures.server(1, 0, "smax")) == (101, 7)


def test_averages_are_over_the_last_sessions_of_each_worker(stage):
    stage.set(stage.server, "stot", 10_000)
    stage.set(stage.server, "connect_time", 4 * TIME_SAMPLES)
    assert stage.row(Kind.SERVER, 1)["ctime"] == 4
    stage.set(stage.server, "stot", 1, worker=1)
    stage.set(stage.server, "connect_time", 5, worker=1)
    assert stage.row(Kind.SERVER, 1)["ctime"] == 5, "rounded up"
    assert stage.row(Kind.SERVER, 2)["ctime"] == 0


# --- rates --------------------------------------------------------------------------------------------------------


def test_a_rate_is_what_happened_in_the_last_second(stage):
    for step in range(1, 9):
        stage.now = 100 + step / 4
        stage.set(stage.frontend, "stot", step * 10)
        stage.rates.look()
    assert stage.rates.rate(stage.frontend, "stot") == 40
    stage.now += 0.5
    assert stage.rates.rate(stage.frontend, "stot") == 20
    stage.now += 5
    assert stage.rates.rate(stage.frontend, "stot") == 0
    assert stage.rates.largest(stage.frontend, "stot") == 40
    stage.rates.clear()
    assert stage.rates.largest(stage.frontend, "stot") == 0


def test_a_rate_is_right_between_two_looks(stage):
    stage.now += 0.1
    stage.set(stage.frontend, "conn_tot", 3)
    assert stage.rates.rate(stage.frontend, "conn_tot") == 3
    assert stage.row(Kind.FRONTEND)["conn_rate_max"] == 3


def test_looking_goes_on_by_itself_until_it_is_closed(stage):
    async def main():
        stage.rates.start()
        stage.set(stage.frontend, "stot", 5)
        async with asyncio.timeout(10):
            while stage.rates._largest[stage.rates._index[stage.frontend.slot("stot")]] < 5:
                await asyncio.sleep(0.01)
        stage.rates.close()
        stage.rates.close()

    asyncio.run(main())


# --- rows ---------------------------------------------------------------------------------------------------------


def test_a_range_is_one_listener(stage):
    assert stage.row(Kind.LISTENER, 2)["addr"] == "127.0.0.1:3000-3009"
    assert stage.row(Kind.LISTENER, 1)["svname"] == "sock-1"


def test_a_pool_of_data_ports_is_no_listener(ftp):
    assert [row.id for row in stat_rows(ftp) if row.kind is Kind.LISTENER] == [1]


def test_ftp_columns_are_filled_in_mode_ftp_only(ftp, stage):
    ftp.set(ftp.frontend, "ftp_login", 4)
    ftp.set(ftp.server, "ftp_xfer", 9, worker=1)
    assert ftp.row(Kind.FRONTEND)["ftp_login"] == 4
    assert ftp.row(Kind.SERVER, 1)["ftp_xfer"] == 9
    assert ftp.row(Kind.FRONTEND)["mode"] == "ftp"
    assert not any(name.startswith("ftp_") for row in stat_rows(stage) for name in row.values)


def test_a_backend_weighs_what_its_usable_servers_weigh(stage):
    assert (stage.row(Kind.BACKEND)["weight"], stage.row(Kind.BACKEND)["act"], stage.row(Kind.BACKEND)["bck"]) == (
        10,
        1,
        2,
    )
    stage.roster.set_admin(1, 0, "maint")
    assert stage.row(Kind.BACKEND)["weight"] == 4, "without allbackups the first backup alone serves"
    for number in (1, 2):
        stage.roster.set_admin(1, number, "maint")
    assert (stage.row(Kind.BACKEND)["weight"], stage.row(Kind.BACKEND)["status"]) == (0, "DOWN")


def test_selections(stage):
    def chosen(**words):
        return [(row.kind, row.id) for row in stat_rows(stage, Selection(**words))]

    assert chosen(proxy=3, kinds=1 << Kind.SERVER) == [(Kind.SERVER, 1), (Kind.SERVER, 2), (Kind.SERVER, 3)]
    assert chosen(kinds=1 << Kind.SERVER, id=2) == [(Kind.SERVER, 2)]
    assert chosen(scope=("nobody",)) == []
    stage.roster.set_admin(1, 0, "maint")
    assert (Kind.SERVER, 1) not in chosen(no_maintenance=True)


def test_last_session_is_told_in_seconds(stage):
    assert stage.row(Kind.SERVER, 1)["lastsess"] == -1
    stage.set(stage.server, "lastsess", int(time.time()) - 50)
    assert 50 <= stage.row(Kind.SERVER, 1)["lastsess"] <= 60
