"""THE table of FTP commands: what each takes, when it is allowed, and what the balancer does with it.

`docs/ftp-dialogue.md` prints it. A verb that is not here is forwarded after login as a command with one reply.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pasvport.record import Direction


class Arity(StrEnum):
    """Whether an argument follows. A missing one that we need is answered 501; a needless one is let through."""

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"


class Group(StrEnum):
    """Chapters of the reference."""

    ACCESS = "access"
    PARAMETER = "transfer parameters"
    DATA = "data connection"
    TRANSFER = "transfer"
    SERVICE = "service"
    SECURITY = "security"
    OBSOLETE = "refused"


class Allowed(StrEnum):
    """In which phase of a session. What is always allowed is the server's to answer, before its login too."""

    ALWAYS = "always"
    LOGGED_IN = "logged in"


class Treatment(StrEnum):
    """What the balancer does; the value is what the reference page says."""

    FORWARD = "forwarded, reply relayed"
    REPLAYED = "forwarded; repeated to another server if this one fails before login"
    REMEMBER = "forwarded; noted for the transfer's record"
    LOGIN = "forwarded; may choose the server; failures are counted"
    PASSIVE = "answered by the balancer with a leased port; the server is asked for its own"
    ACTIVE = "with `option ftp-active` the balancer will dial the client; the server stays passive"
    TRANSFER = "forwarded; data bound to this session"
    ABORT = "forwarded at once; both data connections are reset"
    QUIT = "forwarded once no transfer is under way"
    REINITIALIZE = "forwarded; the session starts anew"
    FEATURES = "forwarded; only what balancer and server both do is listed"
    AUTHENTICATE = (
        "`option ftp-auth-tls pass` forwards it; 234, or a client that begins TLS after another 2xx or 334, makes the "
        "session blind; else 534"
    )
    ONLY_DEFAULT = "forwarded when it asks for the default; else 504"
    CLEAR = "refused with 533: no way back to clear text"
    REFUSE = "refused with 502"


@dataclass(frozen=True, slots=True)
class Verb:
    """One row. `direction` is set for commands that move data; `secret` arguments never reach a log."""

    name: str
    arity: Arity
    group: Group
    rfc: str
    treatment: Treatment
    doc: str
    allowed: Allowed = Allowed.ALWAYS
    direction: Direction | None = None
    in_transfer: bool = False
    secret: bool = False
    default: bytes = b""


def _access(name: str, arity: Arity, rfc: str, treatment: Treatment, doc: str, *, secret: bool = False) -> Verb:
    return Verb(name, arity, Group.ACCESS, rfc, treatment, doc, secret=secret)


def _transfer(name: str, arity: Arity, rfc: str, direction: Direction, doc: str) -> Verb:
    return Verb(name, arity, Group.TRANSFER, rfc, Treatment.TRANSFER, doc, Allowed.LOGGED_IN, direction)


def _data(name: str, arity: Arity, rfc: str, treatment: Treatment, doc: str) -> Verb:
    return Verb(name, arity, Group.DATA, rfc, treatment, doc, Allowed.LOGGED_IN)


def _service(name: str, arity: Arity, rfc: str, doc: str) -> Verb:
    return Verb(name, arity, Group.SERVICE, rfc, Treatment.FORWARD, doc)


def _refused(name: str, rfc: str, doc: str, *, secret: bool = False) -> Verb:
    return Verb(name, Arity.OPTIONAL, Group.OBSOLETE, rfc, Treatment.REFUSE, doc, secret=secret)


_NO, _MAY, _MUST = Arity.NONE, Arity.OPTIONAL, Arity.REQUIRED
_DOWN, _UP = Direction.DOWNLOAD, Direction.UPLOAD
_T = Treatment

_ROWS = (
    _access("USER", _MUST, "959", _T.LOGIN, "user name"),
    _access("PASS", _MAY, "959", _T.LOGIN, "password", secret=True),
    _access("ACCT", _MAY, "959", _T.LOGIN, "account", secret=True),
    _access("HOST", _MUST, "7151", _T.REPLAYED, "virtual host, before USER"),
    _access("CLNT", _MAY, "-", _T.REPLAYED, "the client's name"),
    _access("OPTS", _MUST, "2389", _T.REPLAYED, "option of a command, such as UTF8 ON"),
    _access("REIN", _NO, "959", _T.REINITIALIZE, "log out, keep the connection"),
    _access("QUIT", _NO, "959", _T.QUIT, "end of the session"),
    Verb("TYPE", _MUST, Group.PARAMETER, "959", _T.REMEMBER, "ASCII or image"),
    Verb("REST", _MUST, Group.PARAMETER, "3659", _T.REMEMBER, "where the next transfer begins"),
    Verb("MODE", _MUST, Group.PARAMETER, "959", _T.ONLY_DEFAULT, "transfer mode: stream only", default=b"S"),
    Verb("STRU", _MUST, Group.PARAMETER, "959", _T.ONLY_DEFAULT, "structure: file only", default=b"F"),
    _data("PASV", _NO, "959", _T.PASSIVE, "passive, IPv4"),
    _data("EPSV", _MAY, "2428", _T.PASSIVE, "passive, IPv4 or IPv6; ALL, 1, 2"),
    _data("PORT", _MUST, "959", _T.ACTIVE, "active, IPv4"),
    _data("EPRT", _MUST, "2428", _T.ACTIVE, "active, IPv4 or IPv6"),
    _transfer("RETR", _MUST, "959", _DOWN, "fetch a file"),
    _transfer("LIST", _MAY, "959", _DOWN, "list, for people"),
    _transfer("NLST", _MAY, "959", _DOWN, "list of names"),
    _transfer("MLSD", _MAY, "3659", _DOWN, "list, for machines"),
    _transfer("STOR", _MUST, "959", _UP, "store a file"),
    _transfer("STOU", _MAY, "959", _UP, "store under a new name"),
    _transfer("APPE", _MUST, "959", _UP, "append to a file"),
    Verb("ABOR", _NO, Group.SERVICE, "959", _T.ABORT, "stop the transfer", in_transfer=True),
    Verb(
        "STAT", _MAY, Group.SERVICE, "959", _T.FORWARD, "status, or a list over the control channel", in_transfer=True
    ),
    Verb("NOOP", _MAY, Group.SERVICE, "959", _T.FORWARD, "nothing", in_transfer=True),
    Verb("FEAT", _NO, Group.SERVICE, "2389", _T.FEATURES, "what is supported"),
    _service("SYST", _NO, "959", "kind of system"),
    _service("HELP", _MAY, "959", "help"),
    Verb("LANG", _MAY, Group.SERVICE, "2640", _T.REPLAYED, "language of replies"),
    _service("CSID", _MAY, "-", "client and server identification"),
    _service("ALLO", _MUST, "959", "allocate space"),
    _service("CWD", _MAY, "959", "change directory"),
    _service("XCWD", _MAY, "775", "CWD"),
    _service("CDUP", _NO, "959", "to the parent directory"),
    _service("XCUP", _NO, "775", "CDUP"),
    _service("PWD", _NO, "959", "print directory"),
    _service("XPWD", _NO, "775", "PWD"),
    _service("MKD", _MUST, "959", "make directory"),
    _service("XMKD", _MUST, "775", "MKD"),
    _service("RMD", _MUST, "959", "remove directory"),
    _service("XRMD", _MUST, "775", "RMD"),
    _service("RMDA", _MUST, "-", "remove a directory with all in it"),
    _service("DELE", _MUST, "959", "delete a file"),
    _service("RNFR", _MUST, "959", "rename from"),
    _service("RNTO", _MUST, "959", "rename to"),
    _service("SIZE", _MUST, "3659", "size of a file"),
    _service("MDTM", _MUST, "3659", "modification time"),
    _service("MFMT", _MUST, "-", "set the modification time"),
    _service("MFCT", _MUST, "-", "set the creation time"),
    _service("MFF", _MUST, "-", "set facts"),
    _service("MLST", _MAY, "3659", "facts of one object, over the control channel"),
    _service("AVBL", _MAY, "-", "space left"),
    _service("DSIZ", _MAY, "-", "size of a directory"),
    _service("HASH", _MUST, "-", "hash of a file"),
    _service("RANG", _MAY, "-", "byte range for the next command"),
    _service("SITE", _MAY, "959", "the server's own commands"),
    _service("SMNT", _MUST, "959", "structure mount"),
    Verb("AUTH", _MUST, Group.SECURITY, "4217", _T.AUTHENTICATE, "start TLS"),
    Verb("PBSZ", _MUST, Group.SECURITY, "4217", _T.FORWARD, "protection buffer"),
    Verb("PROT", _MUST, Group.SECURITY, "4217", _T.FORWARD, "protection of data connections"),
    Verb("CCC", _NO, Group.SECURITY, "4217", _T.CLEAR, "control channel back to clear text"),
    _refused("ADAT", "2228", "security data", secret=True),
    _refused("MIC", "2228", "command with integrity code", secret=True),
    _refused("CONF", "2228", "confidential command", secret=True),
    _refused("ENC", "2228", "encrypted command", secret=True),
    _refused("LPSV", "1639", "long passive"),
    _refused("LPRT", "1639", "long port"),
    _refused("SPSV", "-", "single-port passive"),
    _refused("ALGS", "6384", "gateway control"),
)

VERBS: dict[str, Verb] = {row.name: row for row in _ROWS}
