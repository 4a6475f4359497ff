"""The lines `server`, `server-template` and `default-server`. Source: HAProxy configuration manual, section 4.2."""

from __future__ import annotations

import copy
import re

from pasvport.config.addresses import server_address
from pasvport.config.cursor import Cursor, LineError
from pasvport.config.diagnostics import Form
from pasvport.config.draft import ProxyDraft, ServerDraft
from pasvport.config.keywords import not_supported, words
from pasvport.config.keywords_server import SERVER
from pasvport.config.syntax import Word
from pasvport.digits import is_number
from pasvport.errors import AddressError

NAME = re.compile(r"[A-Za-z0-9_.:-]*")
PREFIX = re.compile(r"[A-Za-z0-9_.-]*")
MAX_TEMPLATE = 65536
_USAGE = "'server' expects <name> and <addr>[:<port>] as arguments."
_NO_WORDS: frozenset[str] = frozenset()
_TEMPLATE_USAGE = "'server-template' expects <prefix> <nb | range> <addr>[:<port>] as arguments."


def read_server(cursor: Cursor, draft: ProxyDraft) -> None:
    """`server NAME ADDRESS[:PORT] [option]...`. Raises LineError; a line with a wrong option adds no server."""
    _read_server(cursor, draft, _NO_WORDS)


def read_dynamic_server(cursor: Cursor, draft: ProxyDraft) -> None:
    """The same of `add server`, where fewer options are allowed: those that HAProxy allows there."""
    _read_server(cursor, draft, _NOT_DYNAMIC)


def _read_server(cursor: Cursor, draft: ProxyDraft, refused: frozenset[str]) -> None:
    cursor.form = Form.OBJECT
    name = cursor.argument(_USAGE)
    address = cursor.argument(_USAGE)
    draft.attempted_servers.add(name.text)
    _check_name(name, "server name")
    cursor.about = f"'server {draft.name}/{name}' : "
    server = _begin(cursor, draft, name.text)
    _address(cursor, server, address)
    _options(cursor, server, refused=refused)
    _finish(server, draft, cursor)
    draft.servers.append(server)


def read_template(cursor: Cursor, draft: ProxyDraft) -> None:
    """`server-template PREFIX N|LO-HI ADDRESS[:PORT] [option]...`: one server for each number. Raises LineError."""
    cursor.form = Form.OBJECT
    prefix, count, address = (cursor.argument(_TEMPLATE_USAGE) for _ in range(3))
    low, high = _numbers(count)
    _check_name(prefix, "server-template prefix", PREFIX)
    cursor.about = f"'server {draft.name}/{prefix}' : "
    server = _begin(cursor, draft, prefix.text)
    _address(cursor, server, address)
    _options(cursor, server)
    for number in range(low, high + 1):
        one = copy.copy(server)
        one.name = f"{prefix}{number}"
        if number > low:
            one.id = None
        _finish(one, draft, cursor)
        draft.servers.append(one)


def read_default_server(cursor: Cursor, draft: ProxyDraft) -> None:
    """`default-server [option]...`: presets of the lines below it. Raises LineError."""
    cursor.form = Form.OBJECT
    server = copy.copy(draft.default_server)
    server.line = cursor.line
    _options(cursor, server, preset=True)
    draft.default_server = server


def _begin(cursor: Cursor, draft: ProxyDraft, name: str) -> ServerDraft:
    server = copy.copy(draft.default_server)
    server.line, server.name = cursor.line, name
    return server


def _check_name(word: Word, what: str, allowed: re.Pattern[str] = NAME) -> None:
    end = allowed.match(word.text)
    if end is not None and end.end() < len(word.text):
        raise LineError(f"character '{word.text[end.end()]}' is not permitted in {what} '{word}'.", word)


def _numbers(word: Word) -> tuple[int, int]:
    low_text, dash, high_text = word.text.partition("-")
    low, high = (low_text, high_text) if dash else ("1", low_text)
    if not (is_number(low) and is_number(high)) or not 0 < int(low) <= int(high) <= MAX_TEMPLATE:
        raise LineError(f"Wrong server-template number or range arg '{word}'.", word)
    return int(low), int(high)


def _address(cursor: Cursor, server: ServerDraft, word: Word) -> None:
    try:
        server.endpoint, server.port = server_address(word.text, cursor.environment)
    except AddressError as error:
        raise LineError(str(error), word) from None


def _options(cursor: Cursor, server: ServerDraft, *, preset: bool = False, refused: frozenset[str] = _NO_WORDS) -> None:
    while cursor.more:
        word = cursor.take()
        row = SERVER.find(word.text)
        if row is None:
            hint = " Hint: no address was expected for this server." if preset else ""
            raise LineError(f"unknown keyword '{word}'.{hint}", word, SERVER.suggestion(word.text))
        if word.text in refused:
            raise LineError(f"'{word}' option is not accepted for dynamic server", word)
        if row.read is None:
            raise LineError(not_supported(word.text), word)
        if preset and word.text in _NOT_PRESET:
            raise LineError(f"'{word}' option is not accepted in default-server sections", word, fatal=False)
        row.read(cursor, server)


def _finish(server: ServerDraft, draft: ProxyDraft, cursor: Cursor) -> None:
    if server.track is not None and server.check:
        raise LineError("unable to enable checks and tracking at the same time!", server.track.word)
    if server.agent and not server.agent_port:
        text = f"server {server.name} does not have agent port. Agent check has been disabled."
        raise LineError(text, cursor.keyword)
    if server.id is None:
        return
    other = draft.server_ids.setdefault(server.id.value, server)
    if other is not server and other.line is not None:
        text = f"'id' : custom id {server.id.value} already used at {other.line.origin} ('server {other.name}')."
        raise LineError(text, server.id.word)


_NOT_PRESET = ("id",)
_NOT_DYNAMIC = frozenset(
    words(
        "no-check no-agent-check init-addr non-stick stick tcp-ut redir cookie max-reuse ssl-reuse no-ssl no-check-ssl "
        "no-send-proxy-v2-ssl no-send-proxy-v2-ssl-cn no-check-send-proxy resolvers resolve-prefer resolve-net "
        "resolve-opts namespace socks4 log-proto"
    )
)
