"""pyftpdlib's own functional tests, with the balancer between their clients and their servers.

What passes directly passes through us, but for what EXCEPTIONS names and explains; what is named there and passes is a
failure too.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

import pytest

from farm.balancers import Pasvport
from farm.between import BETWEEN
from farm.ports import free_ports, free_range
from farm.processes import Child

TESTS = Path(__file__).parents[1]
CACHE = TESTS / ".cache"
MODULE = "tests/test_functional.py"
DEADLINE = 120

_WORDING = "the same refusal in other words, or another 5xx: it is ours, the server never heard the command"
_NO_PORT = "pyftpdlib takes a transfer command before PASV or PORT; we answer 425, as its data path is not known yet"
_HELD = "the client does not read while it waits for the reply; we answer when the transfer has ended (RFC 959 4.1.1)"
_LAST_WORDS = "the server hangs up without a word; our client is told 421 first"
_LATER = "we dial an active client when its transfer begins, pyftpdlib at PORT"
_OURS = "data ports are the balancer's: the server's own settings for them are not seen by clients"

EXCEPTIONS = {
    "TestFtpAuthentication::test_max_auth": _LAST_WORDS,
    "TestFtpAuthentication::test_rein_during_transfer": _HELD,
    "TestFtpAuthentication::test_user_during_transfer": _HELD,
    "TestFtpDummyCmds::test_mode": _WORDING,
    "TestFtpDummyCmds::test_stru": _WORDING,
    "TestFtpCmdsSemantic::test_arg_cmds": _WORDING,
    "TestFtpCmdsSemantic::test_auth_cmds": _WORDING,
    "TestFtpCmdsSemantic::test_no_arg_cmds": _WORDING,
    "TestFtpStoreData*::test_appe_rest": _NO_PORT,
    "TestFtpStoreData*::test_quit_during_transfer": _HELD,
    "TestFtpStoreData*::test_rest_on_stor": _NO_PORT,
    "TestFtpStoreData*::test_stou": _NO_PORT,
    "TestFtpStoreData*::test_stou_orphaned_file": _NO_PORT,
    "TestFtpStoreData*::test_stou_rest": _NO_PORT,
    "TestFtpRetrieveData*::test_restore_on_retr": _NO_PORT,
    "TestTimeouts::test_pasv_timeout": "the server's data connection is there at once; `timeout ftp-data` is ours",
    "TestConfigurableOptions::test_masquerade_address": _OURS,
    "TestConfigurableOptions::test_masquerade_address_map": _OURS,
    "TestConfigurableOptions::test_max_login_attempts": _LAST_WORDS,
    "TestConfigurableOptions::test_passive_ports": _OURS,
    "TestCallbacks::test_on_disconnect": "the server sees QUIT where the client only hung up: we end politely",
    "TestIPv4Environment::test_eprt": _WORDING,
    "TestIPv4Environment::test_eprt_v4": _WORDING,
    "TestIPv4Environment::test_port_v4": _WORDING,
    "TestIPv6Environment::test_eprt": _WORDING,
    "TestIPv6Environment::test_eprt_v6": _WORDING,
    "TestIPv6MixedEnvironment::test_eprt_v4": _LATER,
    "TestCornerCases::test_active_conn_error": _LATER,
    "TestCornerCases::test_port_race_condition": _LATER,
    "ThreadedFTPTests::test_permit_foreign_address_false": _OURS,
    "ThreadedFTPTests::test_permit_privileged_ports": _OURS,
    "ThreadedFTPTests::test_stou_max_tries": _NO_PORT,
}
UNCERTAIN = {
    "TestFtpAbort::test_abor_during_transfer": "on a fast machine the server has given us all ten megabytes before the "
    "client says ABOR: then its answers are 426 (from us, the client has not got them) and 225",
}
"""May pass or fail, by the moment at which things happen."""


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The installed version's source distribution, unpacked."""
    wanted = f"pyftpdlib-{version('pyftpdlib')}"
    archive = CACHE / f"{wanted}.tar.gz"
    if not archive.exists():
        CACHE.mkdir(exist_ok=True)
        words = ["download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest", str(CACHE)]
        done = subprocess.run(
            [sys.executable, "-m", "pip", *words, wanted.replace("-", "==")],
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        if done.returncode or not archive.exists():
            pytest.skip(f"no registry gives {archive.name}: {done.stderr.strip().splitlines()[-1:]}")
    folder = tmp_path_factory.mktemp("suite")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return folder / wanted


_V4, _V6 = socket.AF_INET, socket.AF_INET6
FAMILIES = {"127.0.0.1": (_V4, "127.0.0.1"), "::1": (_V6, "::1"), "::": (_V4, "127.0.0.1")}
"""Where a test wants its server -> where its clients connect to."""


@contextlib.contextmanager
def balancer() -> Iterator[dict[str, tuple[int, int]]]:
    """A running one, and (server's port, its own) for every address."""
    places = {}
    text = """\
global
    nbthread 1
defaults
    mode ftp
    option ftp-active
    timeout connect 2s
    timeout client 20s
    timeout server 20s
"""
    for number, (wanted, (family, host)) in enumerate(FAMILIES.items()):
        server, own = free_ports(2, host)
        places[wanted] = (server, own)
        shown = f"[{host}]" if family is _V6 else host
        low, high = free_range(200, (host,))
        text += f"""\
listen l{number}
    bind {shown}:{own}
    bind {shown}:{low}-{high}
    server s {shown}:{server}
"""
    with Pasvport(text, ("127.0.0.1", places["127.0.0.1"][1])):
        yield places


class Run(Child):
    """Their tests, all or some, directly or through us."""

    def __init__(self, suite: Path, log: Path, places: dict[str, tuple[int, int]] | None, names: Iterable[str] = ()):
        self._results = log.with_suffix(".xml")
        # Their tests count threads: a plugin of ours that starts one would fail every test of theirs.
        environment = {**os.environ, "PYTHONPATH": str(TESTS), "SILENT": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        if places is not None:
            environment[BETWEEN] = json.dumps(places)
        options = ["-q", "-c", os.devnull, "--rootdir", ".", "-p", "no:cacheprovider", "-p", "farm.between"]
        chosen = [f"{MODULE}::{name}" for name in names] or [MODULE]
        words = [sys.executable, "-m", "pytest", *options, "--tb=short", f"--junitxml={self._results}", *chosen]
        super().__init__(words, log, env=environment, cwd=suite)

    def outcomes(self) -> dict[str, bool]:
        """Class::test -> whether it passed; those that were skipped are left out."""
        self.process.wait(DEADLINE)
        cases = ElementTree.parse(self._results).getroot().iter("testcase")
        return {
            f"{case.attrib['classname'].rpartition('.')[2]}::{case.attrib['name']}": not len(case)
            for case in cases
            if case.find("skipped") is None
        }


def named(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


@pytest.mark.slow
def test_what_passes_directly_passes_through_us(suite: Path, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        places = stack.enter_context(balancer())
        direct = Run(suite, tmp_path / "direct.log", None)
        stack.callback(direct.stop)
        between = Run(suite, tmp_path / "between.log", places)
        stack.callback(between.stop)
        good = {name for name, passed in direct.outcomes().items() if passed}
        outcomes = between.outcomes()
        assert len(good) > 150, direct.output()
        bad = {name for name in good if not outcomes.get(name) and not named(name, UNCERTAIN)}
        surprises = sorted(name for name in bad if not named(name, EXCEPTIONS))
        if surprises:
            # Their patience is two seconds: on a busy machine once more decides.
            again = Run(suite, tmp_path / "again.log", places, surprises)
            stack.callback(again.stop)
            second = again.outcomes()
            surprises = [name for name in surprises if not second.get(name)]
            assert not surprises, again.output()
    passing = sorted(name for name in good - bad if named(name, EXCEPTIONS))
    assert not passing, "EXCEPTIONS names what passes"
    unknown = [pattern for pattern in (*EXCEPTIONS, *UNCERTAIN) if not any(fnmatch(name, pattern) for name in good)]
    assert not unknown, "EXCEPTIONS names what is not there"
