"""TLS keywords of the global section: defaults for lines with `ssl`. Source: HAProxy configuration manual, section 3.

No line can say `ssl` yet, so nothing reads these defaults: they are checked as HAProxy checks them, and a notice says
that they have nothing to act on. Debian's stock configuration has five of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from pasvport.config.arguments import duration, integer
from pasvport.config.cursor import Cursor, LineError
from pasvport.config.draft import GlobalDraft
from pasvport.config.judged import Judged
from pasvport.config.keywords import Keyword, Place, words
from pasvport.errors import ConfigError

Reader = Callable[[Cursor, GlobalDraft], None]

_VERSIONS = words("SSLv3 TLSv1.0 TLSv1.1 TLSv1.2 TLSv1.3")
_COMMON_OPTIONS = frozenset(
    words(
        "no-sslv3 no-tlsv10 no-tlsv11 no-tlsv12 no-tlsv13 force-sslv3 force-tlsv10 force-tlsv11 force-tlsv12 "
        "force-tlsv13 no-tls-tickets"
    )
)
_BIND_OPTIONS = _COMMON_OPTIONS | {"prefer-client-ciphers"}
_EXTRA_FILES = words("none all bundle sctl ocsp issuer key")


def _noted(read: Reader) -> Reader:
    def noting(cursor: Cursor, draft: GlobalDraft) -> None:
        read(cursor, draft)
        draft.tls.append((cursor.line, cursor.keyword))

    return noting


def _argument(kind: str, *, once: bool = False) -> Reader:
    def read(cursor: Cursor, draft: GlobalDraft) -> None:
        cursor.argument(f"global statement '{cursor.keyword}' expects {kind} as an argument.")
        if once and cursor.keyword.text in draft.said:
            raise LineError(f"'{cursor.keyword}' already specified.", cursor.keyword)
        draft.said[cursor.keyword.text] = cursor.line

    return read


def _options(known: Collection[str]) -> Reader:
    def read(cursor: Cursor, _draft: GlobalDraft) -> None:
        of = f"on global statement '{cursor.keyword}'."
        if not cursor.more:
            raise LineError(f"global statement '{cursor.keyword}' expects an option as an argument.", cursor.keyword)
        while cursor.more:
            option = cursor.take()
            if option.text in ("ssl-min-ver", "ssl-max-ver"):
                version = cursor.argument(f"'{option}' : missing the ssl/tls version {of}")
                if version.text not in _VERSIONS:
                    raise LineError(f"'{version}' : unknown ssl/tls version {of}", version)
            elif option.text not in known:
                raise LineError(f"unknown option '{option}' {of}", option)

    return read


def _choice(*known: str) -> Reader:
    def read(cursor: Cursor, _draft: GlobalDraft) -> None:
        text = f"'{cursor.keyword}' expects {' or '.join(repr(each) for each in known)} as argument."
        word = cursor.argument(text)
        if word.text not in known:
            raise LineError(text, word)

    return read


def _extra_files(cursor: Cursor, _draft: GlobalDraft) -> None:
    given = list(cursor.words[1:])
    cursor.at = len(cursor.words)
    wrong = next((word for word in given if word.text not in _EXTRA_FILES), None)
    if not given or wrong is not None:
        known = ", ".join(_EXTRA_FILES)
        raise LineError(f"'ssl-load-extra-files' expects one or multiple arguments ({known}).", wrong or cursor.keyword)
    if len(given) > 1 and any(word.text in ("none", "all") for word in given):
        raise LineError("'ssl-load-extra-files' 'none' and 'all' can be only used alone", given[0])


def _dh_parameters(cursor: Cursor, _draft: GlobalDraft) -> None:
    word = cursor.argument("'ssl-dh-param-file' expects a file path as an argument.")
    try:
        text = cursor.world.read_file(word.text)
    except ConfigError:
        text = ""
    if "-----BEGIN DH PARAMETERS-----" not in text:
        raise LineError(f"'ssl-dh-param-file': unable to load DH parameters from file <{word}>.", word)


def _number(lowest: int) -> Reader:
    complaint = "a positive numeric value" if not lowest else f"a value >= {lowest}"

    def read(cursor: Cursor, _draft: GlobalDraft) -> None:
        word = cursor.argument(f"'{cursor.keyword}' expects an integer argument.")
        if integer(cursor, word) < lowest:
            raise LineError(f"'{cursor.keyword}' expects {complaint}.", word)

    return read


def _old_capture_size(cursor: Cursor, draft: GlobalDraft) -> None:
    cursor.warn(
        "'tune.ssl.capture-cipherlist-size' is deprecated and will be removed in version 2.7. "
        "Please use 'tune.ssl.capture-buffer-size' instead.",
        cursor.keyword,
    )
    _number(0)(cursor, draft)


def _time(cursor: Cursor, _draft: GlobalDraft) -> None:
    word = cursor.argument(f"'{cursor.keyword}' expects ssl sessions <lifetime> in seconds as argument.")
    duration(cursor, word, cursor.keyword.text)


def _switch(_cursor: Cursor, _draft: GlobalDraft) -> None:
    """A word without argument."""


def _row(names: str, syntax: str, doc: str, read: Reader, most: int | None = 1) -> tuple[Keyword[GlobalDraft], ...]:
    doc = f"{doc} It has nothing to act on until `ssl` is supported; a notice says so."
    return tuple(Keyword(name, syntax, doc, _noted(read), Place.GLOBAL, "P1", most=most) for name in words(names))


TLS_ROWS: tuple[Keyword[GlobalDraft], ...] = (
    *_row("ca-base crt-base", "<directory>", "Where relative names begin.", _argument("a directory path", once=True)),
    *_row("ssl-default-bind-options", "<option>...", "Options of `bind`.", _options(_BIND_OPTIONS), None),
    *_row("ssl-default-server-options", "<option>...", "Options of `server`.", _options(_COMMON_OPTIONS), None),
    *_row(
        "ssl-default-bind-ciphers ssl-default-bind-ciphersuites ssl-default-server-ciphers "
        "ssl-default-server-ciphersuites",
        "<ciphers>",
        "Cipher suites.",
        _argument("a cipher suite"),
    ),
    *_row("ssl-default-bind-curves", "<curves>", "Elliptic curves.", _argument("a curves suite")),
    *_row("ssl-server-verify", "none|required", "Whether servers prove who they are.", _choice("none", "required")),
    *_row("ssl-dh-param-file", "<file>", "Diffie-Hellman parameters.", _dh_parameters),
    *_row("ssl-load-extra-files", "<kind>...", "Files beside a certificate.", _extra_files, None),
    *_row("ssl-load-extra-del-ext", "", "Extra files replace the extension.", _switch, 0),
    *_row("ssl-skip-self-issued-ca tune.ssl.force-private-cache", "", "A detail of TLS.", _switch, 0),
    *_row("maxsslconn maxsslrate", "<number>", "Limit of TLS connections.", _number(0)),
    *_row("tune.ssl.cachesize", "<number>", "Sessions remembered.", _number(0)),
    *_row("tune.ssl.default-dh-param", "<bits>", "Size of Diffie-Hellman parameters.", _number(1024)),
    *_row("tune.ssl.lifetime", "<time>", "How long a session may be resumed.", _time),
    *_row("tune.ssl.keylog", "on|off", "Keep the keys for debugging.", _choice("on", "off")),
    *_row(
        "tune.ssl.maxrecord tune.ssl.hard-maxrecord tune.ssl.capture-buffer-size tune.ssl.ssl-ctx-cache-size",
        "<number>",
        "A size of TLS.",
        _number(0),
    ),
    *_row("tune.ssl.capture-cipherlist-size", "<number>", "As `tune.ssl.capture-buffer-size`.", _old_capture_size),
)


def nothing_to_act_on(judged: Judged) -> None:
    """One notice for all of them, at the first."""
    if not judged.settings.tls:
        return
    line, word = judged.settings.tls[0]
    others = len({each.text for _, each in judged.settings.tls} - {word.text})
    more = f" and {others} more keyword{'s' if others > 1 else ''} of TLS" if others else ""
    text = f"'{word}'{more} {'have' if others else 'has'} nothing to act on: no 'bind' or 'server' line uses TLS."
    judged.diagnostics.notice(line, text)
