"""An expression, read and made a function. Source: configuration manual, chapter 7; messages in HAProxy's manner."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TypeVar

from pasvport.model import Converter, Expression
from pasvport.sample.casts import INTO, Kind, Value
from pasvport.sample.converters import CONVERTERS, Conversion, Maps, Step
from pasvport.sample.fetches import FETCHES, FIXED, Fetch, Since
from pasvport.sample.names import KNOWN_CONVERTERS, KNOWN_FETCHES
from pasvport.sample.scan import Call, SampleError, scan

S = TypeVar("S")
Fetches = Mapping[str, Fetch]
Readers = Mapping[str, Callable[[S], Value | None]]
"""By fetch, how its value is found in an S; None: there is none."""


def parse_expression(text: str, fetches: Fetches = FETCHES) -> Expression:
    """The expression that is the whole of `text`. Raises SampleError."""
    calls, _ = scan(text)
    return checked(text, calls, fetches)


def checked(text: str, calls: Iterable[Call], fetches: Fetches = FETCHES) -> Expression:
    """The expression of `calls`, every name known, every argument right, each type one that the next takes.

    Raises SampleError.
    """
    first, *rest = calls
    kind = _check_fetch(first, fetches).kind
    for call in rest:
        kind = _check_converter(call, kind).gives
    return Expression(text, first.name, first.args, tuple(Converter(call.name, call.args) for call in rest))


def _check_fetch(call: Call, fetches: Fetches) -> Fetch:
    fetch = fetches.get(call.name)
    if fetch is None:
        raise _unknown("fetch method", call.name, fetches, KNOWN_FETCHES)
    if fetch.constant is None and call.args:
        raise SampleError(f"fetch method '{call.name}' : no argument expected, got '{call.args[0]}'.")
    if fetch.constant is not None:
        _constant(fetch, call.args)
    return fetch


def _constant(fetch: Fetch, args: tuple[str, ...]) -> Value:
    assert fetch.constant is not None
    try:
        if len(args) > 1:
            raise ValueError(f"expects one argument, got {len(args)}")
        return fetch.constant(args[0] if args else "")
    except ValueError as error:
        raise SampleError(f"fetch method '{fetch.name}' : invalid args: {error}.") from None


def _check_converter(call: Call, kind: Kind) -> Conversion:
    conversion = CONVERTERS.get(call.name)
    if conversion is None:
        raise _unknown("converter", call.name, CONVERTERS, KNOWN_CONVERTERS)
    if kind not in INTO[conversion.takes]:
        raise SampleError(f"converter '{call.name}' cannot be applied to {kind.value} values.")
    try:
        conversion.check(call.args)
    except ValueError as error:
        raise SampleError(f"converter '{call.name}' : invalid args: {error}.") from None
    return conversion


def _unknown(what: str, name: str, known: Iterable[str], later: Collection[str]) -> SampleError:
    if name in later:
        return SampleError(f"{what} '{name}' is not supported yet.")
    return SampleError(f"unknown {what} '{name}'.", name, known)


# --- what is known of one -----------------------------------------------------------------------------------------


def needs_ftp(expression: Expression) -> bool:
    """Whether only a session in `mode ftp` has a sample for it."""
    return expression.fetch.startswith("ftp.")


def needs_server(expression: Expression) -> bool:
    """Whether it is about the server, and so cannot help to choose one."""
    return FETCHES[expression.fetch].since is Since.SERVER


def result_kind(expression: Expression, fetches: Fetches = FETCHES) -> Kind:
    """The type of what the expression gives."""
    if expression.converters:
        return CONVERTERS[expression.converters[-1].name].gives
    return fetches[expression.fetch].kind


# --- made a function ----------------------------------------------------------------------------------------------


def compile_expression(
    expression: Expression, readers: Readers[S], maps: Maps = (), fetches: Fetches = FETCHES
) -> tuple[Kind, Callable[[S], Value | None]]:
    """The type of the result, and the function that finds it in an S (None: no sample).

    Raises SampleError as `checked` does, for a fetch without reader, and for a map that is not among `maps`.
    """
    checked(expression.text, _calls(expression), fetches)
    sample, kind = _reader(expression, readers, fetches), fetches[expression.fetch].kind
    for converter in expression.converters:
        conversion = CONVERTERS[converter.name]
        sample = _then(sample, _step(converter, conversion, kind, maps))
        kind = conversion.gives
    return kind, sample


def _calls(expression: Expression) -> Iterable[Call]:
    yield Call(expression.fetch, expression.args)
    yield from (Call(converter.name, converter.args) for converter in expression.converters)


def _reader(expression: Expression, readers: Readers[S], fetches: Fetches) -> Callable[[S], Value | None]:
    fetch = fetches[expression.fetch]
    if fetch.constant is not None or fetch.name in FIXED:
        value = _constant(fetch, expression.args) if fetch.constant is not None else FIXED[fetch.name]
        return lambda _subject: value
    if fetch.name not in readers:
        raise SampleError(f"fetch method '{fetch.name}' extracts information that is not available here.")
    return readers[fetch.name]


def _step(converter: Converter, conversion: Conversion, kind: Kind, maps: Maps) -> Step:
    try:
        step = conversion.make(converter.args, maps)
    except LookupError as error:
        raise SampleError(f"converter '{converter.name}' : invalid args: {error.args[0]}.") from None
    if kind is conversion.takes:
        return step
    return _cast(INTO[conversion.takes][kind], step)


def _cast(cast: Step, step: Step) -> Step:
    """What HAProxy does in silence: a converter of texts is given an address or a number as text."""

    def through(value: Value) -> Value | None:
        found = cast(value)
        return None if found is None else step(found)

    return through


def _then(sample: Callable[[S], Value | None], step: Step) -> Callable[[S], Value | None]:
    # A converter is not asked about a value that is not there.
    def through(subject: S) -> Value | None:
        value = sample(subject)
        return None if value is None else step(value)

    return through
