"""`option ftp-check` of a running pasvport: the configuration's words, the log's, the features that workers hear."""

from __future__ import annotations

from farm.ports import free_ports
from farm.raw_client import RawClient
from farm.waiting import until
from health_world import peer
from probing import HANG_UP, MiniFtp
from process_rig import DEFAULTS, Running


def text(port, words, *upstreams, mode="tcp", data=""):
    defaults = DEFAULTS.replace("mode tcp", f"mode {mode}")
    servers = "".join(
        f"    server s{number} 127.0.0.1:{upstream} check inter 5s fall 1\n"
        for number, upstream in enumerate(upstreams)
    )
    return (
        f"global\n    nbthread 1\n    max-spread-checks 1\n{defaults}"
        f"frontend fe\n    bind 127.0.0.1:{port}\n{data}    default_backend be\n"
        f"backend be\n    option ftp-check {words}\n    option log-health-checks\n{servers}"
    )


def test_it_logs_in_lists_and_sees_a_password_change(tmp_path):
    ftp = MiniFtp()
    with peer(ftp) as served:
        port, *_ = free_ports(1)
        words = 'user probe password "${PROBE}" passive'
        with Running(tmp_path, text(port, words, served.port), PROBE="plough") as running:
            running.wait_for(r"be/s0 succeeded, reason: Layer7 check passed, code: 226, info: \"\(ftp-check\)\"")
            assert b"|".join(ftp.lines[:7]) == b"USER probe|PASS plough|FEAT|TYPE A|PASV|LIST|QUIT"
        ftp._answers["PASS"] = b"530 plough is no more.\r\n"
        with Running(tmp_path, text(port, words, served.port), name="two", PROBE="plough") as running:
            running.wait_for(r'code: 530, info: "ftp-check: refused at step 3 \(PASS\): 530 \*\*\* is no more\."')
            running.wait_for(r"be/s0 is DOWN")
            assert "plough" not in running.messages()


def test_list_alone_falls_back_to_epsv(tmp_path):
    ftp = MiniFtp(PASV=b"502 no\r\n")
    with peer(ftp) as served:
        port, *_ = free_ports(1)
        with Running(tmp_path, text(port, "user probe password x list /pub", served.port)) as running:
            running.wait_for(r"be/s0 succeeded, reason: Layer7 check passed, code: 226")
    assert ftp.lines[4:7] == [b"PASV", b"EPSV", b"LIST /pub"]


def test_a_greeting_that_never_comes(tmp_path):
    with peer(MiniFtp(BANNER=HANG_UP)) as served:
        port, *_ = free_ports(1)
        with Running(tmp_path, text(port, "", served.port)) as running:
            running.wait_for(r'Layer7 invalid response, info: "ftp-check: connection closed at step 1 \(banner\)"')


def test_workers_hear_what_all_servers_can_do(tmp_path):
    rich = MiniFtp(FEAT=b"211-x\r\n MDTM\r\n SIZE\r\n XFOO\r\n211 End\r\n")
    poor = MiniFtp(FEAT=b"211-x\r\n SIZE\r\n211 End\r\n")
    with peer(rich) as one, peer(poor) as other:
        port, low = free_ports(2)
        data = f"    bind 127.0.0.1:{low} data\n"
        told = text(port, "user probe password x", one.port, other.port, mode="ftp", data=data)
        with Running(tmp_path, told) as running:
            running.wait_for(r"be/s0 succeeded, reason: Layer7 check passed, code: 211")
            running.wait_for(r"be/s1 succeeded, reason: Layer7 check passed, code: 211")
            for _ in (rich, poor):
                with RawClient(("127.0.0.1", port)) as client:
                    client.log_in("somebody", "x")
                    until(lambda client=client: features(client) == {b"EPSV", b"PASV", b"SIZE"}, "what both can do")


def features(client):
    return {line.strip() for line in client.ask("FEAT", 211).lines[1:-1]}
