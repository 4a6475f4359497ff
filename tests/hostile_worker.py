"""A worker that somebody has taken over: it serves, until a file `attackN` (N: its number) names what it does next.

What came of it is in `doneN` afterwards. Frames are written as they are, past everything that would encode them well.
"""

import contextlib
import fcntl
import os
import socket
from pathlib import Path

from hostile_frames import FRAMES
from pasvport import steering, wire
from pasvport.engine import queries, worker

FOLDER = Path(os.environ["HOSTILE"])
MOST = (1 << 63) - 1
tick = worker.Worker.time_is_up
worker._TICK = 0.02


def files(name):
    """Descriptors of this process by what they are of."""
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if name in os.readlink(entry):
                yield int(entry.name)


def refusals(file):
    """What the kernel lets nobody do to a file of counters."""
    for attack in (
        lambda: os.ftruncate(file, 0),
        lambda: os.ftruncate(file, 1 << 20),
        lambda: fcntl.fcntl(file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE),
    ):
        try:
            attack()
            yield "done"
        except OSError as error:
            yield type(error).__name__


def shorten(_victim):
    return sorted({word for file in files("pasvport-counters") for word in refusals(file)})


def write_everywhere(victim):
    """How many files of counters can be written, of how many; each for which that is possible is."""
    written, columns = 0, 0
    for file in files("pasvport-counters"):
        columns += 1
        with contextlib.suppress(OSError):
            os.pwrite(file, os.pread(file, 8, 0), 0)
            written += 1
    return [written, columns, sum(not column.readonly for column in victim.plant.counters.columns)]


def lie_in_counters(victim):
    for value in (MOST, -MOST - 1):
        for cell in range(len(victim.plant.cells)):
            victim.plant.cells[cell] = value
    return "done"


def give_slots(victim):
    for _, descriptor in victim.start.slots:
        os.eventfd_write(descriptor, 500)
    return "done"


def take_slots(victim):
    for _, descriptor in victim.start.slots:
        with contextlib.suppress(BlockingIOError):
            while True:
                os.eventfd_read(descriptor)
    return "done"


def shut_down_sockets(victim):
    for listener in victim.start.listeners:
        with socket.socket(fileno=os.dup(listener.descriptor)) as sock:
            sock.shutdown(socket.SHUT_RD)
    return "done"


def steer_everybody_here(victim):
    """All clients of the ports that it listens on."""
    for listener in victim.start.listeners:
        with socket.socket(fileno=os.dup(listener.descriptor)) as sock:
            steering.steer([sock])
    return "done"


def flood(victim, data):
    os.set_blocking(victim.uplink._descriptor, True)
    view = memoryview(data)
    while view:
        view = view[os.write(victim.uplink._descriptor, view) :]
    return "done"


def flood_with_entries(victim):
    one = wire.encode(wire.EntryLearnt("be", b"\x7f\0\0\1", 1))
    return flood(victim, one * 20_000)


def flood_with_notices(victim):
    return flood(victim, b"".join(wire.encode(wire.Notice(4, f"noise {n}")) for n in range(5000)))


def cry(_victim):
    for n in range(3000):
        os.write(2, b"\x1b]0;owned\x07\x1b[2J %d\n" % n)
    return "done"


def child_that_goes_on(write):
    """It outlives its parent, whose pipe and wire it has."""
    if os.fork() == 0:
        with contextlib.suppress(OSError):
            while True:
                write()
        os._exit(0)


def leave_a_child_that_cries(_victim):
    os.set_blocking(2, True)
    child_that_goes_on(lambda: os.write(2, b"x" * 100 + b"\n"))
    os._exit(9)


def leave_a_child_that_tells(victim):
    frames = wire.encode(wire.EntryLearnt("be", b"\x7f\0\0\1", 1)) * 2000
    os.set_blocking(victim.uplink._descriptor, True)
    child_that_goes_on(lambda: flood(victim, frames))
    os._exit(9)


def lie_about_sessions(victim):
    """Rows in the name of the other worker, whose number would be shifted by."""
    sound = queries.QUESTIONS["sessions"]

    def rows(sight):
        for row in sound(sight):
            yield None if row is None else (row[0], 1 << 40, *row[2:])

    queries.QUESTIONS["sessions"] = rows
    return "done"


def die(_victim):
    os._exit(9)


ATTACKS = {
    each.__name__: each
    for each in (
        shorten,
        write_everywhere,
        lie_in_counters,
        give_slots,
        take_slots,
        shut_down_sockets,
        steer_everybody_here,
        flood_with_entries,
        flood_with_notices,
        cry,
        lie_about_sessions,
        die,
        leave_a_child_that_cries,
        leave_a_child_that_tells,
    )
}


def time_is_up(self, now):
    tick(self, now)
    order = FOLDER / f"attack{self.number}"
    if not order.exists():
        return
    name = order.read_text()
    order.unlink()
    outcome = flood(self, FRAMES[name]) if name in FRAMES else ATTACKS[name](self)
    new = FOLDER / f"new{self.number}"
    new.write_text(repr(outcome))
    new.rename(FOLDER / f"done{self.number}")


worker.Worker.time_is_up = time_is_up
main = worker.main
