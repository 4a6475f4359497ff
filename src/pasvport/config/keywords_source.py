"""`source` of a proxy or a server. Source: HAProxy configuration manual, sections 4.2 and 5.2."""

from __future__ import annotations

from dataclasses import dataclass

from pasvport.address import Endpoint, PortRange
from pasvport.config.addresses import plain_address, source_address
from pasvport.config.cursor import Cursor, LineError
from pasvport.config.keywords import Keyword, Table
from pasvport.errors import AddressError
from pasvport.model import Source, SourceUse

_USESRC = "'usesrc' expects <addr>[:<port>], 'client', 'clientip', or 'hdr_ip(name,#)' as argument."


@dataclass(slots=True)
class _SourceDraft:
    endpoint: Endpoint
    ports: PortRange | None
    use: SourceUse = SourceUse.LOCAL
    use_endpoint: Endpoint | None = None
    interface: str | None = None


def read_source(cursor: Cursor, *, on_server: bool) -> Source:
    """`ADDR[:PORT] [usesrc X] [interface I]`; a port range only on servers, which stop at the first other word.

    Raises LineError.
    """
    usage = "<addr>[:<port>[-<port>]]" if on_server else "<addr>[:<port>]"
    word = cursor.argument(f"'source' expects {usage}, and optionally 'usesrc' <addr>, and 'interface' <name>.")
    try:
        endpoint, ports = source_address(word.text, cursor.environment, ranges=on_server)
    except AddressError as error:
        raise LineError(f"'source {word}' : {error}", word) from None
    draft = _SourceDraft(endpoint, ports)
    while cursor.more:
        row = SOURCE.find(cursor.words[cursor.at].text)
        if row is None and on_server:
            break
        if row is None or row.read is None:
            raise LineError("'source' only supports optional keywords 'interface' and 'usesrc'.", cursor.next)
        cursor.take()
        row.read(cursor, draft)
    return Source(draft.endpoint, draft.ports, draft.use, draft.use_endpoint, draft.interface)


def _usesrc(cursor: Cursor, draft: _SourceDraft) -> None:
    word = cursor.argument(_USESRC)
    if word.text in (SourceUse.CLIENT, SourceUse.CLIENT_IP):
        draft.use, draft.use_endpoint = SourceUse(word.text), None
        return
    if word.text.startswith("hdr_ip("):
        raise LineError("'usesrc hdr_ip()' needs HTTP, which is not served.", word)
    try:
        draft.use, draft.use_endpoint = SourceUse.ADDRESS, plain_address(word.text, cursor.environment)
    except AddressError as error:
        raise LineError(f"'usesrc {word}' : {error}", word) from None


def _interface(cursor: Cursor, draft: _SourceDraft) -> None:
    draft.interface = cursor.argument("'source' : missing interface name.").text


SOURCE: Table[_SourceDraft] = Table(
    (
        Keyword("usesrc", "client|clientip|<addr>[:<port>]", "Whose address the server sees.", _usesrc),
        Keyword("interface", "<name>", "The interface to send through.", _interface),
    )
)
