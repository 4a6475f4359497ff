"""What is not asked for is not even read: modules of the control plane, of the web pages, of the runtime API."""

import asyncio
import subprocess
import sys
from types import SimpleNamespace

from pasvport.control.on_demand import OnDemand

CONFIG = """
defaults
    timeout connect 5s
    timeout client 5s
    timeout server 5s
listen l
    bind 127.0.0.1:1
    server s 127.0.0.1:2
"""

SCRIPT = """
import sys
from pasvport import cli
status = cli.main(["-c", "-f", sys.argv[1]])
print(status, [name for name in ("asyncio", "aiohttp", "pasvport.control.supervisor") if name in sys.modules])
from pasvport.control import start
print([name for name in ("aiohttp", "pasvport.control.api.server", "pasvport.control.web") if name in sys.modules])
"""


def test_a_check_reads_no_module_of_the_supervisor_and_a_start_none_of_the_web(tmp_path):
    path = tmp_path / "page.cfg"
    path.write_text(CONFIG)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.splitlines()[-2:] == ["0 []", "[]"], done.stderr


class Told:
    """Stands for a service; what it was told, for all of its kind."""

    calls: list[str] = []  # noqa: RUF012 - shared on purpose

    def __init__(self, supervisor):
        self.calls.append("made")

    async def start(self):
        self.calls.append("start")

    async def reloaded(self):
        self.calls.append("reloaded")

    async def close(self):
        self.calls.append("close")


def test_a_service_begins_with_the_first_configuration_that_asks_and_stays():
    Told.calls.clear()
    supervisor = SimpleNamespace(wanted=False)
    service = OnDemand(supervisor, lambda asked: asked.wanted, __name__, "Told")

    async def live():
        await service.start()
        await service.reloaded()
        assert Told.calls == []
        supervisor.wanted = True
        await service.reloaded()
        supervisor.wanted = False
        await service.reloaded()
        await service.close()

    asyncio.run(live())
    assert Told.calls == ["made", "start", "reloaded", "close"]


def test_a_service_that_nobody_asked_for_closes_in_silence():
    Told.calls.clear()
    service = OnDemand(SimpleNamespace(), lambda asked: False, __name__, "Told")
    asyncio.run(service.start())
    asyncio.run(service.close())
    assert Told.calls == []
