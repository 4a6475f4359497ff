"""What curl, lftp, wget, ftplib, tnftp and aioftp accept from an odd server they accept from it through the balancer.

Every client meets every server directly first, and then through `mode ftp`: what worked must work. The check of the
configuration must find every server up that serves any of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import ftplib
import io
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import aioftp
import pytest

from farm.front import Address, Front, Section
from farm.raw_client import read_to_end
from farm.scripted import Answer, Conversation, Scripted, as_it_should, retr, stor
from farm.waiting import until

CONTENT = bytes(range(256)) * 600
PATIENCE = 3
"""Seconds after which a client that was left hanging by a server has failed; through us it has more."""
Render = Callable[[tuple[str, ...]], bytes]


def pasv(talk: Conversation, argument: str) -> None:
    port = talk.listen()
    talk.say(f"227 Here (127,0,0,1,{port >> 8},{port & 255}).")


SOUND: dict[str, Answer] = {
    "PASV": pasv,
    "FEAT": "211-Extensions:\n SIZE\n211 End",
    "SIZE": f"213 {len(CONTENT)}",
    "CWD": "250 There",
    "SYST": "215 UNIX Type: L8",
    "SITE": "200 Whatever",
    "OPTS": "200 Whatever",
}


@dataclass
class Odd:
    """A server that writes every reply by `render`, or answers some commands oddly."""

    render: Render = as_it_should
    answers: dict[str, Answer] = field(default_factory=dict)
    greeting: str = "220 Hello"
    size: int = 0
    without_aioftp: bool = False
    """It fails there directly, and leaves its sockets open or raises what is no error of its own."""

    def server(self, name: str) -> Scripted:
        found = Scripted(name, greeting=self.greeting, answers=SOUND | self.answers, render=self.render, size=self.size)
        found.content = CONTENT
        return found


def each_line(end: bytes) -> Render:
    return lambda lines: b"".join(line.encode() + end for line in lines)


def around(before: bytes = b"", behind: bytes = b"") -> Render:
    return lambda lines: before + as_it_should(lines) + behind


def in_text(written: Callable[[str, str], str]) -> Render:
    """Of the code and the text of a one-line reply; longer ones stay."""
    return lambda lines: (
        as_it_should(lines) if len(lines) > 1 else written(lines[0][:3], lines[0][4:]).encode() + b"\r\n"
    )


def leaves_early(answer: Callable[[Conversation, str], None]) -> Callable[[Conversation, str], None]:
    """The transfer's last reply never comes: the control connection is closed instead."""

    def act(talk: Conversation, argument: str) -> None:
        said = talk.say

        def say(*lines: str) -> None:
            if lines[0][0] == "1":
                said(*lines)
            talk.control.shutdown(1)

        talk.say = say  # type: ignore[method-assign]
        answer(talk, argument)

    return act


def closes_after(last: bytes) -> Callable[[Conversation, str], None]:
    """The whole file, `last`, and the control connection is closed."""

    def act(talk: Conversation, argument: str) -> None:
        talk.say("150 Coming")
        with talk.data() as data:
            data.sendall(talk.server.content)
        talk.control.sendall(last)
        talk.control.shutdown(1)

    return act


def before_it(first: str, answer: Callable[[Conversation, str], None], swaps: bool) -> Answer:
    """`first` before the 150 of a sound transfer, or in its place."""

    def act(talk: Conversation, argument: str) -> None:
        said = talk.say

        def say(*lines: str) -> None:
            if lines[0][0] != "1":
                said(*lines)
                return
            said(first)
            if not swaps:
                said(*lines)

        talk.say = say  # type: ignore[method-assign]
        try:
            answer(talk, argument)
        finally:
            talk.say = said  # type: ignore[method-assign]

    return act


def beginning(first: str, *, swaps: bool = False) -> Odd:
    verbs: dict[str, Callable[[Conversation, str], None]] = {"RETR": retr, "LIST": retr, "NLST": retr, "STOR": stor}
    answers: dict[str, Answer] = {verb: before_it(first, answer, swaps) for verb, answer in verbs.items()}
    return Odd(answers=answers, without_aioftp=first[0] != "1")


def nothing(talk: Conversation, argument: str) -> None:
    """226 without 150, and nobody ever accepted the data connection."""
    talk.close()
    talk.say("226 Nothing there")


ODD = {
    "sound": Odd(),
    "226-and-no-data": Odd(answers={"RETR": nothing, "SIZE": "213 0"}, without_aioftp=True),
    "200-before-150": beginning("200 Fine"),
    "200-for-150": beginning("200 Fine", swaps=True),
    "125-for-150": beginning("125 Fine", swaps=True),
    "leaves-after-226": Odd(answers={"RETR": closes_after(b"226 All\r\n")}),
    "leaves-in-226": Odd(answers={"RETR": closes_after(b"226 Al")}),
    "ends-without-a-space": Odd(in_text(lambda code, text: f"{code}-{text}\r\n{code}"), without_aioftp=True),
    "cr-cr-lf": Odd(each_line(b"\r\r\n")),
    "lf": Odd(each_line(b"\n")),
    "empty-before": Odd(around(b"\r\n")),
    "empty-behind": Odd(around(b"", b"\r\n")),
    "text-before": Odd(around(b"hello there\r\n")),
    "text-behind": Odd(around(b"", b"good bye\r\n \r\n")),
    "bytes": Odd(size=1),
    "bytes-of-many-lines": Odd(in_text(lambda code, text: f"{code}-a\r\n213-b\r\n c\r\n\r\n{code} {text}"), size=1),
    "nul": Odd(in_text(lambda code, text: f"{code} \0{text}\0")),
    "cr": Odd(in_text(lambda code, text: f"{code} a\rb {text}")),
    "many-lines": Odd(in_text(lambda code, text: f"{code}-a\r\nb\r\n\r\n c\r\n{code} {text}")),
    "another-first-code": Odd(in_text(lambda code, text: f"550-a\r\nb\r\n{code} {text}")),
    "another-inner-code": Odd(in_text(lambda code, text: f"{code}-a\r\n550-b\r\n{code} {text}")),
    "like-a-reply-inside": Odd(in_text(lambda code, text: f"{code}-a\r\n299 b\r\n{code} {text}")),
    "four-digits": Odd(in_text(lambda code, text: f"{code}0 {text}")),
    "colon": Odd(in_text(lambda code, text: f"{code}:{text}")),
    "no-text": Odd(in_text(lambda code, text: f"{code} {text}" if code in ("227", "229", "257") else code)),
    "long-lines": Odd(in_text(lambda code, text: f"{code} {text} " + "x" * 6000)),
    "many-long-lines": Odd(in_text(lambda code, text: f"{code}-\r\n" + ("x" * 900 + "\r\n") * 40 + f"{code} {text}")),
    "utf-8": Odd(in_text(lambda code, text: f"{code} {text} \u00e4\u4e2d")),
    "greeting-200": Odd(greeting="200 Hello"),
    "greeting-250": Odd(greeting="250-Hello\n you\n250 there"),
    "greeting-230": Odd(greeting="230 You are in"),
    "greeting-120": Odd(greeting="120 Soon\n220 Hello"),
    "greeting-of-two-codes": Odd(greeting="230-Hello\n220 there"),
    "logged-in-202": Odd(answers={"PASS": "202 Fine"}),
    "logged-in-by-user": Odd(answers={"USER": "230 Fine", "PASS": "503 What for?"}),
    "feat-of-two-codes": Odd(answers={"FEAT": "211 211-Ext:\n EPRT\n211 END"}),
    "feat-with-codes": Odd(answers={"FEAT": "211-Ext:\n211-SIZE\n211-MDTM\n211 END"}),
    "feat-ends-otherwise": Odd(answers={"FEAT": "211-Ext:\n SIZE\n213 End"}),
    "feat-ends-without-a-code": Odd(answers={"FEAT": "211-Ext:\n SIZE\nEND"}),
    "feat-refused": Odd(answers={"FEAT": "500 What?"}),
    "size-699": Odd(answers={"SIZE": "699 Who knows"}),
    "type-250": Odd(answers={"TYPE": "250 Fine"}),
    "leaves-after-150": Odd(answers={"RETR": leaves_early(retr), "STOR": leaves_early(stor)}),
}

# --- the clients --------------------------------------------------------------------------------------------------


class ClientFailedError(Exception):
    """The client says that something went wrong."""


def run(patience: int, *command: str, given: bytes | None = None) -> bytes:
    """What it wrote. Within that many seconds; clients that could wait for ever are told so too."""
    try:
        done = subprocess.run(
            command, input=given, capture_output=True, timeout=patience, env={"PATH": "/usr/bin:/bin"}
        )
    except subprocess.TimeoutExpired as late:
        raise ClientFailedError(f"{command[0]} hangs") from late
    if done.returncode:
        raise ClientFailedError(f"{command[0]}: {done.returncode}: {done.stderr.decode(errors='replace')}")
    return done.stdout


def url(where: Address) -> str:
    return f"ftp://u:p@{where[0]}:{where[1]}/file"


def curl(where: Address, patience: int, *words: str, given: bytes | None = None) -> bytes:
    return run(patience, "curl", "--silent", "--show-error", *words, url(where), given=given)


def curl_pasv(where: Address, patience: int) -> bytes:
    return curl(where, patience, "--disable-epsv")


def curl_put(where: Address, patience: int) -> bytes:
    return curl(where, patience, "--upload-file", "-", given=CONTENT)


def wget(where: Address, patience: int) -> bytes:
    return run(patience, "wget", "-q", "-O", "-", "--tries", "1", "--no-config", url(where))


def lftp(where: Address, patience: int) -> bytes:
    settings = "set net:max-retries 1; set ftp:ssl-allow no; set cmd:fail-exit yes; "
    opening = f"open -u u,p ftp://{where[0]}:{where[1]}; "
    return run(patience, "lftp", "--norc", "-c", settings + opening + "cat file")


@contextlib.contextmanager
def python(where: Address, patience: int) -> Iterator[ftplib.FTP]:
    with ftplib.FTP(timeout=patience) as ftp:
        ftp.connect(*where)
        ftp.login("u", "p")
        with contextlib.suppress(ftplib.error_perm):
            ftp.sendcmd("FEAT")
        ftp.pwd()
        yield ftp


def python_get(where: Address, patience: int) -> bytes:
    found = io.BytesIO()
    with python(where, patience) as ftp:
        ftp.retrbinary("RETR file", found.write)
        ftp.voidcmd("NOOP")
    return found.getvalue()


def python_put(where: Address, patience: int) -> bytes:
    with python(where, patience) as ftp:
        ftp.storbinary("STOR file", io.BytesIO(CONTENT))
        ftp.voidcmd("NOOP")
    return b""


def tnftp(where: Address, patience: int) -> bytes:
    return run(patience, "tnftp", "-o", "-", url(where))


def aio(where: Address, patience: int) -> bytes:
    async def get() -> bytes:
        session = aioftp.Client.context(*where, "u", "p", socket_timeout=patience, path_timeout=patience)
        async with session as client, client.download_stream("file") as stream:
            return await stream.read()

    async def bounded() -> bytes:
        return await asyncio.wait_for(get(), patience)

    return asyncio.run(bounded())


Deed = Callable[[Address, int], bytes]
DEEDS: dict[str, Deed] = {
    deed.__name__: deed for deed in (curl, curl_pasv, curl_put, lftp, wget, python_get, python_put, tnftp, aio)
}


def outcome(deed: Deed, where: Address, patience: int) -> bytes | str:
    """What it got, or in its own words why not."""
    try:
        return deed(where, patience)
    except (ClientFailedError, aioftp.AIOFTPException, *ftplib.all_errors) as failure:
        return f"{type(failure).__name__}: {failure}"


# --- direct and through us ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, Scripted]]:
    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(odd.server(name)) for name, odd in ODD.items()}


@pytest.fixture(scope="module")
def front(servers: dict[str, Scripted]) -> Iterator[Front]:
    # Each is checked once, before the first test looks at descriptors.
    lines = "option ftp-check user u password p\ntimeout check 10s\nserver s {} check inter 1h rise 1 fall 1"
    sections = [Section(name, lines.format(one.address)) for name, one in servers.items()]
    with Front(*sections, threads=1, settings="max-spread-checks 100") as running:
        until(lambda: all(column(running, name, "check_status") != "INI" for name in servers), "every check")
        until(lambda: not any(server.is_busy for server in servers.values()), "every check to be over")
        yield running


def column(front: Front, section: str, name: str) -> str:
    """Of the section's server in `show stat`."""
    rows = csv.DictReader(front.api(f"show stat {section} 4 -1").removeprefix("# ").splitlines())
    return next(row[name] for row in rows)


@pytest.mark.parametrize("name", ODD)
def test_who_is_served_directly_is_served_through_us(front: Front, servers: dict[str, Scripted], name: str) -> None:
    server = servers[name]

    def both(deed: Deed) -> tuple[bytes | str, bytes | str]:
        directly = outcome(deed, ("127.0.0.1", server.port), PATIENCE)
        return directly, outcome(deed, front.address(name), 5 * PATIENCE) if isinstance(directly, bytes) else "-"

    deeds = {deed: act for deed, act in DEEDS.items() if act is not aio or not ODD[name].without_aioftp}
    with ThreadPoolExecutor(len(deeds)) as pool:
        found = dict(zip(deeds, pool.map(both, deeds.values()), strict=True))
    assert {
        deed: through for deed, (directly, through) in found.items() if directly != through and through != "-"
    } == {}
    served = {deed for deed, (directly, _) in found.items() if isinstance(directly, bytes)}
    assert name == "leaves-after-150" or served, f"nobody is served: {found}"
    puts = [each for each in served if each.endswith("put")]
    assert server.stored.count(CONTENT) >= 2 * len(puts)
    assert not served or column(front, name, "check_status") == "L7OK"


@pytest.mark.parametrize("verb", ["RETR", "STOR"])
def test_data_are_delivered_when_the_server_leaves_after_150(
    front: Front, servers: dict[str, Scripted], verb: str
) -> None:
    server = servers["leaves-after-150"]
    before = len(server.stored)
    with front.client(server.name) as client:
        client.log_in("u")
        with client.passive() as data:
            client.ask(f"{verb} file", 150)
            if verb == "RETR":
                assert read_to_end(data) == CONTENT
            else:
                data.sendall(CONTENT)
        client.expect(421)
        client.expect_end()
    if verb == "STOR":
        until(lambda: server.stored[before:] == [CONTENT], "the server to have it")
