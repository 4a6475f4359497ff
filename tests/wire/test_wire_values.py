"""What a worker tells is bounded in every field, and whatever else comes is refused: nothing is built, nothing runs."""

from __future__ import annotations

import contextlib
import gc
import importlib
import pickle
import pkgutil
import struct
import tracemalloc
import typing
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pasvport import model, wire
from pasvport.bounds import LONGEST_TEXT, visible
from pasvport.control.validation import ROWS
from pasvport.engine import queries
from pasvport.errors import WireError
from pasvport.sight import SessionSight
from pasvport.stick.show import Row

HEAD = struct.Struct("!I")
ROW = wire.EntryRow(b"\x7f\0\0\1", 1, "s", 2.5, (1, (1, 2, 3), (4, 5), ((1, 2, 3), (4, 5, 6))))
SOUND = (
    wire.Ready(),
    wire.BootFailed("no"),
    wire.Drained(),
    wire.ObservedErrors(0, 1, 3, False),
    wire.EntryLearnt("t", b"k", 1),
    wire.EntriesTold((wire.TakeEntries("t", ("gpc0(0)1",), (ROW, ROW)),), last=True),
    wire.Answered(7, wire.encode_rows([(1, "a")]), last=True),
    wire.FeaturesLearnt(0, 0, (b"MLST", b"UTF8")),
    wire.PassiveLearnt(0, 1, "PASV", "EPSV"),
    wire.LoginAsked(0, "2001:db8::", 1),
    wire.LoginFailed(0, "2001:db8::"),
    wire.LoginFinished(0, "2001:db8::"),
    wire.LoginCounted(0, "192.0.2.1"),
    wire.Notice(4, "something"),
)
EVIL = ("\x1b]0;x\x07", "a\nb", "a\rb", "\x9b31m", "a\u2028b", "\u202egnp.exe", "\x7f", "\0")


def read(message: object, number: int) -> wire.Message:
    """What comes of a message's fields, as MessagePack by whoever it may be."""
    return wire.decode(bytes([number]) + msgspec.msgpack.encode(message), wire.FROM_WORKER)


def number_of(kind: type) -> int:
    return wire.encode(next(each for each in SOUND if type(each) is kind))[4]


def test_every_kind_of_message_from_a_worker_is_tried_here() -> None:
    assert {type(each) for each in SOUND} == wire.FROM_WORKER


@pytest.mark.parametrize("message", SOUND, ids=lambda each: type(each).__name__)
def test_sound_messages_arrive_as_they_were(message: wire.Message) -> None:
    assert list(wire.Deframer(wire.FROM_WORKER).feed(wire.encode(message))) == [message]


def test_the_model_exports_every_class_of_its_modules() -> None:
    names = [each.name for each in pkgutil.iter_modules(model.__path__, f"{model.__name__}.")]
    defined = {name for each in names for name in _defined_in(each)}
    assert defined == set(model.__all__)


def _defined_in(module: str) -> set[str]:
    names = vars(importlib.import_module(module)).items()
    return {name for name, kind in names if isinstance(kind, type) and kind.__module__ == module}


# --- whose messages they are --------------------------------------------------------------------------------------


@pytest.mark.parametrize("message", [wire.HardStop(), wire.Ask(1, "sessions"), wire.ShareEntry("t", b"k", 1)])
def test_a_worker_cannot_say_what_only_the_supervisor_says(message: wire.Message) -> None:
    with pytest.raises(WireError, match="unexpected message"):
        list(wire.Deframer(wire.FROM_WORKER).feed(wire.encode(message)))


def test_nor_the_supervisor_what_only_workers_say() -> None:
    with pytest.raises(WireError, match="unexpected message Notice"):
        wire.decode(wire.encode(wire.Notice(3, "x"))[4:])


# --- what the attacks were --------------------------------------------------------------------------------


def test_a_pickle_is_only_bytes() -> None:
    """The 96-byte frame that made every user an administrator, and its kin."""
    level = pickle.dumps(model.StatsLevel.ADMIN)
    build = b"\x80\x05cpasvport.model.stats\nStatsSocket\n}X\5\0\0\0levelX\5\0\0\0adminsb."
    for body in (level, build, pickle.dumps(wire.Ready()), b"\x80\x05r\xff\xff\xff\x7f.", b"cos\nsystem\n(S'id'\ntR."):
        before = dict(vars(model.StatsSocket))
        for number in (*range(32), 0x80, 0xFF):
            with pytest.raises(WireError):
                wire.decode(bytes([number]) + body, wire.FROM_WORKER)
        assert dict(vars(model.StatsSocket)) == before


HUGE = (
    b"\xdd\xff\xff\xff\xff",  # an array of four milliards
    b"\xdf\xff\xff\xff\xff",  # a map
    b"\xc6\xff\xff\xff\xff",  # bytes
    b"\xdb\xff\xff\xff\xff",  # a text
    b"\xc9\xff\xff\xff\xff\x01",  # an extension
    b"\x91" * 100_000,  # nested arrays
    b"\x81\xa1a" * 100_000,  # nested maps
    b"\x81\x91\x90\x01",  # a key that cannot be hashed
    b"\x81\x81\x01\x02\x03",
)


@pytest.mark.parametrize("value", HUGE, ids=lambda value: value[:6].hex())
@pytest.mark.parametrize("message", SOUND, ids=lambda each: type(each).__name__)
def test_lengths_that_nothing_stands_behind_cost_nothing(message: Any, value: bytes) -> None:
    number = bytes([number_of(type(message))])
    bodies = [number + value]
    for field in fields(message):
        name = field.name.encode()
        bodies.append(number + b"\x81" + bytes([0xA0 | len(name)]) + name + value)
        bodies.append(number + b"\x82\xa3abc" + value + bytes([0xA0 | len(name)]) + name + value)
    tracemalloc.start()
    try:
        for body in bodies:
            if type(message) in (wire.Ready, wire.Drained):
                _may_read(body)
            else:
                with pytest.raises(WireError):
                    wire.decode(body, wire.FROM_WORKER)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    with pytest.raises(WireError):
        wire.read_rows(value, SessionSight)


def _may_read(body: bytes) -> None:
    """Fields that nobody knows are skipped; nothing else may come of them."""
    with contextlib.suppress(WireError):
        assert wire.decode(body, wire.FROM_WORKER) in (wire.Ready(), wire.Drained())


def test_a_frame_is_refused_by_its_length_alone() -> None:
    for length in (wire.LARGEST_FROM_WORKER + 1, 0xFFFFFFFF):
        with pytest.raises(WireError, match="frame of"):
            list(wire.Deframer(wire.FROM_WORKER).feed(HEAD.pack(length)))


def test_a_frame_of_nothing_is_no_message() -> None:
    with pytest.raises(WireError):
        list(wire.Deframer(wire.FROM_WORKER).feed(HEAD.pack(0)))


# --- fields -------------------------------------------------------------------------------------------------------

WRONG = (-1, 1 << 31, 1 << 63, float("nan"), float("inf"), 1e300, None, True, [], {}, [[]], b"\xff\xfe", *EVIL)


def outside(kind: type, name: str) -> Any:
    """Values that a field of a sound message never has."""
    fitting = {
        (wire.ObservedErrors, "good"): (True,),
        (wire.EntriesTold, "last"): (True,),
        (wire.EntriesTold, "parts"): ([],),
        (wire.Answered, "last"): (True,),
        (wire.Answered, "number"): (1 << 31,),
        (wire.Answered, "rows"): (b"\xff\xfe",),
        (wire.EntryLearnt, "key"): (b"\xff\xfe",),
        (wire.FeaturesLearnt, "features"): ([],),
        (wire.LoginAsked, "number"): (1 << 31,),
    }.get((kind, name), ())
    return [value for value in WRONG if not any(value is each or value == each for each in fitting)]


CASES = [(message, field.name) for message in SOUND for field in fields(message)]


@pytest.mark.parametrize(
    ("message", "name"), CASES, ids=lambda each: each if isinstance(each, str) else type(each).__name__
)
def test_no_field_takes_what_it_should_not(message: Any, name: str) -> None:
    sound = msgspec.to_builtins(message, builtin_types=(bytes,))
    for value in outside(type(message), name):
        with pytest.raises(WireError):
            read(sound | {name: value}, number_of(type(message)))
        with pytest.raises(WireError):
            read({key: each for key, each in sound.items() if key != "error"} | {name: value}, number_of(type(message)))


@pytest.mark.parametrize(
    "row",
    [
        {"key": "text"},
        {"key": [1]},
        {"server_id": -1},
        {"server_key": "\x1b[2J"},
        {"left": float("nan")},
        {"left": float("inf")},
        {"data": [None]},
        {"data": ["x"]},
        {"data": [[[[1]]]]},
        {"data": [1] * 65},
        {"data": [[1] * 1025]},
    ],
    ids=str,
)
def test_no_entry_takes_what_it_should_not(row: dict[str, object]) -> None:
    sound = {"key": b"k", "server_id": 1, "server_key": "s", "left": 1.0, "data": [1]}
    told = {"parts": [{"table": "t", "stores": [], "rows": [sound | row]}], "last": True}
    with pytest.raises(WireError):
        read(told, number_of(wire.EntriesTold))


def test_rows_are_as_their_question_says() -> None:
    flow = (0, False, False, False, False, 0, None, None)
    sound = (1, 0, 1, 1.0, 1.0, 1.0, 1.0, "tcpv4", "::1", 1, "fe", "?", 1, "be", "s", "x", 1, 2, flow, flow)
    sound = (*sound, None, None, 0, False, (0, 0))
    assert wire.read_rows(wire.encode_rows([sound]), SessionSight) == [SessionSight(*sound)]
    for place, value in (
        (0, "x"),
        (3, float("nan")),
        (3, 1e15),
        (4, None),
        (10, "\x1b[2J"),
        (18, (1,) * 9),
        (24, (1,)),
    ):
        with pytest.raises(WireError):
            wire.read_rows(wire.encode_rows([(*sound[:place], value, *sound[place + 1 :])]), SessionSight)
    with pytest.raises(WireError):
        wire.read_rows(wire.encode_rows([sound] * (wire.MOST_ROWS + 1)), SessionSight)


def test_every_question_has_its_rows() -> None:
    assert ROWS.keys() == queries.QUESTIONS.keys()


# --- the library --------------------------------------------------------------------------------------------------


def test_no_type_on_the_wire_is_one_that_the_library_crashes_on() -> None:
    """msgspec up to 0.23 walks into nothing, in a garbage collection, for some unions of tuples."""
    decoders = [msgspec.msgpack.Decoder(kind) for kind in (*wire.FROM_WORKER, *wire.FROM_SUPERVISOR)]
    decoders += [msgspec.msgpack.Decoder(list[kind]) for kind in (*ROWS.values(), Row)]  # type: ignore[valid-type]
    for _ in range(3):
        gc.collect()
    assert decoders


# --- anything at all ----------------------------------------------------------------------------------------------

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats()
    | st.text()
    | st.binary()
    | st.sampled_from(EVIL),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def tell(data: bytes) -> None:
    """Whatever comes is a sound message of a worker, or a WireError."""
    try:
        for message in wire.Deframer(wire.FROM_WORKER).feed(data):
            assert type(message) in wire.FROM_WORKER
            _is_clean(message)
    except WireError as error:
        _is_fit_to_be_said(error)


def _is_fit_to_be_said(error: WireError) -> None:
    assert str(error).isprintable()
    assert len(str(error)) < 400


def _is_clean(value: object) -> None:
    if isinstance(value, str):
        assert visible(value, 1 << 20) == value
    elif isinstance(value, tuple):
        for each in value:
            _is_clean(each)
    elif hasattr(value, "__dataclass_fields__"):
        for field in fields(value):  # type: ignore[arg-type]
            _is_clean(getattr(value, field.name))


@given(st.binary(max_size=300))
def test_junk(data: bytes) -> None:
    tell(data)
    tell(HEAD.pack(len(data)) + data)


@given(st.integers(0, 255), PLAIN)
def test_junk_in_the_form_of_a_message(number: int, value: object) -> None:
    body = bytes([number]) + msgspec.msgpack.encode(value)
    tell(HEAD.pack(len(body)) + body)


@given(st.sampled_from(SOUND), st.dictionaries(st.sampled_from(sorted({n for _, n in CASES})), PLAIN, max_size=3))
def test_sound_messages_with_other_values(message: Any, values: dict[str, object]) -> None:
    body = wire.encode(message)[4:5] + msgspec.msgpack.encode(
        msgspec.to_builtins(message, builtin_types=(bytes,)) | values
    )
    tell(HEAD.pack(len(body)) + body)


@given(st.sampled_from(SOUND), st.data())
def test_sound_frames_with_other_bytes(message: wire.Message, data: st.DataObject) -> None:
    frame = bytearray(wire.encode(message))
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    tell(bytes(frame))
    tell(bytes(frame[: data.draw(st.integers(0, len(frame)))]))


@given(st.text())
def test_what_is_visible_is_taken(text: str) -> None:
    shown = visible(text)
    assert len(shown) <= LONGEST_TEXT
    for told in (text, shown):
        assert wire.decode(wire.encode(wire.Notice(3, told))[4:], wire.FROM_WORKER) == wire.Notice(3, shown)


@given(st.sampled_from(sorted(ROWS)), st.lists(PLAIN, max_size=4))
def test_junk_for_rows(question: str, rows: list[object]) -> None:
    try:
        wire.read_rows(msgspec.msgpack.encode(rows), ROWS[question])
    except WireError as error:
        _is_fit_to_be_said(error)


# --- every field has a bound --------------------------------------------------------------------------------------


def unbounded(kind: Any, place: str) -> Iterator[str]:
    """Where a type lets through a number, text, bytes or tuple of any size."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        if inner[0] in (int, str, bytes, float):
            return
        origin, inner = typing.get_origin(inner[0]), typing.get_args(inner[0])
        yield from _unbounded_parts(inner, place)
    elif origin is tuple and inner[-1:] == (...,):
        yield f"{place}: {kind}"
    elif origin is not None:
        yield from _unbounded_parts(inner, place)
    elif kind in (int, str, bytes, float, object):
        yield f"{place}: {kind.__name__}"
    elif kind not in (bool, type(None)):
        for name, each in typing.get_type_hints(kind, include_extras=True).items():
            yield from unbounded(each, f"{place}.{name}")


def _unbounded_parts(inner: tuple[Any, ...], place: str) -> Iterator[str]:
    for each in inner:
        if each is not ...:
            yield from unbounded(each, place)


@pytest.mark.parametrize(
    "kind", sorted(wire.FROM_WORKER, key=lambda each: each.__name__), ids=lambda each: each.__name__
)
def test_every_field_of_a_message_has_a_bound(kind: type) -> None:
    assert list(unbounded(kind, kind.__name__)) == []


@pytest.mark.parametrize("question", ROWS)
def test_every_field_of_a_row_has_a_bound(question: str) -> None:
    assert list(unbounded(ROWS[question], question)) == []
