"""Enumerations cross the wire by value on every Python that is supported."""

from __future__ import annotations

import enum

import pytest

from pasvport import wire
from pasvport.record import Operation, ServerState


def test_members_of_older_pythons_are_readable(monkeypatch: pytest.MonkeyPatch) -> None:
    # What Enum did in Python 3.11.0 to 3.11.3.
    monkeypatch.setattr(enum.Enum, "__reduce_ex__", lambda self, _: (getattr, (type(self), self.name)))
    message = wire.ServerChanged(0, 0, ServerState(operation=Operation.STOPPED))
    assert wire.decode(wire.encode(message)[4:]) == message
