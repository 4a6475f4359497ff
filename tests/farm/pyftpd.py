"""Child process: one pyftpdlib server, told by a JSON object in argv[1] what to be.

`without` are commands it shall not know."""

from __future__ import annotations

import json
import sys

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler, TLS_FTPHandler
from pyftpdlib.servers import FTPServer


class ImplicitHandler(TLS_FTPHandler):
    """TLS before the banner: pyftpdlib has only AUTH TLS."""

    def handle(self) -> None:
        # Whoever connects to the implicit port asked for privacy on both channels: some clients send no PROT.
        self._pbsz = self._prot = True
        self.secure_connection(self.ssl_context)
        super().handle()

    def ftp_AUTH(self, line: str) -> None:  # noqa: N802 - pyftpdlib names its methods after the verbs
        self.respond("503 The control connection is protected already.")


BASES = {"PLAIN": FTPHandler, "EXPLICIT": TLS_FTPHandler, "IMPLICIT": ImplicitHandler}


def main() -> None:
    wish = json.loads(sys.argv[1])
    authorizer = DummyAuthorizer()
    authorizer.add_user(wish["user"], wish["password"], wish["home"], perm="elradfmwMT")
    low, high = wish["ports"]
    settings = {
        "authorizer": authorizer,
        "banner": wish["name"],
        "masquerade_address": wish["advertise"] or None,
        "passive_ports": range(low, high + 1) if low else None,
        "use_gmt_times": True,
    }
    if "without" in wish:
        known = BASES[wish["security"]].proto_cmds
        settings["proto_cmds"] = {verb: known[verb] for verb in known if verb not in wish["without"]}
    if wish["security"] != "PLAIN":
        settings |= {"certfile": wish["certificate"]}
    handler = type("Farmhand", (BASES[wish["security"]],), settings)
    server = FTPServer((wish["host"], wish["port"]), handler, backlog=1024)
    server.max_cons = 4096
    server.serve_forever()


if __name__ == "__main__":
    main()
