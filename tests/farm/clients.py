"""Real FTP clients: the same three verbs (download, upload, listing) for curl, lftp, wget, tnftp, ftplib, aioftp."""

from __future__ import annotations

import asyncio
import ftplib
import gc
import os
import re
import socket
import ssl
import subprocess
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aioftp

from farm.servers import PASSWORD, Security

DEADLINE = 90


@dataclass(frozen=True)
class Target:
    """Where a client connects, and as whom. `source` is the client's own address; `extended` asks for EPSV."""

    host: str
    port: int
    user: str
    security: Security = Security.PLAIN
    source: str = "127.0.0.1"
    extended: bool = True

    @property
    def login(self) -> str:
        return f"{self.user}:{PASSWORD}"

    def url(self, scheme: str, name: str = "") -> str:
        return f"{scheme}://{self.login}@{self.host}:{self.port}/pub/{name}"


class ClientError(AssertionError):
    """The client says that it failed; its own words are in the message."""


class Client:
    """One program. Its class attributes say what it can do, so that tests ask for nothing else."""

    name = ""
    securities: tuple[Security, ...] = (Security.PLAIN,)
    uploads = True
    modes: tuple[bool, ...] = (True, False)
    """Values of `Target.extended` it obeys on IPv4: True is EPSV, False PASV."""
    needs_early_tls = False
    """Shakes hands on the data connection before the transfer is answered, which only pyftpdlib serves."""

    def download(self, target: Target, name: str, to: Path) -> None:
        raise NotImplementedError

    def upload(self, target: Target, source: Path, name: str) -> None:
        raise NotImplementedError

    def listing(self, target: Target) -> str:
        raise NotImplementedError


def run(command: list[str], stdin: str = "", home: Path | None = None) -> str:
    """Standard output, or ClientError with everything the program said."""
    environment = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    if home is not None:
        environment["HOME"] = str(home)
    done = subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=DEADLINE, env=environment, errors="replace"
    )
    if done.returncode:
        raise ClientError(f"{' '.join(command)}: status {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


class Curl(Client):
    name = "curl"
    securities = tuple(Security)

    def _command(self, target: Target, *words: str) -> list[str]:
        mode = "--ftp-pasv" if target.extended else "--disable-epsv"
        tls = [] if target.security is Security.PLAIN else ["--insecure", "--ssl-reqd"]
        fixed = ["curl", "--silent", "--show-error", "--no-ftp-skip-pasv-ip", "--max-time", str(DEADLINE)]
        return [*fixed, "--interface", target.source, mode, *tls, *words]

    def _url(self, target: Target, name: str = "") -> str:
        return target.url("ftps" if target.security is Security.IMPLICIT else "ftp", name)

    def download(self, target: Target, name: str, to: Path) -> None:
        run(self._command(target, "--output", str(to), self._url(target, name)))
        to.touch()  # curl makes no file for zero bytes

    def upload(self, target: Target, source: Path, name: str) -> None:
        run(self._command(target, "--upload-file", str(source), self._url(target, name)))

    def listing(self, target: Target) -> str:
        return run(self._command(target, self._url(target)))

    def resume(self, target: Target, name: str, to: Path) -> None:
        """REST: the rest of a file that is there in part."""
        run(self._command(target, "--continue-at", "-", "--output", str(to), self._url(target, name)))

    def append(self, target: Target, source: Path, name: str) -> None:
        """APPE."""
        run(self._command(target, "--append", "--upload-file", str(source), self._url(target, name)))


class Lftp(Client):
    name = "lftp"
    securities = tuple(Security)

    def _run(self, target: Target, verb: str, home: Path) -> str:
        tls = target.security.is_tls
        settings = {
            "cmd:fail-exit": "true",
            "net:max-retries": "1",
            "net:timeout": "30",
            "net:socket-bind-ipv4": target.source,
            "xfer:clobber": "true",
            "ftp:prefer-epsv": str(target.extended).lower(),
            "ftp:ssl-allow": str(tls).lower(),
            "ftp:ssl-force": str(tls).lower(),
            "ftp:ssl-protect-data": str(tls).lower(),
            "ssl:verify-certificate": "false",
        }
        scheme = "ftps" if target.security is Security.IMPLICIT else "ftp"
        opening = f"open -u {target.user},{PASSWORD} {scheme}://{target.host}:{target.port}; cd pub; "
        script = "".join(f"set {key} {value}; " for key, value in settings.items()) + opening + verb + "; bye"
        return run(["lftp", "--norc", "-c", script], home=home)

    def download(self, target: Target, name: str, to: Path) -> None:
        self._run(target, f"get {name} -o {to}", to.parent)

    def upload(self, target: Target, source: Path, name: str) -> None:
        self._run(target, f"put {source} -o {name}", source.parent)

    def listing(self, target: Target) -> str:
        return self._run(target, "ls", Path("/nonexistent"))

    def parallel(self, target: Target, name: str, to: Path) -> None:
        """Several data connections of several sessions at once for one file."""
        self._run(target, f"pget -n 4 {name} -o {to}", to.parent)


class Wget(Client):
    name = "wget"
    securities = tuple(Security)
    uploads = False
    modes = (False,)

    def _run(self, target: Target, name: str, *words: str) -> str:
        scheme = "ftps" if target.security.is_tls else "ftp"
        tls = ["--no-check-certificate"] if target.security.is_tls else []
        if target.security is Security.IMPLICIT:
            tls.append("--ftps-implicit")
        fixed = ["wget", "--no-verbose", "--tries", "1", "--timeout", "30", "--no-hsts", "--no-config"]
        return run([*fixed, "--bind-address", target.source, *tls, *words, target.url(scheme, name)])

    def download(self, target: Target, name: str, to: Path) -> None:
        self._run(target, name, "--output-document", str(to))

    def listing(self, target: Target) -> str:
        return self._run(target, "", "--output-document", "-")


class Tnftp(Client):
    name = "tnftp"

    def _run(self, target: Target, *verbs: str) -> str:
        # `epsv4` toggles, and is on at the start. Status 0 says nothing in script mode: the caller compares files.
        toggle = [] if target.extended else ["epsv4"]
        script = ["prompt off", *toggle, f"open {target.host} {target.port}"]
        script += [f"user {target.user} {PASSWORD}", "binary", "cd pub", *verbs, "bye"]
        said = run(
            ["tnftp", "-n", "-v", "-p", "-s", target.source], "\n".join(script) + "\n", home=Path("/nonexistent")
        )
        if refused := re.search(r"^[45]\d\d .*", said, re.MULTILINE):
            raise ClientError(f"tnftp was told: {refused[0]}\n{said}")
        return said

    def download(self, target: Target, name: str, to: Path) -> None:
        self._run(target, f"get {name} {to}")

    def upload(self, target: Target, source: Path, name: str) -> None:
        self._run(target, f"put {source} {name}")

    def listing(self, target: Target) -> str:
        return self._run(target, "ls")


class _Ftplib(ftplib.FTP):
    """ftplib that can be told to use EPSV on IPv4, and obeys the address of a 227 (its default does not)."""

    trust_server_pasv_ipv4_address = True
    extended = False

    def log_in(self, user: str) -> None:
        """Log in; protect the data channel where the control channel is; binary type."""
        self.login(user, PASSWORD)
        if isinstance(self, ftplib.FTP_TLS):
            self.prot_p()
        self.voidcmd("TYPE I")

    def makepasv(self) -> tuple[str, int]:
        if self.extended:
            assert self.sock is not None
            return ftplib.parse229(self.sendcmd("EPSV"), self.sock.getpeername())
        return super().makepasv()


class _FtplibTls(_Ftplib, ftplib.FTP_TLS):
    """ftplib whose data connections resume the control connection's TLS session; implicit TLS when asked."""

    implicit = False

    def connect(self, *args: Any, **named: Any) -> str:
        if not self.implicit:
            return str(super().connect(*args, **named))
        host, port = args
        plain = socket.create_connection((host, port), DEADLINE, source_address=named["source_address"])
        self.host, self.af = host, plain.family
        self.sock = self.context.wrap_socket(plain)
        self.source_address = named["source_address"]
        self.file = self.sock.makefile("r", encoding=self.encoding)
        self.welcome = self.getresp()
        return self.welcome

    def login(self, *args: Any, **named: Any) -> str:
        # The base class would send AUTH TLS on a connection that is protected already.
        return str(super().login(*args, **named, secure=not self.implicit))

    def ntransfercmd(self, cmd: str, rest: Any = None) -> Any:
        connection, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        if self._prot_p:  # type: ignore[attr-defined]
            connection = self.context.wrap_socket(connection, session=self.sock.session)  # type: ignore[union-attr]
        return connection, size


def client_tls() -> ssl.SSLContext:
    """TLS that accepts the farm's self-signed certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    # A 1.3 server may still be writing tickets when an upload's close arrives, and loses the file's tail to the RST.
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


def open_session(target: Target) -> _Ftplib:
    """A connected ftplib session, greeted but not logged in. Close it."""
    session: _Ftplib
    if target.security.is_tls:
        session = _FtplibTls(context=client_tls(), timeout=DEADLINE)
        session.implicit = target.security is Security.IMPLICIT
    else:
        session = _Ftplib(timeout=DEADLINE)
    session.extended = target.extended
    try:
        session.connect(target.host, target.port, source_address=(target.source, 0))
    except BaseException:
        session.close()
        raise
    return session


def open_ftplib(target: Target) -> _Ftplib:
    """A logged-in ftplib session in binary type, protected as the target asks. Close it (it is a context manager)."""
    session = open_session(target)
    try:
        session.log_in(target.user)
    except BaseException:
        session.close()
        raise
    return session


class Ftplib(Client):
    name = "ftplib"
    securities = tuple(Security)

    def download(self, target: Target, name: str, to: Path) -> None:
        with open_ftplib(target) as session, to.open("wb") as file:
            session.retrbinary(f"RETR pub/{name}", file.write, 262144)

    def upload(self, target: Target, source: Path, name: str) -> None:
        with open_ftplib(target) as session, source.open("rb") as file:
            session.storbinary(f"STOR pub/{name}", file, 262144)

    def listing(self, target: Target) -> str:
        lines: list[str] = []
        with open_ftplib(target) as session:
            session.retrlines("LIST pub", lines.append)
        return "\n".join(lines)


class Aioftp(Client):
    name = "aioftp"
    securities = (Security.PLAIN, Security.EXPLICIT, Security.IMPLICIT)
    needs_early_tls = True

    async def _session(self, target: Target) -> aioftp.Client:
        implicit = target.security is Security.IMPLICIT
        # What aioftp does not know it hands to asyncio.open_connection: the source address, for instance.
        session = aioftp.Client(
            ssl=client_tls() if implicit else None,
            passive_commands=("epsv",) if target.extended else ("pasv",),
            socket_timeout=DEADLINE,
            local_addr=(target.source, 0),
        )
        await session.connect(target.host, target.port)
        if target.security is Security.EXPLICIT:
            await session.upgrade_to_tls(client_tls())
        await session.login(target.user, PASSWORD)
        return session

    def _play(self, target: Target, act: Any) -> Any:
        async def play() -> Any:
            session = await self._session(target)
            try:
                result = await act(session)
                await session.quit()
                return result
            finally:
                session.close()

        with warnings.catch_warnings():
            # aioftp leaves its TLS transports to the collector, so the collector is called here.
            warnings.simplefilter("ignore", ResourceWarning)
            result = asyncio.run(play())
            gc.collect()
        return result

    def download(self, target: Target, name: str, to: Path) -> None:
        async def act(session: aioftp.Client) -> None:
            with to.open("wb") as file:
                async with session.download_stream(f"pub/{name}") as stream:
                    async for block in stream.iter_by_block(262144):
                        file.write(block)

        self._play(target, act)

    def upload(self, target: Target, source: Path, name: str) -> None:
        async def act(session: aioftp.Client) -> None:
            with source.open("rb") as file:
                async with session.upload_stream(f"pub/{name}") as stream:
                    while block := file.read(262144):
                        await stream.write(block)

        self._play(target, act)

    def listing(self, target: Target) -> str:
        async def act(session: aioftp.Client) -> str:
            return "\n".join([str(path) async for path, _ in session.list("pub")])

        return str(self._play(target, act))


CLIENTS: dict[str, Client] = {client.name: client for client in (Curl(), Lftp(), Wget(), Tnftp(), Ftplib(), Aioftp())}
