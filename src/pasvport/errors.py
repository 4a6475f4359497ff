"""The errors of every room, by meaning: whose fault it is decides what happens next."""

from __future__ import annotations

from enum import StrEnum


class PasvportError(Exception):
    """Base of everything this package raises on purpose."""


class ConfigError(PasvportError):
    """The text of a configuration, or a command-line argument, is wrong. The message is meant for its author."""


class AddressError(ConfigError):
    """An address, port or range is malformed; `word` is the offending part (may be the whole)."""

    def __init__(self, message: str, word: str = "") -> None:
        super().__init__(message)
        self.word = word


class ResourceError(PasvportError):
    """The machine refused something: a port is taken, descriptors ran out, a capability is missing."""


class Side(StrEnum):
    """Whose bytes or whose connection: the two legs of a session."""

    CLIENT = "client"
    SERVER = "server"


class ProtocolError(PasvportError):
    """A peer broke the protocol; `whose` names the culprit."""

    def __init__(self, message: str, whose: Side) -> None:
        super().__init__(message)
        self.whose = whose


class WireError(PasvportError):
    """A message between supervisor and worker could not be decoded."""
