"""Write tests/ftp/transcripts anew from the real servers: `python tests/ftp/record_servers.py`, after `make test`.

Each transcript is one session without a balancer: `C:` what the client said, `S:` what the server answered.
"""

from __future__ import annotations

import re
import socket
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1])]

from farm.servers import PASSWORD, Farm, Server  # noqa: E402

FOLDER = Path(__file__).with_name("transcripts")
LIMIT = 10.0


class Session:
    """One control connection, its transcript, and a data connection where one is wanted."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.lines: list[str] = []
        self.control = socket.create_connection((server.host, server.port), LIMIT)
        self.rest = b""
        self.reply()

    def line(self) -> str:
        while b"\n" not in self.rest:
            more = self.control.recv(4096)
            assert more, "the server left"
            self.rest += more
        line, _, self.rest = self.rest.partition(b"\n")
        text = line.removesuffix(b"\r").decode("latin-1")
        self.lines.append(f"S: {text}")
        return text

    def reply(self) -> str:
        first = last = self.line()
        while first[3:4] == "-" and not last.startswith(first[:3] + " "):
            last = self.line()
        return last

    def ask(self, command: str) -> str:
        self.lines.append(f"C: {command}")
        self.control.sendall(command.encode("latin-1") + b"\r\n")
        return self.reply()

    def data(self, passive: str) -> socket.socket:
        text = self.ask(passive)
        if passive == "EPSV":
            found = re.search(r"\|\|\|(\d+)\|", text)
            assert found, text
            port = int(found[1])
        else:
            numbers = [int(number) for number in re.findall(r"\d+", text[4:])]
            port = numbers[-2] << 8 | numbers[-1]
        return socket.create_connection((self.server.host, port), LIMIT)

    def fetch(self, passive: str, command: str) -> None:
        with self.data(passive) as data:
            started = self.ask(command).startswith("1")
            while started and data.recv(1 << 16):
                pass
        # ProFTPD lingers: its 226 comes once the data connection is closed on both sides.
        if started:
            self.reply()

    def store(self, passive: str, command: str, content: bytes) -> None:
        data = self.data(passive)
        if self.ask(command).startswith("1"):
            data.sendall(content)
            data.close()
            self.reply()
        data.close()

    def abort(self, passive: str, command: str) -> None:
        with self.data(passive) as data:
            assert self.ask(command).startswith("1")
            data.recv(1)
            self.lines.append("C: ABOR")
            self.control.sendall(b"\xff\xf4\xff")
            self.control.send(b"\xf2", socket.MSG_OOB)
            self.control.sendall(b"ABOR\r\n")
        self.all_that_comes()

    def all_that_comes(self) -> None:
        """How many replies an ABOR has differs; a marker behind them would itself be eaten by some servers."""
        self.reply()
        self.control.settimeout(1.0)
        try:
            while True:
                self.reply()
        except TimeoutError:
            self.control.settimeout(LIMIT)


def session(server: Server, passive: str) -> list[str]:
    talk = Session(server)
    talk.ask("FEAT")
    talk.ask("PWD")
    talk.ask(f"USER {server.user}")
    talk.ask(f"PASS {PASSWORD}")
    for command in (
        "FEAT",
        "SYST",
        "PWD",
        "TYPE I",
        "CWD pub",
        "NOOP",
        "MODE S",
        "STRU F",
        "HELP",
        "STAT",
        "RETR none",
    ):
        talk.ask(command)
    talk.fetch(passive, "LIST")
    talk.fetch(passive, "NLST")
    talk.fetch(passive, "RETR whoami.txt")
    talk.fetch(passive, "RETR empty")
    talk.fetch(passive, "RETR missing")
    talk.ask("REST 2")
    talk.fetch(passive, "RETR whoami.txt")
    talk.store(passive, f"STOR new-{passive}.bin", b"x" * 5000)
    talk.store(passive, f"STOR zero-{passive}.bin", b"")
    talk.ask(f"SIZE new-{passive}.bin")
    talk.ask(f"MDTM new-{passive}.bin")
    talk.ask(f"RNFR new-{passive}.bin")
    talk.ask(f"RNTO caf\xe9-{passive}.bin")
    talk.ask(f"DELE caf\xe9-{passive}.bin")
    talk.abort(passive, "RETR big.bin")
    talk.ask("PWD")
    talk.ask("QUIT")
    talk.control.close()
    return talk.lines


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with Farm(("vsftpd", "proftpd", "pureftpd", "pyftpdlib"), ports=(58100, 58299)) as farm:
        farm.put("big.bin", b"0" * (64 << 20))
        farm.put("empty", b"")
        for server in farm.servers:
            for passive in ("EPSV", "PASV"):
                lines = session(server, passive)
                (FOLDER / f"{server.kind}-{passive.lower()}.txt").write_text("\n".join(lines) + "\n", "utf-8")
                print(server.kind, passive, len(lines))
                time.sleep(0.2)


if __name__ == "__main__":
    main()
