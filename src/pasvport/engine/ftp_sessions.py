"""What concerns all FTP sessions of a worker at once."""

from __future__ import annotations

from collections.abc import Iterable

from pasvport.engine.control_channel import ControlChannel
from pasvport.engine.session import Session


def drain(sessions: Iterable[Session], reason: str, *, reload: bool = False) -> None:
    """Let every FTP session among `sessions` end at a moment without a transfer; the others stay.

    `reload`: only because another generation serves by now.
    """
    for session in sessions:
        if isinstance(session, ControlChannel):
            session.drain(reason, reload=reload)


def stay(sessions: Iterable[Session]) -> None:
    """What was said by `drain` no longer holds."""
    for session in sessions:
        if isinstance(session, ControlChannel):
            session.drain_asked = None


def count_transfers(sessions: Iterable[Session]) -> None:
    """Let the counters keep up with transfers that run."""
    for session in sessions:
        if isinstance(session, ControlChannel) and session.dialogue.is_transferring:
            session.count_bytes()
