"""Names, users and passwords keep every byte: each name played to each server directly and through `mode ftp`.

What the server answers, what it lists and what lies on its disk must be the same, whatever it makes of such a name.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from farm.front import Front, Section
from farm.page import kinds_for
from farm.raw_client import RawClient, Said, read_to_end
from farm.scripted import Conversation, Scripted
from farm.servers import Farm, Passive, Security, Server
from pasvport.ftp.passive import parse_227

KINDS = kinds_for(Security.PLAIN)
LONG = b"./" * 1990 + b"long"
NAMES = {
    "utf-8": "жук 文字 é".encode(),
    "latin-1": "Müller ñ ÿ".encode("latin-1"),
    "cp1251": "яблоко".encode("cp1251"),
    "shift-jis": "ソース表示".encode("shift-jis"),
    "big5": "功蓋許".encode("big5"),
    "0xff": b"a\xffb",
    "0xff at the end": b"name\xff",
    "0xff 0xfe": b"\xff\xfe\xf0",
    "IP": b"\xff\xf4name",
    "DM": b"\xff\xf2name",
    "Synch": b"\xff\xf4\xff\xf2ABOR",
    "WILL": b"\xff\xfbxname",
    "DO at the end": b"na\xff\xfd",
    "doubled IAC": b"n\xff\xffm",
    "NOP": b"n\xff\xf1m",
    "SB": b"n\xff\xfam",
    "every Telnet command": b"".join(b"\xff" + bytes((code,)) + b"." for code in range(0xF0, 0x100)),
    "CR at the end": b"Icon\r",
    "two CR": b"Icon\r\r",
    "CR inside": b"Ic\ron",
    "NUL": b"a\0b",
    "spaces": b" a  b ",
    "quotes": b'"a" ""b\'s"',
    "tab": b"\ta\tb",
    "escape": b"a\x1b[1mb\x07",
    "backslash": b"a\\b",
    "percent": b"%s%n%25",
    "star": b"a*?[b]",
    "digits": b"226 done",
    "dash": b"-l",
    "4000 bytes": LONG,
}
LEFT_OUT = {("pyftpdlib", "NUL"), ("pyftpdlib", "4000 bytes")}
"""pyftpdlib ends a session that names a file with a NUL (Python's open() raises ValueError), and answers twice to a
line of more than 2,048 bytes."""
_VARYING = re.compile(rb"unique=[^;]*|\d+")
"""Of lists: times and inodes. Whether pyftpdlib says 125 or 150 depends on who is faster."""
_PRELIMINARY = {
    b"125 Data connection already open. Transfer starting.": b"150 File status okay. About to open data connection."
}
_TELNET = re.compile(rb"(?:\xff[\xfb-\xfe].)*", re.DOTALL)


class Plain(RawClient):
    """Accepts Telnet commands before a reply, as ProFTPD sends them when a name has some in it."""

    def reply(self) -> Said:
        lines = [self._line()]
        before = _TELNET.match(lines[0])
        code = lines[0][before.end() if before else 0 :][:3]
        while lines[0].partition(code)[2][:1] == b"-" and lines[-1][:4] != code + b" ":
            lines.append(self._line())
        return Said(int(code), tuple(lines))


class Play:
    """One session in `pub`; `seen` is what it was told and what it found."""

    def __init__(self, server: Server, client: RawClient) -> None:
        self.server, self.client = server, client
        self.seen: list[object] = []

    def ask(self, line: bytes) -> Said:
        said = self.client.ask(line)
        self.seen.append((line[:60], [_PRELIMINARY.get(each, each) for each in said.lines]))
        return said

    def transfer(self, command: bytes, content: bytes | None = None) -> None:
        target = parse_227(self.client.ask("PASV", 227).text)
        with self.client.dial(target.port, self.client.control.getpeername()[0]) as data:
            said = self.ask(command)
            if said.code < 200:
                found = b""
                if content is None:
                    found = read_to_end(data)
                else:
                    data.sendall(content)
                data.close()
                is_list = command[:4] in (b"LIST", b"MLSD", b"NLST")
                self.seen.append(sorted(_VARYING.sub(b"0", found).split(b"\n")) if is_list else found)
                self.seen.append(self.client.reply().code)

    def disk(self) -> None:
        place = os.fsencode(self.server.pub)
        self.seen.append(sorted((name, os.path.isdir(os.path.join(place, name))) for name in os.listdir(place)))

    def of(self, name: bytes) -> list[object]:
        self.transfer(b"STOR " + name, b"content")
        self.disk()
        self.transfer(b"NLST")
        self.transfer(b"LIST " + name)
        self.transfer(b"MLSD")
        self.transfer(b"RETR " + name)
        self.transfer(b"APPE " + name, b" and more")
        for line in (b"SIZE " + name, b"RNFR " + name, b"RNTO new" + name):
            self.ask(line)
        self.disk()
        self.ask(b"DELE new" + name)
        made = self.ask(b"MKD d" + name).code == 257
        self.disk()
        if made and self.ask(b"CWD d" + name).code == 250:
            self.ask(b"PWD")
            self.ask(b"CWD /pub")
        self.ask(b"RMD d" + name)
        self.ask(b"STAT " + name + b"none")
        self.disk()
        return self.seen


@pytest.fixture(scope="module")
def farm() -> Iterator[Farm]:
    with Farm(KINDS, passive=Passive.INSTALLED) as running:
        yield running


@pytest.fixture(scope="module")
def scripted() -> Iterator[Scripted]:
    """Says back what it heard."""
    with Scripted("scripted", answers={"USER": partial(back, head="331 "), "SITE": thrice}) as running:
        yield running


@pytest.fixture(scope="module")
def front(farm: Farm, scripted: Scripted) -> Iterator[Front]:
    sections = [Section(each.name, f"server {each.name} {each.host}:{each.port}") for each in farm.servers]
    with Front(*sections, Section("scripted", f"server s {scripted.address}")) as running:
        yield running


def played(server: Server, address: tuple[str, int], names: dict[str, bytes]) -> dict[str, list[object]]:
    """The names in one session; whatever a name leaves is removed before the next."""
    found = {}
    with Plain(address) as client:
        client.log_in(server.user)
        client.ask("TYPE I", 200)
        client.ask("CWD /pub", 250)
        for label, name in names.items():
            found[label] = Play(server, client).of(name)
            tidy(server.pub)
    return found


def tidy(folder: Path) -> None:
    for name in os.listdir(os.fsencode(folder)):
        path = os.path.join(os.fsencode(folder), name)
        if os.path.isdir(path):
            shutil.rmtree(path)
        elif name != b"whoami.txt":
            os.unlink(path)


@pytest.mark.parametrize("kind", KINDS)
def test_names_keep_every_byte(farm: Farm, front: Front, kind: str) -> None:
    server = farm[kind]
    names = {label: name for label, name in NAMES.items() if (kind, label) not in LEFT_OUT}
    direct = played(server, (server.host, server.port), names)
    through = played(server, front.address(kind), names)
    for label in names:
        assert through[label] == direct[label], label


SECRETS = [
    b"p\xff\xf4w",
    b"\xff\xff",
    b"\xff\xfb\x01x",
    b"caf\xe9 \xff",
    "ж".encode(),
    b"a\rb",
    b"a\0b",
    b" a ",
    b'"a"',
]


@pytest.mark.parametrize("secret", SECRETS)
def test_users_passwords_and_replies_keep_every_byte(front: Front, scripted: Scripted, secret: bytes) -> None:
    text = secret.decode("latin-1")
    scripted.heard.clear()
    with front.client("scripted") as client:
        assert client.ask(b"USER " + secret, 331).text == secret
        client.ask(b"PASS " + secret, 230)
        assert client.ask(b"SITE " + secret, 200).lines == (b"200-" + secret, secret, b"200 " + secret)
        client.quit()
    assert scripted.heard == [f"USER {text}", f"PASS {text}", f"SITE {text}", "QUIT"]


def test_a_command_behind_a_cr_is_not_let_through(front: Front, scripted: Scripted) -> None:
    scripted.heard.clear()
    with front.client("scripted") as client:
        client.ask("USER a\rPORT 1,2,3,4,5,6", 501)
        client.ask("USER farmer", 331)
        client.ask("PASS a\rQUIT", 501)
    assert scripted.heard[:1] == ["USER farmer"]


def back(talk: Conversation, argument: str, head: str) -> None:
    talk.control.sendall(head.encode() + argument.encode("latin-1") + b"\r\n")


def thrice(talk: Conversation, argument: str) -> None:
    data = argument.encode("latin-1")
    talk.control.sendall(b"200-%s\r\n%s\r\n200 %s\r\n" % (data, data, data))
