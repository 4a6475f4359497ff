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
PIECE = 8192
"""Bytes of an unfinished line of a server after which what has come is handed out."""
_HEAD = 32
_HIDDEN = b" ***"
_BEFORE = re.compile(rb"(?:\xff[\xfb-\xfe].|[\xf0-\xff])*", re.DOTALL)
_SYNCH = b"\xff\xf4\xf2"
_KNOWN = {name.encode("ascii"): name for name in VERBS} | {name.lower().encode("ascii"): name for name in VERBS}
# Against firewalls that look for PASV; vsftpd and Pure-FTPd know it.
_KNOWN |= {b"P@SW": "PASV", b"p@sw": "PASV"}
_CODES = {b"%03d" % code: code for code in range(1, 1000)}
_CLASSES = {b"%d" % digit: digit * 100 if 1 <= digit <= 5 else 500 for digit in range(10)}


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
    """One reply, or a piece of one (`complete` False, the rest follows). `raw` is what the server sent, ends included.

    A piece of code 0 is text outside any reply. The end of a reply that comes in pieces may have no bytes of its own.
    """

    code: int
    raw: bytes
    complete: bool = True

    @property
    def lines(self) -> tuple[bytes, ...]:
        """Without their ends, of which CR CR LF is one."""
        lines = self.raw.split(b"\n")
        if not lines[-1]:
            del lines[-1]
        return tuple(line.rstrip(b"\r") for line in lines)

    @property
    def text(self) -> bytes:
        """What follows the code in the last line."""
        lines = self.lines
        return lines[-1][4:] if lines else b""

    @property
    def is_preliminary(self) -> bool:
        return 100 <= self.code < 200

    @property
    def is_positive(self) -> bool:
        """2xx or 3xx."""
        return 200 <= self.code < 400


class ReplyReader:
    """Bytes of a server in by `push`, replies out by `pull`, every byte as it came.

    A reply is a line `NNN text`, or lines from `NNN-` to `NNN ` of the same code (RFC 959 section 4.2). Servers do
    otherwise, and clients differ in what they make of it: curl and wget end a reply at any `NNN ` and skip all else,
    lftp waits for the code of the first line, ftplib does so too but takes any other line for a reply. So nothing is
    refused. What stands outside a reply comes out as text; and after a line at which some client would have ended the
    reply, `doubt` is the code that it would have (`faint`: to ftplib alone). Whoever asked then waits, or takes it for
    the end by `settle`.

    An unfinished line of more than PIECE bytes comes out in pieces; `rest` gives the lines of an unfinished reply.
    Raises ProtocolError (the server's) for a reply of more than `limit` bytes.
    """

    __slots__ = ("_at", "_begin", "_buffer", "_code", "_head", "_limit", "_scanned", "_total", "doubt", "faint")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = b""
        self._begin = 0
        """Where in the buffer stands what was not handed out."""
        self._at = 0
        """Where the next line begins."""
        self._scanned = 0
        self._head = b""
        """How a line began whose beginning was handed out."""
        self._code = b""
        """Of the first line of a reply that goes on."""
        self._total = 0
        self.doubt = self.faint = 0

    @property
    def is_empty(self) -> bool:
        """Nothing of a further reply has arrived: what TLS must find before it begins (RFC 4217 section 10)."""
        return not self._code and not self._head and self._begin == len(self._buffer)

    @property
    def begins_with_code(self) -> bool:
        """A line has begun that ends a reply, or is one, however it goes on."""
        head = self._buffer[self._at : self._at + 4]
        return head[:3] in _CODES and head[3:] == b" " and self._code in (b"", head[:3])

    @property
    def is_open(self) -> bool:
        """A reply has begun whose last line is still to come."""
        return bool(self._code)

    def push(self, data: bytes) -> None:
        """Take in what arrived."""
        begin = self._begin
        if begin == len(self._buffer):
            self._buffer = data
            self._begin = self._at = self._scanned = 0
        else:
            self._buffer = self._buffer[begin:] + data
            self._at -= begin
            self._scanned -= begin
            self._begin = 0

    def pull(self) -> Reply | None:
        """The next reply or piece; None until more arrives."""
        buffer = self._buffer
        if not buffer:
            return None
        if not (self._at or self._code or self._head) and buffer.find(b"\n", self._scanned) + 1 == len(buffer):
            # Nearly all that servers say: one reply of one line.
            code = _CODES.get(buffer[:3], 0)
            if code and buffer[3:4] == b" " and buffer[4:7] != buffer[:3] and len(buffer) <= self._limit:
                self._buffer = b""
                self._scanned = self.doubt = self.faint = 0
                return Reply(code, buffer)
        while True:
            at = self._at
            end = buffer.find(b"\n", self._scanned) + 1
            if not end:
                return self._unfinished()
            head = self._head or _head_of(buffer[at : min(end, at + _HEAD)])
            was_open = self._code
            self.doubt = self.faint = 0
            code = self._ends(head) if was_open else self._first(head)
            if (
                not was_open
                and self._begin < at
                and not self._head
                and (code or self._code or self.doubt or self.faint)
            ):
                return self._text_before(at)
            self._head = b""
            self._at = self._scanned = end
            if code:
                self._code = b""
                return Reply(code, self._taken(end))
            if self.doubt or self.faint:
                return Reply(_CODES.get(self._code, 0), self._taken(end), complete=False)

    def _text_before(self, at: int) -> Reply:
        """Lines of bare text, before one of another kind; that one is read anew."""
        self._code = b""
        self._scanned = at
        self.doubt = self.faint = 0
        return Reply(0, self._taken(at), complete=False)

    def rest(self) -> Reply | None:
        """The lines so far of a reply that goes on, as far as they were not handed out."""
        if self._begin == self._at:
            return None
        return Reply(_CODES.get(self._code, 0), self._taken(self._at), complete=False)

    def settle(self) -> Reply:
        """The reply ended where `doubt`, or else `faint`, says so."""
        code, self._code = self.doubt or self.faint, b""
        self.doubt = self.faint = 0
        return Reply(code, self._taken(self._at))

    def _first(self, head: bytes) -> int:
        """Of a line outside a reply: the code if it is a whole one, else 0."""
        self._total = 0
        code, mark = _CODES.get(head[:3], 0), head[3:4]
        if code and mark == b" ":
            if head[4:8] != head[:3] + b"-":
                return code
            # `211 211-Features:` of a server that puts its code before lines which have one.
            self._code, self.doubt = head[:3], code
        elif code and mark == b"-":
            self._code = head[:3]
        elif code and not mark:
            return code
        elif code:
            # lftp and ftplib want no space behind it.
            self.doubt = code
        else:
            self.faint = _CLASSES.get(head[:1], 0)
        return 0

    def _ends(self, head: bytes) -> int:
        """Of a line inside a reply: the code if it is the last one, else 0."""
        code, mark = _CODES.get(head[:3], 0), head[3:4]
        if head[:3] == self._code:
            if mark == b" " and head[4:8] != self._code + b"-":
                return code
            self.doubt = 0 if mark == b"-" else code
        elif code and mark == b" ":
            self.doubt = code
        elif head.lstrip()[:3].lower() == b"end":
            self.doubt = _CODES[self._code]
        return 0

    def _taken(self, end: int) -> bytes:
        """What was not handed out, up to `end`."""
        begin, self._begin = self._begin, end
        raw = self._buffer
        if end == len(raw):
            # An idle session holds nothing.
            self._buffer = b""
            self._begin = self._at = self._scanned = 0
            raw = raw[begin:] if begin else raw
        else:
            raw = raw[begin:end]
        self._total += len(raw)
        if self._total > self._limit:
            raise ProtocolError("reply too long", Side.SERVER)
        return raw

    def _unfinished(self) -> Reply | None:
        """No whole line is there."""
        buffer, at = self._buffer, self._at
        self._scanned = len(buffer)
        if len(buffer) - at <= PIECE:
            return None
        if not self._head:
            self._head = _head_of(buffer[at : at + _HEAD])
            self.doubt = self.faint = 0
            if not self._code:
                self._total = 0
        head = self._head
        code = _CODES.get(self._code or (head[:3] if head[3:4] in (b" ", b"-") else b""), 0)
        return Reply(code, self._taken(len(buffer)), complete=False)


def _head_of(data: bytes) -> bytes:
    """What tells a line's kind: without its end, and without Telnet commands before it (RFC 854)."""
    if data[:1] >= b"\xf0":
        data = _BEFORE.sub(b"", data, 1)
    return data.rstrip(b"\r\n")


def rendered(code: int, text: str | bytes) -> bytes:
    """A reply of our own, on one line. CR, LF and NUL cannot be in it: they become spaces."""
    data = text if isinstance(text, bytes) else text.encode("utf-8", "replace")
    return b"%d %s\r\n" % (code, data.translate(_ONE_LINE))


def rendered_list(code: int, head: str, items: tuple[bytes, ...], tail: str) -> bytes:
    """A multi-line reply whose inner lines begin with a space, as FEAT wants it (RFC 2389 section 3.2)."""
    inner = b"".join(b" %s\r\n" % item.translate(_ONE_LINE) for item in items)
    return b"%d-%s\r\n%s%d %s\r\n" % (code, head.encode("ascii"), inner, code, tail.encode("ascii"))


_ONE_LINE = bytes.maketrans(b"\r\n\0", b"   ")
