"""What is no plain number or UTF-8 text crosses the wire whole."""

from __future__ import annotations

from dataclasses import replace

from pasvport import wire
from pasvport.model import Config, Global, MapFile
from pasvport.record import Operation, ServerState


def there(message: wire.Message) -> wire.Message:
    expected = wire.FROM_WORKER if type(message) in wire.FROM_WORKER else wire.FROM_SUPERVISOR
    return wire.decode(wire.encode(message)[4:], expected)


def test_members_of_enumerations() -> None:
    message = wire.ServerChanged(0, 0, ServerState(operation=Operation.STOPPED))
    assert there(message) == message
    assert type(there(message).state.operation) is Operation  # type: ignore[union-attr]


def test_texts_of_a_configuration_keep_every_byte() -> None:
    every = bytes(range(1, 256)).decode("utf-8", "surrogateescape") + "ü€\U0001f4be"
    config = Config(Global(description=every, environment=(("X", every),)), maps=(MapFile("m", ((every, "ü"),)),))
    start = wire.Start(config, 0, 1, (), (3,), 4, (), (), 1)
    assert there(start) == start
    assert there(replace(start, config=Config(Global(description="ü")))) == replace(
        start, config=Config(Global(description="ü"))
    )


def test_a_worker_tells_bytes_that_are_no_utf_8_by_their_numbers() -> None:
    assert there(wire.Notice(3, "a\udcffb")) == wire.Notice(3, "a\\xffb")
    rows = wire.encode_rows([("a\udcff", 1)])
    assert wire.read_rows(rows, tuple[str, int]) == [("a\\xff", 1)]


def test_arguments_come_as_tuples() -> None:
    question = wire.Ask(1, "set", ("t", b"k", (("gpc0", 1), ("gpt0", 2)), -1, None))
    assert there(question) == question
