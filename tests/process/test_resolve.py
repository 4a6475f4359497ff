"""Host names become addresses before the start, or HAProxy's complaints."""

import threading
from dataclasses import replace

from pasvport.address import Endpoint, Family
from pasvport.config.compiler import load
from pasvport.config.diagnostics import Diagnostics, Severity
from pasvport.config.world import World
from pasvport.control.resolve import look_up, look_up_all, resolve

KNOWN = {
    ("ftp.example", None): "192.0.2.1",
    ("six.example", Family.IPV6): "2001:db8::1",
    ("log.example", None): "192.0.2.9",
}
TIMEOUTS = "    timeout client 1s\n    timeout connect 1s\n    timeout server 1s\n"


def every(names):
    return {name: KNOWN[name] for name in names if name in KNOWN}


def compiled(body):
    outcome = load([("t.cfg", body)], World())
    assert outcome.config is not None, [entry.text for entry in outcome.diagnostics.found]
    return outcome.config


def listen(*lines):
    return f"listen l\n{TIMEOUTS}    bind 127.0.0.1:2121\n" + "".join(f"    {line}\n" for line in lines)


def resolved(body, **options):
    diagnostics = Diagnostics()
    config = resolve(compiled(body), diagnostics, every=every, **options)
    return config, [
        (entry.severity, entry.form.format(origin=entry.origin, text=entry.text)) for entry in diagnostics.found
    ]


def test_an_advertised_name_becomes_the_address_that_pasv_tells():
    body = (
        f"listen l\n mode ftp\n{TIMEOUTS} bind :21 advertise four.example\n"
        " bind :5000-5010 advertise 192.0.2.7 for 10.0.0.0/8 advertise ftp.example\n server s 127.0.0.1:21\n"
    )
    names = []

    def four(asked):
        names.extend(asked)
        return {("four.example", Family.IPV4): "192.0.2.4"}

    config = compiled(body)
    diagnostics = Diagnostics()
    first, second = resolve(config, diagnostics, every=four).proxies[0].binds
    assert set(names) == {("four.example", Family.IPV4), ("ftp.example", Family.IPV4)}
    assert [item.host for item in first.advertise] == ["192.0.2.4"]
    assert second.advertise[0] == config.proxies[0].binds[1].advertise[0]
    assert [entry.text for entry in diagnostics.found] == [
        "'advertise' : invalid address: 'ftp.example' in 'ftp.example:0'"
    ]


def test_a_configuration_of_literals_is_not_touched():
    config = compiled(listen("server s 127.0.0.1:21"))
    assert resolve(config, Diagnostics(), every=lambda names: 1 / 0) is config


def test_every_place_of_a_name_is_found():
    body = "global\n    log log.example local0\n" + listen(
        "log log.example local0",
        "source ftp.example",
        "server a ftp.example:21 check addr ftp.example agent-check agent-addr ftp.example agent-port 1",
        "server b ipv6@six.example:21 source ftp.example",
    )
    config, said = resolved(body)
    assert said == []
    proxy = config.proxies[0]
    assert config.settings.log_targets[0].endpoint == Endpoint(Family.IPV4, "192.0.2.9", 514)
    assert proxy.logging.targets[0].endpoint == Endpoint(Family.IPV4, "192.0.2.9", 514)
    first, second = proxy.servers
    assert first.endpoint == Endpoint(Family.IPV4, "192.0.2.1", 21)
    assert first.check.endpoint.host == first.agent.endpoint.host == "192.0.2.1"
    assert second.endpoint == Endpoint(Family.IPV6, "2001:db8::1", 21)
    assert proxy.source.endpoint.host == second.source.endpoint.host == "192.0.2.1"


def test_a_server_without_address_is_an_error_with_its_line():
    _, said = resolved(listen("server s nowhere.example:21", "server t 127.0.0.1:21"))
    assert said == [
        (Severity.ALERT, "config : [t.cfg:6] : 'server l/s' : could not resolve address 'nowhere.example'."),
        (Severity.ALERT, "config : Failed to initialize server(s) addr."),
    ]


def test_failures_that_are_ignored_disable_the_server():
    config, said = resolved(listen("server s nowhere.example:21", "server t 127.0.0.1:21"), ignore_failures=True)
    text = "config : [t.cfg:6] : 'server l/s' : could not resolve address 'nowhere.example', disabling server."
    assert said == [(Severity.WARNING, text)]
    assert [server.disabled for server in config.proxies[0].servers] == [True, False]


def test_init_addr_is_obeyed_in_order():
    config, said = resolved(
        listen(
            "server a nowhere.example:21 init-addr libc,192.0.2.7",
            "server b ftp.example:21 init-addr 192.0.2.8,libc",
            "server c nowhere.example:21 init-addr libc,none",
        )
    )
    assert said == []
    first, second, third = config.proxies[0].servers
    assert (first.endpoint.host, first.disabled) == ("192.0.2.7", False)
    assert (second.endpoint.host, second.endpoint.port) == ("192.0.2.8", 21)
    assert third.disabled


def test_other_places_complain_as_the_parser_would_have():
    _, said = resolved(listen("source nowhere.example", "server s 127.0.0.1:21"))
    assert [severity for severity, _ in said] == [Severity.ALERT]
    assert said[0][1].startswith("config : parsing [t.cfg:1] : 'source' : invalid address: 'nowhere.example' in ")


def test_the_system_resolver_is_asked():
    assert look_up(("localhost", Family.IPV4)) == "127.0.0.1"
    assert look_up(("no.such.host.invalid", None)) is None
    assert look_up(("x" * 300, None)) is None


def test_names_are_looked_up_together_and_a_slow_one_holds_nobody_up():
    free = threading.Event()

    def one(name):
        if name[0] == "slow":
            free.wait(20)
            return None
        return "192.0.2.1"

    found = look_up_all({("slow", None), ("fast", None)}, one=one, patience=0.1)
    free.set()
    assert found == {("fast", None): "192.0.2.1"}


def test_settings_are_kept(tmp_path):
    config = compiled("global\n    log log.example local0\n    maxconn 7\n" + listen("server s 127.0.0.1:21"))
    done = resolve(config, Diagnostics(), every=every)
    assert replace(done.settings, log_targets=()) == replace(config.settings, log_targets=())
