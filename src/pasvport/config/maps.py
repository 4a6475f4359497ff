"""Map files: a key and a value a line. Source: configuration manual, 7.3.1 (`map`), as HAProxy 2.6 reads them."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass

from pasvport.config.world import World
from pasvport.errors import ConfigError
from pasvport.model import Expression, MapFile
from pasvport.regex import Regex
from pasvport.sample.converters import MAP_CONVERTERS

_LINE = re.compile(r"[ \t]*([^ \t\r\n]+)[ \t]*([^\r\n]*)")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a map."""

    line: int
    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Map:
    """A map file as it was read; `path` is as written."""

    path: str
    entries: tuple[Entry, ...]

    def compiled(self) -> MapFile:
        """The model's form of it."""
        return MapFile(self.path, tuple((entry.key, entry.value) for entry in self.entries))

    def check_expressions(self) -> None:
        """Raises ConfigError, with the line, for the first key that is no regular expression."""
        for entry in self.entries:
            try:
                Regex(entry.key.encode("utf-8", "surrogateescape"))
            except ConfigError as error:
                place = f"at line {entry.line} of file '{self.path}'"
                raise ConfigError(f"regex '{entry.key}' is invalid (error={error}) {place}") from None


def parse_map(text: str) -> Iterator[Entry]:
    """The entries: the first word and the rest of each line. Lines that begin with `#` or are blank are skipped.

    A line of one word has an empty value. Nothing is refused.
    """
    for number, line in enumerate(text.split("\n"), 1):
        found = None if line.startswith("#") else _LINE.match(line.partition("\0")[0])
        if found is not None:
            yield Entry(number, found.group(1), found.group(2).rstrip(" \t"))


def read_map(path: str, world: World, base: str = "") -> Map:
    """Read a file; a relative path begins at `base`, and that at the world's directory.

    Raises ConfigError when it cannot be read.
    """
    if not path:
        raise ConfigError("failed to open pattern file <>")
    try:
        text = world.read_file(posixpath.normpath(posixpath.join(world.directory, base, path)))
    except ConfigError as error:
        raise ConfigError(f"failed to open pattern file <{path}>: {error}") from None
    return Map(path, tuple(parse_map(text)))


def maps_of(expression: Expression) -> Iterator[tuple[str, str]]:
    """(converter, path) of every map an expression looks into."""
    for converter in expression.converters:
        if converter.name in MAP_CONVERTERS:
            yield converter.name, converter.args[0]
