"""A worker knows no secret that it does not need: neither its environment nor its memory has one."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from api_rig import ask
from farm.ports import free_ports
from pasvport.control.needed import needed, needed_server
from pasvport.model import Agent, Check, CheckStep, Config, FtpCheck, Global, ObserveMode, Origin, Proxy, Server, Stats
from pasvport.model.checks import StepKind
from process_rig import DEFAULTS, Running, Upstream

ORIGIN = Origin("t", 1)
CONFIGURATION = """
global
    nbthread 2
    stats socket {folder}/api level admin
    setenv LATER set-w0rd
{defaults}
frontend pages
    mode http
    bind 127.0.0.1:{web}
    stats enable
    stats auth ops:page-w0rd
    stats auth "other:${{FARM}}"
listen ftp
    mode ftp
    bind 127.0.0.1:{ftp}
    bind 127.0.0.1:{data} data
    option ftp-check user probe password check-w0rd
    server s 127.0.0.1:{upstream} check inter 60s
frontend fe
    bind 127.0.0.1:{port}
    default_backend be
backend be
    option tcp-check
    tcp-check send "PASS script-w0rd\\r\\n"
    tcp-check expect rstring pattern-w0rd
    default-server inter 60s agent-inter 60s agent-port {upstream} agent-send agent-w0rd
    server s 127.0.0.1:{upstream} check agent-check
"""
SECRETS = [each.encode() for each in re.findall(r"[a-z]+-w0rd", CONFIGURATION)]


def memory(pid: int) -> bytes:
    """All that the process can read of itself."""
    found = []
    with Path(f"/proc/{pid}/mem").open("rb", 0) as mem:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, mode, _, _, inode, *name = line.split()
            if mode[0] != "r" or (inode != "0" and mode[1] != "w") or (name and name[0].startswith("[v")):
                continue
            start, end = (int(each, 16) for each in span.split("-"))
            try:
                mem.seek(start)
                found.append(mem.read(end - start))
            except OSError:
                continue
    return b"".join(found)


@pytest.mark.skipif(os.geteuid() != 0, reason="reads the memory of other processes")
def test_the_memory_and_the_environment_of_workers(tmp_path: Path) -> None:
    port, web, ftp, data = free_ports(4)
    with Upstream() as upstream:
        text = CONFIGURATION.format(
            folder=tmp_path, defaults=DEFAULTS, port=port, web=web, ftp=ftp, data=data, upstream=upstream.port
        )
        foreign = {"FARM": "env-w0rd", "AWS_SECRET_ACCESS_KEY": "aws-w0rd", "HOME": "/nobodys", "NOTIFY_SOCKET": ""}
        secrets = [*SECRETS, b"env-w0rd", b"aws-w0rd"]
        with Running(tmp_path, text, **foreign) as balancer:
            assert "Success=1" in ask(tmp_path / "api", "reload")
            assert "IP changed" in ask(tmp_path / "api", "set server be/s addr 127.0.0.2")
            assert all(secret in memory(balancer.pid) for secret in secrets), "not a test of anything"
            for pid in balancer.workers():
                environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
                names = {each.partition(b"=")[0] for each in environment} - {b""}
                assert not [name for name in names if not re.match(rb"PYTHON|LC_|LANG|PATH$|TZ|LD_|MALLOC_", name)]
                seen = memory(pid)
                assert b"pasvport.engine" in seen
                assert not [secret for secret in secrets if secret in seen]


def test_what_is_left_of_a_configuration() -> None:
    server = Server(
        ORIGIN,
        "s",
        1,
        None,  # type: ignore[arg-type]
        None,  # type: ignore[arg-type]
        check=Check(enabled=True, observe=ObserveMode.LAYER4, port=7),
        agent=Agent(enabled=True, send=b"agent-w0rd"),
    )
    proxy = Proxy(
        ORIGIN,
        "be",
        0,
        1,
        True,
        True,
        servers=(server,),
        stats=Stats(users=(("ops", "page-w0rd"),)),
        ftp_check=FtpCheck("u", "check-w0rd"),
        check_steps=(CheckStep(ORIGIN, StepKind.SEND, data=b"script-w0rd"),),
        check_command="/bin/x external-w0rd",
        check_path="/path-w0rd",
    )
    left = needed(Config(Global(environment=(("X", "env-w0rd"),)), (proxy,), ("file-w0rd",)))
    assert "w0rd" not in str(left)
    assert left.proxies[0].servers[0].check.observe is ObserveMode.LAYER4
    assert "w0rd" not in str(needed_server(server))
