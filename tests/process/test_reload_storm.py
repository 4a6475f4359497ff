"""Reloads and takeovers under FTP sessions: none is refused, none is cut, no byte is another file's.

The storm is as long as it is heavy: a hundred reloads where the machine does them in the time, all of them, however
long it takes, with PASVPORT_STORM=1.
"""

import os
import signal
import time
from pathlib import Path

from api_rig import ask, rows
from farm.ports import free_ports, free_range
from farm.processes import Child
from farm.waiting import until
from ftp_storm_rig import FtpStorm
from process_rig import Running
from real_haproxy import HAPROXY
from reload_rig import HOSTS, FtpLoad, configuration

RELOADS, FEWEST = 100, 8
SECONDS, FTP_SECONDS = 20.0, 12.0


def memfds(pid):
    """How many shared mappings and event descriptors a process has open."""
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.append(str(Path(f"/proc/{pid}/fd/{name}").readlink()))
        except OSError:
            continue
    return sum("memfd" in name or "eventfd" in name for name in found)


def reload_done(balancer, number):
    """Wait until the reload of that number is over, and its former workers are nearly so."""

    def done():
        balancer.check_alive()
        return balancer.log.read_text().count("Loading success") > number

    until(done, f"reload {number}")


def test_a_storm_of_reloads(tmp_path):
    control = free_ports(1)[0]
    low, high = free_range(6, HOSTS)
    text = configuration(control, low, high)
    with FtpLoad(control, range(low, high + 1)) as load, Running(tmp_path, text, "-W") as balancer:
        load.begin()
        until(lambda: load.transfers > 5, "transfers")
        before = balancer.descriptors(), memfds(balancer.pid)
        end = time.monotonic() + SECONDS
        for number in range(1, RELOADS + 1):
            balancer.signal(signal.SIGUSR2)
            reload_done(balancer, number)
            if number >= FEWEST and time.monotonic() > end and "PASVPORT_STORM" not in os.environ:
                break
        load.stop()
        assert load.faults == []
        assert load.sessions > number
        until(lambda: len(balancer.workers()) == 2, "the former workers to leave")
        until(lambda: (balancer.descriptors(), memfds(balancer.pid)) == before, "descriptors to be given back")


FTP = """
global
    nbthread 2
defaults
    mode ftp
    timeout client 60s
    timeout server 60s
    timeout connect 5s
frontend ftp_fe
    bind 127.0.0.1:{control} name ftp-control
    bind 127.0.0.1:{low}-{high} name ftp-data
    default_backend ftp_servers
backend ftp_servers
    balance leastconn
    server ftp-server1 127.0.0.1:{servers[0]}
    server ftp-server2 127.0.0.1:{servers[1]}
"""


def test_a_storm_of_reloads_in_mode_ftp(tmp_path):
    """Logins, thoughts and transfers both ways: nobody is told to go, however long he is silent."""
    control = free_ports(1)[0]
    low, high = free_range(30, HOSTS)
    with FtpStorm(control) as storm:
        text = FTP.format(control=control, low=low, high=high, servers=storm.ports)
        with Running(tmp_path, text, "-W") as balancer:
            before = balancer.descriptors(), memfds(balancer.pid)
            storm.begin()
            until(lambda: storm.transfers > 5, "transfers")
            end = time.monotonic() + FTP_SECONDS
            for number in range(1, RELOADS + 1):
                balancer.signal(signal.SIGUSR2)
                reload_done(balancer, number)
                if number >= FEWEST and time.monotonic() > end and "PASVPORT_STORM" not in os.environ:
                    break
            storm.stop()
            assert not storm.faults, "\n".join(storm.faults)
            assert not storm.cut
            assert storm.sessions > FEWEST
            until(lambda: len(balancer.workers()) == 2, "the former workers to leave")
            until(lambda: (balancer.descriptors(), memfds(balancer.pid)) == before, "descriptors to be given back")


def test_servers_come_and_go_under_sessions_in_mode_ftp(tmp_path):
    """A server is added, gets its share, is drained and deleted, again and again: nobody else notices."""
    control = free_ports(1)[0]
    low, high = free_range(30, HOSTS)
    api = tmp_path / "api"
    with FtpStorm(control) as storm:
        text = FTP.format(control=control, low=low, high=high, servers=storm.ports)
        text = text.replace("nbthread 2", f"nbthread 2\n    stats socket {api} level admin")
        with Running(tmp_path, text) as balancer:
            before = balancer.descriptors(), memfds(balancer.pid)
            storm.begin()
            until(lambda: storm.transfers > 5, "transfers")
            for _ in range(2):
                added = ask(api, f"add server ftp_servers/extra 127.0.0.1:{storm.ports[1]} weight 20")
                assert added.strip() == "New server registered."
                ask(api, "enable server ftp_servers/extra")
                served = rows(ask(api, "show stat"))["ftp_servers", "extra"]["stot"]
                assert served == "0"
                until(lambda: share(api) > 1, "the new server's share")
                ask(api, "disable server ftp_servers/extra")
                until(lambda: ask(api, "del server ftp_servers/extra").strip() == "Server deleted.", "the server to go")
            storm.stop()
            assert not storm.faults, "\n".join(storm.faults)
            until(lambda: len(balancer.workers()) == 2, "the former workers to leave")
            until(lambda: (balancer.descriptors(), memfds(balancer.pid)) == before, "descriptors to be given back")


def share(api):
    return int(rows(ask(api, "show stat"))["ftp_servers", "extra"]["stot"])


def test_workers_come_and_go_with_the_text(tmp_path):
    """More workers, fewer, a range behind one socket, a bind more and a bind less: under load, and nobody notices."""
    control, extra = free_ports(2)
    low, high = free_range(6, HOSTS)
    text = configuration(control, low, high)
    more = configuration(control, low, high, binds=f"    bind 127.0.0.1:{extra}\n")
    texts = [
        text.replace("nbthread 2", "nbthread 3"),
        more.replace("nbthread 2", "nbthread 1"),
        text.replace("nbthread 2", "nbthread 2\n    tune.port-range sk_lookup"),
        more.replace("timeout client 60s", "timeout client 50s\n    option clitcpka"),
        text.replace("nbthread 2", "nbthread 4"),
        text,
    ]
    with FtpLoad(control, range(low, high + 1)) as load, Running(tmp_path, text, "-W") as balancer:
        load.begin()
        for number, changed in enumerate(texts, 1):
            reached = load.transfers + 20
            until(lambda reached=reached: load.transfers >= reached or load.faults, "transfers")
            balancer.file.write_text(changed)
            balancer.signal(signal.SIGUSR2)
            reload_done(balancer, number)
        load.stop()
        assert load.faults == []


def test_takeovers_from_and_to_a_real_haproxy(tmp_path):
    """HAProxy, pasvport, pasvport, HAProxy, pasvport, each from the one before: under load, and nobody notices."""
    control = free_ports(1)[0]
    low, high = free_range(6, HOSTS)
    running = []
    with FtpLoad(control, range(low, high + 1), stay=30) as load:
        try:
            for number, is_ours in enumerate([False, True, True, False, True]):
                api = tmp_path / f"{number}.sock"
                settings = f"    stats socket {api} level admin expose-fd listeners\n"
                # What is stored in one process is not known to the next: a hash is the same in all of them.
                text = configuration(control, low, high, settings=settings, backend="    balance source\n")
                before = running[-1:]
                flags = ["-x", str(tmp_path / f"{number - 1}.sock"), "-sf", str(before[0].pid)] if before else []
                running.append(start(tmp_path, number, text, flags, is_ours=is_ours))
                load.begin()
                if before:
                    until(lambda old=before[0]: old.process.poll() is not None, "the one before to leave")
                reached = load.transfers + 40
                until(lambda reached=reached: load.transfers >= reached or load.faults, "transfers")
            load.stop()
            assert load.faults == []
        finally:
            for each in running:
                each.stop()


def start(folder, number, text, flags, *, is_ours):
    if is_ours:
        return Running(folder, text, *flags, name=str(number))
    file = folder / f"{number}.cfg"
    file.write_text(text)
    child = Child([str(HAPROXY), "-db", "-f", str(file), *flags], folder / f"{number}.log")
    until((folder / f"{number}.sock").exists, "HAProxy's stats socket")
    return child
