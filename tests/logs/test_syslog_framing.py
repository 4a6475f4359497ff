"""Frames, clamped levels, truncation and samples, without a network."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from log_rig import configuration, fd_target, tcp_target, udp_target
from pasvport.logformat.syslog import FACILITIES, INFO, LEVELS, Framing, Sampler, Sender, stream_key, stream_targets
from pasvport.model import LogFormat

NOW = 1795403351.25
SENDER = Sender("haproxy", 7)
TEXT_FRAMES = [form for form in LogFormat if form is not LogFormat.JSON]


@pytest.mark.parametrize(
    ("form", "frame"),
    [
        (LogFormat.LOCAL, b"<134>Nov 23 03:09:11 haproxy[7]: "),
        (LogFormat.RFC3164, b"<134>Nov 23 03:09:11 localhost haproxy[7]: "),
        (LogFormat.RFC5424, b"<134>1 2026-11-23T03:09:11.250000+00:00 - haproxy 7 - - "),
        (LogFormat.PRIORITY, b"<134>"),
        (LogFormat.SHORT, b"<6>"),
        (LogFormat.TIMED, b"<6>2026-11-23T03:09:11.250000+00:00 "),
        (LogFormat.ISO, b"2026-11-23T03:09:11.250000+00:00 "),
        (LogFormat.RAW, b""),
    ],
)
def test_frames(utc: None, form: LogFormat, frame: bytes) -> None:
    framing = Framing(udp_target(1, format=form), SENDER)
    assert framing.frame(INFO, b"hello", NOW) == frame + b"hello\n"
    # The same second again, then another: what is kept per second is renewed.
    assert framing.frame(INFO, b"again", NOW) == frame + b"again\n"
    later = framing.frame(INFO, b"later", NOW + 60)
    assert later == frame.replace(b"03:09", b"03:10") + b"later\n"


def test_host_and_structured_data(utc: None) -> None:
    framing = Framing(udp_target(1, format=LogFormat.RFC5424), Sender("tag", 7, "bal"))
    assert framing.frame(INFO, b"x", NOW, b'[a b="c"]').endswith(b' bal tag 7 - [a b="c"] x\n')
    assert b" bal tag[7]: " in Framing(udp_target(1, format=LogFormat.RFC3164), Sender("tag", 7, "bal")).frame(
        6, b"", NOW
    )


def test_structured_data_that_do_not_fit_are_left_out(utc: None) -> None:
    framing = Framing(udp_target(1, format=LogFormat.RFC5424, length=80), SENDER)
    assert framing.frame(INFO, b"hello", NOW, b"[" + b"x" * 99 + b"]").endswith(b" haproxy 7 - - hello\n")


def test_local_time(zone: Callable[[str], None]) -> None:
    zone("IST-5:30")
    framing = Framing(udp_target(1, format=LogFormat.ISO), SENDER)
    assert framing.frame(INFO, b"x", NOW) == b"2026-11-23T08:39:11.250000+05:30 x\n"


def test_days_are_padded_with_a_blank(utc: None) -> None:
    assert b">Nov  1 00:00:00 " in Framing(udp_target(1), SENDER).frame(INFO, b"", 1793491200.0)


def test_levels_are_filtered_and_clamped() -> None:
    framing = Framing(udp_target(1, format=LogFormat.SHORT, level=5, minimum_level=3), SENDER)
    assert [framing.wants(level) for level in range(8)] == [True] * 6 + [False] * 2
    assert [framing.frame(level, b"", NOW)[:3] for level in range(6)] == [b"<3>"] * 4 + [b"<4>", b"<5>"]


@given(st.integers(80, 200), st.binary(max_size=300), st.sampled_from(TEXT_FRAMES))
def test_no_line_is_longer_than_len(length: int, body: bytes, form: LogFormat) -> None:
    framing = Framing(udp_target(1, format=form, length=length), SENDER)
    line = framing.frame(INFO, body, NOW)
    assert len(line) <= length + 1
    assert line.endswith(b"\n")
    assert line[:-1] == (Framing(udp_target(1, format=form, length=9999), SENDER).frame(INFO, body, NOW))[:-1][:length]


@given(st.integers(1, 20), st.data())
def test_samples(size: int, data: st.DataObject) -> None:
    low = data.draw(st.integers(1, size))
    high = data.draw(st.integers(low, size))
    sampler = Sampler(udp_target(1, sample_ranges=((low, high),), sample_size=size))
    taken = [sampler.take() for _ in range(3 * size)]
    assert taken == [low <= number % size + 1 <= high for number in range(3 * size)]


def test_messages_that_are_filtered_do_not_count_as_samples() -> None:
    framing = Framing(udp_target(1, level=3, sample_ranges=((1, 1),), sample_size=2), SENDER)
    assert [framing.wants(level) for level in (6, 3, 6, 3, 3)] == [False, True, False, False, True]


def test_streams_are_numbered_once_each() -> None:
    out, err, tcp = fd_target(1), fd_target(2), tcp_target(514)
    config = configuration(out, udp_target(1), fd_target(1, format=LogFormat.RAW, level=3), err, tcp)
    assert stream_targets(config) == tuple(stream_key(target) for target in (out, err, tcp))


def test_names_have_their_numbers() -> None:
    assert (FACILITIES.index("local0"), len(FACILITIES)) == (16, 24)
    assert (LEVELS.index("err"), LEVELS.index("info")) == (3, 6)
