"""Commands and replies: from lines to values and back.

RFC 959 sections 4.1.3, 4.2 and 5.3. Bytes are never decoded: an argument is what stood after the first space.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from pasvport.errors import ProtocolError, Side
from pasvport.ftp.lines import Line
from pasvport.ftp.verbs import VERBS

CRLF = b"\r\n"
_VERB = re.compile(rb"([A-Za-z][A-Za-z0-9]{1,15})(?:([ \t])(.*)|[\r\0]*)", re.DOTALL)
_BEHIND_CR = re.compile(rb"\r[\0\t\r ]*([A-Za-z]{3,16})(?![A-Za-z0-9])")
_REPLY = re.compile(rb"([1-5][0-9][0-9])(?:([ -])(.*))?", re.DOTALL)
PART = 8192
"""Bytes of a multi-line reply after which what has come is passed on as a part."""
_HIDDEN = b" ***"
_BEFORE = re.compile(rb"(?:\xff[\xfb-\xfe].|[\xf0-\xff])*", re.DOTALL)
_SYNCH = b"\xff\xf4\xf2"
_KNOWN = {name.encode("ascii"): name for name in VERBS} | {name.lower().encode("ascii"): name for name in VERBS}
_CODES = {b"%d" % code: code for code in range(100, 600)}


class Command(NamedTuple):
    """What a client asks. `line` is what the server shall hear: what the client sent, without its end.

    `urgent`: it came with Telnet's Interrupt Process or Synch (RFC 854). A line that is no command has an empty `verb`,
    and `fault` says why.
    """

    verb: str
    argument: bytes = b""
    line: bytes = b""
    urgent: bool = False
    fault: str = ""


NO_COMMAND = Command("")
"""Where none was given yet."""


def parse_command(line: Line) -> Command:
    """Any line; never raises: what is no command comes out with a fault."""
    if line.fault:
        return Command("", fault=line.fault)
    data = line.data
    head, _, argument = data.partition(b" ")
    known = _KNOWN.get(head)
    return Command(known, argument, data) if known is not None else _parsed(data)


def _parsed(data: bytes) -> Command:
    """A line that does not begin with a verb as it should.

    Before the verb may stand Telnet commands, whole or in halves: no verb begins with such a byte. Those of an
    interrupt are not passed on (ProFTPD alone knows them everywhere); others are the server's to judge. ProFTPD takes a
    tab for the space, and CR before the line's end for nothing, vsftpd too; Pure-FTPd answers neither.
    """
    before = _BEFORE.match(data)
    size = before.end() if before is not None else 0
    found = _VERB.fullmatch(data, size)
    if found is None:
        return Command("", fault="not a command")
    telnet = data[:size]
    verb, separator, argument = found[1], found[2], found[3] or b""
    line = verb + b" " + argument if separator else verb
    if telnet.strip(_SYNCH):
        line = telnet + line
    is_urgent = b"\xf4" in telnet or b"\xf2" in telnet
    return Command(verb.decode("ascii").upper(), argument, line, is_urgent)


def verbs_behind_cr(line: bytes) -> set[str]:
    """What a server that ends lines at a lone CR would take for verbs of further commands."""
    return {found.decode("ascii").upper() for found in _BEHIND_CR.findall(line)}


def masked(command: Command) -> bytes:
    """The command as a log may show it: no password, no account, nothing of a line that could not be parsed."""
    if not command.verb:
        return b"<" + command.fault.encode("ascii") + b">"
    row = VERBS.get(command.verb)
    if row is not None and row.secret:
        return command.verb.encode("ascii") + _HIDDEN
    return command.line


class Reply(NamedTuple):
    """One reply, or a part of a long one (`complete` False, the rest follows). `lines` have no ends."""

    code: int
    lines: tuple[bytes, ...]
    complete: bool = True

    @property
    def raw(self) -> bytes:
        """As it goes on the wire."""
        return CRLF.join(self.lines) + CRLF

    @property
    def text(self) -> bytes:
        """What follows the code in the last line."""
        return self.lines[-1][4:]

    @property
    def is_preliminary(self) -> bool:
        return self.code < 200

    @property
    def is_positive(self) -> bool:
        """2xx or 3xx."""
        return 200 <= self.code < 400


class ReplyReader:
    """Lines of a server, one at a time, into replies.

    A multi-line reply begins with `NNN-` and ends only with `NNN ` of the same code; lines between may look like
    anything. At most PART bytes wait here: a longer reply comes out in parts. Raises ProtocolError (the server's) for a
    line that cannot begin a reply, and for a reply of more than `limit` bytes.
    """

    __slots__ = ("_code", "_limit", "_lines", "_size", "_total")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._code = b""
        self._lines: list[bytes] = []
        self._size = 0
        self._total = 0

    @property
    def is_empty(self) -> bool:
        """No reply is half-read."""
        return not self._code

    def read(self, line: Line) -> Reply | None:
        """What this line completes, if it does."""
        if line.fault:
            raise ProtocolError(f"{line.fault} in a reply", Side.SERVER)
        data = line.data
        if not self._code:
            code = _CODES.get(data[:3])
            if code is not None and data[3:4] == b" ":
                return Reply(code, (data,))
            return self._first(data)
        self._count(data)
        if data[:3] == self._code and data[3:4] in (b" ", b""):
            return self._out(complete=True)
        return self._out(complete=False) if self._size > PART else None

    def _first(self, data: bytes) -> Reply | None:
        before = _BEFORE.match(data)
        found = _REPLY.fullmatch(data, before.end() if before is not None else 0)
        if found is None:
            raise ProtocolError("not a reply", Side.SERVER)
        if found[2] != b"-":
            return Reply(int(found[1]), (data,))
        self._code = found[1]
        self._total = 0
        self._count(data)
        return None

    def _count(self, data: bytes) -> None:
        self._lines.append(data)
        # A line costs memory beyond its bytes, so that empty lines count too.
        self._size += len(data) + 32
        self._total += len(data) + 2
        if self._total > self._limit:
            raise ProtocolError("reply too long", Side.SERVER)

    def _out(self, *, complete: bool) -> Reply:
        reply = Reply(int(self._code), tuple(self._lines), complete)
        self._lines, self._size = [], 0
        if complete:
            self._code = b""
        return reply


def rendered(code: int, text: str | bytes) -> bytes:
    """A reply of our own, on one line. CR, LF and NUL cannot be in it: they become spaces."""
    data = text if isinstance(text, bytes) else text.encode("utf-8", "replace")
    return b"%d %s\r\n" % (code, data.translate(_ONE_LINE))


def rendered_list(code: int, head: str, items: tuple[bytes, ...], tail: str) -> bytes:
    """A multi-line reply whose inner lines begin with a space, as FEAT wants it (RFC 2389 section 3.2)."""
    inner = b"".join(b" %s\r\n" % item.translate(_ONE_LINE) for item in items)
    return b"%d-%s\r\n%s%d %s\r\n" % (code, head.encode("ascii"), inner, code, tail.encode("ascii"))


_ONE_LINE = bytes.maketrans(b"\r\n\0", b"   ")
