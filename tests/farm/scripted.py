"""An FTP server in a thread of the test, which answers what the test wants: refusals, silence, sudden death."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Mapping
from typing import TypeAlias

from farm.waiting import PATIENCE

Answer: TypeAlias = "str | Callable[[Conversation, str], None] | None"
"""A reply, None to close the connection, or whatever else is to be done."""


class Conversation:
    """One control connection, from the server's side."""

    def __init__(self, server: Scripted, control: socket.socket) -> None:
        self.server = server
        self.control = control
        self._listener: socket.socket | None = None
        self._stack = contextlib.ExitStack()

    def say(self, *lines: str) -> None:
        """One reply, as this server writes replies."""
        data, size = self.server.render(lines), self.server.size
        for at in range(0, len(data), size or len(data)):
            self.control.sendall(data[at : at + (size or len(data))])

    def close(self) -> None:
        self._stack.close()

    def listen(self) -> int:
        """A data port, at the address of the control connection."""
        self._stack.close()
        family = self.control.family
        listener = self._stack.enter_context(socket.socket(family))
        listener.settimeout(PATIENCE)
        listener.bind((self.control.getsockname()[0], 0))
        listener.listen(1)
        self._listener = listener
        return int(listener.getsockname()[1])

    def data(self) -> socket.socket:
        """The connection made to it."""
        assert self._listener is not None
        connection, _ = self._listener.accept()
        connection.settimeout(PATIENCE)
        self._stack.push(connection)
        return connection


def epsv(talk: Conversation, argument: str) -> None:
    talk.say(f"229 Here (|||{talk.listen()}|)")


def pasv(talk: Conversation, argument: str) -> None:
    port = talk.listen()
    # The address is nobody's.
    talk.say(f"227 There (10,9,9,9,{port >> 8},{port & 255})")


def retr(talk: Conversation, argument: str) -> None:
    talk.say("150 Coming")
    with talk.data() as data:
        data.sendall(talk.server.content)
    talk.say("226 All there")


def stor(talk: Conversation, argument: str) -> None:
    talk.say("150 Waiting")
    with talk.data() as data:
        parts = []
        while part := data.recv(65536):
            parts.append(part)
    talk.server.stored.append(b"".join(parts))
    talk.say("226 Got it")


SOUND: dict[str, Answer] = {
    "USER": "331 Password?",
    "PASS": "230 Welcome",
    "TYPE": "200 Fine",
    "NOOP": "200 Here",
    "PWD": '257 "/"',
    "QUIT": "221 Bye",
    "EPSV": epsv,
    "PASV": pasv,
    "RETR": retr,
    "LIST": retr,
    "NLST": retr,
    "STOR": stor,
    "APPE": stor,
}


def as_it_should(lines: tuple[str, ...]) -> bytes:
    """Of a reply: how RFC 959 wants it written."""
    return "".join(f"{line}\r\n" for line in lines).encode()


class Scripted:
    """`answers` replace the sound ones, by verb; what nobody knows is answered 502. `greeting` None: hangs up. `render`
    writes every reply, which leaves in pieces of `size` bytes (0: whole).

    Use as a context manager. `heard` are all lines of all sessions, `sessions` counts those that began.
    """

    def __init__(
        self,
        name: str = "scripted",
        host: str = "127.0.0.1",
        *,
        greeting: str | None = "",
        answers: Mapping[str, Answer] | None = None,
        render: Callable[[tuple[str, ...]], bytes] = as_it_should,
        size: int = 0,
    ) -> None:
        self.name = name
        self.greeting = f"220 {name}" if greeting == "" else greeting
        self.answers = SOUND | dict(answers or {})
        self.render, self.size = render, size
        self.content = name.encode()
        self.stored: list[bytes] = []
        self.heard: list[str] = []
        self.sessions = 0
        self._host = host
        self._stack = contextlib.ExitStack()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Scripted:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        self._listener = self._stack.enter_context(socket.socket(family))
        self._listener.bind((self._host, 0))
        self._listener.listen(128)
        self.port = int(self._listener.getsockname()[1])
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self.hang_up()
        for thread in self._threads:
            thread.join(PATIENCE)
        self._stack.close()

    @property
    def is_busy(self) -> bool:
        """Some session is open."""
        return bool(self._open)

    @property
    def address(self) -> str:
        """As a `server` line names it."""
        return f"{self._host}:{self.port}"

    def count(self, verb: str) -> int:
        """How often it heard that."""
        return sum(line.split(" ")[0].upper() == verb for line in list(self.heard))

    def hang_up(self) -> None:
        """End every session, as a server that dies does."""
        for control in list(self._open):
            with contextlib.suppress(OSError):
                control.shutdown(socket.SHUT_RDWR)

    def _start(self, what: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=what, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                control, _ = self._listener.accept()
                self._open.add(control)
                self._start(self._serve, control)

    def _serve(self, control: socket.socket) -> None:
        self.sessions += 1
        control.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        talk = Conversation(self, control)
        with control, contextlib.suppress(OSError):
            if self.greeting is not None:
                talk.say(*self.greeting.split("\n"))
                self._converse(talk, control)
        talk.close()
        self._open.discard(control)

    def _converse(self, talk: Conversation, control: socket.socket) -> None:
        with control.makefile("rb") as lines:
            for raw in lines:
                line = raw.decode("latin-1").strip("\r\n")
                self.heard.append(line)
                verb, _, argument = line.partition(" ")
                answer = self.answers.get(verb.upper(), f"502 {verb}?")
                if answer is None:
                    return
                if isinstance(answer, str):
                    talk.say(*answer.split("\n"))
                else:
                    answer(talk, argument)
                if verb.upper() == "QUIT":
                    return
