"""When something must be looked at in an FTP session: the dialogue's timers, and the end of a drain.

Nothing but deadlines is filed; activity writes numbers, which are looked at when a deadline comes due.
"""

from __future__ import annotations

from typing import Final

from pasvport.engine.data_connections import DataConnections
from pasvport.engine.frontends import Doorway
from pasvport.engine.ftp_service import DrainLimits, FtpService
from pasvport.engine.seeker import CONNECTING, OVER, QUEUED, RETRYING
from pasvport.engine.session import Session
from pasvport.engine.timers import NEVER
from pasvport.ftp.dialogue import Dialogue
from pasvport.ftp.events import DrainRequested, Event, TimedOut, Timer
from pasvport.record import Culprit, Stage

_LONGEST_GLANCE = 2.0
"""Seconds between two looks at a drained session whose idle time begins anew with every word."""
_PASSIVE = 3.0
"""Seconds that a server may be silent after PASV or EPSV before it is asked the other way."""
_OF_SERVER = 1 / 6
"""Of `timeout server`, where that is less."""
_GLANCE = 0.25
"""Of `timeout ftp-transfer`: how often the receiver's progress, of which nothing tells, is looked at."""
_SEARCHING = (QUEUED, CONNECTING, RETRYING)
_NO_TIMERS: Final[frozenset[Timer]] = frozenset()
_CLIENT: Final = Timer.CLIENT
_SERVER: Final = Timer.SERVER
_LOGIN: Final = Timer.LOGIN
_TRANSFER: Final = Timer.TRANSFER
_PASSIVE_ANSWER: Final = Timer.PASSIVE
_LULL: Final = Timer.LULL


class Drain:
    """Why a session shall end, since when, and with how much patience."""

    __slots__ = ("asked", "culprit", "limits", "reason")

    def __init__(self, asked: float, reason: str, culprit: Culprit, limits: DrainLimits) -> None:
        self.asked = asked
        self.reason = reason
        self.culprit = culprit
        self.limits = limits


class Deadlines(Session):
    """What of an FTP session time can change."""

    __slots__ = ("blind", "data", "dialogue", "drain_asked", "farewell", "service", "since", "timers")

    def __init__(self, doorway: Doorway, descriptor: int, host: str, port: int, number: int) -> None:
        Session.__init__(self, doorway, descriptor, host, port, number)
        service = doorway.frontend.ftp
        assert service is not None
        self.service: FtpService = service
        self.dialogue = Dialogue(service.settings())
        self.blind = False
        self.data: DataConnections | None = None
        self.timers: frozenset[Timer] = _NO_TIMERS
        self.since: dict[Timer, float] = {}
        """When each of them began, and some that are over."""
        self.farewell: tuple[Culprit, Stage] | None = None
        """How the session ends once the client has read our last words."""
        self.drain_asked: Drain | None = None

    def tell(self, event: Event) -> None:
        """Something happened."""
        raise NotImplementedError

    # --- draining -------------------------------------------------------------------------------------------------

    def drain(self, reason: str, culprit: Culprit = Culprit.KILLED, *, reload: bool = False) -> None:
        """End with 421 once the client is between two transfers and has nothing to say for as long as is granted."""
        limits = self.service.drain_after_reload if reload else self.service.drain
        if self.blind or limits.idle == NEVER:
            return
        if self.drain_asked is not None and self.drain_asked.limits.is_within(limits):
            return
        now = self.plant.loop.now
        self.drain_asked = Drain(now, reason, culprit, limits)
        self.wake_by(now + min(limits.idle, _LONGEST_GLANCE))

    def _drain_due(self) -> float:
        if self.drain_asked is None:
            return NEVER
        drain = self.drain_asked
        # Who is kept waiting is not silent, and whoever was answered has a moment from then on.
        busy = self.dialogue.is_transferring or _SERVER in self.timers or self.phase in _SEARCHING
        idle = NEVER if busy else max(drain.asked, self.client_seen, self.server_seen) + drain.limits.idle
        return min(idle, drain.asked + drain.limits.longest)

    def _drain_now(self) -> None:
        assert self.drain_asked is not None
        drain, self.drain_asked = self.drain_asked, None
        self.tell(DrainRequested(drain.reason, drain.culprit))

    # --- time -----------------------------------------------------------------------------------------------------

    def change_timers(self, timers: frozenset[Timer]) -> None:
        """These must run now; those that ran before go on."""
        former, self.timers = self.timers, timers
        for timer in timers:
            if timer not in former:
                self.since[timer] = self.plant.loop.now
            moment = self._glance(timer)
            if moment < self.due:
                self.wake_by(moment)

    def _due(self, timer: Timer) -> float:
        began = self.since[timer]
        if timer is _CLIENT:
            return max(began, self.client_seen) + self.patience.client
        if timer is _SERVER:
            return max(began, self.server_seen) + self.patience.server
        if timer is _PASSIVE_ANSWER:
            return max(began, self.server_seen) + min(_PASSIVE, self.patience.server * _OF_SERVER)
        if timer is _TRANSFER and self.data is not None:
            began = max(began, self.data.moved_at)
        elif timer is _LOGIN and self.queued_at:
            # A full farm is not the client's fault; `timeout queue` bounds that wait.
            began += max(0.0, self.taken_at - self.queued_at)
        elif timer is _LULL:
            began = max(began, self.server_seen)
        return began + self.service.limits[timer]

    def _glance(self, timer: Timer) -> float:
        """When to look at a deadline; at a transfer's several times, because nothing tells of a receiver's progress."""
        due = self._due(timer)
        if timer is not _TRANSFER:
            return due
        return min(due, self.plant.loop.now + self.service.limits[timer] * _GLANCE)

    def time_is_up(self, now: float) -> None:
        """Some deadline came due, perhaps one that is over."""
        if self.blind or self.phase in _SEARCHING:
            Session.time_is_up(self, now)
            return
        self.due = NEVER
        if self.farewell is not None:
            self.end(*self.farewell)
            return
        if self.data is not None and _TRANSFER in self.timers:
            self.data.note_progress()
        for timer in self.timers:
            if self._due(timer) <= now:
                whose = self.data.slow_side if timer is _TRANSFER and self.data is not None else None
                self.since[timer] = now
                self.tell(TimedOut(timer, whose))
                break
        if self.phase is not OVER and self._drain_due() <= now:
            self._drain_now()
        if self.phase is not OVER and self.farewell is None:
            self._watch_deadlines()

    def _watch_deadlines(self) -> None:
        soonest = min((self._glance(timer) for timer in self.timers), default=NEVER)
        soonest = min(soonest, self._drain_due())
        if self.drain_asked is not None:
            # Becoming idle files nothing: look again soon.
            soonest = min(soonest, self.plant.loop.now + min(self.drain_asked.limits.idle, _LONGEST_GLANCE))
        self.wake_by(soonest)
