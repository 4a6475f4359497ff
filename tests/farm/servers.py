"""Real FTP servers as child processes: vsftpd, ProFTPD, Pure-FTPd, pyftpdlib.

Each has a private home with `whoami.txt` naming it, and tells clients the balancer's address, as the page asks.
"""

from __future__ import annotations

import contextlib
import enum
import grp
import json
import os
import platform
import pwd
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from farm import journal
from farm.addresses import CONTROL_PORT, IMPLICIT_PORT, Subnet
from farm.certificates import write_certificate
from farm.processes import Child
from farm.waiting import until_banner, until_listening

ROOT = Path(__file__).parents[1] / ".servers" / "root"
LIBRARIES = ROOT / "usr" / "lib" / f"{platform.machine()}-linux-gnu"
PASSWORD = "plough"
# vsftpd enters its anonymous user's home before the directory it was told; `nobody` has none, `daemon` has one.
OWNER = pwd.getpwnam("daemon") if os.geteuid() == 0 else pwd.getpwuid(os.getuid())


class Security(enum.Enum):
    """What the control port speaks. REUSE is explicit TLS whose data connections must resume the session."""

    PLAIN = "plain"
    EXPLICIT = "explicit"
    REUSE = "explicit, session reuse required"
    IMPLICIT = "implicit"

    @property
    def control_port(self) -> int:
        return IMPLICIT_PORT if self is Security.IMPLICIT else CONTROL_PORT

    @property
    def is_tls(self) -> bool:
        return self is not Security.PLAIN


class Passive(enum.Enum):
    """What servers say to PASV: as `mode tcp` needs it (the balancer's address, ports of an agreed range), as
    installed (their own address, any port), or wrongly (an address where nobody is, any port)."""

    AGREED = "agreed"
    INSTALLED = "as installed"
    WRONG = "wrong"


NOWHERE = "10.9.9.9"
ANY_PORT = (0, 0)


@dataclass
class Server:
    """One FTP server: where it is, how it is started. `advertise` is the address that PASV names, "" is its own;
    `ports` are those of data connections."""

    name: str
    host: str
    advertise: str
    ports: tuple[int, int]
    security: Security
    folder: Path
    certificate: Path
    kind: str = ""
    user: str = "farmer"
    message: bytes = b""
    """What the server shows with its greeting or after a login, and on entering `pub`; pyftpdlib has no such file."""
    child: Child | None = field(default=None, repr=False)

    speaks = (Security.PLAIN, Security.EXPLICIT)
    needs_root = False

    @property
    def port(self) -> int:
        return self.security.control_port

    @property
    def greeting(self) -> str:
        """What only this server's banner contains."""
        return f"220 {self.name}"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def pub(self) -> Path:
        """Where the files are: vsftpd refuses a session whose root is writable."""
        return self.home / "pub"

    @property
    def message_file(self) -> Path:
        return self.folder / "message"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def prepare(self) -> None:
        self.pub.mkdir(parents=True)
        self.folder.chmod(0o755)
        self.put("whoami.txt", self.name.encode())
        if self.message:
            self.put(".message", self.message)
            self.message_file.write_bytes(self.message)
        os.chown(self.pub, OWNER.pw_uid, OWNER.pw_gid)
        self.home.chmod(0o555)

    def put(self, name: str, content: bytes) -> Path:
        """Place a file where clients find it as `pub/NAME`."""
        path = self.pub / name
        path.write_bytes(content)
        os.chown(path, OWNER.pw_uid, OWNER.pw_gid)
        return path

    def start(self) -> None:
        environment = os.environ | {"LD_LIBRARY_PATH": str(LIBRARIES)}
        self.child = Child(self.command(), self.log, env=environment, cwd=self.folder)
        journal.watch(self.name, self.log)

    def until_ready(self) -> None:
        assert self.child is not None
        if self.security is Security.IMPLICIT:
            until_listening(self.host, self.port, self.child.check_alive)
        else:
            until_banner(self.host, self.port, self.child.check_alive)

    def stop(self) -> None:
        if self.child is not None:
            self.child.stop()
            self.child = None

    def command(self) -> list[str]:
        raise NotImplementedError


class Vsftpd(Server):
    """vsftpd with anonymous users who may write: its local users would need files in this machine's /etc/pam.d."""

    speaks = tuple(Security)

    def prepare(self) -> None:
        super().prepare()
        self.user = "anonymous"
        (self.folder / "empty").mkdir()

    def options(self) -> dict[str, str]:
        yes = (
            "listen anonymous_enable no_anon_password write_enable anon_upload_enable anon_mkdir_write_enable "
            "anon_other_write_enable async_abor_enable xferlog_enable log_ftp_protocol"
        )
        no = (
            "background listen_ipv6 local_enable anon_world_readable_only seccomp_sandbox isolate_network "
            "connect_from_port_20 session_support"
        )
        chosen = dict.fromkeys(yes.split(), "YES") | dict.fromkeys(no.split(), "NO")
        chosen |= {
            "listen_address": self.host,
            "listen_port": str(self.port),
            "anon_root": str(self.home),
            "anon_umask": "022",
            "ftp_username": OWNER.pw_name,
            "nopriv_user": OWNER.pw_name,
            "secure_chroot_dir": str(self.folder / "empty"),
            "pasv_min_port": str(self.ports[0]),
            "pasv_max_port": str(self.ports[1]),
            "vsftpd_log_file": str(self.folder / "vsftpd.log"),
            "ftpd_banner": self.name,
        }
        if self.advertise:
            chosen["pasv_address"] = self.advertise
        if self.message:
            chosen |= {"banner_file": str(self.message_file), "dirmessage_enable": "YES"}
        if os.geteuid() != 0:
            chosen["run_as_launching_user"] = "YES"
        return chosen | self.tls_options()

    def tls_options(self) -> dict[str, str]:
        if not self.security.is_tls:
            return {}
        return {
            "ssl_enable": "YES",
            "allow_anon_ssl": "YES",
            "rsa_cert_file": str(self.certificate),
            "rsa_private_key_file": str(self.certificate),
            "ssl_ciphers": "HIGH",
            "require_ssl_reuse": "YES" if self.security is Security.REUSE else "NO",
            "implicit_ssl": "YES" if self.security is Security.IMPLICIT else "NO",
        }

    def command(self) -> list[str]:
        settings = self.folder / "vsftpd.conf"
        settings.write_text("".join(f"{key}={value}\n" for key, value in self.options().items()))
        return [str(ROOT / "usr/sbin/vsftpd"), str(settings)]


class Proftpd(Server):
    """ProFTPD with its own password file."""

    speaks = tuple(Security)

    def command(self) -> list[str]:
        users = self.folder / "users"
        users.write_text(f"{self.user}:{hashed_password()}:{OWNER.pw_uid}:{OWNER.pw_gid}::{self.home}:/bin/false\n")
        users.chmod(0o600)
        settings = self.folder / "proftpd.conf"
        settings.write_text(self.settings(users) + self.tls_settings())
        return [str(ROOT / "usr/sbin/proftpd"), "--nodaemon", "--quiet", "--config", str(settings)]

    def settings(self, users: Path) -> str:
        if os.geteuid() == 0:
            identity = "User root\nGroup root\nDefaultRoot ~"
        else:
            identity = f"User {OWNER.pw_name}\nGroup {grp.getgrgid(os.getgid()).gr_name}"
        return f"""\
ModulePath {ROOT}/usr/lib/proftpd
LoadModule mod_tls.c
LoadModule mod_ident.c
ServerName {self.name}
ServerIdent on "{self.name}"
ServerType standalone
DefaultAddress {self.host}
Port {self.port}
SocketBindTight on
UseIPv6 off
UseReverseDNS off
IdentLookups off
ControlsEngine off
{identity}
AuthOrder mod_auth_file.c
AuthUserFile {users}
RequireValidShell off
AllowOverwrite on
AllowStoreRestart on
AllowRetrieveRestart on
DelayEngine off
WtmpLog off
{self.passive_settings()}
PidFile {self.folder}/pid
ScoreboardFile {self.folder}/scoreboard
SystemLog {self.folder}/system.log
TransferLog none
MaxInstances 400
{self.display_settings()}
"""

    def display_settings(self) -> str:
        return f"DisplayConnect {self.message_file}\nDisplayChdir .message" if self.message else ""

    def passive_settings(self) -> str:
        ports = "" if self.ports == ANY_PORT else f"PassivePorts {self.ports[0]} {self.ports[1]}\n"
        return ports + (f"MasqueradeAddress {self.advertise}" if self.advertise else "")

    def tls_settings(self) -> str:
        if not self.security.is_tls:
            return ""
        options = {Security.EXPLICIT: "NoSessionReuseRequired", Security.IMPLICIT: "UseImplicitSSL"}
        line = f"TLSOptions {options[self.security]}\n" if self.security in options else ""
        return f"""\
TLSEngine on
TLSRequired off
TLSLog {self.folder}/tls.log
TLSECCertificateFile {self.certificate}
TLSECCertificateKeyFile {self.certificate}
{line}"""


class Pureftpd(Server):
    """Pure-FTPd with a PureDB of one user. It serves half as many users as it has passive ports. Needs root."""

    needs_root = True

    @property
    def greeting(self) -> str:
        return "Pure-FTPd"

    def command(self) -> list[str]:
        users, database = self.folder / "users", self.folder / "users.pdb"
        line = f"{self.user}:{hashed_password()}:{OWNER.pw_uid}:{OWNER.pw_gid}::{self.home}/./" + ":" * 12
        users.write_text(line + "\n")
        subprocess.run(
            [ROOT / "usr/bin/pure-pw", "mkdb", database, "-f", users],
            check=True,
            env=os.environ | {"LD_LIBRARY_PATH": str(LIBRARIES)},
        )
        tls = ["--tls", "1", "--certfile", str(self.certificate)] if self.security.is_tls else []
        return [
            str(ROOT / "usr/sbin/pure-ftpd"),
            *("--bind", f"{self.host},{self.port}"),
            *("--login", f"puredb:{database}"),
            *([] if self.ports == ANY_PORT else ["--passiveportrange", f"{self.ports[0]}:{self.ports[1]}"]),
            *(["--forcepassiveip", self.advertise] if self.advertise else []),
            *(["--fortunesfile", str(self.message_file)] if self.message else []),
            *("--pidfile", str(self.folder / "pid")),
            *("--minuid", "1"),
            *("--maxclientsnumber", "400"),
            *("--syslogfacility", "none"),
            *("--altlog", f"clf:{self.folder}/transfers.log"),
            *("--noanonymous", "--chrooteveryone", "--dontresolve", "--ipv4only"),
            *tls,
        ]


class Pyftpdlib(Server):
    """pyftpdlib, one process; the fastest to start and the only one whose every reply we may shape."""

    speaks = (Security.PLAIN, Security.EXPLICIT, Security.IMPLICIT)

    def command(self) -> list[str]:
        wish = {
            "name": self.name,
            "host": self.host,
            "port": self.port,
            "advertise": self.advertise,
            "ports": self.ports,
            "home": str(self.home),
            "user": self.user,
            "password": PASSWORD,
            "security": self.security.name,
            "certificate": str(self.certificate),
        }
        return [sys.executable, str(Path(__file__).with_name("pyftpd.py")), json.dumps(wish)]


KINDS: dict[str, type[Server]] = {
    "vsftpd": Vsftpd,
    "proftpd": Proftpd,
    "pureftpd": Pureftpd,
    "pyftpdlib": Pyftpdlib,
}


def hashed_password() -> str:
    """A cheap hash that every server's crypt(3) knows: the default of `pure-pw` costs seconds of CPU a login."""
    return subprocess.run(
        ["openssl", "passwd", "-1", PASSWORD], check=True, capture_output=True, text=True
    ).stdout.strip()


class Farm:
    """Several servers that share a port range and advertise one balancer, unless `passive` says otherwise.

    Use as a context manager. `names` are kinds, each optionally with a suffix after `-` ("pyftpdlib-2").
    """

    def __init__(
        self,
        names: tuple[str, ...],
        security: Security = Security.PLAIN,
        ports: tuple[int, int] = (50000, 50049),
        passive: Passive = Passive.AGREED,
        message: bytes = b"",
    ) -> None:
        self.message = message
        self.subnet = Subnet()
        self.balancer = self.subnet.host(1)
        self.ports = ports
        self.security = security
        self.passive = passive
        self.folder = Path(tempfile.mkdtemp(prefix="farm-"))
        self.folder.chmod(0o755)
        self.certificate = write_certificate(self.folder)
        self.servers = [self._plant(number, name) for number, name in enumerate(names)]

    def _plant(self, number: int, name: str) -> Server:
        kind = name.partition("-")[0]
        host = self.subnet.host(11 + number)
        place = self.folder / name
        advertise = {Passive.AGREED: self.balancer, Passive.INSTALLED: "", Passive.WRONG: NOWHERE}[self.passive]
        ports = self.ports if self.passive is Passive.AGREED else ANY_PORT
        user = Server.user
        return KINDS[kind](
            name, host, advertise, ports, self.security, place, self.certificate, kind, user, self.message
        )

    def __enter__(self) -> Farm:
        try:
            for server in self.servers:
                server.prepare()
                server.start()
            for server in self.servers:
                server.until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        for server in self.servers:
            server.stop()
            journal.forget(server.name)
        for server in self.servers:
            with contextlib.suppress(FileNotFoundError):
                server.home.chmod(0o755)
        shutil.rmtree(self.folder)

    def put(self, name: str, content: bytes) -> None:
        """The same file on every server."""
        for server in self.servers:
            server.put(name, content)

    def __getitem__(self, name: str) -> Server:
        return next(server for server in self.servers if server.name == name)
