"""Whether a session must say its user before a server can be chosen for it."""

from __future__ import annotations

from collections.abc import Iterator

from pasvport.model import Expression, Mode, Proxy

_FTP = "ftp."


def needs_user(expression: Expression) -> bool:
    """Whether the expression has no sample before USER (and HOST, which comes before it) was said."""
    return expression.fetch.startswith(_FTP)


def is_deferred(frontend: Proxy, backend: Proxy) -> bool:
    """Whether the choice of a server waits for USER: some rule on the way from frontend to backend needs it.

    `backend` is the one the session goes to; a frontend whose `use_backend` needs the user defers whichever that is.
    Sessions in other modes never say a user, so they never wait.
    """
    return frontend.mode is Mode.FTP and any(needs_user(expression) for expression in _expressions(frontend, backend))


def _expressions(frontend: Proxy, backend: Proxy) -> Iterator[Expression]:
    yield from (rule.expression for rule in frontend.use_backend)
    yield from (rule.expression for rule in backend.use_server)
    yield from (rule.expression for rule in backend.stick_rules)
    if backend.balance.expression is not None:
        yield backend.balance.expression
