"""What a worker does to its own process before it accepts: limits, identity, the garbage collector."""

from __future__ import annotations

import gc
import os
import resource

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
