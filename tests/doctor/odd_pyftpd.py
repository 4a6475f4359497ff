"""Child process: a pyftpdlib server with a fault that no setting of a real server gives. Told by JSON in argv[1]."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

from OpenSSL import SSL
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.filesystems import AbstractedFS
from pyftpdlib.handlers import FTPHandler, TLS_FTPHandler
from pyftpdlib.servers import FTPServer


class DosFilesystem(AbstractedFS):
    """Lists as IIS does by default."""

    def format_list(self, basedir: str, listing: list[str], ignore_err: bool = True) -> Iterator[bytes]:
        for name in listing:
            yield f"10-21-26  03:04PM       <DIR>          {name}\r\n".encode()


def old_context() -> Any:
    """TLS 1.0 and newer."""
    context = SSL.Context(SSL.SSLv23_METHOD)
    context.set_cipher_list(b"ALL:@SECLEVEL=0")
    context.set_min_proto_version(SSL.TLS1_VERSION)
    return context


class Late(FTPHandler):
    """Says 120 before its greeting."""

    def handle(self) -> None:
        self.respond("120 Ready in 1 minutes.")
        super().handle()


class Full(FTPHandler):
    def handle(self) -> None:
        self.respond("421 Too many connections.")
        self.close_when_done()


class NoEpsv(FTPHandler):
    def ftp_EPSV(self, line: str) -> None:  # noqa: N802 - pyftpdlib names its methods after the verbs
        self.respond("502 EPSV not here.")


class Any4(FTPHandler):
    def respond(self, resp: str, *args: Any, **named: Any) -> None:
        if resp.startswith("227"):
            _, _, numbers = resp.rpartition("(")
            resp = f"227 Entering passive mode (0,0,0,0,{','.join(numbers.split(',')[4:])}"
        super().respond(resp, *args, **named)


class TlsOnly(TLS_FTPHandler):
    tls_control_required = True
    tls_data_required = True


ODDITIES: dict[str, tuple[type[FTPHandler], dict[str, Any]]] = {
    "dos": (FTPHandler, {"abstracted_fs": DosFilesystem}),
    "late": (Late, {}),
    "full": (Full, {}),
    "no-epsv": (NoEpsv, {}),
    "any": (Any4, {}),
    "tls-only": (TlsOnly, {}),
    "tls-old": (TLS_FTPHandler, {}),
}


def main() -> None:
    wish = json.loads(sys.argv[1])
    base, settings = ODDITIES[wish["odd"]]
    authorizer = DummyAuthorizer()
    authorizer.add_user(wish["user"], wish["password"], wish["home"], perm="elradfmwMT")
    low, high = wish["ports"]
    settings |= {
        "authorizer": authorizer,
        "banner": wish["name"],
        "masquerade_address": wish["advertise"] or None,
        "passive_ports": range(low, high + 1),
    }
    if issubclass(base, TLS_FTPHandler):
        settings |= {"certfile": wish["certificate"]}
    if wish["odd"] == "tls-old":
        context = old_context()
        context.use_certificate_chain_file(wish["certificate"])
        context.use_privatekey_file(wish["certificate"])
        settings["ssl_context"] = context
    FTPServer((wish["host"], wish["port"]), type("Odd", (base,), settings)).serve_forever()


if __name__ == "__main__":
    main()
