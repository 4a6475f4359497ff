"""`pasvport ctl` and `pasvport top` with a running pasvport (and HAProxy), by pipe and on a terminal."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from farm.balancers import Haproxy
from farm.ports import free_ports
from farm.waiting import until
from pasvport.command_line import read_files
from pasvport.terminal import place
from pasvport.terminal.connection import ApiError, Conversation, ask
from process_rig import COMMAND, DEADLINE, Running, Upstream, configuration, session
from real_haproxy import needs_haproxy


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """(the running balancer, its socket, its port, its upstream)."""
    folder = tmp_path_factory.mktemp("served")
    port = free_ports(1)[0]
    with Upstream() as upstream:
        settings = f"    stats socket {folder}/user level user\n    stats socket {folder}/api level admin\n"
        with Running(folder, configuration(port, upstream.port, settings=settings)) as running:
            yield running, str(folder / "api"), port, upstream


def command(*words, stdin="", **environment):
    return subprocess.run(
        [*COMMAND, *words],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        env={**os.environ, **environment},
    )


def test_an_answer_is_shown_and_nothing_else(served):
    _, api, _, _ = served
    done = command("ctl", "-s", api, "show", "backend")
    assert (done.returncode, done.stdout, done.stderr) == (0, "# name\nbe\n", "")
    assert command("ctl", "-s", api, "show backend;show table").stdout == "# name\nbe\n"


def test_the_socket_is_found_in_the_configuration_the_strongest_first(served):
    running, api, _, _ = served
    done = command("ctl", "-f", str(running.file), "show cli level")
    assert (done.returncode, done.stdout.strip()) == (0, "admin")
    assert command("ctl", "-s", api.replace("api", "user"), "show cli level").stdout.strip() == "user"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("shutdown", "session", "0x1"), "No such session"),
        (("nonsense",), "Unknown command"),
        (("show", "table", "nosuch"), "No such table"),
    ],
)
def test_a_refusal_has_status_one_and_goes_to_stderr(served, words, said):
    done = command("ctl", "-s", served[1], *words)
    assert done.returncode == 1
    assert not done.stdout
    assert said in done.stderr
    assert "[3]:" not in done.stderr


def test_a_balancer_that_is_not_there_has_status_two(tmp_path):
    done = command("ctl", "-s", str(tmp_path / "nothing"), "show info")
    assert (done.returncode, done.stdout) == (2, "")
    assert "No such file" in done.stderr
    assert command("ctl", "show info").returncode == 2
    assert command("top", "-s", str(tmp_path / "nothing"), "--once").returncode == 2
    broken = tmp_path / "broken.cfg"
    broken.write_text("global\n    nonsense\n")
    done = command("ctl", "-f", str(broken), "show info")
    assert done.returncode == 2
    assert "has errors" in done.stderr
    without = tmp_path / "without.cfg"
    without.write_text("global\n    nbthread 1\n")
    assert "no 'stats socket'" in command("ctl", "-f", str(without), "show info").stderr


def test_what_else_is_wrong_with_a_configuration_does_not_matter(served, tmp_path):
    running, _, _, _ = served
    broken = tmp_path / "broken.cfg"
    broken.write_text(running.file.read_text() + '\nbackend more\n    nonsense\n    server s "${ADDRESS}"\n')
    done = command("ctl", "-f", str(broken), "show", "backend")
    assert (done.returncode, done.stdout) == (0, "# name\nbe\n")


@pytest.mark.parametrize("words", [("ctl", "show info"), ("top", "--once")])
@pytest.mark.parametrize("where", ['"${NOWHERE}"', '"${NOWHERE}/api"'])
def test_a_variable_that_is_not_set_is_named(tmp_path, words, where):
    text = tmp_path / "u.cfg"
    text.write_text(f"global\n    nbthread 1\n    stats socket {where} level admin\n")
    done = command(words[0], "-f", str(text), *words[1:])
    assert done.returncode == 2
    assert f"{text}:3" in done.stderr
    assert "variable 'NOWHERE' is not set" in done.stderr


def test_the_packaged_configuration_is_looked_at_last(served, monkeypatch):
    running, api, _, _ = served
    monkeypatch.setattr(place, "DEFAULT_FILE", str(running.file))
    assert place.find([], [], read_files) == f"unix@{api}"
    assert place.find(["/x"], [], read_files) == "/x"
    monkeypatch.setattr(place, "DEFAULT_FILE", "/nonexistent/pasvport.cfg")
    with pytest.raises(ApiError, match=r"there is no /nonexistent/pasvport\.cfg: name the runtime API"):
        place.find([], [], read_files)


def test_a_pipe_gives_one_command_a_line(served):
    done = command("ctl", "-s", served[1], stdin="show backend\n\nnonsense\nshow cli level\n")
    assert done.returncode == 1
    assert done.stdout == "# name\nbe\nadmin\n"
    assert done.stderr.startswith("Unknown command")


def test_a_silent_balancer_is_not_waited_for():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
        with pytest.raises(ApiError, match="no answer in time"):
            ask(f"{host}:{port}", "show info", patience=0.1)


def test_a_prompt_outlives_a_closed_connection():
    """`stats timeout` closes a connection on which nobody talks; the next command opens another."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        served_by = []

        def serve():
            for number in range(2):
                connection, _ = listener.accept()
                with connection:
                    for _ in range(3):
                        served_by.append((number, connection.recv(1000)))
                        connection.sendall(b"answer\n\n> ")

        thread = threading.Thread(target=serve)
        thread.start()
        host, port = listener.getsockname()
        conversation = Conversation(f"ipv4@{host}:{port}", DEADLINE)
        assert conversation.ask("one") == "answer\n"
        until(lambda: select.select([conversation._socket], [], [], 0)[0], "the connection to be closed")
        assert conversation.ask("two") == "answer\n"
        conversation.close()
        thread.join(DEADLINE)
    opening = [b"prompt\n", b"set severity-output number\n"]
    assert [line for _, line in served_by] == [*opening, b"one\n", *opening, b"two\n"]


class Terminal:
    """A command on a terminal of its own: keys in, what it wrote out."""

    def __init__(self, *words, columns=110, lines=40, **environment):
        self.pid, self.master = pty.fork()
        if not self.pid:
            size = {"COLUMNS": str(columns), "LINES": str(lines), "TERM": "xterm"}
            os.execvpe(sys.executable, [*COMMAND, *words], {**os.environ, **size, **environment})
        self.seen = ""

    def press(self, keys):
        os.write(self.master, keys.encode())

    def wait_for(self, pattern):
        deadline = time.monotonic() + DEADLINE
        while not re.search(pattern, self.seen):
            assert time.monotonic() < deadline, f"{pattern!r} not in {self.seen!r}"
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self.master, 65536).decode(errors="replace")
                except OSError:
                    break
        assert re.search(pattern, self.seen), f"{pattern!r} not in {self.seen!r}"

    def status(self):
        found = []

        def ended():
            # A terminal that nobody reads would hold its writer up.
            if select.select([self.master], [], [], 0)[0]:
                with contextlib.suppress(OSError):
                    self.seen += os.read(self.master, 65536).decode(errors="replace")
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            found.append(status)
            return pid

        until(ended, "the command to end", DEADLINE)
        return os.waitstatus_to_exitcode(found[-1])

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        os.close(self.master)
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)


def test_the_prompt_answers_completes_and_remembers(served, tmp_path):
    with Terminal("ctl", "-s", served[1], XDG_STATE_HOME=str(tmp_path)) as terminal:
        terminal.wait_for("pasvport> ")
        terminal.press("show cli level\n")
        terminal.wait_for("\nadmin\r?\n")
        terminal.press("user\n")
        terminal.press("show cli level\n")
        terminal.wait_for("\nuser\r?\n")
        terminal.press("show bac\t\n")
        terminal.wait_for(r"# name\r?\nbe\r?\n")
        terminal.press("nonsense\n")
        terminal.wait_for("Unknown command")
        terminal.press("quit\n")
        assert terminal.status() == 1
    history = (tmp_path / "pasvport" / "ctl-history").read_text()
    assert "show cli level\n" in history


def test_top_once_shows_what_is(served):
    _, api, port, upstream = served
    with session(port, upstream) as (client, _):
        done = command("top", "-s", api, "--once", "-i", "0.1", COLUMNS="110")
        assert done.returncode == 0
        assert re.search(r"be/s +no check +1 +1 ", done.stdout)
        assert f"127.0.0.1:{client.getsockname()[1]}" in done.stdout
        assert "sessions 1/" in done.stdout


def test_top_without_a_terminal_prints_one_picture_and_leaves(served):
    """`pasvport top | head` and `pasvport top > file` stood for ever and wrote nothing."""
    _, api, *_ = served
    done = command("top", "-s", api, "-i", "0.1")
    assert done.returncode == 0
    assert "sessions 0/" in done.stdout


def test_top_on_a_terminal_follows_and_obeys_keys(served):
    _, api, port, upstream = served
    with Terminal("top", "-s", api, "-i", "0.1") as terminal:
        terminal.wait_for(r"by configuration")
        terminal.press("s")
        terminal.wait_for(r"by sessions")
        with session(port, upstream) as (client, _):
            terminal.wait_for(f"127.0.0.1:{client.getsockname()[1]}")
        terminal.press("q")
        assert terminal.status() == 0


def test_top_waits_for_a_balancer_that_went_away(tmp_path):
    port = free_ports(1)[0]
    with Upstream() as upstream:
        text = configuration(port, upstream.port, settings=f"    stats socket {tmp_path}/api level admin\n")
        with Running(tmp_path, text) as running, Terminal("top", "-s", f"{tmp_path}/api", "-i", "0.1") as terminal:
            terminal.wait_for("by configuration")
            running.stop()
            terminal.wait_for("trying again")
            terminal.seen = ""
            with Running(tmp_path, text, name="two"):
                terminal.wait_for("be/s")
                terminal.press("q")
                assert terminal.status() == 0


@needs_haproxy
def test_haproxys_socket_is_understood(tmp_path):
    port = free_ports(1)[0]
    with Upstream() as upstream:
        text = configuration(port, upstream.port, settings=f"    stats socket {tmp_path}/api level admin\n")
        with Haproxy(text, ("127.0.0.1", port)):
            api = f"unix@{tmp_path}/api"
            done = command("top", "-s", api, "--once", "-i", "0.1", COLUMNS="110")
            assert done.returncode == 0
            assert "HAProxy 2.6" in done.stdout
            assert "be/s" in done.stdout
            assert command("ctl", "-s", api, "show table nosuch").returncode == 1
            assert command("ctl", "-s", api, "show backend").stdout == "# name\nbe\n"
