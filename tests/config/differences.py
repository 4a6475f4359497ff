"""Where pasvport wants to differ from HAProxy 2.6 in `-c`, by corpus file (without its number), and why.

A file that no longer differs fails the test: the list says what is true today.
"""

from __future__ import annotations

_HTTP = "pasvport speaks HTTP for its statistics only: what asks for more is an error, not an empty promise"
_LATER = "the keyword comes with a later issue; until then it is an error, never silently accepted"
_ACL = "ACLs, conditions and the rules that use them come with a later issue; until then they are errors"
_TLS = "TLS comes with a later issue; until then it is an error"
_PROXY_PROTOCOL = "the PROXY protocol comes with a later issue; until then it is an error"
_KERNEL = "the keyword tunes a part HAProxy has and pasvport has not; accepting it would be an empty promise"
_NUMBER = "HAProxy silently reads a word that is not a number as one; pasvport does the same but warns"
_MISSING_NUMBER = "HAProxy silently takes a missing number for 0, which for a weight means no traffic; pasvport refuses"
_SECTION = "the section comes with a later issue; until then it is an error"

DIFFERENCES: dict[str, str] = {
    # --- sections
    "section-extra-argument": "HAProxy also blames every line below the wrong header; pasvport blames the header only",
    "defaults-from-missing": "HAProxy also blames every line below the wrong header; pasvport blames the header only",
    "peers": _SECTION,
    "resolvers": _SECTION,
    "userlist": _SECTION,
    "cache": _SECTION,
    "ring": _SECTION,
    "mailers": _SECTION,
    # --- global
    "global-maxconn-text": _NUMBER,
    "global-maxconn-suffix": _NUMBER,
    "global-strict-limits-default": "`default` before a keyword is documented but broken in 2.6, it always fails there",
    "global-set-dumpable": _KERNEL,
    # --- bind
    "bind-nice": _KERNEL,
    "bind-same-twice": "HAProxy shares connections out among the two lines; pasvport does not, and warns",
    "bind-maxconn-text": _NUMBER,
    "bind-accept-proxy": _PROXY_PROTOCOL,
    "bind-process": _KERNEL,
    "bind-thread": _KERNEL,
    # --- server
    "server-port-option-bad": _NUMBER,
    "server-weight-text": _NUMBER,
    "server-weight-missing": _MISSING_NUMBER,
    "server-maxconn-text": _NUMBER,
    "server-maxconn-missing": _MISSING_NUMBER,
    "server-agent-port-bad": _NUMBER,
    "server-send-proxy": _PROXY_PROTOCOL,
    "server-ssl": _TLS,
    # --- proxies
    "proxy-mode-http": _HTTP,
    "proxy-maxconn-text": _NUMBER,
    "proxy-retries-text": _NUMBER,
    "proxy-id-text": _NUMBER,
    "proxy-balance-rdp-cookie": _LATER,
    "proxy-option-independent-streams": _LATER,
    "proxy-option-tcp-smart": _LATER,
    "proxy-option-httpchk": _HTTP,
    "proxy-default-option": "`default` before a keyword is documented but broken in 2.6, it always fails there",
    "proxy-option-redispatch-text": _NUMBER,
    "proxy-option-transparent": _LATER,
    "proxy-option-smtpchk": _LATER,
    "proxy-stick-store-response": _LATER,
    "proxy-stick-store-response-src": _LATER,
    "proxy-stick-if": _ACL,
    "proxy-acl": _ACL,
    "proxy-tcp-request": _ACL,
    "proxy-tcp-request-inspect": _ACL,
    "proxy-use-server": _ACL,
    "proxy-force-persist": _ACL,
    "proxy-declare": _ACL,
    "frontend-use-backend": _ACL,
    "frontend-use-backend-constant": "a backend by expression works in `mode ftp`; in `mode tcp` it comes with ACLs",
    "backend-use-server-dynamic": "`use-server %[...]` needs no condition here: a map of users to servers is enough",
    "proxy-errorfile": "pasvport ignores HTTP error files with a warning, so it does not open them",
    "proxy-filter": _LATER,
    "proxy-dispatch": _LATER,
    "proxy-email-alert": _LATER,
    "proxy-persist-rdp": _LATER,
    "default-backend-mode-mismatch": _HTTP,
    # --- statistics
    "stats-metrics-always": _HTTP,
    "stats-rule-deny": _HTTP,
    "stats-admin-acl": _ACL,
    "stats-http-request-word": _ACL,
    "stats-listen-with-server": _HTTP,
    "stats-default-backend": _HTTP,
}
