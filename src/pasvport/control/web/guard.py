"""Who may look and who may act: passwords, requests forged by other sites, headers that keep a browser strict."""

from __future__ import annotations

import base64
import binascii
import hmac
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


def is_known(authorization: str, users: Iterable[tuple[str, str]]) -> bool:
    """Whether a `Basic` Authorization header names one of these users (RFC 7617).

    Every user is compared, in constant time, so that the time taken tells neither names nor passwords.
    """
    given = _credentials(authorization)
    found = False
    for name, password in users:
        found |= hmac.compare_digest(given, f"{name}:{password}".encode())
    return found


def user_of(authorization: str) -> str:
    """The name in a header that `is_known` has accepted; "" where there is none."""
    return _credentials(authorization).partition(b":")[0].decode("utf-8", "replace")


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
