"""Proxy keywords that are HTTP's, that come later, or that HAProxy removed. Source: HAProxy manual, section 4.2."""

from __future__ import annotations

from pasvport.config.draft import ProxyDraft
from pasvport.config.keywords import Keyword, Misplaced, Place, Status, later, words
from pasvport.config.keywords_option import read_http_only

_FE, _BE, _ANY = Place.ON_FRONTEND, Place.ON_BACKEND, Place.ANY_PROXY


def _http(name: str, text: str = "", places: Place = _ANY) -> Keyword[ProxyDraft]:
    return Keyword(
        name,
        "...",
        "HTTP only; ignored with a warning.",
        read_http_only(text or f"'{name}' ignored for {{proxy}} as it requires HTTP mode."),
        places,
        "P3",
        status=Status.HTTP,
    )


def _rules(name: str) -> Keyword[ProxyDraft]:
    text = f"'{name}' rules ignored for {{proxy}} as they require HTTP mode."
    return _http(name, text, Place.EITHER | Place.NAMED_DEFAULTS)


_HTTP: tuple[Keyword[ProxyDraft], ...] = (
    *(_rules(name) for name in ("http-request", "http-response", "http-after-response")),
    _http("cookie", "cookie will be ignored for {proxy} (needs 'mode http').", _BE),
    _http("stats", "'stats' statement ignored for {proxy} as it requires HTTP mode."),
    _http("capture", places=Place.FRONTEND),
    _http("monitor", places=Place.FRONTEND),
    _http("redirect", places=Place.EITHER),
    *(_http(name, places=_FE) for name in words("max-session-srv-conns monitor-uri unique-id-header")),
    *(
        _http(name, places=_BE)
        for name in words("dynamic-cookie-key http-check http-reuse http-send-name-header max-keep-alive-queue")
    ),
    *(
        _http(name)
        for name in words("compression errorfile errorfiles errorloc errorloc302 errorloc303 http-error use-fcgi-app")
    ),
)

_LATER: tuple[Keyword[ProxyDraft], ...] = (
    *later("acl", "A named test on traffic.", places=Place.EITHER | Place.NAMED_DEFAULTS, priority="P0"),
    *later("use_backend", "A backend by condition.", places=Place.FRONTEND, priority="P0"),
    *later("use-server", "A server by condition.", places=Place.BACKEND, priority="P0"),
    *later(
        "tcp-request tcp-response",
        "Rules on connections and content.",
        places=Place.EITHER | Place.NAMED_DEFAULTS,
        priority="P0",
    ),
    *later("load-server-state-from-file server-state-file-name", "State over restarts.", places=_BE, priority="P1"),
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
