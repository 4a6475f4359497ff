"""What a worker does to its own process before it accepts: limits, identity, the garbage collector."""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import os
import resource
import signal
from types import FrameType

from pasvport.engine.session import Session
from pasvport.wire import Start

_NEVER_ALL = 1 << 30


def drop_privileges(start: Start) -> None:
    """chroot, then group, then user, in the only order that works. Raises OSError."""
    if start.chroot:
        os.chroot(start.chroot)
        os.chdir("/")
    if start.gid is not None:
        os.setgroups([])
        os.setgid(start.gid)
    if start.uid is not None:
        if start.gid is None:
            os.setgroups([])
        os.setuid(start.uid)


def raise_descriptor_limit(wanted: int) -> None:
    """Set the soft limit to `wanted`, and the hard one if we may; less is better than nothing. 0: leave it."""
    if not wanted:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, hard)))
    except (OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))


def spare_the_collector() -> None:
    """Bound the pauses of the garbage collector, whatever the number of sessions.

    What exists now lives as long as the worker and need not be looked at again. Sessions make no cycles (a test holds
    them to that), so a full collection would only walk over all that live: 6 ms and more for 8,000 of them, where young
    objects cost 1.5 ms at most. Those are still looked at, for a cycle that some exception may leave behind.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(700, 10, _NEVER_ALL)


def tell_where_on(number: signal.Signals) -> None:
    """At that signal write to the standard error which functions run, and which session they serve.

    The functions are written at once, even while the interpreter stands still in C; the session, which nothing is noted
    for in advance, is found in the frames as soon as the interpreter moves.
    """
    signal.signal(number, _tell_session)
    faulthandler.register(number, all_threads=False, chain=True)


def _tell_session(_number: int, frame: FrameType | None) -> None:
    # Whatever is half made at this moment, the loop must not hear of it.
    with contextlib.suppress(Exception):
        while frame is not None:
            session = next((value for value in frame.f_locals.values() if isinstance(value, Session)), None)
            if session is not None:
                os.write(2, f"It serves {_described(session)}.\n".encode())
                return
            frame = frame.f_back


def _described(session: Session) -> str:
    backend, pick = session.backend, session.pick
    where = f"the session of {session.host}:{session.port} on frontend {session.doorway.frontend.proxy.name}"
    if backend is not None and pick is not None:
        where += f" with server {backend.proxy.name}/{pick.model.name}"
    return where
