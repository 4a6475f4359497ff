"""CSV, JSON and metrics have the shape of the real HAProxy's; compared with one that runs beside."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

import web_rig
from pasvport.control.web import metric_tables
from pasvport.exposition.stat import Kind
from real_haproxy import needs_haproxy
from web_rig import ask, rows

pytestmark = needs_haproxy


@pytest.fixture(scope="module")
def reference(tmp_path_factory, alive):
    with web_rig.haproxy(tmp_path_factory.mktemp("reference"), alive) as places:
        web_rig.until_state(places.open, "/stats", ("servers", "bad"), "DOWN")
        yield places


def samples(text):
    """Name to [(labels, value)]."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def types(text):
    return dict(line.split()[2:4] for line in text.splitlines() if line.startswith("# TYPE "))


def about(text, **labels):
    """Names and other labels of the samples that have these labels."""
    return {
        (name, tuple(sorted(set(each) - set(labels))))
        for name, values in samples(text).items()
        for each, _ in values
        if all(each.get(key) == value for key, value in labels.items())
    }


# --- CSV ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("page", "user"), [("/stats;csv", None), ("/;csv", "ops:se:cret")])
def test_columns_and_empty_cells(served, reference, page, user) -> None:
    port = "open" if user is None else "locked"
    ours, ours_found = rows(ask(getattr(served, port), page, user=user).text)
    theirs, theirs_found = rows(ask(getattr(reference, port), page, user=user).text)
    static = theirs[: theirs.index("-") + 1]
    assert ours[: len(static)] == static
    for key, row in theirs_found.items():
        if key[0] not in ("tcp_in", "servers"):
            continue
        assert key in ours_found
        filled = {name for name in static if row[name] != ""}
        assert {name for name in static if ours_found[key][name] != ""} == filled, key


@pytest.mark.parametrize("server", ["good", "bad", "idle", "out"])
def test_what_does_not_move_is_the_same(served, reference, server) -> None:
    ours = rows(ask(served.locked, "/;csv", user="ops:se:cret").text)[1]["servers", server]
    theirs = rows(ask(reference.locked, "/;csv", user="ops:se:cret").text)[1]["servers", server]
    fixed = (
        "status",
        "weight",
        "act",
        "bck",
        "type",
        "check_desc",
        "check_rise",
        "check_fall",
        "mode",
        "sid",
        "uweight",
    )
    assert [ours[name] for name in fixed] == [theirs[name] for name in fixed]


def test_every_line_ends_in_a_comma_and_has_all_columns(served) -> None:
    lines = ask(served.open, "/stats;csv").text.splitlines()
    assert len({line.count(",") for line in lines}) == 1
    assert all(line.endswith(",") for line in lines)


# --- metrics ------------------------------------------------------------------------------------------------------


def test_metrics_have_the_names_types_and_labels_of_the_exporter(served, reference) -> None:
    ours, theirs = ask(served.open, "/metrics").text, ask(reference.open, "/metrics").text
    for labels in (
        {"proxy": "tcp_in"},
        {"proxy": "servers"},
        {"proxy": "servers", "server": "good"},
        {"proxy": "servers", "server": "bad"},
        {"proxy": "servers", "server": "idle"},
        {"name": "servers"},
    ):
        assert about(ours, **labels) == about(theirs, **labels), labels
    # What follows "# TYPE" are the names as they are written; the parser adds what it misses in them.
    process = {name for name in types(theirs) if name.startswith("haproxy_process_")}
    compression = {name for name in process if "_http_comp" in name or "_zlib_" in name}
    assert {name for name in types(ours) if name.startswith("haproxy_process_")} == process - compression
    shared = types(ours).keys() & types(theirs).keys()
    # The name of this counter lacks what the text format asks of counters.
    odd = {"haproxy_process_failed_resolutions"}
    assert {name for name in shared if types(ours)[name] != types(theirs)[name]} == odd


def test_states_are_told_alike(served, reference) -> None:
    ours, theirs = samples(ask(served.open, "/metrics").text), samples(ask(reference.open, "/metrics").text)
    for name in (
        "haproxy_server_status",
        "haproxy_server_check_status",
        "haproxy_backend_status",
        "haproxy_backend_agg_server_status",
        "haproxy_backend_agg_server_check_status",
        "haproxy_backend_agg_check_status",
    ):

        def told(found, name=name):
            return {
                tuple(sorted(labels.items())): value for labels, value in found[name] if labels["proxy"] == "servers"
            }

        assert told(theirs), name
        assert told(ours) == told(theirs), name


@pytest.mark.parametrize("query", ["scope=global", "scope=server", "scope=frontend&scope=listener", "scope=backend"])
def test_scopes(served, reference, query) -> None:
    def groups(text):
        return {name.split("_")[1] for name in samples(text) if name.startswith("haproxy_")}

    ours, theirs = ask(served.open, f"/metrics?{query}"), ask(reference.open, f"/metrics?{query}")
    assert ours.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert groups(theirs.text)
    assert groups(ours.text) == groups(theirs.text)


@pytest.mark.parametrize("query", ["scope=", "scope=bogus", "scope=*", "scope=server&scope=bogus"])
def test_odd_scopes(served, reference, query) -> None:
    ours, theirs = ask(served.open, f"/metrics?{query}"), ask(reference.open, f"/metrics?{query}")
    assert ours.status == theirs.status
    assert bool(samples(ours.text) if ours.status == 200 else 0) == bool(
        samples(theirs.text) if theirs.status == 200 else 0
    )


def test_servers_in_maintenance_can_be_left_out(served, reference) -> None:
    for places in (served, reference):
        text = ask(places.open, "/metrics?no-maint&scope=server").text
        servers = {labels["server"] for labels, _ in samples(text)["haproxy_server_weight"]}
        assert "out" not in servers
        assert {"good", "bad", "idle"} <= servers


# --- our own ------------------------------------------------------------------------------------------------------


def test_metrics_of_ftp(served) -> None:
    found = samples(ask(served.open, "/metrics").text)
    for kind in (Kind.FRONTEND, Kind.BACKEND, Kind.SERVER):
        for shown in metric_tables.FTP_GROUPS[kind]:
            assert f"pasvport_ftp_{kind.name.lower()}_{shown.name}" in found
    assert found["pasvport_ftp_pool_ports"] == [({"proxy": "ftp_in"}, 10.0)]
    assert found["pasvport_ftp_pool_ports_in_use"] == [({"proxy": "ftp_in"}, 0.0)]
    assert found["pasvport_workers_alive"] == [({}, 2.0)]
    directions = {labels["direction"] for labels, _ in found["pasvport_ftp_frontend_bytes_total"]}
    assert directions == {"download", "upload"}


def test_every_metric_has_a_help_and_a_type(served) -> None:
    text = ask(served.open, "/metrics").text
    helped = {line.split()[2] for line in text.splitlines() if line.startswith("# HELP ")}
    assert set(types(text)) == helped
    assert set(samples(text)) == helped


def test_the_web_counts_itself(served) -> None:
    before = samples(ask(served.open, "/metrics").text)["pasvport_web_responses_total"]
    ask(served.open, "/nothing")
    after = {
        labels["code"]: value
        for labels, value in samples(ask(served.open, "/metrics").text)["pasvport_web_responses_total"]
    }
    missing = {labels["code"]: value for labels, value in before}.get("404", 0)
    assert after["404"] == missing + 1
