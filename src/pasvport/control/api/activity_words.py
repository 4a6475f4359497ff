"""`show activity`: a total and, with several workers, each one's part, in HAProxy's form."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from pasvport.sight import ActivitySight


class Line(NamedTuple):
    """A name (HAProxy's where it counts the same), a worker's number, and how the total follows from those."""

    name: str
    of: Callable[[ActivitySight], int]
    total: Callable[[Sequence[int]], int] = sum


def _average(worker: ActivitySight) -> int:
    return worker.busy_us // worker.turns if worker.turns else 0


def _mean(values: Sequence[int]) -> int:
    return sum(values) // len(values)


_LINES = (
    Line("loops", lambda each: each.turns),
    Line("poll_io", lambda each: each.events),
    Line("deferred", lambda each: each.deferred),
    Line("busy_ms_tot", lambda each: each.busy_us // 1000),
    Line("avg_loop_us", _average, _mean),
    Line("longest_loop_us", lambda each: each.longest_turn_us, max),
    Line("sessions", lambda each: each.sessions),
    Line("accepted", lambda each: each.accepted),
    Line("pipes_used", lambda each: each.pipes_used),
    Line("pipes_free", lambda each: each.pipes_free),
    Line("descriptors", lambda each: each.descriptors),
    Line("messages_dropped", lambda each: each.dropped_messages),
    Line("questions", lambda each: each.questions),
)


def activity_lines(workers: Sequence[ActivitySight]) -> Iterator[str]:
    """`name: TOTAL [ W0 W1 ... ]`, without brackets for one worker. Nothing when no worker answered."""
    if not workers:
        return
    yield f"thread_id: 1 (1..{len(workers)})"
    yield f"date_now: {max(each.epoch for each in workers):.6f}"
    for line in _LINES:
        values = [line.of(each) for each in workers]
        parts = f" [ {' '.join(map(str, values))} ]" if len(values) > 1 else ""
        yield f"{line.name}: {line.total(values)}{parts}"
