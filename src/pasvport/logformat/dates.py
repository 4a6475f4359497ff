"""Dates as logs write them, each computed once per second. The time always comes from the caller.

Sources: HAProxy manual, section 8.2.4 (%t, %T, %Tl); xferlog(5); RFC 3164 section 4.1.2; RFC 5424 section 6.2.3.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

# strftime would follow the locale; logs are English everywhere.
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class PerSecond:
    """A date of whole seconds since the epoch, remembered until another second is asked for."""

    __slots__ = ("_second", "_text", "_write")

    def __init__(self, write: Callable[[int], str]) -> None:
        self._write = write
        self._second = -1
        self._text = ""

    def __call__(self, second: int) -> str:
        if second != self._second:
            self._text = self._write(second)
            self._second = second
        return self._text


def local_date(second: int) -> str:
    """`06/Feb/2009:12:12:51` in local time."""
    return _day_and_time(datetime.fromtimestamp(second))


def utc_date(second: int) -> str:
    """`06/Feb/2009:12:12:51 +0000`."""
    return _day_and_time(datetime.fromtimestamp(second, UTC)) + " +0000"


def local_date_with_zone(second: int) -> str:
    """`06/Feb/2009:13:12:51 +0100` in local time."""
    moment = datetime.fromtimestamp(second).astimezone()
    return f"{_day_and_time(moment)} {moment:%z}"


def syslog_date(second: int) -> str:
    """`Feb  6 12:12:51` in local time, as RFC 3164 wants it: the day is padded with a blank."""
    moment = datetime.fromtimestamp(second)
    return f"{MONTHS[moment.month - 1]} {moment.day:2d} {moment:%H:%M:%S}"


def xferlog_date(second: int) -> str:
    """`Fri Feb  6 12:12:51 2009` in local time, as ctime(3) writes it."""
    moment = datetime.fromtimestamp(second)
    return f"{DAYS[moment.weekday()]} {syslog_date(second)} {moment.year}"


def iso_date(second: int) -> tuple[str, str]:
    """(`2009-02-06T12:12:51`, `+00:00`) in local time; the fraction belongs between the two."""
    moment = datetime.fromtimestamp(second).astimezone()
    zone = f"{moment:%z}"
    return f"{moment:%Y-%m-%dT%H:%M:%S}", f"{zone[:3]}:{zone[3:5]}"


def _day_and_time(moment: datetime) -> str:
    return f"{moment.day:02d}/{MONTHS[moment.month - 1]}/{moment.year}:{moment:%H:%M:%S}"
