"""Who may look and who may act: passwords, requests forged by other sites, headers that keep a browser strict."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
    "Server": "pasvport",
}
"""Of every answer."""
_LONGEST_CREDENTIALS = 1024
_LONGEST_NAME = 64


def is_known(authorization: str, users: Iterable[tuple[str, str]]) -> bool:
    """Whether a `Basic` Authorization header names one of these users (RFC 7617).

    Every user is compared, in constant time, so that the time taken tells neither names nor passwords. Digests are
    compared, for they are of one length.
    """
    given = _digest(_credentials(authorization))
    found = False
    for name, password in users:
        found |= hmac.compare_digest(given, _digest(f"{name}:{password}".encode("utf-8", "surrogateescape")))
    return found


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).digest()


def mark_of(authorization: str) -> bytes:
    """What may be kept of an Authorization header to know it again."""
    return _digest(authorization.encode("utf-8", "surrogateescape"))


def user_of(authorization: str) -> str:
    """The name in an Authorization header, at most 64 characters of it; "" where there is none."""
    return _credentials(authorization).partition(b":")[0].decode("utf-8", "replace")[:_LONGEST_NAME]


def _credentials(authorization: str) -> bytes:
    """The decoded `user:password`; empty for anything else (which no user matches: each has a colon)."""
    scheme, _, text = authorization.partition(" ")
    if scheme.lower() != "basic" or len(text) > _LONGEST_CREDENTIALS:
        return b""
    try:
        return base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        return b""


def challenge(realm: str) -> str:
    """The WWW-Authenticate header."""
    escaped = realm.replace("\\", "\\\\").replace('"', '\\"')
    return f'Basic realm="{escaped}", charset="UTF-8"'


def is_own_page(headers: Mapping[str, str]) -> bool:
    """Whether an order comes from our own page, or from no browser at all.

    A browser sends a password it knows with forms of any site. It also tells, truly, which site the form is of:
    Sec-Fetch-Site, Origin or Referer. A program that sends none of them acts for whoever started it.
    """
    site = headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in ("same-origin", "none")
    source = headers.get("Origin") or headers.get("Referer")
    if not source:
        return True
    try:
        place = urlsplit(source).netloc
    except ValueError:
        return False
    return bool(place) and place == headers.get("Host")


def is_own_name(host: str | None, names: Iterable[str]) -> bool:
    """Whether a Host header names this machine: by a number, as localhost, or by one of `names`.

    Where a page wants no password, a foreign name is how another site's script reaches it: the site lets its own name
    lead to our address (DNS rebinding), and is then of our origin in the browser's eyes. A number leads nowhere else.
    Programs that send no Host are nobody's script.
    """
    if host is None:
        return True
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return False
    if name == "localhost" or name.endswith(".localhost") or name in {each.lower() for each in names}:
        return True
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True
