"""Proxy keywords that are HTTP's, that come later, or that HAProxy removed. Source: HAProxy manual, section 4.2."""

from __future__ import annotations

from pasvport.config.draft import ProxyDraft
from pasvport.config.keywords import Keyword, Misplaced, Place, Status, later, words
from pasvport.config.keywords_option import read_http_only

_FE, _BE, _ANY = Place.ON_FRONTEND, Place.ON_BACKEND, Place.ANY_PROXY


def _http(name: str, text: str, places: Place) -> Keyword[ProxyDraft]:
    doc = "HTTP only; ignored with a warning."
    return Keyword(name, "...", doc, read_http_only(name, text, places), places, "P3", status=Status.HTTP)


def _rules(name: str, places: Place = Place.EITHER | Place.NAMED_DEFAULTS) -> Keyword[ProxyDraft]:
    return _http(name, f"'{name}' rules ignored for {{proxy}} as they require HTTP mode.", places)


def _silent(name: str, places: Place) -> Keyword[ProxyDraft]:
    """HAProxy says nothing of these in TCP mode; here the section that has one is told."""
    text = f"'{name}' ignored for {{proxy}} as it requires HTTP mode."
    doc = "HTTP only; ignored with a warning, silently where it comes from defaults."
    read = read_http_only(name, text, places, own=True)
    return Keyword(name, "...", doc, read, places, "P3", status=Status.HTTP)


_HTTP: tuple[Keyword[ProxyDraft], ...] = (
    *(_rules(name) for name in ("http-response", "http-after-response")),
    _rules("redirect", Place.EITHER),
    _http("cookie", "cookie will be ignored for {proxy} (needs 'mode http').", _BE),
    _http("monitor-uri", "monitor-uri will be ignored for {proxy} (needs 'mode http').", _FE),
    *(_silent(name, Place.FRONTEND) for name in ("capture", "monitor")),
    *(_silent(name, _FE) for name in ("max-session-srv-conns", "unique-id-header")),
    *(
        _silent(name, _BE)
        for name in words("dynamic-cookie-key http-check http-reuse http-send-name-header max-keep-alive-queue")
    ),
    *(
        _silent(name, _ANY)
        for name in words("compression errorfile errorfiles errorloc errorloc302 errorloc303 http-error use-fcgi-app")
    ),
)

_LATER: tuple[Keyword[ProxyDraft], ...] = (
    *later("acl", "A named test on traffic.", places=Place.EITHER | Place.NAMED_DEFAULTS, priority="P0"),
    *later(
        "tcp-request tcp-response",
        "Rules on connections and content.",
        places=Place.EITHER | Place.NAMED_DEFAULTS,
        priority="P0",
    ),
    *later("force-persist ignore-persist", "Persistence by condition.", places=Place.BACKEND, priority="P2"),
    *later("declare filter", "Captures and filters.", places=Place.EITHER, priority="P2"),
    *later(
        "dispatch", "A single target for all sessions.", places=Place.BACKEND, priority="P3", misplaced=Misplaced.SKIP
    ),
    *later("transparent persist email-alert", "Rarely used today.", places=_ANY, priority="P3"),
)


def _removed(name: str, doc: str) -> Keyword[ProxyDraft]:
    return Keyword(name, "...", doc, None, _ANY, "P3", status=Status.REMOVED, misplaced=Misplaced.OWN)


_REMOVED: tuple[Keyword[ProxyDraft], ...] = (
    _removed("clitimeout", "Use 'timeout client'."),
    _removed("contimeout", "Use 'timeout connect'."),
    _removed("srvtimeout", "Use 'timeout server'."),
    _removed("redispatch", "Use 'option redispatch'."),
    _removed("redisp", "Use 'option redispatch'."),
    _removed("appsession", "Use 'stick-table'."),
    _removed("block", "It was for HTTP."),
    _removed("grace", "Use 'grace' in the global section."),
    _removed("monitor-net", "It was for HTTP."),
    _removed("usesrc", "It is only allowed after a 'source' statement."),
)

FOREIGN_ROWS: tuple[Keyword[ProxyDraft], ...] = _HTTP + _LATER + _REMOVED
